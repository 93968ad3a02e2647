"""The lock left with the model's run, and read back by a later deploy."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mlaz_ci.checks.kept_lock import read_kept_lock
from mlaz_ci.models import Lock, LoggedModelSource, ModelSource, PathSource, RunSource, VersionSource
from tests.fakes.platform import RecordingPlatform
from tests.integration.store import stores
from tests.integration.store.answers import Answer, of_json, serve_answers
from tests.integration.store.conftest import OpenStore
from tests.integration.store.stores import Logged

FIRST = Lock(
    text="a==1 \\\n    --hash=sha256:00\n", python_version="3.11", server_range="==1.5.*", base_image="image:1"
)
SECOND = Lock(
    text="a==2\n", python_version="3.11", server_range="==1.5.*", base_image="image:1", conda_packages=("git",)
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, server_uri: str) -> Logged:
    """Runs of these tests alone, which leave things with them."""
    return stores.log_runs(server_uri, tmp_path_factory.mktemp("locks"), registered="locks")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("locks-sqlite")
    return stores.log_runs(f"sqlite:///{folder}/mlflow.db", folder)


@pytest.fixture(params=["server", "database", "in_sqlite_by_mlflow_2"])
def writable(request: pytest.FixtureRequest) -> Logged:
    store: Logged = request.getfixturevalue(request.param)
    return store


def test_keep_lock__then_resolved_again__the_same_lock(writable: Logged, open_store: OpenStore) -> None:
    source = RunSource(run_id=writable.ids["heavy"], path="model")
    store = open_store(writable.tracking_uri)
    model = store.resolve(source, name=None)
    assert model.lock_text is None

    assert store.keep_lock(model, FIRST)

    again = open_store(writable.tracking_uri).resolve(source, name=None)
    assert again.lock_text is not None
    assert read_kept_lock(again.lock_text, model_digest=model.digest) == FIRST
    assert again.digest == model.digest


def test_keep_lock__relocked__the_newer_lock(writable: Logged, open_store: OpenStore) -> None:
    store = open_store(writable.tracking_uri)
    source = RunSource(run_id=writable.ids["several"], path="first")
    for lock in (FIRST, SECOND):
        assert store.keep_lock(store.resolve(source, name=None), lock)

    model = store.resolve(source, name=None)

    assert read_kept_lock(model.lock_text or "", model_digest=model.digest) == SECOND


def test_keep_lock__two_models_of_one_run__a_lock_each(writable: Logged, open_store: OpenStore) -> None:
    store = open_store(writable.tracking_uri)
    sources = [RunSource(run_id=writable.ids["several"], path=path) for path in ("second", "deep/in/it")]
    for source, lock in zip(sources, (FIRST, SECOND), strict=True):
        assert store.keep_lock(store.resolve(source, name=None), lock)

    kept = [store.resolve(source, name=None) for source in sources]

    assert [read_kept_lock(model.lock_text or "", model_digest=model.digest) for model in kept] == [FIRST, SECOND]


def test_keep_lock__by_version__found_by_run_and_id(writable: Logged, open_store: OpenStore) -> None:
    store = open_store(writable.tracking_uri)
    assert store.keep_lock(store.resolve(VersionSource(name=writable.registered, version="1"), name=None), SECOND)

    sources: list[ModelSource] = [RunSource(run_id=writable.run_id, path="model")]
    if writable.has_logged_models:
        sources.append(LoggedModelSource(model_id=writable.ids["model"]))
    for source in sources:
        model = store.resolve(source, name=None)
        assert read_kept_lock(model.lock_text or "", model_digest=model.digest) == SECOND


def test_resolve__lock_changed_in_the_store__not_used_with_a_notice(
    database: Logged, open_store: OpenStore, platform: RecordingPlatform
) -> None:
    source = RunSource(run_id=database.run_id, path="model")
    store = open_store(database.tracking_uri)
    assert store.keep_lock(store.resolve(source, name=None), FIRST)
    (kept,) = database.downloads.parents[1].glob(f"mlruns/*/{database.run_id}/artifacts/mlaz-ci/lock-{FIRST.hash}.txt")
    kept.write_text(kept.read_text().replace("a==1", "evil==1"))

    assert store.resolve(source, name=None).lock_text is None
    assert f"The lock {FIRST.hash} left with run {database.run_id} is missing or changed" in platform.text


def test_keep_lock__file_store_opened_for_reading__false(in_files: Logged, open_store: OpenStore) -> None:
    store = open_store(in_files.tracking_uri)
    model = store.resolve(RunSource(run_id=in_files.run_id, path="model"), name=None)
    before = {path: path.stat().st_mtime_ns for path in in_files.downloads.parents[1].rglob("*")}

    assert not store.keep_lock(model, FIRST)

    assert {path: path.stat().st_mtime_ns for path in in_files.downloads.parents[1].rglob("*")} == before


def test_keep_lock__file_store_that_the_user_allows__the_same_lock(
    in_files_by_mlflow_2: Logged, open_store: OpenStore, platform: RecordingPlatform
) -> None:
    store = open_store(in_files_by_mlflow_2.tracking_uri, {"MLFLOW_ALLOW_FILE_STORE": "true"})
    source = RunSource(run_id=in_files_by_mlflow_2.ids["several"], path="first")

    for lock in (FIRST, SECOND):
        assert store.keep_lock(store.resolve(source, name=None), lock)

    model = open_store(in_files_by_mlflow_2.tracking_uri).resolve(source, name=None)
    assert read_kept_lock(model.lock_text or "", model_digest=model.digest) == SECOND


def test_keep_lock__database_refuses_to_write__false_and_told(
    database: Logged, open_store: OpenStore, platform: RecordingPlatform
) -> None:
    store = open_store(database.tracking_uri)
    model = store.resolve(RunSource(run_id=database.ids["several"], path="first"), name=None)
    with closing(sqlite3.connect(database.tracking_uri.removeprefix("sqlite:///"))) as connection:
        connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON tags BEGIN SELECT RAISE(ABORT, 'not today'); END")
        try:
            assert not store.keep_lock(
                model, Lock(text="b==1\n", python_version="3.11", server_range="", base_image="")
            )
        finally:
            connection.execute("DROP TRIGGER refuse")

    assert "failed: not today" in platform.text
    again = store.resolve(RunSource(run_id=database.ids["several"], path="first"), name=None)
    assert again.lock_text == model.lock_text


def test_keep_lock__folder__false(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {python_function: {}}")
    store = open_store(None)

    assert not store.keep_lock(store.resolve(PathSource(path=tmp_path), name=None), FIRST)


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_keep_lock__server_refuses_to_write__false_and_told(
    open_store: OpenStore, platform: RecordingPlatform, status: int
) -> None:
    root = "/api/2.0/mlflow-artifacts/artifacts"
    info = {"run_id": "r1", "experiment_id": "0", "artifact_uri": "mlflow-artifacts:/0/r1/artifacts"}
    answers = {
        "/api/2.0/mlflow/runs/get": [of_json({"run": {"info": info, "data": {}}})],
        "/api/2.0/mlflow/logged-models/search": [of_json({})],
        root: [of_json({"files": [{"path": "MLmodel", "is_dir": False}]})],
        f"{root}/0/r1/artifacts/model/MLmodel": [Answer(body=b"flavors: {python_function: {}}")],
    }
    with serve_answers(Answer(status=status), answers) as server:
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")

        assert not store.keep_lock(model, FIRST)

    assert "The lock could not be left with run r1" in platform.text
    assert not [path for method, path, _ in server.requests if path.endswith("set-tag")]
