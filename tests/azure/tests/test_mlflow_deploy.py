"""azureml-mlflow's deployment client: a model of the registry on ACI, on AKS and behind a managed endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import mms_errors, world
from tests.azure.arm import operations
from tests.azure.backends import Serving
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests import test_mlflow
from tests.azure.tests.caller import Caller

mlflow = pytest.importorskip("mlflow", reason="needs requirements/azure-tests.txt")
deployments = pytest.importorskip("mlflow.deployments")
pandas = pytest.importorskip("pandas")

client, run = test_mlflow.client, test_mlflow.run
_MODEL = """
flavors:
  python_function:
    env: {conda: conda.yaml}
    loader_module: mlflow.sklearn
    model_path: model.pkl
    python_version: 3.11.7
mlflow_version: 3.15.0
signature:
  inputs: '[{"type": "double", "name": "a"}]'
  outputs: '[{"type": "double"}]'
"""


FRAME = pandas.DataFrame({"a": [1.0, 2.0]})
# What the echo makes of it: the client's envelope, as it comes back.
ECHOED = {"columns": ["a"], "index": [0, 1], "data": [[1.0], [2.0]]}


@pytest.fixture
def logged(client: Any, run: Any, tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(_MODEL)
    (folder / "model.pkl").write_bytes(b"pickle")
    (folder / "conda.yaml").write_text("name: mlflow-env\ndependencies: [python=3.11.7, pip, {pip: [scikit-learn]}]\n")
    (folder / "requirements.txt").write_text("scikit-learn\n")
    client.log_artifacts(run.info.run_id, str(folder), "model")
    return f"runs:/{run.info.run_id}/model"


@pytest.fixture
def registered(client: Any, run: Any, logged: str) -> str:
    client.create_registered_model("churn")
    client.create_model_version("churn", f"{run.info.artifact_uri}/model", run.info.run_id)
    return "models:/churn/1"


@pytest.fixture
def deployer(client: Any, cloud: Cloud, tmp_path: Path) -> Any:
    # Without advice the client waits 30 s between polls.
    cloud.state(operations.Operations).retry_after_s = 0.05
    return deployments.get_deploy_client(test_mlflow.URI)


@pytest.fixture
def cluster(azure: Emulator, http: requests.Session) -> str:
    place = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/aks"
    body = {"location": world.REGION, "properties": {"computeType": "AKS", "resourceId": place}}
    arm = Caller(http, "2020-02-02")
    assert arm.settle(arm.put("/computes/aks1", body))["status"] == "Succeeded"
    return "aks1"


def _file(path: Path, **content: Any) -> dict[str, str]:
    path.write_text(json.dumps(content))
    return {"deploy-config-file": str(path), "endpoint-config-file": str(path)}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "aci.json"
    path.write_text(json.dumps({"computeType": "aci", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 1}}))
    return {"deploy-config-file": str(path)}


def test_deployment__of_a_registered_model__is_told_called_listed_and_deleted(
    deployer: Any, registered: str, config: dict[str, str], azure: Emulator, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    made = deployer.create_deployment("churn-svc", registered, config=config)
    assert made["state"] == "Healthy"
    assert deployer.predict("churn-svc", FRAME)["input_data"].to_dict() == ECHOED
    assert deployer.get_deployment("churn-svc")["scoringUri"].endswith(f".{world.REGION}.azurecontainer.io/score")
    assert [one["name"] for one in deployer.list_deployments()] == ["churn-svc"]
    config_file = Path(config["deploy-config-file"])
    config_file.write_text(json.dumps({"computeType": "aci", "description": "new", "tags": {"t": "2"}}))
    deployer.update_deployment("churn-svc", config=config)
    assert deployer.get_deployment("churn-svc")["description"] == "new"
    deployer.delete_deployment("churn-svc")
    with pytest.raises(mlflow.exceptions.MlflowException):
        deployer.get_deployment("churn-svc")


def test_deployment__that_crashes__fails_with_azures_reason_as_its_cause(
    deployer: Any, registered: str, config: dict[str, str], cloud: Cloud
) -> None:
    mms_errors.provoke(cloud, "aci-crashloop", service="churn-svc")
    with pytest.raises(mlflow.exceptions.MlflowException, match="Error while creating deployment") as failed:
        deployer.create_deployment("churn-svc", registered, config=config)
    assert "AciDeploymentFailed" in str(failed.value.__cause__)


def test_deployment__on_aks__is_told_called_with_a_key_updated_and_deleted(
    deployer: Any, registered: str, cluster: str, tmp_path: Path, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    config = _file(
        tmp_path / "aks.json",
        computeType="aks",
        computeTargetName=cluster,
        autoScaler={"autoscaleEnabled": False},
        numReplicas=2,
    )
    made = deployer.create_deployment("churn-aks", registered, config=config)
    assert (made["state"], made["numReplicas"]) == ("Healthy", 2)
    assert [one["name"] for one in deployer.list_deployments()] == ["churn-aks"]
    assert deployer.predict("churn-aks", FRAME)["input_data"].to_dict() == ECHOED
    [scored] = cloud.trace.find(method="POST", path="/service/churn-aks/score")
    assert scored.request_headers.get("Authorization").startswith("Bearer ")
    deployer.update_deployment("churn-aks", config=_file(tmp_path / "aks.json", computeType="aks", numReplicas=3))
    assert deployer.get_deployment("churn-aks")["numReplicas"] == 3
    deployer.delete_deployment("churn-aks")
    assert deployer.list_deployments() == []


def test_deployment__behind_a_managed_endpoint__is_created_called_updated_and_deleted(
    deployer: Any, registered: str, tmp_path: Path, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    endpoint = deployer.create_endpoint(
        "churn-ep", _file(tmp_path / "endpoint.json", auth_mode="key", identity={"type": "system_assigned"})
    )
    assert (endpoint["name"], endpoint["properties"]["provisioningState"]) == ("churn-ep", "Succeeded")
    config = _file(tmp_path / "blue.json", instance_type="Standard_DS2_v2", instance_count=1)
    made = deployer.create_deployment("blue", registered, config=config, endpoint="churn-ep")
    assert (made["name"], made["properties"]["provisioningState"]) == ("blue", "Succeeded")
    assert made["properties"]["model"].endswith("/models/churn/versions/1")
    deployer.update_endpoint("churn-ep", _file(tmp_path / "endpoint.json", traffic={"blue": 100}))
    assert deployer.get_endpoint("churn-ep")["properties"]["traffic"] == {"blue": 100}
    assert deployer.predict(endpoint="churn-ep", df=FRAME)["input_data"].to_dict() == ECHOED
    assert deployer.predict("blue", FRAME, endpoint="churn-ep")["input_data"].to_dict() == ECHOED
    assert cloud.trace.find(method="POST", path="/score")[-1].request_headers.get("azureml-model-deployment") == "blue"
    config = _file(tmp_path / "blue.json", instance_count=2)
    deployer.update_deployment("blue", config=config, endpoint="churn-ep")
    assert deployer.get_deployment("blue", "churn-ep")["sku"]["capacity"] == 2
    assert [one["name"] for one in deployer.list_deployments("churn-ep")] == ["blue"]
    deployer.delete_deployment("blue", endpoint="churn-ep")
    assert deployer.list_deployments("churn-ep") == []
    deployer.delete_endpoint("churn-ep")
    assert deployer.list_endpoints() == []


def test_deployment__whose_endpoint_goes_with_it__serves_all_of_its_traffic_with_tokens(
    deployer: Any, registered: str, tmp_path: Path, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    config = _file(tmp_path / "d.json", instance_type="Standard_DS2_v2", instance_count=1)
    deployer.create_deployment("churn-one", registered, config=config)
    endpoint = deployer.get_endpoint("churn-one")
    assert (endpoint["properties"]["authMode"], endpoint["properties"]["traffic"]) == ("AMLToken", {"churn-one": 100})
    assert deployer.predict("churn-one", FRAME)["input_data"].to_dict() == ECHOED
    assert [one["endpointName"] for one in deployer.list_deployments()] == ["churn-one"]
    deployer.delete_deployment("churn-one", delete_empty_endpoint=True)
    assert deployer.list_endpoints() == []


@test_mlflow.only_mlflow_3
def test_deployment__by_a_runs_uri__fails_with_mlflow_3_and_leaves_an_empty_model(
    deployer: Any, client: Any, logged: str, config: dict[str, str], cloud: Cloud
) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException, match=test_mlflow.NO_LOGGED_MODELS):
        deployer.create_deployment("churn-svc", logged, config=config)
    assert client.get_registered_model("churn-svc-model").latest_versions == []
    assert cloud.trace.find(method="POST", path="/services$") == []


@test_mlflow.only_mlflow_2
def test_deployment__by_a_runs_uri__is_registered_and_made_with_mlflow_2(
    deployer: Any, client: Any, logged: str, config: dict[str, str]
) -> None:
    assert deployer.create_deployment("churn-svc", logged, config=config)["state"] == "Healthy"
    assert client.get_registered_model("churn-svc-model").latest_versions[0].version == "1"
