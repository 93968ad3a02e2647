"""launch.py under every supported range of the inference server, each with the gunicorn that it brings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlaz_ci.models import Lock, ServiceState
from tests.integration.local.conftest import SERVICE, Machine, make_models, new_machine
from tests.integration.local.test_takeover import Load
from tests.serving import environments
from tests.serving.conftest import STANDS, Stand


@pytest.fixture(params=STANDS, ids=lambda stand: f"server {stand.server}")
def stand_machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    stand: Stand = request.param
    text = environments.lock(stand.requirements, stand.python_version, [stand.server])
    lock = Lock(text=text, python_version=stand.python_version, server_range=stand.server, base_image="base")
    with new_machine(lock, make_models(lock), tmp_path / "home") as machine:
        yield machine


def test_launch__each_server_range__takes_the_port_under_load_and_tells_why_an_init_failed(
    stand_machine: Machine,
) -> None:
    stand_machine.deploy("g1", "v1")
    load = Load(stand_machine.facts().port, pairs=1)
    try:
        load.await_requests(50)
        stand_machine.deploy("g2", "v2")
        load.await_requests(50)
    finally:
        load.stop()
    assert load.failures == []
    assert [stand_machine.answer() for _ in range(5)] == [["v2"]] * 5

    stand_machine.stage("g3", "broken")
    observation = stand_machine.start("g3")
    assert (observation.state, observation.detail) == (
        ServiceState.FAILED,
        "RuntimeError: the weights are of another shape",
    )
    assert stand_machine.answer() == ["v2"]
    assert stand_machine.serving.delete(SERVICE) is True
