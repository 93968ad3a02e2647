"""One store of each kind, with the same runs in it, made once for the session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from mlaz_ci.adapters.mlflow_store import MlflowStore
from tests.fakes.platform import RecordingPlatform
from tests.integration.store import stores
from tests.integration.store.stores import Logged

OpenStore = Callable[..., MlflowStore]


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real `mlflow server` of 3.15 that hands out its artifacts."""
    folder = tmp_path_factory.mktemp("server") / "store"
    with stores.mlflow_server(folder, "--artifacts-destination", str(folder / "artifacts")) as uri:
        yield uri


@pytest.fixture(scope="session")
def on_server(server_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return stores.log_runs(server_uri, tmp_path_factory.mktemp("on-server"))


@pytest.fixture(scope="session")
def in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("in-sqlite")
    return stores.log_runs(f"sqlite:///{folder}/mlflow.db", folder)


@pytest.fixture(scope="session")
def in_sqlite_by_mlflow_2(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("in-sqlite-2")
    return stores.log_runs(f"sqlite:///{folder}/mlflow.db", folder, stores.mlflow_2_python())


@pytest.fixture(scope="session")
def in_files(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("in-files")
    return stores.log_runs((folder / "mlruns").as_uri(), folder)


@pytest.fixture(scope="session")
def in_files_by_mlflow_2(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("in-files-2")
    return stores.log_runs(str(folder / "mlruns"), folder, stores.mlflow_2_python())


@pytest.fixture(scope="session")
def on_server_by_mlflow_2(server_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Logged:
    folder = tmp_path_factory.mktemp("on-server-2")
    return stores.log_runs(server_uri, folder, stores.mlflow_2_python(), registered="churn of 2")


KINDS = [
    "on_server",
    "in_sqlite",
    "in_files",
    "on_server_by_mlflow_2",
    "in_sqlite_by_mlflow_2",
    "in_files_by_mlflow_2",
]


@pytest.fixture(scope="session", params=KINDS)
def logged(request: pytest.FixtureRequest) -> Logged:
    store: Logged = request.getfixturevalue(request.param)
    return store


@pytest.fixture
def platform() -> RecordingPlatform:
    return RecordingPlatform()


@pytest.fixture
def open_store(platform: RecordingPlatform, tmp_path: Path) -> OpenStore:
    """Opens a store as the action would, with HOME and working directory empty."""

    def build(tracking_uri: str | None, environ: Mapping[str, str] | None = None) -> MlflowStore:
        variables = {"HOME": str(tmp_path), "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0.01", **(environ or {})}
        return MlflowStore(tracking_uri, variables, platform, working_directory=tmp_path)

    return build
