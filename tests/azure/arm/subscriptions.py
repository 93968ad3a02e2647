"""Subscriptions and resource groups: what ARM itself knows before any resource's service is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.azure import world
from tests.azure.access import ARM, require_token
from tests.azure.arm import answers, bodies, paging, policies, versions
from tests.azure.messages import Refusal, Request, Response
from tests.azure.roles import Assignments
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

GROUP = "/subscriptions/{subscription}/resourceGroups/{resource_group}"
room = Room("arm-subscriptions", host=versions.HOST)


@dataclass(slots=True, kw_only=True)
class Subscription:
    id: str
    display_name: str = "Contoso"
    tenant_id: str = world.TENANT_ID
    state: str = "Enabled"
    # By the name in lower case: how it is written, its place and its tags.
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add_group(self, name: str, region: str = world.REGION, tags: dict[str, str] | None = None) -> dict[str, Any]:
        group = {"name": name, "location": region, "tags": tags or {}}
        self.groups[name.lower()] = group
        return group


def _default() -> Subscription:
    subscription = Subscription(id=world.SUBSCRIPTION_ID)
    subscription.add_group(world.RESOURCE_GROUP)
    return subscription


@dataclass(slots=True)
class Subscriptions:
    """Every subscription: cloud.state(subscriptions.Subscriptions)."""

    by_id: dict[str, Subscription] = field(default_factory=lambda: {world.SUBSCRIPTION_ID: _default()})

    def add(self, subscription: Subscription) -> Subscription:
        self.by_id[subscription.id.lower()] = subscription
        return subscription

    def require(self, cloud: Cloud, subscription: str) -> Subscription:
        found = self.by_id.get(subscription.lower())
        if found is None:
            raise _no_subscription(subscription)
        return found

    def require_group(self, subscription: str, name: str) -> dict[str, Any]:
        group = self.by_id[subscription.lower()].groups.get(name.lower())
        if group is None:
            raise answers.arm_refusal(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        return group


def _no_subscription(subscription: str) -> Refusal:
    return answers.arm_refusal(404, "SubscriptionNotFound", f"The subscription '{subscription}' could not be found.")


def _rendered(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription.id}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant_id,
        "displayName": subscription.display_name,
        "state": subscription.state,
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


@room.get("/subscriptions")
def list_subscriptions(request: Request, params: Params, cloud: Cloud) -> Response:
    """Those on which the caller holds any role, on whatever scope inside."""
    caller = require_token(request, cloud, audience=ARM)
    held = [entry.scope.lower() for entry in cloud.state(Assignments).assigned if entry.object_id == caller.object_id]
    seen = [
        _rendered(subscription)
        for subscription in cloud.state(Subscriptions).by_id.values()
        if any(f"{scope}/".startswith(f"/subscriptions/{subscription.id.lower()}/") for scope in held)
        and subscription.tenant_id == caller.tenant_id
    ]
    # The file requires a nextLink; an empty one ends the list for every client.
    return answers.arm_reply({"value": seen, "nextLink": ""})


@room.get("/subscriptions/{subscription}")
def get_subscription(request: Request, params: Params, cloud: Cloud) -> Response:
    subscription = cloud.state(Subscriptions).require(cloud, params["subscription"])
    require_token(
        request, cloud, action="Microsoft.Resources/subscriptions/read", scope=f"/subscriptions/{subscription.id}"
    )
    return answers.arm_reply(_rendered(subscription))


def _group(subscription: str, group: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{subscription}/resourceGroups/{group['name']}",
        "name": group["name"],
        "type": "Microsoft.Resources/resourceGroups",
        "location": group["location"],
        "tags": group["tags"],
        "properties": {"provisioningState": "Succeeded"},
    }


def _may(request: Request, params: Params, cloud: Cloud, verb: str) -> Subscription:
    subscription = cloud.state(Subscriptions).require(cloud, params["subscription"])
    scope = f"/subscriptions/{subscription.id}"
    if "resource_group" in params:
        scope += f"/resourceGroups/{params['resource_group']}"
    require_token(request, cloud, action=f"Microsoft.Resources/subscriptions/resourceGroups/{verb}", scope=scope)
    return subscription


@room.get("/subscriptions/{subscription}/resourceGroups")
def list_groups(request: Request, params: Params, cloud: Cloud) -> Response:
    subscription = _may(request, params, cloud, "read")
    listed = [_group(subscription.id, group) for group in subscription.groups.values()]
    return answers.arm_reply(paging.page(cloud, request, listed, paging.size(request, "$top")))


@room.get(GROUP)
def get_group(request: Request, params: Params, cloud: Cloud) -> Response:
    subscription = _may(request, params, cloud, "read")
    group = cloud.state(Subscriptions).require_group(subscription.id, params["resource_group"])
    return answers.arm_reply(_group(subscription.id, group))


@room.route("HEAD", GROUP)
def has_group(request: Request, params: Params, cloud: Cloud) -> Response:
    subscription = _may(request, params, cloud, "read")
    known = params["resource_group"].lower() in subscription.groups
    return Response.empty(204 if known else 404)


@room.put(GROUP)
def put_group(request: Request, params: Params, cloud: Cloud) -> Response:
    subscription = _may(request, params, cloud, "write")
    name = params["resource_group"]
    path = f"/subscriptions/{subscription.id}/resourceGroups/{name}"
    body = policies.applied(cloud, path, bodies.read(request, bodies.TAGGED))
    known, said = subscription.groups.get(name.lower()), body.get("location")
    if not said:
        raise answers.arm_refusal(400, "LocationRequired", "The location property is required for this definition.")
    region = said.replace(" ", "").lower()
    if known is not None and known["location"] != region:
        text = f"Invalid resource group location '{said}'. The Resource group already exists in location '{known['location']}'."
        raise answers.arm_refusal(409, "InvalidResourceGroupLocation", text)
    group = subscription.add_group(name, region, body.get("tags"))
    return answers.arm_reply(_group(subscription.id, group), status=200 if known else 201)
