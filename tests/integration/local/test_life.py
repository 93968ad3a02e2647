"""The life of one local service: staged, started, shifted, replaced, rolled back, deleted."""

from __future__ import annotations

from mlaz_ci.models import ServiceState
from tests.integration.local.conftest import REQUEST, SERVICE, Machine


def test_local_process__first_deploy__serves_on_its_kept_port_and_says_which_deployment_it_is(machine: Machine) -> None:
    spec = machine.deploy("g1", "v1")
    facts = machine.facts()
    assert facts.state is ServiceState.HEALTHY, facts.detail
    assert (facts.live, facts.previous, facts.owner) == ("g1", None, spec.owner)
    assert machine.answer() == ["v1"]
    assert machine.serving.score(SERVICE, None, REQUEST).spec_hash == spec.spec_hash
