"""A store on the emulator's workspace, by the real sign-in and the real wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
from mlaz_ci.adapters.identity import CLOUDS
from mlaz_ci.adapters.mlflow_store import MlflowStore
from mlaz_ci.models import Cloud, Workspace
from tests.azure import world
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.conftest import CloudClock, SignInAs
from tests.integration.azure.store.models import Shelf

WORKSPACE = Workspace(subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name=world.WORKSPACE)
DEADLINE_S = 600.0
OpenStore = Callable[..., MlflowStore]


@pytest.fixture
def open_door(azure: Emulator, clock: CloudClock, sign_in_as: SignInAs) -> Callable[[], WorkspaceDoor]:
    def act() -> WorkspaceDoor:
        wire = Wire(sign_in_as(), clock, deadline_s=clock.now_s() + DEADLINE_S)
        return WorkspaceDoor(wire, WORKSPACE, CLOUDS[Cloud.PUBLIC])

    return act


@pytest.fixture
def open_store(open_door: Callable[[], WorkspaceDoor], platform: RecordingPlatform) -> OpenStore:
    """A store as a new process has it: signed in anew, nothing known."""

    def act(
        tracking_uri: str | None = None, *, environ: Mapping[str, str] | None = None, workspace_serves: bool = True
    ) -> MlflowStore:
        return MlflowStore(
            tracking_uri, environ or {}, platform, workspace=open_door(), workspace_serves=workspace_serves
        )

    return act


@pytest.fixture
def shelf(cloud: CloudState) -> Shelf:
    """Where tests put runs and models, as if somebody had logged them."""
    return Shelf(cloud)
