"""The product's adapters against the emulated Azure, through Microsoft's own clients; run with .venv-azure (`make test-azure`).

Collected with this folder's own pytest.ini alone, since the clients are not in every environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.integration.azure.online import Stage

from mlaz_ci.adapters.identity import Credential, sign_in
from mlaz_ci.models import Cloud, Secret, SignIn
from tests.azure import openapi, rooms, world
from tests.azure.backends import Serving
from tests.azure.clock import FakeClock
from tests.azure.server import UNWANTED_VARIABLES, Emulator
from tests.azure.state import Cloud as CloudState
from tests.fakes.platform import RecordingPlatform
from tests.flavors.switch import pytest_addoption, pytest_collection_modifyitems
from tests.integration.azure import sovereign

__all__ = ["pytest_addoption", "pytest_collection_modifyitems"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Microsoft's clients warn as they are imported, which the main configuration takes for errors."""
    return None if config.inipath == Path(__file__).with_name("pytest.ini") else True


_LEAKING = ("AZURE_", "AZUREML_", "ACTIONS_", "GITHUB_", "IDENTITY_", "MSI_", "IMDS_", "MLFLOW_")


class CloudClock:
    """`ports.Clock` on the emulator's own clock: a pause moves the whole cloud on."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now_s(self) -> float:
        return self._clock.now_s()

    def utc_now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_s(), UTC)

    def sleep(self, duration_s: float) -> None:
        self._clock.advance(duration_s)


@pytest.fixture(scope="session")
def session_azure() -> Iterator[Emulator]:
    with Emulator(rooms=[*rooms.ROOMS, *sovereign.ROOMS]) as emulator:
        yield emulator


@pytest.fixture
def azure(session_azure: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Emulator]:
    """The emulator with a fresh cloud, and this process's environment set so that clients in it meet nothing else."""
    session_azure.reset()
    for name in [name for name in os.environ if name.startswith(_LEAKING) or name in UNWANTED_VARIABLES]:
        monkeypatch.delenv(name)
    for name, value in session_azure.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield session_azure
    session_azure.assert_clean()


@pytest.fixture
def cloud(azure: Emulator) -> CloudState:
    return azure.cloud


@pytest.fixture
def fake_clock(azure: Emulator) -> FakeClock:
    """The cloud's clock, moved by the test alone from here on."""
    clock = FakeClock()
    azure.cloud.clock = clock
    return clock


@pytest.fixture
def wire() -> Path:
    folder = openapi.wire_folder()
    if folder is None:
        pytest.skip("needs Microsoft's files: set MLAZ_WIRE")
    return folder


@pytest.fixture
def clock(fake_clock: FakeClock) -> CloudClock:
    return CloudClock(fake_clock)


@pytest.fixture
def platform() -> RecordingPlatform:
    return RecordingPlatform()


@pytest.fixture
def stage(cloud: CloudState, sign_in_as: SignInAs, clock: CloudClock, tmp_path: Path) -> Stage:
    """Jobs for online endpoints in this cloud, whose services echo what they are sent until a test says otherwise."""
    from tests.integration.azure.online import Stage

    cloud.live(Serving).echoes = True
    return Stage(cloud=cloud, sign_in_as=sign_in_as, clock=clock, folder=tmp_path)


SECRET = SignIn(client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID, client_secret=Secret(world.CLIENT_SECRET))
FEDERATED = SignIn(client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID)
HOSTED: Mapping[str, str] = {"GITHUB_ACTIONS": "true", "RUNNER_ENVIRONMENT": "github-hosted"}
SELF_HOSTED: Mapping[str, str] = {"GITHUB_ACTIONS": "true", "RUNNER_ENVIRONMENT": "self-hosted"}
SignInAs = Callable[..., Credential]


@pytest.fixture
def sign_in_as(azure: Emulator, clock: CloudClock, platform: RecordingPlatform) -> SignInAs:
    """sign_in() beside the emulator; on GitHub's runner with the permission for OIDC, unless `environ` says otherwise."""

    def act(
        given: SignIn = SECRET, environ: Mapping[str, str] | None = None, cloud: Cloud = Cloud.PUBLIC
    ) -> Credential:
        return sign_in(given, {**HOSTED, **azure.credentials()} if environ is None else environ, cloud, clock, platform)

    return act


@pytest.fixture
def scene(azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, platform: RecordingPlatform, tmp_path: Path) -> Any:
    """ACI, whose services answer with what they were asked."""
    from tests.integration.azure.web_service import Scene

    azure.cloud.live(Serving).echoes = True
    return Scene(azure, clock, platform, sign_in_as(SECRET), tmp_path)
