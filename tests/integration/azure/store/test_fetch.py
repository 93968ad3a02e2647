"""The whole folder of a model, for a target that has no workspace of its own or another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlaz_ci.errors import DiskFull, MlazError, ModelPathNotFound, TrackingServerFailed
from mlaz_ci.models import ModelSource, RunSource, VersionSource
from tests.azure import faults, storage, world
from tests.azure.clock import FakeClock
from tests.azure.state import Cloud
from tests.fakes.platform import RecordingPlatform, RecordingProgress
from tests.integration.azure.store.conftest import OpenStore
from tests.integration.azure.store.models import FILES, Shelf

WEIGHTS = os.urandom(20_000_000)
LARGE = {**FILES, "model.pkl": WEIGHTS, "empty.txt": b"", "code/pre process.py": b"x = 1\n", "a/b/c/d.bin": b"d"}
BLOB = "*.blob.core.windows.net"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        each.relative_to(folder).as_posix(): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()
    }


def place(kind: str, shelf: Shelf) -> ModelSource:
    if kind == "run":
        return RunSource(run_id=shelf.log_model(files=LARGE).id, path="model")
    if kind == "root-of-run":
        run = shelf.log_run()
        shelf.put(f"ExperimentRun/{run.container}", LARGE)
        return RunSource(run_id=run.id, path="")
    if kind == "v1-upload":
        shelf.put("LocalUpload/240501T101112-0a1b2c3d/model", LARGE)
        shelf.register("churn", "azureml://artifacts/LocalUpload/240501T101112-0a1b2c3d/model")
    else:
        shelf.put("LocalUpload/1/model", LARGE, f"azureml-blobstore-{world.WORKSPACE_ID}")
        shelf.register("churn", "azureml://datastores/workspaceblobstore/paths/LocalUpload/1/model")
    return VersionSource(name="churn", version="1")


@pytest.mark.parametrize("kind", ["run", "root-of-run", "v1-upload", "v2-upload"])
def test_fetch__from_any_place__every_byte_with_progress(
    kind: str, shelf: Shelf, open_store: OpenStore, tmp_path: Path
) -> None:
    store = open_store()
    model = store.resolve(place(kind, shelf), name=None)
    progress = RecordingProgress("model")

    store.fetch(model, tmp_path / "got", progress)

    assert contents(tmp_path / "got") == LARGE
    total = float(sum(map(len, LARGE.values())))
    assert progress.updates[-1] == (total, total, "bytes")
    assert len(progress.updates) >= len(FILES) + 3, "a large file tells of its pieces"
    assert [done for done, _, _ in progress.updates] == sorted(done for done, _, _ in progress.updates)


def test_fetch__by_a_new_process__finds_it_again(shelf: Shelf, open_store: OpenStore, tmp_path: Path) -> None:
    model = open_store().resolve(place("run", shelf), name=None)
    open_store().fetch(model, tmp_path / "got", RecordingProgress("model"))
    assert contents(tmp_path / "got") == LARGE


def test_fetch__after_two_hours__with_fresh_addresses(
    shelf: Shelf, open_store: OpenStore, fake_clock: FakeClock, tmp_path: Path
) -> None:
    store = open_store()
    model = store.resolve(place("run", shelf), name=None)
    fake_clock.advance(7200)
    store.fetch(model, tmp_path / "got", RecordingProgress("model"))
    assert contents(tmp_path / "got") == LARGE


def test_fetch__address_that_ends_between_two_pieces__goes_on_where_it_was(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud, tmp_path: Path
) -> None:
    refusal = faults.json_error(403, {"error": {"code": "AuthenticationFailed", "message": "Signed expiry time"}})
    store = open_store()
    model = store.resolve(place("run", shelf), name=None)
    cloud.faults.add(refusal, host=BLOB, method="GET", path="model.pkl$", skip=1, times=1)
    progress = RecordingProgress("model")

    store.fetch(model, tmp_path / "got", progress)

    assert contents(tmp_path / "got") == LARGE
    ranges = [one.request_headers.get("Range") for one in cloud.trace.find(method="GET", path="model.pkl$", status=206)]
    assert ranges == ["bytes=0-8388607", "bytes=8388608-16777215", "bytes=16777216-25165823"]
    assert not cloud.faults.unused()


@pytest.mark.parametrize("fault", [faults.Reset(), faults.TruncatedBody(sent_bytes=1_000_000)], ids=["reset", "cut"])
def test_fetch__connection_that_breaks__costs_one_piece(
    fault: faults.Fault, shelf: Shelf, open_store: OpenStore, cloud: Cloud, tmp_path: Path
) -> None:
    store = open_store()
    model = store.resolve(place("run", shelf), name=None)
    cloud.faults.add(fault, host=BLOB, method="GET", path="model.pkl$", skip=1, times=2)
    store.fetch(model, tmp_path / "got", RecordingProgress("model"))
    assert contents(tmp_path / "got") == LARGE
    assert len(cloud.trace.find(method="GET", path="model.pkl$")) == 5


def test_fetch__file_that_changes_between_two_pieces__is_no_mixture(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud, tmp_path: Path
) -> None:
    store = open_store()
    source = place("run", shelf)
    assert isinstance(source, RunSource)
    model = store.resolve(source, name=None)

    class Changing(RecordingProgress):
        def update(self, done: float, total: float | None, unit: str) -> None:
            if done > 8_000_000:
                name = f"ExperimentRun/dcid.{source.run_id}/model/model.pkl"
                storage.write(cloud, world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER, name, bytes(20_000_000))

    with pytest.raises(TrackingServerFailed, match=r"model\.pkl of the model changed while it was downloaded"):
        store.fetch(model, tmp_path / "got", Changing("model"))
    assert list(tmp_path.iterdir()) == [], "nothing half is left"


def test_fetch__model_changed_since_the_checks__is_refused(shelf: Shelf, open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    run = shelf.log_model()
    model = store.resolve(RunSource(run_id=run.id, path="model"), name=None)
    shelf.log_model(run=run, files={"MLmodel": FILES["MLmodel"] + b"# edited\n"})
    with pytest.raises(TrackingServerFailed, match="not the model any more that was checked"):
        store.fetch(model, tmp_path / "got", RecordingProgress("model"))


def test_fetch__file_that_vanishes__is_told(shelf: Shelf, open_store: OpenStore, cloud: Cloud, tmp_path: Path) -> None:
    store = open_store()
    run = shelf.log_model()
    model = store.resolve(RunSource(run_id=run.id, path="model"), name=None)
    gone = '<?xml version="1.0" encoding="utf-8"?><Error><Code>BlobNotFound</Code><Message>Gone.</Message></Error>'
    answer = faults.Answer(response=lambda _: faults.Response.text(gone, status=404, content_type="application/xml"))
    cloud.faults.add(answer, host="*.blob.core.windows.net", method="GET", path="model.pkl$")
    with pytest.raises(ModelPathNotFound):
        store.fetch(model, tmp_path / "got", RecordingProgress("model"))


def test_fetch__larger_than_the_disk__refused_before_a_byte(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud, tmp_path: Path
) -> None:
    """The sizes, which the listing does not tell, are asked for first."""
    store = open_store()
    model = store.resolve(place("run", shelf), name=None)
    huge = faults.ChangedHeaders(headers={"Content-Length": str(10**17)})
    cloud.faults.add(huge, host=BLOB, method="HEAD", path="model.pkl$", times=None)
    with pytest.raises(DiskFull):
        store.fetch(model, tmp_path / "got", RecordingProgress("model"))
    assert not cloud.trace.find(method="GET", path="model.pkl$")


def test_fetch__name_that_leads_out__writes_nothing(
    shelf: Shelf, open_store: OpenStore, platform: RecordingPlatform, tmp_path: Path
) -> None:
    store = open_store()
    run = shelf.log_model()
    shelf.put(f"ExperimentRun/{run.container}/model/..", {"evil.txt": b"x"})
    with pytest.raises(MlazError) as raised:
        store.fetch(store.resolve(RunSource(run_id=run.id, path="model"), name=None), tmp_path / "got", RecordingProgress("m"))  # fmt: skip
    assert "leads out of the model's folder" in raised.value.what
    assert list(tmp_path.iterdir()) == []
