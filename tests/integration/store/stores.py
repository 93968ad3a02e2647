"""Real tracking stores for the tests: made by mlflow itself in processes of its own, as users make them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.serving.environments import environment, lock

SCRIPT = Path(__file__).with_name("log_runs.py")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_FILE_STORE": "true", "GIT_PYTHON_REFRESH": "quiet"}
SERVER_ONLY = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # half of the server's start


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A tracking store with the runs of log_runs.py in it. `downloads` holds what mlflow itself downloads of `run`."""

    tracking_uri: str
    ids: Mapping[str, Any]
    downloads: Path

    @property
    def run_id(self) -> str:
        return str(self.ids["run"])

    @property
    def registered(self) -> str:
        return str(self.ids["registered"])

    @property
    def has_logged_models(self) -> bool:
        return self.ids["model"] is not None


def mlflow_2_python() -> Path:
    """An interpreter with mlflow 2.22 and what its databases need, from the cache of environments."""
    requirements = ["mlflow-skinny==2.22.0", "pandas<3", "scipy", "cloudpickle", "sqlalchemy<2.1", "alembic"]
    return environment(lock(requirements, "3.11"), "3.11")


def skinny_python() -> Path:
    """An interpreter with mlflow-skinny alone, as in the image."""
    return environment(lock(["mlflow-skinny==3.15.0", "pyyaml"], "3.11"), "3.11")


def log_runs(
    tracking_uri: str, folder: Path, python: str | Path = sys.executable, *, registered: str = "churn model"
) -> Logged:
    """`registered` tells apart the registered models of several calls for one store."""
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    done = subprocess.run(
        [str(python), str(SCRIPT), tracking_uri, str(downloads), registered],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=folder,
        env={**surroundings(), **QUIET},
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("IDS="))
    return Logged(tracking_uri=tracking_uri, ids=json.loads(line.removeprefix("IDS=")), downloads=downloads / "model")


@contextmanager
def mlflow_server(folder: Path, *arguments: str) -> Iterator[str]:
    """`mlflow server` on a port of its own, ended with all its workers."""
    folder.mkdir(parents=True)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *store, *arguments],
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**surroundings(), **QUIET, **SERVER_ONLY},
            start_new_session=True,
        )
    try:
        wait_until_served(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            pytest.fail(f"mlflow server ended:\n{log.read_text()}")
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.RequestException:
            try:
                process.wait(timeout=0.25)
            except subprocess.TimeoutExpired:
                continue
    pytest.fail(f"mlflow server did not answer:\n{log.read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def files_of(folder: Path) -> dict[str, bytes]:
    """A model's files. mlflow's own download adds a note of where they came from, which is not the model's."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name != "registered_model_meta"}


def surroundings() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "PYTEST_", "COV_"))}
