"""What no client of Microsoft's sends and any stranger's may: every room refuses it as Azure would, and none crashes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.azure import backends, jwt, storage, world
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import ARM, Caller, deployment_body, endpoint_body

WS = world.WORKSPACE_SCOPE
REGIONAL = f"https://{world.REGION}.api.azureml.ms"
VERSION = "?api-version=2024-04-01"
GROUP = world.RESOURCE_GROUP_SCOPE
# Every write of ARM's that carries a body: method and path.
WRITES = [
    ("PUT", f"{WS}/onlineEndpoints/churn"),
    ("PUT", f"{WS}/onlineEndpoints/fresh"),
    ("PATCH", f"{WS}/onlineEndpoints/churn"),
    ("POST", f"{WS}/onlineEndpoints/churn/regenerateKeys"),
    ("PUT", f"{WS}/onlineEndpoints/churn/deployments/blue"),
    ("PUT", f"{WS}/onlineEndpoints/churn/deployments/fresh"),
    ("PATCH", f"{WS}/onlineEndpoints/churn/deployments/blue"),
    ("POST", f"{WS}/onlineEndpoints/churn/deployments/blue/getLogs"),
    ("PUT", f"{WS}/models/m"),
    ("PUT", f"{WS}/models/m/versions/1"),
    ("PUT", f"{WS}/codes/c"),
    ("PUT", f"{WS}/codes/c/versions/1"),
    ("POST", f"{WS}/codes/c/versions/2/startPendingUpload"),
    ("PUT", f"{WS}/environments/e"),
    ("PUT", f"{WS}/environments/e/versions/1"),
    ("PUT", f"{WS}/computes/aks1"),
    ("PATCH", WS),
    ("POST", f"{WS}/datastores/workspaceblobstore/listSecrets"),
    ("PUT", GROUP),
    ("PUT", f"{GROUP}/providers/Microsoft.Insights/autoscalesettings/a"),
    (
        "PUT",
        f"{WS}/onlineEndpoints/churn/deployments/blue/providers/Microsoft.Insights/diagnosticSettings/d",
    ),
]
# And of the data plane's.
MMS = f"{REGIONAL}/modelmanagement/v1.0{WS}"
MLFLOW = f"{REGIONAL}/mlflow/v2.0{WS}/api/2.0/mlflow"
HISTORY = f"{REGIONAL}/history/v1.0{WS}"
ARTIFACT = f"{REGIONAL}/artifact/v2.0{WS}/artifacts"
DATA_WRITES = [
    ("POST", f"{MMS}/models"),
    ("PATCH", f"{MMS}/models/churn%3A1"),
    ("POST", f"{MMS}/assets"),
    ("POST", f"{MMS}/services"),
    ("PATCH", f"{MMS}/services/svc"),
    ("POST", f"{MMS}/services/validate"),
    ("POST", f"{MMS}/services/validate/resource"),
    ("POST", f"{MMS}/services/svc/regenerateKeys"),
    ("POST", f"{MLFLOW}/experiments/create"),
    ("POST", f"{MLFLOW}/experiments/search"),
    ("POST", f"{MLFLOW}/runs/create"),
    ("POST", f"{MLFLOW}/runs/update"),
    ("POST", f"{MLFLOW}/runs/search"),
    ("POST", f"{MLFLOW}/runs/log-metric"),
    ("POST", f"{MLFLOW}/runs/log-batch"),
    ("POST", f"{MLFLOW}/runs/set-tag"),
    ("POST", f"{MLFLOW}/registered-models/create"),
    ("POST", f"{MLFLOW}/registered-models/get-latest-versions"),
    ("POST", f"{MLFLOW}/model-versions/create"),
    ("POST", f"{MLFLOW}/model-versions/transition-stage"),
    ("POST", f"{HISTORY}/rundata"),
    ("PATCH", f"{HISTORY}/experiments/Default/runs/r"),
    ("POST", f"{ARTIFACT}/batch/metadata/LocalUpload/x"),
    ("POST", f"{ARTIFACT}/register"),
    ("PUT", f"{REGIONAL}/environment/v1.0{WS}/environments/e"),
    ("PUT", f"{REGIONAL}/environment/v1.0{WS}/environments/e/versions/1/metadata"),
]
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no json": b"{",
    "null": b"null",
    "list": b"[]",
    "list of null": b"[null]",
    "text": b'"text"',
    "number": b"7",
    "deep": b"[" * 100_000,
    "not utf-8": b'{"name": "\xff"}',
    "surrogate": b'{"name": "\\ud800", "properties": {"description": "\\ud800"}}',
    "members of other types": json.dumps(
        {
            **dict.fromkeys(("properties", "sku", "tags", "identity", "location", "versions", "createRequest"), 7),
            **{key: [1] for key in ("name", "keyType", "computeType", "environmentImageRequest", "paths", "run_id")},
        }
    ).encode(),
    "members as text": json.dumps(
        dict.fromkeys(("properties", "sku", "tags", "identity", "location", "name", "tail", "kvTags", "metrics"), "x")
    ).encode(),
    "inner members of other types": json.dumps(
        {
            "location": world.REGION,
            "name": "svc",
            "sku": {"name": "Default", "capacity": "many"},
            "tags": {"a": {"b": []}, "c": None},
            "identity": {"type": 7, "userAssignedIdentities": "x"},
            "tail": "many",
            "keyType": {},
            "properties": {
                **dict.fromkeys(("authMode", "endpointComputeType", "instanceType", "description"), 7),
                **dict.fromkeys(("traffic", "mirrorTraffic", "keys", "profiles", "logs"), "x"),
                **{
                    key: {}
                    for key in ("model", "environmentId", "compute", "modelUri", "codeUri", "image", "resourceId")
                },
                **{key: [7] for key in ("codeConfiguration", "scaleSettings", "requestSettings", "livenessProbe")},
                **{key: [7] for key in ("environmentVariables", "properties", "tags", "flavors", "managedNetwork")},
                "computeType": [],
                "condaFile": "a: [",
            },
        }
    ).encode(),
    "traffic of other types": json.dumps(
        {
            "location": world.REGION,
            "properties": {"authMode": "Key", "traffic": {"blue": "all"}, "mirrorTraffic": {"blue": [1]}},
        }
    ).encode(),
    "a deployment of other types": json.dumps(
        {
            "location": world.REGION,
            "sku": "Default",
            "properties": {
                "endpointComputeType": "Managed",
                "instanceType": "Standard_DS2_v2",
                "requestSettings": {"requestTimeout": 5, "maxConcurrentRequestsPerInstance": "many"},
                "scaleSettings": {},
                "environmentVariables": "none",
                "dataCollector": 7,
            },
        }
    ).encode(),
    "mlflow of other types": json.dumps(
        {
            "name": "m",
            "run_id": "r",
            "key": "k",
            "value": "much",
            "timestamp": "now",
            "step": "one",
            "tags": [7, {"value": 1}],
            "params": [{}],
            "metrics": [{"key": "a", "value": None}],
            "experiment_ids": 7,
            "max_results": "many",
            "page_token": "x",
            "order_by": [7],
            "filter": 7,
            "source": [],
            "stage": 7,
            "paths": [7],
            "op": 7,
        }
    ).encode(),
    "patches of other types": json.dumps(
        [7, {"op": 7, "path": 7}, {"op": "add", "path": "/kvTags/a/b/c", "value": {}}, {"path": ""}]
    ).encode(),
    "a service of other types": json.dumps(
        {
            "name": "svc",
            "computeType": "ACI",
            "type": "Update",
            "containerResourceRequirements": {"cpu": "many"},
            "environmentImageRequest": {"modelIds": 7, "assets": 7, "environment": 7},
            "kvTags": 7,
            "versions": 7,
            "keys": 7,
            "location": 7,
        }
    ).encode(),
}


@pytest.fixture
def arm(azure: Emulator, cloud: Cloud, http: requests.Session) -> Caller:
    cloud.live(backends.Serving).echoes = True
    arm = Caller(http)
    arm.made("/onlineEndpoints/churn", endpoint_body())
    arm.made("/onlineEndpoints/churn/deployments/blue", deployment_body())
    return arm


def _crashes(cloud: Cloud) -> list[str]:
    """What broke; a body that breaks Microsoft's file is told as such besides, which is meant here."""
    taken = cloud.take_failures()
    return [failure.text for failure in taken if failure.kind != "contract" or ": response" in failure.text]


@pytest.mark.parametrize("kind", BODIES)
def test_arm__body_that_makes_no_sense__is_refused_and_breaks_nothing(arm: Caller, cloud: Cloud, kind: str) -> None:
    headers = {**arm.headers, "Content-Type": "application/json"}
    for method, path in WRITES:
        version = "2021-05-01-preview" if "diagnosticSettings" in path else "2022-10-01" if "Insights" in path else ""
        url = f"{ARM}{path}?api-version={version or '2024-04-01'}"
        answer = arm.http.request(method, url, data=BODIES[kind], headers=headers, timeout=30)
        assert _crashes(cloud) == [], f"{method} {path}"
        assert answer.status_code < 500, f"{method} {path}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("kind", BODIES)
def test_data_plane__body_that_makes_no_sense__is_refused_and_breaks_nothing(
    arm: Caller, cloud: Cloud, kind: str
) -> None:
    image = {"driverProgram": "d", "assets": [], "modelIds": [], "environment": {"name": "e"}}
    arm.http.headers.update(arm.headers)
    body = {"name": "svc", "computeType": "ACI", "environmentImageRequest": image}
    assert arm.http.post(f"{MMS}/services", json=body, timeout=30).status_code == 202
    arm.http.put(f"{REGIONAL}/environment/v1.0{WS}/environments/e", json={}, timeout=30)
    cloud.take_failures()
    for method, url in DATA_WRITES:
        headers = {"Content-Type": "application/json"}
        answer = arm.http.request(method, url, data=BODIES[kind], headers=headers, timeout=30)
        assert _crashes(cloud) == [], f"{method} {url}"
        assert answer.status_code < 500, f"{method} {url}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize(
    "query", ["count=x", "count=-1", "$skip=x", "$skip=-5", "$top=x", "$top=-1", "$skip=999", "tags="]
)
def test_list__with_a_query_that_makes_no_sense__breaks_nothing(arm: Caller, cloud: Cloud, query: str) -> None:
    for kind in ("onlineEndpoints", "models", "environments", "codes", "computes", "onlineEndpoints/churn/deployments"):
        answer = arm.get(f"/{kind}?{query}")
        assert answer.status_code in {200, 400}, answer.text
        assert _crashes(cloud) == [], kind
    arm.http.headers.update(arm.headers)
    for path in ("models", "services", "assets"):
        assert arm.http.get(f"{MMS}/{path}?{query}", timeout=30).status_code == 200
        assert _crashes(cloud) == [], path


@pytest.mark.parametrize(
    "name", ["%00", "%0d%0aX-Injected:%201", "é", "a%2Fb", "..", "%2e%2e", "a" * 5000, "%ff", "'", "%"]
)
def test_name__of_any_bytes__is_not_found_and_breaks_nothing(arm: Caller, cloud: Cloud, name: str) -> None:
    for kind in ("onlineEndpoints", "models", "computes", "environments", "datastores"):
        answer = arm.http.get(f"{ARM}{WS}/{kind}/{name}{VERSION}", headers=arm.headers, timeout=30)
        assert answer.status_code in {400, 404} or name in {"..", "%2e%2e"}
        assert "X-Injected" not in answer.headers
    put = arm.http.put(
        f"{ARM}{WS}/onlineEndpoints/{name}{VERSION}", json=endpoint_body(), headers=arm.headers, timeout=30
    )
    assert put.status_code in {400, 404} or name in {"..", "%2e%2e"}
    assert [text for text in _crashes(cloud) if "is not emulated" not in text] == []


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Authorization": "SharedKey"}, ""),
        ({"Authorization": "SharedKey x"}, ""),
        ({"Authorization": "Bearer x.y.z"}, ""),
        ({"Authorization": "Bearer é"}, ""),
        ({}, "sig=x"),
        ({}, "sv=x&sr=b&sig=é&se=never&sp=r"),
        ({}, "sv=x&sr=c&sig=x&se=2040-01-01&st=x&sp=r"),
    ],
)
def test_blob__with_credentials_that_are_none__is_refused(
    http: requests.Session, cloud: Cloud, headers: dict[str, Any], query: str
) -> None:
    url = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{storage.BLOB_CONTAINER}/x?{query}"
    told = {name: value.encode() for name, value in headers.items()}
    assert http.get(url, headers=told, timeout=30).status_code in {401, 403, 409}
    assert _crashes(cloud) == []


def test_blob__with_queries_and_headers_that_make_no_sense__breaks_nothing(
    http: requests.Session, cloud: Cloud
) -> None:
    sas = storage.issue_sas(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, permissions="racwdl")
    storage.write(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, "x", b"0123456789")
    base = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{storage.BLOB_CONTAINER}"
    for query in ("marker=%21%21", "marker=%C3%BF", "maxresults=x", "maxresults=-1", "delimiter=%00", "include=x"):
        listed = http.get(f"{base}?restype=container&comp=list&{query}&{sas}", timeout=30)
        assert listed.status_code in {200, 400}, query
    for name, value in (
        ("Range", "bytes=5-2"),
        ("Range", "bytes=-3"),
        ("Range", "lines=1"),
        ("If-Modified-Since", "yesterday"),
        ("If-Unmodified-Since", "yesterday"),
        ("If-Match", ","),
    ):
        answer = http.get(f"{base}/x?{sas}", headers={name: value}, timeout=30)
        expected = {"Range": {200, 416}, "If-Match": {412}}.get(name, {200})
        assert answer.status_code in expected, name
    for query, data in (("comp=blocklist", b"<x"), ("comp=block&blockid=%21", b"x"), ("comp=block", b"x")):
        assert http.put(f"{base}/y?{query}&{sas}", data=data, timeout=30).status_code == 400, query
    assert _crashes(cloud) == []


def test_entra__with_a_form_that_makes_no_sense__is_refused_by_its_code(http: requests.Session, cloud: Cloud) -> None:
    url = f"https://login.microsoftonline.com/{world.TENANT_ID}/oauth2/v2.0/token"
    assertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    heads: list[dict[str, Any]] = [{"alg": "RS256", "x5t": 7}, {"alg": 7}]
    claims: list[dict[str, Any]] = [
        {"iss": world.CLIENT_ID, "exp": "x"},
        {"iss": [], "sub": {}, "aud": [7], "exp": None},
    ]
    broken, strange = (
        ".".join(jwt.encode_part(part) for part in (json.dumps(head).encode(), json.dumps(claim).encode(), b"s"))
        for head, claim in zip(heads, claims, strict=True)
    )
    for form in (
        b"\xff\xfe",
        b"grant_type=client_credentials",
        f"grant_type=client_credentials&client_id={world.CLIENT_ID}&scope=https://management.azure.com/.default".encode(),
        *(
            f"grant_type=client_credentials&client_id={world.CLIENT_ID}&scope=https://management.azure.com/.default"
            f"&client_assertion_type={assertion}&client_assertion={text}".encode()
            for text in ("x", "a.b.c", broken, strange)
        ),
    ):
        answer = http.post(url, data=form, headers={"Content-Type": "application/x-www-form-urlencoded"}, timeout=30)
        assert answer.status_code in {400, 401}, form
        assert answer.json()["error_description"].startswith("AADSTS"), form
    assert _crashes(cloud) == []
