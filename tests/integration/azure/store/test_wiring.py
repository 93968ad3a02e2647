"""Target local with the models of a workspace: the door is built from the inputs, or from the tracking URI alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlaz_ci.errors import InvalidInput, MissingInput
from mlaz_ci.models import Command, Request, RunSource, Workspace
from mlaz_ci.ports import ModelStore
from mlaz_ci.wiring import connect
from tests.azure import world
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.fakes.platform import RecordingPlatform, RecordingProgress
from tests.integration.azure.conftest import FEDERATED, HOSTED, SECRET, CloudClock
from tests.integration.azure.store.conftest import WORKSPACE
from tests.integration.azure.store.models import FILES, Shelf
from tests.integration.azure.store.test_fetch import contents


class Wired:
    """`connect` for target local, as main calls it."""

    def __init__(self, environ: dict[str, str], clock: CloudClock, platform: RecordingPlatform) -> None:
        self.environ, self.clock, self.platform = environ, clock, platform

    def store(self, **given: object) -> ModelStore:
        request = Request(command=Command.DEPLOY, service_name="churn", **given)  # type: ignore[arg-type]
        return connect(request, self.environ, self.platform, self.clock).ports.store


@pytest.fixture
def wired(azure: Emulator, clock: CloudClock, platform: RecordingPlatform, tmp_path: Path) -> Wired:
    return Wired({**HOSTED, **azure.credentials(), "HOME": str(tmp_path)}, clock, platform)


@pytest.mark.parametrize("sign_in", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_local__tracking_uri_of_a_workspace__resolved_and_fetched(
    sign_in: object, shelf: Shelf, wired: Wired, tmp_path: Path
) -> None:
    source = RunSource(run_id=shelf.log_model().id, path="model")
    store = wired.store(source=source, tracking_uri=shelf.tracking_uri, sign_in=sign_in)
    model = store.resolve(source, name=None)
    store.fetch(model, tmp_path / "got", RecordingProgress("model"))
    assert not model.is_in_workspace, "what serves is this machine"
    assert contents(tmp_path / "got") == FILES


def test_local__variable_of_mlflow__names_the_workspace_too(shelf: Shelf, wired: Wired) -> None:
    source = RunSource(run_id=shelf.log_model().id, path="model")
    wired.environ["MLFLOW_TRACKING_URI"] = shelf.tracking_uri
    assert wired.store(source=source, sign_in=SECRET).resolve(source, name=None).run_id == source.run_id


def test_local__with_a_workspace__its_own_records(shelf: Shelf, wired: Wired) -> None:
    source = RunSource(run_id=shelf.log_model().id, path="model")
    model = wired.store(source=source, workspace=WORKSPACE, sign_in=SECRET).resolve(source, name=None)
    assert not model.is_in_workspace


def test_local__without_either__asks_azure_nothing(wired: Wired, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    source = RunSource(run_id="x", path="model")
    with pytest.raises(MissingInput, match="tracking-uri"):
        wired.store(source=source).resolve(source, name=None)
    assert not cloud.trace.find()


def test_local__other_store_beside_a_workspace__is_that_store(wired: Wired, cloud: Cloud) -> None:
    source = RunSource(run_id="x", path="model")
    workspace = Workspace(subscription_id=world.SUBSCRIPTION_ID, resource_group="rg", name="ws")
    store = wired.store(source=source, workspace=workspace, sign_in=SECRET, tracking_uri="sqlite:////none.db")
    with pytest.raises(InvalidInput, match="there is no such database file"):
        store.resolve(source, name=None)
    assert not cloud.trace.find()
