"""What a deployment may ask for, and what it is given where it does not ask."""

from __future__ import annotations

import re
from typing import Any

from tests.azure.arm import answers, assets, endpoints, quotas
from tests.azure.arm.deployments import PROBE, Deployment, Deployments
from tests.azure.arm.workspaces import Visit, is_arm_id
from tests.azure.messages import Refusal

MAX_PER_ENDPOINT = 20
MAX_INSTANCES = 50
_MAX_TIMEOUT_S = 180
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
_MANAGED_SCALE = {"scaleType": "Default"}
_KUBERNETES_SCALE = {
    "scaleType": "TargetUtilization",
    "pollingInterval": "PT1S",
    "targetUtilizationPercentage": 70,
    "minInstances": 1,
    "maxInstances": 1,
}
_RESOURCES = {
    "containerResourceRequests": {"cpu": "0.1", "memory": "0.500Gi", "gpu": None},
    "containerResourceLimits": {"cpu": "2", "memory": "2.000Gi", "gpu": None},
}
_CHANGEABLE = (
    *("description", "codeConfiguration", "environmentId", "environmentVariables", "scaleSettings", "modelMountPath"),
    *("appInsightsEnabled", "model", "egressPublicNetworkAccess", "dataCollector", "privateNetworkConnection"),
)


def _refused(found: Visit, field_name: str, text: str) -> Refusal:
    detail = answers.inferencing_errors(field_name, text)
    return found.bad_request(("InferencingClientCreateDeploymentFailed", detail))


def _checked_assets(found: Visit, properties: dict[str, Any]) -> None:
    code = (properties.get("codeConfiguration") or {}).get("codeId")
    for identifier in (properties.get("model"), code, properties.get("environmentId")):
        # A registry's assets (azureml://registries/…) are another service's to know.
        if not isinstance(identifier, str) or not is_arm_id(identifier):
            continue
        if assets.version_of(found.cloud, found.workspace.key, identifier) is None:
            text = f"The asset {identifier} was not found."
            raise answers.not_found(found.cloud, found.region, "AssetNotFound", text, code="UserError")


def check(
    found: Visit, endpoint: endpoints.Endpoint, existing: Deployment | None, name: str, body: dict[str, Any]
) -> None:
    properties = body.get("properties") or {}
    kind = properties.get("endpointComputeType")
    if kind not in {"Managed", "Kubernetes"} or (kind == "Kubernetes") != endpoint.is_kubernetes:
        raise _refused(
            found,
            "EndpointComputeType",
            f"The compute type {kind} does not fit the endpoint {endpoint.name} of kind {endpoint.kind}.",
        )
    if not _NAME.fullmatch(name):
        raise _refused(
            found,
            "Name",
            "The deployment name must be 3 to 32 characters long, begin with a letter, end with a letter or a digit and hold nothing but letters, digits and hyphens.",
        )
    if existing is None and len(found.cloud.state(Deployments).of(endpoint)) >= MAX_PER_ENDPOINT:
        raise _refused(
            found,
            "",
            f"The endpoint {endpoint.name} has {MAX_PER_ENDPOINT} deployments, the most an endpoint can have.",
        )
    if existing is not None and not existing.has_succeeded:
        raise _refused(
            found,
            "",
            f"Specified deployment [{name}] failed during initial provisioning and is in an unrecoverable state. Delete and re-create.",
        )
    scale = properties.get("scaleSettings")
    if scale is not None and scale.get("scaleType") not in {"Default", "TargetUtilization"}:
        raise _refused(
            found, "ScaleSettings", f"scaleType must be Default or TargetUtilization, not {scale.get('scaleType')!r}."
        )
    if seconds(properties.get("requestSettings") or {}) > _MAX_TIMEOUT_S and kind == "Managed":
        raise _refused(found, "RequestTimeout", f"The request timeout must be {_MAX_TIMEOUT_S} seconds at most.")
    if kind == "Managed":
        check_size(found, existing, properties.get("instanceType"), capacity_of(body, existing))
    elif existing is not None and properties.get("instanceType") not in {None, existing.instance_type}:
        raise _refused(found, "InstanceType", "The instance type of a deployment cannot be changed.")
    _checked_assets(found, properties)


def seconds(settings: dict[str, Any]) -> float:
    """The request timeout, 0 when it is not said. ISO 8601, as far as Azure's durations go."""
    text = str(settings.get("requestTimeout") or "PT0S")
    parts = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", text)
    if parts is None:
        return 0.0
    hours, minutes, rest = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + rest


def check_size(found: Visit, existing: Deployment | None, asked: str | None, capacity: int) -> None:
    name = asked or (existing.instance_type if existing else "")
    size = quotas.size_named(name)
    if size is None:
        raise _refused(
            found, "VmSize", f"The VM size {name} is not supported by managed online endpoints in {found.region}."
        )
    if existing is not None and existing.instance_type.lower() != size.name.lower():
        raise _refused(found, "InstanceType", "The instance type of a deployment cannot be changed.")
    if not 1 <= capacity <= MAX_INSTANCES:
        raise _refused(found, "Capacity", f"The instance count must be from 1 to {MAX_INSTANCES}, not {capacity}.")
    short = quotas.shortage(found.cloud, found.region, size, capacity, held=existing.capacity if existing else 0)
    if short is not None:
        used, limit, more = short
        text = f"Not enough quota available for {size.name} in SubscriptionId {found.workspace.subscription}. Current usage/limit: {used}/{limit}. Additional needed: {more} Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"
        raise _refused(found, "VmSize", text)


def capacity_of(body: dict[str, Any], existing: Deployment | None) -> int:
    given = (body.get("sku") or {}).get("capacity")
    return int(given) if given is not None else existing.capacity if existing else 1


def merged_properties(found: Visit, kubernetes: bool, old: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    scale = _KUBERNETES_SCALE if kubernetes else _MANAGED_SCALE
    wait = "PT0.5S" if kubernetes else "PT0S"
    defaults: dict[str, Any] = {
        "description": None,
        "codeConfiguration": None,
        "environmentId": None,
        "environmentVariables": {},
        "scaleSettings": dict(scale),
        "requestSettings": {"maxQueueWait": wait, "requestTimeout": "PT0S", "maxConcurrentRequestsPerInstance": 1},
        "modelMountPath": None,
        "appInsightsEnabled": False,
        "livenessProbe": None,
        "readinessProbe": None,
        "model": None,
        "egressPublicNetworkAccess": "Enabled",
    }
    if kubernetes:
        defaults["containerResourceRequirements"] = _RESOURCES
    merged = {**defaults, **old}
    merged |= {name: asked[name] for name in _CHANGEABLE if asked.get(name) is not None}
    merged["egressPublicNetworkAccess"] = str(merged["egressPublicNetworkAccess"]).capitalize()
    if asked.get("scaleSettings"):
        merged["scaleSettings"] = {
            **(scale if asked["scaleSettings"].get("scaleType") == scale["scaleType"] else {}),
            **asked["scaleSettings"],
        }
    merged["requestSettings"] = {**merged["requestSettings"], **(asked.get("requestSettings") or {})}
    for probe in ("livenessProbe", "readinessProbe"):
        merged[probe] = {**PROBE, **asked[probe]} if asked.get(probe) else None
    if kubernetes and asked.get("containerResourceRequirements"):
        given = asked["containerResourceRequirements"]
        merged["containerResourceRequirements"] = {
            part: {"cpu": None, "memory": None, "gpu": None, **(given.get(part) or {})} for part in _RESOURCES
        }
    return merged
