"""A deployment's process group: who it is, whether it lives, and how it is ended. Never known by a bare pid."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlaz_ci.ports import Clock

_POLL_S = 0.05
_PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """A process that leads its own group, as launch.py wrote it down: the pid means something with the other two only."""

    pid: int
    started: str
    boot_id: str
    port: int
    """Its own address, whether or not it has the service's port too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    pid: int
    group: int
    session: int
    started: str
    is_dead: bool


def read_identity(path: Path) -> Identity | None:
    """What launch.py left; None where there is nothing, or nothing that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return Identity(
            pid=int(value["pid"]),
            started=str(value["started"]),
            boot_id=str(value["boot_id"]),
            port=int(value["port"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def boot_id() -> str:
    path = _PROC / "sys/kernel/random/boot_id"
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    return _ask("sysctl", "-n", "kern.boottime").strip()


def is_alive(identity: Identity) -> bool:
    row = _row(identity.pid)
    return row is not None and not row.is_dead and row.started == identity.started and boot_id() == identity.boot_id


def members(identity: Identity) -> list[int]:
    """Living processes of the group. A master that is gone leaves its workers, and they still are the group."""
    if boot_id() != identity.boot_id:
        return []
    leader = _row(identity.pid)
    if leader is not None and leader.started != identity.started:
        return []  # the number was given to somebody else, who can only have it because the whole group had ended
    return [
        row.pid
        for row in _rows()
        if row.group == identity.pid and row.session == identity.pid and not row.is_dead and row.pid != os.getpid()
    ]


def stop_group(identity: Identity, clock: Clock, *, grace_s: float) -> None:
    """Ask the master to drain and end, wait for the whole group, then end what is left by force."""
    if is_alive(identity):
        _send(identity.pid, signal.SIGTERM)
    deadline_s = clock.now_s() + grace_s
    while is_alive(identity) and clock.now_s() < deadline_s:
        _reap(identity.pid)
        clock.sleep(_POLL_S)
    if not is_alive(identity):
        # Workers that outlive their master finish what they are answering and then see that it is gone.
        while members(identity) and clock.now_s() < deadline_s:
            clock.sleep(_POLL_S)
    kill_group(identity, clock)


def kill_group(identity: Identity, clock: Clock) -> None:
    deadline_s = clock.now_s() + 10.0
    while left := members(identity):
        for pid in left:
            _send(pid, signal.SIGKILL)
        _reap(identity.pid)
        if clock.now_s() > deadline_s:
            return  # uninterruptible: the kernel ends it when it can
        clock.sleep(_POLL_S)


def tell(identity: Identity, number: signal.Signals) -> None:
    if is_alive(identity):
        _send(identity.pid, number)


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap(pid: int) -> None:
    """Where we are its parent (pid 1 of a container), nobody else takes the dead process off the table."""
    with suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)


def _row(pid: int) -> _Row | None:
    if not _PROC.joinpath("self/stat").exists():
        return next((row for row in _rows() if row.pid == pid), None)
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return _Row(
        pid=pid, group=int(fields[2]), session=int(fields[3]), started=fields[19], is_dead=fields[0] in {"Z", "X"}
    )


def _rows() -> list[_Row]:
    if _PROC.joinpath("self/stat").exists():
        rows = (_row(int(each.name)) for each in _PROC.iterdir() if each.name.isdigit())
        return [row for row in rows if row is not None]
    # macOS has no /proc, and its ps shows no session number: there the group alone decides.
    rows_of_ps = []
    for line in _ask("ps", "-axo", "pid=,pgid=,state=,lstart=").splitlines():
        pid, group, state, *started = line.split()
        rows_of_ps.append(
            _Row(
                pid=int(pid),
                group=int(group),
                session=int(group),
                started=" ".join(started),
                is_dead=state.startswith("Z"),
            )
        )
    return rows_of_ps


def _ask(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=10).stdout
