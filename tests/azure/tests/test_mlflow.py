"""MLflow with azureml-mlflow, unpatched: runs, artifacts and the registry, with what Azure lacks of them.

Written for MLflow 3 and for 2.22, which test_mlflow2.py runs it with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import runs, storage, world
from tests.azure.server import Emulator
from tests.azure.state import Cloud

mlflow = pytest.importorskip("mlflow", reason="needs requirements/azure-tests.txt")
pytest.importorskip("azureml.mlflow")

_IS_3 = not mlflow.__version__.startswith("2.")
only_mlflow_2 = pytest.mark.skipif(_IS_3, reason="MLflow 2 alone: it asks nothing of logged models")
only_mlflow_3 = pytest.mark.skipif(not _IS_3, reason="MLflow 3 alone: it asks for logged models, which Azure has not")
NO_LOGGED_MODELS = r"/logged-models/search failed with error code 404 != 200. Response body: ''"

URI = f"azureml://{world.REGION}.api.azureml.ms/mlflow/v2.0{world.WORKSPACE_SCOPE}"


@pytest.fixture
def client(azure: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    for name, value in azure.credentials().items():
        if name.startswith("AZURE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(URI)
    mlflow.set_registry_uri(URI)
    return mlflow.MlflowClient(URI, URI)


@pytest.fixture
def run(client: Any) -> Any:
    return client.create_run("0", run_name="first")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n")
    (folder / "model.pkl").write_bytes(b"pickle" * 1000)
    return folder


def test_run__with_parameters_metrics_and_tags__is_told_as_azure_does(client: Any, run: Any) -> None:
    client.log_batch(
        run.info.run_id,
        metrics=[mlflow.entities.Metric("rmse", 0.5, 1, 0), mlflow.entities.Metric("rmse", 0.25, 2, 1)],
        params=[mlflow.entities.Param("depth", "3")],
        tags=[mlflow.entities.RunTag("team", "ml")],
    )
    client.set_terminated(run.info.run_id)
    told = client.get_run(run.info.run_id)
    assert (told.data.metrics, told.data.params, told.data.tags["team"]) == ({"rmse": 0.25}, {"depth": "3"}, "ml")
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "rmse")] == [0.5, 0.25]
    assert (told.info.status, told.info.end_time >= told.info.start_time) == ("FINISHED", True)
    assert len(told.info.experiment_id) == 36
    assert told.info.artifact_uri == f"{URI}/experiments/0/runs/{run.info.run_id}/artifacts"


def test_run__that_is_missing__is_refused_in_both_envelopes(client: Any) -> None:
    with pytest.raises(mlflow.exceptions.RestException) as refused:
        client.get_run("missing")
    assert refused.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert "Run runId=missing was not found" in str(refused.value)
    assert "'ComponentName': 'mlflow'" in str(refused.value)


def test_parameter__longer_than_azure_takes__is_refused(client: Any, run: Any) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException) as refused:
        client.log_param(run.info.run_id, "long", "x" * 501)
    assert refused.value.error_code == "INVALID_PARAMETER_VALUE"
    assert "'Code': 'ValidationError'" in str(refused.value)


def test_runs__searched_by_metric_parameter_and_tag__are_those_that_match(client: Any) -> None:
    experiment = client.create_experiment("churn")
    made = {}
    for name, rmse in (("a", 0.5), ("b", 0.1), ("c", 0.3)):
        made[name] = client.create_run(experiment, run_name=name, tags={"team": "ml"}).info.run_id
        client.log_metric(made[name], "rmse", rmse)
        client.log_param(made[name], "name", name)
    found = client.search_runs([experiment], "metrics.rmse < 0.4 and tags.team = 'ml'", order_by=["metrics.rmse DESC"])
    assert [one.info.run_name for one in found] == ["c", "b"]
    assert [one.info.run_name for one in client.search_runs([experiment], "params.name LIKE 'A%'")] == []
    assert [one.info.run_name for one in client.search_runs([experiment], "params.name ILIKE 'A%'")] == ["a"]
    assert len(client.search_runs([experiment], max_results=2)) == 2
    assert {one.name for one in client.search_experiments()} == {"churn", runs.DEFAULT_EXPERIMENT}
    with pytest.raises(mlflow.exceptions.RestException):
        client.search_runs([experiment], "rmse is small")


def test_artifacts__logged_to_a_run__are_listed_and_downloaded(
    client: Any, run: Any, model: Path, tmp_path: Path, cloud: Cloud
) -> None:
    run_id = run.info.run_id
    client.log_artifacts(run_id, str(model), "model")
    assert [one.path for one in client.list_artifacts(run_id)] == ["model"]
    for number, source in enumerate((f"runs:/{run_id}/model", f"{run.info.artifact_uri}/model")):
        target = tmp_path / f"got{number}"
        target.mkdir()
        got = Path(mlflow.artifacts.download_artifacts(source, dst_path=str(target)))
        assert (got / "model.pkl").read_bytes() == b"pickle" * 1000
    held = cloud.state(storage.Accounts).container(world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER)
    assert held is not None
    assert f"ExperimentRun/dcid.{run_id}/model/MLmodel" in held.blobs


def test_artifact__logged_twice__is_a_conflict(client: Any, run: Any, model: Path) -> None:
    client.log_artifact(run.info.run_id, str(model / "MLmodel"))
    with pytest.raises(Exception, match=f"Resource Conflict: ArtifactId ExperimentRun/dcid.{run.info.run_id}/MLmodel"):
        client.log_artifact(run.info.run_id, str(model / "MLmodel"))


def test_model_version__of_a_run_by_its_artifact_uri__is_registered_and_downloaded(
    client: Any, run: Any, model: Path, tmp_path: Path
) -> None:
    client.log_artifacts(run.info.run_id, str(model), "model")
    client.create_registered_model("churn", tags={"team": "ml"})
    version = client.create_model_version("churn", f"{run.info.artifact_uri}/model", run.info.run_id)
    assert (version.version, version.run_id, version.status) == ("1", run.info.run_id, "READY")
    assert client.get_model_version_download_uri("churn", "1") == f"{run.info.artifact_uri}/model"
    target = tmp_path / "got"
    target.mkdir()
    got = Path(mlflow.artifacts.download_artifacts("models:/churn/1", dst_path=str(target)))
    assert (got / "MLmodel").read_bytes() == (model / "MLmodel").read_bytes()
    assert mlflow.register_model(f"{run.info.artifact_uri}/model", "churn").version == "2"
    assert client.get_latest_versions("churn")[0].version == "2"
    assert [one.version for one in client.search_model_versions("name = 'churn'")] == ["2", "1"]


def test_model_version__of_a_local_folder__is_uploaded_first(client: Any, model: Path, tmp_path: Path) -> None:
    client.create_registered_model("local")
    version = client.create_model_version("local", f"file://{model}")
    assert version.source.startswith("azureml://artifacts/LocalUpload/")
    target = tmp_path / "got"
    target.mkdir()
    got = Path(mlflow.artifacts.download_artifacts("models:/local/1", dst_path=str(target)))
    assert (got / "model.pkl").read_bytes() == b"pickle" * 1000


def test_model_version__with_nothing_at_its_source__is_refused(client: Any, run: Any) -> None:
    client.create_registered_model("empty")
    with pytest.raises(mlflow.exceptions.RestException):
        client.create_model_version("empty", f"{run.info.artifact_uri}/nothing", run.info.run_id)


@only_mlflow_3
def test_register_model__by_a_runs_uri__fails_and_leaves_an_empty_model(client: Any, run: Any, model: Path) -> None:
    client.log_artifacts(run.info.run_id, str(model), "model")
    with pytest.raises(mlflow.exceptions.MlflowException, match=NO_LOGGED_MODELS):
        mlflow.register_model(f"runs:/{run.info.run_id}/model", "left")
    assert client.get_registered_model("left").latest_versions == []


@only_mlflow_2
def test_register_model__by_a_runs_uri__succeeds_with_mlflow_2(client: Any, run: Any, model: Path) -> None:
    client.log_artifacts(run.info.run_id, str(model), "model")
    version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "churn")
    assert (version.version, version.source) == ("1", f"{run.info.artifact_uri}/model")


@only_mlflow_3
def test_artifacts__listed_below_a_path__fail_with_mlflow_3(client: Any, run: Any, model: Path) -> None:
    client.log_artifacts(run.info.run_id, str(model), "model")
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["model"]
    with pytest.raises(mlflow.exceptions.MlflowException, match=NO_LOGGED_MODELS):
        client.list_artifacts(run.info.run_id, "model")


@only_mlflow_2
def test_artifacts__listed_below_a_path__are_told_with_mlflow_2(client: Any, run: Any, model: Path) -> None:
    client.log_artifacts(run.info.run_id, str(model), "model")
    assert sorted(one.path for one in client.list_artifacts(run.info.run_id, "model")) == [
        "model/MLmodel",
        "model/model.pkl",
    ]


@only_mlflow_3
def test_logged_models__of_any_kind__answer_an_empty_404(client: Any, run: Any, cloud: Cloud) -> None:
    with pytest.raises(mlflow.exceptions.MlflowException):
        client.create_logged_model(run.info.experiment_id, "m")
    exchange = cloud.trace.find(path="logged-models")[0]
    assert (exchange.status, exchange.response_body) == (404, b"")


def test_registered_model__described_tagged_staged_and_deleted__is_kept_so(client: Any, run: Any, model: Path) -> None:
    client.log_artifacts(run.info.run_id, str(model), "model")
    client.create_registered_model("churn")
    with pytest.raises(mlflow.exceptions.RestException) as refused:
        client.create_registered_model("churn")
    assert refused.value.error_code == "RESOURCE_ALREADY_EXISTS"
    client.create_model_version("churn", f"{run.info.artifact_uri}/model", run.info.run_id, tags={"a": "b"})
    client.set_model_version_tag("churn", "1", "c", "d")
    client.delete_model_version_tag("churn", "1", "a")
    client.update_model_version("churn", "1", "good")
    client.update_registered_model("churn", "all of them")
    client.set_registered_model_tag("churn", "team", "ml")
    version, whole = client.get_model_version("churn", "1"), client.get_registered_model("churn")
    assert (version.tags, version.description) == ({"c": "d"}, "good")
    assert (whole.tags, whole.description) == ({"team": "ml"}, "all of them")
    assert [one.name for one in client.search_registered_models("name LIKE 'ch%'")] == ["churn"]
    client.delete_model_version("churn", "1")
    client.delete_registered_model("churn")
    with pytest.raises(mlflow.exceptions.RestException):
        client.get_registered_model("churn")


def test_token__that_is_missing__is_refused_without_mlflows_code(http: requests.Session) -> None:
    answer = http.get(f"https{URI[7:]}/api/2.0/mlflow/runs/get?run_id=x")
    assert answer.status_code == 401
    assert "error_code" not in answer.json()
