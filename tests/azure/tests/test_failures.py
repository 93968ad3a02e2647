"""Every row of Microsoft's printed and recorded errors, brought about by its name: same status, same codes, same members."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.azure import entra, failures, openapi, storage, world
from tests.azure.arm import on_demand
from tests.azure.state import Cloud
from tests.azure.tests import test_mms_errors
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body
from tests.azure.tests.replay import key_paths
from tests.azure.tests.test_mms_errors import BASE, MMS, _aci, _aks, _outcome

client, model, cluster = test_mms_errors.client, test_mms_errors.model, test_mms_errors.cluster

SERVICE = "churn-svc"
EP, BLUE = "/onlineEndpoints/churn", "/onlineEndpoints/churn/deployments/blue"
MLFLOW = f"{BASE}/mlflow/v2.0{world.WORKSPACE_SCOPE}/api/2.0/mlflow"
BLOB = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{storage.BLOB_CONTAINER}"
_CLUSTER = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/c"
_AKS: dict[str, Any] = {"location": world.REGION, "properties": {"computeType": "AKS", "properties": {}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a failure is to its client: a body with a status, or an operation's error, polled with a 200."""

    status: int
    body: Any
    headers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    cloud: Cloud
    arm: Caller
    client: requests.Session
    model: str


@pytest.fixture
def setting(cloud: Cloud, http: requests.Session, client: requests.Session, model: str, cluster: str) -> Setting:
    return Setting(cloud=cloud, arm=Caller(http), client=client, model=model)


def _answer(answer: requests.Response) -> Told:
    is_json = answer.headers.get("Content-Type", "").startswith("application/json")
    body = answer.json() if is_json else answer.text
    return Told(status=answer.status_code, body=body, headers=frozenset(name.lower() for name in answer.headers))


def _create(at: Setting, make: Callable[..., dict[str, Any]] = _aci) -> Told:
    return _answer(at.client.post(f"{MMS}/services", json=make(SERVICE, at.model)))


def _operation(at: Setting, name: str) -> Told:
    make = _aks if name.startswith("aks") else _aci
    return Told(
        status=200,
        body=_outcome(at.client, at.client.post(f"{MMS}/services", json=make(SERVICE, at.model)))["error"],
    )


def _token(at: Setting) -> Told:
    return _answer(requests.post(f"https://{entra.HOST}/{world.TENANT_ID}/oauth2/v2.0/token", timeout=30))


def _computed(at: Setting, **more: Any) -> Told:
    properties = {**_AKS["properties"], **more}
    status = at.arm.settle(at.arm.put("/computes/aks2", {**_AKS, "properties": properties}))
    return Told(status=200, body=status["error"])


def _deployed(at: Setting, name: str) -> Told:
    at.arm.made(EP, endpoint_body())
    if name == "mir-lro-failed":
        at.arm.made(BLUE, deployment_body())
        failures.lay(at.cloud, name)
        return Told(status=200, body=at.arm.settle(at.arm.delete(BLUE))["error"])
    failures.lay(at.cloud, name)
    return Told(status=200, body=at.arm.settle(at.arm.put(BLUE, deployment_body()))["error"])


def _blob(at: Setting) -> Told:
    sas = storage.issue_sas(at.cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, permissions="racwdl")
    headers = {"x-ms-version": "2023-11-03", "x-ms-blob-type": "BlockBlob"}
    answer = requests.put(f"{BLOB}/folder/file?{sas}", data=b"x", headers=headers, timeout=30)
    code, message = (re.search(f"<{tag}>([^<]*)", answer.text) for tag in ("Code", "Message"))
    assert code is not None
    assert message is not None
    # The printed row writes Azure's XML as JSON.
    return Told(status=answer.status_code, body={"code": code[1], "message": message[1].partition("\n")[0]})


def _run_data(at: Setting) -> Told:
    url = f"{BASE}/history/v1.0{world.WORKSPACE_SCOPE}/rundata"
    return _answer(at.client.post(url, json={"runId": "missing", "selectRunMetadata": True}))


_MEETINGS: dict[str, Callable[[Setting], Told]] = {
    "mms-404": lambda at: _answer(at.client.get(f"{MMS}/services/missing")),
    "validate-name-taken": lambda at: _answer(at.client.post(f"{MMS}/services/validate/name/{SERVICE}", json={})),
    "model-not-found-client": lambda at: _answer(at.client.get(f"{MMS}/models?name=missing&count=1")),
    "register-forbidden": lambda at: _answer(
        at.client.post(
            f"{BASE}/artifact/v2.0{world.WORKSPACE_SCOPE}/artifacts/batch/metadata/LocalUpload/x",
            json={"paths": [{"path": "a"}]},
        )
    ),
    "private-link": lambda at: _answer(at.client.get(f"{BASE}/history/v1.0{world.WORKSPACE_SCOPE}/runs/x")),
    "storage-key-off": _blob,
    "mlflow-logged-models-404": lambda at: _answer(at.client.post(f"{MLFLOW}/logged-models/search", json={})),
    "mlflow-validation": lambda at: _answer(at.client.post(f"{MLFLOW}/runs/log-batch", json={})),
    "run-not-found": _run_data,
    "aks-name-invalid": lambda at: _answer(at.arm.put("/computes/a", _AKS)),
    "aks-409": lambda at: _answer(at.arm.put("/computes/aks2", _AKS)),
    "aks-quota": _computed,
    "aks-attach-forbidden": lambda at: _computed(at, resourceId=_CLUSTER),
    "mir-name-taken": lambda at: _answer(at.arm.put(EP, endpoint_body())),
    "mir-quota": lambda at: _answer(at.arm.put(BLUE, deployment_body())),
    "arm-403-workspace": lambda at: _answer(at.arm.get("")),
    "ws-not-found": lambda at: _answer(at.arm.get("")),
    "arm-404": lambda at: _answer(at.arm.get(EP)),
    "arm-404-endpoint": lambda at: _answer(at.arm.get(EP)),
    "arm-404-model": lambda at: _answer(at.arm.get("/models/m/versions/1")),
    "arm-404-service": lambda at: _answer(at.arm.get(BLUE)),
    "arm-404-deployment": lambda at: _answer(at.arm.get(BLUE)),
    "arm-502": lambda at: _answer(at.arm.get(BLUE)),
    "arm-401-expired": lambda at: _answer(at.arm.get("")),
    "arm-429": lambda at: _answer(at.arm.get("")),
    "arm-429b": lambda at: _answer(at.arm.get("")),
}


def _meet(at: Setting, name: str) -> Told:
    if name in {"mir-crash", "mir-lro-failed"}:
        return _deployed(at, name)
    failures.lay(at.cloud, name, service=SERVICE)
    if name in _MEETINGS:
        return _MEETINGS[name](at)
    if name.startswith("aad-"):
        return _token(at)
    return _create(at) if failures.TABLE[name].meets == "POST services" else _operation(at, name)


def _rows(file: str) -> list[dict[str, Any]]:
    wire = openapi.wire_folder()
    if wire is None:
        return []
    found = json.loads((wire / "errors" / file).read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = found if isinstance(found, list) else found["errors"]
    return rows


def _named_row(row: dict[str, Any]) -> str:
    return str(row["id"])


def _numbered(row: tuple[int, dict[str, Any]]) -> str:
    return f"{row[0]}-{row[1]['from'].rpartition('/')[2].replace('.yaml#', '-')}"


def _codes(value: Any) -> list[tuple[str, Any]]:
    """Every code of an error, the outermost first."""
    if isinstance(value, list):
        return [found for entry in value for found in _codes(entry)]
    if not isinstance(value, dict):
        return []
    own = [(name, value[name]) for name in ("code", "statusCode", "error_code", "error_codes") if name in value]
    # `additionalInfo` holds no codes, but facts of one exchange.
    return own + [found for name, entry in value.items() if name != "additionalInfo" for found in _codes(entry)]


def _innermost(body: Any) -> str:
    return str([value for name, value in _codes(body) if name == "code"][-1])


# What the printed rows, as their `form` says, were printed without: the recordings of that layer have it.
_UNPRINTED = {
    "MIR": r"/error/additionalInfo(\[\].*)?|/details|/additionalInfo(\[\].*)?",
    "workspace": r"/(correlation|environment|location|time|componentName|statusCode)(/.*)?|/error/(?!code$|message$).*",
    "AAD": r"/(timestamp|trace_id|correlation_id|error_uri)",
}
# Printed by the client's name for it: what Azure itself said was lost or is an ordinary answer.
_LOST = {"model-not-found-client", "register-forbidden", "ws-not-found"}
# Azure's own status shows inside an operation, and that is polled with 200.
_SHOWN_INSIDE = {"aci-quota"}


def _same(told: Any, printed: Any, unprinted: str = r"$^") -> None:
    """Codes by value and members by path; a printed text as a part of what was told."""
    if not isinstance(printed, dict):
        text = told if isinstance(told, str) else "\n".join(_texts(told))
        assert printed in text
        assert bool(printed) is bool(text)
        return
    assert [found for found in _codes(told) if found in _codes(printed)] == _codes(printed)
    wanted, answered = set(key_paths(printed)), set(key_paths(told))
    assert wanted - answered == set()
    assert {path for path in answered - wanted if not re.fullmatch(unprinted, path)} == set()


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for entry in entries for text in _texts(entry)]


def _recorded(code: str) -> Any:
    return next(row["body"] for row in _rows("cassette_errors.json") if row["body"] and _innermost(row["body"]) == code)


def _printed(row: dict[str, Any], name: str, wire: Path) -> Any:
    """The row's payload, or the recording it refers to."""
    if name == "mir-lro-failed":
        found = json.loads((wire / "samples" / "lro_status_responses.json").read_text(encoding="utf-8"))
        return next(one for one in _errors_of(found) if one.get("code") == "InferencingClientCallFailed")
    if name == "run-not-found":
        return next(one["body"] for one in _rows("cassette_errors.json") if "/history/" in one["uri"])
    if name == "arm-404-deployment":
        # Its code is printed, its shape is the recorded one of its neighbour.
        return json.loads(json.dumps(_recorded("NoSuchService")).replace("NoSuchService", "NoSuchDeployment"))
    code = next((code for code, one in failures.RECORDED.items() if one == name), None)
    return _recorded(code) if code else row["payload"]


def _errors_of(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [found for entry in value for found in _errors_of(entry)]
    if not isinstance(value, dict):
        return []
    own = [value["error"]] if isinstance(value.get("error"), dict) else []
    return own + [found for entry in value.values() for found in _errors_of(entry)]


def test_table__holds_every_printed_row_and_every_failure_of_a_room(wire: Path) -> None:
    assert (len(_rows("real_errors.json")), len(_rows("cassette_errors.json"))) == (45, 36)
    assert {row["id"] for row in _rows("real_errors.json")} <= set(failures.TABLE) | set(failures.SEVERAL)
    assert {one for several in failures.SEVERAL.values() for one in several} <= set(failures.TABLE)
    assert set(on_demand.CATALOGUE) <= set(failures.TABLE)


@pytest.mark.parametrize("row", _rows("real_errors.json"), ids=_named_row)
def test_printed_failure__laid_by_its_name__is_told_as_printed(
    row: dict[str, Any], setting: Setting, wire: Path
) -> None:
    for name in failures.SEVERAL.get(row["id"], (row["id"],)):
        told = _meet(setting, name)
        status = 200 if name in _SHOWN_INSIDE or row["http_status"] is None else row["http_status"]
        assert told.status == status, told.body
        if name in _SHOWN_INSIDE:
            assert told.body["statusCode"] == row["http_status"]
        if name not in _LOST:
            # Printed were the codes alone, without the body around them.
            body = told.body["error"] if name == "aks-409" else told.body
            _same(body, _printed(row, name, wire), _UNPRINTED.get(row["layer"], r"$^"))
    assert not setting.cloud.faults.unused()


@pytest.mark.parametrize("version", ["2020-02-02", "2022-02-01-preview", "2024-04-01"])
def test_cluster__that_could_not_be_attached__is_told_with_the_status_that_users_printed(
    setting: Setting, version: str
) -> None:
    failures.lay(setting.cloud, "aks-attach-forbidden")
    _computed(setting, resourceId=_CLUSTER)
    for path in ("/computes/aks2", "/computes"):
        told = setting.arm.get(path, version=version).json()
        found = [one for one in told.get("value", [told]) if one["name"] == "aks2"]
        assert [one["properties"]["provisioningErrors"][0]["error"]["statusCode"] for one in found] == [500]


# Of the transport, of caches on the way, of one machine: no client reads them.
_UNREAD = {
    *("connection", "content-length", "transfer-encoding", "date", "vary", "x-cache", "x-msedge-ref"),
    *("x-aml-cluster", "request-context", "x-ms-response-type", "keep-alive"),
}


def _recorded_name(row: dict[str, Any]) -> str:
    host = urlsplit(row["uri"]).hostname or ""
    if ".blob." in host:
        return "blob-404"
    if host.endswith(".experiments.azureml.net"):
        return "registry-no-storage"
    if host.endswith(".api.azureml.ms"):
        return "run-not-found" if "/history/" in row["uri"] else "registry-asset-404"
    return failures.RECORDED[_innermost(row["body"])]


def _again(row: dict[str, Any], name: str, setting: Setting) -> requests.Response:
    """The recorded request, in this cloud's names."""
    parts = urlsplit(row["uri"])
    if name == "blob-404":
        sas = storage.issue_sas(setting.cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, permissions="r")
        place = parts.path.split("/", 2)[2]
        return requests.request(
            row["method"], f"{BLOB}/{place}?{sas}", headers={"x-ms-version": "2023-11-03"}, timeout=30
        )
    path = re.sub(
        r"/subscriptions/[^/]+/resourcegroups/[^/]+(/providers/Microsoft.MachineLearningServices/workspaces/[^/]+)?",
        lambda found: world.WORKSPACE_SCOPE if found[1] else world.RESOURCE_GROUP_SCOPE,
        parts.path,
        flags=re.IGNORECASE,
    )
    host = "eastus.api.azureml.ms" if "/history/" in path else parts.hostname
    body: Any = {"runId": "missing", "selectRunMetadata": True} if name == "run-not-found" else None
    url = f"https://{host}{path}?api-version=2024-04-01"
    return setting.client.request(row["method"], url, json=body, timeout=30)


@pytest.mark.parametrize("row", enumerate(_rows("cassette_errors.json")), ids=_numbered)
def test_recorded_failure__asked_for_again__is_told_as_recorded(
    row: tuple[int, dict[str, Any]], setting: Setting
) -> None:
    recorded = row[1]
    name = _recorded_name(recorded)
    failures.lay(setting.cloud, name)
    told = _answer(_again(recorded, name, setting))
    assert told.status == recorded["status"], told.body
    assert {header.lower() for header in recorded["response_headers"]} - _UNREAD <= told.headers
    if recorded["body"]:
        _same(told.body, recorded["body"])
        assert set(_codes(told.body)) == set(_codes(recorded["body"]))
    else:
        assert told.body == ""
    assert not setting.cloud.faults.unused()
