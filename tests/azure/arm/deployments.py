"""Online deployments: what serves behind an endpoint, started for real when a backend is there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm import answers, assets, endpoints, operations, policies, quotas, services, versions
from tests.azure.arm.workspaces import Key, Visit, is_arm_id, visit
from tests.azure.backends import Serving
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

KIND = f"{endpoints.KIND}/deployments"
LIST = endpoints.ONE + "/deployments"
ONE = LIST + "/{deployment}"
MAX_PER_ENDPOINT = 20
MAX_INSTANCES = 50
_MAX_TIMEOUT_S = 180
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
_PROBE = {"failureThreshold": 30, "successThreshold": 1, "timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"}
_MANAGED_SCALE = {"scaleType": "Default"}
_KUBERNETES_SCALE = {
    "scaleType": "TargetUtilization",
    "pollingInterval": "PT1S",
    "targetUtilizationPercentage": 70,
    "minInstances": 1,
    "maxInstances": 1,
}
_RESOURCES = {
    "containerResourceRequests": {"cpu": "0.1", "memory": "0.500Gi", "gpu": None},
    "containerResourceLimits": {"cpu": "2", "memory": "2.000Gi", "gpu": None},
}
_CHANGEABLE = (
    *("description", "codeConfiguration", "environmentId", "environmentVariables", "scaleSettings", "modelMountPath"),
    *("appInsightsEnabled", "model", "egressPublicNetworkAccess", "dataCollector", "privateNetworkConnection"),
)

room = Room("arm-deployments", host=versions.HOST)


@dataclass(slots=True, kw_only=True)
class Deployment:
    workspace: Key
    endpoint: str
    region: str
    id: str
    name: str
    is_kubernetes: bool
    instance_type: str
    capacity: int
    tags: dict[str, str]
    # The properties as they are shown, but for those the service itself keeps.
    properties: dict[str, Any]
    user_properties: dict[str, str] = field(default_factory=dict)
    provisioning_state: str = "Updating"
    # A deployment whose creation failed cannot be updated; it must be deleted.
    has_succeeded: bool = False
    # A log a test laid down, for what no backend runs.
    told_log: str | None = None
    created: str
    modified: str
    operation: operations.Operation = field(init=False)
    # The key of what serves now, and of what starts to take its place.
    serving: str | None = None
    starting: str | None = None

    @property
    def key(self) -> DeploymentKey:
        return (self.workspace, self.endpoint.lower(), self.name.lower())

    def removed(self, cloud: Cloud) -> None:
        cloud.state(Deployments).forget(cloud, self)

    def is_ready(self, cloud: Cloud) -> bool:
        start = cloud.live(Serving).start_of(self.starting) if self.starting else None
        return start is None or start.is_done

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        start = cloud.live(Serving).start_of(self.starting) if self.starting else None
        if start is None or start.error is None:
            return None
        return services.error_of(cloud, start.error)

    def finished(self, cloud: Cloud, operation: operations.Operation) -> None:
        self.modified = iso8601(cloud.clock)
        self.told_log = operation.extra.get("log", self.told_log)
        if operation.kind == "online-deployment-delete":
            if operation.status == "Succeeded":
                cloud.state(Deployments).forget(cloud, self)
            # A deletion that was refused leaves all as it was.
            return
        serving, self.starting = self.starting, None
        self.provisioning_state = operation.status
        if operation.status != "Succeeded":
            if serving and self.has_succeeded:
                cloud.live(Serving).end(serving)
            elif serving:
                # Kept for its log.
                self.serving = serving
            return
        self.has_succeeded = True
        if serving:
            if self.serving:
                cloud.live(Serving).end(self.serving)
            self.serving = serving
        self._fill()

    def _fill(self) -> None:
        """The defaults that show once the service has settled."""
        settings = self.properties["requestSettings"]
        if settings["requestTimeout"] == "PT0S" and not self.is_kubernetes:
            settings["requestTimeout"] = "PT5S"
        for probe in ("livenessProbe", "readinessProbe"):
            self.properties[probe] = self.properties[probe] or dict(_PROBE)


DeploymentKey = tuple[Key, str, str]


@dataclass(slots=True)
class Deployments:
    """Every online deployment: cloud.state(deployments.Deployments)."""

    by_key: dict[DeploymentKey, Deployment] = field(default_factory=dict)

    def get(self, endpoint: endpoints.Endpoint, name: str) -> Deployment | None:
        return self.by_key.get((endpoint.workspace, endpoint.name.lower(), name.lower()))

    def of(self, endpoint: endpoints.Endpoint) -> list[Deployment]:
        return [one for key, one in self.by_key.items() if key[:2] == (endpoint.workspace, endpoint.name.lower())]

    def forget(self, cloud: Cloud, deployment: Deployment) -> None:
        self.by_key.pop(deployment.key, None)
        cloud.state(quotas.Quotas).held.pop(deployment.id, None)
        for key in (deployment.serving, deployment.starting):
            if key:
                cloud.live(Serving).end(key)
        endpoint = cloud.state(endpoints.Endpoints).get(deployment.workspace, deployment.endpoint)
        if endpoint is not None:
            endpoint.deployments.pop(deployment.name.lower(), None)
            for shares in (endpoint.traffic, endpoint.mirror_traffic):
                shares.pop(deployment.name, None)


def rendered(deployment: Deployment, version: str, cloud: Cloud) -> dict[str, Any]:
    busy = not deployment.operation.is_over and deployment.operation.kind != "online-deployment-delete"
    deleting = not deployment.operation.is_over and not busy
    state = deployment.operation.passing_state(cloud) if busy or deleting else deployment.provisioning_state
    properties = {
        **deployment.properties,
        "properties": {**deployment.user_properties, "AzureAsyncOperationUri": deployment.operation.url()},
        "provisioningState": state,
        "instanceType": deployment.instance_type,
        "endpointComputeType": "Kubernetes" if deployment.is_kubernetes else "Managed",
    }
    if version == "2022-02-01-preview":
        properties.setdefault("privateNetworkConnection", False)
    else:
        properties.pop("privateNetworkConnection", None)
    if version in {"2022-02-01-preview", "2022-05-01"}:
        properties.pop("dataCollector", None)
    if version == "2022-05-01":
        properties.pop("egressPublicNetworkAccess", None)
    value: dict[str, Any] = {
        "id": deployment.id,
        "name": deployment.name,
        "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
        "properties": properties,
        "systemData": {
            "createdAt": deployment.created,
            "createdBy": "deployer",
            "lastModifiedAt": deployment.modified,
        },
        "tags": deployment.tags,
        "location": deployment.region,
        "kind": "K8S" if deployment.is_kubernetes else "Managed",
    }
    if not deployment.is_kubernetes:
        value["sku"] = {"name": "Default", "tier": "Standard", "capacity": deployment.capacity}
    return value


def _parent(found: Visit, name: str) -> endpoints.Endpoint:
    try:
        return endpoints.find(found, name)
    except Refusal:
        if found.request.method != "PUT":
            raise
        text = f"Can not perform requested operation on nested resource. Parent resource '{found.workspace.name}/{name}' not found."
        raise answers.arm_refusal(404, "ParentResourceNotFound", text) from None


def _settled(found: Visit, endpoint: endpoints.Endpoint, name: str, *, polls: bool = False) -> Deployment | None:
    state = found.cloud.state(Deployments)
    if deployment := state.get(endpoint, name):
        deployment.operation.look(found.cloud, polls=polls)
    return state.get(endpoint, name)


def find(found: Visit, params: Params, *, polls: bool = False) -> tuple[endpoints.Endpoint, Deployment]:
    state, name = found.cloud.state(endpoints.Endpoints), params["deployment"]
    endpoint = state.get(found.workspace.key, params["endpoint"])
    if endpoint is not None:
        endpoint = endpoints.find(found, params["endpoint"])
    deployment = _settled(found, endpoint, name, polls=polls) if endpoint else None
    if endpoint is not None and deployment is not None:
        return endpoint, deployment
    if f"{found.workspace.id}/{endpoints.KIND}/{params['endpoint']}/deployments/{name}".lower() in state.remembered:
        place = f"Subscription: {found.workspace.subscription}, ResourceGroup: {found.workspace.resource_group}, Workspace: {found.workspace.name}"
        text = f"There is no service with name: {name}-{params['endpoint']} in {place}"
        raise answers.not_found(found.cloud, found.region, "NoSuchService", text)
    raise found.not_found(f"{endpoints.KIND}/{params['endpoint']}/deployments", name)


@room.get(LIST, api_versions=versions.ENDPOINTS)
def list_deployments(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    endpoint = endpoints.find(found, params["endpoint"])
    for deployment in cloud.state(Deployments).of(endpoint):
        deployment.operation.look(cloud)
    listed = [rendered(one, found.version, cloud) for one in cloud.state(Deployments).of(endpoint)]
    return found.reply({"value": listed})


@room.get(ONE, api_versions=versions.ENDPOINTS)
def get_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    _, deployment = find(found, params, polls=True)
    return found.reply(rendered(deployment, found.version, cloud))


def _refused(found: Visit, field_name: str, text: str) -> Refusal:
    detail = answers.inferencing_errors(field_name, text)
    return found.bad_request(("InferencingClientCreateDeploymentFailed", detail))


def _checked_assets(found: Visit, properties: dict[str, Any]) -> None:
    code = (properties.get("codeConfiguration") or {}).get("codeId")
    for identifier in (properties.get("model"), code, properties.get("environmentId")):
        # A registry's assets (azureml://registries/…) are another service's to know.
        if not isinstance(identifier, str) or not is_arm_id(identifier):
            continue
        if assets.version_of(found.cloud, found.workspace.key, identifier) is None:
            text = f"The asset {identifier} was not found."
            raise answers.not_found(found.cloud, found.region, "AssetNotFound", text, code="UserError")


def _checked(
    found: Visit, endpoint: endpoints.Endpoint, existing: Deployment | None, name: str, body: dict[str, Any]
) -> None:
    properties = body.get("properties") or {}
    kind = properties.get("endpointComputeType")
    if kind not in {"Managed", "Kubernetes"} or (kind == "Kubernetes") != endpoint.is_kubernetes:
        raise _refused(
            found,
            "EndpointComputeType",
            f"The compute type {kind} does not fit the endpoint {endpoint.name} of kind {endpoint.kind}.",
        )
    if not _NAME.fullmatch(name):
        raise _refused(
            found,
            "Name",
            "The deployment name must be 3 to 32 characters long, begin with a letter, end with a letter or a digit and hold nothing but letters, digits and hyphens.",
        )
    if existing is None and len(found.cloud.state(Deployments).of(endpoint)) >= MAX_PER_ENDPOINT:
        raise _refused(
            found,
            "",
            f"The endpoint {endpoint.name} has {MAX_PER_ENDPOINT} deployments, the most an endpoint can have.",
        )
    if existing is not None and not existing.has_succeeded:
        raise _refused(
            found,
            "",
            f"Specified deployment [{name}] failed during initial provisioning and is in an unrecoverable state. Delete and re-create.",
        )
    if seconds(properties.get("requestSettings") or {}) > _MAX_TIMEOUT_S and kind == "Managed":
        raise _refused(found, "RequestTimeout", f"The request timeout must be {_MAX_TIMEOUT_S} seconds at most.")
    if kind == "Managed":
        _checked_size(found, existing, properties.get("instanceType"), _capacity(body, existing))
    elif existing is not None and properties.get("instanceType") not in {None, existing.instance_type}:
        raise _refused(found, "InstanceType", "The instance type of a deployment cannot be changed.")
    _checked_assets(found, properties)


def seconds(settings: dict[str, Any]) -> float:
    """The request timeout, 0 when it is not said. ISO 8601, as far as Azure's durations go."""
    text = str(settings.get("requestTimeout") or "PT0S")
    parts = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?", text)
    if parts is None:
        return 0.0
    hours, minutes, rest = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + rest


def _checked_size(found: Visit, existing: Deployment | None, asked: str | None, capacity: int) -> None:
    name = asked or (existing.instance_type if existing else "")
    size = quotas.size_named(name)
    if size is None:
        raise _refused(
            found, "VmSize", f"The VM size {name} is not supported by managed online endpoints in {found.region}."
        )
    if existing is not None and existing.instance_type.lower() != size.name.lower():
        raise _refused(found, "InstanceType", "The instance type of a deployment cannot be changed.")
    if not 1 <= capacity <= MAX_INSTANCES:
        raise _refused(found, "Capacity", f"The instance count must be from 1 to {MAX_INSTANCES}, not {capacity}.")
    short = quotas.shortage(found.cloud, found.region, size, capacity, held=existing.capacity if existing else 0)
    if short is not None:
        used, limit, more = short
        text = f"Not enough quota available for {size.name} in SubscriptionId {found.workspace.subscription}. Current usage/limit: {used}/{limit}. Additional needed: {more} Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"
        raise _refused(found, "VmSize", text)


def _capacity(body: dict[str, Any], existing: Deployment | None) -> int:
    given = (body.get("sku") or {}).get("capacity")
    return int(given) if given is not None else existing.capacity if existing else 1


def _merged(found: Visit, kubernetes: bool, old: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    scale = _KUBERNETES_SCALE if kubernetes else _MANAGED_SCALE
    wait = "PT0.5S" if kubernetes else "PT0S"
    defaults: dict[str, Any] = {
        "description": None,
        "codeConfiguration": None,
        "environmentId": None,
        "environmentVariables": {},
        "scaleSettings": dict(scale),
        "requestSettings": {"maxQueueWait": wait, "requestTimeout": "PT0S", "maxConcurrentRequestsPerInstance": 1},
        "modelMountPath": None,
        "appInsightsEnabled": False,
        "livenessProbe": None,
        "readinessProbe": None,
        "model": None,
        "egressPublicNetworkAccess": "Enabled",
    }
    if kubernetes:
        defaults["containerResourceRequirements"] = _RESOURCES
    merged = {**defaults, **old}
    merged |= {name: asked[name] for name in _CHANGEABLE if asked.get(name) is not None}
    merged["egressPublicNetworkAccess"] = str(merged["egressPublicNetworkAccess"]).capitalize()
    if asked.get("scaleSettings"):
        merged["scaleSettings"] = {
            **(scale if asked["scaleSettings"]["scaleType"] == scale["scaleType"] else {}),
            **asked["scaleSettings"],
        }
    merged["requestSettings"] = {**merged["requestSettings"], **(asked.get("requestSettings") or {})}
    for probe in ("livenessProbe", "readinessProbe"):
        merged[probe] = {**_PROBE, **asked[probe]} if asked.get(probe) else None
    if kubernetes and asked.get("containerResourceRequirements"):
        given = asked["containerResourceRequirements"]
        merged["containerResourceRequirements"] = {
            part: {"cpu": None, "memory": None, "gpu": None, **(given.get(part) or {})} for part in _RESOURCES
        }
    return merged


@room.put(ONE, api_versions=versions.ENDPOINTS)
def put_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/write", v2=True)
    endpoint, name = _parent(found, params["endpoint"]), params["deployment"]
    identifier = f"{endpoint.id}/deployments/{name}"
    body = policies.applied(cloud, identifier, request.json())
    existing = _settled(found, endpoint, name)
    _require_idle(found, endpoint, existing)
    _checked(found, endpoint, existing, name, body)
    deployment = _written(found, endpoint, existing, identifier, body)
    if existing is None:
        cloud.state(Deployments).by_key[deployment.key] = deployment
        endpoint.deployments[name.lower()] = deployment
    _hold(cloud, deployment)
    kind = "online-deployment-update" if existing else "online-deployment-create"
    begin(found, deployment, kind)
    services.start(cloud, found.workspace, deployment)
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
    asked, now = body["properties"], iso8601(found.cloud.clock)
    own = {
        name: str(value) for name, value in (asked.get("properties") or {}).items() if name != "AzureAsyncOperationUri"
    }
    if existing is not None:
        existing.properties = _merged(found, existing.is_kubernetes, existing.properties, asked)
        existing.user_properties |= own
        existing.capacity = _capacity(body, existing)
        existing.tags = dict(body["tags"]) if body.get("tags") is not None else existing.tags
        existing.modified = now
        return existing
    kubernetes = endpoint.is_kubernetes
    return Deployment(
        workspace=endpoint.workspace,
        endpoint=endpoint.name,
        region=found.region,
        id=identifier,
        name=identifier.rpartition("/")[2],
        is_kubernetes=kubernetes,
        instance_type=asked.get("instanceType") or "defaultinstancetype",
        capacity=_capacity(body, None),
        tags=dict(body.get("tags") or {}),
        properties=_merged(found, kubernetes, {}, asked),
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
    body = policies.applied(cloud, deployment.id, request.json(), tags=deployment.tags)
    allowed = {"tags", "sku"}
    if found.version == "2022-02-01-preview":
        allowed |= {"properties", "kind", "location", "identity"}
    refused = sorted(set(body) - allowed)
    refused += sorted(f"properties.{name}" for name in set(body.get("properties") or {}) - {"endpointComputeType"})
    if refused:
        text = f"Could not find member '{refused[0]}' on an update of an online deployment (api-version {found.version}): use PUT."
        raise found.bad_request(("InvalidProperty", text))
    _require_idle(found, endpoint, deployment)
    capacity = _capacity(body, deployment)
    if not deployment.is_kubernetes:
        _checked_size(found, deployment, None, capacity)
    scales = capacity != deployment.capacity
    deployment.capacity = capacity
    deployment.tags = dict(body["tags"]) if body.get("tags") is not None else deployment.tags
    _hold(cloud, deployment)
    begin(found, deployment, "online-deployment-scale" if scales else "online-deployment-update")
    return found.reply(None, status=202, did="resource", headers=deployment.operation.headers(cloud))


@room.delete(ONE, api_versions=versions.ENDPOINTS)
def delete_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    """One that takes traffic is refused too late for the status: 202, and its operation fails, as recorded."""
    found = visit(request, params, cloud, f"{KIND}/delete")
    endpoint = cloud.state(endpoints.Endpoints).get(found.workspace.key, params["endpoint"])
    deployment = _settled(found, endpoint, params["deployment"]) if endpoint else None
    if endpoint is None or deployment is None:
        return answers.empty(found.region, status=204, did="delete")
    _require_idle(found, endpoint, deployment)
    share = endpoint.traffic.get(deployment.name, 0)
    stages = None
    if share:
        text = f'"Can\'t delete deployment [{deployment.name}] with non-zero traffic weight, Current traffic [{share}]. Remove the traffic for this deployment on endpoint [{endpoint.name}] and try again"'
        stages = operations.failed("InferencingClientCallFailed", text)
    begin(found, deployment, "online-deployment-delete", stages=stages)
    return found.reply(None, status=202, did="delete", headers=deployment.operation.headers(cloud))


@room.post(ONE + "/getLogs", api_versions=versions.ENDPOINTS)
def get_logs(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/getLogs/action")
    _, deployment = find(found, params)
    asked = request.json() if request.body.size else {}
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
