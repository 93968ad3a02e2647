"""HTTP/1.1 on a byte stream: heads, bodies, and how a response is written. Knows no hosts, no TLS, no rooms."""

from __future__ import annotations

import email.utils
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import BinaryIO

from tests.azure.messages import Delivery, Headers, Response, Stream

_MAX_LINE_BYTES = 1 << 16
_MAX_HEADERS = 200
_CHUNK_BYTES = 1 << 16
_NO_BREAKS = {ord(character): None for character in "\r\n\0"}
_CHUNK_SIZE = re.compile(r"[0-9a-fA-F]{1,16}")
MAX_BODY_BYTES = 1 << 30


class Malformed(Exception):
    """Bytes that are no HTTP/1.1 request, or more of them than the emulator takes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    method: str
    target: str
    version: str
    headers: Headers

    @property
    def keep_alive(self) -> bool:
        said = ",".join(self.headers.get_all("Connection") or self.headers.get_all("Proxy-Connection")).lower()
        words = {word.strip() for word in said.split(",")}
        return "close" not in words if self.version == "HTTP/1.1" else "keep-alive" in words


def _line(stream: BinaryIO) -> str | None:
    raw = stream.readline(_MAX_LINE_BYTES + 1)
    if not raw:
        return None
    if len(raw) > _MAX_LINE_BYTES:
        raise Malformed(431, "a line of the request's head is too long")
    return raw.decode("latin-1").rstrip("\r\n")


def read_head(stream: BinaryIO) -> Head | None:
    """The next request's head, or None when the client is done."""
    line = _line(stream)
    if line == "":
        line = _line(stream)
    if not line:
        return None
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise Malformed(400, f"no HTTP/1.1 request line: {line[:200]!r}")
    pairs: list[tuple[str, str]] = []
    while header := _line(stream):
        name, colon, value = header.partition(":")
        if not colon or len(pairs) >= _MAX_HEADERS:
            raise Malformed(400, f"no header field: {header[:200]!r}")
        pairs.append((name.strip(), value.strip()))
    return Head(method=parts[0], target=parts[1], version=parts[2], headers=Headers(pairs))


def _exactly(stream: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise ConnectionResetError("the client closed the connection inside a request body")
        left -= len(chunk)
        yield chunk


def read_body(stream: BinaryIO, headers: Headers, max_bytes: int = MAX_BODY_BYTES) -> Iterator[bytes]:
    if "chunked" in headers.get("Transfer-Encoding").lower():
        yield from _read_chunked(stream, max_bytes)
        return
    lengths = set(headers.get_all("Content-Length")) or {"0"}
    length = min(lengths)
    if len(lengths) > 1 or not (length.isascii() and length.isdigit()):
        raise Malformed(400, f"Content-Length is no number: {', '.join(sorted(lengths))!r}")
    if int(length) > max_bytes:
        raise Malformed(413, f"a body of {length} bytes is more than the {max_bytes} the emulator takes")
    yield from _exactly(stream, int(length))


def _read_chunked(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    total = 0
    while True:
        line = _line(stream)
        if line is None:
            raise ConnectionResetError("the client closed the connection inside a request body")
        size_line = line.partition(";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(size_line):
            raise Malformed(400, f"no chunk size: {size_line[:50]!r}")
        size = int(size_line, 16)
        if size == 0:
            while _line(stream):
                pass
            return
        total += size
        if total > max_bytes:
            raise Malformed(413, f"a chunked body of more than {max_bytes} bytes")
        yield from _exactly(stream, size)
        _line(stream)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def head_bytes(response: Response, *, keep_alive: bool, method: str, in_chunks: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {response.status} {_reason(response.status)}"]
    bodiless = response.status in {204, 304}
    given = {name.lower() for name, _ in response.headers}
    # HEAD answers with the length of what GET would send; a room that knows it sets Content-Length itself.
    if isinstance(response.body, Stream):
        lines += ["Transfer-Encoding: chunked"] if in_chunks else []
    elif "content-length" not in given and not bodiless:
        lines.append(f"Content-Length: {response.size}")
    if "date" not in given:
        lines.append(f"Date: {email.utils.formatdate(usegmt=True)}")
    lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
    # A name that a client chose may stand in a header; a line of its own it shall not get.
    lines += [f"{name}: {value}".translate(_NO_BREAKS) for name, value in response.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def write_delivery(
    connection: socket.socket,
    delivery: Delivery,
    *,
    method: str,
    keep_alive: bool,
    in_chunks: bool = True,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Writes the response as its delivery says; a truncated one ends early and leaves closing to the caller."""
    response = delivery.response
    if isinstance(response.body, Stream) and (delivery.truncate_after is not None or delivery.pieces > 1):
        # What is cut up by a fault is no stream any more: its length is known.
        response = replace(response, body=b"".join(response.chunks()))
    goes_on = keep_alive and delivery.truncate_after is None
    head = head_bytes(response, keep_alive=goes_on, method=method, in_chunks=in_chunks)
    if method == "HEAD" or response.status in {204, 304}:
        connection.sendall(head)
        return
    if delivery.truncate_after is not None or delivery.pieces > 1:
        content = b"".join(response.chunks())[: delivery.truncate_after]
        connection.sendall(head)
        step = max(1, -(-len(content) // delivery.pieces))
        for start in range(0, len(content), step):
            sleep(delivery.pause_s)
            connection.sendall(content[start : start + step])
        return
    if isinstance(response.body, Stream):
        connection.sendall(head)
        for piece in response.chunks():
            framed = f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if piece and in_chunks else piece
            connection.sendall(framed)
        if in_chunks:
            connection.sendall(b"0\r\n\r\n")
        return
    if response.size <= _CHUNK_BYTES:
        connection.sendall(head + b"".join(response.chunks()))
        return
    connection.sendall(head)
    for chunk in response.chunks():
        connection.sendall(chunk)
