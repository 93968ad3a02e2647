"""How rooms say what they answer: method, host pattern, path template and api-version lead to a handler.

Literal words of a path compare without case, as Azure's do; a parameter keeps its case and is percent-decoded.
Knows no room by name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.azure.messages import Request, Response
from tests.azure.state import Cloud

Params = dict[str, str]
Handler = Callable[[Request, Params, Cloud], Response]

_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-[a-z]+)?", re.IGNORECASE)
_PARAMETER = re.compile(r"\{(\w+)(\.\.\.)?\}")


@functools.cache
def _host_pattern(template: str) -> re.Pattern[str]:
    """`{account}.blob.core.windows.net`: a parameter is one label of the name."""
    parts: list[str] = []
    end = 0
    for found in _PARAMETER.finditer(template):
        parts.append(re.escape(template[end : found.start()]) + f"(?P<{found[1]}>[^.]+)")
        end = found.end()
    return re.compile("".join(parts) + re.escape(template[end:]), re.IGNORECASE)


@functools.cache
def _words(template: str) -> tuple[str, ...]:
    return tuple(part for part in template.split("/") if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host name, or a pattern of them, that the emulator answers for."""

    template: str
    scheme: str = "https"

    def match(self, scheme: str, host: str) -> Params | None:
        found = _host_pattern(self.template).fullmatch(host)
        return dict(found.groupdict()) if found and scheme == self.scheme else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    room: str
    method: str
    host: Host
    template: str
    handler: Handler
    # Empty: the path has no api-version, or any will do.
    api_versions: frozenset[str] = frozenset()
    # A slow handler runs outside the cloud's lock and takes it only around what it reads and writes.
    slow: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        return _words(self.template)

    def match_path(self, segments: tuple[str, ...]) -> Params | None:
        words = self.words
        rest = words[-1] if words and words[-1].endswith("...}") else None
        fixed = words[:-1] if rest else words
        if len(segments) < len(words) if rest else len(segments) != len(words):
            return None
        params: Params = {}
        for word, segment in zip(fixed, segments, strict=False):
            if found := _PARAMETER.fullmatch(word):
                params[found[1]] = segment
            elif word.lower() != segment.lower():
                return None
        if rest:
            params[rest[1:-4]] = "/".join(segments[len(fixed) :])
        return params

    @property
    def rank(self) -> tuple[int, int]:
        """Of several routes that match, the one with the most literal words is meant; a `{rest...}` comes last."""
        words = self.words
        return (-sum(not word.startswith("{") for word in words), int(bool(words) and words[-1].endswith("...}")))

    def __str__(self) -> str:
        return f"{self.method} {self.host.scheme}://{self.host.template}{self.template}"


class Room:
    """A part of the cloud: its hosts and the routes its handlers are registered under.

    room = Room("mms", host="{region}.api.azureml.ms")

    @room.get("/modelmanagement/v1.0" + WORKSPACE + "/models/{model_id}")
    def get_model(request: Request, params: Params, cloud: Cloud) -> Response: ...
    """

    def __init__(self, name: str, *, host: str, scheme: str = "https") -> None:
        self.name = name
        self.host = Host(template=host, scheme=scheme)
        self.routes: list[Route] = []

    def route(
        self,
        method: str,
        template: str,
        *,
        api_versions: Iterable[str] = (),
        host: str | None = None,
        scheme: str | None = None,
        slow: bool = False,
    ) -> Callable[[Handler], Handler]:
        place = Host(template=host or self.host.template, scheme=scheme or self.host.scheme)
        names = _PARAMETER.findall(place.template + template)
        if len(names) != len(set(names)):
            raise ValueError(f"{place.template}{template}: a parameter's name stands twice")

        def register(handler: Handler) -> Handler:
            self.routes.append(
                Route(
                    room=self.name,
                    method=method,
                    host=place,
                    template=template,
                    handler=handler,
                    api_versions=frozenset(api_versions),
                    slow=slow,
                )
            )
            return handler

        return register

    def get(
        self, template: str, *, api_versions: Iterable[str] = (), slow: bool = False
    ) -> Callable[[Handler], Handler]:
        return self.route("GET", template, api_versions=api_versions, slow=slow)

    def head(
        self, template: str, *, api_versions: Iterable[str] = (), slow: bool = False
    ) -> Callable[[Handler], Handler]:
        return self.route("HEAD", template, api_versions=api_versions, slow=slow)

    def put(
        self, template: str, *, api_versions: Iterable[str] = (), slow: bool = False
    ) -> Callable[[Handler], Handler]:
        return self.route("PUT", template, api_versions=api_versions, slow=slow)

    def post(
        self, template: str, *, api_versions: Iterable[str] = (), slow: bool = False
    ) -> Callable[[Handler], Handler]:
        return self.route("POST", template, api_versions=api_versions, slow=slow)

    def patch(
        self, template: str, *, api_versions: Iterable[str] = (), slow: bool = False
    ) -> Callable[[Handler], Handler]:
        return self.route("PATCH", template, api_versions=api_versions, slow=slow)

    def delete(
        self, template: str, *, api_versions: Iterable[str] = (), slow: bool = False
    ) -> Callable[[Handler], Handler]:
        return self.route("DELETE", template, api_versions=api_versions, slow=slow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    route: Route
    params: Params


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMatch:
    """Why nothing answers: the text for the 501 and for the test that fails by it."""

    reason: str
    # The path is known, and the request has no api-version or what is none: Azure's own 400, no gap of the emulator.
    lacks_api_version: bool = False
    known_versions: tuple[str, ...] = ()


class Router:
    def __init__(self, rooms: Iterable[Room]) -> None:
        rooms = list(rooms)
        self._routes = sorted((route for room in rooms for route in room.routes), key=lambda route: route.rank)
        self._hosts = {route.host for route in self._routes} | {room.host for room in rooms}

    def knows_host(self, scheme: str, host: str) -> bool:
        return any(known.match(scheme, host) is not None for known in self._hosts)

    def resolve(self, request: Request) -> Match | NoMatch:
        """HEAD is GET without what it would send (RFC 9110, 9.3.2), but where a room has an answer of its own to it."""
        found = self._resolve(request, request.method)
        return self._resolve(request, "GET") if request.method == "HEAD" and isinstance(found, NoMatch) else found

    def _resolve(self, request: Request, method: str) -> Match | NoMatch:
        segments = request.segments
        other_methods: set[str] = set()
        other_versions: set[str] = set()
        for route in self._routes:
            in_host = route.host.match(request.scheme, request.host)
            in_path = route.match_path(segments) if in_host is not None else None
            if in_host is None or in_path is None:
                continue
            if route.method != method:
                other_methods.add(route.method)
            elif route.api_versions and request.api_version not in route.api_versions:
                other_versions |= route.api_versions
            else:
                return Match(route=route, params={**in_host, **in_path})
        asked = f"{request.method} {request.scheme}://{request.host}{request.path}"
        if other_versions and not request.api_version:
            return NoMatch(reason=f"{asked} lacks an api-version", lacks_api_version=True)
        if other_versions:
            known, said = tuple(sorted(other_versions)), request.api_version
            if not _API_VERSION.fullmatch(said):
                return NoMatch(reason=f"{asked}: {said!r} is no api-version", known_versions=known)
            return NoMatch(reason=f"{asked} is not emulated for api-version {said} (only {', '.join(known)})")
        if other_methods:
            return NoMatch(reason=f"{asked} is not emulated (only {', '.join(sorted(other_methods))})")
        return NoMatch(reason=f"{asked} is not emulated")
