"""A deploy to a managed endpoint, from nothing and again: what is made, what is left alone, what it costs."""

from __future__ import annotations

from typing import Any

from mlaz_ci.models import Command, Status
from tests.azure import world
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.online import OWNER, Stage, asked, last, writes


def told(requests: list[Any]) -> str:
    return "\n".join(str(each) for each in requests)


def test_deploy__nothing_there__serves_and_costs_thirty_requests_at_most(stage: Stage, cloud: CloudState) -> None:
    outcome = stage.deploy()
    requests = asked(cloud)
    print(f"\nfirst deploy: {len(requests)} requests without polls")
    assert outcome.status is Status.HEALTHY
    assert len(requests) <= 30, told(requests)
    assert outcome.scoring_uri == f"https://churn.{world.REGION}.inference.ml.azure.com/score"
    name = outcome.deployment_name
    assert name is not None
    assert stage.traffic == {name: 100}
    made = stage.deployments()[name]
    assert made["properties"]["model"].endswith("/models/churn/versions/1")
    assert made["properties"]["requestSettings"]["requestTimeout"] == "PT60S"
    assert made["tags"]["mlaz-owner"] == made["properties"]["properties"]["mlaz-owner"] == OWNER
    assert sum(each.request_bytes for each in requests) < 100_000


def test_deploy__again_the_same__is_unchanged_within_sixteen_requests(stage: Stage, cloud: CloudState) -> None:
    name = stage.deploy().deployment_name
    since = last(cloud)
    outcome = stage.deploy()
    requests = asked(cloud, since)
    print(f"\nunchanged: {len(requests)} requests")
    assert (outcome.status, outcome.deployment_name, outcome.changed) == (Status.UNCHANGED, name, False)
    assert len(requests) <= 16, told(requests)
    assert writes(cloud, since) == []


def test_deploy__another_model__replaces_and_the_old_one_goes(stage: Stage, cloud: CloudState) -> None:
    old = stage.deploy().deployment_name
    since = last(cloud)
    outcome = stage.deploy("run-2")
    requests = asked(cloud, since)
    print(f"\nreplace: {len(requests)} requests without polls")
    assert outcome.status is Status.HEALTHY
    assert outcome.previous_model_version == "1"
    assert outcome.model_version == "2"
    assert list(stage.deployments()) == [outcome.deployment_name]
    assert outcome.deployment_name != old
    assert stage.traffic == {outcome.deployment_name: 100}
    assert len(requests) <= 30, told(requests)


def test_deploy__back_to_the_first_model__registers_nothing_anew(stage: Stage) -> None:
    stage.deploy()
    stage.deploy("run-2")
    outcome = stage.deploy()
    assert outcome.model_version == "1"
    assert sorted(stage.model_versions()) == ["1", "2"]


def test_deploy__registered_already__is_deployed_as_it_is(stage: Stage, cloud: CloudState) -> None:
    stage.store.version = "7"
    stage.arm(
        "PUT",
        "/models/churn/versions/7",
        {"properties": {"modelUri": "azureml://jobs/run-1/outputs/artifacts/paths/model", "modelType": "mlflow_model"}},
    )
    since = last(cloud)
    assert stage.deploy().model_version == "7"
    assert not any("/models/" in each for each in writes(cloud, since))


def test_cleanup__created__takes_all_within_eight_requests(stage: Stage, cloud: CloudState) -> None:
    stage.deploy()
    since = last(cloud)
    outcome = stage.run(command=Command.CLEANUP)
    requests = asked(cloud, since)
    print(f"\ncleanup: {len(requests)} requests without polls")
    assert outcome.status is Status.DELETED
    assert stage.endpoint() is None
    assert len(requests) <= 8, told(requests)
    assert stage.run(command=Command.CLEANUP).status is Status.ABSENT
