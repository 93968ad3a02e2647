"""A v1 web service as model management tells it, in the words of our inputs. Total: what is missing or odd is left out.

The names are those of Microsoft's modelManagement.json (2019-09-30): AciServiceResponse, AksServiceResponse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlaz_ci.models import AuthMode, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Autoscaler:
    smallest: int
    largest: int
    target_percent: int


@dataclass(frozen=True, kw_only=True, slots=True)
class V1Service:
    """`models` are model management's ids, "name:version"."""

    name: str
    target: Target
    state: str
    scoring_uri: str | None
    auth: AuthMode
    cpu_cores: float | None = None
    memory_gb: float | None = None
    cpu_limit_cores: float | None = None
    memory_limit_gb: float | None = None
    gpu_count: int | None = None
    location: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    compute: str | None = None
    namespace: str | None = None
    instance_count: int | None = None
    autoscaler: Autoscaler | None = None
    request_timeout_ms: int | None = None
    concurrent_requests: int | None = None
    has_app_insights: bool = False
    collects_data: bool = False
    domain_name: str | None = None
    has_tls: bool = False
    is_in_network: bool = False
    models: tuple[str, ...] = ()


def read_v1_service(told: Mapping[str, Any]) -> V1Service | None:
    """None for what is neither an ACI nor an AKS service."""
    target = {"ACI": Target.ACI, "AKS": Target.AKS}.get(str(told.get("computeType")).upper())
    if target is None:
        return None
    room = _object(told, "containerResourceRequirements")
    data = _object(told, "dataCollection")
    return V1Service(
        name=_text(told, "name") or "",
        target=target,
        state=_text(told, "state") or "",
        scoring_uri=_text(told, "scoringUri"),
        auth=auth_of(told),
        cpu_cores=_number(room, "cpu"),
        memory_gb=_number(room, "memoryInGB"),
        cpu_limit_cores=_number(room, "cpuLimit"),
        memory_limit_gb=_number(room, "memoryInGBLimit"),
        gpu_count=_whole(room, "gpu"),
        location=_text(told, "location"),
        description=_text(told, "description"),
        tags={str(name): str(value) for name, value in _object(told, "kvTags").items() if value is not None},
        compute=_text(told, "computeName"),
        namespace=_text(told, "namespace"),
        instance_count=_whole(told, "numReplicas"),
        autoscaler=_autoscaler(_object(told, "autoScaler")),
        request_timeout_ms=_whole(told, "scoringTimeoutMs"),
        concurrent_requests=_whole(told, "maxConcurrentRequestsPerContainer"),
        has_app_insights=told.get("appInsightsEnabled") is True,
        collects_data=data.get("storageEnabled") is True or data.get("eventHubEnabled") is True,
        domain_name=_text(told, "cname") or _text(told, "publicFqdn"),
        has_tls=told.get("sslEnabled") is True or (_text(told, "scoringUri") or "").startswith("https://"),
        is_in_network=bool(told.get("vnetConfiguration")),
        models=tuple(id_ for each in _list(told, "models") if isinstance(each, dict) and (id_ := _text(each, "id"))),
    )


def auth_of(told: Mapping[str, Any]) -> AuthMode:
    """What the service asks its callers for."""
    if told.get("aadAuthEnabled") is True:
        return AuthMode.TOKEN
    return AuthMode.KEY if told.get("authEnabled") is True else AuthMode.NONE


def _autoscaler(told: Mapping[str, Any]) -> Autoscaler | None:
    smallest, largest = _whole(told, "minReplicas"), _whole(told, "maxReplicas")
    if told.get("autoscaleEnabled") is not True or smallest is None or largest is None:
        return None
    return Autoscaler(smallest=smallest, largest=largest, target_percent=_whole(told, "targetUtilization") or 70)


def _object(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key)
    return value if isinstance(value, dict) else {}


def _list(told: Mapping[str, Any], key: str) -> list[Any]:
    value = told.get(key)
    return value if isinstance(value, list) else []


def _text(told: Mapping[str, Any], key: str) -> str | None:
    value = told.get(key)
    return value if isinstance(value, str) and value else None


def _number(told: Mapping[str, Any], key: str) -> float | None:
    value = told.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _whole(told: Mapping[str, Any], key: str) -> int | None:
    value = _number(told, key)
    return None if value is None else int(value)
