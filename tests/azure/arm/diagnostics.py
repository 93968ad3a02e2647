"""Diagnostic settings of Microsoft.Insights, on a workspace, an endpoint or a deployment: kept and given back. Nothing is sent.

As Azure Monitor documents it, a setting outlives the resource it stands on, and is there again for one of the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.azure import world
from tests.azure.arm import answers, bodies, deployments, endpoints, versions
from tests.azure.arm.workspaces import Visit, visit
from tests.azure.messages import Request, Response
from tests.azure.routing import Handler, Params, Room
from tests.azure.state import Cloud

_PROVIDER = "/providers/Microsoft.Insights/diagnosticSettings"
_VERSIONS = ("2017-05-01-preview", "2021-05-01-preview")
_LOGS = {
    "onlineEndpoints": (
        "AmlOnlineEndpointTrafficLog",
        "AmlOnlineEndpointConsoleLog",
        "AmlOnlineEndpointEventLog",
    ),
    "deployments": (),
}
_DESTINATIONS = (
    *("storageAccountId", "serviceBusRuleId", "workspaceId", "eventHubAuthorizationRuleId"),
    *("eventHubName", "marketplacePartnerId", "logAnalyticsDestinationType"),
)
_MOST = 5
room = Room("arm-diagnostics", host=versions.HOST)


@dataclass(slots=True)
class DiagnosticSettings:
    """Every setting by its id in lower case: cloud.state(diagnostics.DiagnosticSettings)."""

    by_id: dict[str, dict[str, Any]] = field(default_factory=dict)


def _enter(request: Request, params: Params, cloud: Cloud, verb: str) -> tuple[Visit, str]:
    """To the resource a setting stands on: it must be there, but for a deletion."""
    found = visit(request, params, cloud, f"diagnosticSettings/{verb}", provider="Microsoft.Insights")
    path = found.workspace.id
    if "endpoint" in params:
        path += f"/onlineEndpoints/{params['endpoint']}"
    if "deployment" in params:
        path += f"/deployments/{params['deployment']}"
    if verb != "delete":
        if "deployment" in params:
            deployments.find(found, params)
        elif "endpoint" in params:
            endpoints.find(found, params["endpoint"])
    return found, path


def _refused(text: str) -> Exception:
    return answers.arm_refusal(400, "BadRequest", text)


def _known(path: str) -> tuple[str, ...] | None:
    """The categories of logs that a kind of resource has; None where they are not known here."""
    return _LOGS.get(path.split("/")[-2])


def _checked(path: str, name: str, properties: dict[str, Any], held: dict[str, Any]) -> None:
    if not any(properties.get(place) for place in _DESTINATIONS[:4]):
        raise _refused("At least one destination has to be set: a storage account, an event hub or a workspace.")
    known = _known(path)
    for entry in properties.get("logs") or ():
        category = entry.get("category")
        if known is not None and category is not None and category not in known:
            raise _refused(f"Category '{category}' is not supported.")
    others = [one for one in held if one.startswith(f"{path}{_PROVIDER}/".lower()) and held[one]["name"] != name]
    if len(others) >= _MOST:
        raise answers.arm_refusal(409, "Conflict", f"A resource has {_MOST} diagnostic settings at most.")


def list_settings(request: Request, params: Params, cloud: Cloud) -> Response:
    _, path = _enter(request, params, cloud, "read")
    held = cloud.state(DiagnosticSettings).by_id
    base = f"{path}{_PROVIDER}/".lower()
    return answers.arm_reply({"value": [value for key, value in held.items() if key.startswith(base)]})


def get_setting(request: Request, params: Params, cloud: Cloud) -> Response:
    _, path = _enter(request, params, cloud, "read")
    value = cloud.state(DiagnosticSettings).by_id.get(f"{path}{_PROVIDER}/{params['setting']}".lower())
    if value is None:
        text = f"The diagnostic setting '{params['setting']}' doesn't exist."
        raise answers.arm_refusal(404, "ResourceNotFound", text)
    return answers.arm_reply(value)


def put_setting(request: Request, params: Params, cloud: Cloud) -> Response:
    _, path = _enter(request, params, cloud, "write")
    asked = bodies.read(request, bodies.DIAGNOSTICS).get("properties") or {}
    held, name = cloud.state(DiagnosticSettings).by_id, params["setting"]
    _checked(path, name, asked, held)
    value = {
        "id": f"{path}{_PROVIDER}/{name}".lower(),
        "type": "Microsoft.Insights/diagnosticSettings",
        "name": name,
        "location": None,
        "kind": None,
        "tags": None,
        "properties": {
            **{place: asked.get(place) for place in _DESTINATIONS},
            "metrics": [_entry(one) for one in asked.get("metrics") or ()],
            "logs": [_entry(one) for one in asked.get("logs") or ()],
        },
        "identity": None,
    }
    held[str(value["id"])] = value
    return answers.arm_reply(value)


def _entry(asked: dict[str, Any]) -> dict[str, Any]:
    kept = {"enabled": False, "retentionPolicy": {"days": 0, "enabled": False}}
    return {"category": None, **kept, **{name: value for name, value in asked.items() if value is not None}}


def delete_setting(request: Request, params: Params, cloud: Cloud) -> Response:
    _, path = _enter(request, params, cloud, "delete")
    known = cloud.state(DiagnosticSettings).by_id.pop(f"{path}{_PROVIDER}/{params['setting']}".lower(), None)
    return Response.empty(200 if known else 204)


_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "", list_settings),
    ("GET", "/{setting}", get_setting),
    ("PUT", "/{setting}", put_setting),
    ("DELETE", "/{setting}", delete_setting),
)
for _on in (world.WORKSPACE_TEMPLATE, endpoints.ONE, deployments.ONE):
    for _method, _below, _handler in _ROUTES:
        room.route(_method, f"{_on}{_PROVIDER}{_below}", api_versions=_VERSIONS)(_handler)
