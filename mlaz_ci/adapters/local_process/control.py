"""The words that a running deployment understands: take, share and release the service's port, and status."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlaz_ci.adapters.local_process.process import Identity, tell

_TIMEOUT_S = 20.0
_LONGEST_ADDRESS = 100  # of a unix socket: 104 bytes on macOS, 108 on Linux


class DoesNotAnswer(Exception):
    """The deployment's master is not there, or refused; the text says which."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    is_serving: bool
    fd: int | None = None
    """The service's socket, ours to close."""


def ask(folder: Path, identity: Identity, word: str, *, fd: int | None = None) -> Reply:
    """Say one word to the deployment in `folder`. Raises DoesNotAnswer."""
    received: list[int] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, _short(folder / "run") as run:
            channel.settimeout(_TIMEOUT_S)
            channel.connect(str(run / "control"))
            socket.send_fds(channel, [word.encode()], [] if fd is None else [fd])
            tell(identity, signal.SIGUSR2)
            text, received, _, _ = socket.recv_fds(channel, 4096, 1)
        reply = json.loads(text)
        if not reply["ok"]:
            raise DoesNotAnswer(str(reply["why"]))
        return Reply(is_serving=bool(reply["serving"]), fd=received[0] if received else None)
    except (OSError, ValueError, KeyError, TypeError) as error:
        for each in received:
            os.close(each)
        raise DoesNotAnswer(str(error) or type(error).__name__) from error


@contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """The folder by a path that a unix socket's address has room for."""
    if len(os.fsencode(folder)) <= _LONGEST_ADDRESS - len("/control"):
        yield folder
        return
    link = Path(tempfile.gettempdir(), f"mlaz-{os.getpid()}-{os.urandom(4).hex()}")
    link.symlink_to(folder, target_is_directory=True)
    try:
        yield link
    finally:
        with suppress(OSError):
            link.unlink()
