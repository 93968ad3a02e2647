"""A process that dies, and two that take turns: by the credential each signs with, and by a gate before the emulator's door."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.azure.messages import Delivery, Request


class Killed(BaseException):
    """No handler of errors may go on after a SIGKILL."""


@dataclass
class MortalCredential:
    """Signs `lives` requests; the process is dead from then on: nothing of it reaches Azure any more, its undo neither."""

    inner: Any
    lives: int
    signed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get_token(self, *scopes: str, **options: Any) -> Any:
        with self._lock:
            if self.signed >= self.lives:
                raise Killed
            self.signed += 1
        return self.inner.get_token(*scopes, **options)

    def renew(self, *, stale: str | None = None) -> None:
        self.inner.renew(stale=stale)


@dataclass
class NamedCredential:
    """Tells the gate whose a token is."""

    inner: Any
    name: str
    owners: dict[str, str]

    def get_token(self, *scopes: str, **options: Any) -> Any:
        token = self.inner.get_token(*scopes, **options)
        self.owners[token.token] = self.name
        return token

    def renew(self, *, stale: str | None = None) -> None:
        self.inner.renew(stale=stale)


class Gate:
    """Lets one request of one job through at a time, in the order that `choose` says; wraps the door's `answer`.

    `choose` gets the names of the jobs that have not ended and how many requests each has made, and says whose turn it is.
    `after` is called when a request has been answered, before the next.
    """

    def __init__(
        self,
        answer: Callable[[Request], Delivery],
        owners: dict[str, str],
        names: list[str],
        choose: Callable[[list[str], dict[str, int]], str],
        after: Callable[[Request], None],
    ) -> None:
        self._answer = answer
        self._owners = owners
        self._choose = choose
        self._after = after
        self._running = list(names)
        self._made = dict.fromkeys(names, 0)
        self._turn: str | None = None
        self._busy = False
        self._condition = threading.Condition()

    def ended(self, name: str) -> None:
        with self._condition:
            self._running.remove(name)
            self._turn = None
            self._condition.notify_all()

    def answer(self, request: Request) -> Delivery:
        name = self._owners.get(request.headers.get("Authorization").removeprefix("Bearer ").strip())
        if name is None:
            return self._answer(request)
        with self._condition:
            while not self._is_turn_of(name):
                if not self._condition.wait(30):
                    raise TimeoutError(f"{name} waits for its turn; it is {self._turn}'s of {self._running}")
            self._busy = True
        try:
            delivery = self._answer(request)
            self._after(request)
            return delivery
        finally:
            with self._condition:
                self._made[name] += 1
                self._busy, self._turn = False, None
                self._condition.notify_all()

    def _is_turn_of(self, name: str) -> bool:
        if self._busy:
            return False
        if self._turn is None:
            self._turn = self._choose(list(self._running), dict(self._made))
            self._condition.notify_all()
        return self._turn == name
