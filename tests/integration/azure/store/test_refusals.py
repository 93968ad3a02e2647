"""What stands between a deploy and its model: each the right failure, with what to do."""

from __future__ import annotations

import pytest

from mlaz_ci.errors import (
    AzureThrottled,
    AzureUnreachable,
    InvalidInput,
    MlazError,
    ModelNotFound,
    ModelPathNotFound,
    RoleMissing,
    RunNotFound,
    StorageAccessDenied,
    StoreNotSupported,
    WorkspaceNotFound,
    WorkspacePrivate,
)
from mlaz_ci.models import LoggedModelSource, ModelSource, RunSource, VersionSource
from tests.azure import faults, registry, roles, storage, world
from tests.azure.arm import workspaces
from tests.azure.state import Cloud
from tests.integration.azure.store.conftest import OpenStore
from tests.integration.azure.store.models import FILES, MLMODEL, Shelf

REGIONAL, BLOB = "*.azureml.ms", "*.blob.core.windows.net"
PAGE = "<html><head><title>Gateway</title></head><body>sorry</body></html>"
LATEST = VersionSource(name="churn", version="latest")
EXPIRED = (
    '\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code>'
    "<Message>Server failed to authenticate the request. Signature not valid in the specified time frame.</Message></Error>"
)


def refused(open_store: OpenStore, source: ModelSource, tracking_uri: str | None = None) -> MlazError:
    with pytest.raises(MlazError) as raised:
        open_store(tracking_uri).resolve(source, name=None)
    return raised.value


def in_run(run_id: str, path: str = "model") -> RunSource:
    return RunSource(run_id=run_id, path=path)


def uploaded(shelf: Shelf) -> VersionSource:
    """A version whose files `az ml model create` has uploaded: read from storage itself."""
    shelf.put("LocalUpload/1/model", FILES, f"azureml-blobstore-{world.WORKSPACE_ID}")
    shelf.register("churn", "azureml://datastores/workspaceblobstore/paths/LocalUpload/1/model")
    return VersionSource(name="churn", version="1")


def may(cloud: Cloud, *actions: str) -> None:
    """From now on the identity may do this and no more."""
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    role = roles.Role(name="Custom", actions=actions)
    assignments.assign(world.CLIENT_OBJECT_ID, role, world.SUBSCRIPTION_SCOPE)


def test_run__that_is_not_there__says_where_it_was_looked_for(open_store: OpenStore) -> None:
    error = refused(open_store, in_run("missing"))
    assert type(error) is RunNotFound
    assert error.what.startswith('There is no run missing at the workspace "ws-ml": ')
    assert "Run runId=missing was not found" in error.what
    assert "`tracking-uri`" in error.remedy_text


def test_run__of_another_workspace__told_to_name_that_workspace(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    other = workspaces.Workspace(
        subscription=world.SUBSCRIPTION_ID,
        resource_group=world.RESOURCE_GROUP,
        name="ws-b",
        workspace_id=world.CLIENT_ID,
    )
    cloud.state(workspaces.Workspaces).add(other)
    run = Shelf(cloud, "ws-b").log_model()
    error = refused(open_store, in_run(run.id))
    assert type(error) is RunNotFound
    assert "For a run of another workspace" in error.remedy_text


def test_run__deleted__told_to_restore_it(shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_model(lifecycle="deleted")
    error = refused(open_store, in_run(run.id))
    assert (type(error), error.what) == (RunNotFound, f"Run {run.id} was deleted.")


def test_path__without_a_model__lists_those_that_have_one(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    run = shelf.log_model("a/best")
    shelf.log_model("z", run=run)
    shelf.put(f"ExperimentRun/{run.container}/plots", {"roc.png": b"png"})
    error = refused(open_store, in_run(run.id))
    assert type(error) is ModelPathNotFound
    assert error.what == f'Run {run.id} has no model at "model". It has models at: a/best, z.'
    listings = cloud.trace.find(path="/artifacts(/prefix/contentinfo)?$")
    assert len(listings) == 2, "one look at the path, one at all"


def test_path__one_other_model__its_input_is_spelled_out(shelf: Shelf, open_store: OpenStore) -> None:
    run = shelf.log_model("classifier")
    assert refused(open_store, in_run(run.id)).remedy_text == "Set `model-path: classifier`."


def test_run__without_any_model__tells_of_mlflow_3(shelf: Shelf, open_store: OpenStore) -> None:
    """What mlflow 3's log_model leaves behind in a workspace: a run without a file."""
    run = shelf.log_run()
    error = refused(open_store, in_run(run.id))
    assert type(error) is ModelPathNotFound
    assert "It holds no MLmodel file at all." in error.what
    assert 'mlflow.<flavor>.save_model to a folder and mlflow.log_artifacts(folder, "model")' in error.remedy_text


def test_path__that_leads_out__is_no_path(shelf: Shelf, open_store: OpenStore) -> None:
    assert type(refused(open_store, in_run(shelf.log_model().id, "../x"))) is InvalidInput


def test_mlmodel__announced_and_never_written__told_as_missing(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    run = shelf.log_model()
    rule = faults.json_error(404, {"error": {"code": "UserError", "message": "Not written."}})
    cloud.faults.add(rule, path="/content$", times=None)
    error = refused(open_store, in_run(run.id))
    assert type(error) is ModelPathNotFound
    assert "are not where the store says" in error.what


@pytest.mark.parametrize("source", [VersionSource(name="churn", version="7"), VersionSource(name="nope", version="1"), VersionSource(name="nope", version="latest")], ids=str)  # fmt: skip
def test_version__that_is_not_there__not_found(source: VersionSource, shelf: Shelf, open_store: OpenStore) -> None:
    shelf.register("churn", f"{shelf.log_model().artifact_uri}/model")
    error = refused(open_store, source)
    assert type(error) is ModelNotFound
    assert error.what.startswith(f'There is no models:/{source.name}/{source.version} at the workspace "ws-ml": ')


def test_registered_model__without_a_version__not_found(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    registry.add_model(cloud, shelf.workspace, "churn", shelf.caller)
    error = refused(open_store, LATEST)
    assert (type(error), "the registered model has no version" in error.what) == (ModelNotFound, True)


def test_alias__of_a_registered_model__told_what_to_give_instead(open_store: OpenStore, cloud: Cloud) -> None:
    error = refused(open_store, VersionSource(name="churn", alias="champion"))
    assert type(error) is InvalidInput
    assert "models:/churn@champion names an alias" in error.what
    assert "`models:/churn/latest`" in error.remedy_text
    assert not cloud.trace.find(), "nothing needs to be asked"


def test_logged_model__by_its_id__told_what_to_give_instead(open_store: OpenStore) -> None:
    error = refused(open_store, LoggedModelSource(model_id="m-" + "0" * 32))
    assert type(error) is InvalidInput
    assert "Give `run-id` and `model-path`" in error.remedy_text


@pytest.mark.parametrize(
    "uri",
    [
        "azureml://registries/azureml/models/bert/versions/1",
        "azureml://subscriptions/x/resourcegroups/y/workspaces/z/datastores/workspaceblobstore/paths/m",
        "s3://bucket/model",
    ],
)
def test_version__whose_files_lie_elsewhere__cannot_be_read(uri: str, shelf: Shelf, open_store: OpenStore) -> None:
    shelf.register("churn", uri)
    error = refused(open_store, LATEST)
    assert type(error) is StoreNotSupported
    assert "Register the model from a run" in error.remedy_text


def test_version__at_an_address_that_only_looks_like_storage__gets_no_token(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    shelf.register("churn", "https://acc.blob.evil.example/box/model")
    error = refused(open_store, LATEST)
    assert type(error) is StorageAccessDenied
    assert not [each for each in cloud.trace.hosts() if "evil" in each]


def test_datastore__of_another_kind__cannot_be_read(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    shelf.register("churn", "azureml://datastores/workspaceblobstore/paths/model")
    lake = {"properties": {"datastoreType": "AzureDataLakeGen2", "accountName": "lake", "filesystem": "x"}}
    cloud.faults.add(faults.json_error(200, lake), host="management.azure.com", path="/datastores/")
    error = refused(open_store, LATEST)
    assert type(error) is StoreNotSupported
    assert "AzureDataLakeGen2" in error.what


def test_datastore__that_is_gone__is_told_as_missing_files(shelf: Shelf, open_store: OpenStore) -> None:
    shelf.register("churn", "azureml://datastores/mine/paths/model")
    error = refused(open_store, LATEST)
    assert type(error) is ModelPathNotFound
    assert 'the datastore "mine" is not there any more' in error.what


def test_tracking_uri__of_a_registry__names_no_workspace(open_store: OpenStore) -> None:
    error = refused(open_store, in_run("x"), "azureml://registries/azureml")
    assert type(error) is InvalidInput
    assert "az ml workspace show" in error.remedy_text


# --- who may not ------------------------------------------------------------------------------------------------------


def test_role__that_reads_the_workspace_alone__names_what_suffices(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    run = shelf.log_model()
    may(cloud, "Microsoft.MachineLearningServices/workspaces/read")
    error = refused(open_store, in_run(run.id))
    assert type(error) is RoleMissing
    assert "Microsoft.MachineLearningServices/workspaces/experiments/runs/read" in error.what
    assert "Reader suffices" in error.remedy_text


def test_role__reader__suffices(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    run = shelf.log_model()
    may(cloud, "*/read")
    assert open_store().resolve(in_run(run.id), name=None).facts.mlmodel_text == MLMODEL


def test_role__reader__a_version_in_a_datastore_without_its_secrets(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    shelf.put("LocalUpload/1/model", FILES, f"azureml-blobstore-{world.WORKSPACE_ID}")
    shelf.register("churn", "azureml://datastores/workspaceblobstore/paths/LocalUpload/1/model")
    may(cloud, "*/read")
    error = refused(open_store, LATEST)
    assert type(error) is StorageAccessDenied
    assert "Storage Blob Data Contributor" in error.remedy_text


def test_workspace__closed_to_the_public__is_private(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    run = shelf.log_model()
    cloud.state(workspaces.Workspaces).default.public_network_access = "Disabled"
    assert type(refused(open_store, in_run(run.id))) is WorkspacePrivate


def test_workspace__of_the_tracking_uri_not_there__is_no_run_that_is_not_there(
    shelf: Shelf, open_store: OpenStore
) -> None:
    error = refused(open_store, in_run("x"), shelf.tracking_uri.replace("ws-ml", "ws-gone"))
    assert type(error) is WorkspaceNotFound
    assert 'the workspace "ws-gone"' in error.what


def test_storage__behind_a_firewall__is_denied(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    source = uploaded(shelf)
    cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_public_network = False
    error = refused(open_store, source)
    assert type(error) is StorageAccessDenied
    assert "AuthorizationFailure" in error.what
    assert "firewall" in error.remedy_text


def test_storage__without_keys_or_role__names_the_role(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    source = uploaded(shelf)
    cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_shared_key = False
    error = refused(open_store, source)
    assert type(error) is StorageAccessDenied
    assert "Storage Blob Data Contributor" in error.remedy_text


# --- what passes, and what does not -----------------------------------------------------------------------------------


def _expire(cloud: Cloud, times: int | None) -> None:
    answer = faults.Answer(response=lambda _: faults.Response.text(EXPIRED, status=403, content_type="application/xml"))
    cloud.faults.add(answer, host=BLOB, path="requirements.txt$", times=times)


def test_address__expired__a_fresh_one_is_asked_for(shelf: Shelf, open_store: OpenStore, cloud: Cloud) -> None:
    source = uploaded(shelf)
    _expire(cloud, 1)
    assert open_store().resolve(source, name=None).facts.mlmodel_text == MLMODEL
    assert not cloud.faults.unused()
    assert len(cloud.trace.find(path="/listSecrets$")) == 2


def test_address__refused_again_and_again__the_clock_or_the_keys(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    source = uploaded(shelf)
    _expire(cloud, None)
    error = refused(open_store, source)
    assert type(error) is StorageAccessDenied
    assert "Signature not valid in the specified time frame" in error.what
    assert "sync-keys" in error.remedy_text


@pytest.mark.parametrize(
    "bad",
    [
        (faults.json_error(429, {}), REGIONAL, "runs/get", AzureThrottled),
        (faults.html_error(504, PAGE), REGIONAL, "/content$", AzureUnreachable),
        (faults.html_error(404, PAGE), REGIONAL, "runs/get", AzureUnreachable),
        (faults.html_error(200, PAGE), REGIONAL, "runs/get", AzureUnreachable),
        (faults.json_error(200, ["x"]), REGIONAL, "experiments/get", AzureUnreachable),
        (faults.Reset(), BLOB, "MLmodel", AzureUnreachable),
        (faults.TruncatedBody(sent_bytes=10), BLOB, "MLmodel", AzureUnreachable),
        (faults.html_error(503, PAGE), BLOB, "", AzureUnreachable),
    ],
    ids=["throttled", "gateway", "page-404", "page-200", "no-object", "reset", "truncated", "storage-down"],
)
def test_answer__that_stays_bad__is_told_as_what_it_is(
    bad: tuple[faults.Fault, str, str, type[MlazError]], shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    fault, host, path, kind = bad
    source = uploaded(shelf) if host == BLOB else in_run(shelf.log_model().id)
    cloud.faults.add(fault, host=host, path=path, times=None)
    error = refused(open_store, source)
    assert type(error) is kind
    if host == BLOB:
        assert error.__cause__ is None, "a client's exception may quote the signed address"


@pytest.mark.parametrize(
    "fault",
    [faults.json_error(429, {}, headers={"Retry-After": "3"}), faults.html_error(502, PAGE), faults.Reset()],
    ids=["throttled", "gateway", "reset"],
)
@pytest.mark.parametrize("host", [REGIONAL, BLOB])
def test_answer__bad_for_a_while__does_not_matter(
    fault: faults.Fault, host: str, shelf: Shelf, open_store: OpenStore, cloud: Cloud
) -> None:
    source = uploaded(shelf) if host == BLOB else in_run(shelf.log_model().id)
    cloud.faults.add(fault, host=host, times=3)
    assert open_store().resolve(source, name=None).facts.mlmodel_text == MLMODEL
    assert not cloud.faults.unused()
