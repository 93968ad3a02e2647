"""What travels between the wire and the rooms: a request as the client meant it, a response as Azure would give it.

Knows HTTP's vocabulary and nothing of sockets, routes or Azure.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, unquote

JSON_TYPE = "application/json; charset=utf-8"
_CHUNK_BYTES = 1 << 16
_SPOOL_BYTES = 8 << 20


class Headers:
    """Header fields in their order; names compare without case, and may repeat."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[str, str]] | Mapping[str, str] = ()) -> None:
        items = pairs.items() if isinstance(pairs, Mapping) else pairs
        self.pairs: tuple[tuple[str, str], ...] = tuple(items)

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self.pairs if key.lower() == name.lower()), default)

    def get_all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key.lower() == name.lower()]

    def replaced(self, pairs: Mapping[str, str | None]) -> Headers:
        """These headers with `pairs` set; a value of None takes the header out."""
        gone = {name.lower() for name in pairs}
        kept = [(key, value) for key, value in self.pairs if key.lower() not in gone]
        return Headers(kept + [(key, value) for key, value in pairs.items() if value is not None])

    def __contains__(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"


class Body:
    """A request's body: in memory while small, in a temporary file of its own when large."""

    def __init__(self, content: bytes = b"") -> None:
        self._small = content
        self._file: IO[bytes] | None = None
        self.size = len(content)

    @classmethod
    def received(cls, chunks: Iterable[bytes]) -> Body:
        body = cls()
        # Closed by close(), which the proxy calls once the exchange is over.
        file = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        for chunk in chunks:
            file.write(chunk)
            body.size += len(chunk)
        body._file = file
        return body

    def read(self) -> bytes:
        if self._file is None:
            return self._small
        self._file.seek(0)
        return self._file.read()

    def chunks(self, size: int = _CHUNK_BYTES) -> Iterator[bytes]:
        """The body piece by piece: what a room that stores a large blob should use."""
        if self._file is None:
            yield self._small
            return
        self._file.seek(0)
        while chunk := self._file.read(size):
            yield chunk

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `path` is percent-decoded by segment with `//` collapsed; `target` is what the client wrote."""

    method: str
    scheme: str
    host: str
    target: str
    headers: Headers = field(default_factory=Headers)
    body: Body = field(default_factory=Body)
    # Its place in the trace; 0 outside of one.
    number: int = 0

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(unquote(part) for part in self.target.partition("?")[0].split("/") if part)

    @property
    def path(self) -> str:
        return "/" + "/".join(self.segments)

    @property
    def query_string(self) -> str:
        return self.target.partition("?")[2]

    @property
    def query(self) -> dict[str, str]:
        """Query parameters as Azure reads them: names in lower case, the first of a repeated one."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True):
            found.setdefault(name.lower(), value)
        return found

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.target}"

    @property
    def api_version(self) -> str:
        """In lower case, since services compare it so."""
        return self.query.get("api-version", "").lower()

    def json(self) -> Any:
        """The body as JSON; a Refusal (400) when it is none."""
        try:
            content = self.body.read().decode("utf-8-sig")
            value = json.loads(content)
            # Half of a pair of surrogates is a character nowhere but in JSON: services read it as U+FFFD.
            return _whole(value) if "\\ud" in content.lower() else value
        except (ValueError, RecursionError) as error:
            raise Refusal(
                Response.json(
                    {
                        "error": {
                            "code": "InvalidRequestContent",
                            "message": f"The request content was invalid and could not be deserialized: '{error}'.",
                        }
                    },
                    status=400,
                )
            ) from error

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.read().decode("utf-8", "replace"), keep_blank_values=True))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(name): _whole(entry) for name, entry in value.items()}
    return [_whole(entry) for entry in value] if isinstance(value, list) else value


@dataclass(slots=True, kw_only=True)
class FileSlice:
    """A response body that lies in a file: sent piece by piece, never held whole.

    Opened at once, so that what the room told of is what is sent, whoever overwrites or deletes it meanwhile.
    """

    path: Path
    offset: int = 0
    length: int
    _file: IO[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._file = self.path.open("rb")

    def chunks(self) -> Iterator[bytes]:
        self._file.seek(self.offset)
        left = self.length
        while left > 0 and (chunk := self._file.read(min(_CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Stream:
    """A response body that comes piece by piece and of unknown length: passed on as it arrives, once."""

    pieces: Iterator[bytes]
    # Called once, when the body has been sent or will never be.
    on_close: Callable[[], None] | None = None

    def chunks(self) -> Iterator[bytes]:
        yield from self.pieces

    def close(self) -> None:
        done, self.on_close = self.on_close, None
        if done is not None:
            done()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int = 200
    headers: Headers = field(default_factory=Headers)
    body: bytes | FileSlice | Stream = b""

    @classmethod
    def json(cls, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
        content = json.dumps(value, ensure_ascii=False).encode()
        return cls(status=status, headers=Headers({"Content-Type": JSON_TYPE, **(headers or {})}), body=content)

    @classmethod
    def text(cls, value: str, *, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Response:
        return cls(status=status, headers=Headers({"Content-Type": content_type}), body=value.encode())

    @classmethod
    def empty(cls, status: int, headers: Mapping[str, str] | None = None) -> Response:
        return cls(status=status, headers=Headers(headers or {}))

    @property
    def size(self) -> int:
        """0 for a stream, whose length nobody knows."""
        if isinstance(self.body, Stream):
            return 0
        return self.body.length if isinstance(self.body, FileSlice) else len(self.body)

    def chunks(self) -> Iterator[bytes]:
        if isinstance(self.body, FileSlice | Stream):
            yield from self.body.chunks()
        elif self.body:
            yield self.body

    def close(self) -> None:
        """Lets go of what the body holds, however much of it was sent."""
        if isinstance(self.body, FileSlice | Stream):
            self.body.close()

    def with_headers(self, pairs: Mapping[str, str | None]) -> Response:
        return Response(status=self.status, headers=self.headers.replaced(pairs), body=self.body)


class Refusal(Exception):
    """Raised by a room anywhere below its handler: the answer Azure gives instead."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"HTTP {response.status}: {response.body!r}")
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A response and how it is to arrive: whole, late, cut short, or not at all."""

    response: Response
    reset: bool = False
    truncate_after: int | None = None
    pieces: int = 1
    pause_s: float = 0.0
