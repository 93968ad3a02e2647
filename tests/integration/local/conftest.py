"""Real services: a locked environment (cached between runs), models logged by it, and LocalProcess on a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_process import LocalProcess
from mlaz_ci.models import DeploymentSpec, LocalShape, Lock, Observation, ScoreRequest, ServiceState
from mlaz_ci.ports import Progress
from tests import samples
from tests.serving import environments

PYTHON = "3.11"
REQUIREMENTS = ["mlflow-skinny==3.15.0", "pandas", "scikit-learn", "cloudpickle"]
MODELS_SCRIPT = Path(__file__).with_name("models.py")
REQUEST = ScoreRequest(body=b'{"input_data": {"columns": ["x"], "index": [0], "data": [[1.0]]}}', origin="the test")
SERVICE = "churn"
T = TypeVar("T")


class CachedBuilder:
    """Builds with uv like the product's own builder, once for all tests, and lends the result."""

    def build(self, lock: Lock, destination: Path, progress: Progress) -> None:
        python = environments.environment(lock.text, lock.python_version)
        destination.symlink_to(python.parent.parent)


@pytest.fixture(scope="session")
def lock() -> Lock:
    text = environments.lock(REQUIREMENTS, PYTHON, environments.server_ranges(PYTHON)[:1])
    return Lock(text=text, python_version=PYTHON, server_range="==1.5.*", base_image="base")


@pytest.fixture(scope="session")
def models(lock: Lock, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of models: v1 v2 v3 v4 (each answers its own name), broken, hostile, slow."""
    return make_models(lock, tmp_path_factory.mktemp("models"))


def make_models(lock: Lock, folder: Path) -> Path:
    python = environments.environment(lock.text, lock.python_version)
    made = subprocess.run(
        [python, MODELS_SCRIPT, folder], check=False, capture_output=True, text=True, timeout=300, cwd=folder
    )
    assert made.returncode == 0, made.stderr
    return folder


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
        return LocalProcess(self.home, self.environ, SystemClock(), CachedBuilder(), lock_wait_s=2.0)

    def spec(self, deployment: str, model: str, *, service: str = SERVICE, **shape: Any) -> DeploymentSpec:
        return DeploymentSpec(
            service_name=service,
            deployment_name=deployment,
            model=samples.model(name=model, version="1", digest=model),
            lock=self.lock,
            shape=LocalShape(**shape),
            files={"swagger.json": '{"swagger": "2.0"}'},
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

    def live(self, service: str = SERVICE) -> str | None:
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
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    machine = Machine(home=tmp_path / "home", lock=lock, models=models, environ=environ)
    with ExitStack() as stack:
        stack.callback(lambda: [machine.serving.delete(name) for name in machine.serving.services()])
        yield machine
    assert processes_of(machine.home) == [], "a test leaves no process"


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
