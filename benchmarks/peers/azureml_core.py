"""A model of a run on ACI by azureml-core, as Microsoft's v1 documentation writes it: registered by reference, deployed, called once."""

import json
import os
import sys
from pathlib import Path

from azureml.core import Environment, Workspace
from azureml.core.authentication import ServicePrincipalAuthentication
from azureml.core.model import InferenceConfig, Model
from azureml.core.webservice import AciWebservice

subscription_id, resource_group, workspace_name, run_id, service_name = sys.argv[1:6]
auth = ServicePrincipalAuthentication(
    os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"], os.environ["AZURE_CLIENT_SECRET"]
)
workspace = Workspace.get(workspace_name, auth=auth, subscription_id=subscription_id, resource_group=resource_group)
model = workspace.get_run(run_id).register_model(service_name, model_path="model")

source = Path("source")
source.mkdir()
(source / "score.py").write_text(
    "import os, json, mlflow\n\n\n"
    "def init():\n    global model\n    model = mlflow.pyfunc.load_model(os.path.join(os.environ['AZUREML_MODEL_DIR'], 'model'))\n\n\n"
    "def run(data):\n    return model.predict(json.loads(data)['input_data']).tolist()\n"
)
Path("conda.yaml").write_text(os.environ["MODEL_CONDA"] + "  - azureml-inference-server-http==1.5.*\n")
environment = Environment.from_conda_specification("churn", "conda.yaml")
inference = InferenceConfig(entry_script="score.py", source_directory="source", environment=environment)
config = AciWebservice.deploy_configuration(cpu_cores=1, memory_gb=1, auth_enabled=True)
service = Model.deploy(workspace, service_name, [model], inference, config, overwrite=True)
service.wait_for_deployment(show_output=True)
assert service.state == "Healthy", service.state
print(service.run(json.dumps({"input_data": [[1.5]]})))
