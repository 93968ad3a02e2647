"""Computes of a workspace: AKS clusters made, attached and detached, Kubernetes and AmlCompute clusters.

ARM takes the writes; azureml-core reads them from the regional host, under another path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.azure import world
from tests.azure.access import MACHINE_LEARNING, require_token
from tests.azure.arm import answers, operations, policies, versions
from tests.azure.arm.workspaces import TYPE, Key, Visit, Workspaces, require_reachable, visit
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

LIST = world.WORKSPACE_TEMPLATE + "/computes"
ONE = LIST + "/{compute}"
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,14}[a-zA-Z0-9]")
_CLUSTERS = {"AKS", "Kubernetes"}
_AKS_DEFAULTS: dict[str, Any] = {
    "clusterFqdn": None,
    "systemServices": None,
    "agentCount": 3,
    "agentVmSize": "Standard_D3_v2",
    "clusterPurpose": "FastProd",
    "loadBalancerType": "PublicIp",
    "loadBalancerSubnet": None,
    "aksNetworkingConfiguration": None,
    "sslConfiguration": None,
}
_AML_DEFAULTS: dict[str, Any] = {
    "vmPriority": "Dedicated",
    "subnet": None,
    "currentNodeCount": 0,
    "targetNodeCount": 0,
    "nodeStateCounts": {
        f"{state}NodeCount": 0 for state in ("preparing", "running", "idle", "unusable", "leaving", "preempted")
    },
    "allocationState": "Steady",
    "errors": None,
    "remoteLoginPortPublicAccess": "Enabled",
    "osType": "Linux",
    "virtualMachineImage": None,
    "isolatedNetwork": False,
    "enableNodePublicIp": True,
}
_KUBERNETES_DEFAULTS: dict[str, Any] = {"namespace": "default", "extensionInstanceReleaseTrain": "stable"}

room = Room("arm-computes", host=versions.HOST)
regional = Room("computes", host="{region}.api.azureml.ms")


@dataclass(slots=True, kw_only=True)
class Compute:
    workspace: Key
    id: str
    name: str
    region: str
    kind: str
    resource_id: str | None
    is_attached: bool
    properties: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)
    identity: dict[str, Any] | None = None
    description: str | None = None
    provisioning_state: str = "Creating"
    errors: list[dict[str, Any]] | None = None
    created: str
    modified: str
    # The last part of the address its services answer at, when it is a cluster.
    address: str = ""
    operation: operations.Operation = field(init=False)

    def is_ready(self, cloud: Cloud) -> bool:
        return True

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        return None

    def finished(self, cloud: Cloud, operation: operations.Operation) -> None:
        self.modified = iso8601(cloud.clock)
        if operation.kind == "compute-delete" and operation.status == "Succeeded":
            cloud.state(Computes).by_key.pop((self.workspace, self.name.lower()), None)
            return
        self.provisioning_state = operation.status
        self.errors = [{"error": operation.error}] if operation.error else None


@dataclass(slots=True)
class Computes:
    """Every compute: cloud.state(computes.Computes)."""

    by_key: dict[tuple[Key, str], Compute] = field(default_factory=dict)
    # Clusters that exist in the subscription and may be attached; empty: any resource id is taken at its word.
    clusters: set[str] = field(default_factory=set)
    given_addresses: int = 0

    def get(self, workspace: Key, name: str) -> Compute | None:
        return self.by_key.get((workspace, name.lower()))

    def of(self, workspace: Key) -> Iterator[Compute]:
        return (found for key, found in list(self.by_key.items()) if key[0] == workspace)

    def next_address(self) -> str:
        """In the block that is reserved for documentation (RFC 5737), so that no real host is ever meant."""
        self.given_addresses += 1
        return f"203.0.113.{self.given_addresses}"


def find_by_id(cloud: Cloud, identifier: str) -> Compute | None:
    """A cluster that services can run on, by its ARM id."""
    for compute in cloud.state(Computes).by_key.values():
        if compute.id.lower() == identifier.lower() and compute.kind in _CLUSTERS:
            return compute
    return None


def scoring_address(cloud: Cloud, identifier: str) -> str:
    compute = find_by_id(cloud, identifier)
    assert compute is not None, "the endpoint was let in without its compute"
    return compute.address


def rendered(compute: Compute, version: str, cloud: Cloud) -> dict[str, Any]:
    busy = not compute.operation.is_over
    state = compute.operation.passing_state(cloud) if busy else compute.provisioning_state
    properties: dict[str, Any] = {
        "createdOn": compute.created,
        "modifiedOn": compute.modified,
        "disableLocalAuth": False,
        "description": compute.description,
        "resourceId": compute.resource_id,
        "computeType": compute.kind,
        "computeLocation": compute.region,
        "provisioningState": state,
        "provisioningErrors": compute.errors,
        "isAttachedCompute": compute.is_attached,
        "properties": compute.properties,
    }
    if not versions.since(version, "2021-07-01"):
        del properties["disableLocalAuth"]
    value: dict[str, Any] = {
        "id": compute.id,
        "name": compute.name,
        "type": f"{TYPE}/computes",
        "location": compute.region,
        "tags": compute.tags,
        "properties": properties,
    }
    if compute.identity is not None:
        value["identity"] = compute.identity
    # Files before 2022-05-01 know no null here; 2020-02-02 is published nowhere and its client wants every member.
    return _without_nulls(value) if version in {"2022-01-01-preview", "2022-02-01-preview"} else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(entry) for name, entry in value.items() if entry is not None}
    return value


def _find(found: Visit, name: str) -> Compute:
    state = found.cloud.state(Computes)
    if compute := state.get(found.workspace.key, name):
        compute.operation.look(found.cloud)
    compute = state.get(found.workspace.key, name)
    if compute is None:
        raise _missing(found, name)
    return compute


def _refusal(found: Visit, status: int, code: str, message: str) -> Refusal:
    """This service's errors tell nothing of themselves: files up to 2020 know no additionalInfo."""
    headers = answers.service_headers(found.region, did="error", kind="error")
    return Refusal(Response.json({"error": {"code": code, "message": message}}, status=status, headers=headers))


def _missing(found: Visit, name: str) -> Refusal:
    text = f"Compute with name {name} was not found in workspace {found.workspace.name}."
    return _refusal(found, 404, "ComputeNotFound", text)


@room.get(LIST, api_versions=versions.COMPUTES)
def list_computes(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/read")
    return found.reply({"value": _all(found)})


def _all(found: Visit) -> list[dict[str, Any]]:
    for compute in found.cloud.state(Computes).of(found.workspace.key):
        compute.operation.look(found.cloud)
    version = found.version or "2020-02-02"
    return [rendered(one, version, found.cloud) for one in found.cloud.state(Computes).of(found.workspace.key)]


@room.get(ONE, api_versions=versions.COMPUTES)
def get_compute(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/read")
    return found.reply(rendered(_find(found, params["compute"]), found.version, cloud))


def _regional_visit(request: Request, params: Params, cloud: Cloud) -> Visit:
    workspace = cloud.state(Workspaces).get(params["subscription"], params["resource_group"], params["workspace"])
    if workspace is None or workspace.region != params["region"]:
        require_token(request, cloud, audience=MACHINE_LEARNING)
        raise answers.resource_not_found("workspaces", params["workspace"], params["resource_group"])
    caller = require_token(
        request, cloud, audience=MACHINE_LEARNING, action=f"{TYPE}/computes/read", scope=workspace.id
    )
    require_reachable(cloud, workspace)
    return Visit(cloud=cloud, request=request, caller=caller, workspace=workspace)


@regional.get("/rp/workspaces" + LIST)
def list_computes_regionally(request: Request, params: Params, cloud: Cloud) -> Response:
    return answers.reply({"value": _all(_regional_visit(request, params, cloud))}, params["region"])


@regional.get("/rp/workspaces" + ONE)
def get_compute_regionally(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _regional_visit(request, params, cloud)
    return found.reply(rendered(_find(found, params["compute"]), "2020-02-02", cloud))


def _checked(found: Visit, name: str, properties: dict[str, Any]) -> None:
    if not _NAME.fullmatch(name):
        text = "Compute name is invalid. It can include letters, digits and dashes. It must start with a letter, end with a letter or digit, and be between 2 and 16 characters in length"
        raise _refusal(found, 400, "BadArgument", text)
    if properties.get("computeType") not in {"AKS", "Kubernetes", "AmlCompute"}:
        text = f"The compute type {properties.get('computeType')!r} is not supported."
        raise _refusal(found, 400, "BadArgument", text)
    resource, clusters = properties.get("resourceId"), found.cloud.state(Computes).clusters
    if resource and clusters and resource.lower() not in {one.lower() for one in clusters}:
        text = f"The resource {resource} was not found, or the workspace may not reach it."
        raise _refusal(found, 400, "ComputeResourceNotFound", text)


@room.put(ONE, api_versions=versions.COMPUTES)
def put_compute(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/write")
    name = params["compute"]
    body = policies.applied(cloud, f"{found.workspace.id}/computes/{name}", request.json())
    properties = body.get("properties") or {}
    _checked(found, name, properties)
    state = cloud.state(Computes)
    existing = state.get(found.workspace.key, name)
    if existing is not None:
        existing.operation.look(cloud)
        if not existing.operation.is_over:
            raise _refusal(found, 409, "Conflict", f"The compute {name} is being changed by another operation.")
    compute = _made(found, name, body, existing)
    state.by_key[(compute.workspace, name.lower())] = compute
    kind = "compute-attach" if compute.is_attached else "compute-create"
    compute.operation = _begin(found, compute, kind)
    headers = compute.operation.headers(cloud)
    value = rendered(compute, found.version, cloud)
    return found.reply(value, status=200 if existing else 201, did="write", headers=headers)


def _made(found: Visit, name: str, body: dict[str, Any], existing: Compute | None) -> Compute:
    cloud, properties, now = found.cloud, body["properties"], iso8601(found.cloud.clock)
    kind = properties["computeType"]
    defaults = {"AKS": _AKS_DEFAULTS, "AmlCompute": _AML_DEFAULTS, "Kubernetes": _KUBERNETES_DEFAULTS}[kind]
    identity = body.get("identity")
    address = existing.address if existing else cloud.state(Computes).next_address() if kind in _CLUSTERS else ""
    return Compute(
        workspace=found.workspace.key,
        id=f"{found.workspace.id}/computes/{name}",
        name=name,
        region=body.get("location") or found.region,
        kind=kind,
        resource_id=properties.get("resourceId"),
        is_attached=bool(properties.get("resourceId")),
        properties={**defaults, **(properties.get("properties") or {})},
        tags=dict(body.get("tags") or {}),
        identity=identity and {"type": identity["type"], "principalId": cloud.new_id(), "tenantId": world.TENANT_ID},
        description=properties.get("description"),
        created=existing.created if existing else now,
        modified=now,
        address=address,
    )


def _begin(found: Visit, compute: Compute, kind: str) -> operations.Operation:
    return operations.begin(
        found.cloud,
        kind,
        compute.name,
        compute,
        prefix="",
        region=found.region,
        subscription=found.workspace.subscription,
        version=found.version,
        service=operations.COMPUTE,
    )


@room.delete(ONE, api_versions=versions.COMPUTES)
def delete_compute(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/delete")
    action = request.query.get("underlyingresourceaction", "").lower()
    compute = _find(found, params["compute"])
    if action not in {"delete", "detach"}:
        text = f"underlyingResourceAction must be Delete or Detach, not {action!r}."
        raise _refusal(found, 400, "BadArgument", text)
    if not compute.operation.is_over:
        raise answers.conflict(
            cloud, found.region, f"The compute {compute.name} is being changed by another operation."
        )
    if action == "delete" and compute.resource_id:
        cloud.state(Computes).clusters.discard(compute.resource_id)
    compute.operation = _begin(found, compute, "compute-delete")
    return answers.empty(found.region, status=202, did="delete", headers=compute.operation.headers(cloud))


@room.post(ONE + "/listNodes", api_versions=versions.COMPUTES)
def list_nodes(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/listNodes/action")
    compute = _find(found, params["compute"])
    value: dict[str, Any] = {"nodes": []}
    if versions.answers_as_recorded(found.version):
        value["computeType"] = compute.kind
    return found.reply(value, did="write")
