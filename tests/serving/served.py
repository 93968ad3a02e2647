"""A real service: Microsoft's inference server with our score.py, in an environment of its own, on 127.0.0.1."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCORING_SCRIPT = Path(__file__).parents[2] / "mlaz_ci" / "serving" / "score.py"
START_TIMEOUT_S = 180.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text, parse_constant=_refuse)


@dataclass(frozen=True, kw_only=True)
class Served:
    port: int
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=found, text=response.read().decode())
        finally:
            connection.close()

    def score(self, body: object, headers: Mapping[str, str] | None = None) -> Answer:
        """POST /score; `body` is sent as JSON, or as it is where it is text or bytes."""
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        data = text.encode() if isinstance(text, str) else text
        return self.ask("POST", "/score", data, {"Content-Type": "application/json"} if headers is None else headers)


@contextmanager
def serve(
    python: Path,
    model_folder: Path,
    home: Path,
    variables: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Start the service and stop it. A failed start raises with its log.

    `home` is laid out as Azure lays out a container: the script and `files` in a folder of their own below AML_APP_ROOT.
    """
    code = home / "code"
    code.mkdir(parents=True, exist_ok=True)
    shutil.copy(SCORING_SCRIPT, code)
    for name, text in (files or {}).items():
        (code / name).write_text(text)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.set_inheritable(True)
    served = Served(port=listener.getsockname()[1], log_path=home / "log")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "AML_APP_ROOT": str(home),
        "AZUREML_ENTRY_SCRIPT": "code/score.py",
        "AZUREML_MODEL_DIR": str(model_folder),
        "OMP_NUM_THREADS": "1",
        **{name: value for name, value in os.environ.items() if name.startswith("OPENBLAS")},
        **(variables or {}),
    }
    arguments = ["-b", f"fd://{listener.fileno()}", "-w", "1", "--timeout", "120", "--access-logfile", "-"]
    with served.log_path.open("w") as log:
        process = subprocess.Popen(
            [str(python), "-m", "gunicorn", *arguments, "azureml_inference_server_http.server.entry:app"],
            cwd=home, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            pass_fds=[listener.fileno()],
        )  # fmt: skip
    listener.close()
    try:
        _wait_until_healthy(process, served)
        yield served
    finally:
        _stop(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], served: Served) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if "ready for serving traffic" in served.log and served.ask("GET", "/").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"The service did not start (exit code {process.poll()}):\n{served.log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _refuse(token: str) -> None:
    raise AssertionError(f"{token} is no JSON")
