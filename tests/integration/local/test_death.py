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


def replace_worker(machine: Machine, deployment: str) -> None:
    """Kill the only worker, and wait for the one that takes its place."""
    first = machine.workers(deployment)
    kill(first[0])
    wait_for(lambda: machine.workers(deployment), lambda now: bool(now) and now != first)


def test_worker__killed__another_takes_its_place_on_both_ports_also_after_a_takeover(machine: Machine) -> None:
    for name, model in (("g1", "v1"), ("g2", "v2")):
        machine.deploy(name, model)
        replace_worker(machine, name)
        assert machine.answer(name) == [model]
        assert [machine.answer() for _ in range(5)] == [[model]] * 5
        assert machine.facts().state is ServiceState.HEALTHY


def test_master__killed__status_says_so_and_a_start_repairs_it_on_the_same_port(served: Machine) -> None:
    name, port, answer = served.live(), served.facts().port, served.answer()
    kill(served.process(name)["pid"])
    facts = wait_for(served.facts, lambda seen: seen.state is not ServiceState.HEALTHY)
    assert (facts.state, facts.detail) == (ServiceState.FAILED, "the process was killed (signal 9, or it crashed)")
    assert served.start(name).state is ServiceState.HEALTHY
    assert served.facts().state is ServiceState.FAILED, "started again, and not on its port before the shift"
    served.serving.shift(SERVICE, name)
    assert (served.facts().state, served.facts().port) == (ServiceState.HEALTHY, port)
    assert served.answer() == answer


def test_master__killed_while_its_worker_is_stuck__the_worker_is_found_and_ended(served: Machine) -> None:
    name, answer = served.live(), served.answer()
    worker = served.workers(name)[0]
    os.kill(worker, signal.SIGSTOP)
    kill(served.process(name)["pid"])
    wait_for(lambda: group_of(served.process(name)["pid"]), lambda group: group == [worker])
    assert served.facts().state is ServiceState.FAILED
    assert served.start(name).state is ServiceState.HEALTHY
    served.serving.shift(SERVICE, name)
    assert worker not in processes_of(served.home)
    assert served.answer() == answer


def test_new_deployment__the_live_one_is_dead_with_a_stuck_worker__takes_the_kept_port(served: Machine) -> None:
    name, port = served.live(), served.facts().port
    os.kill(served.workers(name)[0], signal.SIGSTOP)
    kill(served.process(name)["pid"])
    served.redeploy("v2")
    assert (served.facts().port, served.answer()) == (port, ["v2"])


def test_live_one__dies_between_start_and_shift_of_the_next__the_next_binds_the_port_itself(served: Machine) -> None:
    name, following = served.live(), served.next_name()
    served.stage(following, "v3")
    served.start(following)
    pid = served.process(name)["pid"]
    kill(pid)
    wait_for(lambda: group_of(pid), lambda group: group == [])
    served.serving.shift(SERVICE, following)
    assert served.answer() == ["v3"]


def test_reboot__status_says_so_and_the_next_start_has_the_same_port(served: Machine) -> None:
    name, port, answer = served.live(), served.facts().port, served.answer()
    identity = served.process(name)
    kill(identity["pid"])
    wait_for(lambda: group_of(identity["pid"]), lambda group: group == [])
    other_boot = {**identity, "boot_id": "00000000-0000-0000-0000-000000000000"}
    (served.folder(name) / "run/process.json").write_text(json.dumps(other_boot))
    facts = served.facts()
    assert (facts.state, facts.detail, facts.port) == (ServiceState.FAILED, "the machine was restarted", port)
    assert served.start(name).state is ServiceState.HEALTHY
    served.serving.shift(SERVICE, name)
    assert (served.facts().port, served.answer()) == (port, answer)


def test_pid__given_to_another_process_since__that_one_is_left_alone(served: Machine) -> None:
    name = served.live()
    identity = served.process(name)
    kill(identity["pid"])
    wait_for(lambda: group_of(identity["pid"]), lambda group: group == [])
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        (served.folder(name) / "run/process.json").write_text(json.dumps({**identity, "pid": stranger.pid}))
        assert served.facts().state is ServiceState.FAILED
        served.serving.delete(SERVICE)
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
    "return _lay_down",
    "return LocalProcess.stage",
    "return _open_log",
    "call Popen.communicate",
    "return launch",
    "return LocalProcess.start",
    "return _share",
    "return _take",
    "call Place.release",
    "return LocalProcess.shift",
    "call stop_group",
]


@pytest.mark.parametrize("point", POINTS)
def test_run__killed_anywhere_in_a_redeploy__the_service_goes_on_and_the_next_run_succeeds(
    served: Machine, point: str
) -> None:
    old, new = served.live(), served.next_name()
    answers = {old: served.answer(), new: ["v2"]}
    if answers[old] == ["v2"]:
        answers[new] = ["v1"]
    run_and_die(served, new, answers[new][0], at=point)
    facts = served.facts()
    assert facts.state is ServiceState.HEALTHY
    assert [served.answer() for _ in range(20)] == [answers[facts.live]] * 20, "one version alone answers"
    after = served.redeploy("v3")
    facts = served.facts()
    assert [served.answer() for _ in range(20)] == [["v3"]] * 20
    running = {each.name for each in facts.deployments if each.state is not ServiceState.STOPPED}
    assert running == {after}, "no orphan"
    assert list((served.home / "services" / SERVICE).glob(".*")) == []


@pytest.mark.parametrize(
    "point",
    [
        "call copy_file",
        "return write_record",
        "return LocalProcess.stage",
        "return launch",
        "return _take",
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
