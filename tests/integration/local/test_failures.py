"""What goes wrong with a local service: the model, the port, the disk, the record, another run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_process.home import locked
from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.errors import (
    DeployTimedOut,
    DiskFull,
    FileNotFound,
    InvalidInput,
    NotReachable,
    PortInUse,
    RecordUnreadable,
    ServiceBusy,
    ServiceStartFailed,
)
from mlaz_ci.models import Lock, ServiceState
from mlaz_ci.ports import Progress
from mlaz_ci.serving.manifest import MODEL_FOLDER
from tests.integration.local.conftest import (
    REQUEST,
    SERVICE,
    CachedBuilder,
    Machine,
    Silence,
    group_of,
    processes_of,
    wait_for,
    with_environ,
)


def test_start__init_fails__is_failed_at_once_with_the_reason_and_the_log(machine: Machine) -> None:
    machine.stage("g1", "broken")
    observation = machine.start("g1")
    assert observation.state is ServiceState.FAILED
    assert observation.detail == "RuntimeError: the weights are of another shape"
    assert json.loads((machine.folder("g1") / "run/exit.json").read_text()) == {"code": 3}
    assert "the weights are of another shape" in machine.serving.logs(SERVICE, "g1", tail_lines=200)
    with pytest.raises(ServiceStartFailed, match="the weights are of another shape"):
        machine.serving.shift(SERVICE, "g1")
    assert machine.facts().live is None


def test_first_deploy__fails_and_is_withdrawn__there_was_never_a_service(machine: Machine) -> None:
    machine.stage("g1", "broken")
    assert machine.start("g1").state is ServiceState.FAILED
    machine.serving.retire(SERVICE, "g1", keep_files=False)
    assert machine.serving.snapshot(SERVICE).service is None
    assert machine.serving.services() == ()
    assert not (machine.home / "services" / SERVICE).exists()


def test_first_deploy__withdrawn_while_another_candidate_is_there__that_one_stays(machine: Machine) -> None:
    machine.stage("g1", "broken")
    machine.stage("g2", "v2")
    machine.serving.retire(SERVICE, "g1", keep_files=False)
    assert [each.name for each in machine.facts().deployments] == ["g2"]


def test_redeploy__new_model_fails__the_old_one_goes_on_serving(served: Machine) -> None:
    live, following, answer = served.live(), served.next_name(), served.answer()
    served.stage(following, "broken")
    assert served.start(following).state is ServiceState.FAILED
    served.serving.retire(SERVICE, following, keep_files=False)
    facts = served.facts()
    assert (facts.live, facts.state, facts.deployment(following)) == (live, ServiceState.HEALTHY, None)
    assert served.answer() == answer


def test_start__pickle_that_looks_around__sees_no_secret_of_ours(machine: Machine) -> None:
    canaries = {
        "INPUT_CLIENT-SECRET": "canary-client-secret",
        "MLFLOW_TRACKING_TOKEN": "canary-tracking-token",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "canary-oidc",
        "AZURE_CLIENT_SECRET": "canary-azure",
        "GITHUB_TOKEN": "canary-github",
        "UV_INDEX_PRIVATE_PASSWORD": "canary-index",
    }
    hostile = with_environ(machine, **canaries)
    hostile.stage("g1", "hostile")
    hostile.start("g1")
    seen = (machine.folder("g1") / "run/home/seen.json").read_text()
    assert "AZUREML_MODEL_DIR" in seen, "the pickle ran and wrote down what it saw"
    for file in machine.home.rglob("*"):
        if file.is_file() and "environments" not in file.parts:
            assert b"canary" not in file.read_bytes(), file


def occupied(port: int | None) -> socket.socket:
    """A listener on `port`, as soon as the kernel has done with the one that was killed there."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def bind() -> OSError | None:
        try:
            server.bind(("127.0.0.1", port))
        except OSError as error:
            return error
        return None

    wait_for(bind, lambda error: error is None, limit_s=120.0)
    server.listen()
    return server


def kill_all(machine: Machine, deployment: str) -> None:
    """Master and workers at once."""
    pid = machine.process(deployment)["pid"]
    os.killpg(pid, signal.SIGKILL)
    wait_for(lambda: group_of(pid), lambda group: group == [])


def test_start__kept_port_was_taken_meanwhile__names_the_program(served: Machine) -> None:
    live = served.live()
    kill_all(served, live)
    with (
        occupied(served.facts().port),
        pytest.raises(PortInUse, match=rf"by .+ \(pid {os.getpid()}\)"),
    ):
        served.serving.start(SERVICE, live)
    assert processes_of(served.home) == []
    assert served.start(live).state is ServiceState.HEALTHY
    served.serving.shift(SERVICE, live)


def test_start__picked_port_was_taken_before_anybody_knew_it__another_is_picked(machine: Machine) -> None:
    machine.stage("g1", "v1")
    with socket.create_server(("127.0.0.1", machine.facts().port)) as stranger:
        machine.start("g1")
        machine.serving.shift(SERVICE, "g1")
        assert machine.facts().port != stranger.getsockname()[1]
        assert machine.answer() == ["v1"]


def test_stage__asked_for_port_is_in_use__nothing_is_made(machine: Machine) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(PortInUse, match=str(taken.getsockname()[1])),
    ):
        machine.stage("g1", "v1", port=taken.getsockname()[1])
    assert machine.serving.snapshot(SERVICE).service is None
    assert not machine.folder("g1").exists()


def test_check_port__in_use_or_ours__is_known_before_anything_is_made(served: Machine) -> None:
    own = served.facts().port
    assert own
    served.serving.check_port(SERVICE, None)
    served.serving.check_port(SERVICE, own)
    served.serving.check_port("", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        for service in (SERVICE, "another", ""):
            with pytest.raises(PortInUse, match=f"Port {number} is in use by "):
                served.serving.check_port(service, number)
    served.serving.check_port("another", number)
    with pytest.raises(PortInUse):
        served.serving.check_port("another", own)


def test_check_port__kept_one_was_taken_while_the_service_was_down__names_the_program(served: Machine) -> None:
    live = served.live()
    kill_all(served, live)
    with occupied(served.facts().port), pytest.raises(PortInUse, match=rf"by .+ \(pid {os.getpid()}\)"):
        served.serving.check_port(SERVICE, None)
    served.serving.check_port(SERVICE, None)
    assert served.start(live).state is ServiceState.HEALTHY
    served.serving.shift(SERVICE, live)


def test_check_port__picked_one_was_taken_before_anybody_knew_it__is_no_problem(machine: Machine) -> None:
    machine.stage("g1", "v1")
    with socket.create_server(("127.0.0.1", machine.facts().port)):
        machine.serving.check_port(SERVICE, None)


@contextmanager
def damaged(path: Path, text: str | None) -> Iterator[None]:
    """Another content for a moment, or (None) no such file."""
    whole = path.read_text()
    path.unlink()
    if text is not None:
        path.write_text(text)
    yield
    path.write_text(whole)


def record_of(machine: Machine) -> Path:
    return machine.home / "services" / SERVICE / "service.json"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 99}', "\0\0\0", '{"format": 1, "port": "x"}', "[" * 100_000], ids=range(7)
)
def test_snapshot__record_is_damaged__says_so_and_nothing_is_changed(served: Machine, text: str) -> None:
    owner, live = served.facts().owner, served.live()
    with damaged(record_of(served), text):
        facts = served.facts()
        assert (facts.state, facts.owner) == (ServiceState.FAILED, owner)
        assert "service.json cannot be read" in facts.detail
        assert served.serving.services() == (SERVICE,)
        with pytest.raises(RecordUnreadable, match=r"service\.json cannot be read"):
            served.stage("g99", "v2")
        with pytest.raises(RecordUnreadable):
            served.serving.retire(SERVICE, live, keep_files=False)
    assert served.facts().state is ServiceState.HEALTHY
    assert served.folder(live).is_dir()


def test_snapshot__record_is_missing__says_so(served: Machine) -> None:
    with damaged(record_of(served), None):
        assert "is missing" in served.facts().detail


def test_snapshot__manifest_of_the_live_one_is_damaged__says_so(served: Machine) -> None:
    with damaged(served.folder(served.live()) / "deployment.json", "{"):
        facts = served.facts()
        assert facts.state is ServiceState.FAILED
        assert "deployment.json cannot be read" in facts.detail


@pytest.mark.parametrize("record", ["{", None], ids=["damaged", "missing"])
def test_delete__nothing_on_record_can_be_read__ends_everything(served: Machine, record: str | None) -> None:
    record_of(served).unlink()
    if record is not None:
        record_of(served).write_text(record)
        for manifest in record_of(served).parent.glob("*/deployment.json"):
            manifest.write_text("{")
    assert processes_of(served.home) != []
    assert served.serving.delete(SERVICE) is True
    assert processes_of(served.home) == []


def test_operations__another_run_holds_the_service__busy_names_it(served: Machine) -> None:
    script = (
        "import sys, pathlib\n"
        "from mlaz_ci.adapters.clock import SystemClock\n"
        "from mlaz_ci.adapters.local_process.home import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), SystemClock(), 'shifting to g9'):\n"
        "    print('locked', flush=True); sys.stdin.read()\n"
    )
    folder, live = served.home / "services" / SERVICE, served.live()
    with subprocess.Popen(
        [sys.executable, "-c", script, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(ServiceBusy, match=f"shifting to g9, pid {holder.pid}"):
            served.serving.start(SERVICE, live)
        assert served.facts().name == SERVICE, "looking needs no lock"
        holder.kill()
    assert served.start(live).state is ServiceState.HEALTHY


def test_retire__the_one_that_serves__is_refused(served: Machine) -> None:
    live, answer = served.live(), served.answer()
    for keep_files in (True, False):
        with pytest.raises(ServiceBusy, match=f'"{live}" has the traffic'):
            served.serving.retire(SERVICE, live, keep_files=keep_files)
    assert served.answer() == answer


def test_retire__the_live_one_is_down__its_files_stay(served: Machine) -> None:
    live, answer = served.live(), served.answer()
    kill_all(served, live)
    with pytest.raises(ServiceBusy, match="serves already"):
        served.stage(live, "v2")
    with pytest.raises(ServiceBusy, match=f'"{live}" has the traffic'):
        served.serving.retire(SERVICE, live, keep_files=False)
    assert served.start(live).state is ServiceState.HEALTHY
    served.serving.retire(SERVICE, live, keep_files=True)
    assert processes_of(served.home) == [], "what was begun to start it again is undone"
    assert served.start(live).state is ServiceState.HEALTHY
    served.serving.shift(SERVICE, live)
    assert served.answer() == answer


@pytest.mark.parametrize("missing", ["all", "MLmodel"])
def test_stage__cached_model_is_damaged__nothing_is_staged(machine: Machine, missing: str) -> None:
    cached = machine.home / "models" / "abc"
    if missing == "MLmodel":
        shutil.copytree(machine.models / "v1", cached)
        (cached / "MLmodel").unlink()
    with pytest.raises(ServiceBusy, match="cannot be copied") as caught:
        machine.serving.stage(machine.spec("g1", "v1"), cached)
    assert caught.value.remedy_text.startswith("Run again")
    assert machine.serving.services() == ()


def test_stage__another_run_ends_the_last_service_of_the_cached_model_meanwhile__the_model_is_still_there(
    machine: Machine,
) -> None:
    cached = machine.home / "models" / "abc"
    shutil.copytree(machine.models / "v1", cached)
    machine.serving.stage(machine.spec("g1", "v1", service="other"), cached)
    run = machine.serving
    run.snapshot(SERVICE)  # it finds the model, and builds its environment
    machine.serving.delete("other")
    run.stage(machine.spec("g1", "v1"), cached)
    assert (machine.folder("g1") / MODEL_FOLDER / "MLmodel").samefile(cached / "MLmodel")
    machine.serving.delete(SERVICE)
    assert list((machine.home / "models").iterdir()) == []


def test_delete__another_run_looked_and_ended_without_staging__the_next_delete_removes_the_model(
    machine: Machine,
) -> None:
    cached = machine.home / "models" / "abc"
    shutil.copytree(machine.models / "v1", cached)
    machine.serving.stage(machine.spec("g1", "v1"), cached)
    machine.stage("g1", "v2", service="later")
    run = machine.serving
    run.snapshot(SERVICE)
    machine.serving.delete(SERVICE)
    assert cached.is_dir()
    del run
    machine.serving.delete("later")
    assert list((machine.home / "models").iterdir()) == []


def test_delete__models_that_failed_runs_left__go_too_and_what_is_arriving_stays(machine: Machine) -> None:
    machine.stage("g1", "v1")
    models = machine.home / "models"
    for name in ("left", ".left.part-1", ".trash-left-1"):
        shutil.copytree(machine.models / "v1", models / name)
    machine.serving.delete(SERVICE)
    assert [each.name for each in models.iterdir()] == [".left.part-1"]


def test_build__first_run_on_the_machine__its_model_stays_while_another_run_ends_a_service(machine: Machine) -> None:
    run = machine.serving
    run.snapshot(SERVICE)  # there is no cache yet to hold
    cached = machine.home / "models" / "abc"
    shutil.copytree(machine.models / "v1", cached)
    run.build_environment(machine.lock, Silence(), deadline_s=SystemClock().now_s() + 600)
    machine.stage("g1", "v1", service="other")
    machine.serving.delete("other")
    run.stage(machine.spec("g1", "v1"), cached)
    assert (machine.folder("g1") / MODEL_FOLDER / "MLmodel").samefile(cached / "MLmodel")


def test_stage__another_run_deploys_the_service__waits_for_it_and_leaves_its_candidate(machine: Machine) -> None:
    run = machine.serving
    run.stage(machine.spec("g1", "v1"), machine.models / "v1")
    run.start(SERVICE, "g1")
    with pytest.raises(ServiceBusy, match="is being changed: deploying g1, pid "):
        machine.stage("g2", "v2")
    assert machine.settled("g1").state is ServiceState.HEALTHY
    run.shift(SERVICE, "g1")
    machine.stage("g2", "v2")
    assert machine.answer() == ["v1"]


def test_stage__the_other_run_is_dead__its_candidate_is_in_nobodys_way(machine: Machine) -> None:
    run = machine.serving
    run.stage(machine.spec("g1", "v1"), machine.models / "v1")
    del run
    machine.stage("g2", "v2")
    assert machine.start("g2").state is ServiceState.HEALTHY
    assert machine.facts().deployment("g1") is None


def test_stage__folder_of_the_user_is_no_model__nothing_is_staged(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFound, match="there is no MLmodel in it"):
        machine.serving.stage(machine.spec("g1", "v1"), tmp_path / "empty")
    assert machine.serving.services() == ()


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/x"])
def test_operations__home_is_no_folder__name_mlaz_home(machine: Machine, home: str) -> None:
    nowhere = Machine(home=Path(home), lock=machine.lock, models=machine.models, environ=machine.environ)
    with pytest.raises(InvalidInput, match="MLAZ_HOME"):
        nowhere.serving.snapshot(SERVICE)
    with pytest.raises(InvalidInput, match="MLAZ_HOME"):
        nowhere.serving.services()
    with pytest.raises(InvalidInput, match="MLAZ_HOME"):
        nowhere.stage("g1", "v1")
    with pytest.raises(InvalidInput, match="MLAZ_HOME"):
        nowhere.build_environment()


def test_status__worker_is_at_a_long_prediction__is_healthy_and_busy(served: Machine) -> None:
    live, answer = served.live(), served.answer()
    worker = served.workers(live)[0]
    os.kill(worker, signal.SIGSTOP)
    facts = served.facts()
    assert (facts.state, facts.detail) == (ServiceState.HEALTHY, "busy")
    os.kill(worker, signal.SIGCONT)
    assert served.answer() == answer
    assert served.workers(live) == [worker], "nothing was restarted"


def test_score__service_is_down__is_not_reachable(machine: Machine) -> None:
    machine.stage("g1", "v1")
    with pytest.raises(NotReachable, match="does not answer"):
        machine.serving.score(SERVICE, None, REQUEST)


def test_score__request_takes_too_long__is_answered_with_500_and_the_service_stays(served: Machine) -> None:
    served.redeploy("slow", request_timeout_s=1)
    slow = served.serving.score(SERVICE, None, type(REQUEST)(body=REQUEST.body.replace(b"1.0", b"20.0"), origin="x"))
    assert slow.status_code == 500
    quick = served.serving.score(SERVICE, None, type(REQUEST)(body=REQUEST.body.replace(b"1.0", b"0.0"), origin="x"))
    assert quick.status_code == 200
    served.serving.delete(SERVICE)


def test_build_environment__fails__leaves_nothing_half_made(machine: Machine) -> None:
    class Failing:
        def build(self, lock: Lock, destination: Path, progress: Progress, *, timeout_s: float) -> None:
            (destination / "bin").mkdir(parents=True)
            raise OSError(28, "No space left on device")

    with pytest.raises(DiskFull, match="building the environment"):
        machine.build_environment(Failing())
    assert [each.name for each in (machine.home / "environments").iterdir() if not each.name.startswith(".lock")] == []


def test_build_environment__index_never_answers__ends_at_the_deadline_and_leaves_nothing(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environ = {**machine.environ, "UV_DEFAULT_INDEX": index, "NO_PROXY": "127.0.0.1"}
        lock = replace(machine.lock, text=f"nowhere-to-be-had==1.0 --hash=sha256:{'0' * 64}\n")
        late = replace(machine, lock=lock)
        with pytest.raises(DeployTimedOut, match="was not built within the deadline"):
            late.build_environment(UvResolver(environ, machine.home / "uv"), left_s=5.0)
    left = [*(machine.home / "environments").iterdir(), *(machine.home / "uv").glob("run-*")]
    assert [each.name for each in left if not each.name.startswith(".lock")] == []


def test_build_environment__another_run_builds_it_beyond_the_deadline__names_that_one(machine: Machine) -> None:
    guard = machine.home / "environments" / f".lock-{machine.lock.hash}"
    with (
        locked(guard, SystemClock(), "building it"),
        pytest.raises(DeployTimedOut, match=rf"is being changed: building it, pid {os.getpid()}"),
    ):
        machine.build_environment(left_s=0.5)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 3 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_stage__disk_is_full__says_so_and_leaves_nothing(machine: Machine, small_disk: Path, tmp_path: Path) -> None:
    small = Machine(home=small_disk, lock=machine.lock, models=machine.models, environ=machine.environ)
    large = tmp_path / "large"
    shutil.copytree(machine.models / "v1", large)
    (large / "weights").write_bytes(b"\0" * 8_000_000)
    with pytest.raises(DiskFull, match="laying down the deployment"):
        small.serving.stage(small.spec("g1", "v1"), large)
    assert small.serving.services() == ()
    assert [each for each in small_disk.rglob("*") if each.is_file()] == []


def test_start__disk_is_full__says_so_and_starts_nothing(machine: Machine, small_disk: Path) -> None:
    small = Machine(home=small_disk, lock=machine.lock, models=machine.models, environ=machine.environ)
    small.stage("g1", "v1")
    small.build_environment()
    filler = small_disk / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], check=False, capture_output=True)
    with pytest.raises((DiskFull, ServiceStartFailed)):
        small.serving.start(SERVICE, "g1")
    assert processes_of(small_disk) == []
    filler.unlink()
    assert small.start("g1").state is ServiceState.HEALTHY
    small.serving.delete(SERVICE)


def test_log__grows_without_end__is_cut_to_its_end(served: Machine) -> None:
    live, answer = served.live(), served.answer()
    path = served.folder(live) / "log"
    with path.open("ab") as file:
        for _ in range(20):
            file.write(b"x" * 1023 + b"\n" * 1 + b"y" * (1024 * 1024 - 1024))
    wait_for(lambda: path.stat().st_size, lambda size: size < 8 * 1024 * 1024)
    assert served.answer() == answer
    wait_for(lambda: served.serving.logs(SERVICE, live, tail_lines=5), lambda text: "/score 200" in text)


def test_master__asked_to_end_by_somebody_else__status_says_so(served: Machine) -> None:
    os.kill(served.process(served.live())["pid"], signal.SIGTERM)
    facts = wait_for(served.facts, lambda seen: seen.state is ServiceState.FAILED)
    assert "SIGTERM" in facts.detail


class ImpatientClock(SystemClock):
    """The real clock of a run that is cancelled: it does not stand more waiting than the runner leaves it."""

    left_s = 5.0

    def sleep(self, duration_s: float) -> None:
        self.left_s -= duration_s
        assert self.left_s > 0, "the runner would have ended this run"
        super().sleep(duration_s)


@pytest.mark.parametrize("operation", ["retire", "retire before a rollback", "delete"])
def test_candidate__does_not_hear_that_it_is_to_end__is_ended_in_seconds(served: Machine, operation: str) -> None:
    candidate = served.next_name()
    if operation == "retire before a rollback":
        candidate = served.live()
        served.redeploy("v2")
    elif operation == "delete":
        served.serving.delete(SERVICE)
    if operation != "retire before a rollback":
        served.stage(candidate, "v3")
    served.start(candidate)
    for worker in served.workers(candidate):
        os.kill(worker, signal.SIGSTOP)  # as deaf as one that loads its model
    group = served.process(candidate)["pid"]
    impatient = served.serving_with(CachedBuilder(), ImpatientClock())
    if operation == "delete":
        assert impatient.delete(SERVICE) is True
    else:
        impatient.retire(SERVICE, candidate, keep_files=operation == "retire before a rollback")
        assert served.facts().state is ServiceState.HEALTHY
    assert group_of(group) == []
