"""Each known failure of v1, by its name: the right exit code, Azure's own code and message, and a remedy that names the cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mlaz_ci.errors import (
    AzureFailed,
    AzureThrottled,
    AzureUnreachable,
    ClusterAccessDenied,
    ClusterFailed,
    ComputeNameInvalid,
    ContainerCrashed,
    DeployTimedOut,
    ImageBuildFailed,
    ImageInaccessible,
    MlazError,
    ModelNotFound,
    NameTaken,
    NoRoomInCluster,
    QuotaExceeded,
    RefusedByAzure,
    RoleMissing,
    StorageAccessDenied,
    WorkspaceNotFound,
    WorkspacePrivate,
)
from mlaz_ci.models import AzureShape, Cluster, Command, Status, Target
from tests.azure import failures, faults, mms_errors, openapi, roles, world
from tests.azure.transitions import after_polls
from tests.integration.azure.web_service import CLUSTER, SERVICE, Scene

Ready = Callable[[Scene], None]


def _nothing(scene: Scene) -> None:
    pass


def _on_aks(scene: Scene) -> None:
    scene.target = Target.AKS
    scene.request = replace(scene.request, target=Target.AKS, shape=AzureShape(compute=CLUSTER))
    scene.add_cluster()


def _makes_cluster(scene: Scene, *, resource_id: str | None = None, name: str = CLUSTER) -> None:
    cluster = Cluster(name=name, resource_id=resource_id)
    scene.request = replace(scene.request, target=Target.AKS, shape=AzureShape(compute=name, cluster=cluster))


def _attaches_cluster(scene: Scene) -> None:
    _makes_cluster(scene, resource_id=RESOURCE_ID)


def _uploads(scene: Scene) -> None:
    scene.store.model = replace(scene.store.model, is_in_workspace=False, run_id=None, artifact_uri="runs:/elsewhere/m")


RESOURCE_ID = (
    f"/subscriptions/{world.SUBSCRIPTION_ID}/resourceGroups/k8s/providers/Microsoft.ContainerService/managedClusters/c1"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """`words` are Azure's own, a part of them; `remedy` a part of ours. `times`: how often Azure refuses (None: always)."""

    kind: type[MlazError]
    code: str
    words: str
    remedy: str
    ready: Ready = _nothing
    times: int | None = 1


ROWS = {
    "aci-crashloop": Row(kind=ContainerCrashed, code="CrashLoopBackOff", words="container application crashed", remedy="container's log"),
    "aci-crashloop-old": Row(kind=ContainerCrashed, code="CrashLoopBackOff", words="scoring file's init()", remedy="container's log"),
    "aci-inaccessible-image": Row(kind=ImageInaccessible, code="InaccessibleImage", words="is not accessible", remedy="--admin-enabled true"),
    "env-build-failed": Row(kind=ImageBuildFailed, code="EnvironmentBuildFailed", words="Failed building the Environment", remedy="build's log"),
    "env-build-failed-short": Row(kind=ImageBuildFailed, code="EnvironmentBuildFailed", words="Failed Building the Environment", remedy="build's log"),
    "image-build-old": Row(kind=ImageBuildFailed, code="", words="Docker image build failed", remedy="build's log"),
    "aks-unschedulable-gpu": Row(kind=NoRoomInCluster, code="Unschedulable", words="Insufficient nvidia.com/gpu", remedy="nodes with a GPU", ready=_on_aks),
    "aks-insufficient-cpu": Row(kind=NoRoomInCluster, code="Unschedulable", words="CPU/Memory resource insufficient", remedy="add nodes", ready=_on_aks),
    "aks-crashloop": Row(kind=ContainerCrashed, code="CrashLoopBackOff", words="container application crashed", remedy="container's log", ready=_on_aks),
    "deploy-timedout": Row(kind=DeployTimedOut, code="DeploymentTimedOut", words="polling has TimedOut", remedy="deadline-minutes"),
    "mms-service-exists": Row(kind=NameTaken, code="ServiceExists", words="already contains an ACI Container Group", remedy="another `service-name`", times=None),
    "mms-forbidden": Row(kind=RoleMissing, code="Forbidden", words="AI Fabric returned Bad Request", remedy="role assigned", times=None),
    "mms-500": Row(kind=AzureUnreachable, code="InternalServerError", words="An internal server error occurred", remedy="Run again", times=None),
    "mms-504-html": Row(kind=AzureUnreachable, code="504", words="504 Gateway Time-out", remedy="Run again", times=None),
    "mms-429": Row(kind=AzureThrottled, code="TooManyRequests", words="Too many requests", remedy="fewer deploys at once", times=None),
    "mms-503": Row(kind=AzureUnreachable, code="ServiceUnavailable", words="temporarily unavailable", remedy="Run again", times=None),
    "mms-model-conflict": Row(kind=RefusedByAzure, code="ServiceModelConflict", words="Exactly one of the ModelIds or Models", remedy="field under `raw:`"),
    "validate-name-taken": Row(kind=NameTaken, code="", words="with the same name already exists", remedy="another `service-name`", times=None),
    "register-forbidden": Row(kind=RoleMissing, code="AuthorizationError", words="may not write artifacts", remedy="role assigned", ready=_uploads),
    "aks-name-invalid": Row(kind=ComputeNameInvalid, code="BadArgument", words="Compute name is invalid", remedy="name in `compute`", ready=_makes_cluster),
    "aks-quota": Row(kind=ClusterFailed, code="BadArgument", words="InvalidTemplateDeployment", remedy="quota of the VM size", ready=_makes_cluster),
    "aks-409": Row(kind=ClusterFailed, code="Conflict", words="ResourceDeploymentFailure", remedy="az ml compute delete", ready=_makes_cluster),
    "aks-attach-forbidden": Row(kind=ClusterAccessDenied, code="InternalError", words="image pull secret", remedy="Cluster Admin", ready=_attaches_cluster),
    "aci-quota": Row(kind=QuotaExceeded, code="ContainerGroupQuotaReached", words="group quota 'StandardCores' exceeded", remedy="more quota"),
    "arm-403-workspace": Row(kind=RoleMissing, code="AuthorizationFailed", words="workspaces/read", remedy="role assigned"),
    "arm-429": Row(kind=AzureThrottled, code="ResourceRequestsThrottled", words="exceeded the limit", remedy="fewer deploys at once", times=None),
    "arm-429b": Row(kind=AzureThrottled, code="TooManyRequests", words="being throttled", remedy="fewer deploys at once", times=None),
    "arm-502": Row(kind=AzureUnreachable, code="BadGatewayConnection", words="", remedy="Run again", times=None),
    "ws-not-found": Row(kind=WorkspaceNotFound, code="ResourceNotFound", words=world.WORKSPACE, remedy="overview page"),
    "private-link": Row(kind=WorkspacePrivate, code="UserError", words="private link", remedy="self-hosted runner"),
    "storage-key-off": Row(kind=StorageAccessDenied, code="KeyBasedAuthenticationNotPermitted", words="Key based authentication is not permitted", remedy="Storage Blob Data Contributor", ready=_uploads),
    "blob-403": Row(kind=StorageAccessDenied, code="AuthorizationFailure", words="not authorized to perform this operation", remedy="Storage Blob Data Contributor", ready=_uploads),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_row__azure_refuses__is_told_with_its_code_and_what_to_do(scene: Scene, name: str) -> None:
    row = ROWS[name]
    row.ready(scene)
    if name in mms_errors.REFUSALS:
        answer = mms_errors.REFUSALS[name]
        scene.cloud.faults.add(answer, host="*.azureml.ms", method="POST", path=r"/services$", times=row.times)
    elif (rule := failures.lay(scene.cloud, name, service=SERVICE)) is not None:
        rule.times = row.times
    with pytest.raises(MlazError) as raised:
        scene.deploy()
    error = raised.value
    print(name, type(error).__name__, error.upstream_code, "|", error.what[:200])
    assert (error.kind(), error.exit_code) == (row.kind.kind(), row.kind.exit_code)
    assert row.code in (error.upstream_code or "")
    assert row.words in error.what
    assert row.remedy in error.remedy_text
    assert not scene.cloud.faults.unused()


def test_row__all_of_v1_are_held() -> None:
    folder = openapi.wire_folder()
    if folder is None:
        pytest.skip("needs Microsoft's files: set MLAZ_WIRE")
    told = json.loads((folder / "errors" / "real_errors.json").read_text())["errors"]
    layers = {
        "MMS/ACI",
        "MMS/AKS",
        "MMS",
        "MMS images",
        "compute RP",
        "ACI",
        "ARM",
        "artifact service",
        "blob",
        "workspace",
    }
    wanted = {each["id"] for each in told if each["layer"] in layers}
    # A token that expired is renewed, and a service that is not there is no failure: they have tests of their own.
    assert wanted - set(ROWS) == {"arm-401-expired", "mms-404"}


def test_unknown_code__is_told_whole(scene: Scene) -> None:
    error = {"code": "SomethingNew", "statusCode": 400, "message": "Words nobody knows."}
    scene.cloud.scripts.add("mms-create", after_polls(1, "Running", "Failed", error=error), name=SERVICE)
    with pytest.raises(AzureFailed) as raised:
        scene.deploy()
    assert raised.value.upstream_code == "SomethingNew"
    assert "Words nobody knows." in raised.value.what


def test_404__of_a_service__is_absent(scene: Scene) -> None:
    failures.lay(scene.cloud, "mms-404")
    assert scene.run(Command.STATUS).status is Status.ABSENT


def test_401__of_a_token_that_expired__is_renewed(scene: Scene) -> None:
    failures.lay(scene.cloud, "arm-401-expired")
    assert scene.deploy().status is Status.HEALTHY


def test_model__registered_version_that_is_not_there__is_not_found(scene: Scene) -> None:
    scene.store.model = replace(scene.store.model, version="14", artifact_uri="models:/churn/14", run_id=None)
    with pytest.raises(ModelNotFound) as raised:
        scene.deploy()
    assert raised.value.exit_code == 4


def test_passing_failures__at_every_request__are_outlived(scene: Scene) -> None:
    for path in ("/services/churn-svc$", "/models$", "/assets$", "/environments/", "/batch/metadata", "/operations/"):
        scene.cloud.faults.add(faults.json_error(503, {}), host="*.azureml.ms", path=path, times=1)
    scene.cloud.faults.add(faults.Reset(), host="*.blob.core.windows.net", times=1)
    scene.cloud.faults.add(faults.html_error(502, "<html>Bad gateway</html>"), host="management.azure.com", times=2)
    assert scene.deploy().status is Status.HEALTHY
    assert not scene.cloud.faults.unused()


def test_role__that_only_reads__is_found_before_anything_is_made(scene: Scene) -> None:
    assignments = scene.cloud.state(roles.Assignments)
    assignments.assigned.clear()
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.SUBSCRIPTION_SCOPE)
    with pytest.raises(RoleMissing) as raised:
        scene.deploy()
    assert raised.value.exit_code == 3
    assert "services/aci/write" in raised.value.what
    assert "AzureML Data Scientist" in raised.value.remedy_text
    assert {each.method for each in scene.sent() if "login" not in each.host} == {"GET"}


def test_storage_without_shared_keys__our_own_token_is_used(scene: Scene) -> None:
    failures.lay(scene.cloud, "storage-key-off")
    scope = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.Storage/storageAccounts/{world.STORAGE_ACCOUNT}"
    scene.cloud.state(roles.Assignments).assign(world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, scope)
    assert scene.deploy().status is Status.HEALTHY


def test_hostile_words__of_azure__reach_no_log_command(scene: Scene) -> None:
    text = "\n::set-output name=x::y\r\n::error::\x1b[31m"
    error = mms_errors.flat("Bad\nCode", 400, text, ("Inner", text))
    scene.cloud.scripts.add("mms-create", after_polls(1, "Running", "Failed", error=error), name=SERVICE)
    with pytest.raises(MlazError) as raised:
        scene.deploy()
    assert "\n" not in raised.value.what
    assert "\x1b" not in raised.value.what


def test_state__that_azure_invents__is_waited_out_with_one_warning(scene: Scene, tmp_path: Path) -> None:
    scene.deploy()
    scene.cloud.trace.clear()
    scene.serve("run-2")
    stages = after_polls(3, "Running", "Succeeded")
    scene.cloud.scripts.add("mms-update", stages, name=SERVICE)
    odd = faults.json_error(200, {"id": "x", "state": "Pondering", "operationType": "Service"})
    scene.cloud.faults.add(odd, host="*.azureml.ms", path="/operations/", times=2)
    assert scene.deploy().status is Status.HEALTHY
    assert [title for _, title, _ in scene.platform.annotations].count("unknown-state") == 1
    scene.azure.cloud.take_failures("contract")
