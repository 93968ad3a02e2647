"""azureml-mlflow's deployment client on its first path: a model of the registry as a service on ACI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.azure import mms_errors, world
from tests.azure.arm import operations
from tests.azure.backends import Serving
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests import test_mlflow

mlflow = pytest.importorskip("mlflow", reason="needs requirements/azure-tests.txt")
deployments = pytest.importorskip("mlflow.deployments")

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


@pytest.fixture
def registered(client: Any, run: Any, tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(_MODEL)
    (folder / "model.pkl").write_bytes(b"pickle")
    (folder / "conda.yaml").write_text("name: mlflow-env\ndependencies: [python=3.11.7, pip, {pip: [scikit-learn]}]\n")
    (folder / "requirements.txt").write_text("scikit-learn\n")
    client.log_artifacts(run.info.run_id, str(folder), "model")
    client.create_registered_model("churn")
    client.create_model_version("churn", f"{run.info.artifact_uri}/model", run.info.run_id)
    return "models:/churn/1"


@pytest.fixture
def deployer(client: Any, cloud: Cloud, tmp_path: Path) -> Any:
    # Without advice the client waits 30 s between polls.
    cloud.state(operations.Operations).retry_after_s = 0.05
    return deployments.get_deploy_client(test_mlflow.URI)


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
