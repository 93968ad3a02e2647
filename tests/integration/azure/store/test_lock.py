"""The lock left with a run of the workspace, by the workspace's own services, and read back by a later deploy."""

from __future__ import annotations

import pytest

from mlaz_ci.checks.kept_lock import read_kept_lock
from mlaz_ci.models import Lock, RunSource, VersionSource
from tests.azure import faults, roles, runs, storage, world
from tests.azure.arm import workspaces
from tests.azure.state import Cloud
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.store.conftest import OpenStore
from tests.integration.azure.store.models import FILES, Shelf

FIRST = Lock(text="a==1 \\\n    --hash=sha256:00\n", python_version="3.11", server_range="==1.5.*", base_image="i:1")
SECOND = Lock(text="a==2\n", python_version="3.11", server_range="==1.5.*", base_image="i:1", conda_packages=("git",))


@pytest.fixture
def source(shelf: Shelf) -> RunSource:
    return RunSource(run_id=shelf.log_model().id, path="model")


def kept(open_store: OpenStore, source: RunSource | VersionSource) -> Lock | None:
    """What a new process finds."""
    model = open_store().resolve(source, name="churn")
    return read_kept_lock(model.lock_text, model_digest=model.digest) if model.lock_text else None


def leave(open_store: OpenStore, source: RunSource | VersionSource, lock: Lock = FIRST) -> bool:
    store = open_store()
    return store.keep_lock(store.resolve(source, name="churn"), lock)


def blob_of(cloud: Cloud, run_id: str, lock: Lock) -> tuple[storage.Container, str]:
    held = cloud.state(storage.Accounts).container(world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER)
    assert held is not None
    return held, f"ExperimentRun/dcid.{run_id}/mlaz-ci/lock-{lock.hash}.txt"


def test_lock__left_with_a_run__read_back(source: RunSource, open_store: OpenStore, cloud: Cloud) -> None:
    assert kept(open_store, source) is None
    before = len(cloud.trace.find(host="azureml.ms"))
    assert leave(open_store, source)
    assert kept(open_store, source) == FIRST
    held, name = blob_of(cloud, source.run_id, FIRST)
    assert name in held.blobs
    read = cloud.trace.find(where=lambda one: one.method == "GET" and "mlaz-ci/" in one.query.get("path", ""))
    assert len(read) == 1
    writes = [
        f"{one.method} {one.path.rpartition('/')[2]}"
        for one in cloud.trace.find(where=lambda one: one.method != "GET" and "login." not in one.host)
    ]
    assert writes == ["POST content", "POST set-tag"], before


def test_lock__of_a_registered_version__is_its_runs(shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_model()
    shelf.register("churn", f"{run.artifact_uri}/model", run_id=run.id)
    assert leave(open_store, VersionSource(name="churn", version="1"))
    assert kept(open_store, RunSource(run_id=run.id, path="model")) == FIRST


def test_lock__of_a_version_without_a_run__is_not_left(shelf: Shelf, open_store: OpenStore) -> None:
    shelf.put("LocalUpload/1/model", FILES)
    shelf.register("churn", "azureml://artifacts/LocalUpload/1/model")
    assert not leave(open_store, VersionSource(name="churn", version="1"))


def test_lock__left_anew__is_the_newer(source: RunSource, open_store: OpenStore) -> None:
    assert leave(open_store, source)
    assert leave(open_store, source, SECOND)
    assert kept(open_store, source) == SECOND


def test_lock__that_is_left_already__writes_nothing(source: RunSource, open_store: OpenStore, cloud: Cloud) -> None:
    assert leave(open_store, source)
    writes = len(cloud.trace.find(path="/content$", method="POST"))
    assert leave(open_store, source)
    assert len(cloud.trace.find(path="/content$", method="POST")) == writes


@pytest.mark.parametrize("path", ["set-tag", "/content$"])
def test_lock__answer_that_is_lost__is_asked_for_again(
    path: str, source: RunSource, open_store: OpenStore, cloud: Cloud
) -> None:
    cloud.faults.add(faults.Reset(after_effect=True), path=path, times=1)
    assert leave(open_store, source)
    assert not cloud.faults.unused()
    assert kept(open_store, source) == FIRST


def test_lock__by_a_reader__is_not_left_and_no_error(
    source: RunSource, open_store: OpenStore, cloud: Cloud, platform: RecordingPlatform
) -> None:
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.SUBSCRIPTION_SCOPE)
    assert not leave(open_store, source)
    assert f"The lock could not be left with run {source.run_id}: " in platform.text
    assert "metadata/artifacts/write" in platform.text


def test_lock__that_was_changed__is_told_and_not_used(
    source: RunSource, open_store: OpenStore, cloud: Cloud, platform: RecordingPlatform
) -> None:
    assert leave(open_store, source)
    _, name = blob_of(cloud, source.run_id, FIRST)
    storage.write(cloud, world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER, name, b"a==666\n")
    assert kept(open_store, source) is None
    assert f"The lock {FIRST.hash} left with run {source.run_id} is missing or changed" in platform.text


def test_lock__whose_file_is_gone__is_told_and_left_again(
    source: RunSource, open_store: OpenStore, cloud: Cloud
) -> None:
    assert leave(open_store, source)
    held, name = blob_of(cloud, source.run_id, FIRST)
    del held.blobs[name]
    assert kept(open_store, source) is None
    assert leave(open_store, source)
    assert kept(open_store, source) == FIRST


def test_lock__with_a_tag_of_another_form__is_not_looked_for(
    source: RunSource, open_store: OpenStore, cloud: Cloud
) -> None:
    digest = open_store().resolve(source, name="churn").digest
    run = cloud.state(runs.Tracking).run(cloud.state(workspaces.Workspaces).default.key, source.run_id)
    assert run is not None
    run.tags[f"mlaz-lock.{digest[:12]}"] = "../../etc/passwd"
    assert kept(open_store, source) is None
    assert not cloud.trace.find(where=lambda one: "passwd" in one.target)
