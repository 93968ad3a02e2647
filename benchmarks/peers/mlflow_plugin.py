"""A model of a run on ACI by MLflow's own door: registered, then `mlflow.deployments` with azureml-mlflow, then called once."""

import json
import sys
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.deployments import get_deploy_client

tracking_uri, run_id, service_name = sys.argv[1:4]
mlflow.set_tracking_uri(tracking_uri)
client = mlflow.MlflowClient()
run = client.get_run(run_id)
client.create_registered_model("churn")
version = client.create_model_version("churn", f"{run.info.artifact_uri}/model", run_id)
Path("aci.json").write_text(
    json.dumps(
        {"computeType": "aci", "containerResourceRequirements": {"cpu": 1, "memoryInGB": 1}, "authEnabled": True}
    )
)
deployer = get_deploy_client(tracking_uri)
made = deployer.create_deployment(
    service_name, f"models:/churn/{version.version}", config={"deploy-config-file": "aci.json"}
)
assert made["state"] == "Healthy", made
print(deployer.predict(service_name, pd.DataFrame({"x": [1.5]})))
