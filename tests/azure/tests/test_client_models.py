"""The data plane's files with what the clients' own REST models add: wider by exactly that, and as strict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.azure import client_models, world
from tests.azure.messages import Body, Headers, Request
from tests.azure.openapi import Contract
from tests.azure.schemas import Direction
from tests.azure.tests.measure import TOUR, Count

MMS = f"/modelmanagement/v1.0{world.WORKSPACE_SCOPE}"
FILE = "specs/specification/machinelearningservices/data-plane/Microsoft.MachineLearningServices/preview/2019-09-30"


@pytest.fixture
def contract(wire: Path) -> Contract:
    return Contract(wire)


def _findings(contract: Contract, method: str, path: str, value: Any, direction: Direction) -> list[str]:
    request = Request(
        method=method, scheme="https", host="eastus.api.azureml.ms", target=path, headers=Headers(), body=Body()
    )
    operation = contract.operation(request)
    assert operation is not None
    return [f"{found.pointer}: {found.message}" for found in contract.check_value(operation, direction, value)]


def _create(contract: Contract, value: Any) -> list[str]:
    return _findings(contract, "POST", f"{MMS}/services", value, Direction.REQUEST)


def _service(contract: Contract, value: Any) -> list[str]:
    return _findings(contract, "GET", f"{MMS}/services/svc", {"computeType": "ACI", **value}, Direction.RESPONSE)


def _aci(**more: Any) -> dict[str, Any]:
    return {"name": "svc", "computeType": "ACI", **more}


def test_member__that_only_the_clients_model_has__is_taken_and_by_the_file_alone_refused(
    wire: Path, contract: Contract
) -> None:
    body = _aci(overwrite=True, vnetConfiguration={"vnetName": "v", "subnetName": "s"})
    assert _create(contract, body) == []
    [alone] = _create(Contract(wire, files_alone=True), body)
    assert "'overwrite', 'vnetConfiguration' were unexpected" in alone


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (_aci(overwrit=True), "'overwrit' was unexpected"),
        (_aci(overwrite="yes"), "/overwrite: 'yes' is not of type 'boolean'"),
        (_aci(vnetConfiguration={"vnet": "v"}), "/vnetConfiguration: Additional properties are not allowed ('vnet'"),
        ({"computeType": "ACI", "overwrite": True}, "'name' is a required property"),
        (_aci(computeType="Sky"), "'Sky' is not one of"),
        (_aci(versions={}), "'versions' was unexpected"),
        (
            {"name": "e", "computeType": "AKSENDPOINT", "versions": {"blue": {"name": "b", "computeTyp": "AKS"}}},
            "/versions/blue: 'computeType' is a required property",
        ),
        (
            _aci(containerResourceRequirements={"cpuLimit": "1"}),
            "/containerResourceRequirements/cpuLimit: '1' is not of type 'number'",
        ),
    ],
)
def test_request__deliberately_wrong__is_found(contract: Contract, body: dict[str, Any], expected: str) -> None:
    findings = _create(contract, body)
    assert any(expected in finding for finding in findings), findings


def test_response__deliberately_wrong__is_found(contract: Contract) -> None:
    assert _service(contract, {"createdBy": {"userObjectId": "x"}, "state": "Unschedulable"}) == []
    assert "'userObjectID' was unexpected" in _service(contract, {"createdBy": {"userObjectID": "x"}})[0]
    assert "'Broken' is not one of" in _service(contract, {"state": "Broken"})[0]


def test_key_type__which_the_file_calls_an_integer__is_one_of_its_words(wire: Path, contract: Contract) -> None:
    path = f"{MMS}/services/svc/regenerateKeys"
    for told, is_right in (("Primary", True), ("Tertiary", False), (1, False)):
        assert (_findings(contract, "POST", path, {"keyType": told}, Direction.REQUEST) == []) is is_right
    assert _findings(Contract(wire, files_alone=True), "POST", path, {"keyType": "Primary"}, Direction.REQUEST)


def test_patch__of_a_service__takes_any_value_and_no_other_member(contract: Contract) -> None:
    path = f"{MMS}/services/svc"
    patches = [{"op": "replace", "path": "/x", "value": value} for value in (3, "text", True, [1], {"a": 1})]
    assert _findings(contract, "PATCH", path, patches, Direction.REQUEST) == []
    assert _findings(contract, "PATCH", path, [{"op": "replace", "patch": "/x"}], Direction.REQUEST)


def test_extended__definition__gains_the_models_members_and_loses_nothing(wire: Path) -> None:
    """Held against the two sources themselves: every member is of the file or of a client's model of that name."""
    path = wire / FILE / "modelManagement.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    after = client_models.overlay(wire)(path, before)
    models = [
        json.loads((wire / "client_models" / f"azureml_{name}.json").read_text(encoding="utf-8"))
        for name in ("mlflow_mms", "core_restclient")
    ]
    gained = 0
    for name, definition in after["definitions"].items():
        own = before["definitions"].get(name, {})
        assert set(own.get("properties", {})) <= set(definition.get("properties", {}))
        assert set(own.get("required", ())) <= set(definition.get("required", ()))
        new = set(definition.get("properties", {})) - set(own.get("properties", {}))
        known = {one["key"] for model in models for one in model.get(name, {}).get("attributes", {}).values()}
        assert new <= known, name
        gained += len(new)
    assert after["paths"] == before["paths"]
    assert gained > 50


def test_count__of_a_whole_run__fails_above_five_in_a_hundred() -> None:
    count = Count(modules=set(TOUR) - {"test_mlflow"}, exchanges=100, alone=40, extended=5)
    assert not count.is_whole
    count.add(Count(modules={"test_mlflow"}, exchanges=20, alone=1, extended=1))
    assert (count.is_whole, count.is_within) == (True, True)
    count.add(Count(extended=1))
    assert not count.is_within
    assert "41 with deviations (34.2 %)" in count.lines()[1]
