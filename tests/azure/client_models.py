"""What Microsoft's own clients of today add to a published file: their REST models of the file's own definitions.

The data plane's files are of 2019 and its services have grown since; the models were generated from newer editions of the
same files, which nobody published. Nothing here is by hand: a definition gains the members of the client's model of the same
name, and an enumeration (`x-ms-enum`) the words of the client's of the same name. Knows no exchange.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
Overlay = Callable[[Path, Schema], Schema]
# Which clients speak what a file describes; of a member that several know, the first one's type counts.
_SPEAKERS = {
    "modelManagement.json": ("azureml_mlflow_mms.json", "azureml_core_restclient.json"),
    "artifact.json": ("azureml_mlflow_artifact.json",),
    "runHistory.json": ("azureml_mlflow_run_artifact.json",),
}
# The client runtime's (msrest's) names of plain types. Its `object` is any JSON value.
_PLAIN: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "iso-8601": {"type": "string", "format": "date-time"},
    "object": {},
}


def overlay(wire: Path) -> Overlay:
    """Extends a file of the data plane that a client speaks; leaves every other as it is."""
    folder = wire / "client_models"

    def extend(path: Path, content: Schema) -> Schema:
        speakers = _SPEAKERS.get(path.name, ()) if "data-plane" in path.parts else ()
        for speaker in speakers:
            content = extended(content, json.loads((folder / speaker).read_text(encoding="utf-8")))
        return content

    return extend


def extended(content: Schema, models: Schema) -> Schema:
    """The swagger file with what the client's models of the same names say beyond it."""
    found = copy.deepcopy(content)
    definitions: dict[str, Schema] = found["definitions"]
    for name in list(definitions):
        if "attributes" in models.get(name, {}):
            _extend(definitions, name, models)
    return found


def _extend(definitions: dict[str, Schema], name: str, models: Schema) -> None:
    model = models[name]
    known = dict(_members(definitions, definitions[name]))
    for attribute, said in model["attributes"].items():
        member = said["key"].replace("\\.", ".")
        if member in known:
            _reconcile(known[member], said["type"], models)
            continue
        definitions[name].setdefault("properties", {})[member] = _schema(definitions, said["type"], models)
        rules = model.get("validation", {}).get(attribute, {})
        if rules.get("required"):
            definitions[name].setdefault("required", []).append(member)
        if rules.get("readonly"):
            definitions[name]["properties"][member] |= {"readOnly": True}


def _reconcile(schema: Schema, said: str, models: Schema) -> None:
    """A member that both know, where the file contradicts itself or is older."""
    named = schema.get("x-ms-enum", {}).get("name")
    if words := schema.get("enum"):
        schema["enum"] = [*words, *(word for word in models.get(named, {}).get("enum", ()) if word not in words)]
        if said == "str" or "enum" in models.get(said, {}):
            # `"type": "integer", "enum": ["Primary", …]` admits nothing at all; the client reads and sends the words.
            schema["type"] = "string"
            schema.pop("format", None)
    elif said == "object" and set(schema) <= {"type", "description"}:
        # A bare `"type": "object"` is how Microsoft's generators of the time wrote any value (a JSON Patch's).
        schema.pop("type", None)


def _members(definitions: dict[str, Schema], definition: Schema) -> Iterator[tuple[str, Schema]]:
    """A definition's own and inherited members."""
    for part in definition.get("allOf", ()):
        reference = part.get("$ref", "").rpartition("/")[2]
        yield from _members(definitions, definitions[reference] if reference else part)
    yield from definition.get("properties", {}).items()


def _schema(definitions: dict[str, Schema], said: str, models: Schema) -> Schema:
    if said in _PLAIN:
        return dict(_PLAIN[said])
    if said.startswith("["):
        return {"type": "array", "items": _schema(definitions, said[1:-1], models)}
    if said.startswith("{"):
        return {"type": "object", "additionalProperties": _schema(definitions, said[1:-1], models)}
    if "enum" in models[said]:
        return {"type": "string", "enum": list(models[said]["enum"])}
    if said not in definitions:
        # A definition the file does not have: the client's model, whole and closed.
        definitions[said] = {"type": "object", "properties": {}, "additionalProperties": False}
        _extend(definitions, said, models)
    return {"$ref": f"#/definitions/{said}"}
