"""The section `managed:` or `kubernetes:` of the config file: what is too rare to be an input, in Azure's own words, checked here. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mlaz_ci.errors import InapplicableInput, InvalidConfigFile, UnknownConfigKey
from mlaz_ci.models import AzureShape, Shape, Target
from mlaz_ci.serving.scripts import SCORE
from mlaz_ci.targets.online_fields import (
    DEPLOYMENT_PROPERTIES,
    ENDPOINT_PROPERTIES,
    KUBERNETES_PROPERTIES,
    Each,
    Fields,
    Kind,
    as_sent,
    check_fields,
    nearest,
    shown,
)
from mlaz_ci.targets.section import Section, or_nothing, schema_of_fields

KEYS: Final = ("endpoint", "deployment", "autoscale", "serving", "mirror-percent")
SERVING: Final = ("mlaz-ci", "no-code")
# What the action itself decides of every deployment, or an input says.
_OURS: Final = frozenset({"model", "environmentId", "codeConfiguration", "endpointComputeType"})
_ENDPOINT: Final[Fields] = {
    **{name: ENDPOINT_PROPERTIES[name] for name in ("description", "properties", "publicNetworkAccess")},
    "identity": {
        "type": ("SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned"),
        "userAssignedIdentities": Each({}),
    },
}
# Of Azure Monitor's AutoscaleSetting (Microsoft.Insights/autoscaleSettings 2022-10-01); the target is ours to name.
_AUTOSCALE: Final[Fields] = {
    "enabled": Kind.BOOLEAN,
    "profiles": Kind.MAPPINGS,
    "notifications": Kind.MAPPINGS,
    "predictiveAutoscalePolicy": Kind.ANY,
}
_MOST_MIRRORED: Final = 50
# "Manage and increase quotas": the scoring timeout's limit, in seconds.
_LONGEST_REQUEST_S: Final = {Target.MANAGED: 180.0, Target.KUBERNETES: 300.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineSection:
    """`endpoint` and `deployment` as the API takes them. `autoscale` None leaves autoscale rules as they are."""

    endpoint: Mapping[str, Any] = field(default_factory=dict)
    deployment: Mapping[str, Any] = field(default_factory=dict)
    autoscale: Mapping[str, Any] | None = None
    is_no_code: bool = False
    """Azure's own generated script and environment serve, instead of ours."""
    mirror_percent: int | None = None
    """With `strategy: canary`: copies of this share of the requests, whose answers nobody gets, instead of live traffic."""


def read_section(raw: Mapping[str, Any], target: Target) -> OnlineSection:
    """Raises UnknownConfigKey, InvalidConfigFile, InapplicableInput: before anything is created."""
    at = str(target)
    for name in raw:
        if name not in KEYS:
            hint = _home_of(name, target) or nearest(name, KEYS)
            raise UnknownConfigKey(f"`{at}.{name}` is not a key.{hint}", config_key=f"{at}.{name}")
    return OnlineSection(
        endpoint=_part(raw.get("endpoint"), _ENDPOINT, f"{at}.endpoint"),
        deployment=_deployment(raw.get("deployment"), target),
        autoscale=_autoscale(raw.get("autoscale"), target),
        is_no_code=_is_no_code(raw.get("serving"), f"{at}.serving"),
        mirror_percent=_mirror(raw.get("mirror-percent"), target),
    )


def _home_of(name: str, target: Target) -> str:
    """Azure's own fields stand one deeper."""
    parts = {"deployment": _deployment_fields(target), "endpoint": _ENDPOINT}
    plain = name.lower().replace("-", "").replace("_", "")
    found = [f"`{target}.{part}.{each}`" for part, fields in parts.items() for each in fields if each.lower() == plain]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _part(value: Any, fields: Fields, at: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    check_fields(value, fields, at)
    sent: Mapping[str, Any] = as_sent(value, fields)
    return sent


def _deployment_fields(target: Target) -> Fields:
    whole = KUBERNETES_PROPERTIES if target is Target.KUBERNETES else DEPLOYMENT_PROPERTIES
    return {name: each for name, each in whole.items() if name not in _OURS}


def _deployment(value: Any, target: Target) -> Mapping[str, Any]:
    sent = _part(value, _deployment_fields(target), f"{target}.deployment")
    timeout = (sent.get("requestSettings") or {}).get("requestTimeout")
    if timeout and seconds_of(timeout) > _LONGEST_REQUEST_S[target]:
        raise InvalidConfigFile(
            f"`{target}.deployment.requestSettings.requestTimeout` is {timeout}; "
            f"Azure takes {_LONGEST_REQUEST_S[target]:.0f} s at most.",
            config_key=f"{target}.deployment.requestSettings.requestTimeout",
        )
    return sent


def scripts_of(shape: Shape, target: Target) -> tuple[str, ...]:
    assert isinstance(shape, AzureShape)
    return () if read_section(shape.raw, target).is_no_code else (SCORE,)


def seconds_of(duration: str) -> float:
    """The seconds of an ISO 8601 duration, as far as days."""
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", duration)
    if found is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _autoscale(value: Any, target: Target) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if target is Target.KUBERNETES:
        raise InapplicableInput(
            "`kubernetes.autoscale` cannot be had: a Kubernetes deployment scales by its own `scaleSettings`.",
            remedy="Give `deployment: {scaleSettings: {scaleType: TargetUtilization, …}}` in the section.",
            config_key="kubernetes.autoscale",
        )
    at = f"{target}.autoscale"
    if not isinstance(value, Mapping) or not isinstance(value.get("profiles"), list) or not value["profiles"]:
        raise InvalidConfigFile(
            f"`{at}.profiles` is a list of Azure Monitor's profiles; it has one at least.", config_key=f"{at}.profiles"
        )
    check_fields(value, _AUTOSCALE, at)
    return value


def _is_no_code(value: Any, at: str) -> bool:
    if value is not None and (not isinstance(value, str) or value not in SERVING):
        raise InvalidConfigFile(f"`{at}` is one of {', '.join(SERVING)}, not {shown(value)}.", config_key=at)
    return bool(value == "no-code")


def _mirror(value: Any, target: Target) -> int | None:
    if value is None:
        return None
    if target is Target.KUBERNETES:
        raise InapplicableInput(
            "`kubernetes.mirror-percent` cannot be had: Azure mirrors traffic on managed endpoints alone.",
            remedy="Use `strategy: canary` with `canary-percent`.",
            config_key="kubernetes.mirror-percent",
        )
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_MIRRORED:
        raise InvalidConfigFile(
            f"`{target}.mirror-percent` is a whole number from 1 to {_MOST_MIRRORED}.",
            config_key=f"{target}.mirror-percent",
        )
    return value


def online_section(target: Target) -> Section:
    """How the section of `target` is checked and described, both by the tables above."""
    parts: dict[str, Any] = {
        "endpoint": {
            "description": "Fields of the endpoint, in Azure's own words.",
            **or_nothing(schema_of_fields(_ENDPOINT)),
        },
        "deployment": {
            "description": "Fields of the deployment, in Azure's own words.",
            **or_nothing(schema_of_fields(_deployment_fields(target))),
        },
        "serving": {
            "description": "Who serves: our script in our environment, or what Azure makes of an MLflow model by itself.",
            "enum": [*SERVING, None],
        },
    }
    if target is not Target.KUBERNETES:
        parts["autoscale"] = {
            "description": "The autoscale setting of Azure Monitor that scales the deployment.",
            **or_nothing(schema_of_fields(_AUTOSCALE)),
            "required": ["profiles"],
        }
        parts["mirror-percent"] = {
            "description": "With `strategy: canary`: the share of requests that is copied to the new deployment, which nobody waits for.",
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": _MOST_MIRRORED,
        }
    schema = {"type": ["object", "null"], "additionalProperties": False, "properties": parts}
    return Section(check=lambda raw: read_section(raw, target), schema=schema)
