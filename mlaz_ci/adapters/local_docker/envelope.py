"""Calls and answers between the step and its sibling as JSON lines. Never pickle: what runs in the sibling is the user's model.

Both ends are this module, from one image: what one writes the other knows. `PROTOCOL` changes when that stops being true.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

from mlaz_ci import errors, models

PROTOCOL: Final = "1"

_TYPE: Final = "$"


def render_line(kind: str, value: object) -> str:
    """One line of the door's standard output: `progress`, `answer` or `error`."""
    return json.dumps({kind: encode(value)}, separators=(",", ":"))


def encode(value: object) -> Any:  # noqa: PLR0911 - one line per kind of value
    """Any value that the ports pass, as JSON that tells its own type."""
    match value:
        case Enum():
            return {_TYPE: type(value).__name__, "value": value.value}
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return {_TYPE: "bytes", "value": base64.b64encode(value).decode()}
        case Path():
            return {_TYPE: "Path", "value": str(value)}
        case datetime():
            return {_TYPE: "datetime", "value": value.isoformat()}
        case tuple():
            return {_TYPE: "tuple", "value": [encode(each) for each in value]}
        case list():
            return [encode(each) for each in value]
        case Mapping():
            return {_TYPE: "dict", "value": [[encode(key), encode(each)] for key, each in value.items()]}
        case _ if is_dataclass(value):
            content = {each.name: encode(getattr(value, each.name)) for each in fields(value)}
            return {_TYPE: type(value).__name__, "value": content}
        case _:
            raise TypeError(f"a {type(value).__name__} cannot travel to a sibling container")


def decode(raw: Any) -> Any:
    """The value that `encode` was given. Raises ValueError for anything else: only models' own types are ever built."""
    match raw:
        case None | bool() | int() | float() | str():
            return raw
        case list():
            return [decode(each) for each in raw]
        case {"$": str(name), "value": value} if len(raw) == 2:
            return _decode_typed(name, value)
    raise ValueError(f"not a value of a sibling container: {str(raw)[:200]}")


def _decode_typed(name: str, value: Any) -> Any:
    match name, value:
        case "bytes", str():
            return base64.b64decode(value)
        case "Path", str():
            return Path(value)
        case "datetime", str():
            return datetime.fromisoformat(value)
        case "tuple", list():
            return tuple(decode(each) for each in value)
        case "dict", list():
            return {decode(key): decode(each) for key, each in value}
        case _:
            return _decode_own(name, value)


def _decode_own(name: str, value: Any) -> Any:
    kind = getattr(models, name, None)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return kind(**{str(key): decode(each) for key, each in value.items()})
    raise ValueError(f"a sibling container sent an unknown type: {name[:100]}")


def encode_error(error: errors.MlazError) -> Mapping[str, object]:
    return {
        "class": type(error).__name__,
        "what": error.what,
        "usually": error.cause_text,
        "remedy": error.remedy_text,
        "log": error.log,
    }


def decode_error(raw: Mapping[str, Any]) -> errors.MlazError:
    """The error of the same class; one that this version does not have is a bug, with its text kept."""
    texts = {name: str(raw.get(name, "")) for name in ("usually", "remedy", "log")}
    kind = getattr(errors, str(raw.get("class")), None)
    if not (isinstance(kind, type) and issubclass(kind, errors.MlazError)):
        kind = errors.Bug
    return kind(str(raw.get("what", "")), **texts)
