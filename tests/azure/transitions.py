"""Scripted transitions: "Creating for three polls (or ten seconds), then Failed with this error".

A room keeps a Progress in its state and asks it what a poll shall see; a test lays a Script in front of the next
operation of a kind. Knows no HTTP and no resource.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.azure.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A state and how long it lasts: a number of polls, or seconds of the cloud's clock; with neither it is the last."""

    state: str
    polls: int | None = None
    seconds: float | None = None
    # The error the room is to report while in this state, in the room's own shape.
    error: dict[str, Any] | None = None

    @property
    def is_last(self) -> bool:
        return self.polls is None and self.seconds is None


@dataclass(slots=True)
class Progress:
    """One thing on its way through its stages."""

    stages: tuple[Stage, ...]
    began_s: float
    index: int = 0
    polls_seen: int = 0

    def __post_init__(self) -> None:
        if not self.stages or not self.stages[-1].is_last or any(stage.is_last for stage in self.stages[:-1]):
            raise ValueError("the last stage, and only that, lasts for ever: give every other one polls or seconds")

    def peek(self, clock: Clock) -> Stage:
        """The stage as it stands now; looking does not count as a poll."""
        now_s = clock.now_s()
        while (stage := self.stages[self.index]).seconds is not None and now_s - self.began_s >= stage.seconds:
            self._enter_next(self.began_s + stage.seconds)
        return stage

    def poll(self, clock: Clock) -> Stage:
        """The stage a poll sees; a stage of three polls is seen by three of them."""
        stage = self.peek(clock)
        if stage.polls is not None:
            if self.polls_seen >= stage.polls:
                self._enter_next(clock.now_s())
                return self.poll(clock)
            self.polls_seen += 1
        return stage

    def is_done(self, clock: Clock) -> bool:
        return self.peek(clock).is_last

    def _enter_next(self, at_s: float) -> None:
        self.index += 1
        self.began_s = at_s
        self.polls_seen = 0


def after_polls(polls: int, *states: str, error: dict[str, Any] | None = None) -> tuple[Stage, ...]:
    """Each state for `polls` polls, then the last for ever, with `error`."""
    *passing, last = states
    return (*(Stage(state=state, polls=polls) for state in passing), Stage(state=last, error=error))


def after_seconds(seconds: float, *states: str, error: dict[str, Any] | None = None) -> tuple[Stage, ...]:
    *passing, last = states
    return (*(Stage(state=state, seconds=seconds) for state in passing), Stage(state=last, error=error))


@dataclass(slots=True, kw_only=True)
class Script:
    """What the next operations of a kind, on a name that matches, shall go through. `times=None`: all of them."""

    kind: str
    stages: tuple[Stage, ...]
    name: str = ".*"
    times: int | None = 1
    # Anything else the room understands: a log text, a field of the resource.
    extra: dict[str, Any] = field(default_factory=dict)


class Scripts:
    def __init__(self) -> None:
        self._scripts: list[Script] = []
        self._lock = threading.Lock()

    def add(
        self,
        kind: str,
        stages: Sequence[Stage],
        *,
        name: str = ".*",
        times: int | None = 1,
        extra: dict[str, Any] | None = None,
    ) -> None:
        script = Script(kind=kind, stages=tuple(stages), name=name, times=times, extra=extra or {})
        with self._lock:
            self._scripts.append(script)

    def take(self, kind: str, name: str) -> Script | None:
        """The script laid for this operation, used up by one; None: the room's own course."""
        with self._lock:
            for script in self._scripts:
                if script.kind == kind and script.times != 0 and re.fullmatch(script.name, name):
                    if script.times is not None:
                        script.times -= 1
                    return script
        return None
