"""The bodies that ARM's rooms read: their types, and how one that has others is refused."""

from __future__ import annotations

from typing import Any

from tests.azure.arm import answers
from tests.azure.messages import Request
from tests.azure.molds import Mold, misfit, number, scalar, whole

_TAGS = {"*": str}
_TEXTS = {"*": scalar}
_IDENTITY = {"type": str, "userAssignedIdentities": {"*": object}}
_PROBE = {"*": object}

TAGGED: Mold = {"location": str, "tags": _TAGS, "identity": _IDENTITY}
ENDPOINT: Mold = {
    **TAGGED,
    "properties": {
        **dict.fromkeys(("authMode", "compute", "description", "publicNetworkAccess"), str),
        "traffic": {"*": object},
        "mirrorTraffic": {"*": object},
        "properties": _TEXTS,
        "keys": {"primaryKey": str, "secondaryKey": str},
    },
}
DEPLOYMENT: Mold = {
    **TAGGED,
    "sku": {"name": str, "capacity": whole},
    "properties": {
        **dict.fromkeys(("endpointComputeType", "instanceType", "description", "model", "environmentId"), str),
        **dict.fromkeys(("egressPublicNetworkAccess", "modelMountPath"), str),
        "codeConfiguration": {"codeId": str, "scoringScript": str},
        "environmentVariables": _TEXTS,
        "properties": _TEXTS,
        "scaleSettings": {"scaleType": str, "minInstances": whole, "maxInstances": whole},
        "requestSettings": {
            "requestTimeout": str,
            "maxQueueWait": str,
            "maxConcurrentRequestsPerInstance": whole,
        },
        "livenessProbe": _PROBE,
        "readinessProbe": _PROBE,
        "dataCollector": {"*": object},
        "containerResourceRequirements": {"*": {"*": object}},
        "appInsightsEnabled": bool,
    },
}
LOGS: Mold = {"containerType": str, "tail": whole}
KEYS: Mold = {"keyType": str, "keyValue": str}
ASSET: Mold = {
    "properties": {
        **dict.fromkeys(("description", "modelUri", "modelType", "jobName", "stage", "codeUri", "image"), str),
        **dict.fromkeys(("condaFile", "osType", "autoRebuild"), str),
        "tags": _TAGS,
        "properties": _TEXTS,
        "isArchived": bool,
        "isAnonymous": bool,
        "flavors": {"*": object},
        "build": {"*": object},
        "inferenceConfig": {"*": object},
    }
}
COMPUTE: Mold = {
    **TAGGED,
    "properties": {
        **dict.fromkeys(("computeType", "resourceId", "description"), str),
        "properties": {"*": object},
    },
}
WORKSPACE: Mold = {
    "tags": _TAGS,
    "properties": {
        **dict.fromkeys(("description", "friendlyName", "imageBuildCompute", "publicNetworkAccess"), str),
        "v1LegacyMode": bool,
        "managedNetwork": {"isolationMode": str},
    },
}
SECRETS: Mold = {"expirableSecret": bool, "expireAfterHours": number}
AUTOSCALE: Mold = {**TAGGED, "properties": {"profiles": [{"*": object}], "enabled": bool, "targetResourceUri": str}}
DIAGNOSTICS: Mold = {"properties": {"logs": [{"*": object}], "metrics": [{"*": object}]}}


def read(request: Request, mold: Mold) -> dict[str, Any]:
    """The body, of these types; ARM's 400 for any other."""
    value = request.json()
    if path := misfit(value, mold):
        text = f"The request content was invalid and could not be deserialized: '{path} is of another type than expected.'."
        raise answers.arm_refusal(400, "InvalidRequestContent", text)
    found: dict[str, Any] = value
    return found


def read_or_none(request: Request, mold: Mold) -> dict[str, Any]:
    """The same of an operation that needs no body."""
    return read(request, mold) if request.body.size else {}
