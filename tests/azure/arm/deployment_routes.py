"""The routes of online deployments."""

from __future__ import annotations

from typing import Any

from tests.azure.arm import answers, bodies, endpoints, operations, paging, policies, quotas, services, versions
from tests.azure.arm.deployment_rules import MAX_INSTANCES, capacity_of, check, check_size, merged_properties
from tests.azure.arm.deployments import KIND, LIST, ONE, Deployment, Deployments, find, rendered, settled
from tests.azure.arm.workspaces import Visit, require_location, visit
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

room = Room("arm-deployments", host=versions.HOST)


def _parent(found: Visit, name: str) -> endpoints.Endpoint:
    try:
        return endpoints.find(found, name)
    except Refusal:
        if found.request.method != "PUT":
            raise
        text = f"Can not perform requested operation on nested resource. Parent resource '{found.workspace.name}/{name}' not found."
        raise answers.arm_refusal(404, "ParentResourceNotFound", text) from None


@room.get(LIST, api_versions=versions.ENDPOINTS)
def list_deployments(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    endpoint = endpoints.find(found, params["endpoint"])
    for deployment in cloud.state(Deployments).of(endpoint):
        deployment.operation.look(cloud)
    listed = [rendered(one, found.version, cloud) for one in cloud.state(Deployments).of(endpoint)]
    return found.reply(found.page(listed, paging.size(request, "$top")))


@room.get(ONE, api_versions=versions.ENDPOINTS)
def get_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    _, deployment = find(found, params, polls=True)
    return found.reply(rendered(deployment, found.version, cloud))


@room.put(ONE, api_versions=versions.ENDPOINTS)
def put_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/write", v2=True)
    endpoint, name = _parent(found, params["endpoint"]), params["deployment"]
    identifier = f"{endpoint.id}/deployments/{name}"
    body = policies.applied(cloud, identifier, bodies.read(request, bodies.DEPLOYMENT))
    existing = settled(found, endpoint, name)
    require_location(found, body, existing.said_location if existing else None, name)
    _require_idle(found, endpoint, existing)
    check(found, endpoint, existing, name, body)
    deployment = _written(found, endpoint, existing, identifier, body)
    if existing is None:
        cloud.state(Deployments).by_key[deployment.key] = deployment
        endpoint.deployments[name.lower()] = deployment
    _hold(cloud, deployment)
    kind = "online-deployment-update" if existing else "online-deployment-create"
    begin(found, deployment, kind)
    # The operation waits for it.
    deployment.starting = services.start(cloud, found.workspace, deployment)
    headers = deployment.operation.headers(
        cloud, location=f"https://{versions.HOST}{identifier}?api-version={found.version}"
    )
    return found.reply(rendered(deployment, found.version, cloud), status=201, did="resource", headers=headers)


def _hold(cloud: Cloud, deployment: Deployment) -> None:
    """What is accepted takes its cores at once, long before it runs."""
    size = None if deployment.is_kubernetes else quotas.size_named(deployment.instance_type)
    if size is not None:
        quotas.hold(cloud, deployment.region, deployment.id, size, deployment.capacity)


def _require_idle(found: Visit, endpoint: endpoints.Endpoint, deployment: Deployment | None) -> None:
    if not endpoint.operation.is_over:
        state = endpoint.operation.passing_state(found.cloud)
        verb = "update" if deployment else "create"
        text = f"Cannot {verb} a deployment in endpoint {endpoint.name} because it is in {state} provisioning state."
        raise answers.conflict(found.cloud, found.region, text)
    if deployment is not None and not deployment.operation.is_over:
        text = f"The deployment {deployment.name} of endpoint {endpoint.name} is being changed by another operation. Try again when it has ended."
        raise answers.conflict(found.cloud, found.region, text)


def _written(
    found: Visit, endpoint: endpoints.Endpoint, existing: Deployment | None, identifier: str, body: dict[str, Any]
) -> Deployment:
    asked, now = body.get("properties") or {}, iso8601(found.cloud.clock)
    own = {
        name: str(value) for name, value in (asked.get("properties") or {}).items() if name != "AzureAsyncOperationUri"
    }
    if existing is not None:
        existing.properties = merged_properties(found, existing.is_kubernetes, existing.properties, asked)
        existing.user_properties |= own
        existing.capacity = capacity_of(body, existing)
        existing.tags = dict(body["tags"]) if body.get("tags") is not None else existing.tags
        existing.modified = now
        return existing
    kubernetes = endpoint.is_kubernetes
    return Deployment(
        workspace=endpoint.workspace,
        endpoint=endpoint.name,
        region=found.region,
        said_location=body["location"],
        id=identifier,
        name=identifier.rpartition("/")[2],
        is_kubernetes=kubernetes,
        instance_type=asked.get("instanceType") or "defaultinstancetype",
        capacity=capacity_of(body, None),
        tags=dict(body.get("tags") or {}),
        properties=merged_properties(found, kubernetes, {}, asked),
        user_properties=own,
        created=now,
        modified=now,
    )


def begin(found: Visit, deployment: Deployment, kind: str, *, stages: Any = None) -> None:
    deployment.operation = operations.begin(
        found.cloud,
        kind,
        f"{deployment.endpoint}/{deployment.name}",
        deployment,
        prefix=f"od:{found.workspace.workspace_id}:",
        region=found.region,
        subscription=found.workspace.subscription,
        version=found.version,
        stages=stages,
    )
    deployment.operation.extra.setdefault("kubernetes", deployment.is_kubernetes)


@room.patch(ONE, api_versions=versions.ENDPOINTS)
def patch_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/write", v2=True)
    endpoint, deployment = find(found, params)
    body = policies.applied(cloud, deployment.id, bodies.read(request, bodies.DEPLOYMENT), tags=deployment.tags)
    allowed = {"tags", "sku"}
    if found.version == "2022-02-01-preview":
        allowed |= {"properties", "kind", "location", "identity"}
    refused = sorted(set(body) - allowed)
    changed = body.get("properties") or {}
    if found.version != "2022-02-01-preview":
        refused += sorted(f"properties.{name}" for name in set(changed) - {"endpointComputeType"})
    if refused:
        text = f"Could not find member '{refused[0]}' on an update of an online deployment (api-version {found.version}): use PUT."
        raise found.bad_request(("InvalidProperty", text))
    _require_idle(found, endpoint, deployment)
    capacity = capacity_of(body, deployment)
    if not deployment.is_kubernetes:
        check_size(found, deployment, changed.get("instanceType"), capacity)
    scales = capacity != deployment.capacity
    # azureml-mlflow sends a whole deployment here; what it leaves out stays.
    _written(found, endpoint, deployment, deployment.id, {**body, "properties": {**deployment.properties, **changed}})
    _hold(cloud, deployment)
    begin(found, deployment, "online-deployment-scale" if scales else "online-deployment-update")
    return found.reply(None, status=202, did="resource", headers=deployment.operation.headers(cloud))


@room.delete(ONE, api_versions=versions.ENDPOINTS)
def delete_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    """One that takes traffic is refused too late for the status: 202, and its operation fails, as recorded."""
    found = visit(request, params, cloud, f"{KIND}/delete")
    endpoint = cloud.state(endpoints.Endpoints).get(found.workspace.key, params["endpoint"])
    deployment = settled(found, endpoint, params["deployment"]) if endpoint else None
    if endpoint is None or deployment is None:
        return answers.empty(found.region, status=204, did="delete")
    _require_idle(found, endpoint, deployment)
    refused = deployment.still_wanted(cloud)
    stages = operations.failed(refused["code"], refused["message"]) if refused else None
    begin(found, deployment, "online-deployment-delete", stages=stages)
    return found.reply(None, status=202, did="delete", headers=deployment.operation.headers(cloud))


@room.post(ONE + "/getLogs", api_versions=versions.ENDPOINTS)
def get_logs(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/getLogs/action")
    _, deployment = find(found, params)
    asked = bodies.read_or_none(request, bodies.LOGS)
    content = services.log_of(cloud, deployment, asked.get("containerType"), asked.get("tail"))
    return found.reply({"content": content}, did="write")


@room.get(ONE + "/skus", api_versions=versions.ENDPOINTS)
def list_skus(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/skus/read")
    find(found, params)
    sku = {
        "resourceType": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
        "sku": {"name": "Default", "tier": "Standard"},
        "capacity": {"minimum": 1, "maximum": MAX_INSTANCES, "default": 1, "scaleType": "Automatic"},
    }
    return found.reply({"value": [sku]})
