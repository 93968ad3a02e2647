"""Datastores: where a workspace keeps what is uploaded and what jobs put out, and the secrets to get at it."""

from __future__ import annotations

from typing import Any

from tests.azure import storage, world
from tests.azure.arm import bodies, versions
from tests.azure.arm.workspaces import Visit, visit
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

LIST = world.WORKSPACE_TEMPLATE + "/datastores"
ONE = LIST + "/{datastore}"
DEFAULT = "workspaceblobstore"
ARTIFACTS = "workspaceartifactstore"

room = Room("arm-datastores", host=versions.HOST)


def container_of(found: Visit, name: str) -> str | None:
    if name == DEFAULT:
        return f"azureml-blobstore-{found.workspace.workspace_id}"
    return storage.ARTIFACT_CONTAINER if name == ARTIFACTS else None


def _rendered(found: Visit, name: str, container: str) -> dict[str, Any]:
    workspace, created = found.workspace, found.workspace.created[:-1] + "+00:00"
    account = found.cloud.state(storage.Accounts).by_name.get(workspace.storage_account)
    keyed = account is None or account.allows_shared_key
    properties: dict[str, Any] = {
        "description": None,
        "tags": None,
        "properties": None,
        "isDefault": name == DEFAULT,
        "credentials": {"credentialsType": "AccountKey" if keyed else "None"},
        "datastoreType": "AzureBlob",
        "accountName": workspace.storage_account,
        "containerName": container,
        "endpoint": "core.windows.net",
        "protocol": "https",
        "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity",
    }
    if versions.since(found.version, "2023-04-01"):
        properties |= {"subscriptionId": workspace.subscription, "resourceGroup": workspace.resource_group}
    if versions.answers_as_recorded(found.version):
        properties["intellectualProperty"] = None
    return {
        "id": f"{workspace.id}/datastores/{name}",
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/datastores",
        "properties": properties,
        "systemData": {
            "createdAt": created,
            "createdBy": workspace.workspace_id,
            "createdByType": "Application",
            "lastModifiedAt": created,
            "lastModifiedBy": workspace.workspace_id,
            "lastModifiedByType": "Application",
        },
    }


def _one(found: Visit, name: str) -> str:
    container = container_of(found, name)
    if container is None:
        raise found.not_found("datastores", name)
    return container


@room.get(LIST, api_versions=versions.ASSETS)
def list_datastores(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "datastores/read", v2=True)
    names = [DEFAULT] if request.query.get("isdefault", "").lower() == "true" else [DEFAULT, ARTIFACTS]
    return found.reply(found.page([_rendered(found, name, _one(found, name)) for name in names]))


@room.get(ONE, api_versions=versions.ASSETS)
def get_datastore(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "datastores/read", v2=True)
    return found.reply(_rendered(found, params["datastore"], _one(found, params["datastore"])))


@room.post(ONE + "/listSecrets", api_versions=versions.ASSETS)
def list_secrets(request: Request, params: Params, cloud: Cloud) -> Response:
    """The account's key; to who asks for a secret that expires (azure-ai-ml from 1.18), a SAS."""
    found = visit(request, params, cloud, "datastores/listSecrets/action", v2=True)
    container = _one(found, params["datastore"])
    account = cloud.state(storage.Accounts).by_name[found.workspace.storage_account]
    if not account.allows_shared_key:
        raise found.bad_request(
            ("NoCredentials", f"The datastore {params['datastore']} is based on identity: it has no secrets.")
        )
    asked = bodies.read_or_none(request, bodies.SECRETS)
    if asked.get("expirableSecret"):
        lifetime_s = float(asked.get("expireAfterHours") or 1) * 3600
        sas = storage.issue_sas(cloud, account.name, container, permissions="racwdl", lifetime_s=lifetime_s)
        return found.reply({"secretsType": "Sas", "sasToken": sas}, did="write")
    return found.reply({"secretsType": "AccountKey", "key": account.key}, did="write")
