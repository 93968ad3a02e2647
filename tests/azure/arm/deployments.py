"""Online deployments: what serves behind an endpoint, started for real when a backend is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm import answers, endpoints, operations, quotas, services
from tests.azure.arm.workspaces import Key, Visit, Workspaces
from tests.azure.backends import Serving
from tests.azure.clock import iso8601
from tests.azure.routing import Params
from tests.azure.state import Cloud

KIND = f"{endpoints.KIND}/deployments"
LIST = endpoints.ONE + "/deployments"
ONE = LIST + "/{deployment}"
PROBE = {"failureThreshold": 30, "successThreshold": 1, "timeout": "PT2S", "period": "PT10S", "initialDelay": "PT10S"}


@dataclass(slots=True, kw_only=True)
class Deployment:
    workspace: Key
    endpoint: str
    region: str
    # The location it was made with, as that request wrote it: a later one may name no other.
    said_location: str
    id: str
    name: str
    is_kubernetes: bool
    instance_type: str
    # What was asked for last; what runs is `instances`, which follows when the operation has succeeded.
    capacity: int
    instances: int = 0
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
        if self.operation.kind == "online-deployment-delete":
            # Traffic may have come back since the deletion was asked for.
            return self.still_wanted(cloud)
        start = cloud.live(Serving).start_of(self.starting) if self.starting else None
        if start is None or start.error is None:
            return None
        return services.error_of(cloud, start.error)

    def still_wanted(self, cloud: Cloud) -> dict[str, Any] | None:
        """Why it cannot be deleted: Azure refuses in the operation, not in its DELETE."""
        endpoint = cloud.state(endpoints.Endpoints).get(self.workspace, self.endpoint)
        share = endpoint.traffic.get(self.name, 0) if endpoint else 0
        if not share:
            return None
        text = f'"Can\'t delete deployment [{self.name}] with non-zero traffic weight, Current traffic [{share}]. Remove the traffic for this deployment on endpoint [{self.endpoint}] and try again"'
        return {"code": "InferencingClientCallFailed", "message": text, "details": []}

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
        self.instances = self._most_instances()
        if serving:
            if self.serving:
                cloud.live(Serving).end(self.serving)
            self.serving = serving
        self._fill()

    def _most_instances(self) -> int:
        scale = self.properties["scaleSettings"]
        scales_itself = self.is_kubernetes and scale["scaleType"] == "TargetUtilization"
        return int(scale.get("maxInstances") or 1) if scales_itself else self.capacity

    def _fill(self) -> None:
        """The defaults that show once the service has settled."""
        settings = self.properties["requestSettings"]
        if settings["requestTimeout"] == "PT0S" and not self.is_kubernetes:
            settings["requestTimeout"] = "PT5S"
        for probe in ("livenessProbe", "readinessProbe"):
            self.properties[probe] = self.properties[probe] or dict(PROBE)


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


def resume(cloud: Cloud) -> None:
    """Starts again what served, or was starting, when this state was saved; its processes ended with the emulator."""
    for deployment in cloud.state(Deployments).by_key.values():
        workspace = cloud.state(Workspaces).by_key[deployment.workspace]
        for moment in ("serving", "starting"):
            if getattr(deployment, moment) is not None:
                setattr(deployment, moment, services.start(cloud, workspace, deployment))


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


def settled(found: Visit, endpoint: endpoints.Endpoint, name: str, *, polls: bool = False) -> Deployment | None:
    state = found.cloud.state(Deployments)
    if deployment := state.get(endpoint, name):
        deployment.operation.look(found.cloud, polls=polls)
    return state.get(endpoint, name)


def find(found: Visit, params: Params, *, polls: bool = False) -> tuple[endpoints.Endpoint, Deployment]:
    state, name = found.cloud.state(endpoints.Endpoints), params["deployment"]
    endpoint = state.get(found.workspace.key, params["endpoint"])
    if endpoint is not None:
        endpoint = endpoints.find(found, params["endpoint"])
    deployment = settled(found, endpoint, name, polls=polls) if endpoint else None
    if endpoint is not None and deployment is not None:
        return endpoint, deployment
    if f"{found.workspace.id}/{endpoints.KIND}/{params['endpoint']}/deployments/{name}".lower() in state.remembered:
        place = f"Subscription: {found.workspace.subscription}, ResourceGroup: {found.workspace.resource_group}, Workspace: {found.workspace.name}"
        text = f"There is no service with name: {name}-{params['endpoint']} in {place}"
        raise answers.not_found(found.cloud, found.region, "NoSuchService", text)
    raise found.not_found(f"{endpoints.KIND}/{params['endpoint']}/deployments", name)
