"""Plays recorded exchanges against the emulator: brings about what each of them presupposes, then sends it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import requests

from tests.azure import backends, faults, roles, world
from tests.azure.arm import computes, endpoints, workspaces
from tests.azure.state import Cloud
from tests.azure.tests import replay
from tests.azure.tests.caller import Caller
from tests.azure.tests.replay import Difference, Recorded
from tests.azure.transitions import Stage, after_polls

_COMPARED = re.compile(r"(|/(onlineEndpoints|models|codes|environments|datastores|computes)(/.*)?)", re.IGNORECASE)
_READ_ONLY = {"provisioningState", "properties", "scoringUri", "swaggerUri", "traffic", "mirrorTraffic", "jobName"}
_OPERATION = re.compile(r"/(\w+Operations(?:Status|Results))/([^?/]+)")
_SUBNET = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.Network/virtualNetworks/v/subnets/s"
_KINDS = {"PUT": "create", "PATCH": "update", "DELETE": "delete"}


def is_compared(exchange: Recorded) -> bool:
    """Whether ARM's rooms answer for it: the workspace, what stands in it, and the scoring hosts."""
    if exchange.host.endswith(".inference.ml.azure.com"):
        return True
    in_workspace = "/workspaces/" in exchange.path and _COMPARED.fullmatch(exchange.below) is not None
    return exchange.host == "management.azure.com" and in_workspace


class Player:
    def __init__(self, http: requests.Session, cloud: Cloud) -> None:
        self.http = http
        self.cloud = cloud
        self.arm = Caller(http)
        # Recorded callers might use the identities of their subscription, whose name was blanked.
        blanked = "/subscriptions/00000000-0000-0000-0000-000000000000"
        cloud.state(roles.Assignments).assign(world.CLIENT_OBJECT_ID, roles.CONTRIBUTOR, blanked)
        self._written: set[str] = set()
        # Recorded operation ids to where the emulator's own are polled.
        self._operations: dict[str, str] = {}
        # Blanked paths to the true ones learned last.
        self._names: dict[str, str] = {}

    def play(self, exchange: Recorded, later: Sequence[Recorded] = ()) -> Difference | None:
        """None: not one of these rooms', or a poll of an operation that was not played."""
        if operation := _OPERATION.search(exchange.path):
            return self._poll(exchange, operation[2])
        if not is_compared(exchange):
            return None
        if exchange.host != "management.azure.com":
            return replay.difference(exchange, self._score(exchange), bodies=False)
        path = self._path(exchange, later)
        self._prepare(exchange, path, later)
        answer = replay.send(self.http, self.arm.headers["Authorization"][7:], exchange, path)
        if exchange.method != "GET":
            self._written.add(path.lower())
        if operation := _OPERATION.search(exchange.headers.get("azure-asyncoperation", "")):
            self._operations[operation[2]] = answer.headers.get("azure-asyncoperation", "")
        return replay.difference(exchange, answer)

    def _path(self, exchange: Recorded, later: Sequence[Recorded]) -> str:
        if found := replay.true_path(exchange):
            self._names[exchange.below] = found
            return found
        if exchange.below in self._names:
            return self._names[exchange.below]
        parent, _, last = exchange.below.rpartition("/")
        if exchange.method == "POST" and parent in self._names:
            return f"{self._names[parent]}/{last}"
        known = [replay.true_path(one) for one in later if one.below == exchange.below]
        return next(filter(None, known), exchange.below)

    def _poll(self, exchange: Recorded, operation: str) -> Difference | None:
        if not self._operations.get(operation):
            return None
        return replay.difference(
            exchange, self.http.get(self._operations[operation], headers=self.arm.headers, timeout=60)
        )

    def _prepare(self, exchange: Recorded, path: str, later: Sequence[Recorded]) -> None:
        body = replay.here(exchange.body) if exchange.body is not None else None
        if exchange.status == 502:
            self.cloud.faults.add(faults.json_error(502, body, headers=_gateway()), method=exchange.method, path=path)
            return
        self._lay_script(exchange, path, later)
        if exchange.status == 404:
            if "NoSuch" in str(body):
                self.cloud.state(endpoints.Endpoints).remembered.add(f"{world.WORKSPACE_SCOPE}{path}".lower())
            if "/deployments/" in path:
                self.endpoint(path.partition("/deployments")[0])
            return
        if not path.strip("/"):
            if "privateEndpointConnections" in str(body):
                self.cloud.state(workspaces.Workspaces).default.private_endpoint_subnets.append(_SUBNET)
            return
        if path.lower() in self._written:
            return
        if exchange.method == "GET" and isinstance(body, dict) and isinstance(body.get("value"), list):
            for one in body["value"]:
                self.make(one["id"].partition(world.WORKSPACE_SCOPE)[2], one)
            if "nextLink" in body and path.endswith("/versions"):
                self.make(f"{path}/0", {})
            if path.endswith("/deployments"):
                self.endpoint(path.removesuffix("/deployments"))
        elif exchange.method == "PUT":
            self._presupposed(exchange, path)
        else:
            self._existing(exchange, path, body)

    def _presupposed(self, exchange: Recorded, path: str) -> None:
        asked = replay.here(exchange.request)
        if "/deployments/" in path:
            self.endpoint(
                path.partition("/deployments")[0], kubernetes=asked["properties"]["endpointComputeType"] == "Kubernetes"
            )
            self._assets(asked["properties"])
        elif path.startswith("/onlineEndpoints"):
            self._cluster(asked["properties"].get("compute"))
            if "azureml.onlineendpointid" in str(asked["properties"].get("properties")):
                self.make(path, asked)
        elif exchange.status == 200 or (path.count("/") == 2 and "environments" in path):
            self.make(path, asked)

    def _existing(self, exchange: Recorded, path: str, body: Any) -> None:
        if exchange.method == "GET":
            self.make(path, body)
            return
        target = path.rpartition("/")[0] if exchange.method == "POST" else path
        if target.lower() in self._written:
            return
        if "/deployments/" in target:
            self.deployment(target)
        elif target.startswith("/onlineEndpoints"):
            self.endpoint(target, auth="AMLToken" if path.endswith("/token") else "Key")
        elif target.startswith("/computes"):
            self.make(
                target, {"properties": {"computeType": "AmlCompute", "properties": {"vmSize": "STANDARD_DS3_V2"}}}
            )

    def _lay_script(self, exchange: Recorded, path: str, later: Sequence[Recorded]) -> None:
        """As many polls as were recorded, and the end they saw."""
        begun = _OPERATION.search(exchange.headers.get("azure-asyncoperation", ""))
        if begun is None or not later:
            return
        polls = [one.body.get("status") for one in later if begun[2] in one.path and isinstance(one.body, dict)]
        if not polls or polls[-1] == "Failed":
            return
        exists = self.arm.get(path).status_code == 200
        verb = _KINDS[exchange.method] if not (exchange.method == "PUT" and exists) else "update"
        what = "online-deployment" if "/deployments/" in path else "online-endpoint"
        under_way = len(polls) - (polls[-1] == "Succeeded")
        # The look above may be taken for a poll; nothing is under way then, so it counts for nothing.
        stages = after_polls(under_way, "Updating", "Succeeded") if under_way else (Stage(state="Succeeded"),)
        self.cloud.scripts.add(f"{what}-{verb}", stages)

    def endpoint(self, path: str, *, kubernetes: bool = False, auth: str = "Key") -> None:
        if self.arm.get(path).status_code == 200:
            return
        properties: dict[str, Any] = {"authMode": auth}
        if kubernetes:
            properties["compute"] = self._cluster(f"{world.WORKSPACE_SCOPE}/computes/inferencecompute")
        self.arm.made(path, {"location": world.REGION, "properties": properties})

    def deployment(self, path: str) -> None:
        self.endpoint(path.partition("/deployments")[0])
        if self.arm.get(path).status_code != 200:
            properties = {"endpointComputeType": "Managed", "instanceType": "Standard_DS2_v2"}
            self.arm.made(path, {"location": world.REGION, "properties": properties})

    def _cluster(self, identifier: str | None) -> str | None:
        if identifier is not None and computes.find_by_id(self.cloud, identifier) is None:
            resource = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/c"
            properties = {"computeType": "Kubernetes", "resourceId": resource, "properties": {"namespace": "ml"}}
            path = identifier.partition(world.WORKSPACE_SCOPE)[2]
            self.arm.settle(self.arm.put(path, {"location": world.REGION, "properties": properties}))
        return identifier

    def _assets(self, properties: dict[str, Any]) -> None:
        code = (properties.get("codeConfiguration") or {}).get("codeId")
        for identifier in (properties.get("model"), code, properties.get("environmentId")):
            path = str(identifier).partition(world.WORKSPACE_SCOPE)[2]
            if path and self.arm.get(path).status_code == 404:
                self.make(path, {})

    def make(self, path: str, body: dict[str, Any]) -> None:
        """The resource at `path`, as `body` (an answer or a request) describes it."""
        if path.startswith("/datastores") or self.arm.get(path).status_code == 200:
            return
        told = body.get("properties") or {}
        given = {name: value for name, value in told.items() if name not in _READ_ONLY and value is not None}
        for unpublished in ("intellectualProperty", "autoDeleteSetting", "privateNetworkConnection"):
            given.pop(unpublished, None)
        kind = path.split("/")[1]
        if kind in {"models", "codes", "environments"}:
            self._make_asset(path, kind, given)
            return
        request = {"location": world.REGION, "tags": body.get("tags") or {}, "properties": given}
        if kind == "computes":
            known = (
                given
                if given["computeType"] in {"AKS", "Kubernetes", "AmlCompute"}
                else {**given, "computeType": "AmlCompute", "properties": {}}
            )
            made = self.arm.put(
                path, {**request, "properties": known, **_only(body, "identity")}, version="2022-10-01-preview"
            )
            self.arm.settle(made)
            return
        if "/deployments/" in path:
            kubernetes = given.get("endpointComputeType") == "Kubernetes"
            self.endpoint(path.partition("/deployments")[0], kubernetes=kubernetes)
            self._assets(given)
            request |= _only(body, "sku")
        else:
            self._cluster(given.get("compute"))
            request |= _only(body, "identity")
        self.arm.made(path, request, version="2023-04-01-preview")

    def _make_asset(self, path: str, kind: str, given: dict[str, Any]) -> None:
        if path.count("/") == 2:
            # A container comes with its first version.
            path += "/versions/1"
        wanted = {"models": "modelUri", "codes": "codeUri", "environments": "image"}[kind]
        given.setdefault(wanted, f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/c/{path.split('/')[2]}")
        for name in ("latestVersion", "nextVersion", "environmentType"):
            given.pop(name, None)
        answer = self.arm.put(path, {"properties": given}, version="2023-08-01-preview")
        assert answer.ok, answer.text

    def _score(self, exchange: Recorded) -> requests.Response:
        name = exchange.host.partition(".")[0]
        path = f"/onlineEndpoints/{name}"
        wanted = exchange.headers["azureml-model-deployment"]
        self.deployment(f"{path}/deployments/{wanted}")
        shown = self.arm.get(path).json()
        credential = self.arm.post(
            f"{path}/{'token' if shown['properties']['authMode'] == 'AMLToken' else 'listKeys'}"
        ).json()
        key = credential.get("accessToken") or credential["primaryKey"]
        self.cloud.live(backends.Serving).echoes = True
        headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": wanted}
        return self.http.post(shown["properties"]["scoringUri"], json=exchange.request, headers=headers, timeout=60)


def _only(body: dict[str, Any], name: str) -> dict[str, Any]:
    """A member as it may be sent: without what the service itself put in."""
    value = body.get(name)
    if not isinstance(value, dict):
        return {}
    if name == "identity":
        users: dict[str, Any] = {key: {} for key in value.get("userAssignedIdentities") or {}}
        return {name: {"type": value["type"], **({"userAssignedIdentities": users} if users else {})}}
    return {name: value}


def _gateway() -> dict[str, str]:
    return {
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
        "Expires": "-1",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Content-Type-Options": "nosniff",
        "x-ms-failure-cause": "service",
    }
