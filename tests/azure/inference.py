"""Real serving: Microsoft's inference server with the uploaded script, model and environment, as its own images start it.

A backend for backends.Serving. What it starts is a process group that ends with the service, with the cloud's reset, or with us.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.azure.backends import Spec, StartFailed
from tests.azure.conda import Environments, default_folder

_START_TIMEOUT_S = 180.0
_SERVER = "azureml-inference-server-http"
# What Azure's generated script does for an MLflow model that comes without code.
_NO_CODE = """\
import json, os
import mlflow
import pandas as pd


def init():
    global model
    root = os.environ["AZUREML_MODEL_DIR"]
    folder = next(path for path, _, files in os.walk(root) if "MLmodel" in files)
    model = mlflow.pyfunc.load_model(folder)


def run(raw_data):
    data = json.loads(raw_data)["input_data"]
    frame = pd.DataFrame(**data) if isinstance(data, dict) and "columns" in data else data
    answer = model.predict(frame)
    return answer.to_dict(orient="records") if hasattr(answer, "to_dict") else answer.tolist()
"""


@dataclass(slots=True)
class InferenceServer:
    """Implements backends.Backend."""

    environments: Environments = field(default_factory=lambda: Environments(default_folder()))

    def start(self, spec: Spec) -> Running:
        work = tempfile.TemporaryDirectory(prefix="inference-", ignore_cleanup_errors=True)
        try:
            python, script = self._prepare(spec, Path(work.name))
            return Running(spec, python, script, work)
        except BaseException:
            work.cleanup()
            raise

    def _prepare(self, spec: Spec, work: Path) -> tuple[Path, Path]:
        if spec.script_folder is not None and spec.script:
            return self.environments.python_of(spec.environment), _script_of(spec)
        script = work / "score.py"
        script.write_text(_NO_CODE, encoding="utf-8")
        return self.environments.python_of(_conda_of_model(spec), more=(_SERVER,)), script


def _script_of(spec: Spec) -> Path:
    assert spec.script_folder is not None
    script = spec.script_folder / spec.script
    if not script.is_file():
        raise StartFailed(f"ModuleNotFoundError: No entry script found at {spec.script}.\n")
    return script


def _conda_of_model(spec: Spec) -> str:
    if spec.environment or spec.model_folder is None:
        return spec.environment
    found = sorted(spec.model_folder.rglob("MLmodel"))
    conda = found[0].with_name("conda.yaml") if found else None
    if conda is None or not conda.is_file():
        raise StartFailed(
            "The model has neither an MLmodel file nor a conda.yaml; it needs a scoring script and an environment.\n"
        )
    text = conda.read_text(encoding="utf-8")
    requirements = conda.with_name("requirements.txt")
    # MLflow's conda.yaml repeats requirements.txt, or refers to it.
    return (
        text.replace("-r requirements.txt", requirements.read_text(encoding="utf-8"))
        if requirements.is_file()
        else text
    )


class Running:
    """One server's process group; implements backends.Handle."""

    def __init__(self, spec: Spec, python: Path, script: Path, work: tempfile.TemporaryDirectory[str]) -> None:
        self._work = work
        self._log = Path(work.name, "log")
        self._last = ""
        self._stopping = threading.Lock()
        server = python.with_name("azmlinfsrv")
        if not server.exists():
            raise StartFailed("bash: azmlinfsrv: command not found\n", message="The image has no inference server.")
        self._port = Port()
        self.address = f"http://127.0.0.1:{self._port.number}"
        environment = {
            **spec.variables,
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "HOME": work.name,
            "AZUREML_APP_ROOT": str(script.parent),
            "AZUREML_MODEL_DIR": str(spec.model_folder or ""),
            "PYTHONUNBUFFERED": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [str(server), "--entry_script", str(script), "--port", str(self._port.number)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=script.parent,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self.stop)
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def _await_answer(self) -> None:
        until = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise StartFailed(self.logs())
            with contextlib.suppress(urllib.error.URLError, OSError), _direct.open(self.address, timeout=5.0):
                return
            time.sleep(0.1)
        raise StartFailed(self.logs())

    def logs(self) -> str:
        """Also when the server has ended."""
        with contextlib.suppress(OSError):
            self._last = self._log.read_text(encoding="utf-8", errors="replace")
        return self._last

    def stop(self) -> None:
        with self._stopping:
            atexit.unregister(self.stop)
            self.logs()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._port.release()
            self._work.cleanup()


# A proxy that the tests set is the emulator itself.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Port:
    """A port that no other service of this user is given before it is released.

    The server binds it seconds later: were it one of the kernel's own choice, another could have it by then, and a caller
    would hear the wrong model. So it lies below the kernel's range, and a file's lock keeps it among processes.
    """

    def __init__(self, candidates: Sequence[int] = range(20_000, 30_000)) -> None:
        folder = Path(tempfile.gettempdir(), f"tests-azure-ports-{os.getuid()}")
        folder.mkdir(exist_ok=True)
        for number in random.sample(candidates, len(candidates)):
            file = (folder / str(number)).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as probe:
                    probe.bind(("", number))
            except OSError:
                file.close()
                continue
            self.number, self._file = number, file
            return
        raise OSError("no port is free for another service")

    def release(self) -> None:
        self._file.close()
