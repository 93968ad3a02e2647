"""Model management's words: how services and their operations are written, and what a create request leaves unsaid."""

from __future__ import annotations

from typing import Any

from tests.azure import mms_models
from tests.azure.arm.workspaces import Workspace
from tests.azure.molds import Mold, number, scalar
from tests.azure.state import Cloud
from tests.azure.webservices import ACI, AKS, ENDPOINT, Operation, Service

_AUTOSCALER = {
    "autoscaleEnabled": True,
    "minReplicas": 1,
    "maxReplicas": 10,
    "targetUtilization": 70,
    "refreshPeriodInSeconds": 1,
}
_PROBE = {
    "periodSeconds": 10,
    "initialDelaySeconds": 310,
    "timeoutSeconds": 2,
    "failureThreshold": 3,
    "successThreshold": 1,
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    ACI: {
        "containerResourceRequirements": {"cpu": 0.1, "memoryInGB": 0.5},
        "authEnabled": False,
        "sslEnabled": False,
        "appInsightsEnabled": False,
        "sslCertificate": None,
        "sslKey": None,
        "cname": None,
    },
    AKS: {
        "containerResourceRequirements": dict.fromkeys(("cpuLimit", "memoryInGBLimit", "gpu"))
        | {"cpu": 0.1, "memoryInGB": 0.5},
        "authEnabled": True,
        "aadAuthEnabled": False,
        "appInsightsEnabled": False,
        "autoScaler": _AUTOSCALER,
        "dataCollection": {"eventHubEnabled": False, "storageEnabled": False},
        "livenessProbeRequirements": _PROBE,
        "maxConcurrentRequestsPerContainer": 1,
        "maxQueueWaitMs": 500,
        "numReplicas": 1,
        "scoringTimeoutMs": 60000,
        "namespace": None,
        "computeName": None,
        "isDefault": None,
        "trafficPercentile": None,
        "type": None,
    },
    ENDPOINT: {
        "authEnabled": True,
        "aadAuthEnabled": False,
        "appInsightsEnabled": False,
        "computeName": None,
        "namespace": None,
        "versions": {},
    },
}
_TEXTS = {"*": scalar}
_IMAGE: Mold = {
    "driverProgram": str,
    "assets": [{"id": str, "mimeType": str, "url": str, "unpack": bool}],
    "modelIds": [str],
    "models": [object],
    "environment": {
        "name": str,
        "environmentVariables": _TEXTS,
        "python": {"condaDependencies": object},
    },
}
_SHARED: Mold = {
    **dict.fromkeys(
        ("name", "computeType", "description", "location", "dnsNameLabel", "computeName", "namespace"), str
    ),
    **dict.fromkeys(("imageId", "cname", "sslCertificate", "sslKey", "type"), str),
    **dict.fromkeys(
        ("authEnabled", "aadAuthEnabled", "appInsightsEnabled", "sslEnabled", "overwrite", "isDefault"), bool
    ),
    **dict.fromkeys(("numReplicas", "scoringTimeoutMs", "maxConcurrentRequestsPerContainer", "maxQueueWaitMs"), number),
    "trafficPercentile": number,
    "kvTags": _TEXTS,
    "properties": _TEXTS,
    "keys": {"primaryKey": str, "secondaryKey": str},
    "containerResourceRequirements": dict.fromkeys(("cpu", "cpuLimit", "memoryInGB", "memoryInGBLimit", "gpu"), number),
    "autoScaler": {"autoscaleEnabled": bool, "minReplicas": number, "maxReplicas": number},
    "livenessProbeRequirements": {"*": object},
    "dataCollection": {"*": object},
    "environmentImageRequest": _IMAGE,
}
# What a request for a service holds, as far as it is read; also what a patch may make of it.
SERVICE: Mold = {**_SHARED, "versions": {"*": _SHARED}}
# What model management's REST model of an environment has. azureml-core sends more (`databricks`), which no model of an
# answer knows.
_ENVIRONMENT = {"name", "version", "python", "environmentVariables", "docker", "spark", "inferencingStackVersion", "r"}
# Never told again.
_SECRET = {"keys", "overwrite", "dnsNameLabel", "location", "sslKey"}


def completed(asked: dict[str, Any]) -> dict[str, Any]:
    """A create request with its defaults; a member the client sends as null is one it leaves to the service."""
    kind = asked["computeType"]
    found: dict[str, Any] = {"description": None, "kvTags": {}, "properties": {}}
    found |= {name: dict(value) if isinstance(value, dict) else value for name, value in _DEFAULTS[kind].items()}
    for name, value in asked.items():
        if isinstance(value, dict) and isinstance(found.get(name), dict):
            found[name] |= {key: inner for key, inner in value.items() if inner is not None or key not in found[name]}
        elif value is not None:
            found[name] = value
    if (
        kind == AKS
        and asked.get("numReplicas") is not None
        and not (asked.get("autoScaler") or {}).get("autoscaleEnabled")
    ):
        found["autoScaler"]["autoscaleEnabled"] = False
    return found


def rendered(cloud: Cloud, workspace: Workspace, service: Service, *, expands: bool) -> dict[str, Any]:
    is_up = service.state == "Healthy" or bool(service.serving)
    found: dict[str, Any] = {
        "id": service.name,
        "name": service.name,
        **{name: value for name, value in service.request.items() if name not in _SECRET},
        "computeType": service.kind,
        "deploymentType": "HttpRealtimeEndpoint",
        "operationId": service.operation,
        "state": service.state,
        "createdTime": service.created,
        "updatedTime": service.updated,
        "error": service.error,
        "createdBy": service.created_by,
        "scoringUri": f"{service.scoring_base}/score" if is_up else None,
        "swaggerUri": f"{service.scoring_base}/swagger.json" if is_up else None,
    }
    if service.kind == ENDPOINT:
        return found | _versions(cloud, workspace, service, found)
    image = found.pop("environmentImageRequest", None)
    if service.kind == ACI:
        found |= {
            "location": service.region,
            "publicIp": None,
            "publicFqdn": service.host if is_up else None,
            "sslKey": None,
        }
    elif is_up:
        replicas = service.request["numReplicas"] or 1
        counts = dict.fromkeys(("desiredReplicas", "updatedReplicas", "availableReplicas"), replicas)
        found["deploymentStatus"] = {**counts, "error": None}
    if expands:
        found["environmentImageRequest"] = _told(image)
        found["models"] = _models(cloud, workspace, image)
        found["modelConfigMap"] = {}
    return found


def _told(image: dict[str, Any] | None) -> dict[str, Any] | None:
    if image is None or not image.get("environment"):
        return image
    known = {name: value for name, value in image["environment"].items() if name in _ENVIRONMENT}
    return {**image, "environment": known}


def _models(cloud: Cloud, workspace: Workspace, image: dict[str, Any] | None) -> list[dict[str, Any]]:
    pairs = (mms_models.find(cloud, workspace, str(one)) for one in (image or {}).get("modelIds") or ())
    return [mms_models.rendered(cloud, workspace, *pair) for pair in pairs if pair is not None]


def _versions(cloud: Cloud, workspace: Workspace, service: Service, whole: dict[str, Any]) -> dict[str, Any]:
    """An endpoint's versions, each a service of its own to the client; the 2019 file lists them as variants."""
    told: dict[str, Any] = {}
    for name, asked in (service.request.get("versions") or {}).items():
        request = completed({**asked, "computeType": AKS, "computeName": service.request["computeName"]})
        image = request.pop("environmentImageRequest", None)
        told[name] = {
            **{member: value for member, value in request.items() if member not in _SECRET},
            "id": name,
            "name": name,
            **{
                member: whole[member]
                for member in ("state", "createdTime", "updatedTime", "scoringUri", "swaggerUri", "operationId")
            },
            "authEnabled": whole["authEnabled"],
            "aadAuthEnabled": whole["aadAuthEnabled"],
            "deploymentType": "HttpRealtimeEndpoint",
            "environmentImageRequest": _told(image),
            "models": _models(cloud, workspace, image),
        }
    return {"versions": told}


def service_operation(
    workspace: Workspace, operation: Operation, *, offset: int, log_url: str | None
) -> dict[str, Any]:
    sub = operation.extra.get("sub_operation", "DeployService")
    has_begun = operation.state != "NotStarted"
    return {
        "id": operation.id,
        "operationType": "Service",
        "state": operation.state,
        "createdTime": operation.created,
        "endTime": operation.ended,
        "error": operation.error,
        "resourceLocation": f"/api{workspace.id}/services/{operation.service}",
        "operationLog": log_url,
        "operationDetails": {"subOperationType": sub, "subOperationState": operation.state} if has_begun else None,
        "parentRequestId": operation.id.replace("-", ""),
        "streamingOperationLog": "#".join(operation.told)[offset:] or None,
    }
