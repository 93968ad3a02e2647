"""The door: an HTTP proxy that answers CONNECT, ends TLS under the client's nose, and hands requests in.

A thread per connection, since a handler may wait long for a real scoring server. It decides nothing: whom to admit and
what to answer is the Service's.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from dataclasses import replace
from typing import BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit

from tests.azure import wire
from tests.azure.authority import Authority
from tests.azure.messages import Body, Delivery, Request, Response, Stream

_HANDSHAKE_TIMEOUT_S = 30.0
_BACKLOG = 512
_PAUSE_S = 0.05


class Service(Protocol):
    """What stands behind the door."""

    def admit(self, scheme: str, host: str, port: int) -> Response | None:
        """None to let the client talk to the host, else the refusal it is to get."""

    def passes(self, host: str) -> bool:
        """Whether a connection to the host is passed through unread: it is none of the cloud's."""

    def begin(self) -> int:
        """A request's head has arrived: its number."""

    def answer(self, request: Request) -> Delivery: ...

    def end(self, number: int) -> None:
        """The exchange is over, however it went."""


class _Place(NamedTuple):
    scheme: str
    host: str
    target: str


def _acknowledge(connection: socket.socket) -> None:
    """At once: urllib3 has Nagle's algorithm on towards a proxy, and keeps a request's body back until its head is acknowledged.

    Left to the kernel that is 40 ms for each request with a body.
    """
    if hasattr(socket, "TCP_QUICKACK"):  # Linux
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class Proxy:
    def __init__(self, service: Service, authority: Authority, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._service = service
        self._authority = authority
        self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._acceptor = threading.Thread(target=self._accept, name="tests.azure proxy", daemon=True)

    def start(self) -> None:
        self._acceptor.start()

    def stop(self) -> None:
        self._stopping = True
        # accept() does not wake up when its socket is closed from another thread; a connection does wake it.
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname(), timeout=1):
            pass
        self._acceptor.join(timeout=5)
        self._listener.close()
        with self._lock:
            still_open, threads = list(self._open), list(self._threads)
        for connection in still_open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping or self._listener.fileno() < 0:
                    return
                # Too many files are open, or the client has gone already: the door stays open for the next.
                time.sleep(_PAUSE_S)
                continue
            if self._stopping:
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._open.add(connection)
                self._threads.add(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            # A client that goes away, in whatever way, is its own affair.
            with contextlib.suppress(OSError, wire.Malformed), connection:
                self._serve_plain(connection)
        finally:
            with self._lock:
                self._open.discard(connection)
                self._threads.discard(threading.current_thread())

    def _serve_plain(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            while head := self._next_head(connection, stream):
                if head.method == "CONNECT":
                    break
                if not self._forward(connection, stream, head):
                    return
            else:
                return
        host, _, port = head.target.rpartition(":")
        host = host.strip("[]").lower()
        if self._service.passes(host):
            self._relay(connection, host, int(port))
            return
        if refusal := self._service.admit("https", host, int(port) if port.isdigit() else 0):
            connection.sendall(_whole(refusal))
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._serve_tls(connection, host)

    def _relay(self, connection: socket.socket, host: str, port: int) -> None:
        with socket.create_connection((host, port), timeout=_HANDSHAKE_TIMEOUT_S) as there:
            there.settimeout(None)
            with self._lock:
                self._open.add(there)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_copy, args=(there, connection), daemon=True)
            back.start()
            _copy(connection, there)
            back.join()
            with self._lock:
                self._open.discard(there)

    def _serve_tls(self, connection: socket.socket, host: str) -> None:
        connection.settimeout(_HANDSHAKE_TIMEOUT_S)
        try:
            secured = self._authority.context(host).wrap_socket(connection, server_side=True)
        except ssl.SSLError:
            return
        with self._lock:
            self._open.discard(connection)
            self._open.add(secured)
        try:
            secured.settimeout(None)
            with secured, secured.makefile("rb") as stream:
                while head := self._next_head(secured, stream):
                    if not self._exchange(secured, stream, head, _Place("https", host, _origin_form(head.target))):
                        return
        finally:
            with self._lock:
                self._open.discard(secured)

    def _next_head(self, connection: socket.socket, stream: BinaryIO) -> wire.Head | None:
        try:
            head = wire.read_head(stream)
        except wire.Malformed as error:
            connection.sendall(_whole(Response.text(str(error), status=error.status)))
            raise
        _acknowledge(connection)
        return head

    def _forward(self, connection: socket.socket, stream: BinaryIO, head: wire.Head) -> bool:
        """A plain-HTTP request in absolute form, as clients send it to a proxy. Says whether the connection goes on."""
        parts = urlsplit(head.target)
        if parts.scheme != "http" or not parts.hostname:
            text = "This is the proxy of tests.azure: set it as HTTP_PROXY and HTTPS_PROXY; it is no web server itself."
            connection.sendall(_whole(Response.text(text, status=400)))
            return False
        if refusal := self._service.admit("http", parts.hostname, parts.port or 80):
            connection.sendall(_whole(refusal))
            return False
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return self._exchange(connection, stream, head, _Place("http", parts.hostname, target))

    def _exchange(self, connection: socket.socket, stream: BinaryIO, head: wire.Head, place: _Place) -> bool:
        number = self._service.begin()
        body, delivery = Body(), None
        try:
            if head.headers.get("Expect").lower() == "100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            try:
                body = Body.received(wire.read_body(stream, head.headers))
            except wire.Malformed as error:
                connection.sendall(_whole(Response.text(str(error), status=error.status)))
                return False
            request = Request(
                method=head.method,
                scheme=place.scheme,
                host=place.host.lower(),
                target=place.target,
                headers=head.headers,
                body=body,
                number=number,
            )
            delivery = self._service.answer(request)
            if delivery.reset:
                _reset(connection)
                return False
            # A client of HTTP/1.0 knows no chunks: what streams ends with the connection.
            is_plain = head.version == "HTTP/1.0" and isinstance(delivery.response.body, Stream)
            keep_alive = head.keep_alive and not self._stopping and not is_plain
            wire.write_delivery(connection, delivery, method=head.method, keep_alive=keep_alive, in_chunks=not is_plain)
            return keep_alive and delivery.truncate_after is None
        finally:
            body.close()
            if delivery is not None:
                delivery.response.close()
            self._service.end(number)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _origin_form(target: str) -> str:
    """The path and query of a target that was written in full, as a server must take it (RFC 9112, 3.2.2)."""
    if not target.lower().startswith(("https://", "http://")):
        return target
    parts = urlsplit(target)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _whole(response: Response) -> bytes:
    closing = replace(response, headers=response.headers.replaced({"Proxy-Agent": "tests.azure"}))
    return wire.head_bytes(closing, keep_alive=False, method="GET") + b"".join(closing.chunks())


def _reset(connection: socket.socket) -> None:
    # Lingering for no time at all makes close() send RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
