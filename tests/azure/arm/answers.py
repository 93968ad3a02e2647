"""How Azure Resource Manager and the machine learning service behind it answer: headers and error shapes as recorded.

Two services speak on one host. What ARM says itself bears x-ms-failure-cause; what the machine learning service says
bears x-aml-cluster and tells its component in additionalInfo.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Response
from tests.azure.state import Cloud

_NOT_CACHED = {"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1"}
_SAFE = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains", "X-Content-Type-Options": "nosniff"}
_APPLICATION = "appId=cid-v1:2d2e8e63-272e-4b3c-8598-4ee570a0e70d"
# What is left of the subscription's allowance, by what the request did; ARM counts reads elsewhere.
LEFT = {
    "write": ("x-ms-ratelimit-remaining-subscription-writes", "1199"),
    "resource": ("x-ms-ratelimit-remaining-subscription-resource-requests", "24"),
    "delete": ("x-ms-ratelimit-remaining-subscription-deletes", "14999"),
}


def service_headers(region: str, *, did: str = "read", kind: str = "standard") -> dict[str, str]:
    headers = {
        **_NOT_CACHED,
        "request-context": _APPLICATION,
        "x-ms-response-type": kind,
        **_SAFE,
        "x-aml-cluster": f"vienna-{region}-01",
        "x-request-time": "0.031",
    }
    if did in LEFT:
        name, value = LEFT[did]
        headers[name] = value
    elif did == "read":
        headers["Vary"] = "Accept-Encoding"
    return headers


def reply(
    value: Any, region: str, *, status: int = 200, did: str = "read", headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of the machine learning service."""
    return Response.json(value, status=status, headers={**service_headers(region, did=did), **(headers or {})})


def empty(region: str, *, status: int, did: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response.empty(status, {**service_headers(region, did=did), **(headers or {})})


def arm_reply(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of ARM itself: subscriptions, resource groups, permissions."""
    return Response.json(value, status=status, headers={**_NOT_CACHED, **_SAFE, **(headers or {})})


def arm_refusal(
    status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Refusal:
    """ARM itself refuses, before the resource's own service hears of it."""
    error = {"code": code, "message": message, **more}
    return Refusal(
        arm_reply({"error": error}, status=status, headers={"x-ms-failure-cause": "gateway", **(headers or {})})
    )


def resource_not_found(kind: str, name: str, resource_group: str) -> Refusal:
    """`kind` and `name` as ARM prints them: `workspaces/w/onlineEndpoints`, `e`."""
    return arm_refusal(
        404,
        "ResourceNotFound",
        f"The Resource 'Microsoft.MachineLearningServices/{kind}/{name}' under resource group '{resource_group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def additional_info(cloud: Cloud, region: str) -> list[dict[str, Any]]:
    facts = {
        "ComponentName": "managementfrontend",
        "Correlation": {"operation": cloud.new_id().replace("-", ""), "request": cloud.new_id().replace("-", "")[:16]},
        "Environment": region,
        "Location": region,
        "Time": iso8601(cloud.clock)[:-1] + "+00:00",
    }
    return [{"type": name, "info": {"value": value}} for name, value in facts.items()]


def service_error(cloud: Cloud, region: str, code: str, message: str, *details: tuple[str, str]) -> dict[str, Any]:
    """`details`: pairs of code and message."""
    return {
        "error": {
            "code": code,
            "message": message,
            "details": [
                {"code": inner, "message": text, "details": [], "additionalInfo": []} for inner, text in details
            ],
            "additionalInfo": additional_info(cloud, region),
        }
    }


def service_refusal(
    cloud: Cloud, region: str, status: int, code: str, message: str, *details: tuple[str, str]
) -> Refusal:
    """The machine learning service refuses."""
    value = service_error(cloud, region, code, message, *details)
    return Refusal(Response.json(value, status=status, headers=service_headers(region, did="error", kind="error")))


def bad_request(cloud: Cloud, region: str, *details: tuple[str, str]) -> Refusal:
    return service_refusal(cloud, region, 400, "BadRequest", "The request is invalid.", *details)


def not_found(cloud: Cloud, region: str, inner: str, text: str, *, code: str = "NotFound") -> Refusal:
    return service_refusal(cloud, region, 404, code, "The specified resource was not found.", (inner, text))


def conflict(cloud: Cloud, region: str, text: str) -> Refusal:
    return service_refusal(cloud, region, 409, "Conflict", text)


def inferencing_errors(field: str, message: str) -> str:
    """How the inferencing service's validation shows through: its own JSON inside a message."""
    inner = f'{{"errors":{{"{field}":["{message}"]}},"type":"https://tools.ietf.org/html/rfc7231#section-6.5.1","title":"One or more validation errors occurred.","status":400}}'
    return f"InferencingClient HttpRequest error, error detail: {inner}"
