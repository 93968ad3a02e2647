"""ACI from the first deploy to its cleanup: what is made, what stays, what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlaz_ci.errors import MlazError
from mlaz_ci.models import Command, ServiceState, Status
from tests.azure import world
from tests.azure.backends import Serving
from tests.azure.server import Emulator
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.conftest import SECRET, CloudClock, SignInAs
from tests.integration.azure.web_service import SERVICE, Scene


@pytest.fixture
def scene(azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, platform: RecordingPlatform, tmp_path) -> Scene:
    azure.cloud.live(Serving).echoes = True
    return Scene(azure, clock, platform, sign_in_as(SECRET), tmp_path)


def test_deploy__first__is_healthy_within_its_requests(scene: Scene) -> None:
    outcome = scene.deploy()
    for each in scene.cloud.trace.find():
        print(each, each.request_bytes, each.response_bytes)
    assert outcome.status is Status.HEALTHY
    assert outcome.service and outcome.service.state is ServiceState.HEALTHY
    print("requests", len(scene.sent()), "polls", len(scene.cloud.trace.find()) - len(scene.sent()))
    assert len(scene.sent()) <= 40
