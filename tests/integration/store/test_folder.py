"""A model in a folder of the checkout: no tracking store, and nothing from outside the folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlaz_ci.errors import ModelNotServable, ModelPathNotFound
from mlaz_ci.models import ModelRef, PathSource
from tests.fakes.platform import RecordingPlatform, RecordingProgress
from tests.integration.store.conftest import OpenStore

MLMODEL = (
    "flavors: {python_function: {python_version: 3.11.7, env: {conda: conda.yaml}}}\n"
    "saved_input_example_info: {artifact_path: input_example.json, type: dataframe, pandas_orient: split}\n"
    "utc_time_created: '2026-11-01 12:00:00'\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "churn" / "model"
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "requirements.txt").write_text("scikit-learn==1.9.1\n")
    (folder / "input_example.json").write_text('{"columns": ["x"], "data": [[1]]}')
    (folder / "model.pkl").write_bytes(b"weights")
    (folder / "code" / "helper.py").write_text("")
    return folder


def resolve(open_store: OpenStore, folder: Path) -> ModelRef:
    return open_store(None).resolve(PathSource(path=folder), name=None)


def test_resolve__folder__its_facts(open_store: OpenStore, folder: Path) -> None:
    model = resolve(open_store, folder)

    assert (model.name, model.version, model.run_id, model.artifact_uri) == ("churn", None, None, str(folder))
    assert model.facts.requirement_files == {"requirements.txt": "scikit-learn==1.9.1\n"}
    assert model.facts.input_example == '{"dataframe_split": {"columns": ["x"], "data": [[1]]}}'
    assert model.size_bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert model.logged_at is not None
    assert model.logged_at.isoformat() == "2026-11-01T12:00:00+00:00"


def test_resolve__weights_changed_under_the_same_mlmodel__another_digest(open_store: OpenStore, folder: Path) -> None:
    before = resolve(open_store, folder)
    (folder / "model.pkl").write_bytes(b"WEIGHTS")
    after = resolve(open_store, folder)
    (folder / "model.pkl").write_bytes(b"weights")

    assert before.digest != after.digest
    assert resolve(open_store, folder).digest == before.digest


def test_resolve__relative_path__below_the_working_directory(open_store: OpenStore, folder: Path) -> None:
    assert resolve(open_store, Path("churn/model")).artifact_uri == str(folder)


def test_resolve__folder_above_the_model__names_it(open_store: OpenStore, folder: Path) -> None:
    with pytest.raises(ModelPathNotFound, match="a folder without an MLmodel file") as caught:
        resolve(open_store, folder.parent.parent)

    assert caught.value.remedy_text.endswith("below it there are: churn/model.")


@pytest.mark.parametrize("path", ["nothing", "x" * 5000, "churn/model/MLmodel", "churn/model/MLmodel/more"])
def test_resolve__no_folder__told(open_store: OpenStore, folder: Path, path: str) -> None:
    with pytest.raises(ModelPathNotFound) as caught:
        resolve(open_store, folder.parents[1] / path)

    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["MLmodel", "requirements.txt", "model.pkl", "code"])
def test_resolve__link_out_of_the_folder__refused(
    open_store: OpenStore, folder: Path, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "canary").write_text(MLMODEL)
    subprocess.run(["rm", "-r", str(folder / name)], check=True)
    (folder / name).symlink_to(secret if name == "code" else secret / "canary")

    with pytest.raises(ModelNotServable, match="is a link that leads out of it"):
        resolve(open_store, folder)


def test_fetch__link_made_after_the_checks__refused(open_store: OpenStore, folder: Path, tmp_path: Path) -> None:
    store = open_store(None)
    model = store.resolve(PathSource(path=folder), name=None)
    (tmp_path / "canary").write_text("secret")
    (folder / "code" / "link").symlink_to(tmp_path / "canary")

    with pytest.raises(ModelNotServable):
        store.fetch(model, tmp_path / "out", RecordingProgress(""))

    assert not (tmp_path / "out").exists()


def test_fetch__link_within_the_folder__copied_as_a_file(open_store: OpenStore, folder: Path, tmp_path: Path) -> None:
    (folder / "same.pkl").symlink_to("model.pkl")
    store = open_store(None)

    store.fetch(store.resolve(PathSource(path=folder), name=None), tmp_path / "out", RecordingProgress(""))

    assert (tmp_path / "out" / "same.pkl").read_bytes() == b"weights"
    assert not (tmp_path / "out" / "same.pkl").is_symlink()


def test_resolve__link_to_the_folder_itself__refused(open_store: OpenStore, folder: Path) -> None:
    (folder / "again").symlink_to(".")

    with pytest.raises(ModelNotServable, match="deep"):
        resolve(open_store, folder)


def test_resolve__pipe_in_the_folder__does_not_wait(open_store: OpenStore, folder: Path) -> None:
    (folder / "requirements.txt").unlink()
    os.mkfifo(folder / "requirements.txt")

    with pytest.raises(ModelPathNotFound):
        resolve(open_store, folder)


def test_resolve__requirements_of_two_megabytes__refused(open_store: OpenStore, folder: Path) -> None:
    (folder / "requirements.txt").write_bytes(b"#" * 2_000_000)

    with pytest.raises(ModelNotServable, match="larger than 1 MB"):
        resolve(open_store, folder)


def test_resolve__huge_example__left_out_with_a_notice(
    open_store: OpenStore, folder: Path, platform: RecordingPlatform
) -> None:
    (folder / "input_example.json").write_bytes(b"[" + b"1," * 1_000_000 + b"1]")

    assert resolve(open_store, folder).facts.input_example is None
    assert "larger than 1 MB" in platform.text


def test_resolve__hostile_mlmodel__model_not_servable(open_store: OpenStore, folder: Path) -> None:
    (folder / "MLmodel").write_text("flavors: !!python/object/apply:os.system ['touch /tmp/never']")

    with pytest.raises(ModelNotServable, match=r"MLmodel, line 1, column 10"):
        resolve(open_store, folder)


def test_resolve__folder__mlflow_is_not_imported(folder: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mlaz_ci.adapters.mlflow_store import MlflowStore\n"
        "from mlaz_ci.models import PathSource\n"
        "from tests.fakes.platform import RecordingPlatform\n"
        "MlflowStore(None, {}, RecordingPlatform()).resolve(PathSource(path=Path(sys.argv[1])), name=None)\n"
        "print([name for name in ('mlflow', 'pandas', 'numpy') if name in sys.modules])\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], check=False, capture_output=True, text=True, cwd=root
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")
