"""The workspace: what every other machine learning resource stands in, and the switches that close it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.azure import world
from tests.azure.access import ARM, Caller, Denied, require_token
from tests.azure.arm import answers, operations, policies, versions
from tests.azure.arm.subscriptions import Subscriptions
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

TYPE = "Microsoft.MachineLearningServices/workspaces"
LIST = "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.MachineLearningServices/workspaces"
SUBSCRIPTION_LIST = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/workspaces"
_PATCHED = ("description", "friendlyName", "imageBuildCompute", "publicNetworkAccess", "v1LegacyMode", "managedNetwork")

Key = tuple[str, str, str]
room = Room("arm-workspaces", host=versions.HOST)


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


def visit(request: Request, params: Params, cloud: Cloud, action: str, *, v2: bool = False) -> Visit:
    """`action` below Microsoft.MachineLearningServices/workspaces; `v2`: v1LegacyMode forbids it."""
    scope = f"/subscriptions/{params['subscription']}/resourceGroups/{params['resource_group']}/providers/{TYPE}/{params['workspace']}"
    cloud.state(Subscriptions).require(cloud, params["subscription"])
    caller = authorize(request, cloud, f"{TYPE}/{action}", scope)
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


def _properties(workspace: Workspace, version: str, provisioning: str) -> dict[str, Any]:
    base = f"https://{workspace.region}.api.azureml.ms"
    properties: dict[str, Any] = {
        "friendlyName": workspace.friendly_name or workspace.name,
        "description": workspace.description,
        "storageAccount": workspace.of_group("Microsoft.Storage/storageAccounts", workspace.storage_account),
        "keyVault": workspace.of_group("Microsoft.Keyvault/vaults", f"{workspace.name}vault"),
        "applicationInsights": workspace.of_group("Microsoft.insights/components", f"{workspace.name}insights"),
        "containerRegistry": workspace.of_group(
            "Microsoft.ContainerRegistry/registries", workspace.workspace_id.replace("-", "")
        ),
        "hbiWorkspace": False,
        "provisioningState": provisioning,
        "workspaceId": workspace.workspace_id,
        "discoveryUrl": f"{base}/discovery",
        "notebookInfo": {
            "resourceId": workspace.workspace_id.replace("-", ""),
            "fqdn": f"ml-{workspace.name[:11]}-{workspace.region}-{workspace.workspace_id}.{workspace.region}.notebooks.azure.net",
            "notebookPreparationError": None,
        },
        "privateLinkCount": len(workspace.private_endpoint_subnets),
    }
    if not versions.since(version, "2021-07-01"):
        return properties
    properties |= {
        "tenantId": world.TENANT_ID,
        "publicNetworkAccess": workspace.public_network_access,
        "storageHnsEnabled": False,
        "mlFlowTrackingUri": f"azureml{base[5:]}/mlflow/v1.0{workspace.id}",
    }
    if workspace.private_endpoint_subnets:
        properties["privateEndpointConnections"] = _connections(workspace, version)
    if workspace.image_build_compute is not None:
        properties["imageBuildCompute"] = workspace.image_build_compute
    if versions.since(version, "2022-05-01"):
        properties["v1LegacyMode"] = workspace.v1_legacy_mode
    if versions.since(version, "2023-09-01"):
        properties["managedNetwork"] = {"isolationMode": workspace.isolation_mode}
    if versions.answers_as_recorded(version):
        properties |= _recorded_only(workspace, version)
    return properties


def _recorded_only(workspace: Workspace, version: str) -> dict[str, Any]:
    """What Azure sends and no file at hand names, as recorded from April 2022 to August 2024."""
    found: dict[str, Any] = {
        "imageBuildCompute": workspace.image_build_compute,
        "linkedModelInventoryArmId": None,
        "sdkTelemetryAppInsightsKey": workspace.workspace_id,
        "sasGetterUri": None,
    }
    if not versions.since(version, "2022-08-01"):
        return found | {"acrSkuTier": "Basic"}
    found["softDeleteEnabled"] = False
    if versions.since(version, "2023-01-01"):
        found["enableDataIsolation"] = False
    if versions.since(version, "2023-04-01"):
        found["creationTime"] = workspace.created
    if versions.since(version, "2023-09-01"):
        modes = ["AllowInternetOutbound", "AllowOnlyApprovedOutbound"]
        found["managedNetwork"] = {"changeableIsolationModes": modes, "isolationMode": workspace.isolation_mode}
    if versions.since(version, "2024-01-01"):
        found |= {
            "ipAllowlist": [],
            "serverlessComputeSettings": {"serverlessComputeCustomSubnet": None, "serverlessComputeNoPublicIP": False},
            "EnableSoftwareBillOfMaterials": False,
            "enableServiceSideCMKEncryption": False,
            "systemDatastoresAuthMode": "accesskey",
        }
    if versions.since(version, "2024-07-01"):
        found["allowRoleAssignmentOnRG"] = False
    return found


def _connections(workspace: Workspace, version: str) -> list[dict[str, Any]]:
    listed = []
    for number, subnet in enumerate(workspace.private_endpoint_subnets):
        network = subnet.partition("/subnets/")[0].partition("/virtualNetworks/")[0]
        endpoint = {"id": f"{network}/privateEndpoints/pe{number}"}
        if versions.answers_as_recorded(version):
            endpoint["subnetArmId"] = subnet
        state = {"status": "Approved", "description": "Auto-Approved", "actionsRequired": "None"}
        listed.append(
            {
                "id": f"{workspace.id}/privateEndpointConnections/pe{number}",
                "location": workspace.region,
                "properties": {
                    "provisioningState": "Succeeded",
                    "privateEndpoint": endpoint,
                    "privateLinkServiceConnectionState": state,
                },
            }
        )
    return listed


def rendered(workspace: Workspace, version: str) -> dict[str, Any]:
    busy = workspace.operation is not None and not workspace.operation.is_over
    provisioning = "Updating" if busy else "Succeeded"
    value: dict[str, Any] = {
        "id": workspace.id,
        "name": workspace.name,
        "type": TYPE,
        "location": workspace.region,
        "tags": workspace.tags,
        "properties": _properties(workspace, version, provisioning),
        "identity": {"type": "SystemAssigned", "principalId": workspace.workspace_id, "tenantId": world.TENANT_ID},
        "sku": {"name": "Basic", "tier": "Basic"},
    }
    if not versions.since(version, "2021-07-01"):
        value["properties"]["notebookInfo"].pop("notebookPreparationError")
        if version == "2019-06-01":
            for name in ("hbiWorkspace", "notebookInfo", "privateLinkCount"):
                del value["properties"][name]
            del value["sku"]
        return value
    if versions.answers_as_recorded(version):
        value["etag"] = None
        value["properties"]["notebookInfo"]["isPrivateLinkEnabled"] = False
    else:
        value["properties"]["notebookInfo"].pop("notebookPreparationError")
    if versions.since(version, "2023-04-01"):
        value["kind"] = "Default"
    value["systemData"] = {
        "createdAt": workspace.created,
        "createdBy": "owner@contoso.com",
        "createdByType": "User",
        "lastModifiedAt": workspace.created,
        "lastModifiedBy": "owner@contoso.com",
        "lastModifiedByType": "User",
    }
    return value


@room.get(world.WORKSPACE_TEMPLATE, api_versions=versions.WORKSPACES)
def get_workspace(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "read")
    if found.workspace.operation is not None:
        found.workspace.operation.look(cloud)
    return found.reply(rendered(found.workspace, found.version))


@room.get(LIST, api_versions=versions.WORKSPACES)
@room.get(SUBSCRIPTION_LIST, api_versions=versions.WORKSPACES)
def list_workspaces(request: Request, params: Params, cloud: Cloud) -> Response:
    group = params.get("resource_group")
    scope = f"/subscriptions/{params['subscription']}" + (f"/resourceGroups/{group}" if group else "")
    cloud.state(Subscriptions).require(cloud, params["subscription"])
    authorize(request, cloud, f"{TYPE}/read", scope)
    if group:
        cloud.state(Subscriptions).require_group(params["subscription"], group)
    listed = [
        rendered(workspace, request.api_version)
        for workspace in cloud.state(Workspaces).by_key.values()
        if workspace.id.lower().startswith(f"{scope.lower()}/")
    ]
    return answers.reply({"value": listed}, world.REGION)


@room.patch(world.WORKSPACE_TEMPLATE, api_versions=versions.WORKSPACES)
def patch_workspace(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "write")
    body = policies.applied(cloud, found.workspace.id, request.json(), tags=found.workspace.tags)
    unknown = set(body.get("properties") or {}) - set(_PATCHED) - {"allowRoleAssignmentOnRG"}
    if unknown:
        raise found.bad_request(("InvalidProperty", f"These properties cannot be patched here: {sorted(unknown)}"))
    workspace = found.workspace
    if workspace.operation is not None and not workspace.operation.is_over:
        raise answers.conflict(cloud, found.region, f"The workspace {workspace.name} is being updated.")
    workspace.pending = body
    headers = _begin(found, "workspace-update").headers(cloud)
    return answers.empty(found.region, status=202, did="write", headers=headers)


@room.delete(world.WORKSPACE_TEMPLATE, api_versions=versions.WORKSPACES)
def delete_workspace(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "delete")
    return answers.empty(
        found.region, status=202, did="delete", headers=_begin(found, "workspace-delete").headers(cloud)
    )


def _begin(found: Visit, kind: str) -> operations.Operation:
    workspace = found.workspace
    workspace.operation = operations.begin(
        found.cloud,
        kind,
        workspace.name,
        workspace,
        prefix="",
        region=workspace.region,
        subscription=workspace.subscription,
        version=found.version,
        service=operations.WORKSPACE,
    )
    return workspace.operation


def is_arm_id(text: str) -> bool:
    return bool(re.match(r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/", text, re.IGNORECASE))


def now(cloud: Cloud) -> str:
    return iso8601(cloud.clock)
