"""Traffic that moves from one deployment to another under load: every request is answered, every connection is kept."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Self

import pytest
import requests

from tests.azure import backends, world
from tests.azure.arm.scoring import Load
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests import test_mms_errors
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body
from tests.azure.tests.serving_stub import EchoBackend
from tests.azure.transitions import after_polls, after_seconds

EP = "/onlineEndpoints/churn"
HOST = "churn.eastus.inference.ml.azure.com"
CLIENTS, REQUESTS = 8, 2_000
WIDE = {"maxConcurrentRequestsPerInstance": 10, "requestTimeout": "PT60S"}

client, model, cluster = test_mms_errors.client, test_mms_errors.model, test_mms_errors.cluster


@pytest.fixture
def arm(azure: Emulator, http: requests.Session) -> Caller:
    return Caller(http)


@pytest.fixture
def backend(azure: Emulator, cloud: Cloud) -> Iterator[EchoBackend]:
    backend = EchoBackend()
    cloud.live(backends.Serving).backend = backend
    yield backend
    backend.close()


class Callers:
    """Clients that ask without a pause, each over one connection of its own, until told to stop."""

    def __init__(self, azure: Emulator, key: str) -> None:
        self._azure, self._key = azure, key
        self.statuses: Counter[int] = Counter()
        self.served: Counter[str] = Counter()
        self.broken: list[str] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, more: int) -> None:
        goal = self.statuses.total() + more
        until = time.monotonic() + 120
        while self.statuses.total() < goal and not self.broken and time.monotonic() < until:
            time.sleep(0.01)

    def _ask(self) -> None:
        door, port = self._azure.url.removeprefix("http://").split(":")
        context = ssl.create_default_context(cafile=str(self._azure.ca_file))
        connection = http.client.HTTPSConnection(door, int(port), context=context, timeout=60)
        connection.set_tunnel(HOST, 443)
        connection.connect()
        kept = connection.sock
        try:
            while not self._stopping.is_set():
                headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
                connection.request("POST", "/score", body=b"{}", headers=headers)
                answer = connection.getresponse()
                content = answer.read()
                with self._lock:
                    self.statuses[answer.status] += 1
                    self.served[json.loads(content)["served_by"] if answer.status == 200 else ""] += 1
                assert connection.sock is kept, "the connection was closed"
        except Exception as error:  # noqa: BLE001  # a torn connection is what this looks for
            self.broken.append(f"{type(error).__name__}: {error}")
        finally:
            connection.close()


def test_shift__from_blue_to_green_under_load__fails_no_request(
    azure: Emulator, arm: Caller, backend: EchoBackend
) -> None:
    backend.takes_s = 0.002
    arm.made(EP, endpoint_body())
    blue, green = (deployment_body(capacity=2, requestSettings=WIDE) for _ in range(2))
    arm.made(f"{EP}/deployments/blue", blue)
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    with Callers(azure, key) as callers:
        arm.made(f"{EP}/deployments/green", green)
        for share in (10, 50, 100):
            arm.made(EP, endpoint_body(traffic={"blue": 100 - share, "green": share}))
            callers.wait_for(REQUESTS // 5)
        assert arm.settle(arm.delete(f"{EP}/deployments/blue"))["status"] == "Succeeded"
        callers.wait_for(REQUESTS // 5)
        # Long enough for the old service to be in the middle of it when the new one takes over.
        backend.takes_s = 0.3
        arm.made(f"{EP}/deployments/green", deployment_body(capacity=2, environmentVariables={"V": "2"}))
        backend.takes_s = 0.002
        callers.wait_for(REQUESTS // 5 + CLIENTS)
    assert callers.broken == []
    assert set(callers.statuses) == {200}
    assert callers.statuses[200] >= REQUESTS
    assert set(callers.served) == {"churn-blue", "churn-green"}
    assert backend.running == 1


def test_deployment__deleted_while_it_answers__answers_first(arm: Caller, backend: EchoBackend, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    arm.made(f"{EP}/deployments/blue", deployment_body(requestSettings=WIDE))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    backend.gate.clear()
    with _asked(key) as told:
        _await(lambda: bool(backend.connections))
        assert arm.settle(arm.delete(f"{EP}/deployments/blue"))["status"] == "Succeeded"
        assert arm.get(f"{EP}/deployments/blue").status_code == 404
        assert backend.running == 1
        backend.gate.set()
    assert told == [200]
    _await(lambda: backend.running == 0)


def test_service__deleted_while_it_answers__answers_first(
    client: requests.Session, model: str, backend: EchoBackend
) -> None:
    services = test_mms_errors.MMS + "/services"
    image = {"driverProgram": "d", "assets": [], "modelIds": [model], "environment": {"name": "e"}}
    body = {"name": "churn-svc", "computeType": "ACI", "dnsNameLabel": "churn-dns", "environmentImageRequest": image}
    _until_over(client, client.post(services, json=body))
    backend.gate.clear()
    told: list[int] = []
    url = f"http://churn-dns.{world.REGION}.azurecontainer.io/score"
    asking = threading.Thread(target=lambda: told.append(requests.post(url, data=b"{}", timeout=30).status_code))
    asking.start()
    _await(lambda: bool(backend.connections))
    _until_over(client, client.delete(f"{services}/churn-svc"))
    assert client.get(f"{services}/churn-svc").status_code == 404
    backend.gate.set()
    asking.join(30)
    assert told == [200]
    _await(lambda: backend.running == 0)


def _until_over(client: requests.Session, begun: requests.Response) -> None:
    url = begun.headers["Operation-Location"]
    _await(lambda: client.get(url, timeout=30).json()["state"] == "Succeeded")


@contextlib.contextmanager
def _asked(key: str) -> Iterator[list[int]]:
    """A request under way, to blue by name; its status when it is over."""
    told: list[int] = []

    def ask() -> None:
        headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "blue"}
        told.append(requests.post(f"https://{HOST}/score", json={}, headers=headers, timeout=60).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    yield told
    asking.join(60)


def _await(holds: Any) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.01)


def _loaded(key: str, host: str, clients: int, *, path: str = "/score") -> Counter[int]:
    """The statuses of requests that are sent at once."""
    statuses: list[int] = []

    def ask() -> None:
        headers = {"Authorization": f"Bearer {key}"}
        statuses.append(requests.post(f"{host}{path}", json={}, headers=headers, timeout=60).status_code)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return Counter(statuses)


@pytest.mark.parametrize("instances", [1, 3])
def test_load__of_an_echo_that_takes_time__is_what_the_instances_carry(
    arm: Caller, cloud: Cloud, instances: int
) -> None:
    cloud.live(backends.Serving).echoes, cloud.live(backends.Serving).echo_takes_s = True, 2.5
    arm.made(EP, endpoint_body())
    arm.made(f"{EP}/deployments/blue", deployment_body(capacity=instances))
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    assert _loaded(key, f"https://{HOST}", 8) == {200: 2 * instances, 429: 8 - 2 * instances}


def test_load__while_instances_are_added__is_what_those_carry_that_run(arm: Caller, cloud: Cloud) -> None:
    cloud.live(backends.Serving).echoes, cloud.live(backends.Serving).echo_takes_s = True, 2.5
    arm.made(EP, endpoint_body())
    arm.made(f"{EP}/deployments/blue", deployment_body())
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    cloud.scripts.add("online-deployment-scale", after_polls(1, "Scaling", "Succeeded"))
    scaling = arm.patch(f"{EP}/deployments/blue", {"sku": {"name": "Default", "capacity": 4}})
    assert _loaded(key, f"https://{HOST}", 6) == {200: 2, 429: 4}
    arm.settle(scaling)
    assert _loaded(key, f"https://{HOST}", 6) == {200: 6}


AKS = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/aks"


def _kubernetes(arm: Caller, **properties: Any) -> tuple[str, str]:
    """An endpoint on an attached cluster with all traffic to blue: its host and its key."""
    arm.made(
        "/computes/aks1", {"location": world.REGION, "properties": {"computeType": "Kubernetes", "resourceId": AKS}}
    )
    compute = f"{world.WORKSPACE_SCOPE}/computes/aks1"
    arm.made(EP, endpoint_body(compute=compute))
    given = {"endpointComputeType": "Kubernetes", "instanceType": "defaultinstancetype", **properties}
    arm.made(f"{EP}/deployments/blue", {"location": world.REGION, "properties": given})
    made = arm.made(EP, endpoint_body(compute=compute, traffic={"blue": 100}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    return made["properties"]["scoringUri"].removesuffix("/score"), key


def test_load__on_kubernetes__is_what_its_most_instances_carry(arm: Caller, cloud: Cloud) -> None:
    cloud.live(backends.Serving).echoes, cloud.live(backends.Serving).echo_takes_s = True, 2.5
    scale = {"scaleType": "TargetUtilization", "minInstances": 1, "maxInstances": 2}
    base, key = _kubernetes(arm, scaleSettings=scale)
    assert _loaded(key, base, 6) == {200: 4, 503: 2}


def test_model__on_kubernetes__fails_by_the_clusters_statuses(arm: Caller, backend: EchoBackend) -> None:
    base, key = _kubernetes(arm, requestSettings={"requestTimeout": "PT1S", "maxConcurrentRequestsPerInstance": 5})
    for status, told in ((200, 200), (400, 400), (500, 502)):
        backend.status = status
        assert _loaded(key, base, 1) == {told: 1}
    backend.gate.clear()
    assert _loaded(key, base, 1) == {504: 1}
    backend.gate.set()


def test_traffic__whose_time_has_come__moves_without_a_poll(
    arm: Caller, backend: EchoBackend, cloud: Cloud, fake_clock: Any
) -> None:
    arm.made(EP, endpoint_body())
    for name in ("blue", "green"):
        arm.made(f"{EP}/deployments/{name}", deployment_body())
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    cloud.scripts.add("online-endpoint-update", after_seconds(60, "Updating", "Succeeded"))
    arm.put(EP, endpoint_body(traffic={"green": 100}))

    def served_by() -> str:
        headers = {"Authorization": f"Bearer {key}"}
        return str(requests.post(f"https://{HOST}/score", json={}, headers=headers, timeout=30).json()["served_by"])

    assert served_by() == "churn-blue"
    fake_clock.advance(61)
    assert served_by() == "churn-green"


def test_stream__that_its_caller_leaves__counts_no_longer(arm: Caller, backend: EchoBackend, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    arm.made(f"{EP}/deployments/blue", deployment_body())
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    headers = {"Authorization": f"Bearer {key}"}
    load = cloud.live(Load)
    with requests.post(f"https://{HOST}/score", json="stream", headers=headers, stream=True, timeout=30) as answer:
        assert next(answer.iter_content(None)) == b"first"
        assert load.under_way() == 1
    backend.second.set()
    _await(lambda: load.under_way() == 0)
    assert _loaded(key, f"https://{HOST}", 1) == {200: 1}


def test_mirrored_request__reaches_the_other_deployment_whole(arm: Caller, backend: EchoBackend) -> None:
    arm.made(EP, endpoint_body())
    for name in ("blue", "green"):
        arm.made(f"{EP}/deployments/{name}", deployment_body(requestSettings=WIDE))
    arm.made(EP, endpoint_body(traffic={"blue": 100}, mirrorTraffic={"green": 50}))
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    for _ in range(10):
        assert _loaded(key, f"https://{HOST}", 1) == {200: 1}
    _await(lambda: Counter(backend.served) == {"churn-blue": 10, "churn-green": 5})


def test_load__of_a_service_on_aks__is_what_its_running_replicas_carry(
    client: requests.Session, model: str, cluster: str, cloud: Cloud
) -> None:
    cloud.live(backends.Serving).echoes, cloud.live(backends.Serving).echo_takes_s = True, 2.5
    services = test_mms_errors.MMS + "/services"
    image = {"driverProgram": "d", "assets": [], "modelIds": [model], "environment": {"name": "e"}}
    body = {"name": "churn-svc", "computeType": "AKS", "computeName": cluster, "environmentImageRequest": image}
    scale = {"numReplicas": 2, "autoScaler": {"autoscaleEnabled": False}, "keys": {"primaryKey": "k"}}
    _until_over(client, client.post(services, json=body | scale))
    base = client.get(f"{services}/churn-svc").json()["scoringUri"].removesuffix("/score")
    assert _loaded("k", base, 5) == {200: 2, 503: 3}
    more = [{"op": "replace", "path": "/numReplicas", "value": 5}]
    scaling = client.patch(f"{services}/churn-svc", json=more)
    assert _loaded("k", base, 5) == {200: 2, 503: 3}
    _until_over(client, scaling)
    assert _loaded("k", base, 5) == {200: 5}


def test_deployment__that_traffic_comes_back_to_while_it_goes__stays(arm: Caller, cloud: Cloud) -> None:
    cloud.live(backends.Serving).echoes = True
    arm.made(EP, endpoint_body())
    arm.made(f"{EP}/deployments/blue", deployment_body())
    cloud.scripts.add("online-deployment-delete", after_polls(5, "Deleting", "Succeeded"))
    deleting = arm.delete(f"{EP}/deployments/blue")
    assert deleting.status_code == 202
    arm.made(EP, endpoint_body(traffic={"BLUE": 100}))
    assert "Current traffic [100]" in arm.settle(deleting)["error"]["message"]
    assert arm.get(f"{EP}/deployments/blue").json()["properties"]["provisioningState"] == "Succeeded"
    assert arm.get(EP).json()["properties"]["traffic"] == {"blue": 100}
    key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
    assert _loaded(key, f"https://{HOST}", 1) == {200: 1}


def test_endpoint__whose_cluster_is_detached_meanwhile__fails(arm: Caller, cloud: Cloud) -> None:
    body = {"location": world.REGION, "properties": {"computeType": "Kubernetes", "resourceId": AKS}}
    arm.made("/computes/aks1", body)
    cloud.scripts.add("online-endpoint-create", after_polls(9, "Creating", "Succeeded"))
    begun = arm.put(EP, endpoint_body(compute=f"{world.WORKSPACE_SCOPE}/computes/aks1"))
    arm.settle(arm.delete("/computes/aks1?underlyingResourceAction=Detach"))
    assert arm.settle(begun)["error"]["code"] == "ComputeNotFound"


def test_endpoint__on_a_cluster__is_not_called_by_a_managed_ones_name(arm: Caller, cloud: Cloud) -> None:
    cloud.live(backends.Serving).echoes = True
    base, key = _kubernetes(arm)
    assert _loaded(key, base, 1) == {200: 1}
    assert _loaded(key, f"https://{HOST}", 1) == {404: 1}


def test_endpoint__on_a_cluster__takes_keys_and_tokens_of_azure_ml_alone(arm: Caller, cloud: Cloud) -> None:
    cloud.live(backends.Serving).echoes = True
    _kubernetes(arm)
    compute = f"{world.WORKSPACE_SCOPE}/computes/aks1"
    refused = arm.put("/onlineEndpoints/other", endpoint_body(compute=compute, authMode="AADToken"))
    assert refused.status_code == 400
    assert "AADToken is not supported" in refused.json()["error"]["details"][0]["message"]
    made = arm.made("/onlineEndpoints/other", endpoint_body(compute=compute, authMode="AMLToken"))
    given = {"endpointComputeType": "Kubernetes", "instanceType": "defaultinstancetype"}
    arm.made("/onlineEndpoints/other/deployments/blue", {"location": world.REGION, "properties": given})
    arm.made("/onlineEndpoints/other", endpoint_body(compute=compute, authMode="AMLToken", traffic={"blue": 100}))
    token = arm.post("/onlineEndpoints/other/token").json()["accessToken"]
    base = made["properties"]["scoringUri"].removesuffix("/score")
    assert _loaded(token, base, 1) == {200: 1}
    assert _loaded("wrong", base, 1) == {401: 1}
