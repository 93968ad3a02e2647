"""Forwards a request to a service on this machine, over connections that are kept. Knows no endpoint."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from tests.azure.messages import Headers, Request, Response, Stream

_PIECE_BYTES = 1 << 16
# Of one hop, and not the next's business (RFC 9110, 7.6.1).
_HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade", "content-length", "host", "authorization", "date", "server"),
}


class Channels:
    """Connections to services, kept for the next request: cloud.live(Channels)."""

    def __init__(self) -> None:
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}
        self._lock = threading.Lock()

    def forward(self, address: str, request: Request, path: str, *, timeout_s: float) -> Response:
        """The service's answer. TimeoutError when it takes longer, OSError or HTTPException when it is not there."""
        connection, is_kept = self._taken(address, timeout_s)
        try:
            return self._exchanged(connection, address, request, path)
        except (ConnectionError, http.client.RemoteDisconnected):
            connection.close()
            if not is_kept:
                raise
        # The service closed a kept connection meanwhile: a fresh one tells whether it is there.
        fresh = self._fresh(address, timeout_s)
        return self._exchanged(fresh, address, request, path)

    def _exchanged(self, connection: http.client.HTTPConnection, address: str, request: Request, path: str) -> Response:
        headers = {name: value for name, value in request.headers if name.lower() not in _HOP_BY_HOP}
        headers["Content-Length"] = str(request.body.size)
        try:
            connection.request(request.method, path, body=request.body.chunks(), headers=headers)
            answer = connection.getresponse()
            streams = answer.length is None
            body = Stream(self._pieces(connection, address, answer)) if streams else answer.read()
        except BaseException:
            connection.close()
            raise
        pairs = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
        if not streams:
            self._done(connection, address, answer)
        return Response(status=answer.status, headers=Headers(pairs), body=body)

    def _pieces(
        self, connection: http.client.HTTPConnection, address: str, answer: http.client.HTTPResponse
    ) -> Iterator[bytes]:
        """What the service sends, as it sends it."""
        try:
            while piece := answer.read1(_PIECE_BYTES):
                yield piece
        except BaseException:
            connection.close()
            raise
        self._done(connection, address, answer)

    def _done(self, connection: http.client.HTTPConnection, address: str, answer: http.client.HTTPResponse) -> None:
        if answer.will_close:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(address, []).append(connection)

    def _taken(self, address: str, timeout_s: float) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            idle = self._idle.get(address)
            connection = idle.pop() if idle else None
        if connection is None:
            return self._fresh(address, timeout_s), False
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        return connection, True

    def _fresh(self, address: str, timeout_s: float) -> http.client.HTTPConnection:
        place = urlsplit(address)
        return http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port or 80, timeout=timeout_s)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()
