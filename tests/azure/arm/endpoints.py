"""Online endpoints, managed and Kubernetes: names, traffic, keys and tokens. Their deployments are another file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.azure import world
from tests.azure.arm import answers, computes, operations
from tests.azure.arm.workspaces import Key, Visit
from tests.azure.clock import iso8601
from tests.azure.state import Cloud

KIND = "onlineEndpoints"
LIST = world.WORKSPACE_TEMPLATE + "/onlineEndpoints"
ONE = LIST + "/{endpoint}"


class Deployed(Protocol):
    """A deployment, as far as its endpoint knows it."""

    name: str

    def removed(self, cloud: Cloud) -> None:
        """The endpoint goes, and it with it."""


@dataclass(slots=True, kw_only=True)
class Endpoint:
    workspace: Key
    workspace_id: str
    region: str
    # The location it was made with, as that request wrote it: a later one may name no other.
    said_location: str
    id: str
    name: str
    auth_mode: str
    compute: str | None
    tags: dict[str, str]
    identity: dict[str, Any]
    description: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    mirror_traffic: dict[str, int] = field(default_factory=dict)
    public_network_access: str = "Enabled"
    provisioning_state: str = "Creating"
    # None until it first succeeded.
    scoring_base: str | None = None
    keys: dict[str, str] = field(default_factory=dict)
    # Access tokens handed out, with the second they expire.
    tokens: dict[str, float] = field(default_factory=dict)
    operation: operations.Operation = field(init=False)
    # What a write asked for; it shows only when its operation succeeds, as recorded.
    pending: dict[str, Any] | None = None
    created: str
    modified: str
    # By the name in lower case; what they are is their own file's business.
    deployments: dict[str, Deployed] = field(default_factory=dict)

    @property
    def is_kubernetes(self) -> bool:
        return self.compute is not None

    @property
    def kind(self) -> str:
        return "K8S" if self.is_kubernetes else "Managed"

    def is_gone(self, cloud: Cloud) -> bool:
        return cloud.state(Endpoints).get(self.workspace, self.name) is not self

    def is_ready(self, cloud: Cloud) -> bool:
        return True

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        if self.compute is None or self.scoring_base or computes.find_by_id(cloud, self.compute) is not None:
            return None
        # Detached since the endpoint was asked for.
        return {"code": "ComputeNotFound", "message": f"The compute '{self.compute}' was not found in this workspace."}

    def finished(self, cloud: Cloud, operation: operations.Operation) -> None:
        self.modified = iso8601(cloud.clock)
        pending, self.pending = self.pending, None
        if operation.kind == "online-endpoint-delete":
            if operation.status == "Succeeded":
                cloud.state(Endpoints).forget(cloud, self)
            else:
                self.provisioning_state = operation.status
            return
        self.provisioning_state = operation.status
        if operation.status != "Succeeded":
            return
        if operation.kind == "online-endpoint-keys":
            self.keys |= pending or {}
            return
        self.scoring_base = self.scoring_base or self._base(cloud)
        self.apply(pending or {})

    def _base(self, cloud: Cloud) -> str:
        if self.compute is None:
            return f"https://{self.name}.{self.region}.inference.ml.azure.com"
        return f"http://{computes.scoring_address(cloud, self.compute)}/api/v1/endpoint/{self.name}"

    def apply(self, body: dict[str, Any]) -> None:
        """A write's values; what it leaves out or sends as null stays. `authMode` and `compute` never change."""
        properties = body.get("properties") or {}
        if body.get("tags") is not None:
            self.tags = dict(body["tags"])
        if body.get("identity") is not None:
            self.identity = identity_of(self, body["identity"])
        self.description = properties.get("description") or self.description
        self.properties |= {
            name: str(value)
            for name, value in (properties.get("properties") or {}).items()
            if name not in {"AzureAsyncOperationUri", "azureml.onlineendpointid"}
        }
        if properties.get("traffic") is not None:
            self.traffic = self._shares(properties["traffic"])
        if properties.get("mirrorTraffic") is not None:
            self.mirror_traffic = self._shares(properties["mirrorTraffic"])
        # Enumerations are read without regard to case, and shown as the file spells them.
        self.public_network_access = str(
            properties.get("publicNetworkAccess") or self.public_network_access
        ).capitalize()

    def _shares(self, asked: dict[str, int]) -> dict[str, int]:
        """By the deployments' own spelling of their names; those without a share are left out."""
        known = {name: one.name for name, one in self.deployments.items()}
        return {known.get(name.lower(), name): share for name, share in asked.items() if share}


EndpointKey = tuple[Key, str]


@dataclass(slots=True)
class Endpoints:
    """Every online endpoint: cloud.state(endpoints.Endpoints)."""

    by_key: dict[EndpointKey, Endpoint] = field(default_factory=dict)
    # Names that strangers hold in a region: (region, name in lower case).
    taken_elsewhere: set[tuple[str, str]] = field(default_factory=set)
    # What ARM still believes in after it is gone: then the service itself answers 404, in its own words.
    remembered: set[str] = field(default_factory=set)

    def get(self, workspace: Key, name: str) -> Endpoint | None:
        return self.by_key.get((workspace, name.lower()))

    def of(self, workspace: Key) -> Iterator[Endpoint]:
        return (found for key, found in self.by_key.items() if key[0] == workspace)

    def by_host(self, region: str, name: str) -> Endpoint | None:
        return next(
            (found for found in self.by_key.values() if found.region == region and found.name.lower() == name.lower()),
            None,
        )

    def forget(self, cloud: Cloud, endpoint: Endpoint) -> None:
        for deployment in list(endpoint.deployments.values()):
            deployment.removed(cloud)
        self.by_key.pop((endpoint.workspace, endpoint.name.lower()), None)


def identity_of(endpoint: Endpoint | None, asked: dict[str, Any]) -> dict[str, Any]:
    kind = asked.get("type") or "SystemAssigned"
    # As recorded: without one of the system's own, its principal is all zeros.
    is_own = "systemassigned" in kind.lower().replace(" ", "")
    principal = _guid(endpoint.id if endpoint else "") if is_own else "00000000-0000-0000-0000-000000000000"
    identity: dict[str, Any] = {"type": kind, "principalId": principal, "tenantId": world.TENANT_ID}
    if asked.get("userAssignedIdentities"):
        identity["userAssignedIdentities"] = {
            name: {"principalId": _guid(f"{name}/principal"), "clientId": _guid(f"{name}/client")}
            for name in asked["userAssignedIdentities"]
        }
    return identity


def _guid(of: str) -> str:
    """The same for the same thing, in every cloud."""
    seed = hashlib.md5(of.lower().encode()).hexdigest()
    return f"{seed[:8]}-{seed[8:12]}-4{seed[13:16]}-8{seed[17:20]}-{seed[20:]}"


def rendered(endpoint: Endpoint, version: str, cloud: Cloud) -> dict[str, Any]:
    busy = not endpoint.operation.is_over
    properties: dict[str, Any] = {
        "description": endpoint.description,
        "properties": {
            **endpoint.properties,
            "azureml.onlineendpointid": endpoint.id.lower(),
            "AzureAsyncOperationUri": endpoint.operation.url(),
        },
        "scoringUri": f"{endpoint.scoring_base}/score" if endpoint.scoring_base else None,
        "swaggerUri": f"{endpoint.scoring_base}/swagger.json" if endpoint.scoring_base else None,
        "authMode": endpoint.auth_mode,
        "provisioningState": endpoint.operation.passing_state(cloud) if busy else endpoint.provisioning_state,
        "compute": endpoint.compute,
        "traffic": endpoint.traffic,
    }
    if version != "2022-05-01":
        properties["mirrorTraffic"] = endpoint.mirror_traffic
        properties["publicNetworkAccess"] = endpoint.public_network_access
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
        "properties": properties,
        "systemData": {
            "createdAt": endpoint.created,
            "createdBy": "deployer",
            "lastModifiedAt": endpoint.modified,
        },
        "tags": endpoint.tags,
        "location": endpoint.region,
        "kind": endpoint.kind,
        "identity": endpoint.identity,
    }


def find(found: Visit, name: str) -> Endpoint:
    """The endpoint, or the 404 of whoever would answer it."""
    state = found.cloud.state(Endpoints)
    endpoint = state.get(found.workspace.key, name)
    if endpoint is not None:
        endpoint.operation.look(found.cloud)
        # Its deletion may just have ended.
        endpoint = state.get(found.workspace.key, name)
    if endpoint is not None:
        return endpoint
    if f"{found.workspace.id}/{KIND}/{name}".lower() in state.remembered:
        text = f"There is no endpoint with name: {name} in {found.workspace.name}"
        raise answers.not_found(found.cloud, found.region, "NoSuchEndpoint", text)
    raise found.not_found(KIND, name)


def require_idle(found: Visit, endpoint: Endpoint) -> None:
    if not endpoint.operation.is_over:
        state = endpoint.operation.passing_state(found.cloud)
        raise answers.conflict(
            found.cloud,
            found.region,
            f"The endpoint {endpoint.name} is in {state} provisioning state: another operation is in progress. Try again when it has ended.",
        )
