"""Death at any point: of a worker, the master, the run that deploys, the machine. The next call understands and repairs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlaz_ci.models import ServiceState
from tests.integration.local.conftest import SERVICE, Machine, group_of, processes_of, wait_for


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_worker__killed__another_takes_its_place_on_both_ports(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    first = machine.workers("g1")
    kill(first[0])
    wait_for(lambda: machine.workers("g1"), lambda now: bool(now) and now != first)
    assert (machine.answer(), machine.answer("g1")) == (["v1"], ["v1"])
    assert machine.facts().state is ServiceState.HEALTHY


def test_worker__killed_after_a_takeover__its_successor_serves_the_port_too(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    machine.deploy("g2", "v2")
    first = machine.workers("g2")
    kill(first[0])
    wait_for(lambda: machine.workers("g2"), lambda now: bool(now) and now != first)
    assert [machine.answer() for _ in range(5)] == [["v2"]] * 5


def test_master__killed__status_says_so_and_a_start_repairs_it_on_the_same_port(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    port = machine.facts().port
    kill(machine.process("g1")["pid"])
    facts = wait_for(machine.facts, lambda seen: seen.state is not ServiceState.HEALTHY)
    assert (facts.state, facts.detail) == (ServiceState.FAILED, "the process was killed (signal 9, or it crashed)")
    assert machine.start("g1").state is ServiceState.HEALTHY
    assert machine.facts().state is ServiceState.FAILED, "started again, and not on its port before the shift"
    machine.serving.shift(SERVICE, "g1")
    assert (machine.facts().state, machine.facts().port) == (ServiceState.HEALTHY, port)
    assert machine.answer() == ["v1"]


def test_master__killed_while_its_worker_is_stuck__the_worker_is_found_and_ended(machine: Machine) -> None:
    machine.deploy("g1", "slow")
    worker = machine.workers("g1")[0]
    os.kill(worker, signal.SIGSTOP)
    kill(machine.process("g1")["pid"])
    wait_for(lambda: group_of(machine.process("g1")["pid"]), lambda group: group == [worker])
    assert machine.facts().state is ServiceState.FAILED
    assert machine.start("g1").state is ServiceState.HEALTHY
    machine.serving.shift(SERVICE, "g1")
    assert worker not in processes_of(machine.home)
    assert machine.answer() == ["slow"]


def test_new_deployment__the_live_one_is_dead_with_a_stuck_worker__takes_the_kept_port(machine: Machine) -> None:
    machine.deploy("g1", "slow")
    port = machine.facts().port
    os.kill(machine.workers("g1")[0], signal.SIGSTOP)
    kill(machine.process("g1")["pid"])
    machine.deploy("g2", "v2")
    assert (machine.facts().port, machine.answer()) == (port, ["v2"])


def test_live_one__dies_between_start_and_shift_of_the_next__the_next_binds_the_port_itself(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    machine.stage("g2", "v2")
    machine.start("g2")
    pid = machine.process("g1")["pid"]
    kill(pid)
    wait_for(lambda: group_of(pid), lambda group: group == [])
    machine.serving.shift(SERVICE, "g2")
    assert machine.answer() == ["v2"]


def test_reboot__status_says_so_and_the_next_start_has_the_same_port(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    port = machine.facts().port
    path = machine.folder("g1") / "run/process.json"
    identity = machine.process("g1")
    kill(identity["pid"])
    wait_for(lambda: group_of(identity["pid"]), lambda group: group == [])
    path.write_text(json.dumps({**identity, "boot_id": "00000000-0000-0000-0000-000000000000"}))
    facts = machine.facts()
    assert (facts.state, facts.detail, facts.port) == (ServiceState.FAILED, "the machine was restarted", port)
    assert machine.start("g1").state is ServiceState.HEALTHY
    machine.serving.shift(SERVICE, "g1")
    assert (machine.facts().port, machine.answer()) == (port, ["v1"])


def test_pid__given_to_another_process_since__that_one_is_left_alone(machine: Machine) -> None:
    machine.deploy("g1", "v1")
    path = machine.folder("g1") / "run/process.json"
    identity = machine.process("g1")
    kill(identity["pid"])
    wait_for(lambda: group_of(identity["pid"]), lambda group: group == [])
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        path.write_text(json.dumps({**identity, "pid": stranger.pid}))
        assert machine.facts().state is ServiceState.FAILED
        machine.serving.delete(SERVICE)
        assert stranger.poll() is None
        stranger.kill()


def run_and_die(machine: Machine, deployment: str, model: str, *, at: str) -> None:
    """Deploy in a process of its own, which is killed by SIGKILL at that point."""
    arguments = [sys.executable, "-m", "tests.integration.local.dying", at, deployment, model]
    surroundings = {
        **os.environ,
        "MLAZ_TEST_HOME": str(machine.home),
        "MLAZ_TEST_MODELS": str(machine.models),
        "MLAZ_TEST_LOCK": machine.lock.text,
    }
    done = subprocess.run(
        arguments,
        env=surroundings,
        cwd=Path(__file__).parents[3],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, f"{done.returncode} {done.stderr}"


POINTS = [
    "call copy_file",
    "return LocalProcess._lay_down",
    "return LocalProcess.stage",
    "return LocalProcess._open_log",
    "call Popen.communicate",
    "return launch",
    "return LocalProcess.start",
    "return _share",
    "return LocalProcess._take",
    "call Place.release",
    "return LocalProcess.shift",
    "call stop_group",
]


@pytest.mark.parametrize("point", POINTS)
def test_run__killed_anywhere_in_a_redeploy__the_service_goes_on_and_the_next_run_succeeds(
    machine: Machine, point: str
) -> None:
    machine.deploy("g1", "v1")
    run_and_die(machine, "g2", "v2", at=point)
    facts = machine.facts()
    assert facts.state is ServiceState.HEALTHY
    served = {"g1": ["v1"], "g2": ["v2"]}[facts.live]
    assert [machine.answer() for _ in range(20)] == [served] * 20, "one version alone answers"
    machine.deploy("g3", "v3")
    facts = machine.facts()
    assert [machine.answer() for _ in range(20)] == [["v3"]] * 20
    running = {each.name for each in facts.deployments if each.state is not ServiceState.STOPPED}
    assert running == {"g3"}, "no orphan"
    assert list((machine.home / "services" / SERVICE).glob(".*")) == []


@pytest.mark.parametrize(
    "point",
    [
        "call copy_file",
        "return write_record",
        "return LocalProcess.stage",
        "return launch",
        "return LocalProcess._take",
    ],
)
def test_run__killed_anywhere_in_the_first_deploy__the_next_run_succeeds(machine: Machine, point: str) -> None:
    run_and_die(machine, "g1", "v1", at=point)
    machine.serving.snapshot(SERVICE)
    if machine.live() is None:
        machine.deploy("g2", "v2")
        assert machine.answer() == ["v2"]
        assert [each.name for each in machine.facts().deployments] == ["g2"]
    else:
        assert machine.answer() == ["v1"]
    machine.serving.delete(SERVICE)
    assert processes_of(machine.home) == []
