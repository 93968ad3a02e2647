"""What a target takes in the config file's section of its name: how it is checked, and the JSON schema of the same tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from mlaz_ci.targets.online_fields import DURATION_PATTERN, Each, Fields, Kind
from mlaz_ci.targets.v1_keys import Form, Keys

Schema = Mapping[str, Any]
"""A JSON schema of draft 7, as a JSON value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """`check` raises UnknownConfigKey, InvalidConfigFile or InapplicableInput, with the key it is about.

    `schema` describes the same keys for editors; what it accepts, `check` accepts, but for limits that a schema cannot tell.
    `secrets` are keys whose values are masked wherever they stand.
    """

    check: Callable[[Mapping[str, Any]], object]
    schema: Schema
    secrets: frozenset[str] = frozenset()


def v1_section(keys: Keys) -> Section:
    return Section(
        check=keys.read,
        schema={"type": ["object", "null"], **schema_of_keys(keys)},
        secrets=frozenset(name for name, form in keys.forms.items() if form is Form.SECRET),
    )


# --- azureml-core's keys ----------------------------------------------------------------------------------------------

_FORMS: Final[Mapping[Form, Schema]] = {
    Form.NUMBER: {"type": "number", "exclusiveMinimum": 0},
    Form.COUNT: {"type": "integer", "minimum": 1},
    Form.SWITCH: {"type": "boolean"},
    Form.TEXT: {"type": "string", "minLength": 1},
    Form.PAIRS: {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    Form.SECRET: {"type": "string", "minLength": 1},
}


def schema_of_keys(keys: Keys) -> Schema:
    """What `Keys.read` takes, but for null, which means nothing and which an editor had better point at."""
    needed = {name: [each for each in group if each != name] for group in keys.together for name in group}
    schema: dict[str, Any] = {
        "additionalProperties": False,
        "properties": {
            name: {"description": _told(keys, name), **_FORMS[form]} for name, form in sorted(keys.forms.items())
        },
    }
    return {**schema, "dependencies": needed} if needed else schema


def _told(keys: Keys, name: str) -> str:
    parts = [f"azureml-core's `{name}`: {keys.forms[name].value}."]
    if name in keys.inputs:
        parts.append(f"The input `{keys.inputs[name]}` says the same, on every target.")
    if name in keys.fixed:
        parts.append("Azure sets it when the service is made, and never again.")
    return " ".join(parts)


# --- fields of online endpoints ---------------------------------------------------------------------------------------

_PLAIN: Final = {"type": ["string", "number"]}
_KINDS: Final[Mapping[Kind, Schema]] = {
    Kind.TEXT: _PLAIN,
    Kind.INTEGER: {"type": "integer"},
    Kind.NUMBER: {"type": "number"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DURATION: {"type": "string", "minLength": 3, "pattern": f"^{DURATION_PATTERN}$"},
    Kind.TEXTS: {"type": "array", "items": {"type": "string"}},
    Kind.MAP: {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    Kind.SHARES: {"type": "object"},
    Kind.ANY: {"type": "object"},
    Kind.MAPPINGS: {"type": "array", "minItems": 1, "items": {"type": "object"}},
}


def schema_of_fields(fields: Fields) -> Schema:
    """What `check_fields` takes."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema_of(field) for name, field in fields.items()},
    }


def _schema_of(field: Kind | tuple[str, ...] | Each | Fields) -> Schema:
    match field:
        case Kind():
            return {"description": f"{field.value[0].upper()}{field.value[1:]}.", **_KINDS[field]}
        case tuple():
            return {"enum": list(field)}
        case Each():
            return {"type": "object", "additionalProperties": or_nothing(schema_of_fields(field.fields))}
        case Mapping():
            return schema_of_fields(field)
        case _:
            assert_never(field)


def or_nothing(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}
