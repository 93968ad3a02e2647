"""What ARM holds resources to: where they are, who they act as, how lists are cut, and what is kept beside them."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.azure import roles, world
from tests.azure.arm import paging, quotas, subscriptions, workspaces
from tests.azure.clock import FakeClock
from tests.azure.roles import Assignments
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import ARM, Caller, deployment_body, endpoint_body

EP = "/onlineEndpoints/churn"
BLUE = f"{EP}/deployments/blue"
GROUP = world.RESOURCE_GROUP_SCOPE
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/scorer"
AKS = f"{GROUP}/providers/Microsoft.ContainerService/managedClusters/aks"
CLUSTER = {"location": world.REGION, "properties": {"computeType": "Kubernetes", "resourceId": AKS}}
DIAGNOSTICS = "/providers/Microsoft.Insights/diagnosticSettings"
SETTING = {"workspaceId": "/subscriptions/s/workspaces/logs", "logs": [], "metrics": []}


@pytest.fixture
def arm(azure: Emulator, http: requests.Session) -> Caller:
    return Caller(http)


def _told(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("path", "body"), [(EP, endpoint_body()), (BLUE, deployment_body()), ("/computes/aks1", CLUSTER)]
)
def test_resource__without_or_with_another_location__is_refused(
    arm: Caller, cloud: Cloud, path: str, body: dict[str, Any]
) -> None:
    if path == BLUE:
        arm.made(EP, endpoint_body())
    lacking = {name: value for name, value in body.items() if name != "location"}
    assert _told(arm.put(path, lacking)) == (400, "LocationRequired")
    cloud.take_failures("contract")
    arm.made(path, body)
    moved = arm.put(path, {**body, "location": "westus2"})
    assert _told(moved) == (409, "InvalidResourceLocation")
    assert arm.put(path, {**body, "location": "East US"}).status_code in {200, 201}


def test_group__made_listed_and_found__stays_where_it_is(arm: Caller) -> None:
    fresh = f"{world.SUBSCRIPTION_SCOPE}/resourceGroups/rg-new"
    assert arm.ask("HEAD", fresh).status_code == 404
    assert _told(arm.get(fresh)) == (404, "ResourceGroupNotFound")
    made = arm.put(fresh, {"location": "West US 2", "tags": {"a": "b"}})
    assert (made.status_code, made.json()["location"], made.json()["tags"]) == (201, "westus2", {"a": "b"})
    assert arm.put(fresh, {"location": "westus2"}).status_code == 200
    assert _told(arm.put(fresh, {"location": "eastus"})) == (409, "InvalidResourceGroupLocation")
    assert arm.ask("HEAD", fresh).status_code == 204
    listed = arm.get(f"{world.SUBSCRIPTION_SCOPE}/resourceGroups").json()["value"]
    assert [one["name"] for one in listed] == [world.RESOURCE_GROUP, "rg-new"]


@pytest.mark.parametrize(
    ("kind", "has_own", "given"),
    [
        ("SystemAssigned", True, {}),
        ("UserAssigned", False, {IDENTITY: {}}),
        ("SystemAssigned,UserAssigned", True, {IDENTITY: {}}),
    ],
)
def test_identity__of_each_kind__is_told_back(arm: Caller, kind: str, has_own: bool, given: dict[str, Any]) -> None:
    asked = {"type": kind, **({"userAssignedIdentities": given} if given else {})}
    told = arm.made(EP, endpoint_body() | {"identity": asked})["identity"]
    assert told["type"] == kind
    assert (told["principalId"] != "00000000-0000-0000-0000-000000000000") is has_own
    for one in told.get("userAssignedIdentities", {}).values():
        assert one["principalId"] not in {one["clientId"], told["principalId"]}
    assert set(told.get("userAssignedIdentities", {})) == set(given)


def test_identity__that_the_caller_may_not_use__is_refused(arm: Caller, cloud: Cloud) -> None:
    assignments = cloud.state(Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.DATA_SCIENTIST, world.WORKSPACE_SCOPE)
    body = endpoint_body() | {"identity": {"type": "UserAssigned", "userAssignedIdentities": {IDENTITY: {}}}}
    refused = arm.put(EP, body)
    assert _told(refused) == (403, "LinkedAuthorizationFailed")
    assert IDENTITY in refused.json()["error"]["message"]
    arm.made(EP, endpoint_body())
    patched = arm.patch(EP, {"identity": body["identity"]})
    assert _told(patched) == (403, "LinkedAuthorizationFailed")


def test_deployment__with_probes_collector_and_egress__has_them_told_back(arm: Caller) -> None:
    arm.made(EP, endpoint_body())
    probe = {
        "failureThreshold": 5,
        "successThreshold": 1,
        "timeout": "PT3S",
        "period": "PT20S",
        "initialDelay": "PT30S",
    }
    collector = {"collections": {"model_inputs": {"dataCollectionMode": "Enabled", "samplingRate": 0.5}}}
    asked: dict[str, Any] = {
        "livenessProbe": probe,
        "readinessProbe": {"initialDelay": "PT1S"},
        "dataCollector": collector,
        "egressPublicNetworkAccess": "Disabled",
        "appInsightsEnabled": True,
        "environmentVariables": {"WORKER_COUNT": "2"},
        "modelMountPath": "/var/models",
        "requestSettings": {"requestTimeout": "PT20S", "maxQueueWait": "PT1S", "maxConcurrentRequestsPerInstance": 3},
        "properties": {"mlaz-owner": "42"},
    }
    told = arm.made(BLUE, deployment_body(**asked))["properties"]
    for name in ("livenessProbe", "dataCollector", "egressPublicNetworkAccess", "appInsightsEnabled", "modelMountPath"):
        assert told[name] == asked[name], name
    assert told["requestSettings"] == asked["requestSettings"]
    assert told["readinessProbe"]["initialDelay"] == "PT1S"
    assert told["readinessProbe"]["failureThreshold"] == 30
    assert told["properties"]["mlaz-owner"] == "42"
    # What a later write leaves out stays.
    assert arm.made(BLUE, deployment_body())["properties"]["dataCollector"] == collector


def test_lists__forced_into_pages__are_whole_only_by_following_their_links(arm: Caller, cloud: Cloud) -> None:
    for number in range(5):
        arm.made(f"/onlineEndpoints/ep{number}", endpoint_body())
        arm.put(f"/models/m{number}/versions/1", {"properties": {"modelUri": "azureml://datastores/d/paths/p"}})
        cloud.state(subscriptions.Subscriptions).by_id[world.SUBSCRIPTION_ID].add_group(f"rg{number}")
    for number in range(3):
        size = "Standard_DS1_v2"
        arm.made(f"/onlineEndpoints/ep0/deployments/dep{number}", deployment_body(instanceType=size))
        arm.made(f"/computes/aks{number}", CLUSTER)
    cloud.state(paging.Pages).size = 2
    places = ("/onlineEndpoints", "/models", "/onlineEndpoints/ep0/deployments", "/computes")
    for path, count in zip((*places, f"{world.SUBSCRIPTION_SCOPE}/resourceGroups"), (5, 5, 3, 3, 6), strict=True):
        names: list[str] = []
        page = arm.get(path).json()
        while True:
            assert len(page["value"]) <= 2
            names += [one["name"] for one in page["value"]]
            if not page.get("nextLink"):
                break
            # As azure-core does with a link's query.
            page = arm.http.get(page["nextLink"].replace("$skip", "%24skip"), headers=arm.headers, timeout=30).json()
        assert len(names) == len(set(names)) == count, path


def test_list__filtered_by_tags_or_properties__holds_what_has_them(arm: Caller) -> None:
    arm.made("/onlineEndpoints/one", endpoint_body(properties={"mlaz-owner": "42"}) | {"tags": {"team": "risk"}})
    arm.made("/onlineEndpoints/two", endpoint_body())
    for query in ("tags=team=risk", "tags=team", "properties=mlaz-owner=42", "name=one", "properties=mlaz-owner"):
        assert [one["name"] for one in arm.get(f"/onlineEndpoints?{query}").json()["value"]] == ["one"], query
    for query in ("tags=team=ml", "properties=mlaz-owner=43"):
        assert arm.get(f"/onlineEndpoints?{query}").json()["value"] == []


def test_list__ordered__is_in_that_order(arm: Caller, fake_clock: FakeClock) -> None:
    for name in ("one", "two", "three"):
        fake_clock.advance(1)
        arm.made(f"/onlineEndpoints/{name}", endpoint_body())
    fake_clock.advance(1)
    arm.settle(arm.patch("/onlineEndpoints/one", {"tags": {"a": "b"}}))
    for by, names in (
        ("CreatedAtDesc", ["three", "two", "one"]),
        ("CreatedAtAsc", ["one", "two", "three"]),
        ("UpdatedAtDesc", ["one", "three", "two"]),
    ):
        assert [one["name"] for one in arm.get(f"/onlineEndpoints?orderBy={by}").json()["value"]] == names


def test_compute__of_another_type__is_not_made_of_it(arm: Caller) -> None:
    arm.made("/computes/aks1", CLUSTER)
    other = {"location": world.REGION, "properties": {"computeType": "AKS", "resourceId": AKS}}
    assert _told(arm.put("/computes/aks1", other)) == (400, "BadArgument")


def test_quotas__usages_and_sizes__are_what_the_rules_go_by(arm: Caller, cloud: Cloud) -> None:
    cloud.state(quotas.Quotas).limits[world.REGION, "standardDSv2Family"] = 12
    arm.made(EP, endpoint_body())
    arm.made(BLUE, deployment_body(capacity=2))
    place = f"{world.SUBSCRIPTION_SCOPE}/providers/Microsoft.MachineLearningServices/locations/{world.REGION}"
    usages = {one["name"]["value"]: one for one in arm.get(f"{place}/usages").json()["value"]}
    # Two instances of two cores, and a fifth of them more for a rolling update.
    assert (usages["standardDSv2Family"]["currentValue"], usages["standardDSv2Family"]["limit"]) == (6, 12)
    limits = {one["name"]["value"]: one["limit"] for one in arm.get(f"{place}/quotas").json()["value"]}
    assert limits["standardDSv2Family"] == 12
    sizes = {one["name"]: one for one in arm.get(f"{place}/vmSizes").json()["value"]}
    for name, *facts in (
        ("Standard_DS2_v2", 2, 7.0, 0),
        ("Standard_F4s_v2", 4, 8.0, 0),
        ("Standard_E4s_v3", 4, 32.0, 0),
        ("Standard_NC16as_T4_v3", 16, 110.0, 1),
    ):
        assert [sizes[name][fact] for fact in ("vCPUs", "memoryGB", "gpus")] == facts
    arm.settle(arm.delete(BLUE))
    usages = {one["name"]["value"]: one for one in arm.get(f"{place}/usages").json()["value"]}
    assert usages["standardDSv2Family"]["currentValue"] == 0


def test_autoscale__setting_of_a_deployment__is_kept_listed_and_deleted(arm: Caller) -> None:
    arm.version = "2022-10-01"
    path = f"{GROUP}/providers/Microsoft.Insights/autoscaleSettings/churn-blue"
    profile = {"name": "default", "capacity": {"minimum": "2", "maximum": "5", "default": "2"}, "rules": []}
    target = f"{world.WORKSPACE_SCOPE}{BLUE}"
    body = {
        "location": world.REGION,
        "properties": {"enabled": True, "targetResourceUri": target, "profiles": [profile]},
    }
    assert _told(arm.get(path)) == (404, "ResourceNotFound")
    assert arm.put(path, body).status_code == 201
    assert arm.put(path, body).status_code == 200
    told = arm.get(path).json()["properties"]
    assert (told["targetResourceUri"], told["profiles"]) == (target, [profile])
    assert len(arm.get(f"{GROUP}/providers/microsoft.insights/autoscalesettings").json()["value"]) == 1
    assert _told(arm.put(path, {"location": world.REGION, "properties": {"profiles": []}})) == (400, "InvalidProfiles")
    assert [arm.delete(path).status_code for _ in range(2)] == [200, 204]


def test_diagnostics__setting_of_an_endpoint__is_kept_listed_and_outlives_it(arm: Caller) -> None:
    def ask(method: str, below: str = "", body: Any = None, on: str = EP) -> requests.Response:
        return arm.ask(method, f"{on}{DIAGNOSTICS}{below}", body, version="2021-05-01-preview")

    assert _told(ask("PUT", "/logs", {"properties": SETTING})) == (404, "ResourceNotFound")
    arm.made(EP, endpoint_body())
    arm.made(BLUE, deployment_body())
    log = {"category": "AmlOnlineEndpointConsoleLog", "enabled": True}
    assert ask("PUT", "/logs", {"properties": {**SETTING, "logs": [log]}}).status_code == 200
    told = ask("GET", "/logs").json()
    assert told["properties"]["workspaceId"] == SETTING["workspaceId"]
    assert [(one["category"], one["enabled"]) for one in told["properties"]["logs"]] == [(log["category"], True)]
    assert [one["name"] for one in ask("GET").json()["value"]] == ["logs"]
    # A deployment's are its own.
    assert ask("GET", on=BLUE).json()["value"] == []
    metric = {"category": "AllMetrics", "enabled": True}
    assert ask("PUT", "/all", {"properties": {**SETTING, "metrics": [metric]}}, on=BLUE).status_code == 200
    assert [one["name"] for one in ask("GET").json()["value"]] == ["logs"]
    wrong = {**SETTING, "logs": [{"category": "Nonsense", "enabled": True}]}
    assert _told(ask("PUT", "/x", {"properties": wrong})) == (400, "BadRequest")
    assert _told(ask("PUT", "/x", {"properties": {"logs": [log]}})) == (400, "BadRequest")
    arm.settle(arm.delete(EP))
    assert _told(ask("GET", "/logs")) == (404, "ResourceNotFound")
    arm.made(EP, endpoint_body())
    assert ask("GET", "/logs").json()["name"] == "logs"
    assert [ask("DELETE", "/logs").status_code for _ in range(2)] == [200, 204]


def test_diagnostics__by_one_who_may_only_work_in_the_workspace__are_refused(arm: Caller, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    cloud.state(Assignments).remove_all(world.CLIENT_OBJECT_ID)
    cloud.state(Assignments).assign(world.CLIENT_OBJECT_ID, roles.DATA_SCIENTIST, world.WORKSPACE_SCOPE)
    refused = arm.ask("PUT", f"{EP}{DIAGNOSTICS}/x", {"properties": SETTING}, version="2021-05-01-preview")
    assert _told(refused) == (403, "AuthorizationFailed")
    assert "'Microsoft.Insights/diagnosticSettings/write'" in refused.json()["error"]["message"]


def test_permissions__of_each_scope__are_what_the_roles_give(arm: Caller, cloud: Cloud) -> None:
    assignments = cloud.state(Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.DATA_SCIENTIST, world.WORKSPACE_SCOPE)
    arm.version = "2022-04-01"
    ask = "/providers/Microsoft.Authorization/permissions"
    assert arm.get(f"{GROUP}{ask}").json() == {"value": []}
    (told,) = arm.get(f"{world.WORKSPACE_SCOPE}{ask}").json()["value"]
    assert told["notActions"] == list(roles.DATA_SCIENTIST.not_actions)


def test_name__of_an_endpoint_in_another_workspace_of_the_region__is_taken(arm: Caller, cloud: Cloud) -> None:
    other = workspaces.Workspace(
        subscription=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name="ws-two", workspace_id="two"
    )
    far = workspaces.Workspace(
        subscription=world.SUBSCRIPTION_ID,
        resource_group=world.RESOURCE_GROUP,
        name="ws-far",
        workspace_id="far",
        region="westus2",
    )
    for workspace in (other, far):
        cloud.state(workspaces.Workspaces).add(workspace)
    arm.made(EP, endpoint_body())
    taken = arm.put(f"{other.id}/onlineEndpoints/CHURN", endpoint_body())
    assert taken.status_code == 400
    assert "unique within a region" in taken.json()["error"]["details"][0]["message"]
    assert arm.put(f"{far.id}/onlineEndpoints/churn", endpoint_body() | {"location": "westus2"}).status_code == 201


def test_deployment__of_another_workspaces_model__does_not_find_it(arm: Caller, cloud: Cloud) -> None:
    arm.made(EP, endpoint_body())
    arm.put("/models/m/versions/1", {"properties": {"modelUri": "azureml://datastores/d/paths/p"}})
    own = f"{world.WORKSPACE_SCOPE}/models/m/versions/1"
    foreign = arm.put(BLUE, deployment_body(model=own.replace("/ws-ml/", "/ws-other/")))
    assert _told(foreign) == (404, "UserError")
    assert arm.put(BLUE, deployment_body(model=own.upper().replace("/M/", "/m/"))).status_code == 201


@pytest.mark.parametrize("asked", [{"containerType": "StorageInitializer"}, {"containerType": "InferenceServer"}, {}])
def test_logs__by_container__are_told_apart(arm: Caller, cloud: Cloud, asked: dict[str, Any]) -> None:
    from tests.azure.transitions import after_polls

    cloud.scripts.add(
        "online-deployment-create", after_polls(1, "Updating", "Succeeded"), extra={"log": "of the model"}
    )
    arm.made(EP, endpoint_body())
    arm.made(BLUE, deployment_body())
    content = arm.post(f"{BLUE}/getLogs", asked).json()["content"]
    assert ("of the model" in content) is (asked.get("containerType") != "StorageInitializer")
    assert ("Downloading" in content) is (asked.get("containerType") == "StorageInitializer")


def test_workspace__private__refuses_the_runner_on_every_regional_host_and_not_on_arm(
    arm: Caller, cloud: Cloud
) -> None:
    arm.made(EP, endpoint_body())
    cloud.state(workspaces.Workspaces).default.public_network_access = "Disabled"
    assert arm.get("").json()["properties"]["publicNetworkAccess"] == "Disabled"
    assert arm.get(EP).status_code == 200
    base, ws = f"https://{world.REGION}.api.azureml.ms", world.WORKSPACE_SCOPE
    for path in (
        f"/modelmanagement/v1.0{ws}/models",
        f"/modelmanagement/v1.0{ws}/services",
        f"/mlflow/v2.0{ws}/api/2.0/mlflow/runs/get?run_id=x",
        f"/history/v1.0{ws}/runs/x",
        f"/artifact/v2.0{ws}/artifacts/a/b",
        f"/environment/v1.0{ws}/environments/e",
        f"/rp/workspaces{ws}/computes",
    ):
        refused = arm.http.get(f"{base}{path}", headers=arm.headers, timeout=30)
        assert refused.status_code == 403, path
        assert "private link" in refused.text, path
    assert (
        arm.http.get(f"{ARM}/subscriptions?api-version=2022-12-01", headers=arm.headers, timeout=30).status_code == 200
    )
