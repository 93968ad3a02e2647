"""Every exchange that passed the door, for tests to ask: who called what, how large, how many at once."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.azure.messages import Headers, Request, Response

_KEPT_BODY_BYTES = 1 << 20
_KEPT_EXCHANGES = 50_000
# Of all bodies together: beyond it the oldest are forgotten, so that an emulator may run for days.
_KEPT_BODIES_BYTES = 256 << 20


@dataclass(slots=True, kw_only=True)
class Exchange:
    number: int
    started_s: float
    # Exchanges under way when this one began, itself included.
    concurrency: int
    method: str = ""
    scheme: str = ""
    host: str = ""
    path: str = ""
    target: str = ""
    query: dict[str, str] = field(default_factory=dict)
    request_headers: Headers = field(default_factory=Headers)
    request_bytes: int = 0
    # The body itself while it is small; b"" above a mebibyte.
    request_body: bytes = b""
    status: int = 0
    response_headers: Headers = field(default_factory=Headers)
    response_bytes: int = 0
    response_body: bytes = b""
    room: str = ""
    route: str = ""
    faults: tuple[str, ...] = ()
    ended_s: float | None = None

    def summary(self) -> dict[str, Any]:
        fields = asdict(self)
        for bulky in ("request_body", "response_body", "request_headers", "response_headers"):
            del fields[bulky]
        return fields

    def __str__(self) -> str:
        return f"#{self.number} {self.method} {self.scheme}://{self.host}{self.target} -> {self.status or 'open'}"


class Trace:
    def __init__(self) -> None:
        self._exchanges: dict[int, Exchange] = {}
        self._lock = threading.Lock()
        self._last = 0
        self._kept_bytes = 0
        self._with_bodies: deque[Exchange] = deque()
        self._under_way: set[int] = set()
        self.most_concurrent = 0

    def begin(self) -> int:
        with self._lock:
            self._last += 1
            self._under_way.add(self._last)
            concurrency = len(self._under_way)
            self.most_concurrent = max(self.most_concurrent, concurrency)
            exchange = Exchange(number=self._last, started_s=time.time(), concurrency=concurrency)
            self._exchanges[self._last] = exchange
            self._exchanges.pop(self._last - _KEPT_EXCHANGES, None)
            return self._last

    def asked(self, request: Request) -> Exchange:
        """Notes what was asked. The exchange is known to find() from here on."""
        with self._lock:
            exchange = self._exchanges.get(request.number)
            if exchange is None:
                # Begun before a reset: it belongs to the test before, and is recorded nowhere.
                exchange = Exchange(number=request.number, started_s=time.time(), concurrency=1)
            exchange.method, exchange.scheme, exchange.host = request.method, request.scheme, request.host
            exchange.path, exchange.target, exchange.query = request.path, request.target, request.query
            exchange.request_headers, exchange.request_bytes = request.headers, request.body.size
            if request.body.size <= _KEPT_BODY_BYTES:
                exchange.request_body = request.body.read()
            self._weigh(exchange, len(exchange.request_body))
            return exchange

    def answered(self, exchange: Exchange, response: Response) -> None:
        with self._lock:
            exchange.status, exchange.response_headers = response.status, response.headers
            exchange.response_bytes = response.size
            if isinstance(response.body, bytes) and response.size <= _KEPT_BODY_BYTES:
                exchange.response_body = response.body
                self._weigh(exchange, response.size)

    def _weigh(self, exchange: Exchange, more: int) -> None:
        self._kept_bytes += more
        self._with_bodies.append(exchange)
        while self._kept_bytes > _KEPT_BODIES_BYTES or len(self._with_bodies) > 2 * _KEPT_EXCHANGES:
            oldest = self._with_bodies.popleft()
            self._kept_bytes -= len(oldest.request_body) + len(oldest.response_body)
            oldest.request_body = oldest.response_body = b""

    def end(self, number: int) -> None:
        with self._lock:
            self._under_way.discard(number)
            if exchange := self._exchanges.get(number):
                exchange.ended_s = time.time()

    def clear(self) -> None:
        """Forgets what was; numbers go on, so that an exchange still open is never taken for a new one."""
        with self._lock:
            self._exchanges.clear()
            self._under_way.clear()
            self._with_bodies.clear()
            self._kept_bytes = 0
            self.most_concurrent = 0

    def find(
        self,
        *,
        method: str | None = None,
        host: str | None = None,
        path: str | None = None,
        status: int | None = None,
        where: Callable[[Exchange], bool] | None = None,
    ) -> list[Exchange]:
        """Exchanges in their order; `host` and `path` are regular expressions searched for."""
        with self._lock:
            exchanges = [exchange for exchange in self._exchanges.values() if exchange.method]
        return [
            exchange
            for exchange in exchanges
            if (method is None or exchange.method == method)
            and (host is None or re.search(host, exchange.host))
            and (path is None or re.search(path, exchange.path))
            and (status is None or exchange.status == status)
            and (where is None or where(exchange))
        ]

    def hosts(self) -> set[str]:
        return {exchange.host for exchange in self.find()}

    def __len__(self) -> int:
        return len(self.find())
