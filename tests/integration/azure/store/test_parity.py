"""Our reading of the workspace against Microsoft's own clients: mlflow 3 with azureml-mlflow, and azureml-core for what v1 registered."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.mlflow_store.records import Missing, Tracking
from mlaz_ci.adapters.mlflow_store.workspace import WorkspaceConnection
from mlaz_ci.models import Lock, ModelSource, RunSource, VersionSource
from tests.azure import world
from tests.azure.server import Emulator
from tests.fakes.platform import RecordingPlatform, RecordingProgress
from tests.integration.azure.store.conftest import OpenStore
from tests.integration.azure.store.models import FILES, Shelf
from tests.integration.azure.store.test_fetch import contents

LOCK = Lock(text="a==1\n", python_version="3.11", server_range="==1.5.*", base_image="i:1")


@pytest.fixture
def client(azure: Emulator, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    mlflow = pytest.importorskip("mlflow")
    for name, value in azure.credentials().items():
        if name.startswith("AZURE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    uri = shelf.tracking_uri.replace("v1.0", "v2.0")
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(uri, uri)


@pytest.fixture
def tracking(open_door: Callable[[], WorkspaceDoor]) -> Tracking:
    return WorkspaceConnection(open_door(), lambda _: None).tracking


def log_with_mlflow(client: Any, folder: Path, path: str, *, experiment: str) -> str:
    """As people log a model to a workspace with mlflow 3: a folder of artifacts."""
    run = client.create_run(experiment, tags={"team": "ml"})
    client.log_artifacts(run.info.run_id, str(folder), path)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "saved"
    for name, content in {**FILES, "code/pre process.py": b"x = 1\n", "a/b/c.bin": b"c" * 10_000}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def answer_of(ask: Callable[[], Any]) -> Any:
    """What is told; None for every way of saying that there is no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except (Missing, MlflowException):
        return None


def run_by_mlflow(client: Any, run_id: str) -> Any:
    run = client.get_run(run_id)
    is_deleted = run.info.lifecycle_stage == "deleted"
    return (run.info.run_id, run.info.artifact_uri, run.info.end_time, is_deleted, dict(run.data.tags))


def run_by_us(tracking: Tracking, run_id: str) -> Any:
    run = tracking.run(run_id)
    ended_ms = round(run.ended_at.timestamp() * 1000) if run.ended_at else None
    return (run.run_id, run.artifact_uri, ended_ms, run.is_deleted, dict(run.tags))


def test_runs__of_every_kind__told_as_mlflow_tells_them(
    client: Any, tracking: Tracking, shelf: Shelf, folder: Path
) -> None:
    churn = client.create_experiment("churn")
    ids = [log_with_mlflow(client, folder, "model", experiment=each) for each in (churn, "0")]
    ids.append(client.create_run(churn).info.run_id)  # still running
    ids.append(shelf.log_run(tags={"é": "ü\n", "empty": ""}).id)
    client.delete_run(ids[0])
    ids += ["nope", "..", "../x", "a'b", "a b", "%2e", "a" * 300, "?run_id=" + ids[1]]

    theirs = [answer_of(lambda each=each: run_by_mlflow(client, each)) for each in ids]  # type: ignore[misc]
    ours = [answer_of(lambda each=each: run_by_us(tracking, each)) for each in ids]  # type: ignore[misc]

    assert ours == theirs
    assert sum(each is not None for each in theirs) == 4
    assert tracking.experiment_name(churn) == client.get_experiment(churn).name == "churn"


def versions_told(of: Callable[[str, str], Any], names: Sequence[str], versions: Sequence[str]) -> list[Any]:
    return [answer_of(lambda name=name, each=each: of(name, each)) for name in names for each in versions]  # type: ignore[misc]


def test_versions__of_a_registry__told_as_mlflow_tells_them(
    client: Any, tracking: Tracking, shelf: Shelf, folder: Path
) -> None:
    run_id = log_with_mlflow(client, folder, "model", experiment="0")
    uri = client.get_run(run_id).info.artifact_uri
    client.create_registered_model("empty")
    client.create_registered_model("churn.of-2024_x")
    for _ in range(11):
        client.create_model_version("churn.of-2024_x", f"{uri}/model", run_id)
    client.transition_model_version_stage("churn.of-2024_x", "4", "Production")
    client.delete_model_version("churn.of-2024_x", "11")
    client.create_registered_model("local")
    client.create_model_version("local", f"file://{folder}")
    names, versions = ["churn.of-2024_x", "empty", "local", "never was"], ["1", "4", "10", "11", "99", "x"]

    def theirs(name: str, version: str) -> Any:
        found = client.get_model_version(name, version)
        return (
            found.name,
            str(found.version),
            found.run_id or None,
            client.get_model_version_download_uri(name, version),
        )

    def ours(name: str, version: str) -> Any:
        found = tracking.version(name, version)
        return (found.name, found.version, found.run_id, tracking.version_location(found))

    told = versions_told(theirs, names, versions)
    assert versions_told(ours, names, versions) == told
    assert sum(each is not None for each in told) == 4

    def newest(name: str) -> str | None:
        found = client.get_latest_versions(name)
        return max((str(each.version) for each in found), key=int) if found else None

    assert [answer_of(lambda name=name: tracking.latest_version(name).version) for name in names] == [  # type: ignore[misc]
        answer_of(lambda name=name: newest(name))  # type: ignore[misc]
        for name in names
    ]


def register_with_v1(azure: Emulator, folder: Path, run_id: str) -> None:
    """By azureml-core: from a folder that it uploads, and from a run's artifacts."""
    from azureml.core import Model, Run, Workspace
    from azureml.core.authentication import ServicePrincipalAuthentication

    signed_in = ServicePrincipalAuthentication(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    workspace = Workspace.get(
        world.WORKSPACE, signed_in, subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP
    )
    # azureml-core escapes the space in an upload's address twice, and storage then refuses the address.
    plain = shutil.copytree(folder, folder.with_name("plain"), ignore=shutil.ignore_patterns("* *"))
    Model.register(workspace, model_path=plain.name, model_name="v1-upload")
    Run.get(workspace, run_id).register_model("v1-run", model_path="model")


def test_models__of_runs_and_registry__downloaded_byte_for_byte_as_mlflow_does(
    client: Any, azure: Emulator, open_store: OpenStore, folder: Path, tmp_path: Path
) -> None:
    import mlflow

    churn = client.create_experiment("churn")
    run_id = log_with_mlflow(client, folder, "model", experiment=churn)
    deep = log_with_mlflow(client, folder, "a/b/best model", experiment="0")
    client.create_registered_model("by-mlflow")
    client.create_model_version("by-mlflow", f"{client.get_run(run_id).info.artifact_uri}/model", run_id)
    client.create_registered_model("local")
    client.create_model_version("local", f"file://{folder}")
    register_with_v1(azure, folder, run_id)
    sources: dict[str, ModelSource] = {
        f"runs:/{run_id}/model": RunSource(run_id=run_id, path="model"),
        f"runs:/{deep}/a/b/best model": RunSource(run_id=deep, path="a/b/best model"),
        **{f"models:/{name}/1": VersionSource(name=name, version="1") for name in ("by-mlflow", "local", "v1-upload", "v1-run")},
    }  # fmt: skip

    for number, (uri, source) in enumerate(sources.items()):
        target = tmp_path / f"theirs-{number}"
        target.mkdir()
        theirs = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(target)))
        # mlflow's own note of what it downloaded, which lies in no store.
        (theirs / "registered_model_meta").unlink(missing_ok=True)
        store = open_store()
        model = store.resolve(source, name=None)
        store.fetch(model, tmp_path / f"ours-{number}", RecordingProgress("model"))

        assert contents(tmp_path / f"ours-{number}") == contents(theirs), uri
        assert contents(theirs) == contents(folder.with_name("plain") if uri == "models:/v1-upload/1" else folder), uri
        assert model.facts.mlmodel_text == (theirs / "MLmodel").read_text()


def test_lock__left_by_us__read_by_mlflow(
    client: Any, open_store: OpenStore, platform: RecordingPlatform, folder: Path, tmp_path: Path
) -> None:
    run_id = log_with_mlflow(client, folder, "model", experiment="0")
    store = open_store()
    model = store.resolve(RunSource(run_id=run_id, path="model"), name="churn")

    assert store.keep_lock(model, LOCK), platform.text

    assert client.get_run(run_id).data.tags[f"mlaz-lock.{model.digest[:12]}"] == LOCK.hash
    target = tmp_path / "lock"
    target.mkdir()
    got = client.download_artifacts(run_id, f"mlaz-ci/lock-{LOCK.hash}.txt", str(target))
    assert Path(got).read_text().endswith("\na==1\n")
    assert {each.path for each in client.list_artifacts(run_id)} == {"model", "mlaz-ci"}
