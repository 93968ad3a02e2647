"""The routes of online endpoints: what may be written, and the keys and tokens to call them."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from tests.azure.arm import answers, bodies, computes, operations, paging, policies, traffic, versions
from tests.azure.arm.endpoints import KIND, LIST, ONE, Endpoint, Endpoints, find, identity_of, rendered, require_idle
from tests.azure.arm.workspaces import Visit, has_pairs, is_arm_id, require_assignable, require_location, visit
from tests.azure.clock import iso8601
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

# The file's pattern is laxer; the service takes 3 to 32 characters, a letter first, no hyphen last.
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{1,30}[a-zA-Z0-9]")
# Recorded: a token lives for a day and should be renewed after half of it.
_TOKEN_LIFETIME_S = 24 * 3600
_PATCHED_PROPERTIES = {"traffic", "mirrorTraffic", "publicNetworkAccess"}
MAX_PER_SUBSCRIPTION = 100
room = Room("arm-endpoints", host=versions.HOST)


@room.get(LIST, api_versions=versions.ENDPOINTS)
def list_endpoints(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/read")
    query = request.query
    listed: list[dict[str, Any]] = []
    for endpoint in _ordered(list(cloud.state(Endpoints).of(found.workspace.key)), query.get("orderby", "")):
        endpoint.operation.look(cloud)
        if cloud.state(Endpoints).get(found.workspace.key, endpoint.name) is None:
            continue
        if query.get("name") not in {None, endpoint.name}:
            continue
        if query.get("computetype") not in {None, "Kubernetes" if endpoint.is_kubernetes else "Managed"}:
            continue
        if not has_pairs(endpoint.tags, query.get("tags", "")):
            continue
        if not has_pairs(endpoint.properties, query.get("properties", "")):
            continue
        listed.append(rendered(endpoint, found.version, cloud))
    return found.reply(found.page(listed, paging.size(request, "count")))


def _ordered(listed: list[Endpoint], by: str) -> list[Endpoint]:
    """By Microsoft's four words; as they were made where none is said."""
    match by.lower():
        case "createdatdesc" | "createdatasc":
            return sorted(listed, key=lambda one: one.created, reverse=by.lower().endswith("desc"))
        case "updatedatdesc" | "updatedatasc":
            return sorted(listed, key=lambda one: one.modified, reverse=by.lower().endswith("desc"))
        case _:
            return listed


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
    if compute is not None and properties["authMode"] == "AADToken":
        text = "The auth mode AADToken is not supported by Kubernetes online endpoints: use Key or AMLToken."
        raise found.bad_request(("InvalidProperty", text))
    if compute is not None and (not is_arm_id(compute) or computes.find_by_id(found.cloud, compute) is None):
        raise found.bad_request(("ComputeNotFound", f"The compute '{compute}' was not found in this workspace."))


@room.put(ONE, api_versions=versions.ENDPOINTS)
def put_endpoint(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, f"{KIND}/write", v2=True)
    name = params["endpoint"]
    body = policies.applied(cloud, f"{found.workspace.id}/{KIND}/{name}", bodies.read(request, bodies.ENDPOINT))
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
    require_location(found, body, endpoint.said_location if endpoint else None, name)
    require_assignable(found, f"{KIND}/write", f"{found.workspace.id}/{KIND}/{name}", body)
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
        said_location=body["location"],
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
    body = policies.applied(cloud, endpoint.id, bodies.read(request, bodies.ENDPOINT), tags=endpoint.tags)
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
    require_assignable(found, f"{KIND}/write", endpoint.id, body)
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
    body = bodies.read(request, bodies.KEYS)
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
