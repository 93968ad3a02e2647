"""How a new version comes to its traffic, and how it goes again: replace, canary, mirror, in place, recreate, rollback."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from mlaz_ci.errors import (
    AzureFailed,
    AzureUnreachable,
    ContainerCrashed,
    ImageBuildFailed,
    MlazError,
    ModelVersionNotExpected,
    NetworkNotReady,
    NoCanary,
    NotFound,
    NothingToRollBackTo,
    NotOurs,
    QuotaExceeded,
    RecreateNotAllowed,
    RefusedByAzure,
    SecretsNotInjected,
    ServiceBusy,
    SmokeTestFailed,
)
from mlaz_ci.models import AuthMode, AzureShape, Command, EndpointUse, SmokeTest, Status, Strategy
from tests.azure import world
from tests.azure.arm import autoscale, diagnostics
from tests.azure.arm import deployments as deployed
from tests.azure.state import Cloud as CloudState
from tests.azure.transitions import after_polls
from tests.integration.azure.online import EP, House, Stage, last, with_raw, writes

RULES = {
    "profiles": [
        {
            "name": "default",
            "capacity": {"minimum": "2", "maximum": "5", "default": "2"},
            "rules": [],
        }
    ]
}


@pytest.fixture
def house(stage: Stage) -> House:
    return House.opened_in(stage.cloud)


def place(stage: Stage, *markers: str) -> None:
    for each in markers:
        stage.place(each, marker=each)


def test_replace__smoke_test_fails__traffic_was_never_touched(stage: Stage, house: House, cloud: CloudState) -> None:
    place(stage, "blue", "green")
    old = stage.run("blue").deployment_name
    house.statuses["green"] = 500
    since = last(cloud)
    with pytest.raises(SmokeTestFailed):
        stage.run("green")
    assert stage.traffic == {old: 100}
    assert list(stage.deployments()) == [old]
    assert not [each for each in writes(cloud, since) if each == f"PUT {EP}"]


def test_replace__container_crashes__tells_azures_words_the_logs_and_the_remedy(stage: Stage, house: House) -> None:
    place(stage, "blue", "green")
    old = stage.run("blue").deployment_name
    house.crashing.add("green")
    with pytest.raises(ContainerCrashed) as raised:
        stage.run("green")
    assert raised.value.upstream_code == "ResourceNotReady"
    assert "User container has crashed or terminated" in raised.value.what
    assert "No module named 'xgboost'" in raised.value.log
    assert "--- inference-server ---" in raised.value.log
    assert "--- storage-initializer ---" in raised.value.log
    assert stage.traffic == {old: 100}
    assert list(stage.deployments()) == [old]


def test_first_deploy__fails__takes_its_endpoint_back(stage: Stage, house: House) -> None:
    place(stage, "blue")
    house.statuses["blue"] = 500
    with pytest.raises(SmokeTestFailed):
        stage.run("blue")
    assert stage.endpoint() is None


def test_canary__then_promote__gives_all_of_the_traffic_and_the_old_one_goes(stage: Stage) -> None:
    old = stage.deploy("blue").deployment_name
    outcome = stage.deploy("green", strategy=Strategy.CANARY, canary_percent=20)
    new = next(name for name in stage.deployments() if name != old)
    assert (outcome.status, outcome.deployment_name) == (Status.CANARY, new)
    assert (outcome.model_version, outcome.previous_model_version) == ("2", "1")
    assert stage.traffic == {old: 80, new: 20}
    assert stage.deploy("green", strategy=Strategy.CANARY, canary_percent=20).changed is False
    with pytest.raises(ModelVersionNotExpected):
        stage.run(command=Command.PROMOTE, expect_model_version="7")
    assert stage.run(command=Command.PROMOTE, expect_model_version="2").status is Status.PROMOTED
    assert stage.traffic == {new: 100}
    assert list(stage.deployments()) == [new]


def test_canary__then_reject__gives_its_share_back(stage: Stage) -> None:
    old = stage.deploy("blue").deployment_name
    stage.deploy("green", strategy=Strategy.CANARY)
    assert stage.run(command=Command.REJECT).status is Status.REJECTED
    assert stage.traffic == {old: 100}
    assert list(stage.deployments()) == [old]
    with pytest.raises(NoCanary):
        stage.run(command=Command.PROMOTE)


def test_mirror__copies_traffic_then_promote_takes_it(stage: Stage) -> None:
    old = stage.deploy("blue").deployment_name
    shape = with_raw({"mirror-percent": 30})
    assert stage.deploy("green", strategy=Strategy.CANARY, shape=shape).status is Status.CANARY
    [new] = [name for name in stage.deployments() if name != old]
    assert stage.endpoint()["properties"]["mirrorTraffic"] == {new: 30}
    assert stage.traffic == {old: 100}
    stage.run(command=Command.PROMOTE, shape=shape)
    assert stage.traffic == {new: 100}
    assert stage.endpoint()["properties"]["mirrorTraffic"] == {}
    assert list(stage.deployments()) == [new]


def test_mirror__then_reject__copies_no_more(stage: Stage) -> None:
    old = stage.deploy("blue").deployment_name
    stage.deploy("green", strategy=Strategy.CANARY, shape=with_raw({"mirror-percent": 30}))
    stage.run(command=Command.REJECT)
    assert stage.endpoint()["properties"]["mirrorTraffic"] == {}
    assert list(stage.deployments()) == [old]


def test_rollback__to_the_one_that_was_kept__and_forth_again(stage: Stage, house: House) -> None:
    place(stage, "blue", "green")
    old = stage.run("blue").deployment_name
    new = stage.run("green", keep_previous_hours=24.0).deployment_name
    assert stage.traffic == {new: 100}
    assert set(stage.deployments()) == {old, new}
    outcome = stage.run(command=Command.ROLLBACK)
    assert outcome.status is Status.ROLLED_BACK
    assert (outcome.deployment_name, outcome.model_version) == (old, "1")
    assert stage.traffic == {old: 100}
    assert stage.run(command=Command.ROLLBACK).deployment_name == new


def kept_until(stage: Stage, name: str | None) -> datetime:
    return datetime.fromisoformat(stage.deployments()[name or ""]["tags"]["mlaz-kept-until"])


@pytest.mark.parametrize(
    "later", [{"run_id": "green"}, {"run_id": "red"}, {"run_id": "red", "strategy": Strategy.CANARY}, {"run_id": "red", "strategy": Strategy.IN_PLACE}],
    ids=["unchanged", "replace", "canary", "in-place"],
)  # fmt: skip
def test_kept__for_its_hours_and_no_longer__goes_with_the_first_deploy_after(
    stage: Stage, house: House, later: dict[str, Any]
) -> None:
    place(stage, "blue", "green", "red")
    old = stage.run("blue").deployment_name
    new = stage.run("green", keep_previous_hours=24.0).deployment_name
    now = stage.clock.utc_now()
    assert timedelta(hours=23) < kept_until(stage, old) - now <= timedelta(hours=24)
    assert stage.run("green").status is Status.UNCHANGED
    assert set(stage.deployments()) == {old, new}
    stage.clock.sleep(24 * 3600 + 1)
    stage.run(**{**later, "smoke_test": SmokeTest.REQUIRED})
    assert old not in stage.deployments()
    assert sum(stage.traffic.values()) == 100


def test_kept__that_serves_again_by_a_rollback__is_kept_anew_for_the_hours_of_the_next_deploy(
    stage: Stage, house: House
) -> None:
    place(stage, "blue", "green", "red")
    old = stage.run("blue").deployment_name
    stage.run("green", keep_previous_hours=1.0)
    stage.run(command=Command.ROLLBACK)
    stage.clock.sleep(3 * 3600)
    assert stage.run("blue").status is Status.UNCHANGED
    assert stage.traffic == {old: 100}
    stage.run("red", keep_previous_hours=2.0)
    assert kept_until(stage, old) > stage.clock.utc_now() + timedelta(hours=1)


def test_rollback__nothing_was_kept__is_told(stage: Stage) -> None:
    stage.deploy("blue")
    stage.deploy("green")
    with pytest.raises(NothingToRollBackTo):
        stage.run(command=Command.ROLLBACK)


def test_in_place__changes_the_one_deployment_and_keeps_its_size(stage: Stage, house: House) -> None:
    place(stage, "blue", "green")
    name = stage.run("blue", shape=AzureShape(instance_count=3)).deployment_name
    outcome = stage.run("green", strategy=Strategy.IN_PLACE)
    assert outcome.deployment_name == name
    [made] = stage.deployments().values()
    assert made["sku"]["capacity"] == 3
    assert made["properties"]["model"].endswith("/versions/2")
    assert stage.run("green", strategy=Strategy.IN_PLACE).status is Status.UNCHANGED


def test_in_place__fails__what_served_is_put_back(stage: Stage, house: House) -> None:
    place(stage, "blue", "green")
    name = stage.run("blue").deployment_name
    house.statuses["green"] = 500
    with pytest.raises(SmokeTestFailed):
        stage.run("green", strategy=Strategy.IN_PLACE)
    made = stage.deployments()[name]
    assert made["properties"]["model"].endswith("/versions/1")
    assert house.specs[-1].model_folder is not None
    assert (house.specs[-1].model_folder / "model" / "marker").read_text() == "blue"


def test_recreate__needs_consent_and_takes_the_old_one_away_first(stage: Stage, cloud: CloudState) -> None:
    old = stage.deploy("blue").deployment_name
    with pytest.raises(RecreateNotAllowed):
        stage.deploy("green", strategy=Strategy.RECREATE)
    since = last(cloud)
    new = stage.deploy("green", strategy=Strategy.RECREATE, allow_recreate=True).deployment_name
    assert list(stage.deployments()) == [new]
    done = writes(cloud, since)
    assert done.index(f"DELETE {EP}/deployments/{old}") < done.index(f"PUT {EP}/deployments/{new}")


def test_auth__other_than_the_endpoints__is_made_anew_with_consent_alone(stage: Stage) -> None:
    stage.deploy("blue")
    shape = AzureShape(auth=AuthMode.TOKEN)
    with pytest.raises(RecreateNotAllowed, match='auth "key"'):
        stage.deploy("blue", shape=shape)
    stage.deploy("blue", shape=shape, allow_recreate=True)
    assert stage.endpoint()["properties"]["authMode"] == "AMLToken"


@pytest.mark.parametrize("auth", [AuthMode.TOKEN, AuthMode.ENTRA])
def test_auth__token_and_entra__verify_as_their_callers_do(stage: Stage, cloud: CloudState, auth: AuthMode) -> None:
    assert stage.deploy("blue", shape=AzureShape(auth=auth)).status is Status.HEALTHY
    assert bool(cloud.trace.find(path="/token$", host="management.azure.com")) is (auth is AuthMode.TOKEN)
    assert not cloud.trace.find(path="/listKeys$")


def test_size__of_the_one_that_serves__is_the_least_and_is_kept(stage: Stage) -> None:
    stage.deploy("blue", shape=AzureShape(instance_type="Standard_DS2_v2", instance_count=4))
    new = stage.deploy("green").deployment_name
    made = stage.deployments()[new]
    assert (made["sku"]["capacity"], made["properties"]["instanceType"]) == (4, "Standard_DS2_v2")


def test_size__smaller_one_asked_for__comes_after_the_shift(stage: Stage, cloud: CloudState) -> None:
    stage.deploy("blue", shape=AzureShape(instance_count=4))
    since = last(cloud)
    new = stage.deploy("green", shape=AzureShape(instance_count=2)).deployment_name
    assert stage.deployments()[new]["sku"]["capacity"] == 2
    assert [each for each in writes(cloud, since) if "/deployments/g2" in each or each == f"PUT {EP}"] == [
        f"PUT {EP}/deployments/{new}",
        f"PUT {EP}",
        f"PATCH {EP}/deployments/{new}",
    ]


def test_size__the_old_one_grew_meanwhile__is_reached_before_the_shift(stage: Stage, cloud: CloudState) -> None:
    old = stage.deploy("blue").deployment_name
    request = stage.request("green", strategy=Strategy.CANARY)
    stage.place("green")
    stage.job(request).run()
    stage.arm("PATCH", f"{EP}/deployments/{old}", {"sku": {"name": "Default", "capacity": 5}})
    stage.run("green", command=Command.PROMOTE)
    [made] = stage.deployments().values()
    assert made["sku"]["capacity"] == 5


def test_autoscale__of_the_config__stands_before_the_shift_and_goes_with_the_deployment(
    stage: Stage, cloud: CloudState
) -> None:
    name = stage.deploy("blue", shape=with_raw({"autoscale": RULES})).deployment_name
    held = cloud.state(autoscale.AutoscaleSettings).by_id
    [setting] = held.values()
    assert setting["properties"]["targetResourceUri"] == stage.deployments()[name]["id"]
    new = stage.deploy("green").deployment_name
    [copied] = held.values()
    assert copied["properties"]["targetResourceUri"] == stage.deployments()[new]["id"]
    assert copied["properties"]["profiles"] == RULES["profiles"]


def test_replace__rules_and_diagnostics_that_others_set__are_copied(stage: Stage, cloud: CloudState) -> None:
    old = stage.deployments_of(stage.deploy("blue"))
    autoscale_id = f"{world.RESOURCE_GROUP_SCOPE}/providers/microsoft.insights/autoscalesettings/ops"
    cloud.state(autoscale.AutoscaleSettings).by_id[autoscale_id.lower()] = {
        "id": autoscale_id,
        "name": "ops",
        "location": world.REGION,
        "tags": {},
        "properties": {**RULES, "enabled": True, "name": "ops", "targetResourceUri": old["id"]},
    }
    setting = {
        "workspaceId": "/subscriptions/x/workspaces/logs",
        "metrics": [{"category": "AllMetrics", "enabled": True}],
    }
    stage.arm(
        "PUT",
        f"{EP}/deployments/{old['name']}/providers/Microsoft.Insights/diagnosticSettings/ops",
        {"properties": setting},
        api_version="2021-05-01-preview",
    )
    new = stage.deployments_of(stage.deploy("green"))
    targets = [
        each["properties"]["targetResourceUri"] for each in cloud.state(autoscale.AutoscaleSettings).by_id.values()
    ]
    assert new["id"] in targets
    assert any(new["id"].lower() in key for key in cloud.state(diagnostics.DiagnosticSettings).by_id)


def theirs(stage: Stage) -> None:
    """An endpoint with a deployment that another team made."""
    stage.arm(
        "PUT",
        EP,
        {
            "location": world.REGION,
            "tags": {"team": "risk"},
            "identity": {"type": "SystemAssigned"},
            "properties": {"authMode": "Key", "description": "theirs", "properties": {"made-by": "terraform"}},
        },
    )
    stage.arm(
        "PUT",
        f"{EP}/deployments/blue",
        {
            "location": world.REGION,
            "sku": {"name": "Default", "capacity": 1},
            "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS2_v2"},
        },
    )
    body = stage.endpoint()
    body["properties"]["traffic"] = {"blue": 100}
    kept = {"location", "tags", "identity"}
    properties = {"authMode": "Key", "traffic": {"blue": 100}}
    stage.arm("PUT", EP, {**{key: body[key] for key in kept}, "properties": properties})


def but_traffic(endpoint: dict[str, Any]) -> dict[str, Any]:
    properties = {key: value for key, value in endpoint["properties"].items() if key != "traffic"}
    properties["properties"] = {
        key: value for key, value in properties["properties"].items() if key != "AzureAsyncOperationUri"
    }
    return {**endpoint, "properties": properties, "systemData": None}


def test_existing__of_others__is_unchanged_but_for_our_share(stage: Stage) -> None:
    theirs(stage)
    before = but_traffic(stage.endpoint())
    with pytest.raises(NotOurs):
        stage.deploy("green")
    outcome = stage.deploy("green", endpoint=EndpointUse.EXISTING, strategy=Strategy.CANARY)
    [ours] = [name for name in stage.deployments() if name != "blue"]
    assert outcome.status is Status.CANARY
    assert stage.traffic == {"blue": 90, ours: 10}
    assert but_traffic(stage.endpoint()) == before
    stage.run(command=Command.CLEANUP, endpoint=EndpointUse.EXISTING)
    assert stage.traffic == {"blue": 100}
    assert list(stage.deployments()) == ["blue"]
    assert but_traffic(stage.endpoint()) == before
    assert stage.run(command=Command.CLEANUP, endpoint=EndpointUse.EXISTING).status is Status.ABSENT


def test_existing__replace__leaves_their_deployment_without_traffic(stage: Stage) -> None:
    theirs(stage)
    ours = stage.deploy("green", endpoint=EndpointUse.EXISTING).deployment_name
    assert stage.traffic == {ours: 100}
    assert "blue" in stage.deployments()


def test_cleanup__somebody_elses_deployment_in_it__is_refused(stage: Stage) -> None:
    stage.deploy("green")
    stage.arm(
        "PUT",
        f"{EP}/deployments/blue",
        {
            "location": world.REGION,
            "sku": {"name": "Default", "capacity": 1},
            "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS2_v2"},
        },
    )
    with pytest.raises(NotOurs, match="blue"):
        stage.run(command=Command.CLEANUP)
    assert stage.endpoint() is not None


def test_take_over__by_exact_name__deploys_beside_and_retires(stage: Stage) -> None:
    theirs(stage)
    ours = stage.deploy("green", take_over="churn").deployment_name
    assert list(stage.deployments()) == [ours]
    assert stage.traffic == {ours: 100}
    assert stage.endpoint()["tags"]["team"] == "risk"
    # From now on it is ours.
    assert stage.deploy("blue").status is Status.HEALTHY
    assert stage.run(command=Command.CLEANUP).status is Status.DELETED


def test_foreign_tags_and_fields__of_our_own_endpoint__survive_every_write(stage: Stage) -> None:
    stage.deploy("blue")
    seen = stage.endpoint()
    body = {key: seen[key] for key in ("location", "tags")}
    body["tags"]["cost-center"] = "42"
    properties = {"authMode": "Key", "description": "by hand", "properties": {"monitor": "on"}}
    stage.arm("PUT", EP, {**body, "properties": properties})
    stage.deploy("green")
    after = stage.endpoint()
    assert after["tags"]["cost-center"] == "42"
    assert after["properties"]["description"] == "by hand"
    assert after["properties"]["properties"]["monitor"] == "on"


def test_tags__lost_by_an_update_of_others__ownership_holds(stage: Stage, cloud: CloudState) -> None:
    stage.deploy("blue")
    stage.arm("PUT", EP, {"location": world.REGION, "tags": {}, "properties": {"authMode": "Key"}})
    for each in cloud.state(deployed.Deployments).by_key.values():
        each.tags = {}
    assert stage.deploy("green").status is Status.HEALTHY
    assert len(stage.deployments()) == 1


def test_deployment__still_updating_by_another__is_waited_for(stage: Stage, cloud: CloudState) -> None:
    stage.deploy("blue")
    cloud.scripts.add("online-endpoint-update", after_polls(6, "Updating", "Succeeded"), name="churn")
    seen = stage.endpoint()
    body = {key: seen[key] for key in ("location", "tags")}
    side = stage.side(stage.request("blue"))
    side._door.arm("PUT", EP, doing="write", body={**body, "properties": {"authMode": "Key"}})
    assert stage.deploy("green").status is Status.HEALTHY


CODES = {
    "ImageBuildFailure": (ImageBuildFailed, 6),
    "OutOfQuota": (QuotaExceeded, 6),
    "OutOfCapacity": (QuotaExceeded, 6),
    "BadArgument": (RefusedByAzure, 2),
    "ResourceNotReady": (ContainerCrashed, 6),
    "ResourceNotFound": (NotFound, 4),
    "WorkspaceManagedNetworkNotReady": (NetworkNotReady, 6),
    "SecretsInjectionError": (SecretsNotInjected, 6),
    "OperationCanceled": (ServiceBusy, 5),
    "InternalServerError": (AzureUnreachable, 6),
    "SomethingOfTomorrow": (AzureFailed, 6),
}


@pytest.mark.parametrize("code", CODES)
def test_deployment__ends_with_a_code_of_azures__has_its_words_its_remedy_and_leaves_the_old_one(
    stage: Stage, cloud: CloudState, code: str
) -> None:
    old = stage.deploy("blue").deployment_name
    error = {"code": code, "message": f"Words of Azure about {code.lower()}."}
    cloud.scripts.add(
        "online-deployment-create",
        after_polls(2, "Updating", "Failed", error=error),
        name="churn/g2-.*",
        extra={"log": "the container's own words"},
    )
    with pytest.raises(MlazError) as raised:
        stage.deploy("green")
    kind, exit_code = CODES[code]
    assert type(raised.value) is kind
    assert raised.value.exit_code == exit_code
    assert raised.value.upstream_code == code
    assert f"Words of Azure about {code.lower()}." in raised.value.what
    assert raised.value.remedy_text
    assert "the container's own words" in raised.value.log
    assert stage.traffic == {old: 100}
    assert list(stage.deployments()) == [old]
