"""A model of every flavor on the emulator's ACI: the whole program deploys the run that logged it, and its real scoring URI answers.

The models and what they predict where they were trained are those of tests/flavors, which serves them on this machine.
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.azure import webservices
from tests.azure.arm import workspaces
from tests.azure.server import Emulator
from tests.flavors.conftest import FAST, SLOW, Training, trained
from tests.integration.azure.store.models import Shelf
from tests.integration.azure.test_five_targets import Step, session_azure, step

__all__ = ["session_azure", "step"]

# Each flavor once: what differs between MLflow's versions has been met on this machine, by tests/flavors.
_EVERY_RUN, _BESIDE = FAST[1:], FAST[:1]


def _cases(trainings: tuple[Training, ...]) -> list[Any]:
    return [
        pytest.param((training, flavor), id=f"{flavor} {training}")
        for training in trainings
        for flavor in training.flavors
    ]


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> Path:
    """What training left. Asked for before `step`: to train needs the package index, and thereafter this process sees the emulator alone."""
    training, flavor = request.param
    return trained(training, flavor)


@pytest.mark.parametrize("folder", _cases(_EVERY_RUN), indirect=True)
def test_flavor__deployed_to_aci_by_its_run__predicts_as_where_it_was_trained(folder: Path, step: Step) -> None:
    _deploy_and_compare(step, folder)


@pytest.mark.slow_flavor
@pytest.mark.parametrize("folder", _cases((*SLOW, *_BESIDE)), indirect=True)
def test_slow_flavor__deployed_to_aci_by_its_run__predicts_as_where_it_was_trained(folder: Path, step: Step) -> None:
    _deploy_and_compare(step, folder)


def _deploy_and_compare(step: Step, folder: Path) -> None:
    model = folder / "model"
    files = {each.relative_to(model).as_posix(): each.read_bytes() for each in model.rglob("*") if each.is_file()}
    run = Shelf(step.azure.cloud).log_model(files=files)
    ended = step.run(target="aci", run_id=run.id)
    assert (ended.exit_code, ended.outputs.get("status")) == (0, "healthy"), ended.log
    cases = json.loads((folder / "cases.json").read_text())
    assert len(cases) >= 3
    for case in cases:
        status, text = _score(step.azure, ended.outputs["scoring-uri"], case["body"])
        assert status == 200, f"{case['form']}: {text[:500]}"
        assert json.loads(text) == case["expected"], case["form"]


def _score(azure: Emulator, uri: str, body: Any) -> tuple[int, str]:
    """As any caller asks it, with the key that the owner gave them."""
    workspace = azure.cloud.state(workspaces.Workspaces).default.key
    service = azure.cloud.state(webservices.Services).get(workspace, "churn")
    assert service
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {service.keys['primaryKey']}"}
    door = urlsplit(azure.url)
    connection = http.client.HTTPConnection(str(door.hostname), door.port, timeout=60)
    try:
        assert urlsplit(uri).scheme == "http", "Azure gives ACI no TLS of its own"
        connection.request("POST", uri, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
