"""The workspace: what every other machine learning resource stands in, and the switches that close it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.azure import world
from tests.azure.access import ARM, Caller, Denied, require_token
from tests.azure.arm import answers, operations, paging
from tests.azure.arm.subscriptions import Subscriptions
from tests.azure.messages import Refusal, Request, Response
from tests.azure.roles import Assignments
from tests.azure.routing import Params
from tests.azure.state import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces"

Key = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class Workspace:
    subscription: str
    resource_group: str
    name: str
    workspace_id: str
    region: str = world.REGION
    storage_account: str = world.STORAGE_ACCOUNT
    # ARM's own word for who may come in: Enabled or Disabled. Disabled closes the regional hosts, not ARM.
    public_network_access: str = "Enabled"
    # Blocks everything of the v2 API that goes through ARM: endpoints, models, environments.
    v1_legacy_mode: bool = False
    isolation_mode: str = "Disabled"
    image_build_compute: str | None = None
    # The subnets it has private endpoints in, by their ARM ids.
    private_endpoint_subnets: list[str] = field(default_factory=list)
    description: str = ""
    friendly_name: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    created: str = "2024-01-19T20:15:50.0791508Z"
    operation: operations.Operation | None = None
    pending: dict[str, Any] | None = None

    @property
    def key(self) -> Key:
        return (self.subscription.lower(), self.resource_group.lower(), self.name.lower())

    @property
    def id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}/providers/{TYPE}/{self.name}"

    def of_group(self, kind: str, name: str) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}/providers/{kind}/{name}"

    def is_ready(self, cloud: Cloud) -> bool:
        return True

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        return None

    def finished(self, cloud: Cloud, operation: operations.Operation) -> None:
        pending, self.pending = self.pending or {}, None
        if operation.status != "Succeeded":
            return
        if operation.kind == "workspace-delete":
            cloud.state(Workspaces).by_key.pop(self.key, None)
            return
        properties = pending.get("properties") or {}
        self.tags = dict(pending["tags"]) if pending.get("tags") is not None else self.tags
        self.description = properties.get("description", self.description)
        self.friendly_name = properties.get("friendlyName", self.friendly_name)
        self.image_build_compute = properties.get("imageBuildCompute", self.image_build_compute)
        self.public_network_access = properties.get("publicNetworkAccess", self.public_network_access)
        self.v1_legacy_mode = properties.get("v1LegacyMode", self.v1_legacy_mode)
        self.isolation_mode = (properties.get("managedNetwork") or {}).get("isolationMode", self.isolation_mode)


def _default() -> Workspace:
    return Workspace(
        subscription=world.SUBSCRIPTION_ID,
        resource_group=world.RESOURCE_GROUP,
        name=world.WORKSPACE,
        workspace_id=world.WORKSPACE_ID,
        friendly_name=world.WORKSPACE,
    )


@dataclass(slots=True)
class Workspaces:
    """Every workspace: cloud.state(workspaces.Workspaces)."""

    by_key: dict[Key, Workspace] = field(default_factory=lambda: {_default().key: _default()})

    @property
    def default(self) -> Workspace:
        return self.by_key[_default().key]

    def add(self, workspace: Workspace) -> Workspace:
        self.by_key[workspace.key] = workspace
        return workspace

    def get(self, subscription: str, resource_group: str, name: str) -> Workspace | None:
        return self.by_key.get((subscription.lower(), resource_group.lower(), name.lower()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request that came as far as its workspace: the caller is known and may do what they ask."""

    cloud: Cloud
    request: Request
    caller: Caller
    workspace: Workspace

    @property
    def region(self) -> str:
        return self.workspace.region

    @property
    def version(self) -> str:
        return self.request.api_version

    def reply(
        self, value: Any, *, status: int = 200, did: str = "read", headers: dict[str, str] | None = None
    ) -> Response:
        return answers.reply(value, self.region, status=status, did=did, headers=headers)

    def page(self, listed: list[dict[str, Any]], asked: int = 0) -> dict[str, Any]:
        return paging.page(self.cloud, self.request, listed, asked)

    def bad_request(self, *details: tuple[str, str]) -> Refusal:
        return answers.bad_request(self.cloud, self.region, *details)

    def not_found(self, kind: str, name: str) -> Refusal:
        """ARM's own 404; `kind` below the workspace."""
        workspace = self.workspace
        return answers.resource_not_found(f"workspaces/{workspace.name}/{kind}", name, workspace.resource_group)


def authorize(request: Request, cloud: Cloud, action: str, scope: str) -> Caller:
    """ARM's check, in ARM's words."""
    try:
        return require_token(request, cloud, audience=ARM, action=action, scope=scope)
    except Denied as denied:
        extra = {"x-ms-failure-cause": "gateway"}
        if challenge := denied.response.headers.get("WWW-Authenticate"):
            extra["WWW-Authenticate"] = challenge
        raise answers.arm_refusal(denied.status, denied.code, denied.message, headers=extra) from denied


_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


def require_assignable(found: Visit, action: str, scope: str, body: dict[str, Any]) -> None:
    """Whoever gives a resource a user-assigned identity must be allowed to, on that identity."""
    identities = (body.get("identity") or {}).get("userAssignedIdentities") or {}
    roles = found.cloud.state(Assignments)
    denied = [one for one in identities if not roles.is_allowed(found.caller.object_id, _ASSIGN, one)]
    if denied:
        caller = found.caller
        raise answers.arm_refusal(
            403,
            "LinkedAuthorizationFailed",
            f"The client '{caller.client_id}' with object id '{caller.object_id}' has permission to perform action '{TYPE}/{action}' on scope '{scope}'; however, it does not have permission to perform action '{_ASSIGN}' on the linked scope(s) '{','.join(denied)}' or the linked scope(s) are invalid.",
        )


def require_location(found: Visit, body: dict[str, Any], held: str | None, name: str) -> None:
    """A tracked resource says where it is, and stays there."""
    said = body.get("location")
    if not said:
        raise answers.arm_refusal(400, "LocationRequired", "The location property is required for this definition.")
    if held is not None and _plain(said) != _plain(held):
        text = f"The resource '{name}' already exists in location '{held}' in resource group '{found.workspace.resource_group}'. A resource with the same name cannot be created in location '{said}'. Please select a new resource name."
        raise answers.arm_refusal(409, "InvalidResourceLocation", text)


def _plain(location: str) -> str:
    return location.replace(" ", "").lower()


def visit(
    request: Request, params: Params, cloud: Cloud, action: str, *, v2: bool = False, provider: str = TYPE
) -> Visit:
    """`action` below Microsoft.MachineLearningServices/workspaces, or below `provider`; `v2`: v1LegacyMode forbids it."""
    scope = f"/subscriptions/{params['subscription']}/resourceGroups/{params['resource_group']}/providers/{TYPE}/{params['workspace']}"
    cloud.state(Subscriptions).require(cloud, params["subscription"])
    caller = authorize(request, cloud, f"{provider}/{action}", scope)
    cloud.state(Subscriptions).require_group(params["subscription"], params["resource_group"])
    workspace = cloud.state(Workspaces).get(params["subscription"], params["resource_group"], params["workspace"])
    if workspace is None:
        if request.method in {"PUT", "POST"} and "/" in action:
            raise answers.arm_refusal(
                404,
                "ParentResourceNotFound",
                f"Can not perform requested operation on nested resource. Parent resource '{params['workspace']}' not found.",
            )
        raise answers.resource_not_found("workspaces", params["workspace"], params["resource_group"])
    found = Visit(cloud=cloud, request=request, caller=caller, workspace=workspace)
    if v2 and workspace.v1_legacy_mode and request.method != "GET":
        raise found.bad_request(
            (
                "V1LegacyMode",
                f"The workspace {workspace.name} has V1LegacyMode == true: this operation goes through the public ARM plane, which that mode forbids. Update the workspace to v1_legacy_mode false, or use the v1 API.",
            )
        )
    return found


def require_reachable(cloud: Cloud, workspace: Workspace) -> None:
    """For the regional hosts: a private workspace refuses whoever comes from outside, as the runner does."""
    if workspace.public_network_access == "Enabled":
        return
    message = "User is not authorized to access provided resources due to none of the workspaces/registries are accessible from outside of the designated private link."
    raise answers.service_refusal(cloud, workspace.region, 403, "UserError", message)


def created_by(caller: Caller, now: str) -> dict[str, str]:
    return {"createdAt": now, "createdBy": caller.client_id, "createdByType": "Application"} | modified_by(caller, now)


def modified_by(caller: Caller, now: str) -> dict[str, str]:
    return {"lastModifiedAt": now, "lastModifiedBy": caller.client_id, "lastModifiedByType": "Application"}


def has_pairs(held: dict[str, str], wanted: str) -> bool:
    """Whether what a list's filter asks for is there: `key` or `key=value`, several by commas."""
    pairs = [part.partition("=") for part in wanted.split(",") if part]
    return all(name in held and (not equals or held[name] == value) for name, equals, value in pairs)


def is_arm_id(text: str) -> bool:
    return bool(re.match(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/", text, re.IGNORECASE))
