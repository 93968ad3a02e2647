"""The Cloud: one value holding everything a test may change, put back to its beginnings before each test.

Rooms keep their own state classes; the Cloud holds one instance of each and knows none of them.
"""

from __future__ import annotations

import contextlib
import pickle
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.azure.clock import Clock, RealClock
from tests.azure.faults import Faults
from tests.azure.jwt import Keys
from tests.azure.trace import Trace
from tests.azure.transitions import Scripts

T = TypeVar("T")
_STATE_FILE = "state.pickle"
# Counted up when what a room keeps changes its shape.
_FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Something no test may overlook. `kind`: refused-host, not-implemented, emulator-error or contract."""

    kind: str
    text: str
    exchange: int = 0

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class Cloud:
    """`folder` holds what is large (blobs, logs) and, for people, the saved state; it belongs to this Cloud alone."""

    def __init__(self, folder: Path, *, clock: Clock | None = None) -> None:
        self.folder = folder
        self.clock: Clock = clock or RealClock()
        self.faults = Faults()
        self.scripts = Scripts()
        self.trace = Trace()
        # Keys outlive a reset: making them costs more than a test.
        self.keys = Keys()
        # Held around every handler that is not marked slow.
        self.lock = threading.RLock()
        self._failures: list[Failure] = []
        self._states: dict[type[Any], Any] = {}
        self._live: dict[type[Any], Any] = {}

    def state(self, kind: type[T]) -> T:
        """The one `kind` of this cloud, made by its constructor without arguments when first asked for.

        It must pickle: it is what `python -m tests.azure` keeps in its folder.
        """
        with self.lock:
            if kind not in self._states:
                self._states[kind] = kind()
            found: T = self._states[kind]
            return found

    def live(self, kind: type[T], make: Callable[[], T] | None = None) -> T:
        """The one `kind` that cannot be saved (processes, threads, sockets); its close() is called at reset and stop."""
        with self.lock:
            if kind not in self._live:
                self._live[kind] = (make or kind)()
            found: T = self._live[kind]
            return found

    def room_folder(self, name: str) -> Path:
        """A folder for a room's files, gone at reset."""
        folder = self.folder / "rooms" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def new_id(self) -> str:
        return str(uuid.uuid4())

    def fail(self, kind: str, text: str, exchange: int = 0) -> None:
        with self.lock:
            self._failures.append(Failure(kind=kind, text=text, exchange=exchange))

    @property
    def failures(self) -> tuple[Failure, ...]:
        return tuple(self._failures)

    def take_failures(self, kind: str | None = None) -> list[Failure]:
        """The failures so far (of a kind), taken off the list: for a test that provoked them."""
        with self.lock:
            taken = [failure for failure in self._failures if kind in {None, failure.kind}]
            self._failures = [failure for failure in self._failures if failure not in taken]
            return taken

    def reset(self, *, clock: Clock | None = None) -> None:
        """A new cloud behind the same door: rooms, rules, scripts, trace, failures and files as at the beginning."""
        self.close()
        with self.lock:
            self._states.clear()
            self._failures.clear()
            self.clock = clock or RealClock()
            self.faults = Faults()
            self.scripts = Scripts()
            self.trace.clear()
            shutil.rmtree(self.folder / "rooms", ignore_errors=True)

    def close(self) -> None:
        with self.lock:
            live, self._live = self._live, {}
        for part in live.values():
            if hasattr(part, "close"):
                part.close()

    def save(self) -> None:
        """Writes the rooms' state beside its files; a crash while writing leaves the state of before."""
        with self.lock:
            content = pickle.dumps({"format": _FORMAT, "states": self._states, "keys": self.keys.dump()})
        fresh = self.folder / f"{_STATE_FILE}.new"
        fresh.write_bytes(content)
        fresh.replace(self.folder / _STATE_FILE)

    def load(self) -> bool:
        """Takes up what save() left in the folder; False when there is nothing."""
        with contextlib.suppress(FileNotFoundError):
            saved = pickle.loads((self.folder / _STATE_FILE).read_bytes())
            if saved.get("format") != _FORMAT:
                raise ValueError(f"{self.folder / _STATE_FILE} is of another version of the emulator: remove it")
            with self.lock:
                self._states = saved["states"]
                self.keys.load(saved["keys"])
            return True
        return False
