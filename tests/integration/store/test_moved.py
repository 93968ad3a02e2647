"""Stores that were written under one path and are read under another: moved file stores, and a runner's folder in the container."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mlaz_ci.adapters.mlflow_store.moved import in_store, in_workspace
from mlaz_ci.errors import InvalidInput, MlazError, StoreNotSupported
from mlaz_ci.models import ModelSource, RunSource, VersionSource
from tests.fakes.platform import RecordingProgress
from tests.integration.store.answers import Answer, of_json, serve_answers
from tests.integration.store.conftest import OpenStore
from tests.integration.store.stores import Logged, files_of

RUN = "4dfe50d9a74d471cbd58ab2ca25ad704"
MODEL = "m-9f2f1d8b1a3c4d5e8f90a1b2c3d4e5f6"
RUNNER = "/home/runner/work/churn"


def container(workspace: Path) -> dict[str, str]:
    """What the runner tells an action's container. RUNNER_WORKSPACE is under no mount and stays the host's path."""
    return {"MLAZ_CONTAINER": "1", "GITHUB_WORKSPACE": str(workspace), "RUNNER_WORKSPACE": RUNNER}


@pytest.fixture(params=["in_files", "in_files_by_mlflow_2"])
def moved(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Logged, Path]]:
    """A file store as it is after `mv`: what it recorded is where it was, and nothing is there."""
    logged: Logged = request.getfixturevalue(request.param)
    recorded = Path(logged.tracking_uri.removeprefix("file://"))
    store = tmp_path / "elsewhere" / "store"
    shutil.copytree(recorded, store)
    away = recorded.with_name("away")
    recorded.rename(away)
    yield logged, store
    away.rename(recorded)


@pytest.mark.parametrize("kind", ["run", "version"])
def test_fetch__file_store_was_moved__the_models_own_files(
    open_store: OpenStore, moved: tuple[Logged, Path], tmp_path: Path, kind: str
) -> None:
    logged, folder = moved
    sources: dict[str, ModelSource] = {
        "run": RunSource(run_id=logged.run_id, path="model"),
        "version": VersionSource(name=logged.registered, version="1"),
    }
    store = open_store(str(folder))

    model = store.resolve(sources[kind], name=None)
    store.fetch(model, tmp_path / "out", RecordingProgress(""))

    assert files_of(tmp_path / "out") == files_of(logged.downloads)


def test_resolve__file_store_of_the_runner__found_in_the_workspace(
    open_store: OpenStore, moved: tuple[Logged, Path], tmp_path: Path
) -> None:
    """As `file://${{ github.workspace }}/elsewhere/store` arrives, which the runner translates no part of."""
    logged, _ = moved
    store = open_store(f"file://{RUNNER}/churn/elsewhere/store", container(tmp_path))

    model = store.resolve(RunSource(run_id=logged.run_id, path="model"), name=None)

    assert model.run_id == logged.run_id
    assert model.facts.mlmodel_text.encode() == files_of(logged.downloads)["MLmodel"]


def test_resolve__file_store_of_the_runner_on_the_command_line__no_such_folder(
    open_store: OpenStore, tmp_path: Path
) -> None:
    (tmp_path / "mlruns").mkdir()
    environ = {key: value for key, value in container(tmp_path).items() if key != "MLAZ_CONTAINER"}

    with pytest.raises(InvalidInput, match="no such folder"):
        open_store(f"file://{RUNNER}/churn/mlruns", environ).resolve(RunSource(run_id=RUN, path="model"), name=None)


def test_resolve__database_of_the_runner__found_in_the_workspace_with_its_artifacts(
    open_store: OpenStore, tmp_path: Path
) -> None:
    """As `sqlite:///${{ github.workspace }}/mlflow.db` arrives, and the artifacts as the runner's mlflow recorded them."""
    folder = tmp_path / "mlruns" / "1" / RUN / "artifacts" / "model"
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("flavors: {python_function: {}}")
    make_database(tmp_path / "mlflow.db", f"{RUNNER}/churn/mlruns/1/{RUN}/artifacts")

    store = open_store(f"sqlite:///{RUNNER}/churn/mlflow.db", container(tmp_path))

    model = store.resolve(RunSource(run_id=RUN, path="model"), name="churn")
    assert (model.run_id, model.facts.mlmodel_text) == (RUN, "flavors: {python_function: {}}")


@pytest.mark.parametrize(
    "place", [f"{RUNNER}/churn/../mlflow.db", "/home/runner/mlflow.db", f"{RUNNER}/churn/leads-out.db"]
)
@pytest.mark.parametrize("scheme", ["sqlite:///", "file://"])
def test_resolve__store_of_the_runner_outside_the_workspace__remedy_that_is_possible(
    open_store: OpenStore, tmp_path: Path, scheme: str, place: str
) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    make_database(tmp_path / "mlflow.db", "")
    (workspace / "leads-out.db").symlink_to(tmp_path / "mlflow.db")

    with pytest.raises(InvalidInput, match="in the action's container") as caught:
        open_store(f"{scheme}{place}", container(workspace)).resolve(RunSource(run_id=RUN, path="model"), name=None)

    assert "the container sees the workspace alone" in caught.value.cause_text
    assert "Keep the store in the workspace" in caught.value.remedy_text
    assert "--host 0.0.0.0" in caught.value.remedy_text


def make_database(file: Path, artifact_uri: str) -> None:
    """The columns that mlflow 2 and 3 have in common, and one run."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            """
            CREATE TABLE alembic_version (version_num);
            CREATE TABLE experiments (experiment_id INTEGER, name);
            CREATE TABLE runs (run_uuid, experiment_id INTEGER, artifact_uri, end_time, lifecycle_stage);
            CREATE TABLE tags (key, value, run_uuid);
            """
        )
        connection.execute("INSERT INTO runs VALUES (?, 1, ?, NULL, 'active')", (RUN, artifact_uri))
        connection.commit()


def test_resolve__server_of_an_earlier_step_keeps_its_files_in_the_workspace__read_there(
    open_store: OpenStore, moved: tuple[Logged, Path], tmp_path: Path
) -> None:
    logged, _ = moved
    shutil.copytree(logged.downloads, tmp_path / "files" / "model")
    info = {"run_id": RUN, "experiment_id": "0", "artifact_uri": f"{RUNNER}/churn/files"}
    answers = {
        "/api/2.0/mlflow/runs/get": [of_json({"run": {"info": info, "data": {}}})],
        "/api/2.0/mlflow/logged-models/search": [of_json({})],
    }
    with serve_answers(Answer(status=404), answers) as server:
        store = open_store(server.uri, container(tmp_path))
        assert store.resolve(RunSource(run_id=RUN, path="model"), name=None).run_id == RUN

    with serve_answers(Answer(status=404), answers) as server, pytest.raises(StoreNotSupported, match="own machine"):
        open_store(server.uri).resolve(RunSource(run_id=RUN, path="model"), name=None)


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (f"{RUNNER}/churn/mlruns/0", "mlruns/0"),
        ("/__w/churn/churn/mlruns/0", "mlruns/0"),
        (f"{RUNNER}/churn", ""),
        (f"{RUNNER}/churn/mlruns/1", None),
        (f"{RUNNER}/churn/../churn/mlruns/0", None),
        (f"{RUNNER}/churn/mlruns/../../secret", None),
        (f"{RUNNER}/churn/leads-out", None),
        (f"{RUNNER}/other/mlruns/0", None),
        ("/__w/churn/mlruns/0", None),
        ("/srv/churn/churn/mlruns/0", None),
        ("mlruns/0", None),
    ],
)
def test_in_workspace__a_recorded_path__only_what_is_there_and_inside(
    tmp_path: Path, recorded: str, expected: str | None
) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (workspace / "leads-out").symlink_to(tmp_path / "secret")

    found = in_workspace(Path(recorded), container(workspace))

    assert found == (None if expected is None else workspace / expected)


@pytest.mark.parametrize("missing", ["MLAZ_CONTAINER", "GITHUB_WORKSPACE", "RUNNER_WORKSPACE"])
def test_in_workspace__not_in_an_actions_container__none(tmp_path: Path, missing: str) -> None:
    assert in_workspace(Path(f"{RUNNER}/churn"), container(tmp_path)) == tmp_path
    assert in_workspace(Path(f"{RUNNER}/churn"), {**container(tmp_path), missing: ""}) is None


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (f"/old/mlruns/1/{RUN}/artifacts", f"1/{RUN}/artifacts"),
        (f"/old/mlruns/1/{RUN}/artifacts/model", f"1/{RUN}/artifacts/model"),
        (f"/old/mlruns/1/models/{MODEL}/artifacts", f"1/models/{MODEL}/artifacts"),
        (f"/old/mlruns/1/{RUN}/artifacts/../../../../secret", None),
        (f"/old/mlruns/2/{RUN}/artifacts", None),
        (f"/old/mlruns/../{RUN}/artifacts", None),
        (f"/old/mlruns/3/{RUN}/artifacts", None),
        ("/old/mlruns/1/artifacts", None),
        ("/old/model", None),
    ],
)
def test_in_store__a_recorded_path__only_of_a_run_or_model_of_this_store(
    tmp_path: Path, recorded: str, expected: str | None
) -> None:
    store = tmp_path / "store"
    for owner in (store / "1" / RUN, store / "1" / "models" / MODEL, tmp_path / "secret" / RUN, tmp_path / RUN):
        owner.mkdir(parents=True)
        (owner / "meta.yaml").touch()
    (store / "2" / RUN).mkdir(parents=True)
    (store / "3").symlink_to(tmp_path / "secret")

    assert in_store(Path(recorded), store) == (None if expected is None else store / expected)


@pytest.mark.parametrize(
    ("environ", "wanted"), [({}, "Install `mlaz-ci[stores]`"), ({"MLAZ_CONTAINER": "1"}, "--host 0.0.0.0")]
)
def test_resolve__store_that_needs_a_missing_package__remedy_that_is_possible(
    open_store: OpenStore, environ: dict[str, str], wanted: str
) -> None:
    """No driver for this database is among the requirements of the tests."""
    with pytest.raises(MlazError) as caught:
        open_store("mssql+pymssql://host/store", environ).resolve(RunSource(run_id=RUN, path="model"), name=None)

    assert isinstance(caught.value, StoreNotSupported)
    assert wanted in caught.value.remedy_text
