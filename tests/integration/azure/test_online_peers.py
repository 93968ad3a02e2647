"""Beside azure-ai-ml's MLClient: it reads what this adapter made, and what it made is taken over, updated and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from mlaz_ci.errors import NotOurs
from mlaz_ci.models import Command, EndpointUse, Status, Strategy
from tests.azure import world
from tests.azure.arm import operations
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.online import OWNER, Stage

ml = pytest.importorskip("azure.ai.ml", reason="needs requirements/azure-tests.txt")
entities = pytest.importorskip("azure.ai.ml.entities")
identity = pytest.importorskip("azure.identity")


@pytest.fixture
def client(stage: Stage, cloud: CloudState) -> Any:
    cloud.state(operations.Operations).retry_after_s = 0.05
    credential = identity.ClientSecretCredential(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    return ml.MLClient(credential, world.SUBSCRIPTION_ID, world.RESOURCE_GROUP, world.WORKSPACE)


def test_ml_client__reads_all_that_was_made(stage: Stage, client: Any) -> None:
    outcome = stage.deploy(tags={"team": "risk"})
    endpoint = client.online_endpoints.get("churn")
    assert endpoint.traffic == {outcome.deployment_name: 100}
    assert endpoint.scoring_uri == outcome.scoring_uri
    assert endpoint.tags["mlaz-owner"] == OWNER
    assert [each.name for each in client.online_endpoints.list()] == ["churn"]
    deployment = client.online_deployments.get(outcome.deployment_name, "churn")
    assert (deployment.instance_count, deployment.instance_type) == (1, "Standard_DS3_v2")
    assert deployment.request_settings.request_timeout_ms == 60_000
    assert deployment.code_configuration.scoring_script == "score.py"
    model = client.models.get("churn", outcome.model_version)
    assert (model.type, model.job_name, model.tags["team"]) == ("mlflow_model", "run-1", "risk")
    environment = client.environments.get(*deployment.environment.split("/")[-3::2])
    assert environment.image
    assert "azureml-inference-server-http" in str(environment.conda_file)
    assert client.online_endpoints.get_keys("churn").primary_key


def made_by_ml_client(client: Any) -> None:
    model = entities.Model(
        name="theirs", version="1", path="azureml://jobs/run-0/outputs/artifacts/model", type="mlflow_model"
    )
    model = client.models.create_or_update(model)
    endpoint = entities.ManagedOnlineEndpoint(
        name="churn", auth_mode="key", tags={"team": "risk"}, description="theirs"
    )
    client.online_endpoints.begin_create_or_update(endpoint).result()
    deployment = entities.ManagedOnlineDeployment(
        name="blue", endpoint_name="churn", model=model.id, instance_type="Standard_DS2_v2", instance_count=2
    )
    client.online_deployments.begin_create_or_update(deployment).result()
    endpoint = client.online_endpoints.get("churn")
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()


def test_ml_client__endpoint_of_its_making__is_deployed_into_and_else_unchanged(stage: Stage, client: Any) -> None:
    made_by_ml_client(client)
    before = client.online_endpoints.get("churn")._to_dict()
    blue = client.online_deployments.get("blue", "churn")._to_dict()
    outcome = stage.deploy(endpoint=EndpointUse.EXISTING, strategy=Strategy.CANARY)
    assert outcome.status is Status.CANARY
    after = client.online_endpoints.get("churn")._to_dict()
    [ours] = [name for name in after["traffic"] if name != "blue"]
    assert after["traffic"] == {"blue": 90, ours: 10}
    # The size of what serves is the least that the new one gets.
    assert client.online_deployments.get(ours, "churn").instance_count == 2
    for each in (before, after):
        del each["traffic"]
        each["properties"].pop("AzureAsyncOperationUri")
    assert after == before
    assert client.online_deployments.get("blue", "churn")._to_dict() == blue


def test_ml_client__what_it_made__is_read_updated_and_deleted_with_take_over_alone(stage: Stage, client: Any) -> None:
    made_by_ml_client(client)
    service = stage.run(command=Command.STATUS).service
    assert service is not None
    assert (service.owner, service.live, service.deployments[0].model_label) == ("", "blue", "theirs/1")
    with pytest.raises(NotOurs):
        stage.deploy()
    with pytest.raises(NotOurs):
        stage.run(command=Command.CLEANUP)
    outcome = stage.deploy(take_over="churn")
    assert outcome.previous_model_version == "1"
    assert client.online_endpoints.get("churn").tags["team"] == "risk"
    assert [each.name for each in client.online_deployments.list("churn")] == [outcome.deployment_name]
    assert stage.run(command=Command.CLEANUP, take_over="churn").status is Status.DELETED
    assert list(client.online_endpoints.list()) == []
