"""The action as a runner starts it: entrypoint.py in a process of its own, INPUT_* in, the runner's files out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlaz_ci.serving.surroundings import scrubbed_environment
from tests.runner_files import parse_file_command
from tests.serving.environments import CACHE

ROOT = Path(__file__).resolve().parents[3]
LOG_MODEL = """
import sys, json
from pathlib import Path
import mlflow, pandas as pd

class Adder(mlflow.pyfunc.PythonModel):
    def __init__(self, amount): self.amount = amount
    def predict(self, context, model_input, params=None): return (model_input["x"] + self.amount).tolist()

mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("adders")
example = pd.DataFrame({"x": [1.0, 2.0]})
signature = mlflow.models.infer_signature(example, [1.0])
made = {}
for amount in (1, 2):
    with mlflow.start_run() as run:
        mlflow.pyfunc.log_model(name="model", python_model=Adder(amount), signature=signature, input_example=example,
                                pip_requirements=["mlflow==" + mlflow.__version__])
    made[f"plus-{amount}"] = run.info.run_id
with mlflow.start_run() as run:
    mlflow.log_text("nothing", "notes.txt")
made["without-model"] = run.info.run_id
print(json.dumps(made))
"""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a step leaves behind."""

    exit_code: int
    outputs: Mapping[str, str]
    summary: str
    log: str

    @property
    def result(self) -> dict[str, object]:
        result: dict[str, object] = json.loads(self.outputs["result"])
        return result


@dataclass
class Step:
    """Runs the action with the given inputs, as often as a test likes, in one workspace."""

    workspace: Path
    tracking_uri: str
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, **inputs: str) -> subprocess.Popen[str]:
        for name in ("output", "summary"):
            (self.workspace / name).write_text("")
        given = {"tracking-uri": self.tracking_uri, **{key.replace("_", "-"): value for key, value in inputs.items()}}
        environ = {
            # What a runner behind a proxy or a private index has as well.
            **scrubbed_environment(os.environ, home=str(self.workspace)),
            "MLAZ_HOME": str(self.workspace / "home"),
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
            "GITHUB_ACTIONS": "true",
            "GITHUB_REPOSITORY": "acme/churn",
            "GITHUB_REPOSITORY_ID": "42",
            "GITHUB_OUTPUT": str(self.workspace / "output"),
            "GITHUB_STEP_SUMMARY": str(self.workspace / "summary"),
            **self.environ,
            **{f"INPUT_{name.upper()}": value for name, value in given.items()},
        }
        return subprocess.Popen(
            [sys.executable, str(ROOT / "entrypoint.py")],
            cwd=self.workspace,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="surrogateescape",
        )

    def finish(self, process: subprocess.Popen[str], timeout_s: float = 300) -> Ended:
        try:
            log, _ = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        return Ended(
            exit_code=process.returncode,
            outputs=parse_file_command((self.workspace / "output").read_text()),
            summary=(self.workspace / "summary").read_text(),
            log=log,
        )

    def run(self, **inputs: str) -> Ended:
        return self.finish(self.start(**inputs))

    def clean_up(self) -> None:
        """Whatever it leaves serving is stopped."""
        for name in self.folders("services"):
            self.run(command="cleanup", service_name=name)
        for process in _processes_of(self.workspace):
            os.kill(process, signal.SIGKILL)

    def folders(self, kind: str) -> list[str]:
        """What lies under MLAZ_HOME of this kind: services, models, environments."""
        folder = self.workspace / "home" / kind
        return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def command_line(
    folder: Path, arguments: Sequence[str], stdout: int = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`mlaz-ci ARGUMENTS` in `folder`, with the services of a step whose workspace that is."""
    environ = {**os.environ, "MLAZ_HOME": str(folder / "home"), **variables}
    program = "import sys; from mlaz_ci.main import run_command_line; sys.exit(run_command_line())"
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, check=False, cwd=folder, env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60
    )


def predict(uri: str, x: float = 1.0) -> object:
    body = json.dumps({"input_data": {"columns": ["x"], "data": [[x]]}}).encode()
    request = urllib.request.Request(uri, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@dataclass(frozen=True, kw_only=True)
class Tracking:
    uri: str
    runs: Mapping[str, str]

    def copy_model(self, folder: Path, *, pickled: bytes) -> None:
        """One of the models, with another pickle in the place of its own."""
        with sqlite3.connect(self.uri.removeprefix("sqlite:///")) as database:
            row = database.execute("select artifact_location from logged_models limit 1").fetchone()
        shutil.copytree(row[0].removeprefix("file://"), folder)
        (folder / "python_model.pkl").write_bytes(pickled)


@pytest.fixture(scope="session")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    """A store with two runs that log a model each (`plus-1`, `plus-2`), and one that logs none."""
    folder = tmp_path_factory.mktemp("tracking")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    environ = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    made = subprocess.run(
        [sys.executable, "-c", LOG_MODEL, uri], cwd=folder, env=environ, stdout=subprocess.PIPE, check=True, timeout=180
    )
    return Tracking(uri=uri, runs=json.loads(made.stdout.splitlines()[-1]))


@pytest.fixture
def step(tmp_path: Path, tracking: Tracking) -> Iterator[Step]:
    """A step in a workspace of its own, on a machine where nothing was ever deployed."""
    one = Step(tmp_path, tracking.uri)
    yield one
    one.clean_up()


@pytest.fixture
def later_step(tmp_path: Path, tracking: Tracking) -> Iterator[Step]:
    """The same on a machine that has built environments before; it has no services and no models."""
    one = on_a_used_machine(tmp_path, tracking)
    yield one
    one.clean_up()


def on_a_used_machine(workspace: Path, tracking: Tracking) -> Step:
    environments = CACHE / "product-environments"
    environments.mkdir(parents=True, exist_ok=True)
    (workspace / "home").mkdir()
    (workspace / "home" / "environments").symlink_to(environments, target_is_directory=True)
    return Step(workspace, tracking.uri)


def _processes_of(folder: Path) -> list[int]:
    """Processes whose command line names `folder`: whatever a failed test left running."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in entry.read_bytes() and int(entry.parent.name) != os.getpid():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found
