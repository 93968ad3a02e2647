"""Every recorded or printed failure of ARM, the machine learning service and computes can be brought about."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import world
from tests.azure.arm import on_demand
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests import replay
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body
from tests.azure.tests.player import Player, is_compared

EP = "/onlineEndpoints/churn"
BLUE = f"{EP}/deployments/blue"
_LAYERS = {"ARM", "MIR", "ARM/MIR", "compute RP", "workspace", "azureml-core client"}
# Told by several names here, by another room, or by a client from an answer without an error.
_ELSEWHERE = {
    "arm-404-codes": ("arm-404", "arm-404-endpoint", "arm-404-service", "arm-404-deployment", "arm-404-model"),
    "private-link": (),
    "model-not-found-client": (),
}
_CLUSTER = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/c"
_REQUESTS: dict[str, tuple[str, str, Any]] = {
    r"/workspaces/[^/]+$": ("GET", "", None),
    r"/onlineEndpoints/[^/]+$": ("PUT", EP, endpoint_body()),
    r"/deployments/[^/]+$": ("PUT", BLUE, deployment_body()),
    r"/computes/[^/]+$": (
        "PUT",
        "/computes/aks1",
        {"location": "eastus", "properties": {"computeType": "AKS", "properties": {}}},
    ),
    r"/models/": ("GET", "/models/m/versions/1", None),
    "": ("GET", EP, None),
}


@pytest.fixture
def arm(azure: Emulator, http: requests.Session) -> Caller:
    return Caller(http)


def _errors(wire: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((wire / "errors" / "real_errors.json").read_text(encoding="utf-8"))[
        "errors"
    ]
    return found


def test_catalogue__holds_every_printed_failure_of_these_rooms(wire: Path) -> None:
    rows = {row["id"] for row in _errors(wire) if row["layer"] in _LAYERS}
    assert len(rows) >= 17
    known = set(on_demand.CATALOGUE)
    assert rows - known - set(_ELSEWHERE) == set()
    assert {name for names in _ELSEWHERE.values() for name in names} <= known


def _words(payload: Any) -> set[str]:
    """The codes a printed payload has, and the beginning of its message."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    codes = set(re.findall(r'"code": "(\w+)"', text))
    return codes or {text[:40]}


@pytest.mark.parametrize("name", sorted(on_demand.CATALOGUE))
def test_failure__by_its_name__is_told(name: str, arm: Caller, cloud: Cloud, wire: Path) -> None:
    failure = on_demand.CATALOGUE[name]
    row = next((row for row in _errors(wire) if row["id"] == name), None)
    if isinstance(failure, on_demand.Refused):
        method, path, body = _REQUESTS[failure.path]
        failure.lay(cloud)
        answer = arm.ask(method if failure.method == "*" else failure.method, path, body)
        assert answer.status_code >= 400
        told, status = answer.text, answer.status_code
    else:
        told, status = json.dumps(_ended(arm, cloud, failure)), 200
    if row is not None and isinstance(row["payload"], dict | str) and "see " not in str(row["payload"])[:4]:
        assert status == row["http_status"]
        if "Exception" not in str(row["payload"]):
            missing = {word for word in _words(row["payload"]) if word not in told}
            assert not missing, told
    assert not cloud.faults.unused()


def _ended(arm: Caller, cloud: Cloud, failure: on_demand.Ended) -> dict[str, Any]:
    if failure.kind.startswith("compute"):
        failure.lay(cloud)
        resource = {"resourceId": _CLUSTER} if failure.kind == "compute-attach" else {}
        body = {"location": "eastus", "properties": {"computeType": "AKS", "properties": {}, **resource}}
        return arm.settle(arm.put("/computes/aks1", body))["error"]  # type: ignore[no-any-return]
    arm.made(EP, endpoint_body())
    if failure.kind == "online-deployment-delete":
        arm.made(BLUE, deployment_body())
        failure.lay(cloud)
        return arm.settle(arm.delete(BLUE))["error"]  # type: ignore[no-any-return]
    failure.lay(cloud)
    return arm.settle(arm.put(BLUE, deployment_body()))["error"]  # type: ignore[no-any-return]


def test_recorded_errors__of_these_rooms__come_about(
    azure: Emulator, cloud: Cloud, http: requests.Session, wire: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads((wire / "errors" / "cassette_errors.json").read_text(encoding="utf-8"))
    made, wrong = 0, []
    for row in rows:
        recorded = replay.Recorded(
            method=row["method"],
            url=row["uri"],
            request=None,
            status=row["status"],
            headers={name.lower(): values[0] for name, values in row["response_headers"].items()},
            body=row["body"],
            origin=row["from"],
        )
        if not is_compared(recorded):
            continue
        azure.reset()
        found = Player(http, cloud).play(recorded)
        assert found is not None
        made += 1
        if found:
            wrong.append(f"{recorded.origin}: {found}")
    with capsys.disabled():
        print(f"\n  recorded errors of ARM's rooms: {made} of {len(rows)} rows brought about")
    assert not wrong, "\n".join(wrong)
    assert made >= 14


def test_expired_token__in_a_long_poll__is_refused_as_recorded(arm: Caller, cloud: Cloud) -> None:
    created = arm.put(EP, endpoint_body())
    on_demand.lay(cloud, "arm-401-expired")
    polled = arm.http.get(created.headers["Azure-AsyncOperation"], headers=arm.headers, timeout=30)
    assert polled.status_code == 401
    assert polled.json()["error"]["code"] == "ExpiredAuthenticationToken"
    assert polled.headers["x-ms-failure-cause"] == "gateway"
    assert "WWW-Authenticate" in polled.headers


def test_private_workspace__its_regional_host__refuses_the_runner(arm: Caller, cloud: Cloud) -> None:
    status = arm.settle(arm.patch("", {"properties": {"publicNetworkAccess": "Disabled"}}))
    assert status["status"] == "Succeeded"
    url = f"https://eastus.api.azureml.ms/rp/workspaces{world.WORKSPACE_SCOPE}/computes"
    answer = arm.http.get(url, headers=arm.headers, timeout=30)
    assert answer.status_code == 403
    assert "outside of the designated private link" in answer.json()["error"]["message"]
    assert arm.get("").json()["properties"]["publicNetworkAccess"] == "Disabled"
