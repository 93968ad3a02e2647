"""One look at a deployment: what its processes, its marks on disk and its health route say."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from mlaz_ci.adapters.local_process import log
from mlaz_ci.adapters.local_process.process import Identity, boot_id, is_alive, read_identity
from mlaz_ci.models import Observation, ServiceState

TRAFFIC_MARK = "traffic"
_HEALTH_TIMEOUT_S = 10.0
_REASON_LINES = 400


def identity_of(folder: Path) -> Identity | None:
    return read_identity(folder / "run" / "process.json")


def had_traffic(folder: Path) -> bool:
    """Whether users' requests may have reached the deployment since it was started."""
    return (folder / "run" / TRAFFIC_MARK).exists()


def look(folder: Path, host: str, *, timeout_s: float = _HEALTH_TIMEOUT_S) -> Observation:
    if not folder.is_dir():
        return Observation(state=ServiceState.ABSENT, detail="it was never staged, or was removed")
    identity = identity_of(folder)
    if identity is None:
        return Observation(state=ServiceState.STOPPED, detail="not started")
    if is_alive(identity):
        return _look_at_living(folder, host, identity, timeout_s)
    if identity.boot_id != boot_id():
        return Observation(state=ServiceState.FAILED, detail="the machine was restarted")
    return Observation(state=ServiceState.FAILED, detail=_reason_of_end(folder))


def _look_at_living(folder: Path, host: str, identity: Identity, timeout_s: float) -> Observation:
    if not (folder / "run" / "ready").exists():
        return Observation(state=ServiceState.CREATING, detail="loading the model")
    is_connected = False
    try:
        connection = http.client.HTTPConnection(host, identity.port, timeout=timeout_s)
        try:
            connection.connect()
            is_connected = True
            connection.request("GET", "/")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        if not is_alive(identity):  # it ended while we asked
            return Observation(state=ServiceState.FAILED, detail=_reason_of_end(folder))
        if is_connected and isinstance(error, TimeoutError) and had_traffic(folder):
            # A prediction may take longer than this look. A worker that is stuck for good is replaced by its master.
            return Observation(state=ServiceState.HEALTHY, detail="busy")
        why = (
            f"did not answer within {timeout_s:g} s" if isinstance(error, TimeoutError) else f"does not answer: {error}"
        )
        return Observation(state=ServiceState.UNHEALTHY, detail=f"the health route {why}")
    if status == http.client.OK:
        return Observation(state=ServiceState.HEALTHY)
    return Observation(state=ServiceState.UNHEALTHY, detail=f"the health route answered {status}")


def _reason_of_end(folder: Path) -> str:
    code = _exit_code(folder)
    if code is None:
        return "the process was killed (signal 9, or it crashed)"
    if code == 0:
        return "the process was asked to end (SIGTERM) by something else than mlaz-ci"
    reason = log.last_exception(log.tail(folder / "log", _REASON_LINES))
    return reason or f"the process ended with exit code {code}"


def _exit_code(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "run" / "exit.json").read_text(encoding="utf-8"))["code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
