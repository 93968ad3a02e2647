"""The cloud's time: real seconds, or a clock that only the test moves."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Protocol


class Clock(Protocol):
    def now_s(self) -> float:
        """Seconds since 1970, UTC."""


class RealClock:
    def now_s(self) -> float:
        return time.time()


class FakeClock:
    """Stands still until advanced. Starts at the real now, since clients compare a token's `exp` with their own clock."""

    def __init__(self, start_s: float | None = None) -> None:
        self._now_s = time.time() if start_s is None else start_s
        self._lock = threading.Lock()

    def now_s(self) -> float:
        with self._lock:
            return self._now_s

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds


def utc(clock: Clock) -> dt.datetime:
    return dt.datetime.fromtimestamp(clock.now_s(), dt.UTC)


def iso8601(clock: Clock, digits: int = 7) -> str:
    """A time as Azure writes it: `2024-05-09T20:19:04.1234560Z`; the services differ in how many digits they give."""
    now = utc(clock)
    fraction = f"{now.microsecond:06d}0"[:digits]
    return now.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if digits else "") + "Z"
