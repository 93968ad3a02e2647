"""A clock that moves when it is slept on, and by `tick`. Starts at noon UTC on a fixed day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    def __init__(self, start: datetime = datetime(2026, 8, 17, 12, 0, 0, tzinfo=UTC)) -> None:
        self._start = start
        self._elapsed_s = 0.0

    def now_s(self) -> float:
        return self._elapsed_s

    def utc_now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def sleep(self, duration_s: float) -> None:
        self.tick(max(0.0, duration_s))

    def tick(self, duration_s: float) -> None:
        self._elapsed_s += duration_s
