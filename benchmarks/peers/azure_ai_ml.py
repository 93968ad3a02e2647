"""azure-ai-ml's MLClient, as Microsoft's examples write it: `deploy` a model of a run behind a managed endpoint and call it, `status`, or `cleanup`."""

import json
import os
import sys
from pathlib import Path

from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
)
from azure.identity import ClientSecretCredential

command, subscription_id, resource_group, workspace_name, run_id, service_name = sys.argv[1:7]
credential = ClientSecretCredential(
    os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"]
)
client = MLClient(credential, subscription_id, resource_group, workspace_name)
if command == "status":
    print(client.online_endpoints.get(service_name).provisioning_state)
elif command == "cleanup":
    client.online_endpoints.begin_delete(service_name).result()
else:
    source = Path("source")
    source.mkdir()
    (source / "score.py").write_text(
        "import os, json, mlflow\n\n\n"
        "def init():\n    global model\n    model = mlflow.pyfunc.load_model(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'model'))\n\n\n"
        "def run(data):\n    return model.predict(json.loads(data)['input_data']).tolist()\n"
    )
    Path("conda.yaml").write_text(os.environ["MODEL_CONDA"] + "  - azureml-inference-server-http==1.5.*\n")
    model = client.models.create_or_update(
        Model(name=service_name, path=f"azureml://jobs/{run_id}/outputs/artifacts/model", type="mlflow_model")
    )
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=service_name, auth_mode="key")).result()
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=service_name,
        model=model,
        environment=Environment(
            name="churn", image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04", conda_file="conda.yaml"
        ),
        code_configuration=CodeConfiguration(code="source", scoring_script="score.py"),
        instance_type="Standard_DS3_v2",
        instance_count=1,
    )
    client.online_deployments.begin_create_or_update(deployment).result()
    endpoint = client.online_endpoints.get(service_name)
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    Path("request.json").write_text(json.dumps({"input_data": [[1.5]]}))
    print(client.online_endpoints.invoke(service_name, request_file="request.json"))
