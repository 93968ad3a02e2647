"""Checks every exchange against Microsoft's OpenAPI files, where they are: foreign facts, not what our code sends.

The files lie outside the repository (`MLAZ_WIRE`, or `../shared/wire` beside it). Without them nothing is checked, and
tests that need them are skipped and say so.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.azure import client_models
from tests.azure.deviations import NAMED, Named
from tests.azure.messages import Request, Response
from tests.azure.schemas import Direction, Finding, Schema, Schemas, SpecFile, SpecFiles

_ROOT = Path(__file__).resolve().parents[2]
_ARM_HOST = "management.azure.com"
_DATA_PLANE_HOST = re.compile(r"[\w-]+\.api\.azureml\.ms")
# The data plane's paths bear no api-version; this is the newest of its files.
_DATA_PLANE_VERSION = "2019-09-30"
# Versions that clients speak and nobody published, with the nearest published one.
NEAREST_VERSION = {"2020-02-02": "2020-03-01"}
_METHODS = {"get", "put", "post", "patch", "delete", "head"}


def wire_folder() -> Path | None:
    """The folder with Microsoft's files and the recordings, or None."""
    said = os.environ.get("MLAZ_WIRE")
    folder = Path(said) if said else _ROOT.parent / "shared" / "wire"
    return folder if (folder / "specs").is_dir() else None


@dataclass(frozen=True, kw_only=True)
class Operation:
    version: str
    method: str
    template: str
    file: SpecFile
    content: Schema
    parameters: tuple[tuple[SpecFile, Schema], ...]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A parameter marked x-ms-skip-url-encoding (a scope) spans several segments."""
        spanning = {value["name"] for _, value in self.parameters if value.get("x-ms-skip-url-encoding")}
        parts = re.split(r"\{(\w+)\}", "/" + self.template.strip("/"))
        regex = "".join(
            re.escape(part) if index % 2 == 0 else (".+" if part in spanning else "[^/]+")
            for index, part in enumerate(parts)
        )
        return re.compile(regex, re.IGNORECASE)

    @property
    def literals(self) -> int:
        return sum("{" not in part for part in self.template.split("/"))

    def __str__(self) -> str:
        return f"{self.method} {self.version} {self.template}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    operation: str
    direction: str
    finding: Finding
    exchange: int
    # Why it is so on purpose; "" for one that nobody named.
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.operation}: {self.direction} {self.finding.pointer}: {self.finding.message}"


@dataclass(slots=True)
class Tally:
    """What was checked, over a whole session."""

    operations: set[str] = field(default_factory=set)
    exchanges: int = 0
    deviating_exchanges: int = 0
    deviations: list[Deviation] = field(default_factory=list)

    def summary(self) -> str:
        share = 100 * self.deviating_exchanges / self.exchanges if self.exchanges else 0.0
        return (
            f"OpenAPI: {len(self.operations)} operations, {self.exchanges} exchanges validated, "
            f"{self.deviating_exchanges} with deviations ({share:.1f} %)"
        )


class Contract:
    """The OpenAPI files under a wire folder, loaded by version when a request first speaks it.

    `files_alone` leaves out what Microsoft's own clients' models add to the data plane's files.
    """

    def __init__(self, wire: Path, named: Sequence[Named] = NAMED, *, files_alone: bool = False) -> None:
        self._specs = wire / "specs" / "specification"
        self._named = named
        self._files = SpecFiles() if files_alone else SpecFiles(client_models.overlay(wire))
        self._schemas = {direction: Schemas(self._files, direction) for direction in Direction}
        self._operations: dict[tuple[str, str], list[Operation]] = {}
        self._lock = threading.Lock()
        self.tally = Tally()

    def operation(self, request: Request) -> Operation | None:
        """The operation a request is, or None when no file covers it."""
        if request.host == _ARM_HOST:
            asked = request.api_version
            plane, version = "resource-manager", NEAREST_VERSION.get(asked, asked)
        elif _DATA_PLANE_HOST.fullmatch(request.host):
            plane, version = "data-plane", _DATA_PLANE_VERSION
        else:
            return None
        with self._lock:
            found = [
                operation
                for operation in self._loaded(plane, version)
                if operation.method == request.method and operation.pattern.fullmatch(request.path)
            ]
        return max(found, key=lambda operation: operation.literals, default=None)

    def operations(self, plane: str, version: str) -> list[Operation]:
        with self._lock:
            return list(self._loaded(plane, version))

    def check(self, request: Request, response: Response) -> list[Deviation]:
        """Checks one exchange and counts it; the deviations nobody named."""
        operation = self.operation(request)
        if operation is None:
            return []
        with self._lock:
            findings = [("request", finding) for finding in self._request_findings(operation, request)]
            findings += [("response", finding) for finding in self._response_findings(operation, response)]
            self.tally.operations.add(str(operation))
            self.tally.exchanges += 1
            self.tally.deviating_exchanges += bool(findings)
            deviations = [self._deviation(operation, *found, request.number) for found in findings]
            self.tally.deviations += deviations
        return [deviation for deviation in deviations if not deviation.reason]

    def _deviation(self, operation: Operation, direction: str, finding: Finding, exchange: int) -> Deviation:
        text = f"{direction} {finding.pointer}: {finding.message}"
        reason = next((named.reason for named in self._named if named.covers(str(operation), text)), "")
        return Deviation(
            operation=str(operation), direction=direction, finding=finding, exchange=exchange, reason=reason
        )

    def check_value(self, operation: Operation, direction: Direction, value: Any, status: int = 200) -> list[Finding]:
        """A value alone against an operation's schema: for recordings and for tests of bodies."""
        found = self._body(operation) if direction is Direction.REQUEST else self._answer(operation, status)
        if found is None or "schema" not in found[1]:
            return []
        file, described = found
        with self._lock:
            return self._schemas[direction].check(file, described["schema"], value)

    def _loaded(self, plane: str, version: str) -> list[Operation]:
        key = (plane, version)
        if key not in self._operations:
            folders = self._specs.glob(f"*/{plane}/*/*/{version}") if re.fullmatch(r"[\w-]+", version) else ()
            self._operations[key] = [
                operation
                for folder in folders
                for path in sorted(folder.glob("*.json"))
                for operation in self._operations_of(self._files.file(path), version)
            ]
        return self._operations[key]

    def _operations_of(self, file: SpecFile, version: str) -> Iterator[Operation]:
        for template, item in file.content.get("paths", {}).items():
            # "/{anything}", by id: it would take every path of its version that no other file names.
            if re.fullmatch(r"/\{\w+\}", template):
                continue
            for method, content in item.items():
                if method not in _METHODS:
                    continue
                listed = [*item.get("parameters", ()), *content.get("parameters", ())]
                yield Operation(
                    version=version,
                    method=method.upper(),
                    template=template,
                    file=file,
                    content=content,
                    parameters=tuple(self._resolved(file, parameter) for parameter in listed),
                )

    def _resolved(self, file: SpecFile, value: Schema) -> tuple[SpecFile, Schema]:
        if "$ref" not in value:
            return file, value
        home, _, found = self._files.resolve(file, value["$ref"])
        return home, found

    def _body(self, operation: Operation) -> tuple[SpecFile, Schema] | None:
        return next((found for found in operation.parameters if found[1]["in"] == "body"), None)

    def _answer(self, operation: Operation, status: int) -> tuple[SpecFile, Schema] | None:
        responses = operation.content["responses"]
        described = responses.get(str(status)) or (responses.get("default") if status >= 400 else None)
        return self._resolved(operation.file, described) if described is not None else None

    def _request_findings(self, operation: Operation, request: Request) -> list[Finding]:
        missing = [
            Finding(pointer=f"?{value['name']}", message="the query parameter is required")
            for _, value in operation.parameters
            if value["in"] == "query" and value.get("required") and value["name"].lower() not in request.query
        ]
        body = self._body(operation)
        content = request.body.read() if "json" in request.headers.get("Content-Type", "json") else b""
        if body is None:
            empty = content.strip() in {b"", b"{}", b"null"}
            return missing if empty else [*missing, Finding(pointer="/", message="the operation has no request body")]
        file, described = body
        if _is_bytes(described["schema"]):
            return missing
        if not content.strip():
            needed = described.get("required", False)
            return [*missing, Finding(pointer="/", message="the body is required")] if needed else missing
        value, broken = _parsed(content)
        return missing + (broken or self._schemas[Direction.REQUEST].check(file, described["schema"], value))

    def _response_findings(self, operation: Operation, response: Response) -> list[Finding]:
        found = self._answer(operation, response.status)
        if found is None:
            if response.status >= 400:
                return []
            return [Finding(pointer="/", message=f"the operation has no answer with status {response.status}")]
        file, described = found
        if "schema" not in described or _is_bytes(described["schema"]):
            return []
        content = response.body if isinstance(response.body, bytes) else b""
        if not content.strip():
            return [Finding(pointer="/", message="the answer has no body")]
        value, broken = _parsed(content)
        return broken or self._schemas[Direction.RESPONSE].check(file, described["schema"], value)


def _is_bytes(schema: Schema) -> bool:
    """A file's own bytes, of which a contract says nothing."""
    return schema.get("type") == "file" or schema.get("format") == "binary"


def _parsed(content: bytes) -> tuple[Any, list[Finding]]:
    try:
        return json.loads(content), []
    except (ValueError, RecursionError):
        return None, [Finding(pointer="/", message="the body is no JSON")]
