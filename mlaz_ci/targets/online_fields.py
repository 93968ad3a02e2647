"""What may be written of Azure's online endpoints and deployments, as data. Pure.

Every field is of Microsoft's OpenAPI file of api-version 2024-04-01 (mfe.json: OnlineEndpoint, OnlineDeployment and what they are made
of), but for those it calls read-only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mlaz_ci.errors import InvalidConfigFile, UnknownConfigKey


class Kind(StrEnum):
    TEXT = "a text"
    INTEGER = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    DURATION = "a duration such as PT30S"
    TEXTS = "a list of texts"
    MAP = "a mapping of names to texts"
    SHARES = "a mapping of deployments to percent"
    ANY = "a mapping"
    MAPPINGS = "a list of mappings, one at least"


@dataclass(frozen=True, slots=True)
class Each:
    """A mapping whose names are free and whose values all have these fields."""

    fields: Fields


Fields = Mapping[str, "Kind | tuple[str, ...] | Each | Fields"]
_SWITCH: Final = ("Enabled", "Disabled")
DURATION_PATTERN: Final = r"P(?:\d+D)?(?:T(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?"
_DURATION: Final = re.compile(DURATION_PATTERN, re.ASCII)

_IDENTITY: Final[Fields] = {
    "type": ("None", "SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned"),
    "userAssignedIdentities": Each({}),
}
_SKU: Final[Fields] = {"name": Kind.TEXT, "capacity": Kind.INTEGER}
_PROBE: Final[Fields] = {
    "failureThreshold": Kind.INTEGER,
    "successThreshold": Kind.INTEGER,
    "timeout": Kind.DURATION,
    "period": Kind.DURATION,
    "initialDelay": Kind.DURATION,
}
_RESOURCES: Final[Fields] = {"cpu": Kind.TEXT, "memory": Kind.TEXT, "gpu": Kind.TEXT}

ENDPOINT_PROPERTIES: Final[Fields] = {
    "authMode": ("Key", "AMLToken", "AADToken"),
    "description": Kind.TEXT,
    "properties": Kind.MAP,
    "compute": Kind.TEXT,
    "publicNetworkAccess": _SWITCH,
    "traffic": Kind.SHARES,
    "mirrorTraffic": Kind.SHARES,
}
DEPLOYMENT_PROPERTIES: Final[Fields] = {
    "endpointComputeType": ("Managed", "Kubernetes"),
    "description": Kind.TEXT,
    "properties": Kind.MAP,
    "codeConfiguration": {"codeId": Kind.TEXT, "scoringScript": Kind.TEXT},
    "environmentId": Kind.TEXT,
    "environmentVariables": Kind.MAP,
    "scaleSettings": {
        "scaleType": ("Default", "TargetUtilization"),
        "pollingInterval": Kind.DURATION,
        "targetUtilizationPercentage": Kind.INTEGER,
        "minInstances": Kind.INTEGER,
        "maxInstances": Kind.INTEGER,
    },
    "requestSettings": {
        "maxQueueWait": Kind.DURATION,
        "requestTimeout": Kind.DURATION,
        "maxConcurrentRequestsPerInstance": Kind.INTEGER,
    },
    "modelMountPath": Kind.TEXT,
    "appInsightsEnabled": Kind.BOOLEAN,
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "instanceType": Kind.TEXT,
    "model": Kind.TEXT,
    "egressPublicNetworkAccess": _SWITCH,
    "dataCollector": {
        "collections": Each(
            {
                "samplingRate": Kind.NUMBER,
                "dataCollectionMode": _SWITCH,
                "dataId": Kind.TEXT,
                "clientId": Kind.TEXT,
            }
        ),
        "rollingRate": ("Year", "Month", "Day", "Hour", "Minute"),
        "requestLogging": {"captureHeaders": Kind.TEXTS},
    },
}
KUBERNETES_PROPERTIES: Final[Fields] = {
    **DEPLOYMENT_PROPERTIES,
    "containerResourceRequirements": {
        "containerResourceRequests": _RESOURCES,
        "containerResourceLimits": _RESOURCES,
    },
}
# `kind` and the rest of `sku` may be written too, but no recorded client ever does: they are Azure's own to say.
_TRACKED: Final[Fields] = {
    "location": Kind.TEXT,
    "tags": Kind.MAP,
    "identity": _IDENTITY,
    "sku": _SKU,
}


def endpoint_fields() -> Fields:
    return {**_TRACKED, "properties": ENDPOINT_PROPERTIES}


def deployment_fields(*, is_kubernetes: bool) -> Fields:
    return {**_TRACKED, "properties": KUBERNETES_PROPERTIES if is_kubernetes else DEPLOYMENT_PROPERTIES}


def writable(value: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """What of a resource as it was read may be written back: the API refuses a field that it does not know, and ignores null."""
    kept: dict[str, Any] = {}
    for name, field in fields.items():
        inner = value.get(name)
        if inner is None:
            continue
        if isinstance(field, Each) and isinstance(inner, Mapping):
            kept[name] = {key: writable(each or {}, field.fields) for key, each in inner.items()}
        elif isinstance(field, Mapping) and isinstance(inner, Mapping):
            kept[name] = writable(inner, field)
        else:
            kept[name] = inner
    return kept


def check_fields(value: Any, fields: Fields, at: str) -> None:
    """Raises UnknownConfigKey with the nearest right key, InvalidConfigFile. `at` is the place: "managed.deployment"."""
    if not isinstance(value, Mapping):
        raise InvalidConfigFile(f"`{at}` is a mapping of fields, not {shown(value)}.", config_key=at)
    for name, inner in value.items():
        field = fields.get(name)
        if field is None:
            raise UnknownConfigKey(
                f"`{at}.{name}` is not a field of Azure's there.{nearest(name, fields)}", config_key=f"{at}.{name}"
            )
        _check_value(inner, field, f"{at}.{name}")


def nearest(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    lower = {each.lower().replace("-", "").replace("_", ""): each for each in known}
    near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), lower, n=1)
    return f" Did you mean `{lower[near[0]]}`?" if near else f" Known: {', '.join(sorted(known))}."


def _check_value(value: Any, field: Kind | tuple[str, ...] | Each | Fields, at: str) -> None:
    if isinstance(field, Each):
        if not isinstance(value, Mapping):
            raise InvalidConfigFile(f"`{at}` is a mapping, not {shown(value)}.", config_key=at)
        for name, inner in value.items():
            check_fields(inner or {}, field.fields, f"{at}.{name}")
    elif isinstance(field, Mapping):
        check_fields(value, field, at)
    elif isinstance(field, Kind):
        if not _IS[field](value):
            raise InvalidConfigFile(f"`{at}` is {field}, not {shown(value)}.", config_key=at)
    elif not isinstance(value, str) or value not in field:
        raise InvalidConfigFile(f"`{at}` is one of {', '.join(field)}, not {shown(value)}.", config_key=at)


def shown(value: Any) -> str:
    """What was given: of a mapping or list its kind alone, since secrets may stand in it."""
    if isinstance(value, Mapping | list):
        return "a list" if isinstance(value, list) else "a mapping"
    return "empty" if value is None else f'"{str(value)[:60]}"'


def _is_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, str | int | float | bool) for each in value.values())


_IS: Final[Mapping[Kind, Callable[[Any], bool]]] = {
    Kind.TEXT: lambda value: isinstance(value, str | int | float) and not isinstance(value, bool),
    Kind.INTEGER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    Kind.NUMBER: lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    Kind.BOOLEAN: lambda value: isinstance(value, bool),
    Kind.DURATION: lambda value: isinstance(value, str) and len(value) > 2 and _DURATION.fullmatch(value) is not None,
    Kind.TEXTS: lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    Kind.MAP: _is_texts,
    Kind.SHARES: lambda value: isinstance(value, Mapping),
    Kind.ANY: lambda value: isinstance(value, Mapping),
    Kind.MAPPINGS: lambda value: (
        isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)
    ),
}


def as_sent(value: Any, field: Kind | tuple[str, ...] | Each | Fields) -> Any:
    """The value of a checked config as the API takes it: texts are texts, also where YAML read a number."""
    if isinstance(field, Each):
        return {name: as_sent(each or {}, field.fields) for name, each in value.items()}
    if isinstance(field, Mapping):
        return {name: as_sent(inner, field[name]) for name, inner in value.items()}
    if field is Kind.TEXT:
        return str(value)
    if field is Kind.MAP:
        return {name: _text(each) for name, each in value.items()}
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
