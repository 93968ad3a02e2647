"""The contract check against Microsoft's files: what fits passes, what is deliberately wrong is found."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import world
from tests.azure.deviations import Named
from tests.azure.messages import Body, Headers, Request, Response
from tests.azure.openapi import Contract, wire_folder
from tests.azure.routing import Params, Room
from tests.azure.schemas import Direction
from tests.azure.server import Emulator
from tests.azure.state import Cloud

DEPLOYMENT = f"{world.WORKSPACE_SCOPE}/onlineEndpoints/e1/deployments/blue"
MMS = f"/modelmanagement/v1.0{world.WORKSPACE_SCOPE}"
EXAMPLES = "specs/specification/machinelearningservices/{}/Microsoft.MachineLearningServices/{}/examples"

loose = Room("loose", host="management.azure.com")


@loose.put(world.WORKSPACE_TEMPLATE + "/onlineEndpoints/{endpoint}/deployments/{deployment}")
def put_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response.json(request.json() | {"id": "x", "name": params["deployment"], "type": "t"})


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(rooms=[loose]) as azure:
        yield azure


@pytest.fixture(scope="module")
def contract() -> Contract:
    wire = wire_folder()
    if wire is None:
        pytest.skip("needs Microsoft's files: set MLAZ_WIRE")
    return Contract(wire)


def _request(method: str, host: str, target: str, body: Any = None) -> Request:
    content = b"" if body is None else json.dumps(body).encode()
    headers = Headers({"Content-Type": "application/json"} if content else {})
    return Request(method=method, scheme="https", host=host, target=target, headers=headers, body=Body(content))


def _put(body: Any, version: str = "2024-04-01") -> Request:
    return _request("PUT", "management.azure.com", f"{DEPLOYMENT}?api-version={version}", body)


def _deployment(**changed: Any) -> dict[str, Any]:
    properties = {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "model": "m"} | changed
    return {"location": "eastus", "sku": {"name": "Default", "capacity": 1}, "properties": properties}


def _findings(contract: Contract, body: Any, direction: Direction = Direction.REQUEST) -> list[str]:
    operation = contract.operation(_put(body))
    assert operation is not None
    return [f"{found.pointer}: {found.message}" for found in contract.check_value(operation, direction, body)]


def test_operation__path_and_version__are_found_without_regard_to_case(contract: Contract) -> None:
    found = contract.operation(_put({}))
    assert str(found) == (
        "PUT 2024-04-01 /subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}/providers/Microsoft.MachineLearningServices/workspaces/{workspaceName}/onlineEndpoints/{endpointName}/deployments/{deploymentName}"
    )
    lower = _request("GET", "management.azure.com", f"{world.WORKSPACE_SCOPE.lower()}?api-version=2022-05-01")
    assert contract.operation(lower) is not None
    assert contract.operation(_put({}, "2099-01-01")) is None
    assert contract.operation(_request("GET", "login.microsoftonline.com", "/x")) is None


def test_operation__literal_path__wins_over_a_parameter(contract: Contract) -> None:
    found = contract.operation(_request("GET", "eastus.api.azureml.ms", f"{MMS}/services/svc"))
    assert found is not None
    assert found.template.endswith("/services/{id}")
    scoped = _request(
        "GET",
        "management.azure.com",
        f"{world.WORKSPACE_SCOPE}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01",
    )
    assert "{resourceType}/{resourceName}" in str(contract.operation(scoped))


def test_request__that_fits__has_no_finding(contract: Contract) -> None:
    assert _findings(contract, _deployment(requestSettings={"requestTimeout": "PT5S"})) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (_deployment(instanceTyp="Standard_DS3_v2"), "instanceTyp"),
        (_deployment(endpointComputeType="Sky"), "'Sky' is not one of"),
        (_deployment(requestSettings={"maxConcurrentRequestsPerInstance": "one"}), "'one' is not of type 'integer'"),
        (_deployment(scaleSettings={"scaleType": "Default", "minInstances": 1}), "minInstances"),
        (_deployment() | {"unknown": 1}, "unknown"),
        ({"properties": _deployment()["properties"]}, "'location' is a required property"),
        ({"location": "eastus"}, "'properties' is a required property"),
        ({"location": "eastus", "properties": {"instanceType": "x"}}, "'endpointComputeType' is a required property"),
    ],
)
def test_request__deliberately_wrong__is_found(contract: Contract, body: dict[str, Any], expected: str) -> None:
    findings = _findings(contract, body)
    assert any(expected in finding for finding in findings), findings


def test_request__read_only_property__is_tolerated_and_null_is_absent(contract: Contract) -> None:
    body = _deployment(provisioningState="Succeeded", description=None)
    assert _findings(contract, body | {"id": "x", "systemData": {"createdBy": "me"}}) == []
    assert _findings(contract, body | {"location": None}) == ["/: 'location' is a required property"]


def test_response__null__is_refused_where_the_file_says_what_may_be_null(contract: Contract) -> None:
    body = _deployment(description=None)
    assert _findings(contract, body, Direction.RESPONSE) == []
    findings = _findings(contract, body | {"location": None}, Direction.RESPONSE)
    assert findings == ["/location: None is not of type 'string'"]


def test_server__wrong_body__fails_the_test(azure: Emulator, http: requests.Session, wire: Path) -> None:
    assert azure.contract is not None
    url = f"https://management.azure.com{DEPLOYMENT}?api-version=2024-04-01"
    before = azure.contract.tally.exchanges
    assert http.put(url, json=_deployment()).status_code == 200
    assert azure.cloud.failures == ()
    http.put(url, json=_deployment(instanceTyp="x"))
    directions = {failure.text.split(": ")[1].split()[0] for failure in azure.cloud.take_failures("contract")}
    assert directions == {"request", "response"}
    assert azure.contract.tally.exchanges == before + 2
    assert "2 exchanges validated" in azure.contract.tally.summary()


def test_check__undocumented_status_and_missing_body__are_found(contract: Contract) -> None:
    request = _request("GET", "eastus.api.azureml.ms", f"{MMS}/services/svc")
    [status] = contract.check(request, Response.json({}, status=206))
    assert "no answer with status 206" in str(status)
    [empty] = contract.check(request, Response.empty(200))
    assert "the answer has no body" in str(empty)


def test_check__named_deviation__is_counted_and_no_failure(wire: Path) -> None:
    named = Named(operation=r"^GET 2019-09-30 .*/services/\{id\}$", finding="status 206", reason="for the test")
    contract = Contract(wire, named=[named])
    request = _request("GET", "eastus.api.azureml.ms", f"{MMS}/services/svc")
    assert contract.check(request, Response.json({}, status=206)) == []
    assert [deviation.reason for deviation in contract.tally.deviations] == ["for the test"]
    assert contract.tally.deviating_exchanges == 1


def _examples(wire: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for plane, version in (("resource-manager", "stable/2024-04-01"), ("data-plane", "preview/2019-09-30")):
        for path in sorted((wire / EXAMPLES.format(plane, version)).rglob("*.json")):
            yield path, json.loads(path.read_text(encoding="utf-8"))


# Where an example contradicts its own file: null for what no file calls nullable, and an enumeration in the old spelling.
_CONTRADICTIONS = {
    "KubernetesCompute.json": r"(vcName|nvidia\.com/gpu): None is not",
    "ComputeInstance.json": r"/properties/properties/errors: None is not",
    "createOrUpdate.json": r"/properties/dataType: 'UriFile'",
    "get.json": r"/properties/dataType: 'UriFile'",
    "list.json": r"/properties/dataType: 'UriFile'",
    "listKeys.json": r"None is not of type 'string'",
    "listStorageAccountKeys.json": r"None is not of type 'string'",
}


def _contradicts_itself(path: Path, text: str) -> bool:
    return re.search(_CONTRADICTIONS.get(path.name, r"$^"), text) is not None


def _operations_by_example(contract: Contract) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for plane, version in (("resource-manager", "2024-04-01"), ("data-plane", "2019-09-30")):
        for operation in contract.operations(plane, version):
            for example in operation.content.get("x-ms-examples", {}).values():
                found[str((operation.file.path.parent / example["$ref"]).resolve())] = operation
    return found


def test_schemas__microsofts_own_examples__fit_them(contract: Contract, wire: Path) -> None:
    """A schema of ours that refuses what Microsoft shows as right would prove nothing."""
    operations = _operations_by_example(contract)
    checked, wrong = 0, list[tuple[Path, str]]()
    for path, example in _examples(wire):
        operation = operations.get(str(path.resolve()))
        if operation is None:
            continue
        for status, answer in example["responses"].items():
            if "body" in answer and int(status) < 400:
                checked += 1
                findings = contract.check_value(operation, Direction.RESPONSE, answer["body"], int(status))
                wrong += [(path, f"{status} {found.pointer}: {found.message}") for found in findings]
        body = next((found[1]["name"] for found in operation.parameters if found[1]["in"] == "body"), None)
        if body in example["parameters"]:
            checked += 1
            findings = contract.check_value(operation, Direction.REQUEST, example["parameters"][body])
            wrong += [(path, f"request {found.pointer}: {found.message}") for found in findings]
    assert checked > 150
    assert [f"{path.name}: {text}" for path, text in wrong if not _contradicts_itself(path, text)] == []
    assert len(wrong) == 22


def test_schemas__every_operations_bodies__can_be_checked(contract: Contract) -> None:
    """No schema is broken: each refuses, or takes, a value that is plainly none of Azure's without an error."""
    for plane, version in (("resource-manager", "2024-04-01"), ("data-plane", "2019-09-30")):
        operations = contract.operations(plane, version)
        assert len(operations) > 50
        refusing = 0
        for operation in operations:
            value = copy.deepcopy({"no-such-property": {"nor": "this"}})
            refusing += bool(contract.check_value(operation, Direction.REQUEST, value))
            refusing += bool(contract.check_value(operation, Direction.RESPONSE, value))
        assert refusing > len(operations) / 2
