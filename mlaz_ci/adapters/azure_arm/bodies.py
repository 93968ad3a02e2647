"""What is sent to write an endpoint or a deployment: a fresh read, what of it may be written back, and our changes over it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlaz_ci.adapters.azure_arm.seen import AUTH_MODES, SMOKE, Deployment, Endpoint
from mlaz_ci.models import AuthMode, AzureShape, DeploymentSpec
from mlaz_ci.serving.scripts import SCORE
from mlaz_ci.targets.managed import DEFAULT_INSTANCE_TYPE
from mlaz_ci.targets.online_fields import deployment_fields, endpoint_fields, writable
from mlaz_ci.targets.online_section import OnlineSection

# Ours, as of every target; Azure's own default is 5 s, too little for a model's first prediction.
_REQUEST_TIMEOUT: Final = "PT60S"
_MAX_SMOKE_CHARS: Final = 1_000
_COLLECTIONS: Final = ("model_inputs", "model_outputs")


def merged(current: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `current`, mapping by mapping; what the changes do not name stays."""
    result = dict(current)
    for name, value in changes.items():
        held = result.get(name)
        is_both = isinstance(value, Mapping) and isinstance(held, Mapping)
        result[name] = merged(held, value) if is_both else value  # type: ignore[arg-type]
    return result


def replaced(body: dict[str, Any], name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The body with one property as a whole: shares of traffic are no merge of old and new."""
    return {**body, "properties": {**body["properties"], name: dict(value)}}


def endpoint_again(endpoint: Endpoint) -> dict[str, Any]:
    """The endpoint as it is, to be written back."""
    return writable(endpoint.body, endpoint_fields())


def new_endpoint(
    spec: DeploymentSpec, section: OnlineSection, *, location: str, compute_id: str | None, marks: Mapping[str, str]
) -> dict[str, Any]:
    identity = section.endpoint.get("identity") or {"type": "SystemAssigned"}
    properties: dict[str, Any] = {
        "authMode": AUTH_MODES[spec.azure_shape.auth or AuthMode.KEY],
        "properties": {**(section.endpoint.get("properties") or {}), **lasting(marks)},
    }
    for name in ("description", "publicNetworkAccess"):
        if section.endpoint.get(name):
            properties[name] = section.endpoint[name]
    if spec.azure_shape.description:
        properties["description"] = spec.azure_shape.description
    if compute_id:
        properties["compute"] = compute_id
    return {"location": location, "tags": dict(marks), "identity": identity, "properties": properties}


def lasting(marks: Mapping[str, str]) -> dict[str, str]:
    """What of the tags also stands in `properties`: whose it is, and what it was made of."""
    return {name: value for name, value in marks.items() if name == "managed-by" or name.startswith("mlaz-")}


def deployment_again(deployment: Deployment, *, is_kubernetes: bool) -> dict[str, Any]:
    return writable(deployment.body, deployment_fields(is_kubernetes=is_kubernetes))


class Parts:
    """What a deployment is made of, by ARM ids; `code` and `environment` are None where Azure's own script serves."""

    def __init__(self, *, model: str, code: str | None, environment: str | None) -> None:
        self.model = model
        self.code = code
        self.environment = environment


def deployment_changes(
    spec: DeploymentSpec, section: OnlineSection, parts: Parts, *, is_kubernetes: bool, marks: Mapping[str, str]
) -> dict[str, Any]:
    """All that this request says of a deployment; size and location are added by who knows what is there."""
    shape = spec.azure_shape
    properties: dict[str, Any] = {
        "endpointComputeType": "Kubernetes" if is_kubernetes else "Managed",
        "model": parts.model,
        "requestSettings": {"requestTimeout": _REQUEST_TIMEOUT},
        "environmentVariables": _variables(spec, section),
        "properties": {**lasting(marks), **_smoke(spec)},
    }
    if parts.environment:
        properties["environmentId"] = parts.environment
    if parts.code:
        properties["codeConfiguration"] = {"codeId": parts.code, "scoringScript": SCORE}
    if shape.description:
        properties["description"] = shape.description
    if shape.enable_app_insights is not None:
        properties["appInsightsEnabled"] = shape.enable_app_insights
    if shape.instance_type:
        properties["instanceType"] = shape.instance_type
    if shape.data_collection:
        properties["dataCollector"] = _collector()
    if is_kubernetes and (resources := _resources(shape)):
        properties["containerResourceRequirements"] = resources
    return {"tags": dict(marks), "properties": merged(properties, section.deployment)}


def _variables(spec: DeploymentSpec, section: OnlineSection) -> dict[str, str]:
    ours = {} if section.is_no_code else {"MLAZ_SPEC": spec.spec_hash}
    if spec.azure_shape.data_collection and not section.is_no_code:
        ours["MLAZ_DATA_COLLECTION"] = "true"
    return {**spec.azure_shape.environment_variables, **ours}


def _smoke(spec: DeploymentSpec) -> dict[str, str]:
    """For the day of a rollback; one that is too long for a property is left out, and the rollback is then unverified."""
    if spec.smoke_request is None:
        return {}
    text = spec.smoke_request.body.decode("utf-8", "replace")
    return {SMOKE: text} if len(text) <= _MAX_SMOKE_CHARS else {}


def _collector() -> dict[str, Any]:
    """Both collections that score.py writes to."""
    return {"collections": {name: {"dataCollectionMode": "Enabled", "samplingRate": 1.0} for name in _COLLECTIONS}}


def _resources(shape: AzureShape) -> dict[str, Any]:
    """cpu-cores and memory-gb are what the container asks for; limits are the section's."""
    asked: dict[str, str] = {}
    if shape.cpu_cores is not None:
        asked["cpu"] = f"{shape.cpu_cores:g}"
    if shape.memory_gb is not None:
        asked["memory"] = f"{shape.memory_gb:g}Gi"
    return {"containerResourceRequests": asked} if asked else {}


def sized(body: dict[str, Any], spec: DeploymentSpec, old: Deployment | None, *, is_kubernetes: bool) -> dict[str, Any]:
    """A new deployment at least as large as the one that serves: it may take all of its traffic. `old` is that one, freshly read."""
    wanted = spec.azure_shape.instance_count
    capacity = max(wanted or 0, old.capacity if old else 0)
    properties = body["properties"]
    if not is_kubernetes:
        of_old = old.properties.get("instanceType") if old else None
        properties.setdefault("instanceType", of_old or DEFAULT_INSTANCE_TYPE)
        return {**body, "sku": {"name": "Default", "capacity": capacity or 1}}
    if old is not None:
        scale = old.properties.get("scaleSettings")
        if scale and "scaleSettings" not in properties and wanted is None:
            properties["scaleSettings"] = dict(scale)
        if of_old := old.properties.get("instanceType"):
            properties.setdefault("instanceType", of_old)
    if wanted is None or "scaleSettings" in properties:
        return {**body, "sku": {"name": "Default"}}
    properties["scaleSettings"] = {"scaleType": "Default"}
    return {**body, "sku": {"name": "Default", "capacity": capacity}}
