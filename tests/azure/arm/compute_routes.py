"""The routes of computes, on ARM and on the regional host."""

from __future__ import annotations

import re
from typing import Any

from tests.azure import world
from tests.azure.access import MACHINE_LEARNING, require_token
from tests.azure.arm import answers, bodies, operations, policies, versions
from tests.azure.arm.computes import CLUSTERS, Compute, Computes, find, refusal, rendered
from tests.azure.arm.workspaces import TYPE, Visit, Workspaces, require_location, require_reachable, visit
from tests.azure.clock import iso8601
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

LIST = world.WORKSPACE_TEMPLATE + "/computes"
ONE = LIST + "/{compute}"
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,14}[a-zA-Z0-9]")
room = Room("arm-computes", host=versions.HOST)
regional = Room("computes", host="{region}.api.azureml.ms")
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


@room.get(LIST, api_versions=versions.COMPUTES)
def list_computes(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/read")
    return found.reply(found.page(_all(found)))


def _all(found: Visit) -> list[dict[str, Any]]:
    for compute in found.cloud.state(Computes).of(found.workspace.key):
        compute.operation.look(found.cloud)
    version = found.version or "2020-02-02"
    return [rendered(one, version, found.cloud) for one in found.cloud.state(Computes).of(found.workspace.key)]


@room.get(ONE, api_versions=versions.COMPUTES)
def get_compute(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/read")
    return found.reply(rendered(find(found, params["compute"], polls=True), found.version, cloud))


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
    return found.reply(rendered(find(found, params["compute"], polls=True), "2020-02-02", cloud))


def _checked(found: Visit, name: str, properties: dict[str, Any]) -> None:
    if not _NAME.fullmatch(name):
        text = "Compute name is invalid. It can include letters, digits and dashes. It must start with a letter, end with a letter or digit, and be between 2 and 16 characters in length"
        raise refusal(found, 400, "BadArgument", text)
    if properties.get("computeType") not in {"AKS", "Kubernetes", "AmlCompute"}:
        text = f"The compute type {properties.get('computeType')!r} is not supported."
        raise refusal(found, 400, "BadArgument", text)
    resource, clusters = properties.get("resourceId"), found.cloud.state(Computes).clusters
    if resource and clusters and resource.lower() not in {one.lower() for one in clusters}:
        text = f"The resource {resource} was not found, or the workspace may not reach it."
        raise refusal(found, 400, "ComputeResourceNotFound", text)


@room.put(ONE, api_versions=versions.COMPUTES)
def put_compute(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "computes/write")
    name = params["compute"]
    body = policies.applied(cloud, f"{found.workspace.id}/computes/{name}", bodies.read(request, bodies.COMPUTE))
    properties = body.get("properties") or {}
    _checked(found, name, properties)
    state = cloud.state(Computes)
    existing = state.get(found.workspace.key, name)
    require_location(found, body, existing.region if existing else None, name)
    if existing is not None:
        existing.operation.look(cloud)
        if existing.kind != properties["computeType"]:
            text = f"The compute {name} is of type {existing.kind}, which cannot be changed to {properties['computeType']}."
            raise refusal(found, 400, "BadArgument", text)
        if not existing.operation.is_over:
            raise refusal(found, 409, "Conflict", f"The compute {name} is being changed by another operation.")
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
    address = existing.address if existing else cloud.state(Computes).next_address() if kind in CLUSTERS else ""
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
        identity=identity
        and {
            "type": identity.get("type", "SystemAssigned"),
            "principalId": cloud.new_id(),
            "tenantId": world.TENANT_ID,
        },
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
    compute = find(found, params["compute"])
    if action not in {"delete", "detach"}:
        text = f"underlyingResourceAction must be Delete or Detach, not {action!r}."
        raise refusal(found, 400, "BadArgument", text)
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
    compute = find(found, params["compute"])
    value: dict[str, Any] = {"nodes": []}
    if versions.answers_as_recorded(found.version):
        value["computeType"] = compute.kind
    return found.reply(value, did="write")
