"""Every exchange of a tour through ARM's rooms fits Microsoft's files, closed: counted and printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import storage, world
from tests.azure.messages import Body, Headers, Request, Response
from tests.azure.openapi import Contract
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body
from tests.azure.trace import Exchange

# What Azure answers to later previews and no file here names (recorded; see answers_as_recorded in arm/versions.py).
UNPUBLISHED = {
    "intellectualProperty",
    "autoDeleteSetting",
    *("etag", "acrSkuTier", "linkedModelInventoryArmId", "sasGetterUri", "sdkTelemetryAppInsightsKey", "creationTime"),
    *("isPrivateLinkEnabled", "changeableIsolationModes", "allowRoleAssignmentOnRG", "softDeleteEnabled"),
    *("ipAllowlist", "EnableSoftwareBillOfMaterials", "enableServiceSideCMKEncryption", "systemDatastoresAuthMode"),
}
_PREVIEWS = ("2023-04-01-preview", "2023-08-01-preview", "2024-10-01-preview")
_AKS = {"computeType": "AKS", "properties": {"agentCount": 3, "agentVmSize": "Standard_D3_v2"}}
_KUBERNETES = {
    "computeType": "Kubernetes",
    "resourceId": f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/c",
    "properties": {"namespace": "ml"},
}


def _tour_of_assets(arm: Caller) -> None:
    model = {"properties": {"modelType": "custom_model", "modelUri": "azureml://jobs/run_1/outputs/artifacts/model"}}
    code = {"properties": {"codeUri": f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/c/code"}}
    environment = {
        "properties": {"image": "mcr.microsoft.com/a", "condaFile": "dependencies:\n- pip", "osType": "Linux"}
    }
    for kind, body in (("models", model), ("codes", code), ("environments", environment)):
        for number in (1, 2):
            assert arm.put(f"/{kind}/thing/versions/{number}", body).status_code == 201
        assert arm.put(f"/{kind}/thing/versions/2", body).status_code in {200, 201}
        assert arm.put(f"/{kind}/thing", {"properties": {"description": "d", "tags": {"a": "b"}}}).ok
        for path in ("", "/thing", "/thing/versions", "/thing/versions/1"):
            assert arm.get(f"/{kind}{path}").status_code == 200
        assert arm.get(f"/{kind}/none/versions/1").status_code == 404
        assert arm.delete(f"/{kind}/thing/versions/2").status_code == 200
        assert arm.delete(f"/{kind}/other").status_code == 204


def _tour_of_endpoints(arm: Caller) -> None:
    arm.settle(arm.put("/computes/cluster", {"location": world.REGION, "properties": _KUBERNETES}))
    cluster = f"{world.WORKSPACE_SCOPE}/computes/cluster"
    for name, more in (("managed", {}), ("kubernetes", {"compute": cluster})):
        base = f"/onlineEndpoints/{name}"
        arm.made(base, endpoint_body(description="d", **more))
        kind = "Managed" if name == "managed" else "Kubernetes"
        size = "Standard_DS2_v2" if name == "managed" else "cpuinstance"
        model = f"{world.WORKSPACE_SCOPE}/models/thing/versions/1"
        code = {"codeId": f"{world.WORKSPACE_SCOPE}/codes/thing/versions/1", "scoringScript": "score.py"}
        body = deployment_body(endpointComputeType=kind, instanceType=size, model=model, codeConfiguration=code)
        arm.made(f"{base}/deployments/blue", body)
        arm.made(base, endpoint_body(traffic={"blue": 100}, **more))
        arm.settle(arm.patch(base, {"tags": {"a": "b"}}))
        for path in ("", "/deployments", "/deployments/blue", "/deployments/blue/skus"):
            assert arm.get(base + path).status_code == 200
        assert arm.post(f"{base}/deployments/blue/getLogs", {"tail": 5}).status_code == 200
        assert arm.post(f"{base}/listKeys").status_code == 200
        arm.settle(arm.post(f"{base}/regenerateKeys", {"keyType": "Secondary"}))
        assert arm.settle(arm.delete(f"{base}/deployments/blue"))["status"] == "Failed"
        arm.made(base, endpoint_body(traffic={"blue": 0}, **more))
        arm.settle(
            arm.patch(f"{base}/deployments/blue", {"tags": {"c": "d"}, "sku": {"name": "Default", "capacity": 2}})
        )
        arm.settle(arm.delete(f"{base}/deployments/blue"))
    arm.made("/onlineEndpoints/tokens", endpoint_body(authMode="AMLToken"))
    assert arm.post("/onlineEndpoints/tokens/token").status_code == 200
    assert arm.get("/onlineEndpoints").status_code == 200
    assert arm.get("/onlineEndpoints/none").status_code == 404
    arm.settle(arm.delete("/onlineEndpoints/tokens"))
    assert arm.delete("/onlineEndpoints/tokens").status_code == 204


def _tour_of_workspace(arm: Caller) -> None:
    assert arm.get("").status_code == 200
    arm.settle(arm.patch("", {"properties": {"description": "d", "publicNetworkAccess": "Enabled"}}))
    group = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.MachineLearningServices/workspaces"
    place = f"{world.SUBSCRIPTION_SCOPE}/providers/Microsoft.MachineLearningServices"
    for path in (
        group,
        f"{place}/workspaces",
        *(f"{place}/locations/eastus/{what}" for what in ("usages", "quotas", "vmSizes")),
    ):
        assert arm.get(path).status_code == 200
    assert arm.get(f"{group}/none").status_code == 404


def _tour_of_computes(arm: Caller) -> None:
    assert arm.put("/computes/bad--name-", {"location": world.REGION, "properties": _AKS}).status_code == 400
    arm.settle(arm.put("/computes/aks1", {"location": world.REGION, "properties": _AKS}))
    arm.settle(arm.put("/computes/aks1", {"location": world.REGION, "properties": _AKS}))
    for path in ("/computes", "/computes/aks1"):
        assert arm.get(path).status_code == 200
    assert arm.get("/computes/none").status_code == 404
    arm.settle(arm.delete("/computes/aks1?underlyingResourceAction=Detach"))


def _tour_of_datastores(arm: Caller) -> None:
    for path in ("/datastores", "/datastores/workspaceblobstore"):
        assert arm.get(path).status_code == 200
    assert arm.post("/datastores/workspaceblobstore/listSecrets").status_code == 200


def _tour_of_arm_itself(arm: Caller) -> None:
    for path in ("/subscriptions", world.SUBSCRIPTION_SCOPE):
        assert arm.get(path, version="2022-12-01").status_code == 200
    authorization = f"{world.WORKSPACE_SCOPE}/providers/Microsoft.Authorization"
    assert arm.get(f"{authorization}/permissions", version="2015-07-01").status_code == 200
    assert arm.get(f"{authorization}/roleAssignments", version="2022-04-01").status_code == 200


def _tour(http: requests.Session) -> None:
    arm = Caller(http, "2024-04-01")
    _tour_of_arm_itself(arm)
    for version in ("2024-04-01", "2022-05-01", *_PREVIEWS):
        arm.version = version
        _tour_of_assets(arm)
        _tour_of_workspace(arm)
        _tour_of_computes(arm)
        _tour_of_datastores(arm)
        _tour_of_endpoints(arm)
        for name in ("managed", "kubernetes"):
            arm.settle(arm.delete(f"/onlineEndpoints/{name}"))
        arm.settle(arm.delete("/computes/cluster?underlyingResourceAction=Detach"))
        for kind in ("models", "codes", "environments"):
            arm.delete(f"/{kind}/thing")
    upload = arm.post(
        "/codes/c/versions/1/startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"}, version="2024-04-01"
    )
    assert upload.status_code == 200
    arm.version = "2022-02-01-preview"
    _tour_of_workspace(arm)
    _tour_of_computes(arm)
    arm.made("/onlineEndpoints/older", endpoint_body())
    arm.made("/onlineEndpoints/older/deployments/blue", deployment_body())
    arm.settle(arm.patch("/onlineEndpoints/older", {"properties": {"traffic": {"blue": 100}}}))
    arm.settle(arm.patch("/onlineEndpoints/older/deployments/blue", {"sku": {"name": "Default", "capacity": 2}}))
    for version in ("2019-06-01", "2020-03-01", "2022-01-01-preview"):
        assert arm.get("", version=version).status_code == 200
    arm.version = "2020-02-02"
    _tour_of_computes(arm)


def _again(exchange: Exchange, version: str | None = None) -> tuple[Request, Response]:
    target, body = exchange.target, exchange.response_body
    if version is not None:
        target = re.sub(r"api-version=[^&]*", f"api-version={version}", target)
        body = json.dumps(_published(json.loads(body))).encode() if body.strip() else body
    request = Request(
        method=exchange.method,
        scheme="https",
        host=exchange.host,
        target=target,
        headers=exchange.request_headers,
        body=Body(exchange.request_body),
    )
    return request, Response(status=exchange.status, headers=Headers(exchange.response_headers.pairs), body=body)


def _published(value: Any) -> Any:
    """Without what no file names, and without the nulls that go with it."""
    if isinstance(value, dict):
        kept = {name: _published(entry) for name, entry in value.items() if name not in UNPUBLISHED}
        return {name: entry for name, entry in kept.items() if entry is not None}
    return [_published(entry) for entry in value] if isinstance(value, list) else value


@pytest.fixture
def toured(azure: Emulator, wire: Path, cloud: Cloud, http: requests.Session) -> list[Exchange]:
    storage.write(cloud, world.STORAGE_ACCOUNT, "c", "code/score.py", b"")
    _tour(http)
    return cloud.trace.find(host=r"management\.azure\.com")


def test_tour__every_exchange__fits_the_files(
    toured: list[Exchange], wire: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published, nearest = Contract(wire), Contract(wire)
    for exchange in toured:
        preview = exchange.query.get("api-version") in _PREVIEWS
        contract = nearest if preview else published
        assert not contract.check(*_again(exchange, "2024-04-01" if preview else None)), exchange
    with capsys.disabled():
        print(f"\n  ARM, published versions: {published.tally.summary()}")
        print(f"  ARM, previews against 2024-04-01: {nearest.tally.summary()}")
    assert published.tally.exchanges > 230
    assert len(published.tally.operations) > 130
    assert published.tally.deviating_exchanges <= 0.05 * published.tally.exchanges


def test_body__deliberately_wrong__fails_the_test_that_sent_it(
    azure: Emulator, wire: Path, http: requests.Session
) -> None:
    arm = Caller(http)
    arm.put("/onlineEndpoints/churn", endpoint_body(trafic={}))
    assert ["trafic" in failure.text for failure in azure.cloud.take_failures("contract")] == [True]


def test_contract__error_whose_schema_lies_in_a_file_that_is_not_here__passes_each_time(
    http: requests.Session, wire: Path
) -> None:
    for _ in range(2):
        answer = http.get("https://management.azure.com/subscriptions?api-version=2022-12-01")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AuthenticationFailed")
