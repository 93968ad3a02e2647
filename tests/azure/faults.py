"""Faults by rule: which exchanges, how many of them, and what goes wrong.

Each fault says whether the request still takes effect: a lost answer to a creation that happened is the one worth
testing most. Knows no room.
"""

from __future__ import annotations

import fnmatch
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from tests.azure.messages import Delivery, Request, Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """This response instead of the room's. `after_effect`: the room does its work first, and its answer is lost."""

    response: Response | Callable[[Request], Response]
    after_effect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """The connection is reset (RST), before the request took effect or after it."""

    after_effect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Real seconds before the request is looked at."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowBody:
    """The room's answer, its body in `pieces` with a pause before each."""

    pieces: int
    pause_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedBody:
    """The room's answer with its full Content-Length, the connection closed after `sent_bytes` of the body."""

    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedHeaders:
    """The room's answer with headers set, or taken out (None): a Retry-After, a lost Operation-Location."""

    headers: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """The host cannot be reached: the proxy answers 502 before any request, as behind a private link without a way in."""

    message: str = "tests.azure: by a fault rule this host cannot be reached from here"


Fault = Answer | Reset | Delay | SlowBody | TruncatedBody | ChangedHeaders | Unreachable


def json_error(
    status: int, payload: Any, *, headers: Mapping[str, str] | None = None, after_effect: bool = False
) -> Answer:
    return Answer(response=Response.json(payload, status=status, headers=headers), after_effect=after_effect)


def html_error(
    status: int, html: str, *, headers: Mapping[str, str] | None = None, after_effect: bool = False
) -> Answer:
    response = Response.text(html, status=status, content_type="text/html").with_headers(dict(headers or {}))
    return Answer(response=response, after_effect=after_effect)


def empty_body(status: int, *, headers: Mapping[str, str] | None = None, after_effect: bool = False) -> Answer:
    return Answer(response=Response.empty(status, headers), after_effect=after_effect)


@dataclass(slots=True, kw_only=True)
class Rule:
    """Which exchanges a fault befalls: host by glob, path by a regular expression searched in the decoded path."""

    fault: Fault
    host: str = "*"
    method: str = "*"
    path: str = ""
    # None: for ever. `skip` exchanges that match pass unharmed first.
    times: int | None = 1
    skip: int = 0
    hits: int = 0

    def matches(self, method: str, host: str, path: str) -> bool:
        return (
            self.times != 0
            and fnmatch.fnmatchcase(host, self.host.lower())
            and self.method in {"*", method}
            and re.search(self.path, path) is not None
        )

    def take(self) -> bool:
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.hits += 1
        return True


@dataclass(frozen=True, slots=True)
class Plan:
    """The faults that befall one exchange, each doing its part at its moment."""

    faults: tuple[Fault, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(type(fault).__name__ for fault in self.faults)

    @property
    def delay_s(self) -> float:
        return sum(fault.seconds for fault in self.faults if isinstance(fault, Delay))

    def instead(self, request: Request) -> Delivery | None:
        """What the client gets although the room was never asked."""
        for fault in self.faults:
            match fault:
                case Answer(after_effect=False, response=response):
                    return Delivery(response=response(request) if callable(response) else response)
                case Reset(after_effect=False):
                    return Delivery(response=Response(status=0), reset=True)
                case _:
                    pass
        return None

    def apply(self, request: Request, response: Response) -> Delivery:
        """What the client gets of the room's answer."""
        delivery = Delivery(response=response)
        for fault in self.faults:
            delivery = _applied(fault, request, delivery)
        return delivery


def _applied(fault: Fault, request: Request, delivery: Delivery) -> Delivery:
    response = delivery.response
    match fault:
        case Answer(response=answer):
            return Delivery(response=answer(request) if callable(answer) else answer)
        case Reset():
            return Delivery(response=response, reset=True)
        case SlowBody(pieces=pieces, pause_s=pause_s):
            return Delivery(response=response, pieces=pieces, pause_s=pause_s)
        case TruncatedBody(sent_bytes=sent_bytes):
            return Delivery(response=response, truncate_after=sent_bytes)
        case ChangedHeaders(headers=headers):
            return Delivery(response=response.with_headers(headers))
        case Delay() | Unreachable():
            return delivery
        case _:
            assert_never(fault)


class Faults:
    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        fault: Fault,
        *,
        host: str = "*",
        method: str = "*",
        path: str = "",
        times: int | None = 1,
        skip: int = 0,
    ) -> Rule:
        """The rule, so that a test can read its `hits`; an Unreachable counts connections, all others requests."""
        rule = Rule(fault=fault, host=host, method=method, path=path, times=times, skip=skip)
        with self._lock:
            self._rules.append(rule)
        return rule

    def plan(self, request: Request) -> Plan:
        with self._lock:
            return Plan(
                tuple(
                    rule.fault
                    for rule in self._rules
                    if not isinstance(rule.fault, Unreachable)
                    and rule.matches(request.method, request.host, request.path)
                    and rule.take()
                )
            )

    def unreachable(self, host: str) -> Unreachable | None:
        with self._lock:
            for rule in self._rules:
                if isinstance(rule.fault, Unreachable) and rule.matches("*", host, "") and rule.take():
                    return rule.fault
        return None

    def unused(self) -> list[Rule]:
        """Rules that never struck: a test that expects a fault and never met it proves nothing."""
        with self._lock:
            return [rule for rule in self._rules if not rule.hits]

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
