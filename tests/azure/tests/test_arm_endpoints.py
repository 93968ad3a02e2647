"""Online endpoints and deployments: their course, and the rules Azure enforces."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.azure import roles, world
from tests.azure.arm import endpoints, operations, policies, quotas, workspaces
from tests.azure.clock import FakeClock
from tests.azure.roles import Assignments
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body
from tests.azure.transitions import after_polls, after_seconds

EP = "/onlineEndpoints/churn"
BLUE = f"{EP}/deployments/blue"


@pytest.fixture
def arm(azure: Emulator, http: requests.Session) -> Caller:
    return Caller(http)


def _code(answer: requests.Response) -> str:
    return str(answer.json()["error"]["code"])


def _detail(answer: requests.Response) -> str:
    return str(answer.json()["error"]["details"][0]["message"])


def _blue_green(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    for name in ("blue", "green"):
        arm.made(f"{EP}/deployments/{name}", deployment_body())


def test_endpoint__course__is_the_recorded_one(arm: Caller) -> None:
    created = arm.put(EP, endpoint_body(description="d", properties={"own": "1"}))
    assert created.status_code == 201
    shown = created.json()["properties"]
    assert shown["provisioningState"] == "Creating"
    assert shown["scoringUri"] is None
    assert created.headers["x-ms-async-operation-timeout"] == "PT30M"
    assert "Retry-After" not in created.headers
    first = arm.http.get(created.headers["Azure-AsyncOperation"], headers=arm.headers, timeout=30)
    assert first.json()["status"] == "Updating"
    assert first.json()["percentComplete"] == 0.0
    assert "Retry-After" not in first.headers
    assert arm.settle(created)["status"] == "Succeeded"
    done = arm.get(EP).json()["properties"]
    assert done["provisioningState"] == "Succeeded"
    assert done["scoringUri"] == "https://churn.eastus.inference.ml.azure.com/score"
    assert done["properties"]["own"] == "1"


def test_endpoint__update__shows_its_values_when_it_succeeded(arm: Caller) -> None:
    arm.made(EP, endpoint_body(description="old"))
    body = endpoint_body(description="new") | {"tags": {"a": "b"}}
    updated = arm.put(EP, body)
    assert updated.json()["tags"] == {}
    assert updated.json()["properties"]["description"] == "old"
    assert updated.json()["properties"]["provisioningState"] == "Updating"
    arm.settle(updated)
    assert arm.get(EP).json()["tags"] == {"a": "b"}


def test_endpoint__auth_mode__never_changes(arm: Caller) -> None:
    arm.made(EP, endpoint_body(authMode="AMLToken"))
    assert arm.made(EP, endpoint_body(authMode="Key"))["properties"]["authMode"] == "AMLToken"


@pytest.mark.parametrize("name", ["a", "ab", "1abc", "abc-", "a_b-c", "a" * 33])
def test_endpoint__bad_name__is_refused(arm: Caller, name: str) -> None:
    answer = arm.put(f"/onlineEndpoints/{name}", endpoint_body())
    assert (answer.status_code, _code(answer)) == (400, "BadRequest")


def test_endpoint__name_of_a_stranger_in_the_region__is_refused(arm: Caller, cloud: Cloud) -> None:
    cloud.state(endpoints.Endpoints).taken_elsewhere.add((world.REGION, "churn"))
    answer = arm.put(EP, endpoint_body())
    assert answer.status_code == 400
    assert _detail(answer).startswith("There is already an endpoint with this name")


def test_endpoint__in_updating__refuses_every_other_write(arm: Caller, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    cloud.scripts.add("online-endpoint-update", after_polls(20, "Updating", "Succeeded"))
    assert arm.put(EP, endpoint_body()).status_code == 201
    for answer in (
        arm.put(EP, endpoint_body()),
        arm.delete(EP),
        arm.put(BLUE, deployment_body()),
        arm.patch(EP, {"tags": {}}),
    ):
        assert (answer.status_code, _code(answer)) == (409, "Conflict")


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ({"blue": 50}, "sum of traffic"),
        ({"blue": 60, "green": 60}, "sum of traffic"),
        ({"red": 100}, "does not exist"),
        ({"blue": 101}, "from 0 to 100"),
    ],
)
def test_traffic__that_makes_no_sense__is_refused(arm: Caller, traffic: dict[str, int], expected: str) -> None:
    _blue_green(arm)
    answer = arm.put(EP, endpoint_body(traffic=traffic))
    assert answer.status_code == 400
    assert expected in _detail(answer)


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [({"green": 60}, "50 percent"), ({"blue": 10}, "live traffic"), ({"red": 10}, "does not exist")],
)
def test_mirror_traffic__that_is_not_allowed__is_refused(arm: Caller, mirror: dict[str, int], expected: str) -> None:
    _blue_green(arm)
    answer = arm.put(EP, endpoint_body(traffic={"blue": 100}, mirrorTraffic=mirror))
    assert answer.status_code == 400
    assert expected in _detail(answer)


def test_traffic__shared_and_mirrored__is_kept(arm: Caller) -> None:
    _blue_green(arm)
    shown = arm.made(EP, endpoint_body(traffic={"blue": 100, "green": 0}, mirrorTraffic={"green": 10}))["properties"]
    assert (shown["traffic"], shown["mirrorTraffic"]) == ({"blue": 100}, {"green": 10})


def test_deployment__with_traffic__is_not_deleted(arm: Caller) -> None:
    _blue_green(arm)
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    deleted = arm.delete(BLUE)
    assert deleted.status_code == 202
    assert deleted.json() is None
    status = arm.settle(deleted)
    assert status["error"]["code"] == "InferencingClientCallFailed"
    assert "non-zero traffic weight, Current traffic [100]" in status["error"]["message"]
    assert arm.get(BLUE).json()["properties"]["provisioningState"] == "Succeeded"
    arm.made(EP, endpoint_body(traffic={}))
    assert arm.settle(arm.delete(BLUE))["status"] == "Succeeded"
    assert arm.get(BLUE).status_code == 404


def test_deployment__the_twenty_first__is_refused(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    for number in range(20):
        arm.made(f"{EP}/deployments/dep{number}", deployment_body(instanceType="Standard_DS1_v2"))
    assert "20 deployments" in _detail(arm.put(f"{EP}/deployments/dep20", deployment_body()))


def test_deployment__of_an_endpoint_that_is_not_there__has_no_parent(arm: Caller) -> None:
    answer = arm.put(BLUE, deployment_body())
    assert (answer.status_code, _code(answer)) == (404, "ParentResourceNotFound")


def test_deployment__beyond_the_quota__is_refused(arm: Caller, cloud: Cloud) -> None:
    cloud.state(quotas.Quotas).limits[(world.REGION, "standardFSv2Family")] = 6
    arm.made(EP, endpoint_body())
    answer = arm.put(BLUE, deployment_body(instanceType="Standard_F4s_v2"))
    assert answer.status_code == 400
    assert "Not enough quota available for Standard_F4s_v2" in _detail(answer)
    assert "Current usage/limit: 0/6. Additional needed: 8" in _detail(answer)


@pytest.mark.parametrize(
    ("properties", "capacity"),
    [({"instanceType": "Standard_Nope"}, 1), ({}, 51), ({}, 0), ({"requestSettings": {"requestTimeout": "PT4M"}}, 1)],
)
def test_deployment__beyond_the_limits__is_refused(arm: Caller, properties: dict[str, Any], capacity: int) -> None:
    arm.made(EP, endpoint_body())
    assert arm.put(BLUE, deployment_body(capacity=capacity, **properties)).status_code == 400


def test_deployment__instance_type__never_changes(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    arm.made(BLUE, deployment_body())
    assert "cannot be changed" in _detail(arm.put(BLUE, deployment_body(instanceType="Standard_DS3_v2")))


def test_deployment__unknown_model__is_not_found(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    answer = arm.put(BLUE, deployment_body(model=f"{world.WORKSPACE_SCOPE}/models/no/versions/1"))
    assert answer.status_code == 404


def test_deployment__scripted_failure__is_told_as_azure_tells_it(arm: Caller, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    cloud.scripts.add(
        "online-deployment-create",
        after_polls(3, "Updating", "Failed", error={"code": "ResourceNotReady", "message": "crashed"}),
        name="churn/blue",
        extra={"log": "Traceback: no module named sklearn"},
    )
    status = arm.settle(arm.put(BLUE, deployment_body()))
    assert status["status"] == "Failed"
    info = status["error"]["additionalInfo"][0]
    assert info["type"] == "MmsOperation"
    assert info["info"]["error"]["code"] == "ResourceNotReady"
    assert arm.get(BLUE).json()["properties"]["provisioningState"] == "Failed"
    logs = arm.post(f"{BLUE}/getLogs", {"containerType": "InferenceServer", "tail": 10}).json()["content"]
    assert "no module named sklearn" in logs
    assert "unrecoverable state" in _detail(arm.put(BLUE, deployment_body()))
    assert arm.settle(arm.delete(BLUE))["status"] == "Succeeded"
    assert arm.made(BLUE, deployment_body())["properties"]["provisioningState"] == "Succeeded"


def test_operation__in_seconds__moves_with_the_clock(arm: Caller, cloud: Cloud, fake_clock: FakeClock) -> None:
    cloud.scripts.add("online-endpoint-create", after_seconds(120, "Creating", "Succeeded"))
    arm.put(EP, endpoint_body())
    for _ in range(5):
        assert arm.get(EP).json()["properties"]["provisioningState"] == "Creating"
    fake_clock.advance(121)
    assert arm.get(EP).json()["properties"]["provisioningState"] == "Succeeded"


def test_operation__retry_after__when_it_is_switched_on(arm: Caller, cloud: Cloud) -> None:
    cloud.state(operations.Operations).retry_after_s = 1
    created = arm.put(EP, endpoint_body())
    polled = arm.http.get(created.headers["Azure-AsyncOperation"], headers=arm.headers, timeout=30)
    assert polled.headers["Retry-After"] == "1"


def test_patch__from_2022_05__carries_no_traffic(arm: Caller, azure: Emulator) -> None:
    _blue_green(arm)
    refused = arm.patch(EP, {"properties": {"traffic": {"blue": 100}}})
    assert refused.status_code == 400
    if azure.contract is not None:
        assert [str(one.kind) for one in azure.cloud.take_failures("contract")] == ["contract"]
    older = arm.patch(EP, {"properties": {"traffic": {"blue": 100}}}, version="2022-02-01-preview")
    assert older.status_code == 202
    arm.settle(older)
    assert arm.get(EP).json()["properties"]["traffic"] == {"blue": 100}
    tagged = arm.patch(EP, {"tags": {"team": "risk"}})
    arm.settle(tagged)
    assert arm.get(EP).json()["tags"] == {"team": "risk"}


def test_patch__of_a_deployment__scales_it(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    arm.made(BLUE, deployment_body())
    scaled = arm.patch(BLUE, {"sku": {"name": "Default", "capacity": 3}})
    assert scaled.status_code == 202
    assert arm.settle(scaled)["status"] == "Succeeded"
    assert arm.get(BLUE).json()["sku"]["capacity"] == 3


def test_keys__are_listed_and_made_anew(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    before = arm.post(f"{EP}/listKeys").json()
    answer = arm.post(f"{EP}/regenerateKeys", {"keyType": "Primary"})
    assert answer.status_code == 202
    arm.settle(answer)
    after = arm.post(f"{EP}/listKeys").json()
    assert after["primaryKey"] != before["primaryKey"]
    assert after["secondaryKey"] == before["secondaryKey"]


def test_delete__of_an_endpoint__takes_its_deployments_along(arm: Caller) -> None:
    _blue_green(arm)
    assert arm.settle(arm.delete(EP))["status"] == "Succeeded"
    gone = arm.get(EP)
    assert (gone.status_code, _code(gone)) == (404, "ResourceNotFound")
    assert arm.get(BLUE).status_code == 404
    assert arm.delete(EP).status_code == 204
    arm.made(EP, endpoint_body())
    assert arm.get(f"{EP}/deployments").json() == {"value": []}


def test_role__that_does_not_suffice__is_refused_by_action(arm: Caller, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    assignments = cloud.state(Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.WORKSPACE_SCOPE)
    assert arm.get(EP).status_code == 200
    for answer, action in (
        (arm.put(EP, endpoint_body()), "onlineEndpoints/write"),
        (arm.delete(BLUE), "onlineEndpoints/deployments/delete"),
        (arm.post(f"{EP}/listKeys"), "onlineEndpoints/listKeys/action"),
    ):
        assert (answer.status_code, _code(answer)) == (403, "AuthorizationFailed")
        assert f"workspaces/{action}'" in answer.json()["error"]["message"]


def test_policy__that_requires_a_tag__denies_what_lacks_it(arm: Caller, cloud: Cloud) -> None:
    cloud.state(policies.Policies).required.append("owner")
    denied = arm.put(EP, endpoint_body())
    assert (denied.status_code, _code(denied)) == (403, "RequestDisallowedByPolicy")
    assert denied.json()["error"]["additionalInfo"][0]["type"] == "PolicyViolation"
    assert arm.put(EP, endpoint_body() | {"tags": {"Owner": "me"}}).status_code == 201


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (EP, endpoint_body()),
        (BLUE, deployment_body()),
        ("/computes/aks1", {"location": world.REGION, "properties": {"computeType": "Kubernetes"}}),
        (f"{world.SUBSCRIPTION_SCOPE}/resourceGroups/rg-new", {"location": world.REGION}),
    ],
)
def test_policy__of_tags__holds_for_every_resource_that_has_them(
    arm: Caller, cloud: Cloud, path: str, body: dict[str, Any]
) -> None:
    if path == BLUE:
        arm.made(EP, endpoint_body())
    rules = cloud.state(policies.Policies)
    rules.required.append("owner")
    assert _code(arm.put(path, body)) == "RequestDisallowedByPolicy"
    rules.required.clear()
    rules.added["cost-center"] = "42"
    assert arm.put(path, body).status_code == 201
    assert arm.get(path).json()["tags"] == {"cost-center": "42"}


def test_policy__that_adds_a_tag__adds_it(arm: Caller, cloud: Cloud) -> None:
    cloud.state(policies.Policies).added["cost-center"] = "42"
    assert arm.made(EP, endpoint_body())["tags"] == {"cost-center": "42"}


def test_v1_legacy_mode__forbids_the_v2_plane(arm: Caller, cloud: Cloud) -> None:
    cloud.state(workspaces.Workspaces).default.v1_legacy_mode = True
    answer = arm.put(EP, endpoint_body())
    assert answer.status_code == 400
    assert "V1LegacyMode == true" in _detail(answer)


def test_not_found__where_arm_still_believes__is_told_by_the_service(arm: Caller, cloud: Cloud) -> None:
    remembered = cloud.state(endpoints.Endpoints).remembered
    remembered |= {f"{world.WORKSPACE_SCOPE}{EP}".lower(), f"{world.WORKSPACE_SCOPE}{BLUE}".lower()}
    assert arm.get(EP).json()["error"]["details"][0]["code"] == "NoSuchEndpoint"
    assert arm.get(BLUE).json()["error"]["details"][0]["code"] == "NoSuchService"


def test_list__of_endpoints__comes_in_pages(arm: Caller) -> None:
    for name in ("one", "two", "three"):
        arm.made(f"/onlineEndpoints/{name}", endpoint_body())
    first = arm.get("/onlineEndpoints?count=2").json()
    assert [one["name"] for one in first["value"]] == ["one", "two"]
    rest = arm.http.get(first["nextLink"], headers=arm.headers, timeout=30).json()
    assert [one["name"] for one in rest["value"]] == ["three"]
    assert "nextLink" not in rest


def test_skus__of_a_deployment__are_told(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    arm.made(BLUE, deployment_body())
    (sku,) = arm.get(f"{BLUE}/skus").json()["value"]
    assert sku["capacity"]["maximum"] == 50
