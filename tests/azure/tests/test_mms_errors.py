"""Every way model management, artifacts, storage and MLflow are known to fail, held against what people printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import mms_errors, roles, storage, webservices, world
from tests.azure.access import Caller
from tests.azure.arm import computes, operations, workspaces
from tests.azure.clock import FakeClock
from tests.azure.registry import add_model, add_version, uri_of
from tests.azure.state import Cloud
from tests.azure.transitions import after_polls, after_seconds

BASE = f"https://{world.REGION}.api.azureml.ms"
MMS = f"{BASE}/modelmanagement/v1.0{world.WORKSPACE_SCOPE}"
CALLER = Caller(object_id=world.CLIENT_OBJECT_ID, client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID)


@pytest.fixture
def client(http: requests.Session) -> requests.Session:
    answer = http.post(
        f"https://login.microsoftonline.com/{world.TENANT_ID}/oauth2/v2.0/token",
        data={
            "grant_type": "client_credentials",
            "client_id": world.CLIENT_ID,
            "client_secret": world.CLIENT_SECRET,
            "scope": "https://management.azure.com/.default",
        },
    )
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return http


@pytest.fixture
def model(cloud: Cloud) -> str:
    workspace = cloud.state(workspaces.Workspaces).default
    storage.write(cloud, workspace.storage_account, storage.ARTIFACT_CONTAINER, "LocalUpload/x/model.pkl", b"x")
    container = add_model(cloud, workspace, "churn", CALLER)
    uri = uri_of(workspace, "LocalUpload/x/model.pkl")
    return f"churn:{add_version(cloud, workspace, container, CALLER, uri, uri).name}"


def _aci(name: str, model: str, **more: Any) -> dict[str, Any]:
    image = {"driverProgram": "score.py", "assets": [], "modelIds": [model], "environment": {"name": "env"}}
    return {"name": name, "computeType": "ACI", "environmentImageRequest": image, **more}


def _aks(name: str, model: str, **more: Any) -> dict[str, Any]:
    return {**_aci(name, model, **more), "computeType": "AKS", "computeName": "aks1"}


@pytest.fixture
def cluster(cloud: Cloud, client: requests.Session) -> str:
    url = f"https://management.azure.com{world.WORKSPACE_SCOPE}/computes/aks1?api-version=2020-02-02"
    cluster = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/aks"
    body = {"location": world.REGION, "properties": {"computeType": "AKS", "resourceId": cluster}}
    assert client.put(url, json=body).status_code in {200, 201}
    key = cloud.state(workspaces.Workspaces).default.key
    found = cloud.state(computes.Computes).get(key, "aks1")
    assert found is not None
    found.operation.end(cloud, "Succeeded")
    return found.name


def _real(wire: Path, name: str) -> dict[str, Any]:
    rows = json.loads((wire / "errors" / "real_errors.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = next(
        row for row in (rows if isinstance(rows, list) else rows["errors"]) if row["id"] == name
    )
    return found


def _codes(error: dict[str, Any]) -> tuple[Any, ...]:
    return error.get("code"), error.get("statusCode"), [detail["code"] for detail in error.get("details", ())]


def _outcome(client: requests.Session, accepted: requests.Response) -> dict[str, Any]:
    assert accepted.status_code == 202
    operation: dict[str, Any] = {}
    for _ in range(5):
        operation = client.get(accepted.headers["Operation-Location"]).json()
        if operation["endTime"]:
            return operation
    raise AssertionError(f"the operation does not end: {operation}")


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("name", [name for name in mms_errors.FAILURES if name != "aci-quota"])
def test_operation__that_fails_as_this_row__bears_its_codes(
    name: str, wire: Path, client: requests.Session, model: str, cloud: Cloud
) -> None:
    real = _real(wire, name)["payload"]
    mms_errors.provoke(cloud, name, service="churn-svc", log="Collecting nothing\n")
    make = _aks if name.startswith("aks") else _aci
    operation = _outcome(client, client.post(f"{MMS}/services", json=make("churn-svc", model)))
    assert _codes(operation["error"]) == _codes(real)
    assert operation["state"] == mms_errors.FAILURES[name].state
    service = client.get(f"{MMS}/services/churn-svc?expand=true").json()
    assert (service["state"], service["error"]) == (mms_errors.FAILURES[name].service_state, operation["error"])
    if mms_errors.FAILURES[name].sub_operation == "DeployService":
        assert client.get(f"{MMS}/services/churn-svc/logs").json()["content"] == "Collecting nothing\n"
    else:
        assert requests.get(operation["operationLog"], timeout=10).text == "Collecting nothing\n"


@pytest.mark.parametrize("name", list(mms_errors.REFUSALS))
def test_create__refused_as_this_row__answers_its_body(
    name: str, wire: Path, client: requests.Session, model: str, cloud: Cloud
) -> None:
    real = _real(wire, name)
    mms_errors.provoke(cloud, name, service="churn-svc")
    answer = client.post(f"{MMS}/services", json=_aci("churn-svc", model))
    assert answer.status_code == real["http_status"]
    if name.endswith("html"):
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.text == real["payload"]
    else:
        assert _codes(answer.json()) == _codes(real["payload"])
    assert client.get(f"{MMS}/services/churn-svc").status_code == 404


def test_create__beyond_the_subscriptions_cores__fails_with_acis_quota(
    wire: Path, client: requests.Session, model: str, cloud: Cloud
) -> None:
    cloud.state(webservices.Services).aci_core_limit = 10
    wanted = {"containerResourceRequirements": {"cpu": 10, "memoryInGB": 1}}
    assert "error" not in client.post(f"{MMS}/services/validate/resource", json=_aci("a-large", model, **wanted)).json()
    assert _outcome(client, client.post(f"{MMS}/services", json=_aci("a-large", model, **wanted)))["error"] is None
    one = {"containerResourceRequirements": {"cpu": 1, "memoryInGB": 1}}
    error = _outcome(client, client.post(f"{MMS}/services", json=_aci("another", model, **one)))["error"]
    assert _real(wire, "aci-quota")["payload"] in error["message"]
    told = client.post(f"{MMS}/services/validate/resource", json=_aci("a-third", model, **one)).json()
    assert "StandardCores" in told["error"]["message"]


def test_create__of_a_name_that_is_taken__conflicts(wire: Path, client: requests.Session, model: str) -> None:
    _outcome(client, client.post(f"{MMS}/services", json=_aci("churn-svc", model)))
    answer, real = client.post(f"{MMS}/services", json=_aci("churn-svc", model)), _real(wire, "mms-service-exists")
    assert (answer.status_code, _codes(answer.json())) == (real["http_status"], _codes(real["payload"]))
    told = client.post(f"{MMS}/services/validate/name/churn-svc", json={})
    assert told.json()["error"]["message"] == _real(wire, "validate-name-taken")["payload"]["error"]["message"].format(
        SERVICE="churn-svc"
    )
    assert set(told.json()) <= set(_real(wire, "validate-name-taken")["payload"])
    again = client.post(f"{MMS}/services", json=_aci("churn-svc", model, overwrite=True))
    assert _outcome(client, again)["state"] == "Succeeded"


def test_create__with_models_named_in_no_way__is_invalid(
    wire: Path, client: requests.Session, model: str, cloud: Cloud
) -> None:
    asked = _aci("churn-svc", model)
    del asked["environmentImageRequest"]["modelIds"]
    answer, real = client.post(f"{MMS}/services", json=asked), _real(wire, "mms-model-conflict")
    assert (answer.status_code, _codes(answer.json())) == (real["http_status"], _codes(real["payload"]))


@pytest.mark.parametrize("path", ["services/missing", "models/missing:1", "operations/missing", "assets/missing"])
def test_get__of_what_is_missing__is_not_found(path: str, wire: Path, client: requests.Session) -> None:
    answer, real = client.get(f"{MMS}/{path}"), _real(wire, "mms-404")
    assert answer.status_code == real["http_status"]
    assert (answer.json()["code"], answer.json()["message"]) == (real["payload"]["code"], real["payload"]["message"])
    assert "NoSuchService" in answer.text or not path.startswith("services")


def test_model_list__of_a_name_nobody_registered__is_empty(client: requests.Session) -> None:
    assert client.get(f"{MMS}/models?name=missing&count=1").json() == {"value": []}


def test_create__on_a_cluster_that_is_missing__is_not_found(client: requests.Session, model: str) -> None:
    answer = client.post(f"{MMS}/services", json=_aks("churn-svc", model))
    assert (answer.status_code, answer.json()["details"][0]["code"]) == (404, "ComputeNotFound")


def test_create__by_a_reader__is_forbidden(client: requests.Session, model: str, cloud: Cloud) -> None:
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.SUBSCRIPTION_SCOPE)
    answer = client.post(f"{MMS}/services", json=_aci("churn-svc", model))
    assert (answer.status_code, answer.json()["code"]) == (403, "Forbidden")
    assert "services/aci/write" in answer.json()["message"]
    upload = f"{BASE}/artifact/v2.0{world.WORKSPACE_SCOPE}/artifacts/batch/metadata/LocalUpload/x"
    assert client.post(upload, json={"paths": [{"path": "a"}]}).status_code == 403


def test_workspace__behind_a_private_link__refuses_the_runner(
    wire: Path, client: requests.Session, cloud: Cloud
) -> None:
    cloud.state(workspaces.Workspaces).default.public_network_access = "Disabled"
    real = _real(wire, "private-link")
    assert client.get(f"{MMS}/services").json()["statusCode"] == real["http_status"]
    answer = client.get(f"{BASE}/history/v1.0{world.WORKSPACE_SCOPE}/runs/x")
    assert (answer.status_code, answer.json()["error"]["code"]) == (real["http_status"], "UserError")
    assert answer.json()["error"]["message"].rstrip(".") == real["payload"]["error"]["message"].rstrip(".")


def test_token__that_is_missing__is_refused_flatly(http: requests.Session) -> None:
    answer = http.get(f"{MMS}/services")
    assert (answer.status_code, answer.json()["code"], answer.json()["statusCode"]) == (401, "Unauthorized", 401)


def test_patch__of_what_may_not_change__is_refused(client: requests.Session, model: str) -> None:
    _outcome(client, client.post(f"{MMS}/services", json=_aci("churn-svc", model, properties={"a": "b"})))
    for path, value in (("/name", "other"), ("/properties/a", "c"), ("/computeType", "AKS")):
        answer = client.patch(f"{MMS}/services/churn-svc", json=[{"op": "replace", "path": path, "value": value}])
        assert answer.status_code == 400, path
    added = [
        {"op": "add", "path": "/properties/c", "value": "d"},
        {"op": "replace", "path": "/kvTags", "value": {"t": "1"}},
    ]
    assert _outcome(client, client.patch(f"{MMS}/services/churn-svc", json=added))["state"] == "Succeeded"
    told = client.get(f"{MMS}/services/churn-svc").json()
    assert (told["state"], told["properties"], told["kvTags"]) == ("Healthy", {"a": "b", "c": "d"}, {"t": "1"})


def test_service__under_way__is_neither_overwritten_nor_patched_but_deleted(
    client: requests.Session, model: str
) -> None:
    first = client.post(f"{MMS}/services", json=_aci("churn-svc", model))
    assert client.post(f"{MMS}/services", json=_aci("churn-svc", model, overwrite=True)).status_code == 409
    enabled = [{"op": "replace", "path": "/authEnabled", "value": True}]
    assert client.patch(f"{MMS}/services/churn-svc", json=enabled).status_code == 409
    assert _outcome(client, client.delete(f"{MMS}/services/churn-svc"))["state"] == "Succeeded"
    assert _outcome(client, first)["state"] == "Cancelled"
    assert client.get(f"{MMS}/services/churn-svc").status_code == 404
    assert client.delete(f"{MMS}/services/churn-svc").status_code == 204


def test_operation__scripted_by_seconds__moves_with_the_clock(
    client: requests.Session, model: str, cloud: Cloud, fake_clock: FakeClock
) -> None:
    cloud.scripts.add(
        "mms-create",
        after_seconds(60, "NotStarted", "Running", "Succeeded"),
    )
    location = client.post(f"{MMS}/services", json=_aci("churn-svc", model)).headers["Operation-Location"]
    states = []
    for _ in range(3):
        states.append(client.get(location).json()["state"])
        fake_clock.advance(60)
    assert states == ["NotStarted", "Running", "Succeeded"]
    told = client.get(location).json()["streamingOperationLog"]
    assert told.split("#")[0].endswith("|Creating Container Registry if not exists.")
    assert client.get(f"{location}?offset={len(told)}").json()["streamingOperationLog"] is None


def test_operation__polled__advises_when_to_come_back_only_if_told_so(
    client: requests.Session, model: str, cloud: Cloud
) -> None:
    cloud.scripts.add("mms-create", after_polls(2, "Running", "Succeeded"))
    location = client.post(f"{MMS}/services", json=_aci("churn-svc", model)).headers["Operation-Location"]
    assert "Retry-After" not in client.get(location).headers
    cloud.state(operations.Operations).retry_after_s = 2
    assert client.get(location).headers["Retry-After"] == "2"


def test_scoring__without_its_key__is_refused(client: requests.Session, http: requests.Session, model: str) -> None:
    _outcome(
        client, client.post(f"{MMS}/services", json=_aci("churn-svc", model, authEnabled=True, dnsNameLabel="churn"))
    )
    url = client.get(f"{MMS}/services/churn-svc").json()["scoringUri"]
    assert requests.post(url, json=[1], timeout=10).status_code == 401
    assert requests.post(url, json=[1], headers={"Authorization": "Bearer wrong"}, timeout=10).status_code == 401
    keys = client.post(f"{MMS}/services/churn-svc/listkeys").json()
    assert set(keys) == {"primaryKey", "secondaryKey"}
    assert client.post(f"{MMS}/services/churn-svc/token").status_code == 400


def test_scoring__without_a_backend__fails_the_test(client: requests.Session, model: str, cloud: Cloud) -> None:
    _outcome(client, client.post(f"{MMS}/services", json=_aci("churn-svc", model)))
    url = client.get(f"{MMS}/services/churn-svc").json()["scoringUri"]
    assert requests.post(url, json=[1], timeout=10).status_code == 501
    assert len(cloud.take_failures("not-implemented")) == 1


def test_aks_endpoint__with_versions_and_shares__tells_them(client: requests.Session, model: str, cluster: str) -> None:
    version = {
        key: value
        for key, value in _aks("blue", model, trafficPercentile=100.0, isDefault=True).items()
        if key != "computeName"
    }
    asked = {"name": "churn-ep", "computeType": "AKSENDPOINT", "computeName": cluster, "versions": {"blue": version}}
    _outcome(client, client.post(f"{MMS}/services", json=asked))
    green = {**version, "name": "green", "trafficPercentile": 0.0, "isDefault": False}
    _outcome(
        client,
        client.patch(f"{MMS}/services/churn-ep", json=[{"op": "add", "path": "/versions/green", "value": green}]),
    )
    shares = [
        {"op": "replace", "path": f"/versions/{name}/trafficPercentile", "value": 50.0} for name in ("blue", "green")
    ]
    _outcome(client, client.patch(f"{MMS}/services/churn-ep", json=shares))
    told = client.get(f"{MMS}/services/churn-ep?expand=true").json()["versions"]
    assert {name: one["trafficPercentile"] for name, one in told.items()} == {"blue": 50.0, "green": 50.0}
    _outcome(client, client.patch(f"{MMS}/services/churn-ep", json=[{"op": "remove", "path": "/versions/green"}]))
    assert set(client.get(f"{MMS}/services/churn-ep").json()["versions"]) == {"blue"}


def test_create__with_a_member_nobody_knows__breaks_the_contract(
    wire: Path, client: requests.Session, model: str, cloud: Cloud
) -> None:
    client.post(f"{MMS}/services", json=_aci("churn-svc", model, overwrite=True, stranger=1))
    (failure,) = cloud.take_failures("contract")
    assert "'stranger'" in failure.text
