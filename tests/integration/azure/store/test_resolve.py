"""A model of the workspace found by its run or its registered version, by a handful of small requests."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import pytest
import requests

from mlaz_ci.models import RunSource, VersionSource
from tests.azure import faults, roles, storage, world
from tests.azure.arm import workspaces
from tests.azure.state import Cloud
from tests.azure.tests.caller import Caller
from tests.integration.azure.store.conftest import OpenStore
from tests.integration.azure.store.models import EXAMPLE, FILES, MLMODEL, OTHER, Shelf

OTHER_ID = "99999999-9999-4999-8999-999999999999"
UPLOADED = f"azureml-blobstore-{world.WORKSPACE_ID}"


def requests_of(cloud: Cloud) -> list[str]:
    """What was asked, tokens aside."""
    found = cloud.trace.find(where=lambda one: "login.microsoftonline" not in one.host)
    return [f"{one.method} {one.host}{one.path}" for one in found]


def test_run__with_a_model__facts_and_reference(shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_model()

    model = open_store().resolve(RunSource(run_id=run.id, path="model"), name=None)

    assert model.artifact_uri == f"runs:/{run.id}/model"
    assert (model.run_id, model.version, model.is_in_workspace, model.name) == (run.id, None, True, "churn")
    assert model.facts.mlmodel_text == MLMODEL
    assert set(model.facts.requirement_files) == {"requirements.txt", "conda.yaml"}
    assert model.facts.input_example == json.dumps(EXAMPLE)
    assert model.size_bytes == 1234
    assert model.logged_at == datetime.fromtimestamp(1_714_560_000, UTC)
    assert model.tracking_uri == shelf.tracking_uri.replace("v1.0", "v2.0")


def test_run__by_name__six_requests_and_few_bytes_of_a_large_model(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shelf.log_model(files={**FILES, "model.pkl": bytes(200_000_000)})

    open_store().resolve(RunSource(run_id=run.id, path="model"), name="churn")

    asked = requests_of(cloud)
    received = sum(one.response_bytes for one in cloud.trace.find())
    with capsys.disabled():
        print(f"\nresolve of a run with a model of 200 MB: {len(asked)} requests, {received} bytes received")
    assert len(asked) <= 6, asked
    assert received <= 100_000


def test_run__without_a_name__one_request_more_for_its_experiment(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    run = shelf.log_model()
    open_store().resolve(RunSource(run_id=run.id, path="model"), name=None)
    assert len(requests_of(cloud)) == 7


def test_run__of_the_default_experiment__named_by_nothing(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    run = shelf.log_model(experiment="Default")
    model = open_store().resolve(RunSource(run_id=run.id, path="model"), name=None)
    assert (model.name, len(requests_of(cloud))) == ("model", 6)


def test_files__of_a_model__asked_for_at_once(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    run = shelf.log_model()
    cloud.faults.add(faults.Delay(seconds=0.3), path="/content$", times=4)
    open_store().resolve(RunSource(run_id=run.id, path="model"), name="churn")
    read = cloud.trace.find(path="/content$")
    assert (len(read), cloud.trace.most_concurrent) == (4, 4)


def test_run__whose_mlmodel_tells_no_python__told_by_the_file_that_does(shelf: Shelf, open_store: OpenStore) -> None:
    untold = MLMODEL.replace("    python_version: 3.11.7\n", "")
    assert untold != MLMODEL
    run = shelf.log_model(files={**FILES, "MLmodel": untold.encode()})
    model = open_store().resolve(RunSource(run_id=run.id, path="model"), name=None)
    assert model.facts.requirement_files["python_env.yaml"] == "python: 3.11.7\n"


@pytest.mark.parametrize("client", ["mlflow", "azureml", "pandas", "numpy", "azure.storage", "azure.mgmt"])
def test_resolve__without_a_client__needs_none(
    client: str, shelf: Shelf, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shelf.log_model()
    monkeypatch.setitem(sys.modules, client, None)
    assert open_store().resolve(RunSource(run_id=run.id, path="model"), name="churn").is_in_workspace


@pytest.mark.parametrize("path", ["deep/er/model", "model-2", "mit Leerzeichen é", "100%/a+b"])
def test_run__by_any_path__that_folder_alone(path: str, shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_model(path)
    shelf.log_model("model", run=run, files={**FILES, "MLmodel": b"flavors: {}\n"})
    shelf.log_model("model-2-old", run=run, files={**FILES, "MLmodel": b"flavors: {}\n"})

    store = open_store()
    model = store.resolve(RunSource(run_id=run.id, path=path), name=None)

    assert model.facts.mlmodel_text == MLMODEL
    assert model.artifact_uri == f"runs:/{run.id}/{path}"


def test_run__model_at_its_root__found(shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_run()
    shelf.put(f"ExperimentRun/{run.container}", FILES)
    model = open_store().resolve(RunSource(run_id=run.id, path=""), name=None)
    assert (model.artifact_uri, model.facts.mlmodel_text) == (f"runs:/{run.id}", MLMODEL)


def test_run__with_more_files_than_a_page__all_of_them_looked_at(shelf: Shelf, open_store: OpenStore) -> None:
    many = {f"a/{number:04d}.bin": b"x" for number in range(1100)}
    run = shelf.log_model(files={**many, **{f"z/{name}": content for name, content in FILES.items()}})
    model = open_store().resolve(RunSource(run_id=run.id, path="model/z"), name=None)
    assert model.facts.mlmodel_text == MLMODEL


def register(kind: str, shelf: Shelf, http: requests.Session) -> str:
    """A version of the model "churn", as one of Azure's ways makes it; its run, or ""."""
    run = shelf.log_model()
    arm = Caller(http)
    workspace = f"azureml://subscriptions/{world.SUBSCRIPTION_ID}/resourcegroups/{world.RESOURCE_GROUP}/workspaces/{world.WORKSPACE}"
    match kind:
        case "mlflow":
            shelf.register("churn", f"{run.artifact_uri}/model", run_id=run.id)
            return run.id
        case "v1-run":
            shelf.register("churn", f"azureml://artifacts/ExperimentRun/{run.container}/model", run_id=run.id)
            return run.id
        case "v1-upload":
            shelf.put("LocalUpload/240501T101112-0a1b2c3d/model", FILES)
            shelf.register("churn", "azureml://artifacts/LocalUpload/240501T101112-0a1b2c3d/model")
            return ""
        case "v2-upload":
            shelf.put("LocalUpload/89c03137/model", FILES, UPLOADED)
            uri = "azureml://datastores/workspaceblobstore/paths/LocalUpload/89c03137/model"
        case "v2-job":
            uri = f"azureml://jobs/{run.id}/outputs/artifacts/paths/model/"
        case "v2-run":
            uri = f"runs:/{run.id}/model"
        case "v2-artifact-store":
            uri = f"{workspace}/datastores/workspaceartifactstore/paths/ExperimentRun/{run.container}/model"
        case _:
            raise AssertionError(kind)
    properties = {"modelUri": uri, "modelType": "mlflow_model"}
    answer = arm.put("/models/churn/versions/1", {"properties": properties})
    assert answer.status_code in {200, 201}, answer.text
    return "" if kind in {"v2-upload", "v2-artifact-store"} else run.id


KINDS = ["mlflow", "v1-run", "v1-upload", "v2-upload", "v2-job", "v2-run", "v2-artifact-store"]


@pytest.mark.parametrize("kind", KINDS)
def test_version__registered_in_any_way__the_same_facts(
    kind: str, shelf: Shelf, open_store: OpenStore, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    with requests.Session() as http:
        run_id = register(kind, shelf, http)
    before = len(requests_of(cloud))

    model = open_store().resolve(VersionSource(name="churn", version="1"), name=None)

    count = len(requests_of(cloud)) - before
    with capsys.disabled():
        print(f"\nresolve of a version registered by {kind}: {count} requests")
    assert (model.name, model.version, model.artifact_uri) == ("churn", "1", "models:/churn/1")
    assert (model.is_in_workspace, model.facts.mlmodel_text, model.size_bytes) == (
        True,
        MLMODEL,
        sum(map(len, FILES.values())) if kind == "v2-upload" else 1234,
    )
    assert (model.run_id or "") == run_id
    assert count <= 13


def test_version__latest__the_newest_of_all_stages(shelf: Shelf, open_store: OpenStore) -> None:
    for _ in range(11):
        run = shelf.log_model()
        shelf.register("churn", f"{run.artifact_uri}/model", run_id=run.id)
    model = open_store().resolve(VersionSource(name="churn", version="latest"), name="other")
    assert (model.artifact_uri, model.version, model.name, model.run_id) == ("models:/churn/11", "11", "other", run.id)


def test_version__whose_run_is_gone__still_resolved(shelf: Shelf, open_store: OpenStore) -> None:
    shelf.put("LocalUpload/240501T101112-0a1b2c3d/model", FILES)
    shelf.register("churn", "azureml://artifacts/LocalUpload/240501T101112-0a1b2c3d/model", run_id="gone")
    model = open_store().resolve(VersionSource(name="churn", version="1"), name=None)
    assert (model.run_id, model.logged_at) == (None, datetime(2024, 5, 1, 10, 11, 12, 123456, UTC))


def test_datastore__without_shared_keys__opened_by_our_own_token(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    with requests.Session() as http:
        register("v2-upload", shelf, http)
    cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_shared_key = False
    cloud.state(roles.Assignments).assign(
        world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, world.SUBSCRIPTION_SCOPE
    )
    model = open_store().resolve(VersionSource(name="churn", version="1"), name=None)
    assert model.facts.mlmodel_text == MLMODEL


def test_version__registered_by_a_blobs_address__read_by_our_own_token(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    shelf.put("any/model", FILES, UPLOADED)
    shelf.register("churn", f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{UPLOADED}/any/model/")
    cloud.state(roles.Assignments).assign(
        world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, world.SUBSCRIPTION_SCOPE
    )
    model = open_store().resolve(VersionSource(name="churn", version="1"), name=None)
    assert (model.facts.mlmodel_text, model.artifact_uri) == (MLMODEL, "models:/churn/1")
    assert model.size_bytes == sum(map(len, FILES.values()))


def test_run__account_without_shared_keys__read_by_our_own_token(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    run = shelf.log_model()
    cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_shared_key = False
    cloud.state(roles.Assignments).assign(
        world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, world.SUBSCRIPTION_SCOPE
    )
    model = open_store().resolve(RunSource(run_id=run.id, path="model"), name=None)
    assert model.facts.mlmodel_text == MLMODEL


@pytest.mark.parametrize("spelling", ["itself", "upper-case", "variable"])
def test_tracking_uri__of_the_serving_workspace__by_reference(
    spelling: str, shelf: Shelf, open_store: OpenStore
) -> None:
    run = shelf.log_model()
    uri = shelf.tracking_uri
    if spelling == "upper-case":
        uri = uri.replace("rg-ml", "RG-ML").replace("ws-ml", "WS-ML") + "?"
    given, environ = (None, {"MLFLOW_TRACKING_URI": uri}) if spelling == "variable" else (uri, {})
    store = open_store(given, environ=environ)
    assert store.resolve(RunSource(run_id=run.id, path="model"), name=None).is_in_workspace


def test_tracking_uri__of_another_workspace__read_there_and_not_by_reference(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    cloud.state(workspaces.Workspaces).add(
        workspaces.Workspace(
            subscription=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name=OTHER, workspace_id=OTHER_ID
        )
    )
    other = Shelf(cloud, OTHER)
    run = other.log_model()
    model = open_store(other.tracking_uri).resolve(RunSource(run_id=run.id, path="model"), name=None)
    assert (model.is_in_workspace, model.facts.mlmodel_text) == (False, MLMODEL)
    assert f"/workspaces/{OTHER}" in model.tracking_uri


def test_workspace_that_does_not_serve__never_by_reference(shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_model()
    store = open_store(workspace_serves=False)
    assert not store.resolve(RunSource(run_id=run.id, path="model"), name=None).is_in_workspace
