"""Online endpoints, managed and Kubernetes: names, traffic, keys and tokens. Their deployments are another file."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.azure import world
from tests.azure.arm import answers, computes, operations, paging, policies, traffic, versions
from tests.azure.arm.workspaces import Key, Visit, is_arm_id, visit
from tests.azure.clock import iso8601
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

KIND = "onlineEndpoints"
LIST = world.WORKSPACE_TEMPLATE + "/onlineEndpoints"
ONE = LIST + "/{endpoint}"
# The file's pattern is laxer; the service takes 3 to 32 characters, a letter first, no hyphen last.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
# Recorded: a token lives for a day and should be renewed after half of it.
_TOKEN_LIFETIME_S = 24 * 3600
_PATCHED_PROPERTIES = {"traffic", "mirrorTraffic", "publicNetworkAccess"}
MAX_PER_SUBSCRIPTION = 100

room = Room("arm-endpoints", host=versions.HOST)


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

    def is_ready(self, cloud: Cloud) -> bool:
        return True

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        return None

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
            self.traffic = {name: share for name, share in properties["traffic"].items() if share}
        if properties.get("mirrorTraffic") is not None:
            self.mirror_traffic = {name: share for name, share in properties["mirrorTraffic"].items() if share}
        # Enumerations are read without regard to case, and shown as the file spells them.
        self.public_network_access = str(
            properties.get("publicNetworkAccess") or self.public_network_access
        ).capitalize()


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
    kind = asked.get("type", "SystemAssigned")
    seed = hashlib.md5((endpoint.id if endpoint else "").encode()).hexdigest()
    principal = f"{seed[:8]}-{seed[8:12]}-4{seed[13:16]}-8{seed[17:20]}-{seed[20:]}"
    identity: dict[str, Any] = {"type": kind, "principalId": principal, "tenantId": world.TENANT_ID}
    if asked.get("userAssignedIdentities"):
        identity["principalId"] = "00000000-0000-0000-0000-000000000000"
        identity["userAssignedIdentities"] = {
            name: {"principalId": principal, "clientId": principal} for name in asked["userAssignedIdentities"]
        }
    return identity


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


@room.get(LIST, api_versions=versions.ENDPOINTS)
def list_endpoints(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    query = request.query
    listed: list[dict[str, Any]] = []
    for endpoint in list(cloud.state(Endpoints).of(found.workspace.key)):
        endpoint.operation.look(cloud)
        if cloud.state(Endpoints).get(found.workspace.key, endpoint.name) is None:
            continue
        if query.get("name") not in {None, endpoint.name}:
            continue
        if query.get("computetype") not in {None, "Kubernetes" if endpoint.is_kubernetes else "Managed"}:
            continue
        if not _has_tags(endpoint.tags, query.get("tags", "")):
            continue
        listed.append(rendered(endpoint, found.version, cloud))
    return found.reply(paging.page(request, listed, int(query.get("count", "0") or 0)))


def _has_tags(tags: dict[str, str], wanted: str) -> bool:
    pairs = [part.partition("=") for part in wanted.split(",") if part]
    return all(name in tags and (not equals or tags[name] == value) for name, equals, value in pairs)


@room.get(ONE, api_versions=versions.ENDPOINTS)
def get_endpoint(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    endpoint = cloud.state(Endpoints).get(found.workspace.key, params["endpoint"])
    if endpoint is not None:
        endpoint.operation.look(cloud, polls=True)
    return found.reply(rendered(find(found, params["endpoint"]), found.version, cloud))


def _checked_new(found: Visit, name: str, properties: dict[str, Any]) -> None:
    state = found.cloud.state(Endpoints)
    if not _NAME.fullmatch(name):
        text = "The endpoint name must be 3 to 32 characters long, begin with a letter, end with a letter or a digit and hold nothing but letters, digits and hyphens."
        raise found.bad_request(("InferencingClientCallFailed", answers.inferencing_errors("Name", text)))
    if (found.region, name.lower()) in state.taken_elsewhere or state.by_host(found.region, name):
        text = "There is already an endpoint with this name, Endpoint name needs to be unique within a region. Try some other name."
        raise found.bad_request(("InferencingClientCallFailed", text))
    if sum(key[0][0] == found.workspace.key[0] for key in state.by_key) >= MAX_PER_SUBSCRIPTION:
        text = f"The subscription holds {MAX_PER_SUBSCRIPTION} online endpoints already."
        raise found.bad_request(("InferencingClientCallFailed", text))
    compute = properties.get("compute")
    if compute is not None and (not is_arm_id(compute) or computes.find_by_id(found.cloud, compute) is None):
        raise found.bad_request(("ComputeNotFound", f"The compute '{compute}' was not found in this workspace."))


@room.put(ONE, api_versions=versions.ENDPOINTS)
def put_endpoint(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/write", v2=True)
    name = params["endpoint"]
    body = policies.applied(cloud, f"{found.workspace.id}/{KIND}/{name}", request.json())
    properties = body.get("properties") or {}
    if properties.get("authMode") not in {"Key", "AMLToken", "AADToken"}:
        raise found.bad_request(
            (
                "InvalidProperty",
                f"properties.authMode is required and one of Key, AMLToken, AADToken; it is {properties.get('authMode')!r}.",
            )
        )
    state = cloud.state(Endpoints)
    endpoint = state.get(found.workspace.key, name)
    if endpoint is not None:
        endpoint.operation.look(cloud)
        endpoint = state.get(found.workspace.key, name)
    if endpoint is None:
        _checked_new(found, name, properties)
        traffic.check(found, properties, (), kubernetes=properties.get("compute") is not None)
        endpoint = _create(found, name, body)
    else:
        require_idle(found, endpoint)
        traffic.check(found, properties, endpoint.deployments, kubernetes=endpoint.is_kubernetes)
        _begin(found, endpoint, "online-endpoint-update", body)
    location = f"https://{versions.HOST}{endpoint.id}?api-version={found.version}"
    headers = endpoint.operation.headers(cloud, location=location)
    return found.reply(rendered(endpoint, found.version, cloud), status=201, did="write", headers=headers)


def _begin(found: Visit, endpoint: Endpoint, kind: str, pending: dict[str, Any] | None) -> None:
    endpoint.pending = pending
    endpoint.modified = iso8601(found.cloud.clock)
    endpoint.operation = _operation(found, endpoint, kind)


def _operation(found: Visit, endpoint: Endpoint, kind: str) -> operations.Operation:
    return operations.begin(
        found.cloud,
        kind,
        endpoint.name,
        endpoint,
        prefix=f"oe:{found.workspace.workspace_id}:",
        region=found.region,
        subscription=found.workspace.subscription,
        version=found.version,
    )


def _create(found: Visit, name: str, body: dict[str, Any]) -> Endpoint:
    cloud, properties, now = found.cloud, body["properties"], iso8601(found.cloud.clock)
    given = properties.get("keys") or {}
    identifier = f"{found.workspace.id}/{KIND}/{name}"
    endpoint = Endpoint(
        workspace=found.workspace.key,
        workspace_id=found.workspace.workspace_id,
        region=found.region,
        id=identifier,
        name=name,
        auth_mode=properties["authMode"],
        compute=properties.get("compute"),
        tags=dict(body.get("tags") or {}),
        identity={},
        keys={kind: given.get(f"{kind}Key") or new_key(cloud) for kind in ("primary", "secondary")},
        created=now,
        modified=now,
    )
    endpoint.operation = _operation(found, endpoint, "online-endpoint-create")
    endpoint.identity = identity_of(endpoint, body.get("identity") or {})
    # Unlike an update's, a creation's values show at once; traffic cannot name anything yet.
    endpoint.apply(body)
    state = cloud.state(Endpoints)
    state.by_key[(endpoint.workspace, name.lower())] = endpoint
    return endpoint


def new_key(cloud: Cloud) -> str:
    """32 characters, as the keys of endpoints made before 2024; today's are longer and no client minds."""
    return (
        base64.b64encode(hashlib.sha256(cloud.new_id().encode()).digest()).decode()[:32].translate({43: "a", 47: "b"})
    )


@room.patch(ONE, api_versions=versions.ENDPOINTS)
def patch_endpoint(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/write", v2=True)
    endpoint = find(found, params["endpoint"])
    body = policies.applied(cloud, endpoint.id, request.json(), tags=endpoint.tags)
    # From 2022-05-01 on a PATCH carries tags and identity; only the older preview lets traffic through.
    allowed = (
        {"tags", "identity"}
        if found.version != "2022-02-01-preview"
        else {"tags", "identity", "kind", "location", "sku", "properties"}
    )
    properties = body.get("properties") or {}
    refused = sorted((set(body) - allowed) | {f"properties.{name}" for name in set(properties) - _PATCHED_PROPERTIES})
    if refused:
        text = f"Could not find member '{refused[0]}' on an update of an online endpoint (api-version {found.version}): use PUT."
        raise found.bad_request(("InvalidProperty", text))
    require_idle(found, endpoint)
    traffic.check(found, properties, endpoint.deployments, kubernetes=endpoint.is_kubernetes)
    _begin(found, endpoint, "online-endpoint-update", body)
    return found.reply(None, status=202, did="write", headers=endpoint.operation.headers(cloud))


@room.delete(ONE, api_versions=versions.ENDPOINTS)
def delete_endpoint(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/delete")
    endpoint = cloud.state(Endpoints).get(found.workspace.key, params["endpoint"])
    if endpoint is not None:
        endpoint.operation.look(cloud)
        endpoint = cloud.state(Endpoints).get(found.workspace.key, params["endpoint"])
    if endpoint is None:
        return answers.empty(found.region, status=204, did="delete")
    require_idle(found, endpoint)
    _begin(found, endpoint, "online-endpoint-delete", None)
    return found.reply(None, status=202, did="delete", headers=endpoint.operation.headers(cloud))


@room.post(ONE + "/listKeys", api_versions=versions.ENDPOINTS)
def list_keys(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/listKeys/action")
    endpoint = find(found, params["endpoint"])
    if endpoint.auth_mode != "Key":
        text = f"The endpoint {endpoint.name} does not use keys: its auth mode is {endpoint.auth_mode}."
        raise found.bad_request(("InvalidAuthMode", text))
    keys = {"primaryKey": endpoint.keys["primary"], "secondaryKey": endpoint.keys["secondary"]}
    return found.reply(keys, did="write")


@room.post(ONE + "/regenerateKeys", api_versions=versions.ENDPOINTS)
def regenerate_keys(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/regenerateKeys/action")
    endpoint = find(found, params["endpoint"])
    body = request.json()
    which = str(body.get("keyType", "")).lower()
    if which not in {"primary", "secondary"} or endpoint.auth_mode != "Key":
        raise found.bad_request(
            (
                "InvalidKeyType",
                f"keyType must be Primary or Secondary, and the auth mode Key; they are {body.get('keyType')!r} and {endpoint.auth_mode}.",
            )
        )
    require_idle(found, endpoint)
    _begin(found, endpoint, "online-endpoint-keys", {which: body.get("keyValue") or new_key(cloud)})
    return found.reply(None, status=202, did="write", headers=endpoint.operation.headers(cloud))


@room.post(ONE + "/token", api_versions=versions.ENDPOINTS)
def get_token(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/token/action")
    endpoint = find(found, params["endpoint"])
    if endpoint.auth_mode != "AMLToken":
        text = f"The endpoint {endpoint.name} gives no tokens: its auth mode is {endpoint.auth_mode}."
        raise found.bad_request(("InvalidAuthMode", text))
    expiry_s = cloud.clock.now_s() + _TOKEN_LIFETIME_S
    token = f"eyJ0eXAiOiJKV1QifQ.{base64.urlsafe_b64encode(f'{endpoint.name}:{cloud.new_id()}'.encode()).decode().rstrip('=')}.sig"
    endpoint.tokens[token] = expiry_s
    value = {
        "accessToken": token,
        "tokenType": "Bearer",
        "expiryTimeUtc": int(expiry_s),
        "refreshAfterTimeUtc": int(expiry_s - _TOKEN_LIFETIME_S / 2),
    }
    return found.reply(value, did="write")
