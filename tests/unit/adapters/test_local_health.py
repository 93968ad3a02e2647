from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlaz_ci.adapters.local_process.health import look
from mlaz_ci.models import Observation, ServiceState

HOST = "127.0.0.1"
SHORT_S = 0.2


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections, as the kernel does for a worker that is at a prediction, and never answers."""
    with socket.create_server((HOST, 0)) as server:
        yield server


def deployment(folder: Path, port: int, *marks: str) -> Path:
    """A deployment whose process is this one."""
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (folder / "run").mkdir()
    identity = {"pid": os.getpid(), "started": started, "boot_id": boot_id, "port": port}
    (folder / "run/process.json").write_text(json.dumps(identity))
    for mark in marks:
        (folder / "run" / mark).write_text("")
    return folder


def test_look__has_traffic_and_accepts_but_does_not_answer_in_time__is_busy(
    tmp_path: Path, listener: socket.socket
) -> None:
    folder = deployment(tmp_path, listener.getsockname()[1], "ready", "traffic")
    seen = look(folder, HOST, timeout_s=SHORT_S)
    assert seen == Observation(state=ServiceState.HEALTHY, detail="busy")


def test_look__candidate_does_not_answer_in_time__is_unhealthy(tmp_path: Path, listener: socket.socket) -> None:
    seen = look(deployment(tmp_path, listener.getsockname()[1], "ready"), HOST, timeout_s=SHORT_S)
    assert (seen.state, seen.detail) == (ServiceState.UNHEALTHY, "the health route did not answer within 0.2 s")


def test_look__nothing_accepts__is_unhealthy(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    seen = look(deployment(tmp_path, port, "ready", "traffic"), HOST, timeout_s=SHORT_S)
    assert seen.state is ServiceState.UNHEALTHY
    assert "refused" in seen.detail


def test_look__process_ended__is_failed_and_never_busy(tmp_path: Path, listener: socket.socket) -> None:
    folder = deployment(tmp_path, listener.getsockname()[1], "ready", "traffic")
    identity = json.loads((folder / "run/process.json").read_text())
    (folder / "run/process.json").write_text(json.dumps({**identity, "started": "1"}))
    assert look(folder, HOST, timeout_s=SHORT_S).state is ServiceState.FAILED
