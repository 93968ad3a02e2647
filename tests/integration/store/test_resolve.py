"""From a source to a ModelRef, on real stores of each kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlaz_ci.errors import ModelNotFound, ModelPathNotFound, NotInThisVersion, RunNotFound
from mlaz_ci.models import LoggedModelSource, ModelRef, RegistrySource, RunSource, VersionSource
from tests.integration.store.conftest import OpenStore
from tests.integration.store.counting import counting_proxy
from tests.integration.store.stores import Logged, files_of

ROOT = Path(__file__).parents[3]


def test_resolve__run__what_mlflow_logged(logged: Logged, open_store: OpenStore) -> None:
    model = open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.run_id, path="model"), name=None)

    files = files_of(logged.downloads)
    assert model.facts.mlmodel_text.encode() == files["MLmodel"]
    assert {name: text.encode() for name, text in model.facts.requirement_files.items()} == {
        name: files[name] for name in ("requirements.txt", "conda.yaml")
    }
    assert model.facts.has_pyfunc
    assert model.facts.mlflow_version == logged.ids["mlflow_version"]
    assert model.facts.signature is not None
    assert [column["name"] for column in model.facts.signature.inputs] == ["x"]
    assert json.loads(model.facts.input_example or "") == {
        "dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}
    }
    assert model.size_bytes == sum(len(content) for content in files.values())
    assert model.logged_at == datetime.fromtimestamp(logged.ids["ended_ms"] / 1000, UTC)
    assert (model.name, model.version, model.run_id) == ("Demo", None, logged.run_id)
    assert model.model_id == logged.ids["model"]
    expected = f"models:/{logged.ids['model']}" if logged.has_logged_models else f"runs:/{logged.run_id}/model"
    assert model.artifact_uri == expected
    assert model.label == f"runs:/{logged.run_id}/model"


def test_resolve__twice__the_same_identity(logged: Logged, open_store: OpenStore) -> None:
    source = RunSource(run_id=logged.run_id, path="model")

    first, second = (open_store(logged.tracking_uri).resolve(source, name=None) for _ in range(2))

    assert first == second


def test_resolve__name_given__kept(logged: Logged, open_store: OpenStore) -> None:
    model = open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.run_id, path="model"), name="my-churn")

    assert model.name == "my-churn"


@pytest.mark.parametrize("wanted", [{"version": "1"}, {"alias": "champion"}], ids=["version", "alias"])
def test_resolve__version__of_the_run(logged: Logged, open_store: OpenStore, wanted: dict[str, str]) -> None:
    source = VersionSource(name=logged.registered, **wanted)
    store = open_store(logged.tracking_uri)

    model = store.resolve(source, name=None)

    of_run = store.resolve(RunSource(run_id=logged.run_id, path="model"), name=None)
    assert (model.name, model.version, model.label) == (logged.registered, "1", f"{logged.registered}/1")
    assert model.artifact_uri == f"models:/{logged.registered}/1"
    assert (model.digest, model.facts, model.run_id, model.logged_at) == (
        of_run.digest,
        of_run.facts,
        of_run.run_id,
        of_run.logged_at,
    )


def test_resolve__latest__the_newest_version(logged: Logged, open_store: OpenStore) -> None:
    model = open_store(logged.tracking_uri).resolve(VersionSource(name=logged.registered, version="latest"), name=None)

    assert (model.version, model.run_id) == ("2", logged.ids["several"])
    assert model.facts.input_example is None


def test_resolve__logged_model_id__that_model(logged: Logged, open_store: OpenStore) -> None:
    if not logged.has_logged_models:
        pytest.skip("mlflow 2 has no LoggedModels")
    store = open_store(logged.tracking_uri)

    model = store.resolve(LoggedModelSource(model_id=logged.ids["model"]), name=None)

    of_run = store.resolve(RunSource(run_id=logged.run_id, path="model"), name=None)
    assert (model.digest, model.artifact_uri, model.run_id) == (of_run.digest, of_run.artifact_uri, logged.run_id)


@pytest.mark.parametrize("path", ["first", "second", "deep/in/it"])
def test_resolve__run_of_several_models__the_one_at_the_path(logged: Logged, open_store: OpenStore, path: str) -> None:
    model = open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.ids["several"], path=path), name=None)

    assert model.name == f"Demo-{path.replace('/', '-')}"
    assert (model.facts.input_example is None) == (path == "deep/in/it")


def test_resolve__path_without_model__paths_that_hold_one(logged: Logged, open_store: OpenStore) -> None:
    with pytest.raises(ModelPathNotFound) as caught:
        open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.ids["several"], path="model"), name=None)

    assert caught.value.what == (
        f'Run {logged.ids["several"]} has no model at "model". It has models at: deep/in/it, first, second.'
    )


def test_resolve__mistyped_path__the_right_one_as_remedy(logged: Logged, open_store: OpenStore) -> None:
    with pytest.raises(ModelPathNotFound) as caught:
        open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.run_id, path="modle"), name=None)

    assert caught.value.remedy_text == "Set `model-path: model`."


def test_resolve__run_without_model__told(logged: Logged, open_store: OpenStore) -> None:
    with pytest.raises(ModelPathNotFound, match="holds no MLmodel file at all"):
        open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.ids["without"], path="model"), name=None)


@pytest.mark.parametrize("run_id", ["0" * 32, "nope", "a'b"])
def test_resolve__unknown_run__run_not_found(logged: Logged, open_store: OpenStore, run_id: str) -> None:
    with pytest.raises(RunNotFound) as caught:
        open_store(logged.tracking_uri).resolve(RunSource(run_id=run_id, path="model"), name=None)

    assert caught.value.exit_code == 4
    assert caught.value.upstream_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


def test_resolve__deleted_run__told_how_to_restore(logged: Logged, open_store: OpenStore) -> None:
    with pytest.raises(RunNotFound, match="was deleted") as caught:
        open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.ids["deleted"], path="model"), name=None)

    assert "mlflow runs restore" in caught.value.remedy_text


UNKNOWN = {
    "version": {"version": "9"},
    "alias": {"alias": "nobody"},
    "latest of nothing": {"name": "nothing", "version": "latest"},
    "version of nothing": {"name": "nothing", "version": "1"},
}


@pytest.mark.parametrize("wanted", UNKNOWN.values(), ids=UNKNOWN)
def test_resolve__unknown_version__model_not_found(
    logged: Logged, open_store: OpenStore, wanted: dict[str, str]
) -> None:
    source = VersionSource(**{"name": logged.registered, **wanted})

    with pytest.raises(ModelNotFound) as caught:
        open_store(logged.tracking_uri).resolve(source, name=None)

    assert caught.value.exit_code == 4
    assert caught.value.upstream_code
    assert not caught.value.what.endswith("..")


def test_resolve__unknown_logged_model__model_not_found(logged: Logged, open_store: OpenStore) -> None:
    with pytest.raises(ModelNotFound, match="There is no models:/m-0000"):
        open_store(logged.tracking_uri).resolve(LoggedModelSource(model_id="m-" + "0" * 32), name=None)


def test_resolve__azure_registry__not_in_this_version(open_store: OpenStore) -> None:
    with pytest.raises(NotInThisVersion):
        open_store(None).resolve(RegistrySource(registry="azureml", name="bert", version="1"), name=None)


def test_resolve__heavy_model_over_http__a_few_kilobytes(on_server: Logged, open_store: OpenStore) -> None:
    with counting_proxy(on_server.tracking_uri) as counter:
        model = open_store(counter.uri).resolve(RunSource(run_id=on_server.ids["heavy"], path="model"), name=None)

        assert model.size_bytes is not None
        assert model.size_bytes > 50_000_000
        assert 1_000 < counter.received_bytes < 200_000


def test_resolve__any_store__mlflow_is_not_imported(logged: Logged, tmp_path: Path) -> None:
    """What the doctor's budget of CPU rests on."""
    script = (
        "import sys\n"
        "from mlaz_ci.adapters.mlflow_store import MlflowStore\n"
        "from mlaz_ci.models import RunSource\n"
        "from tests.fakes.platform import RecordingPlatform\n"
        "store = MlflowStore(sys.argv[1], {}, RecordingPlatform())\n"
        "model = store.resolve(RunSource(run_id=sys.argv[2], path='model'), name=None)\n"
        "print(model.facts.has_pyfunc, [name for name in ('mlflow', 'sqlalchemy', 'pandas', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, logged.tracking_uri, logged.run_id],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert (done.stdout, done.stderr) == ("True []\n", "")


def resolve_run(store_of: OpenStore, logged: Logged) -> ModelRef:
    return store_of(logged.tracking_uri).resolve(RunSource(run_id=logged.run_id, path="model"), name=None)


def test_resolve__file_store__one_notice_and_the_surroundings_as_before(
    in_files: Logged, open_store: OpenStore, platform: object
) -> None:
    before = dict(os.environ)
    store = open_store(in_files.tracking_uri)
    for _ in range(2):
        store.resolve(RunSource(run_id=in_files.run_id, path="model"), name=None)

    told = [text for _, _, text in platform.annotations if "MLFLOW_ALLOW_FILE_STORE" in text]  # type: ignore[attr-defined]
    assert len(told) == 1
    assert dict(os.environ) == before
