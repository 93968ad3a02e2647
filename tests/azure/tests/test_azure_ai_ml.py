"""azure-ai-ml's MLClient, unpatched, through its flows: workspace, models, endpoints and deployments of both kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.azure import backends, rooms, world
from tests.azure.arm import operations
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.serving_stub import EchoBackend
from tests.azure.transitions import after_polls

ml = pytest.importorskip("azure.ai.ml", reason="azure-ai-ml is in the emulator's own environment (make test-azure)")
entities = pytest.importorskip("azure.ai.ml.entities")
core = pytest.importorskip("azure.core.exceptions")
identity = pytest.importorskip("azure.identity")

needs_blob = pytest.mark.skipif(
    not any(room.name == "blob" for room in rooms.ROOMS), reason="uploads need the blob room"
)
AKS = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/cluster"


@pytest.fixture
def client(azure: Emulator, cloud: Cloud) -> Any:
    cloud.state(operations.Operations).retry_after_s = 0.1
    credential = identity.ClientSecretCredential(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    return ml.MLClient(credential, world.SUBSCRIPTION_ID, world.RESOURCE_GROUP, world.WORKSPACE)


@pytest.fixture
def backend(cloud: Cloud) -> Iterator[EchoBackend]:
    backend = EchoBackend()
    cloud.live(backends.Serving).backend = backend
    yield backend
    backend.close()


def _endpoint(name: str = "churn", **more: Any) -> Any:
    return entities.ManagedOnlineEndpoint(name=name, auth_mode="key", **more)


def _job_model(client: Any) -> Any:
    model = entities.Model(
        name="churn", version="1", path="azureml://jobs/run_1/outputs/artifacts/model", type="mlflow_model"
    )
    return client.models.create_or_update(model)


def _deployment(client: Any, name: str = "blue", **more: Any) -> Any:
    model = client.models.get("churn", "1") if "model" not in more else more.pop("model")
    deployment = entities.ManagedOnlineDeployment(
        name=name, endpoint_name="churn", model=model.id, instance_type="Standard_DS3_v2", instance_count=1, **more
    )
    return client.online_deployments.begin_create_or_update(deployment).result()


def test_workspace__get__tells_its_place(client: Any) -> None:
    workspace = client.workspaces.get(world.WORKSPACE)
    assert workspace.location == world.REGION
    assert workspace.discovery_url == "https://eastus.api.azureml.ms/discovery"
    # The client itself turns the service's v1.0 into v2.0 where MLflow's plugin is installed.
    assert workspace.mlflow_tracking_uri == f"azureml://eastus.api.azureml.ms/mlflow/v2.0{world.WORKSPACE_SCOPE}"
    assert workspace.public_network_access == "Enabled"


def test_workspace__that_is_not_there__is_not_found(client: Any) -> None:
    with pytest.raises(core.ResourceNotFoundError, match="ResourceNotFound"):
        client.workspaces.get("nope")


def test_model__of_a_job__names_the_job_and_its_place(client: Any) -> None:
    model = _job_model(client)
    assert model.job_name == "run_1"
    assert model.path.endswith("/datastores/workspaceartifactstore/paths/ExperimentRun/dcid.run_1/model")
    assert client.models.get("churn", label="latest").version == "1"
    assert [one.version for one in client.models.list("churn")] == ["1"]
    second = entities.Model(name="churn", path="azureml://jobs/run_2/outputs/artifacts/model", type="mlflow_model")
    assert client.models.create_or_update(second).version == "2"


def test_model__other_path_for_the_same_version__is_refused(client: Any) -> None:
    _job_model(client)
    other = entities.Model(
        name="churn", version="1", path="azureml://jobs/run_9/outputs/artifacts/model", type="mlflow_model"
    )
    with pytest.raises(core.HttpResponseError, match="Asset paths cannot be updated"):
        client.models.create_or_update(other)


def test_endpoint__of_its_whole_life(client: Any, cloud: Cloud, backend: EchoBackend, tmp_path: Path) -> None:
    _job_model(client)
    created = client.online_endpoints.begin_create_or_update(_endpoint(tags={"team": "risk"})).result()
    assert created.provisioning_state == "Succeeded"
    assert created.tags == {"team": "risk"}
    for name in ("blue", "green"):
        assert _deployment(client, name).provisioning_state == "Succeeded"
    endpoint = client.online_endpoints.get("churn")
    assert endpoint.traffic == {"blue": 0, "green": 0}
    endpoint.traffic = {"blue": 75, "green": 25}
    assert client.online_endpoints.begin_create_or_update(endpoint).result().traffic == {"blue": 75, "green": 25}
    # invoke() puts the chosen deployment into a header that its process keeps for ever, so every call here names one.
    question = tmp_path / "question.json"
    question.write_text(json.dumps({"input_data": [[1, 2]]}), encoding="utf-8")
    chosen = json.loads(client.online_endpoints.invoke("churn", request_file=str(question), deployment_name="blue"))
    assert (chosen["served_by"], chosen["body"]) == ("churn-blue", {"input_data": [[1, 2]]})
    assert "served" in client.online_deployments.get_logs("blue", "churn", lines=50)
    with pytest.raises(core.HttpResponseError, match="non-zero traffic weight"):
        client.online_deployments.begin_delete("blue", "churn").result()
    client.online_endpoints.begin_delete("churn").result()
    with pytest.raises(core.ResourceNotFoundError):
        client.online_endpoints.get("churn")
    assert backend.running == 0


def test_endpoint__keys__are_listed_and_made_anew(client: Any) -> None:
    client.online_endpoints.begin_create_or_update(_endpoint()).result()
    before = client.online_endpoints.get_keys("churn")
    client.online_endpoints.begin_regenerate_keys("churn", key_type="secondary").result()
    after = client.online_endpoints.get_keys("churn")
    assert (after.primary_key, after.secondary_key) == (before.primary_key, after.secondary_key)


def test_endpoint__with_tokens__gives_one_that_scores(client: Any, backend: EchoBackend, tmp_path: Path) -> None:
    _job_model(client)
    endpoint = entities.ManagedOnlineEndpoint(name="churn", auth_mode="aml_token")
    client.online_endpoints.begin_create_or_update(endpoint).result()
    _deployment(client)
    question = tmp_path / "question.json"
    question.write_text("{}", encoding="utf-8")
    answer = client.online_endpoints.invoke("churn", request_file=str(question), deployment_name="blue")
    assert json.loads(answer)["served_by"] == "churn-blue"
    assert client.online_endpoints.get_keys("churn").access_token


def test_endpoint__mirrored_traffic__is_kept(client: Any) -> None:
    _job_model(client)
    client.online_endpoints.begin_create_or_update(_endpoint()).result()
    for name in ("blue", "green"):
        _deployment(client, name)
    endpoint = client.online_endpoints.get("churn")
    endpoint.traffic, endpoint.mirror_traffic = {"blue": 100}, {"green": 20}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    assert client.online_endpoints.get("churn").mirror_traffic == {"green": 20}


def test_deployment__that_crashes__raises_with_azures_words_and_keeps_its_log(
    client: Any, backend: EchoBackend
) -> None:
    _job_model(client)
    client.online_endpoints.begin_create_or_update(_endpoint()).result()
    backend.crash_log = "ModuleNotFoundError: No module named 'sklearn'"
    with pytest.raises(core.HttpResponseError, match="ResourceNotReady"):
        _deployment(client)
    assert client.online_deployments.get("blue", "churn").provisioning_state == "Failed"
    assert "No module named 'sklearn'" in client.online_deployments.get_logs("blue", "churn", lines=10)


def test_deployment__over_quota__raises_with_azures_words(client: Any, cloud: Cloud) -> None:
    from tests.azure.arm import quotas

    _job_model(client)
    client.online_endpoints.begin_create_or_update(_endpoint()).result()
    cloud.state(quotas.Quotas).limits[(world.REGION, "standardDSv2Family")] = 4
    with pytest.raises(core.HttpResponseError, match="Not enough quota available for Standard_DS3_v2"):
        _deployment(client)


def test_deployment__is_updated_and_scaled(client: Any) -> None:
    _job_model(client)
    client.online_endpoints.begin_create_or_update(_endpoint()).result()
    _deployment(client)
    deployment = client.online_deployments.get("blue", "churn")
    deployment.instance_count = 3
    deployment.environment_variables = {"LEVEL": "2"}
    client.online_deployments.begin_create_or_update(deployment).result()
    shown = client.online_deployments.get("blue", "churn")
    assert (shown.instance_count, shown.environment_variables) == (3, {"LEVEL": "2"})


def test_kubernetes__attached_cluster__serves_an_endpoint(client: Any, backend: EchoBackend, tmp_path: Path) -> None:
    _job_model(client)
    compute = entities.KubernetesCompute(name="cluster", resource_id=AKS, namespace="ml")
    assert client.compute.begin_create_or_update(compute).result().provisioning_state == "Succeeded"
    endpoint = entities.KubernetesOnlineEndpoint(name="churn", compute="cluster", auth_mode="key")
    made = client.online_endpoints.begin_create_or_update(endpoint).result()
    assert made.scoring_uri.startswith("http://203.0.113.")
    deployment = entities.KubernetesOnlineDeployment(
        name="blue", endpoint_name="churn", model=client.models.get("churn", "1").id, instance_type="cpuinstance"
    )
    assert client.online_deployments.begin_create_or_update(deployment).result().provisioning_state == "Succeeded"
    endpoint = client.online_endpoints.get("churn")
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    question = tmp_path / "question.json"
    question.write_text("{}", encoding="utf-8")
    answer = json.loads(client.online_endpoints.invoke("churn", request_file=str(question), deployment_name="blue"))
    assert (answer["served_by"], answer["path"]) == ("churn-blue", "/score")
    assert "served /score" in client.online_deployments.get_logs("blue", "churn", lines=10)
    before = client.online_endpoints.get_keys("churn")
    client.online_endpoints.begin_regenerate_keys("churn", key_type="primary").result()
    assert client.online_endpoints.get_keys("churn").secondary_key == before.secondary_key
    with pytest.raises(core.HttpResponseError, match="non-zero traffic weight"):
        client.online_deployments.begin_delete("blue", "churn").result()
    endpoint = client.online_endpoints.get("churn")
    endpoint.traffic = {"blue": 0}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    client.online_deployments.begin_delete("blue", "churn").result()
    client.online_endpoints.begin_delete("churn").result()
    assert (list(client.online_endpoints.list()), backend.running) == ([], 0)
    client.compute.begin_delete("cluster", action="Detach").result()
    assert list(client.compute.list()) == []


def test_environment__created__comes_back(client: Any) -> None:
    conda = {"channels": ["conda-forge"], "dependencies": ["python=3.11", {"pip": ["scikit-learn"]}]}
    made = client.environments.create_or_update(
        entities.Environment(name="train", image="mcr.microsoft.com/azureml/base", conda_file=conda)
    )
    assert client.environments.get("train", made.version).conda_file == conda


@needs_blob
def test_upload__local_model_and_code__reach_the_service(
    client: Any, cloud: Cloud, backend: EchoBackend, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.pkl").write_bytes(b"weights")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text("def init(): ...\ndef run(data): ...\n", encoding="utf-8")
    client.online_endpoints.begin_create_or_update(_endpoint()).result()
    deployment = entities.ManagedOnlineDeployment(
        name="blue",
        endpoint_name="churn",
        model=entities.Model(name="local", path=str(tmp_path / "model")),
        code_configuration=entities.CodeConfiguration(code=str(tmp_path / "code"), scoring_script="score.py"),
        environment=entities.Environment(
            name="env", image="mcr.microsoft.com/azureml/base", conda_file={"dependencies": ["python=3.11"]}
        ),
        instance_type="Standard_DS3_v2",
        instance_count=1,
    )
    made = client.online_deployments.begin_create_or_update(deployment).result()
    assert made.provisioning_state == "Succeeded"
    (spec,) = backend.specs
    assert (spec.script, json.loads(spec.environment)) == ("score.py", {"dependencies": ["python=3.11"]})
    assert spec.script_folder is not None
    assert (spec.script_folder / "score.py").read_text(encoding="utf-8").startswith("def init")
    assert spec.model_folder is not None
    assert [path.read_bytes() for path in spec.model_folder.rglob("model.pkl")] == [b"weights"]


def test_operation__that_takes_long__is_waited_for(client: Any, cloud: Cloud) -> None:
    cloud.scripts.add("online-endpoint-create", after_polls(4, "Creating", "Creating", "Succeeded"))
    made = client.online_endpoints.begin_create_or_update(_endpoint()).result()
    assert made.provisioning_state == "Succeeded"
    assert len(cloud.trace.find(path="mfeOperationsStatus")) == 9
