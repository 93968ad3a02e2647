"""A serving backend small enough for tests: a real HTTP server per service that says who served what."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.azure.backends import Handle, Spec, StartFailed


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, spec: Spec, backend: EchoBackend) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spec = spec
        self.backend = backend
        self.log: list[str] = []
        self.open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted, address = super().get_request()
        self.open.add(accepted)
        return accepted, address

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that gave up is none of the service's faults."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        backend = self.server.backend
        backend.connections.add(self.client_address)
        backend.gate.wait(20)
        time.sleep(backend.takes_s)
        backend.served.append(self.server.spec.name)
        self.server.log.append(f"served {self.path}")
        if b"stream" in content:
            self._stream(backend)
            return
        said: Any = {"served_by": self.server.spec.name, "path": self.path, "body": json.loads(content or b"null")}
        self._send(backend.status, json.dumps(said).encode())

    def _stream(self, backend: EchoBackend) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        self.wfile.flush()
        backend.second.wait(20)
        self.wfile.write(b"6\r\nsecond\r\n0\r\n\r\n")

    def do_GET(self) -> None:
        self._send(200, b'{"swagger": "2.0"}')

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


class EchoService:
    def __init__(self, spec: Spec, backend: EchoBackend) -> None:
        self._server = _Server(spec, backend)
        self._backend = backend
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def logs(self) -> str:
        return "\n".join(self._server.log)

    def stop(self) -> None:
        """At once, as a killed process ends: whoever is being answered hears no more."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._backend.running -= 1


class EchoBackend:
    """`crash_log`: the next starts fail with it. `gate`: cleared, requests wait; `takes_s`: each takes so long.

    `status`: what services answer. `served`: who answered, request by request.
    """

    def __init__(self) -> None:
        self.specs: list[Spec] = []
        self.running = 0
        self.crash_log: str | None = None
        self.status = 200
        self.takes_s = 0.0
        self.served: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        # A streamed answer's second half waits for this.
        self.second = threading.Event()
        self.connections: set[Any] = set()

    def start(self, spec: Spec) -> Handle:
        self.specs.append(spec)
        if self.crash_log is not None:
            raise StartFailed(self.crash_log)
        self.running += 1
        return EchoService(spec, self)

    def close(self) -> None:
        self.gate.set()
        self.second.set()
