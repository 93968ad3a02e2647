"""Swagger 2.0 definitions as closed JSON Schemas: allOf merged, discriminators followed, unknown properties refused.

Knows no paths and no HTTP. Azure's reading of a schema depends on the direction, so each definition has two forms:
in a request read-only properties may be sent (ARM's rules have the service ignore them) but are never required; in a
response what is secret need not be shown.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

Schema = dict[str, Any]
_COPIED = (
    *("type", "format", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "uniqueItems"),
    "multipleOf",
)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?$")


class Direction(StrEnum):
    REQUEST = "request"
    RESPONSE = "response"


def _checker() -> FormatChecker:
    checker = FormatChecker(formats=())

    def is_date_time(value: object) -> bool:
        if isinstance(value, str):
            if not _DATE_TIME.match(value):
                return False
            dt.datetime.fromisoformat(value[:19])
        return True

    def is_uuid(value: object) -> bool:
        return not isinstance(value, str) or bool(uuid.UUID(value))

    checker.checks("date-time", raises=ValueError)(is_date_time)
    checker.checks("uuid", raises=ValueError)(is_uuid)
    return checker


_FORMATS = _checker()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Where a value departs from its schema, and how."""

    pointer: str
    message: str


class SpecFile:
    """One swagger file; what it refers to in others is found through its SpecFiles."""

    def __init__(self, path: Path, content: Schema) -> None:
        self.path = path
        self.content = content

    @cached_property
    def says_nullable(self) -> bool:
        """A file that never writes x-nullable says nothing about null, and Azure's services send it freely."""
        return '"x-nullable"' in self.path.read_text(encoding="utf-8")


class SpecFiles:
    """The files, read once; `extend` may add to what each says."""

    def __init__(self, extend: Callable[[Path, Schema], Schema] = lambda path, content: content) -> None:
        self._extend = extend
        self._files: dict[Path, SpecFile] = {}

    def file(self, path: Path) -> SpecFile:
        path = path.resolve()
        if path not in self._files:
            self._files[path] = SpecFile(path, self._extend(path, json.loads(path.read_text(encoding="utf-8"))))
        return self._files[path]

    def resolve(self, here: SpecFile, reference: str) -> tuple[SpecFile, str, Schema]:
        """The file, the name and the value that a `$ref` means."""
        where, _, pointer = reference.partition("#")
        path = here.path.parent / where if where else here.path
        if not path.exists():
            # subscriptions.json means common types in a version that was not carried along: nothing is known, so nothing is closed.
            return SpecFile(path.resolve(), {}), pointer, {}
        file = self.file(path)
        value: Any = file.content
        for part in pointer.strip("/").split("/"):
            value = value[part.replace("~1", "/").replace("~0", "~")]
        return file, pointer, value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merged:
    properties: dict[str, tuple[SpecFile, Schema]]
    required: set[str]
    # None: not said; then an object with properties is closed and one without is free.
    additional: Any
    additional_file: SpecFile


class Schemas:
    """Makes the closed schemas of one direction, each definition once."""

    def __init__(self, files: SpecFiles, direction: Direction) -> None:
        self._files = files
        self._direction = direction
        self._definitions: dict[str, Schema] = {}
        self._validators: dict[str, Draft202012Validator] = {}
        self._descendants: dict[Path, dict[str, list[str]]] = {}

    def check(self, file: SpecFile, schema: Schema, value: Any) -> list[Finding]:
        key = json.dumps([str(file.path), schema], sort_keys=True)
        if key not in self._validators:
            closed = self._closed(file, schema)
            self._validators[key] = Draft202012Validator(
                {**closed, "$defs": self._definitions}, format_checker=_FORMATS
            )
        if self._direction is Direction.REQUEST or not file.says_nullable:
            value = _without_nulls(value)
        return [
            Finding(pointer="/" + "/".join(str(part) for part in error.absolute_path), message=_short(error.message))
            for error in self._validators[key].iter_errors(value)
        ]

    def _closed(self, file: SpecFile, schema: Schema) -> Schema:
        if "$ref" in schema:
            closed = {"$ref": f"#/$defs/{self._defined(file, schema['$ref'])}"}
        else:
            closed = self._plain(file, schema)
        if schema.get("x-nullable"):
            # Rather than anyOf: its findings name the place inside, not the whole.
            return {"if": {"not": {"type": "null"}}, "then": closed}
        return closed

    def _defined(self, file: SpecFile, reference: str) -> str:
        target, pointer, value = self._files.resolve(file, reference)
        key = re.sub(r"[^\w.-]", "_", f"{target.path.parent.name}.{target.path.name}{pointer}")
        if key not in self._definitions:
            self._definitions[key] = {}
            name = pointer.rpartition("/")[2]
            self._definitions[key].update(self._definition(target, name, value))
        return key

    def _definition(self, file: SpecFile, name: str, value: Schema) -> Schema:
        if "discriminator" not in value:
            return self._closed(file, value)
        return self._by_discriminator(file, name, value)

    def _by_discriminator(self, file: SpecFile, name: str, value: Schema) -> Schema:
        """Whatever the discriminator says the value is, it must be; a value it does not know is refused by `enum`."""
        discriminator = value["discriminator"]
        definitions = file.content["definitions"]
        cases: list[Schema] = []
        known: list[str] = []
        for child in self._children(file, name):
            said = definitions[child].get("x-ms-discriminator-value", child)
            known.append(said)
            cases.append(
                {
                    "if": {"properties": {discriminator: {"const": said}}, "required": [discriminator]},
                    "then": self._plain(file, definitions[child]),
                }
            )
        if not cases:
            return self._plain(file, value)
        return {
            "type": "object",
            "required": [discriminator],
            "properties": {discriminator: {"enum": known}},
            "allOf": cases,
        }

    def _children(self, file: SpecFile, name: str) -> list[str]:
        """Every definition of the file that is a `name`, itself included when it bears a discriminator value."""
        if file.path not in self._descendants:
            parents: dict[str, list[str]] = {}
            for child, value in file.content["definitions"].items():
                for part in value.get("allOf", ()):
                    if str(part.get("$ref", "")).startswith("#/definitions/"):
                        parents.setdefault(part["$ref"].rpartition("/")[2], []).append(child)
            self._descendants[file.path] = parents
        found: list[str] = []
        for child in self._descendants[file.path].get(name, ()):
            found += [child, *self._children(file, child)]
        return found

    def _plain(self, file: SpecFile, schema: Schema) -> Schema:
        if schema.get("type") == "object" or "properties" in schema or "allOf" in schema:
            return self._object(file, schema)
        closed = {key: schema[key] for key in _COPIED if key in schema}
        if closed.get("type") == "file":
            return {}
        if "enum" in schema:
            closed["enum"] = schema["enum"]
        if "pattern" in schema and _compiles(schema["pattern"]):
            closed["pattern"] = schema["pattern"]
        if "items" in schema:
            closed["items"] = self._closed(file, schema["items"])
        return closed

    def _object(self, file: SpecFile, schema: Schema) -> Schema:
        merged = self._merged(file, schema)
        if not merged.properties and "allOf" in schema and merged.additional is None:
            # An allOf around a lone scalar or enumeration only adds a description.
            return {"allOf": [self._closed(file, part) for part in schema["allOf"]]}
        closed: Schema = {
            "type": "object",
            "properties": {name: self._closed(*found) for name, found in merged.properties.items()},
            "required": sorted(name for name in merged.required if self._must_stand(merged, name)),
        }
        if isinstance(merged.additional, dict):
            closed["additionalProperties"] = self._closed(merged.additional_file, merged.additional)
        elif merged.additional is not True and (merged.properties or merged.additional is False):
            closed["additionalProperties"] = False
        return closed

    def _must_stand(self, merged: _Merged, name: str) -> bool:
        _, schema = merged.properties.get(name, (None, {}))
        if self._direction is Direction.REQUEST:
            return not schema.get("readOnly")
        return not schema.get("x-ms-secret")

    def _merged(self, file: SpecFile, schema: Schema) -> _Merged:
        properties: dict[str, tuple[SpecFile, Schema]] = {}
        required: set[str] = set()
        additional: Any = None
        additional_file = file
        for part in schema.get("allOf", ()):
            home, _, value = self._files.resolve(file, part["$ref"]) if "$ref" in part else (file, "", part)
            inherited = self._merged(home, value)
            properties |= inherited.properties
            required |= inherited.required
            # `additionalProperties: false` of a parent speaks of the parent alone.
            if inherited.additional is True or isinstance(inherited.additional, dict):
                additional, additional_file = inherited.additional, inherited.additional_file
        properties |= {name: (file, value) for name, value in schema.get("properties", {}).items()}
        required |= set(schema.get("required", ()))
        if "additionalProperties" in schema:
            additional, additional_file = schema["additionalProperties"], file
        return _Merged(properties=properties, required=required, additional=additional, additional_file=additional_file)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(entry) for name, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in value]
    return value


def _short(message: str) -> str:
    return message if len(message) <= 300 else f"{message[:200]} … {message[-90:]}"
