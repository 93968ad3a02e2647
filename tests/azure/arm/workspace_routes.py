"""The workspace's routes, and how each api-version shows it."""

from __future__ import annotations

from typing import Any

from tests.azure import world
from tests.azure.arm import answers, bodies, operations, paging, policies, versions
from tests.azure.arm.subscriptions import Subscriptions
from tests.azure.arm.workspaces import TYPE, Visit, Workspace, Workspaces, authorize, visit
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

LIST = "/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/Microsoft.MachineLearningServices/workspaces"
SUBSCRIPTION_LIST = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/workspaces"
_PATCHED = ("description", "friendlyName", "imageBuildCompute", "publicNetworkAccess", "v1LegacyMode", "managedNetwork")
room = Room("arm-workspaces", host=versions.HOST)


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
    return answers.reply(paging.page(cloud, request, listed), world.REGION)


@room.patch(world.WORKSPACE_TEMPLATE, api_versions=versions.WORKSPACES)
def patch_workspace(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "write")
    body = policies.applied(
        cloud, found.workspace.id, bodies.read(request, bodies.WORKSPACE), tags=found.workspace.tags
    )
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
