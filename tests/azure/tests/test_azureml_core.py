"""azureml-core 1.61, unpatched: workspace, models, environments and services on ACI and AKS.

It polls with sleeps of 5 s that nothing shortens: each kind of service is deployed once, and the file runs well with -n 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.azure import mms_errors, registry, roles, world
from tests.azure.arm import computes, workspaces
from tests.azure.backends import Serving
from tests.azure.server import Emulator
from tests.azure.state import Cloud

core = pytest.importorskip("azureml.core", reason="needs requirements/azure-tests.txt")
Environment, Model, Webservice, Workspace = core.Environment, core.Model, core.Webservice, core.Workspace
compute = pytest.importorskip("azureml.core.compute")
webservice = pytest.importorskip("azureml.core.webservice")
AciWebservice, AksWebservice = webservice.AciWebservice, webservice.AksWebservice
InferenceConfig = pytest.importorskip("azureml.core.model").InferenceConfig
ServicePrincipalAuthentication = pytest.importorskip("azureml.core.authentication").ServicePrincipalAuthentication
exceptions = pytest.importorskip("azureml.exceptions")
UserErrorException, WebserviceException = exceptions.UserErrorException, exceptions.WebserviceException


@pytest.fixture
def workspace(azure: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    auth = ServicePrincipalAuthentication(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    return Workspace.get(
        world.WORKSPACE, auth=auth, subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP
    )


@pytest.fixture
def model(workspace: Any) -> Any:
    folder = Path("mdl")
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"pickle")
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")
    return Model.register(workspace, model_path="mdl", model_name="churn", tags={"a": "b"}, properties={"p": "q"})


@pytest.fixture
def inference(workspace: Any) -> Any:
    source = Path("source")
    source.mkdir()
    (source / "score.py").write_text("def init():\n    pass\n\n\ndef run(data):\n    return data\n")
    return InferenceConfig(entry_script="score.py", source_directory="source", environment=Environment("env"))


@pytest.fixture
def cluster(workspace: Any, cloud: Cloud) -> Any:
    config = compute.AksCompute.attach_configuration(resource_group=world.RESOURCE_GROUP, cluster_name="aks")
    attached = compute.ComputeTarget.attach(workspace, "aks1", config)
    attached.wait_for_completion()
    assert cloud.state(computes.Computes).get(cloud.state(workspaces.Workspaces).default.key, "aks1") is not None
    return attached


def test_workspace__got_by_name__knows_its_services(workspace: Any) -> None:
    assert (workspace.name, workspace.location) == (world.WORKSPACE, world.REGION)
    assert workspace.get_mlflow_tracking_uri().startswith(f"azureml://{world.REGION}.api.azureml.ms/mlflow/v2.0/")


def test_model__registered__is_listed_downloaded_updated_and_deleted(workspace: Any, model: Any, cloud: Cloud) -> None:
    again = Model.register(workspace, model_path="mdl", model_name="churn")
    assert (model.id, again.id) == ("churn:1", "churn:2")
    assert [one.id for one in Model.list(workspace, name="churn")] == ["churn:2", "churn:1"]
    assert [one.id for one in Model.list(workspace, tags=["a"])] == ["churn:1"]
    got = Model(workspace, id="churn:1")
    assert (got.tags, got.properties, got.version) == ({"a": "b"}, {"p": "q"}, 1)
    assert Model(workspace, name="churn").version == 2
    assert (Path(got.download(target_dir="got")) / "model.pkl").read_bytes() == b"pickle"
    got.add_tags({"c": "d"})
    assert Model(workspace, id="churn:1").tags == {"a": "b", "c": "d"}
    # What v1 registers, ARM and MLflow show as well.
    found = registry.get(cloud, cloud.state(workspaces.Workspaces).default, "churn")
    assert found is not None
    assert sorted(found.versions) == ["1", "2"]
    got.delete()
    assert [one.id for one in Model.list(workspace, name="churn")] == ["churn:2"]


def test_model__that_is_missing__is_not_found_by_the_client(workspace: Any) -> None:
    with pytest.raises(Exception, match="ModelNotFound"):
        Model(workspace, name="missing")
    with pytest.raises(WebserviceException, match="NotFound"):
        Model(workspace, id="missing:1")


def test_model__registered_by_a_reader__is_forbidden(workspace: Any, cloud: Cloud) -> None:
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.SUBSCRIPTION_SCOPE)
    Path("model.pkl").write_bytes(b"x")
    with pytest.raises(UserErrorException, match="invalid status code 'Forbidden'"):
        Model.register(workspace, model_path="model.pkl", model_name="churn")


def test_aci__deployed__is_called_updated_listed_and_deleted(
    workspace: Any, model: Any, inference: Any, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    config = AciWebservice.deploy_configuration(
        cpu_cores=0.5, memory_gb=1, tags={"t": "1"}, auth_enabled=True, dns_name_label="churn-dns"
    )
    service = Model.deploy(workspace, "churn-aci", [model], inference, config)
    service.wait_for_deployment(show_output=True)
    assert (service.state, service.error) == ("Healthy", None)
    assert service.scoring_uri == f"http://churn-dns.{world.REGION}.azurecontainer.io/score"
    assert [one.id for one in service.models] == ["churn:1"]
    assert service.environment.name == "env"
    assert service.run(json.dumps({"data": [1]})) == {"data": [1]}
    assert service.get_logs() == ""
    before = service.get_keys()
    service.regen_key("Primary", set_key="mine")
    assert service.get_keys() == ("mine", before[1])
    service.update(tags={"t": "2"}, description="new")
    service.update_deployment_state()
    assert (service.tags, service.description) == ({"t": "2"}, "new")
    with pytest.raises(WebserviceException, match="with the same name already exists"):
        Model.deploy(workspace, "churn-aci", [model], inference, config)
    assert [one.name for one in Webservice.list(workspace, compute_type="ACI", model_name="churn")] == ["churn-aci"]
    assert Webservice.list(workspace, tags=["t=3"]) == []
    service.delete()
    with pytest.raises(WebserviceException, match="WebserviceNotFound"):
        Webservice(workspace, "churn-aci")


def test_aks__deployed_with_tokens__is_called_and_scaled(
    workspace: Any, model: Any, inference: Any, cluster: Any, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    config = AksWebservice.deploy_configuration(
        cpu_cores=0.5, memory_gb=1, token_auth_enabled=True, auth_enabled=False, num_replicas=2
    )
    service = Model.deploy(workspace, "churn-aks", [model], inference, config, deployment_target=cluster)
    service.wait_for_deployment()
    assert service.state == "Healthy"
    assert service.scoring_uri == "http://203.0.113.1:80/api/v1/service/churn-aks/score"
    assert (service.num_replicas, service.autoscaler.autoscale_enabled) == (2, False)
    assert service.get_access_token().token_type == "Bearer"
    assert service.run(json.dumps([1])) == [1]
    service.update(num_replicas=3, description="three")
    service.wait_for_deployment()
    service.update_deployment_state()
    assert (service.num_replicas, service.deployment_status["availableReplicas"]) == (3, 3)
    service.delete()
    assert Webservice.list(workspace) == []


def test_service__whose_script_crashes__tells_the_operations_error_and_its_log(
    workspace: Any, model: Any, inference: Any, cloud: Cloud
) -> None:
    mms_errors.provoke(cloud, "aci-crashloop", service="churn-bad", log="Traceback: no such model\n")
    service = Model.deploy(workspace, "churn-bad", [model], inference, AciWebservice.deploy_configuration())
    with pytest.raises(WebserviceException) as failed:
        service.wait_for_deployment()
    assert "current service state: Failed" in failed.value.message
    assert '"code": "AciDeploymentFailed"' in failed.value.message
    assert '"code": "CrashLoopBackOff"' in failed.value.message
    assert service.get_logs() == "Traceback: no such model\n"


def test_environment__registered_and_built__succeeds(workspace: Any) -> None:
    environment = Environment("churn-env")
    environment.python.conda_dependencies.add_pip_package("scikit-learn")
    registered = environment.register(workspace)
    assert (registered.name, registered.version) == ("churn-env", "1")
    got = Environment.get(workspace, "churn-env")
    assert "scikit-learn" in list(got.python.conda_dependencies.pip_packages)
    assert got.register(workspace).version == "1"
    got.version = None
    got.python.conda_dependencies.add_pip_package("numpy")
    assert got.register(workspace).version == "2"
    assert set(Environment.list(workspace)) == {"churn-env"}
    assert registered.build(workspace).wait_for_completion(show_output=False).status == "Succeeded"


def test_aks__cluster__is_made_listed_detached_and_deleted(workspace: Any, cloud: Cloud) -> None:
    config = compute.AksCompute.provisioning_configuration(vm_size="Standard_D3_v2", agent_count=2)
    made = compute.ComputeTarget.create(workspace, "aks1", config)
    made.wait_for_completion()
    assert (made.provisioning_state, made.agent_count, made.agent_vm_size) == ("Succeeded", 2, "Standard_D3_v2")
    assert compute.AksCompute(workspace, "aks1").cluster_purpose == "FastProd"
    assert [one.name for one in compute.ComputeTarget.list(workspace)] == ["aks1"]
    made.delete()
    with pytest.raises(exceptions.ComputeTargetException, match="ComputeTargetNotFound"):
        _gone(workspace, "aks1")
    config = compute.AksCompute.attach_configuration(resource_group=world.RESOURCE_GROUP, cluster_name="aks")
    attached = compute.ComputeTarget.attach(workspace, "aks2", config)
    attached.wait_for_completion()
    assert attached.cluster_resource_id.endswith("/managedClusters/aks")
    attached.detach()
    with pytest.raises(exceptions.ComputeTargetException, match="ComputeTargetNotFound"):
        _gone(workspace, "aks2")
    assert compute.ComputeTarget.list(workspace) == []


def _gone(workspace: Any, name: str) -> None:
    """The client does not wait for a deletion: its operation is over when this has been asked for twice."""
    for _ in range(3):
        compute.AksCompute(workspace, name)


def test_aks__endpoint_with_versions__shares_its_traffic_between_them(
    workspace: Any, model: Any, inference: Any, cluster: Any, cloud: Cloud
) -> None:
    cloud.live(Serving).echoes = True
    config = webservice.AksEndpoint.deploy_configuration(
        cpu_cores=0.5, memory_gb=1, version_name="blue", traffic_percentile=100, auth_enabled=True
    )
    endpoint = Model.deploy(workspace, "churn-ep", [model], inference, config, deployment_target=cluster)
    endpoint.wait_for_deployment()
    assert (endpoint.state, list(endpoint.versions)) == ("Healthy", ["blue"])
    # With cores given the client looks for its own requirements, which an endpoint of its has none of.
    endpoint.create_version(version_name="green", inference_config=inference, models=[model], traffic_percentile=0)
    endpoint.wait_for_deployment()
    endpoint.update_version("green", traffic_percentile=30)
    endpoint.wait_for_deployment()
    endpoint.update_deployment_state()
    shares = {name: version.traffic_percentile for name, version in endpoint.versions.items()}
    assert shares == {"blue": 100, "green": 30}
    endpoint.update_version("blue", traffic_percentile=70)
    endpoint.wait_for_deployment()
    assert endpoint.run(json.dumps([1])) == [1]
    endpoint.delete_version("green")
    endpoint.wait_for_deployment()
    endpoint.update_deployment_state()
    assert list(endpoint.versions) == ["blue"]
    endpoint.delete()
    assert Webservice.list(workspace) == []
