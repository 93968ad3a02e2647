"""The model folder: whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from mlaz_ci.errors import DiskFull, MlazError, ModelNotServable, ModelPathNotFound, TrackingServerFailed
from mlaz_ci.models import PathSource, RunSource, VersionSource
from tests.fakes.platform import RecordingProgress
from tests.integration.store.answers import Answer, AnswerServer, of_json, serve_answers
from tests.integration.store.conftest import OpenStore
from tests.integration.store.stores import Logged, files_of

ROOT = Path(__file__).parents[3]
MLMODEL = b"flavors: {python_function: {python_version: 3.11.7}}\n"


@pytest.fixture
def progress() -> RecordingProgress:
    return RecordingProgress("fetch")


def test_fetch__run__the_bytes_that_mlflow_downloads(
    logged: Logged, open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    store = open_store(logged.tracking_uri)
    model = store.resolve(RunSource(run_id=logged.run_id, path="model"), name=None)

    store.fetch(model, tmp_path / "models" / "here", progress)

    assert files_of(tmp_path / "models" / "here") == files_of(logged.downloads)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["here"]
    assert progress.updates[-1] == (model.size_bytes, model.size_bytes, "bytes")
    assert [done for done, _, _ in progress.updates] == sorted(done for done, _, _ in progress.updates)


def test_fetch__by_another_process__from_the_resolved_uri(
    logged: Logged, open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    for number, source in enumerate(
        [
            VersionSource(name=logged.registered, alias="champion"),
            RunSource(run_id=logged.ids["several"], path="second"),
        ]
    ):
        model = open_store(logged.tracking_uri).resolve(source, name=None)

        open_store(logged.tracking_uri).fetch(model, tmp_path / str(number), progress)

        assert (tmp_path / str(number) / "MLmodel").read_text() == model.facts.mlmodel_text


def test_fetch__alias_moved_since_the_checks__the_version_that_was_checked(
    on_server: Logged, open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    store = open_store(on_server.tracking_uri)
    model = store.resolve(VersionSource(name=on_server.registered, alias="champion"), name=None)
    set_champion(on_server, "2")
    try:
        open_store(on_server.tracking_uri).fetch(model, tmp_path / "model", progress)
    finally:
        set_champion(on_server, "1")

    assert files_of(tmp_path / "model") == files_of(on_server.downloads)


def set_champion(logged: Logged, version: str) -> None:
    alias = {"name": logged.registered, "alias": "champion", "version": version}
    answer = requests.post(f"{logged.tracking_uri}/api/2.0/mlflow/registered-models/alias", json=alias, timeout=60)
    answer.raise_for_status()


def test_fetch__file_size_limit_hit__disk_full_and_nothing_left(on_server: Logged, tmp_path: Path) -> None:
    """A real refusal by the kernel in the midst of 50 MB, in a process of its own."""
    script = (
        "import resource, sys, json, os\n"
        "from pathlib import Path\n"
        "from mlaz_ci.adapters.mlflow_store import MlflowStore\n"
        "from mlaz_ci.errors import MlazError\n"
        "from mlaz_ci.models import RunSource\n"
        "from tests.fakes.platform import RecordingPlatform, RecordingProgress\n"
        "store = MlflowStore(sys.argv[1], {}, RecordingPlatform())\n"
        "model = store.resolve(RunSource(run_id=sys.argv[2], path='model'), name=None)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))\n"
        "try:\n"
        "    store.fetch(model, Path(sys.argv[3]) / 'model', RecordingProgress(''))\n"
        "except MlazError as error:\n"
        "    print(json.dumps([error.kind(), int(error.exit_code), os.listdir(sys.argv[3])]))\n"
    )
    target = tmp_path / "models"
    done = subprocess.run(
        [sys.executable, "-c", script, on_server.tracking_uri, on_server.ids["heavy"], str(target)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )

    assert done.stderr == ""
    assert json.loads(done.stdout) == ["disk-full", 6, []]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB of its own; only root can make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_fetch__disk_too_small__disk_full_before_the_first_byte(
    on_server: Logged, open_store: OpenStore, small_disk: Path, progress: RecordingProgress
) -> None:
    store = open_store(on_server.tracking_uri)
    model = store.resolve(RunSource(run_id=on_server.ids["heavy"], path="model"), name=None)

    with pytest.raises(DiskFull):
        store.fetch(model, small_disk / "model", progress)

    assert list((small_disk).iterdir()) == []
    assert progress.updates == []


def test_fetch__disk_full_on_the_way__disk_full_and_nothing_left(
    open_store: OpenStore, small_disk: Path, progress: RecordingProgress
) -> None:
    """The store names no sizes, so only the writing shows that there is no room."""
    files = {"MLmodel": MLMODEL, "weights.bin": b"x" * 3_000_000}
    with serve_model(files, are_sizes_told=False) as server:
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")

        with pytest.raises(DiskFull) as caught:
            store.fetch(model, small_disk / "model", progress)

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert list((small_disk).iterdir()) == []


ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def serve_model(files: dict[str, bytes], *, are_sizes_told: bool = True, **changes: Answer):  # type: ignore[no-untyped-def]
    """An MLflow server with one run `r1` and these files at `model`; `changes` replaces the answer for a file."""
    listing = [
        {"path": name, "is_dir": False, **({"file_size": len(content)} if are_sizes_told else {})}
        for name, content in files.items()
    ]
    info = {"run_id": "r1", "experiment_id": "0", "artifact_uri": "mlflow-artifacts:/0/r1/artifacts"}
    answers = {
        "/api/2.0/mlflow/runs/get": [of_json({"run": {"info": info, "data": {}}})],
        "/api/2.0/mlflow/logged-models/search": [Answer(status=404)],
        ARTIFACTS: [of_json({"files": listing})],
        **{f"{ARTIFACTS}/0/r1/artifacts/model/{name}": [Answer(body=content)] for name, content in files.items()},
    }
    for name, answer in changes.items():
        answers[f"{ARTIFACTS}/0/r1/artifacts/model/{name}"] = [answer]
    return serve_answers(Answer(status=404), answers)


def test_fetch__connection_breaks_in_a_file__server_failed_and_nothing_left(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    broken = Answer(body=b"x" * 1000, claimed_length=5000)
    with serve_model({"MLmodel": MLMODEL, "weights": b"x" * 5000}, weights=broken) as server:
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")

        with pytest.raises(TrackingServerFailed):
            store.fetch(model, tmp_path / "models" / "model", progress)

    assert list((tmp_path / "models").iterdir()) == []


def test_fetch__connection_breaks_once__downloaded_all_the_same(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    with serve_model({"MLmodel": MLMODEL, "weights": b"x" * 5000}) as server:
        path = f"{ARTIFACTS}/0/r1/artifacts/model/weights"
        server.answers[path].insert(0, Answer(body=b"x" * 1000, claimed_length=5000))
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")

        store.fetch(model, tmp_path / "model", progress)

    assert (tmp_path / "model" / "weights").read_bytes() == b"x" * 5000
    assert progress.updates[-1][0] == model.size_bytes


def test_fetch__file_shorter_than_listed__server_failed(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    with serve_model({"MLmodel": MLMODEL, "weights": b"x" * 5000}, weights=Answer(body=b"x" * 10)) as server:
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")

        with pytest.raises(TrackingServerFailed, match="10 bytes instead of 5000"):
            store.fetch(model, tmp_path / "model", progress)

    assert not (tmp_path / "model").exists()


def test_fetch__mlmodel_changed_since_the_checks__refused(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    with serve_model({"MLmodel": MLMODEL}) as server:
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")
        changed = MLMODEL.replace(b"3.11.7", b"3.12.1")
        server.answers[f"{ARTIFACTS}/0/r1/artifacts/model/MLmodel"] = [Answer(body=changed)]

        with pytest.raises(TrackingServerFailed, match="changed before the download"):
            store.fetch(model, tmp_path / "model", progress)

    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "", "e\0vil"])
def test_fetch__artifact_name_leads_out__refused_and_nothing_written(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress, name: str
) -> None:
    def is_honest(server: AnswerServer) -> Callable[[], None]:
        listing = server.answers[ARTIFACTS]

        def turn() -> None:
            listing[:] = [of_json({"files": [{"path": "MLmodel", "is_dir": False}, {"path": name, "is_dir": False}]})]

        return turn

    with serve_model({"MLmodel": MLMODEL}) as server:
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")
        is_honest(server)()

        with pytest.raises(TrackingServerFailed, match="leads out of the model's folder"):
            store.fetch(model, tmp_path / "models" / "model", progress)

    assert not (tmp_path / "models").exists()
    assert list(tmp_path.rglob("*evil*")) == []


def test_fetch__folder_that_lists_itself_for_ever__refused(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    with serve_model({"MLmodel": MLMODEL}) as server:
        server.answers[ARTIFACTS] = [
            of_json({"files": [{"path": "MLmodel", "is_dir": False}, {"path": "again", "is_dir": True}]})
        ]
        store = open_store(server.uri)
        model = store.resolve(RunSource(run_id="r1", path="model"), name="m")

        with pytest.raises(ModelNotServable, match="40 deep"):
            store.fetch(model, tmp_path / "model", progress)

    assert model.size_bytes is None


def test_fetch__download_of_a_killed_process__removed_but_not_a_living_ones(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "MLmodel").write_bytes(MLMODEL)
    target = tmp_path / "models"
    for name in (".model.part-dead", ".model.part-alive", ".another.part-dead"):
        (target / name).mkdir(parents=True)
        (target / name / "half").write_text("half")
    alive = os.open(target / ".model.part-alive", os.O_RDONLY)
    fcntl.flock(alive, fcntl.LOCK_EX)
    store = open_store(None)
    try:
        store.fetch(store.resolve(PathSource(path=source), name=None), target / "model", progress)
    finally:
        os.close(alive)

    assert sorted(path.name for path in target.iterdir()) == [".model.part-alive", "model"]


def test_fetch__destination_there_already__replaced(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    source, target = tmp_path / "source", tmp_path / "model"
    for folder, name in ((source, "MLmodel"), (target, "stale")):
        folder.mkdir()
        (folder / name).write_bytes(MLMODEL)
    store = open_store(None)

    store.fetch(store.resolve(PathSource(path=source), name=None), target, progress)

    assert [path.name for path in target.iterdir()] == ["MLmodel"]


def test_fetch__folder_not_writable__told(open_store: OpenStore, tmp_path: Path, progress: RecordingProgress) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "MLmodel").write_bytes(MLMODEL)
    (tmp_path / "file").write_text("in the way")
    store = open_store(None)
    model = store.resolve(PathSource(path=source), name=None)

    with pytest.raises(MlazError):
        store.fetch(model, tmp_path / "file" / "model", progress)


def test_fetch__files_vanished_since_the_checks__told(
    open_store: OpenStore, tmp_path: Path, progress: RecordingProgress
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "MLmodel").write_bytes(MLMODEL)
    store = open_store(None)
    model = store.resolve(PathSource(path=source), name=None)
    (source / "MLmodel").unlink()

    with pytest.raises(ModelPathNotFound, match="no MLmodel file any more"):
        store.fetch(model, tmp_path / "model", progress)
