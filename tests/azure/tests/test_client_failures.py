"""What each failure becomes in the unpatched clients: the class they raise, and what of Azure's words is left in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.azure import aadsts, entra, failures, faults, world
from tests.azure.arm import operations
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests import test_azureml_core, test_mlflow, test_mlflow_deploy

core = pytest.importorskip("azureml.core", reason="needs requirements/azure-tests.txt")
exceptions = pytest.importorskip("azureml.exceptions")
azure_core = pytest.importorskip("azure.core.exceptions")
azure_identity = pytest.importorskip("azure.identity")
mlflow = pytest.importorskip("mlflow")
compute = pytest.importorskip("azureml.core.compute")
# The class that azureml-core's service principal raises is not among its published exceptions.
azure_cli_error = pytest.importorskip("azureml._vendor.azure_cli_core.azclierror")
Model, Workspace = core.Model, core.Workspace
AciWebservice = pytest.importorskip("azureml.core.webservice").AciWebservice
ServicePrincipalAuthentication = pytest.importorskip("azureml.core.authentication").ServicePrincipalAuthentication

workspace, model, inference = test_azureml_core.workspace, test_azureml_core.model, test_azureml_core.inference
client, run, logged = test_mlflow.client, test_mlflow.run, test_mlflow_deploy.logged
registered, deployer = test_mlflow_deploy.registered, test_mlflow_deploy.deployer

_ARM = "management.azure.com"
_WORKSPACE = r"/workspaces/[^/]+$"


def _workspace() -> Any:
    auth = ServicePrincipalAuthentication(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    names = {"subscription_id": world.SUBSCRIPTION_ID, "resource_group": world.RESOURCE_GROUP}
    return Workspace.get(world.WORKSPACE, auth=auth, **names)


@pytest.mark.parametrize(
    ("name", "code"), [("aad-bad-secret", 7000215), ("aad-no-app", 700016), ("aad-assertion-expired", 700024)]
)
def test_sign_in__refused__is_each_librarys_own_exception_with_the_code(
    name: str, code: int, azure: Emulator, cloud: Cloud
) -> None:
    failures.lay(cloud, name)
    with pytest.raises(azure_core.ClientAuthenticationError, match=f"Authentication failed: AADSTS{code}: "):
        azure_identity.ClientSecretCredential(world.TENANT_ID, world.CLIENT_ID, "x").get_token(
            "https://management.azure.com/.default"
        )
    cloud.faults.add(aadsts.on_demand(code), host=entra.HOST, method="POST", times=None)
    with pytest.raises(azure_cli_error.AuthenticationError, match=f"AADSTS{code}: "):
        _workspace()


def test_workspace__forbidden__is_a_project_system_exception_with_azures_json(azure: Emulator, cloud: Cloud) -> None:
    failures.lay(cloud, "arm-403-workspace")
    with pytest.raises(exceptions.ProjectSystemException) as raised:
        _workspace()
    told = json.loads(raised.value.message)
    assert set(told) == {"error_details", "status_code", "url"}
    assert told["status_code"] == 403
    assert told["error_details"]["error"]["code"] == "AuthorizationFailed"


def test_workspace__missing__is_a_project_system_exception_that_says_so(azure: Emulator, cloud: Cloud) -> None:
    failures.lay(cloud, "ws-not-found")
    with pytest.raises(exceptions.ProjectSystemException, match=r"Workspace not found\."):
        _workspace()


@pytest.mark.parametrize("name", ["arm-429b", "arm-500"])
def test_workspace__throttled_or_broken__is_asked_for_again_and_then_told(
    name: str, azure: Emulator, cloud: Cloud
) -> None:
    status = 429 if name == "arm-429b" else 500
    code = "TooManyRequests" if status == 429 else "InternalServerError"
    answer = faults.json_error(status, {"error": {"code": code, "message": "m"}}, headers={"Retry-After": "1"})
    rule = cloud.faults.add(answer, host=_ARM, method="GET", path=_WORKSPACE, times=None)
    with pytest.raises(exceptions.ProjectSystemException, match=code):
        _workspace()
    assert rule.hits > 1


def test_subscriptions__forbidden__is_azure_cores_http_error(azure: Emulator, cloud: Cloud) -> None:
    error = {"error": {"code": "AuthorizationFailed", "message": "The client may not list subscriptions."}}
    cloud.faults.add(faults.json_error(403, error), host=_ARM, method="GET", path="/subscriptions$")
    with pytest.raises(azure_core.HttpResponseError, match=r"\(AuthorizationFailed\) The client may not"):
        _workspace()


@pytest.mark.parametrize(("name", "status"), [("mms-service-exists", 409), ("mms-429", 429), ("mms-503", 503)])
def test_deployment__refused__is_a_webservice_exception_with_the_body_as_bytes(  # noqa: PLR0917  # fixtures
    name: str, status: int, workspace: Any, model: Any, inference: Any, cloud: Cloud
) -> None:
    rule = failures.lay(cloud, name)
    assert rule is not None
    # azureml-core asks again after a 429 or a 503.
    rule.times = None
    with pytest.raises(exceptions.WebserviceException) as raised:
        Model.deploy(workspace, "churn-svc", [model], inference, AciWebservice.deploy_configuration())
    text = raised.value.message
    assert text.startswith("Received bad response from Model Management Service:")
    assert f"Response Code: {status}" in text
    body = text.partition("Content: b'")[2]
    assert json.loads(body[: body.rindex("}") + 1])["statusCode"] == status


def test_deployment__whose_resources_are_refused__is_a_webservice_exception_with_the_message(
    workspace: Any, model: Any, inference: Any, cloud: Cloud
) -> None:
    failures.lay(cloud, "validate-resource")
    with pytest.raises(exceptions.WebserviceException, match="The resources asked for are not to be had"):
        Model.deploy(workspace, "churn-svc", [model], inference, AciWebservice.deploy_configuration())


@pytest.mark.parametrize(
    ("name", "code", "where"),
    [
        ("aci-crashloop", "AciDeploymentFailed", "More information can be found using '.get_logs()'"),
        ("env-build-failed", "EnvironmentBuildFailed", "More information can be found here: https://"),
    ],
    ids=["script", "build"],
)
def test_deployment__whose_operation_fails__tells_state_operation_and_error(  # noqa: PLR0917  # fixtures
    name: str, code: str, where: str, workspace: Any, model: Any, inference: Any, cloud: Cloud
) -> None:
    failures.lay(cloud, name)
    service = Model.deploy(workspace, "churn-svc", [model], inference, AciWebservice.deploy_configuration())
    with pytest.raises(exceptions.WebserviceException) as raised:
        service.wait_for_deployment()
    head, _, tail = raised.value.message.partition("Error:\n")
    assert head.startswith(
        "Service deployment polling reached non-successful terminal state, current service state: Failed\n"
        "Operation ID: "
    )
    assert head.splitlines()[2].startswith(where)
    # The client prints what Azure escaped without its escapes, so that this is JSON to the eye alone.
    assert f'"code": "{code}"' in tail


def test_compute__refused__is_a_compute_target_exception(workspace: Any, cloud: Cloud) -> None:
    failures.lay(cloud, "aks-name-invalid")
    config = compute.AksCompute.provisioning_configuration()
    with pytest.raises(
        exceptions.ComputeTargetException, match="Received bad response from Resource Provider"
    ) as raised:
        compute.ComputeTarget.create(workspace, "aks2", config)
    assert "Response Code: 400" in raised.value.message
    assert "Compute name is invalid" in raised.value.message


def test_artifact__forbidden__loses_azures_words(workspace: Any, cloud: Cloud) -> None:
    failures.lay(cloud, "register-forbidden")
    Path("model.pkl").write_bytes(b"x")
    with pytest.raises(exceptions.UserErrorException) as raised:
        Model.register(workspace, model_path="model.pkl", model_name="churn")
    assert "Operation returned an invalid status code 'Forbidden'" in raised.value.message
    assert "may not write artifacts" not in raised.value.message


def test_blob__forbidden__is_azure_cores_http_error_with_storages_code(workspace: Any, cloud: Cloud) -> None:
    failures.lay(cloud, "blob-403")
    Path("model.pkl").write_bytes(b"x")
    with pytest.raises(azure_core.HttpResponseError, match="ErrorCode:AuthorizationFailure"):
        Model.register(workspace, model_path="model.pkl", model_name="churn")


def test_model__missing__is_the_clients_own_words_for_an_empty_list(workspace: Any) -> None:
    with pytest.raises(exceptions.WebserviceException, match="ModelNotFound: Model with name missing"):
        Model(workspace, name="missing")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mir-quota", r"\(BadRequest\) The request is invalid\."),
        ("arm-429b", r"\(TooManyRequests\) The request is being throttled\."),
        ("mir-crash", r"\(ResourceNotReady\) User container has crashed or terminated"),
    ],
    ids=["quota", "throttled", "crashed"],
)
def test_managed_deployment__refused_or_failed__is_azure_cores_http_error(  # noqa: PLR0917  # fixtures
    name: str, text: str, deployer: Any, registered: str, tmp_path: Path, cloud: Cloud
) -> None:
    endpoint = tmp_path / "endpoint.json"
    endpoint.write_text(json.dumps({"auth_mode": "key"}))
    deployer.create_endpoint("churn-ep", {"endpoint-config-file": str(endpoint)})
    config = tmp_path / "blue.json"
    config.write_text(json.dumps({"instance_type": "Standard_DS2_v2", "instance_count": 1}))
    if name == "arm-429b":
        error = {"error": {"code": "TooManyRequests", "message": "The request is being throttled."}}
        answer = faults.json_error(429, error, headers={"x-ms-retry-after-ms": "1"})
        cloud.faults.add(answer, host=_ARM, method="PUT", path=r"/deployments/blue$", times=None)
    else:
        failures.lay(cloud, name)
    with pytest.raises(azure_core.HttpResponseError, match=text):
        deployer.create_deployment("blue", registered, config={"deploy-config-file": str(config)}, endpoint="churn-ep")


def test_mlflow__refused_without_its_own_code__is_an_internal_error(client: Any, cloud: Cloud) -> None:
    failures.lay(cloud, "mlflow-401")
    with pytest.raises(mlflow.exceptions.RestException) as raised:
        client.get_run("missing")
    assert raised.value.error_code == "INTERNAL_ERROR"


def test_mlflow__throttled_for_ever__is_an_mlflow_exception_of_retries(client: Any, cloud: Cloud) -> None:
    failures.lay(cloud, "mlflow-429")
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"Max retries exceeded|too many 429"):
        client.get_run("missing")
    assert len(cloud.trace.find(path="runs/get")) > 1


def test_mlflow__run_that_is_missing__bears_mlflows_code(client: Any, cloud: Cloud) -> None:
    failures.lay(cloud, "run-not-found")
    with pytest.raises(mlflow.exceptions.RestException) as raised:
        client.get_run("missing")
    assert raised.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_v1_deployment__that_fails__hides_azures_reason_in_its_cause(
    deployer: Any, registered: str, cloud: Cloud
) -> None:
    cloud.state(operations.Operations).retry_after_s = 0.05
    failures.lay(cloud, "mms-service-exists", service="churn-svc")
    with pytest.raises(mlflow.exceptions.MlflowException, match="Error while creating deployment") as raised:
        deployer.create_deployment("churn-svc", registered)
    assert "ServiceExists" in str(raised.value.__cause__)
