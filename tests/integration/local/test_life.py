"""The life of a local service: staged, started, shifted, replaced, rolled back, deleted."""

from __future__ import annotations

import os
import socket
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from mlaz_ci.errors import NotFound, ServiceNotFound
from mlaz_ci.models import DeploymentSpec, ServiceState
from tests.integration.local.conftest import REQUEST, SERVICE, Machine, processes_of


@pytest.fixture(scope="module")
def first(standing: Machine) -> tuple[Machine, DeploymentSpec]:
    """The first deployment of a service, with a variable of its own. The tests that look at it leave it as it is."""
    return standing, standing.deploy("g1", "v1", environment_variables={"MODE": "fast"})


def test_deploy__first__serves_on_its_kept_port_and_says_which_deployment_it_is(
    first: tuple[Machine, DeploymentSpec],
) -> None:
    machine, spec = first
    facts = machine.facts()
    assert (facts.state, facts.detail) == (ServiceState.HEALTHY, "")
    assert (facts.live, facts.previous, facts.owner) == ("g1", None, spec.owner)
    assert facts.tags == spec.tags
    assert facts.scoring_uri == f"http://127.0.0.1:{facts.port}/score"
    assert machine.answer() == ["v1"]
    assert machine.serving.score(SERVICE, None, REQUEST).spec_hash == spec.spec_hash
    assert (facts.deployment("g1").spec_hash, facts.deployment("g1").model_version) == (spec.spec_hash, "1")


def test_deploy__swagger_given__is_served(first: tuple[Machine, DeploymentSpec]) -> None:
    with urllib.request.urlopen(first[0].facts().swagger_uri, timeout=30) as response:
        assert b"swagger" in response.read()


def test_deploy__default_host__listens_on_loopback_alone(first: tuple[Machine, DeploymentSpec]) -> None:
    port = first[0].facts().port
    listening = {
        line.split()[1].partition(":")[0]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].partition(":")[2], 16) == port
    }
    assert listening == {"0100007F"}


def test_start__environment_variables_of_the_shape__reach_the_service_and_no_others(
    first: tuple[Machine, DeploymentSpec],
) -> None:
    seen = Path(f"/proc/{first[0].workers('g1')[0]}/environ").read_bytes().split(b"\0")
    assert b"MODE=fast" in seen
    names = {each.partition(b"=")[0].decode() for each in seen if each}
    allowed = {"PATH", "HOME", "PYTHONUNBUFFERED", "MLFLOW_DISABLE_TELEMETRY", "WORKER_COUNT", "WORKER_TIMEOUT", "MODE"}
    allowed |= {"SCORING_TIMEOUT_MS", "SERVICE_NAME", "AML_APP_ROOT", "AZUREML_ENTRY_SCRIPT", "AZUREML_MODEL_DIR"}
    assert names - allowed == {"MLAZ_SPEC"}


def test_start__nothing_goes_wrong__its_log_holds_no_traceback(first: tuple[Machine, DeploymentSpec]) -> None:
    log = first[0].serving.logs(SERVICE, "g1", tail_lines=500)
    assert "Invoking user's init function" in log
    assert "Traceback" not in log


def test_start__runs_already__changes_nothing(first: tuple[Machine, DeploymentSpec]) -> None:
    machine = first[0]
    before = machine.process("g1")
    machine.serving.start(SERVICE, "g1")
    machine.serving.shift(SERVICE, "g1")
    assert machine.process("g1") == before
    assert machine.facts().previous is None


def test_retire__absent__is_success(first: tuple[Machine, DeploymentSpec]) -> None:
    first[0].serving.retire(SERVICE, "g7", keep_files=False)
    first[0].serving.retire("nobody", "g7", keep_files=False)
    assert first[0].answer() == ["v1"]


def test_two_services__side_by_side__each_answers_for_itself(first: tuple[Machine, DeploymentSpec]) -> None:
    machine = first[0]
    machine.deploy("g1", "v2", service="another")
    assert machine.serving.services() == ("another", SERVICE)
    assert machine.facts().port != machine.facts("another").port
    assert (machine.answer(), machine.answer(service="another")) == (["v1"], ["v2"])
    machine.serving.delete("another")
    assert machine.answer() == ["v1"]


def test_service__redeployed_by_another_owner_rolled_back_and_deleted__keeps_its_port_until_the_end(
    machine: Machine,
) -> None:
    machine.deploy("g1", "v1")
    port = machine.facts().port

    tags = {"managed-by": "mlaz-ci", "mlaz-owner": "github.com/new/owner", "mlaz-model": "churn"}
    spec = replace(machine.spec("g2", "v2"), owner="github.com/new/owner", tags=tags)
    machine.serving.stage(spec, machine.models / "v2")
    machine.start("g2")
    assert machine.facts().owner == "github.com/o/r", "not before it has the traffic"
    machine.serving.shift(SERVICE, "g2")
    machine.serving.retire(SERVICE, "g1", keep_files=True)
    facts = machine.facts()
    assert (facts.live, facts.previous, facts.port) == ("g2", "g1", port)
    assert (facts.owner, facts.tags) == ("github.com/new/owner", tags)
    assert facts.deployment("g1").state is ServiceState.STOPPED
    assert machine.answer() == ["v2"]

    assert machine.start("g1").state is ServiceState.HEALTHY
    machine.serving.shift(SERVICE, "g1")
    machine.serving.retire(SERVICE, "g2", keep_files=True)
    facts = machine.facts()
    assert (facts.live, facts.previous, facts.port, facts.state) == ("g1", "g2", port, ServiceState.HEALTHY)
    assert facts.owner == "github.com/new/owner", "a rollback gives the service back to nobody"
    assert machine.answer() == ["v1"]

    machine.serving.retire(SERVICE, "g2", keep_files=False)
    assert not machine.folder("g2").exists()
    assert machine.facts().previous is None

    assert machine.serving.delete(SERVICE) is True
    assert processes_of(machine.home) == []
    assert list((machine.home / "services").iterdir()) == []
    assert machine.serving.snapshot(SERVICE).service is None
    assert machine.serving.delete(SERVICE) is False


def test_redeploy__another_port_asked_for__the_service_moves_to_it(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    old_port = machine.facts().port
    with socket.create_server(("127.0.0.1", 0)) as other:
        new_port = other.getsockname()[1]
    machine.deploy("g2", "v2", port=new_port)
    assert machine.facts().port == new_port
    assert machine.answer() == ["v2"]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", old_port)) != 0

    machine.stage("g1", "v3")
    assert (machine.facts().live, machine.facts().previous) == ("g2", None), "the one before is gone for a rollback"


def test_snapshot__smoke_request_of_a_deployment__is_there_for_the_day_of_a_rollback(machine: Machine) -> None:
    machine.serving.stage(replace(machine.spec("g1", "v1"), smoke_request=REQUEST), machine.models / "v1")
    assert machine.facts().deployment("g1").smoke_body == REQUEST.body.decode()


def test_delete__model_from_the_cache__goes_with_its_last_deployment(machine: Machine) -> None:
    cached = machine.home / "models" / "abc"
    cached.parent.mkdir(parents=True)
    os.system(f"cp -r {machine.models / 'v1'} {cached}")
    for service in ("one", "two"):
        machine.serving.stage(machine.spec("g1", "v1", service=service), cached)
    assert (machine.home / "services/one/g1/model/1/MLmodel").samefile(cached / "MLmodel"), "shared, not copied"
    machine.serving.delete("one")
    assert cached.exists()
    machine.serving.delete("two")
    assert not cached.exists()
    assert (machine.models / "v1").exists()


def test_operations__nothing_there__say_so(machine: Machine) -> None:
    assert machine.serving.snapshot("nobody").service is None
    assert machine.serving.services() == ()
    assert machine.serving.observe("nobody", "g1").state is ServiceState.ABSENT
    assert machine.serving.logs("nobody", "g1", tail_lines=10) == ""
    with pytest.raises(ServiceNotFound):
        machine.serving.score("nobody", None, REQUEST)
    machine.stage("g1", "v1")
    with pytest.raises(NotFound):
        machine.serving.start(SERVICE, "g2")
