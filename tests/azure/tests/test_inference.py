"""Real serving: what Microsoft's own clients upload runs under Microsoft's inference server and predicts what the model predicts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import conda, environments, storage, world
from tests.azure.arm import operations
from tests.azure.backends import BuildFailed, Serving
from tests.azure.inference import InferenceServer, Port
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body
from tests.azure.tests.test_shift import EP, Callers

ml = pytest.importorskip("azure.ai.ml", reason="needs requirements/azure-tests.txt")
core = pytest.importorskip("azureml.core")
mlflow = pytest.importorskip("mlflow")
entities = pytest.importorskip("azure.ai.ml.entities")
identity = pytest.importorskip("azure.identity")

HttpResponseError = pytest.importorskip("azure.core.exceptions").HttpResponseError

ROWS = [[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]]
CONDA = "name: model\ndependencies:\n- python=3.11\n- pip\n- pip:\n  - {packages}\n"
SERVER = "azureml-inference-server-http==1.5.*"
SCORE = """
import json, os
import mlflow

def init():
    global model
    folder = os.environ["AZUREML_MODEL_DIR"]
    model = mlflow.pyfunc.load_model(next(path for path, _, files in os.walk(folder) if "MLmodel" in files))
    print("the model is loaded", os.environ.get("COLOUR"))

def run(data):
    return model.predict(json.loads(data)["input_data"]).tolist()
"""


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.linear_model import LinearRegression

    folder = tmp_path_factory.mktemp("model") / "model"
    mlflow.sklearn.save_model(LinearRegression().fit(ROWS, [3.0, 8.0, 8.5]), folder)
    return folder


@pytest.fixture
def predicted(model_folder: Path) -> list[float]:
    return list(mlflow.pyfunc.load_model(str(model_folder)).predict(ROWS))


@pytest.fixture
def real(cloud: Cloud) -> Iterator[InferenceServer]:
    server = InferenceServer()
    cloud.live(Serving).backend = server
    cloud.live(environments.Building).builder = server.environments
    cloud.state(operations.Operations).retry_after_s = 0.2
    yield server
    cloud.live(Serving).close()


@pytest.fixture
def workspace(azure: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    from azureml.core.authentication import ServicePrincipalAuthentication

    monkeypatch.chdir(tmp_path)
    auth = ServicePrincipalAuthentication(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    return core.Workspace.get(
        world.WORKSPACE, auth=auth, subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP
    )


@pytest.fixture
def client(azure: Emulator) -> Any:
    credential = identity.ClientSecretCredential(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)
    return ml.MLClient(credential, world.SUBSCRIPTION_ID, world.RESOURCE_GROUP, world.WORKSPACE)


def conda_of(model_folder: Path, *more: str) -> str:
    lines = (model_folder / "requirements.txt").read_text().split()
    return CONDA.format(packages="\n  - ".join([*lines, *more]))


def deploy_aci(workspace: Any, model_folder: Path, *, score: str, conda_text: str) -> tuple[Any, str]:
    """A service whose deployment has come to its end, and what the client says when that was a failure."""
    from azureml.core.model import InferenceConfig, Model
    from azureml.core.webservice import AciWebservice
    from azureml.exceptions import WebserviceException

    Path("source").mkdir()
    Path("source/score.py").write_text(score)
    Path("conda.yml").write_text(conda_text)
    Path("model").symlink_to(model_folder)
    environment = core.Environment.from_conda_specification("env", "conda.yml")
    environment.environment_variables["COLOUR"] = "blue"
    model = Model.register(workspace, model_path="model", model_name="churn")
    inference = InferenceConfig(entry_script="score.py", source_directory="source", environment=environment)
    config = AciWebservice.deploy_configuration(cpu_cores=0.5, memory_gb=1, auth_enabled=True)
    service = Model.deploy(workspace, "churn-aci", [model], inference, config)
    failure = ""
    try:
        service.wait_for_deployment()
    except WebserviceException as error:
        failure = str(error)
    service.update_deployment_state()
    return service, failure


def test_aci__model_with_a_script__predicts_what_the_model_predicts(
    workspace: Any, model_folder: Path, predicted: list[float], real: InferenceServer
) -> None:
    service, failure = deploy_aci(workspace, model_folder, score=SCORE, conda_text=conda_of(model_folder, SERVER))
    assert (service.state, failure) == ("Healthy", "")
    assert service.run(json.dumps({"input_data": ROWS})) == pytest.approx(predicted)
    assert "the model is loaded blue" in service.get_logs()
    key = service.get_keys()[0]
    with requests.Session() as session:
        for header, status in (
            ({"Authorization": f"Bearer {key}"}, 200),
            ({}, 401),
            ({"Authorization": "Bearer x"}, 401),
        ):
            answer = session.post(service.scoring_uri, json={"input_data": ROWS}, headers=header)
            assert answer.status_code == status
    service.delete()


def test_aci__init_raises__fails_as_azure_does_with_its_log(
    workspace: Any, model_folder: Path, real: InferenceServer
) -> None:
    crash = "def init():\n    raise RuntimeError('no such column')\n\ndef run(data):\n    return data\n"
    service, failure = deploy_aci(workspace, model_folder, score=crash, conda_text=CONDA.format(packages=SERVER))
    assert service.state == "Failed"
    assert "CrashLoopBackOff" in failure
    assert "RuntimeError: no such column" in service.get_logs()


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize(
    ("packages", "told"),
    [("numpy==99.9", "numpy==99.9"), ("scikit-learn\n- libgomp", "ResolvePackageNotFound")],
    ids=["pip", "conda"],
)
def test_aci__environment_that_cannot_be_made__fails_its_build(
    packages: str, told: str, workspace: Any, model_folder: Path, azure: Emulator
) -> None:
    service, failure = deploy_aci(workspace, model_folder, score=SCORE, conda_text=CONDA.format(packages=packages))
    assert service.state == "Failed"
    assert "EnvironmentBuildFailed" in failure
    cloud = azure.cloud
    ((_, log),) = storage.under(cloud, world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER, "ImageLogs/")
    assert told in log.read_text(encoding="utf-8")


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("is_no_code", [False, True], ids=["script", "no-code"])
def test_managed__model__predicts_what_the_model_predicts(
    is_no_code: bool, client: Any, model_folder: Path, predicted: list[float], tmp_path: Path
) -> None:
    model = client.models.create_or_update(
        entities.Model(name="churn", version="1", path=str(model_folder), type="mlflow_model")
    )
    client.online_endpoints.begin_create_or_update(
        entities.ManagedOnlineEndpoint(name="churn", auth_mode="key")
    ).result()
    more: dict[str, Any] = {}
    if not is_no_code:
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "score.py").write_text(SCORE)
        (tmp_path / "conda.yml").write_text(conda_of(model_folder, SERVER))
        more = {
            "code_configuration": entities.CodeConfiguration(code=str(tmp_path / "code"), scoring_script="score.py"),
            "environment": entities.Environment(
                name="env", version="1", image="mcr.microsoft.com/azureml/x", conda_file=str(tmp_path / "conda.yml")
            ),
            "environment_variables": {"COLOUR": "green"},
        }
    deployment = entities.ManagedOnlineDeployment(
        name="blue", endpoint_name="churn", model=model.id, instance_type="Standard_DS3_v2", instance_count=1, **more
    )
    client.online_deployments.begin_create_or_update(deployment).result()
    question = tmp_path / "question.json"
    question.write_text(json.dumps({"input_data": ROWS}), encoding="utf-8")
    answer = client.online_endpoints.invoke("churn", request_file=str(question), deployment_name="blue")
    assert json.loads(answer) == pytest.approx(predicted)
    if not is_no_code:
        assert "the model is loaded green" in client.online_deployments.get_logs("blue", "churn", lines=200)


@pytest.mark.usefixtures("real")
def test_managed__init_raises_or_build_fails__ends_failed_with_its_log(
    client: Any, model_folder: Path, tmp_path: Path
) -> None:
    model = client.models.create_or_update(
        entities.Model(name="churn", version="1", path=str(model_folder), type="mlflow_model")
    )
    client.online_endpoints.begin_create_or_update(
        entities.ManagedOnlineEndpoint(name="churn", auth_mode="key")
    ).result()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(
        "def init():\n    raise RuntimeError('no such column')\n\ndef run(data):\n    return data\n"
    )
    for name, packages, code, told in (
        ("blue", SERVER, "ResourceNotReady", "RuntimeError: no such column"),
        ("green", "numpy==99.9", "ImageBuildFailure", "numpy==99.9"),
    ):
        (tmp_path / f"{name}.yml").write_text(CONDA.format(packages=packages))
        deployment = entities.ManagedOnlineDeployment(
            name=name,
            endpoint_name="churn",
            model=model.id,
            instance_type="Standard_DS3_v2",
            instance_count=1,
            code_configuration=entities.CodeConfiguration(code=str(tmp_path / "code"), scoring_script="score.py"),
            environment=entities.Environment(
                name=name, version="1", image="mcr.microsoft.com/azureml/x", conda_file=str(tmp_path / f"{name}.yml")
            ),
        )
        with pytest.raises(HttpResponseError, match=code):
            client.online_deployments.begin_create_or_update(deployment).result()
        assert told in client.online_deployments.get_logs(name, "churn", lines=200)


def test_read__conda_file__is_python_and_pip_alone() -> None:
    wanted = conda.read("dependencies:\n- python=3.10.4\n- pip<=25\n- pip:\n  - a==1 --hash=sha256:00\n  - b\n")
    assert wanted == conda.Wanted(python="3.10", requirements=("a==1 --hash=sha256:00", "b"))
    for text in ("dependencies: [numpy]", "dependencies: ["):
        with pytest.raises(BuildFailed):
            conda.read(text)


@pytest.mark.usefixtures("real")
def test_managed__traffic_shifted_under_load__fails_no_request(
    azure: Emulator, cloud: Cloud, http: requests.Session
) -> None:
    """Blue to green with real servers: blue's is killed when nothing of it is under way any more."""
    arm, place = Caller(http), f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{storage.BLOB_CONTAINER}"
    environment = {"properties": {"image": "i", "condaFile": CONDA.format(packages=SERVER)}}
    arm.put("/environments/env/versions/1", environment).raise_for_status()
    wide = {"maxConcurrentRequestsPerInstance": 10, "requestTimeout": "PT60S"}

    def deploy(name: str) -> None:
        script = f"def init(): ...\ndef run(data): return {{'served_by': 'churn-{name}'}}\n"
        storage.write(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, f"{name}/score.py", script.encode())
        arm.put(f"/codes/{name}/versions/1", {"properties": {"codeUri": f"{place}/{name}"}}).raise_for_status()
        code = {"codeId": f"{world.WORKSPACE_SCOPE}/codes/{name}/versions/1", "scoringScript": "score.py"}
        more: dict[str, Any] = {
            "codeConfiguration": code,
            "environmentId": f"{world.WORKSPACE_SCOPE}/environments/env/versions/1",
        }
        _until_over(arm, arm.put(f"{EP}/deployments/{name}", deployment_body(requestSettings=wide, **more)))

    arm.made(EP, endpoint_body())
    deploy("blue")
    arm.made(EP, endpoint_body(traffic={"blue": 100}))
    with Callers(azure, arm.post(f"{EP}/listKeys").json()["primaryKey"]) as callers:
        deploy("green")
        for share in (10, 50, 100):
            arm.made(EP, endpoint_body(traffic={"blue": 100 - share, "green": share}))
            callers.wait_for(500)
        _until_over(arm, arm.delete(f"{EP}/deployments/blue"))
        callers.wait_for(600)
    assert callers.broken == []
    assert set(callers.statuses) == {200}
    assert callers.statuses[200] >= 2_000
    assert set(callers.served) == {"churn-blue", "churn-green"}


def _until_over(arm: Caller, begun: requests.Response) -> None:
    until = time.monotonic() + 120
    status, polled = "", {}
    while status not in {"Succeeded", "Failed"} and time.monotonic() < until:
        polled = arm.http.get(begun.headers["Azure-AsyncOperation"], headers=arm.headers, timeout=30).json()
        status = polled["status"]
        time.sleep(0.2)
    assert status == "Succeeded", polled


def test_port__given_to_one_service__is_given_to_no_other_before_it_is_released() -> None:
    first = Port(range(19_990, 19_992))
    second = Port(range(19_990, 19_992))
    assert {first.number, second.number} == {19_990, 19_991}
    with pytest.raises(OSError, match="no port is free"):
        Port(range(19_990, 19_992))
    first.release()
    assert Port(range(19_990, 19_992)).number == first.number
    second.release()
