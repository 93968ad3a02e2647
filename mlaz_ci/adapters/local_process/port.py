"""TCP ports of this machine: choosing one that a service keeps, binding it, and naming who has it."""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from mlaz_ci.errors import PortInUse

# Below the ranges that systems give to outgoing connections (Linux from 32768, others from 49152), so that a
# kept port is not taken by chance while its service is down.
_FIRST = 20_000
_COUNT = 10_000
_LISTENING = "0A"


def pick(host: str, wish: str, taken: Collection[int]) -> int:
    """A free port, the same for the same wish as long as it is free: a service deleted and made again keeps its URI."""
    start = int.from_bytes(hashlib.sha256(wish.encode(errors="surrogateescape")).digest()[:4], "big")
    for step in range(_COUNT):
        number = _FIRST + (start + step) % _COUNT
        if number not in taken and is_free(host, number):
            return number
    raise PortInUse(f"No port from {_FIRST} to {_FIRST + _COUNT - 1} is free on this machine.")


def is_free(host: str, number: int) -> bool:
    """Free of lingering connections too, so that it can be held against everybody."""
    try:
        _bind(host, number, is_shared=False).close()
    except OSError:
        return False
    return True


def bind(host: str, number: int) -> socket.socket:
    """Hold the port; it does not listen yet. 0 is any free one. Raises PortInUse."""
    try:
        return _bind(host, number, is_shared=False)
    except OSError as error:
        if error.errno not in {errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL}:
            raise
    try:
        # Connections of a service that ended a moment ago (TIME_WAIT) do not block the port for this one.
        return _bind(host, number, is_shared=True)
    except OSError as error:
        raise _in_use(number, error) from error


def _bind(host: str, number: int, *, is_shared: bool) -> socket.socket:
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(is_shared))
        held.bind((host, number))
    except BaseException:
        held.close()
        raise
    return held


def _in_use(number: int, error: OSError) -> PortInUse:
    match error.errno:
        case errno.EACCES:
            return PortInUse(f"Port {number} may not be used by this user.", usually="Ports below 1024 are root's.")
        case errno.EADDRNOTAVAIL:
            return PortInUse(f"Port {number} cannot be bound here: {error.strerror}.")
        case _:
            holder = listener_of(number)
            return PortInUse(f"Port {number} is in use{f' by {holder}' if holder else ''}.")


def listener_of(number: int) -> str | None:
    """The program that listens on the port, `python3 (pid 123)`, where /proc tells."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(number)}
    if not wanted:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            for fd in (process / "fd").iterdir():
                with suppress(OSError):
                    if str(fd.readlink()) in wanted:
                        name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                        return f"{name} (pid {process.name})"
    return None


def _listening_inodes(number: int) -> list[str]:
    inodes = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == number:
                    inodes.append(fields[9])
    return inodes
