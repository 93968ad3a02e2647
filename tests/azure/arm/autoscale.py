"""Autoscale settings of Microsoft.Insights: kept and given back. Nothing scales by them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm import answers, bodies, paging, policies, versions
from tests.azure.arm.subscriptions import GROUP, Subscriptions
from tests.azure.arm.workspaces import authorize
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

LIST = GROUP + "/providers/Microsoft.Insights/autoscalesettings"
ONE = LIST + "/{setting}"
_VERSIONS = ("2014-04-01", "2015-04-01", "2021-05-01-preview", "2022-10-01")
room = Room("arm-autoscale", host=versions.HOST)


@dataclass(slots=True)
class AutoscaleSettings:
    """Every setting by its id in lower case: cloud.state(autoscale.AutoscaleSettings)."""

    by_id: dict[str, dict[str, Any]] = field(default_factory=dict)


def _enter(request: Request, params: Params, cloud: Cloud, verb: str) -> str:
    group = f"/subscriptions/{params['subscription']}/resourceGroups/{params['resource_group']}"
    cloud.state(Subscriptions).require(cloud, params["subscription"])
    authorize(request, cloud, f"Microsoft.Insights/autoscalesettings/{verb}", group)
    cloud.state(Subscriptions).require_group(params["subscription"], params["resource_group"])
    return f"{group}/providers/microsoft.insights/autoscalesettings"


@room.get(LIST, api_versions=_VERSIONS)
def list_settings(request: Request, params: Params, cloud: Cloud) -> Response:
    base = _enter(request, params, cloud, "read").lower()
    held = cloud.state(AutoscaleSettings).by_id
    listed = [value for key, value in held.items() if key.startswith(f"{base}/")]
    return answers.arm_reply(paging.page(cloud, request, listed))


@room.get(ONE, api_versions=_VERSIONS)
def get_setting(request: Request, params: Params, cloud: Cloud) -> Response:
    base = _enter(request, params, cloud, "read")
    value = cloud.state(AutoscaleSettings).by_id.get(f"{base}/{params['setting']}".lower())
    if value is None:
        text = f"The Resource 'Microsoft.Insights/autoscalesettings/{params['setting']}' under resource group '{params['resource_group']}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        raise answers.arm_refusal(404, "ResourceNotFound", text)
    return answers.arm_reply(value)


@room.put(ONE, api_versions=_VERSIONS)
def put_setting(request: Request, params: Params, cloud: Cloud) -> Response:
    identifier = f"{_enter(request, params, cloud, 'write')}/{params['setting']}"
    body = policies.applied(cloud, identifier, bodies.read(request, bodies.AUTOSCALE))
    held = cloud.state(AutoscaleSettings).by_id
    is_new = identifier.lower() not in held
    properties = {"enabled": True, "name": params["setting"], **(body.get("properties") or {})}
    value = {
        "id": identifier,
        "name": params["setting"],
        "type": "Microsoft.Insights/autoscaleSettings",
        "location": body.get("location"),
        "tags": body.get("tags") or {},
        "properties": properties,
    }
    if not properties.get("profiles"):
        raise answers.arm_refusal(400, "InvalidProfiles", "At least one profile is required in an autoscale setting.")
    held[identifier.lower()] = value
    return answers.arm_reply(value, status=201 if is_new else 200)


@room.delete(ONE, api_versions=_VERSIONS)
def delete_setting(request: Request, params: Params, cloud: Cloud) -> Response:
    identifier = f"{_enter(request, params, cloud, 'delete')}/{params['setting']}".lower()
    known = cloud.state(AutoscaleSettings).by_id.pop(identifier, None) is not None
    return Response.empty(200 if known else 204)
