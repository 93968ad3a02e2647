"""An emulated Azure in which nothing takes time, a run with a large model in it, and processes measured against it.

What a client waits for here is its own making. Both sides are processes of this interpreter, with the same environment.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from tests.azure import storage, world
from tests.azure.arm import workspaces
from tests.azure.backends import Serving
from tests.azure.server import UNWANTED_VARIABLES, Emulator
from tests.azure.trace import Exchange
from tests.azure.transitions import Stage
from tests.integration.azure.store.models import Shelf
from tests.runner_files import parse_file_command

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).with_name("peers")
MODEL_BYTES = 200 * 1024 * 1024
SERVICE = "churn"
ENTRYPOINT = [sys.executable, str(ROOT / "entrypoint.py")]
_EXAMPLE = '{"dataframe_split": {"columns": ["x"], "data": [[1.5]]}}'
_MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.sklearn
    model_path: model.pkl
    python_version: 3.11.7
mlflow_version: 2.22.0
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  serving_input_path: serving_input_example.json
  type: dataframe
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "double", "required": true}]'
utc_time_created: '2025-05-01 10:11:12.123456'
"""
_REQUIREMENTS = ("mlflow==2.22.0", "scikit-learn==1.6.1", "numpy==1.26.4", "pandas==2.2.3")
CONDA = "name: mlflow-env\nchannels: [conda-forge]\ndependencies:\n- python=3.11.7\n- pip\n- pip:\n" + "".join(
    f"  - {each}\n" for each in _REQUIREMENTS
)
_FILES = {
    "MLmodel": _MLMODEL,
    "requirements.txt": "".join(f"{each}\n" for each in _REQUIREMENTS),
    "conda.yaml": CONDA,
    "python_env.yaml": "python: 3.11.7\n",
    "serving_input_example.json": _EXAMPLE,
    "input_example.json": '{"columns": ["x"], "data": [[1.5]]}',
}
# Every course that a deployment, an image or an endpoint can take.
_KINDS = ("environment-build", "mms-create", "mms-update", "mms-delete", "online-endpoint-create", "online-endpoint-update",
          "online-endpoint-delete", "online-deployment-create", "online-deployment-update", "online-deployment-delete")  # fmt: skip
# Those that bring up a deployment, and what they are called while they do.
_PROVISIONING = {"mms-create": "Running", "online-deployment-create": "Creating"}
_POLLS = re.compile(
    r"/operations/|/mfeOperationsStatus/|/mfeOperationResults/|/environments/[^/]+/versions/[^/]+/image/"
)


_DEPLOYMENT = re.compile(r"/onlineEndpoints/[^/]+/deployments/[^/]+$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A process from its start to its end. `sent` are the requests without polls, sign-in included."""

    wall_s: float
    cpu_s: float
    exchanges: tuple[Exchange, ...]
    output: str

    @property
    def sent(self) -> int:
        polls, looked = 0, set[str]()
        for each in self.exchanges:
            if each.method != "GET":
                looked.clear()
            # Looking again at what nothing was done to meanwhile.
            polls += bool(_POLLS.search(each.path)) or (each.method == "GET" and each.target in looked)
            if _DEPLOYMENT.search(each.path):
                looked.add(each.target)
        return len(self.exchanges) - polls

    @property
    def polls(self) -> int:
        return len(self.exchanges) - self.sent

    @property
    def imported(self) -> set[str]:
        """The modules that the process said it imported."""
        return set(re.findall(r"^import time:[^|]*\|[^|]*\|\s*(\S+)$", self.output, re.MULTILINE))

    @property
    def body_bytes(self) -> int:
        """Both ways, bodies alone."""
        return sum(each.request_bytes + each.response_bytes for each in self.exchanges)


@dataclass
class Stand:
    """Where the processes of one benchmark run."""

    azure: Emulator
    folder: Path
    certificates: Path
    run_id: str = ""
    _homes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, *, provisioning_s: float = 0.0) -> None:
        """The cloud as at the beginning, with a run that logged the model; to bring up a deployment takes it so long.

        Raises when the cloud before saw what it may not see.
        """
        self.azure.assert_clean()
        cloud = self.azure.reset()
        cloud.live(Serving).echoes = True
        for kind in _KINDS:
            cloud.scripts.add(kind, _course(kind, provisioning_s), times=None)
        shelf = Shelf(cloud)
        files = {name: text.encode() for name, text in _FILES.items()}
        run = shelf.log_model(files=files)
        account = cloud.state(workspaces.Workspaces).default.storage_account
        place = f"ExperimentRun/{run.container}/model/model.pkl"
        storage.write(cloud, account, storage.ARTIFACT_CONTAINER, place, bytes(MODEL_BYTES))
        self.run_id = run.id

    def ours(self, *, wants: str, tells_imports: bool = False, **inputs: str) -> Measured:
        """The action as a step starts it; `wants` is the status that it must end with."""
        home = self.home()
        more = {"PYTHONPROFILEIMPORTTIME": "1"} if tells_imports else {}
        done = self.measure(ENTRYPOINT, home, self.step(home, **inputs) | more)
        status = parse_file_command((home / "outputs").read_text()).get("status")
        if status != wants:
            raise SystemExit(f"{done.output}\nthe step ended {status!r}, not {wants!r}")
        return done

    def step(self, home: Path, **inputs: str) -> dict[str, str]:
        """A step's environment on a hosted runner."""
        (home / "outputs").touch()
        given = {
            "subscription-id": world.SUBSCRIPTION_ID,
            "resource-group": world.RESOURCE_GROUP,
            "workspace-name": world.WORKSPACE,
            "client-id": world.CLIENT_ID,
            "tenant-id": world.TENANT_ID,
            "client-secret": world.CLIENT_SECRET,
            "service-name": SERVICE,
            **{name.replace("_", "-"): value for name, value in inputs.items()},
        }
        return {
            "GITHUB_ACTIONS": "true",
            "RUNNER_ENVIRONMENT": "github-hosted",
            "GITHUB_REPOSITORY_ID": "4711",
            "GITHUB_OUTPUT": str(home / "outputs"),
            **{f"INPUT_{name.upper()}": value for name, value in given.items()},
        }

    def peer(self, script: str, *arguments: str) -> Measured:
        """peers/<script>.py, which ends with a prediction of the service, or says what it did."""
        command = [sys.executable, str(PEERS / f"{script}.py"), *arguments]
        return self.measure(command, self.home(), {"MODEL_CONDA": CONDA})

    def measure(self, command: Sequence[str], home: Path, more: Mapping[str, str]) -> Measured:
        """Raises SystemExit with the process's own words when it fails."""
        known = max((each.number for each in self.azure.cloud.trace.find()), default=0)
        with (home / "log").open("wb") as sink:
            began = time.monotonic()
            process = subprocess.Popen(command, env=self.environment(home, more), cwd=home, stdout=sink, stderr=sink)
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        text = (home / "log").read_text(encoding="utf-8", errors="replace")
        if process.returncode:
            raise SystemExit(f"{text}\n{' '.join(command)} ended with {process.returncode}")
        exchanges = tuple(each for each in self.azure.cloud.trace.find() if each.number > known)
        return Measured(wall_s=wall_s, cpu_s=usage.ru_utime + usage.ru_stime, exchanges=exchanges, output=text)

    def environment(self, home: Path, more: Mapping[str, str], *, door: str = "") -> dict[str, str]:
        """Nothing of this process but where programs and packages are found. `door` is another proxy than the emulator's."""
        outside = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "LANG", "PYENV_ROOT", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"}
        }
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), door) if door else {}
        return {
            **outside,
            **self.azure.environment(),
            "REQUESTS_CA_BUNDLE": str(self.certificates),
            "SSL_CERT_FILE": str(self.certificates),
            "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv"),
            "HOME": str(home),
            "MLAZ_HOME": str(home / "mlaz"),
            **{name: value for name, value in self.azure.credentials().items() if name.startswith("AZURE_")},
            **proxies,
            **more,
        }

    def home(self) -> Path:
        """Each process is on a machine of its own, where nothing is kept but uv's cache."""
        with self._lock:
            self._homes += 1
            home = self.folder / f"home-{self._homes}"
            home.mkdir()
        return home

    def cpu_to_first_request_s(self, command: Sequence[str], home: Path, more: Mapping[str, str]) -> float:
        """What the process itself has used of a CPU when it sends its first request."""

        def start(door: int) -> subprocess.Popen[bytes]:
            environment = self.environment(home, more, door=f"http://127.0.0.1:{door}")
            with (home / "log").open("wb") as sink:
                return subprocess.Popen(command, env=environment, cwd=home, stdout=sink, stderr=sink)

        return first_request(start)[1]


def first_request(start: Callable[[int], subprocess.Popen[bytes]], host: str = "127.0.0.1") -> tuple[float, float]:
    """Wall time and the process's CPU time until it knocks at the proxy on the port that `start` is told; it is ended there."""
    with socket.create_server((host, 0)) as door:
        door.settimeout(120)
        began = time.monotonic()
        process = start(door.getsockname()[1])
        try:
            caller, _ = door.accept()
            wall_s, used_s = time.monotonic() - began, _cpu_s(process.pid)
            caller.close()
        finally:
            process.terminate()
            process.wait()
    return wall_s, used_s


def _course(kind: str, provisioning_s: float) -> tuple[Stage, ...]:
    passing = _PROVISIONING.get(kind)
    under_way = (Stage(state=passing, seconds=provisioning_s),) if passing and provisioning_s else ()
    return (*under_way, Stage(state="Succeeded"))


def _cpu_s(pid: int) -> float:
    """User and system time of a process, threads included, in ticks of a hundredth of a second."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_an_index(host: str) -> bool:
    return re.search(r"azure|microsoft|windows|github", host) is None


@contextmanager
def stand() -> Iterator[Stand]:
    """With an emulator of its own."""
    outside = dict(os.environ)
    for name in UNWANTED_VARIABLES:
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder, Emulator(passes=_is_an_index) as azure:
        known = Path(outside.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or "")
        certificates = Path(folder, "certificates.pem")
        certificates.write_text((known.read_text() if known.is_file() else "") + azure.ca_file.read_text())
        yield Stand(azure, Path(folder), certificates)
        azure.cloud.live(Serving).close()


def spread_s(runs: int) -> list[float]:
    """How long Azure takes in each round: spread over five seconds, the longest pause of a client, so that none is lucky."""
    return [8.0 + 5.0 * number / runs for number in range(runs)]


def place() -> tuple[str, str, str]:
    return world.SUBSCRIPTION_ID, world.RESOURCE_GROUP, world.WORKSPACE


def wall_s(found: Sequence[Measured]) -> float:
    return median(each.wall_s for each in found)


def cpu_s(found: Sequence[Measured]) -> float:
    return median(each.cpu_s for each in found)


def sent(found: Sequence[Measured]) -> float:
    return median(each.sent for each in found)


def polls(found: Sequence[Measured]) -> float:
    return median(each.polls for each in found)


def kilobytes(found: Sequence[Measured]) -> float:
    return median(each.body_bytes / 1000 for each in found)


def overhead_s(found: Sequence[Measured], provisioning_s: Sequence[float]) -> float:
    """What the client adds to the time that Azure takes: the mean, since the rounds differ in how long that is."""
    return mean(each.wall_s - one for each, one in zip(found, provisioning_s, strict=True))
