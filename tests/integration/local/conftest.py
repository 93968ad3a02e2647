"""Real services: a locked environment (cached between runs), models logged by it, and LocalProcess on a home of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_process import EnvironmentBuilder, LocalProcess
from mlaz_ci.models import DeploymentSpec, LocalShape, Lock, Observation, ScoreRequest, ServiceState
from mlaz_ci.ports import Clock, Progress
from mlaz_ci.serving.scripts import LAUNCH, SCORE, script_texts
from tests import samples
from tests.serving import environments

PYTHON = "3.11"
REQUIREMENTS = ["mlflow-skinny==3.15.0", "pandas", "scikit-learn", "cloudpickle"]
MODELS_SCRIPT = Path(__file__).with_name("models.py")
REQUEST = ScoreRequest(body=b'{"input_data": {"columns": ["x"], "index": [0], "data": [[1.0]]}}', origin="the test")
SERVICE = "churn"
T = TypeVar("T")


class Silence:
    def update(self, done: float, total: float | None, unit: str) -> None:
        """Nobody watches."""


class CachedBuilder:
    """Builds with uv like the product's own builder, once for all tests, and lends the result."""

    def build(self, lock: Lock, destination: Path, progress: Progress, *, timeout_s: float) -> None:
        python = environments.environment(lock.text, lock.python_version)
        destination.symlink_to(python.parent.parent)


@pytest.fixture(scope="session")
def lock() -> Lock:
    text = environments.lock(REQUIREMENTS, PYTHON, environments.server_ranges(PYTHON)[:1])
    return Lock(text=text, python_version=PYTHON, server_range="==1.5.*", base_image="base")


@pytest.fixture(scope="session")
def models(lock: Lock) -> Path:
    """Folders of models: v1 v2 v3 v4 (each answers its own name), broken, hostile, slow."""
    return make_models(lock)


def make_models(lock: Lock) -> Path:
    python = environments.environment(lock.text, lock.python_version)
    return environments.made_by(python, MODELS_SCRIPT)


@dataclass(frozen=True)
class Machine:
    """A home with local services on it, and the words that tests speak of them."""

    home: Path
    lock: Lock
    models: Path
    environ: Mapping[str, str]

    @property
    def serving(self) -> LocalProcess:
        """A new one each time, as each run of the product has."""
        return self.serving_with(CachedBuilder())

    def serving_with(self, builder: EnvironmentBuilder, clock: Clock | None = None) -> LocalProcess:
        return LocalProcess(self.home, self.environ, clock or SystemClock(), builder, lock_wait_s=2.0)

    def build_environment(self, builder: EnvironmentBuilder | None = None, *, left_s: float = 900.0) -> None:
        deadline_s = SystemClock().now_s() + left_s
        serving = self.serving_with(builder or CachedBuilder())
        serving.build_environment(self.lock, Silence(), deadline_s=deadline_s)

    def spec(self, deployment: str, model: str, *, service: str = SERVICE, **shape: Any) -> DeploymentSpec:
        return DeploymentSpec(
            service_name=service,
            deployment_name=deployment,
            model=samples.model(name=model, version="1", digest=model),
            lock=self.lock,
            shape=LocalShape(**shape),
            files={**script_texts((SCORE, LAUNCH)), "swagger.json": '{"swagger": "2.0"}'},
            tags={"managed-by": "mlaz-ci"},
            owner="github.com/o/r",
        )

    def stage(self, deployment: str, model: str, *, service: str = SERVICE, **shape: Any) -> DeploymentSpec:
        spec = self.spec(deployment, model, service=service, **shape)
        self.serving.stage(spec, self.models / model)
        return spec

    def start(self, deployment: str, *, service: str = SERVICE) -> Observation:
        self.serving.start(service, deployment)
        return self.settled(deployment, service=service)

    def settled(self, deployment: str, *, service: str = SERVICE) -> Observation:
        return wait_for(
            lambda: self.serving.observe(service, deployment), lambda seen: seen.state is not ServiceState.CREATING
        )

    def deploy(self, deployment: str, model: str, *, service: str = SERVICE, **shape: Any) -> DeploymentSpec:
        """Stage, start, shift, and retire the others, as a plan does; the one that served stays on disk."""
        before = self.serving.snapshot(service).service
        spec = self.stage(deployment, model, service=service, **shape)
        observation = self.start(deployment, service=service)
        assert observation.state is ServiceState.HEALTHY, self.serving.logs(service, deployment, tail_lines=80)
        self.serving.shift(service, deployment)
        for each in before.deployments if before else ():
            self.serving.retire(service, each.name, keep_files=each.name == before.live)
        return spec

    def redeploy(self, model: str, **shape: Any) -> str:
        """The next generation, by its name."""
        name = self.next_name()
        self.deploy(name, model, **shape)
        return name

    def next_name(self, service: str = SERVICE) -> str:
        taken = [int(each.name.removeprefix("g")) for each in self.facts(service).deployments]
        return f"g{max(taken) + 1}"

    def is_whole(self) -> bool:
        """One service, healthy, and nothing else that runs."""
        if self.serving.services() != (SERVICE,):
            return False
        facts = self.facts()
        others = [each.state for each in facts.deployments if each.name != facts.live]
        return facts.state is ServiceState.HEALTHY and set(others) <= {ServiceState.STOPPED}

    def delete_all(self) -> None:
        for name in self.serving.services():
            self.serving.delete(name)

    def live(self, service: str = SERVICE) -> Any:
        """The name of the deployment that has the traffic, or None."""
        found = self.serving.snapshot(service).service
        return found.live if found else None

    def facts(self, service: str = SERVICE) -> Any:
        found = self.serving.snapshot(service).service
        assert found is not None
        return found

    def answer(self, deployment: str | None = None, *, service: str = SERVICE) -> Any:
        response = self.serving.score(service, deployment, REQUEST)
        assert response.is_success, response
        return json.loads(response.body)

    def folder(self, deployment: str, *, service: str = SERVICE) -> Path:
        return self.home / "services" / service / deployment

    def process(self, deployment: str, *, service: str = SERVICE) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder(deployment, service=service) / "run/process.json").read_text())
        return found

    def workers(self, deployment: str, *, service: str = SERVICE) -> list[int]:
        return group_of(self.process(deployment, service=service)["pid"])[1:]


def wait_for(look: Callable[[], T], is_enough: Callable[[T], bool], *, limit_s: float = 60.0) -> T:
    deadline = time.monotonic() + limit_s
    while not is_enough(seen := look()):
        assert time.monotonic() < deadline, f"still {seen!r}"
        time.sleep(0.05)
    return seen


def group_of(pid: int) -> list[int]:
    """Living processes of the group that `pid` leads, the leader first if it lives."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text(errors="replace").rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if int(fields[2]) == pid and fields[0] not in {"Z", "X"}:
            found.append(int(name.split()[0]))
    return sorted(found)


@pytest.fixture
def machine(lock: Lock, models: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine on which nothing was ever deployed."""
    with new_machine(lock, models, tmp_path / "home") as machine:
        yield machine


@pytest.fixture(scope="module")
def standing(lock: Lock, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with new_machine(lock, models, tmp_path_factory.mktemp("standing") / "home") as machine:
        yield machine


@pytest.fixture
def served(standing: Machine) -> Machine:
    """A machine with one service, healthy and with nothing beside it. The tests of a module share it, since each start costs
    seconds: it goes on as the test before left it, or is made anew where that one broke it.
    """
    if not standing.is_whole():
        standing.delete_all()
        standing.deploy("g1", "v1")
    return standing


@contextmanager
def new_machine(lock: Lock, models: Path, home: Path) -> Iterator[Machine]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    machine = Machine(home=home, lock=lock, models=models, environ=environ)
    try:
        yield machine
    finally:
        machine.delete_all()
    assert processes_of(machine.home) == [], "no test leaves a process"


def processes_of(home: Path) -> list[int]:
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(str(home) + "/") in command.read_bytes():
                found.append(int(command.parent.name))
        except OSError:
            continue
    return found


def with_environ(machine: Machine, **variables: str) -> Machine:
    return replace(machine, environ={**machine.environ, **variables})
