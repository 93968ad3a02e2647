"""Renders the JSON schema of the config file from the table, for completion in editors. What it accepts, `parse_config` accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from mlaz_ci.inputs.row import ConfigUse, Input, Kind
from mlaz_ci.inputs.table import INPUTS, LOCAL_KEYS
from mlaz_ci.inputs.values import parse_value
from mlaz_ci.models import Target
from mlaz_ci.targets import TARGETS
from mlaz_ci.targets.clusters import cluster_schema
from mlaz_ci.targets.section import Section


def render_schema() -> Mapping[str, Any]:
    """The schema as a JSON value (draft 7, which editors know best)."""
    keys = {name: _schema_of(row) for name, row in INPUTS.items() if row.config is not ConfigUse.NEVER}
    local = {name: _schema_of(row) for name, row in LOCAL_KEYS.items()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "mlaz-ci.yml",
        "description": "The config file of mlaz-ci: the words of its inputs, where no input says otherwise.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **keys,
            "compute": {
                "description": INPUTS["compute"].description,
                "anyOf": [_form_of(INPUTS["compute"]), cluster_schema()],
            },
            **{str(name): _section_of(name, rules.section) for name, rules in TARGETS.items() if rules.section},
            "local": {
                "description": "What a service of the target `local` looks like.",
                "type": "object",
                "additionalProperties": False,
                "properties": local,
            },
        },
    }


def _section_of(target: Target, section: Section) -> Mapping[str, Any]:
    told = f"What is rarer of a service of the target `{target}`, by Azure's own keys; checked before anything is made."
    return {"description": told, **section.schema}


def _schema_of(row: Input) -> Mapping[str, Any]:
    told: dict[str, Any] = {"description": row.description}
    if row.default is not None:
        told["default"] = parse_value(row, row.default)
    return {**told, **_form_of(row)}


def _form_of(row: Input) -> Mapping[str, Any]:
    match row.kind:
        case Kind.TEXT | Kind.PATH:
            return {"type": "string", "minLength": 1} | ({"pattern": f"^({row.pattern})$"} if row.pattern else {})
        case Kind.BOOLEAN:
            return {"enum": [True, False, "true", "false", "yes", "no", "on", "off"]}
        case Kind.NUMBER | Kind.INTEGER:
            return {"type": str(row.kind), "minimum": row.minimum, "maximum": row.maximum}
        case Kind.CHOICE:
            lower = [each.lower() for each in row.choices] if row.ignores_case else []
            return {"enum": list(dict.fromkeys([*row.choices, *lower]))}
        case Kind.MAPPING:
            value = {"type": ["string", "number", "boolean", "null"]}
            return {"anyOf": [{"type": "object", "additionalProperties": value}, {"type": "string"}]}
        case Kind.SECRET:
            return {"not": {}}
        case _:
            assert_never(row.kind)
