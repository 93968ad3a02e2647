"""launch.py under every supported range of the inference server, each with the gunicorn that it brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mlaz_ci.models import Lock, ServiceState
from tests.integration.local.conftest import SERVICE, Machine, make_models
from tests.integration.local.test_takeover import Load
from tests.serving import environments
from tests.serving.conftest import STANDS, Stand


@pytest.fixture(params=STANDS, ids=lambda stand: f"server {stand.server}")
def stand_machine(request: pytest.FixtureRequest, machine: Machine, tmp_path: Path) -> Machine:
    stand: Stand = request.param
    text = environments.lock(stand.requirements, stand.python_version, [stand.server])
    lock = Lock(text=text, python_version=stand.python_version, server_range=stand.server, base_image="base")
    (tmp_path / "models").mkdir()
    return replace(machine, lock=lock, models=make_models(lock, tmp_path / "models"))


def test_shift__each_server_range__takes_the_port_under_load_and_loses_nothing(stand_machine: Machine) -> None:
    stand_machine.deploy("g1", "v1")
    load = Load(stand_machine.facts().port)
    try:
        load.await_requests(50)
        stand_machine.deploy("g2", "v2")
        load.await_requests(50)
    finally:
        load.stop()
    assert load.failures == []
    assert [stand_machine.answer() for _ in range(5)] == [["v2"]] * 5


def test_start__each_server_range__failed_init_ends_the_master_with_its_reason(stand_machine: Machine) -> None:
    stand_machine.stage("g1", "broken")
    observation = stand_machine.start("g1")
    assert (observation.state, observation.detail) == (
        ServiceState.FAILED,
        "RuntimeError: the weights are of another shape",
    )
    assert stand_machine.serving.delete(SERVICE) is True
