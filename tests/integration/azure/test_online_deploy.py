"""A deploy to a managed endpoint, from nothing and again: what is made, what is left alone, what it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.errors import MlazError, NotOurs, StorageAccessDenied
from mlaz_ci.models import AzureShape, Command, ModelVersionName, PathSource, Status, Target
from tests.azure import roles, storage, world
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.online import OWNER, Stage, asked, last, with_raw, writes


def told(requests: list[Any]) -> str:
    return "\n".join(str(each) for each in requests)


def test_deploy__nothing_there__serves_and_costs_thirty_requests_at_most(stage: Stage, cloud: CloudState) -> None:
    outcome = stage.deploy()
    requests = asked(cloud)
    print(f"\nfirst deploy: {len(requests)} requests without polls")
    assert outcome.status is Status.HEALTHY
    assert len(requests) <= 30, told(requests)
    assert outcome.scoring_uri == f"https://churn.{world.REGION}.inference.ml.azure.com/score"
    name = outcome.deployment_name
    assert name is not None
    assert stage.traffic == {name: 100}
    made = stage.deployments()[name]
    assert made["properties"]["model"].endswith("/models/churn/versions/1")
    assert made["properties"]["requestSettings"]["requestTimeout"] == "PT60S"
    assert made["tags"]["mlaz-owner"] == made["properties"]["properties"]["mlaz-owner"] == OWNER
    assert sum(each.request_bytes for each in requests) < 100_000


def test_deploy__again_the_same__is_unchanged_within_sixteen_requests(stage: Stage, cloud: CloudState) -> None:
    name = stage.deploy().deployment_name
    since = last(cloud)
    outcome = stage.deploy()
    requests = asked(cloud, since)
    print(f"\nunchanged: {len(requests)} requests")
    assert (outcome.status, outcome.deployment_name, outcome.changed) == (Status.UNCHANGED, name, False)
    assert len(requests) <= 16, told(requests)
    assert writes(cloud, since) == []


def test_deploy__another_model__replaces_and_the_old_one_goes(stage: Stage, cloud: CloudState) -> None:
    old = stage.deploy().deployment_name
    since = last(cloud)
    outcome = stage.deploy("run-2")
    requests = asked(cloud, since)
    print(f"\nreplace: {len(requests)} requests without polls")
    assert outcome.status is Status.HEALTHY
    assert outcome.previous_model_version == "1"
    assert outcome.model_version == "2"
    assert list(stage.deployments()) == [outcome.deployment_name]
    assert outcome.deployment_name != old
    assert stage.traffic == {outcome.deployment_name: 100}
    assert len(requests) <= 30, told(requests)


def test_deploy__back_to_the_first_model__registers_nothing_anew(stage: Stage) -> None:
    stage.deploy()
    stage.deploy("run-2")
    outcome = stage.deploy()
    assert outcome.model_version == "1"
    assert sorted(stage.model_versions()) == ["1", "2"]


def test_deploy__registered_already__is_deployed_as_it_is(stage: Stage, cloud: CloudState) -> None:
    stage.store.version = "7"
    stage.arm(
        "PUT",
        "/models/churn/versions/7",
        {"properties": {"modelUri": "azureml://jobs/run-1/outputs/artifacts/paths/model", "modelType": "mlflow_model"}},
    )
    since = last(cloud)
    assert stage.deploy().model_version == "7"
    assert not any("/models/" in each for each in writes(cloud, since))


def test_cleanup__created__takes_all_within_eight_requests(stage: Stage, cloud: CloudState) -> None:
    stage.deploy()
    since = last(cloud)
    outcome = stage.run(command=Command.CLEANUP)
    requests = asked(cloud, since)
    print(f"\ncleanup: {len(requests)} requests without polls")
    assert outcome.status is Status.DELETED
    assert stage.endpoint() is None
    assert len(requests) <= 8, told(requests)
    assert stage.run(command=Command.CLEANUP).status is Status.ABSENT


def test_cleanup__model_version__goes_where_it_is_ours_or_named(stage: Stage) -> None:
    stage.deploy()
    [version] = stage.model_versions()
    also = (ModelVersionName(name="churn", version=version),)
    with pytest.raises(NotOurs, match=f"Version {version} of the model churn belongs to"):
        stage.run(command=Command.CLEANUP, also_delete=also, owner="repo:2", take_over="churn")
    assert stage.model_versions()
    stage.run(command=Command.CLEANUP, also_delete=also)
    assert not stage.model_versions()
    assert stage.run(command=Command.CLEANUP, also_delete=also).status is Status.ABSENT


# --- a model from elsewhere -------------------------------------------------------------------------------------------


def model_folder(folder: Path, size: int = 10) -> Path:
    place = folder / "checkout"
    place.mkdir(exist_ok=True)
    (place / "MLmodel").write_text("flavors: {python_function: {}}\n")
    (place / "model.pkl").write_bytes(b"x" * size)
    return place


def blobs_of(cloud: CloudState, ending: str) -> list[str]:
    account = cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT]
    return [f"{box}/{blob}" for box, held in account.containers.items() for blob in held.blobs if blob.endswith(ending)]


def test_model_from_elsewhere__is_uploaded_once_with_progress_and_reused_by_its_bytes(
    stage: Stage, cloud: CloudState, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path, size=20 * 1024 * 1024)
    outcome = stage.run("run-1", source=PathSource(path=folder))
    assert outcome.status is Status.HEALTHY
    version = stage.arm("GET", "/models/churn/versions/1")["properties"]
    assert version["modelUri"].startswith(f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/")
    assert len(blobs_of(cloud, "/model.pkl")) == 1
    # In blocks, which tell how far it is.
    told = next(each.updates for each in stage.platform.progresses if each.title == "Register the model")
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-1] == (pytest.approx(20 * 1024 * 1024 + 31), pytest.approx(20 * 1024 * 1024 + 31), "bytes")
    assert len(told) >= 3
    stage.run(command=Command.CLEANUP)
    since = last(cloud)
    assert stage.run("run-1", source=PathSource(path=folder)).model_version == "1"
    assert sum(each.request_bytes for each in asked(cloud, since)) < 100_000


def test_model_from_elsewhere__other_bytes_under_the_same_description__is_another_version(
    stage: Stage, tmp_path: Path
) -> None:
    stage.run("run-1", source=PathSource(path=model_folder(tmp_path)))
    stage.run(command=Command.CLEANUP)
    (tmp_path / "checkout" / "model.pkl").write_bytes(b"other")
    other = Stage(cloud=stage.cloud, sign_in_as=stage.sign_in_as, clock=stage.clock, folder=tmp_path / "other-runner")
    assert other.run("run-1", source=PathSource(path=tmp_path / "checkout")).model_version == "2"


def no_keys(cloud: CloudState) -> None:
    cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_shared_key = False


def test_storage_without_shared_keys__is_written_with_the_identitys_own_token(
    stage: Stage, cloud: CloudState, tmp_path: Path
) -> None:
    no_keys(cloud)
    cloud.state(roles.Assignments).assign(
        world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, world.RESOURCE_GROUP_SCOPE
    )
    assert stage.run("run-1", source=PathSource(path=model_folder(tmp_path))).status is Status.HEALTHY
    assert len(blobs_of(cloud, "score.py")) == 1
    assert len(blobs_of(cloud, "/model.pkl")) == 1


def test_storage_without_shared_keys__and_without_the_role__names_it(stage: Stage, cloud: CloudState) -> None:
    no_keys(cloud)
    with pytest.raises(StorageAccessDenied) as raised:
        stage.deploy()
    assert raised.value.upstream_code == "AuthorizationPermissionMismatch"
    assert "Storage Blob Data Contributor" in raised.value.remedy_text
    assert stage.endpoint() is None


# --- shapes ------------------------------------------------------------------------------------------------------------


def test_shape__inputs_and_section__stand_in_azures_own_fields(stage: Stage) -> None:
    shape = AzureShape(
        instance_type="Standard_F4s_v2",
        instance_count=2,
        description="Churn of customers",
        enable_app_insights=True,
        data_collection=True,
        environment_variables={"LOG_LEVEL": "info"},
        raw={
            "endpoint": {"publicNetworkAccess": "Enabled", "properties": {"cost": "42"}},
            "deployment": {
                "requestSettings": {"requestTimeout": "PT90S", "maxConcurrentRequestsPerInstance": 3},
                "livenessProbe": {"initialDelay": "PT60S", "failureThreshold": 5},
                "egressPublicNetworkAccess": "Disabled",
            },
        },
    )
    made = stage.deployments_of(stage.deploy(shape=shape, tags={"team": "risk"}))
    properties = made["properties"]
    assert made["sku"]["capacity"] == 2
    assert made["tags"]["team"] == "risk"
    assert properties["instanceType"] == "Standard_F4s_v2"
    assert properties["description"] == "Churn of customers"
    assert properties["appInsightsEnabled"] is True
    assert set(properties["dataCollector"]["collections"]) == {"model_inputs", "model_outputs"}
    assert properties["environmentVariables"]["LOG_LEVEL"] == "info"
    assert properties["environmentVariables"]["MLAZ_DATA_COLLECTION"] == "true"
    assert properties["requestSettings"]["requestTimeout"] == "PT90S"
    assert properties["livenessProbe"]["initialDelay"] == "PT60S"
    assert properties["egressPublicNetworkAccess"] == "Disabled"
    endpoint = stage.endpoint()
    assert endpoint["properties"]["properties"]["cost"] == "42"
    assert endpoint["tags"]["team"] == "risk"


def test_shape__user_assigned_identity__is_the_endpoints(stage: Stage) -> None:
    identity = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/previews"
    raw = {"endpoint": {"identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}}}
    stage.deploy(shape=with_raw(raw))
    stage.deploy("run-2")
    assert list(stage.endpoint()["identity"]["userAssignedIdentities"]) == [identity]


def test_environment__of_the_lock__is_its_conda_file_and_the_base_image(stage: Stage) -> None:
    made = stage.deployments_of(stage.deploy(base_image="registry.contoso.com/ml/base:3"))
    _, _, below = made["properties"]["environmentId"].partition(world.WORKSPACE)
    environment = stage.arm("GET", below)["properties"]
    assert environment["image"] == "registry.contoso.com/ml/base:3"
    assert "azureml-inference-server-http==1.5.1" in environment["condaFile"]
    assert environment["tags"]["managed-by"] == "mlaz-ci"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("curated:3", "/environments/curated/versions/3"),
        ("azureml:curated@latest", "/environments/curated/versions/3"),
        (
            "azureml://registries/azureml/environments/x/versions/1",
            "azureml://registries/azureml/environments/x/versions/1",
        ),
    ],
)
def test_environment__that_exists__is_used_and_none_is_made(
    stage: Stage, cloud: CloudState, given: str, wanted: str
) -> None:
    stage.arm("PUT", "/environments/curated/versions/3", {"properties": {"image": "registry.contoso.com/ml/serving:3"}})
    since = last(cloud)
    made = stage.deployments_of(stage.deploy(azureml_environment=given))
    assert made["properties"]["environmentId"].endswith(wanted)
    assert not any("/environments/" in each for each in writes(cloud, since))


@pytest.mark.parametrize("given", ["nothing@latest", "curated", "curated@stable"])
def test_environment__that_is_none__is_refused_and_nothing_serves(stage: Stage, given: str) -> None:
    with pytest.raises(MlazError) as raised:
        stage.deploy(azureml_environment=given)
    assert raised.value.exit_code in {2, 4}
    assert stage.endpoint() is None


def test_no_code__neither_code_nor_environment_and_a_warning(stage: Stage) -> None:
    outcome = stage.deploy(shape=with_raw({"serving": "no-code"}))
    properties = stage.deployments_of(outcome)["properties"]
    assert properties["codeConfiguration"] is None
    assert properties["environmentId"] is None
    assert any(each.code == "serving-no-code" for each in outcome.findings)


# --- Kubernetes ---------------------------------------------------------------------------------------------------------


def kubernetes(stage: Stage) -> Stage:
    stage.arm(
        "PUT",
        "/computes/cluster",
        {
            "location": world.REGION,
            "properties": {
                "computeType": "Kubernetes",
                "resourceId": f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/aks",
                "properties": {"namespace": "ml"},
            },
        },
    )
    stage.base = {"target": Target.KUBERNETES}
    return stage


def test_kubernetes__deploy_replace_and_cleanup(stage: Stage) -> None:
    kubernetes(stage)
    limits = {"containerResourceRequirements": {"containerResourceLimits": {"cpu": "2", "memory": "4Gi"}}}
    shape = AzureShape(
        compute="cluster", instance_type="cpuinstance", cpu_cores=0.5, memory_gb=1.5, raw={"deployment": limits}
    )
    outcome = stage.deploy(shape=shape)
    assert outcome.status is Status.HEALTHY
    assert outcome.scoring_uri is not None
    made = stage.deployments_of(outcome)["properties"]
    assert stage.endpoint()["properties"]["compute"].endswith("/computes/cluster")
    assert made["endpointComputeType"] == "Kubernetes"
    assert made["containerResourceRequirements"]["containerResourceRequests"]["cpu"] == "0.5"
    assert made["containerResourceRequirements"]["containerResourceRequests"]["memory"] == "1.5Gi"
    assert made["containerResourceRequirements"]["containerResourceLimits"]["cpu"] == "2"
    second = stage.deployments_of(stage.deploy("run-2"))["properties"]
    assert second["instanceType"] == "cpuinstance"
    assert len(stage.deployments()) == 1
    assert stage.run(command=Command.CLEANUP).status is Status.DELETED


def test_kubernetes__count_of_instances__is_kept_by_the_next_version(stage: Stage) -> None:
    kubernetes(stage)
    first = stage.deployments_of(stage.deploy(shape=AzureShape(compute="cluster", instance_count=3)))
    assert first["properties"]["scaleSettings"]["scaleType"] == "Default"
    scale = {"scaleSettings": {"scaleType": "TargetUtilization", "minInstances": 2, "maxInstances": 6}}
    stage.deploy("run-2", shape=with_raw({"deployment": scale}))
    third = stage.deployments_of(stage.deploy("run-3"))
    assert third["properties"]["scaleSettings"]["minInstances"] == 2
    assert third["properties"]["scaleSettings"]["maxInstances"] == 6


# --- and its end ---------------------------------------------------------------------------------------------------------


def test_wait_false__then_status_with_wait__ends_what_was_begun(stage: Stage) -> None:
    old = stage.deploy().deployment_name
    begun = stage.deploy("run-2", wait=False)
    assert begun.status is Status.CREATING
    assert stage.traffic == {old: 100}
    ended = stage.run("run-2", command=Command.STATUS, given=("wait",))
    assert ended.status is Status.HEALTHY
    [new] = stage.deployments()
    assert new != old
    assert stage.traffic == {new: 100}


def test_invoke__sends_the_file_and_shows_no_key(stage: Stage, tmp_path: Path) -> None:
    stage.deploy()
    file = tmp_path / "request.json"
    file.write_text('{"input_data": [[1.0]]}')
    outcome = stage.run(command=Command.INVOKE, request_file=file)
    assert outcome.response is not None
    assert outcome.response.body == b'{"input_data": [[1.0]]}'


def test_dry_run__prints_the_plan_and_changes_nothing(stage: Stage, cloud: CloudState) -> None:
    outcome = stage.deploy(dry_run=True)
    assert outcome.status is Status.PLANNED
    assert any(each.startswith('at once: create the endpoint "churn"') for each in outcome.plan)
    assert writes(cloud) == []


def test_cleanup__cpu_until_the_first_request__and_what_it_imports() -> None:
    program = """
import sys, time
from mlaz_ci.adapters.azure_arm import OnlineEndpoints
from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
from mlaz_ci.adapters.azure_wire import transport
from mlaz_ci.adapters.identity import CLOUDS
from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.models import Cloud, Command, Request, Target, Workspace, AzureShape
class Signing:
    def get_token(self, *scopes, **options):
        heavy = {name.split(".")[0] for name in sys.modules} & {"mlflow", "azureml", "pandas", "numpy"}
        heavy |= {name for name in sys.modules if name.startswith("azure.ai")}
        print(round(time.process_time(), 2), sorted(heavy), flush=True)
        raise SystemExit(0)
    def renew(self, *, stale=None): ...
clock = SystemClock()
door = WorkspaceDoor(
    Wire(Signing(), clock, deadline_s=clock.now_s() + 60),
    Workspace(subscription_id="s", resource_group="g", name="w"), CLOUDS[Cloud.PUBLIC])
request = Request(command=Command.CLEANUP, target=Target.MANAGED, service_name="churn", shape=AzureShape())
OnlineEndpoints(door, clock, None, request).snapshot("churn")
"""
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    seconds, _, heavy = told.stdout.strip().partition(" ")
    print(f"\ncleanup: {seconds} s of CPU until the first request")
    assert heavy == "[]"
    assert float(seconds) <= 1.0
