"""AKS: the cluster it runs on, its replicas and limits, tokens and keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlaz_ci.errors import ComputeNotFound, Conflict, DeployTimedOut, InvalidInput, NotOurs, RecreateNotAllowed
from mlaz_ci.models import AuthMode, AzureShape, Cluster, Command, ComputeName, ModelVersionName, Secret, Status, Target
from tests.azure import webservices, world
from tests.azure.arm import computes, workspaces
from tests.azure.transitions import after_seconds
from tests.integration.azure.web_service import CLUSTER, Scene

RESOURCE_ID = (
    f"/subscriptions/{world.SUBSCRIPTION_ID}/resourceGroups/k8s/providers/Microsoft.ContainerService/managedClusters/c1"
)


@pytest.fixture
def aks(scene: Scene) -> Scene:
    scene.request = replace(scene.request, target=Target.AKS, shape=AzureShape(compute=CLUSTER))
    scene.target = Target.AKS
    return scene


@pytest.fixture
def on_cluster(aks: Scene) -> Scene:
    aks.add_cluster()
    return aks


def compute_of(scene: Scene, name: str = CLUSTER) -> computes.Compute | None:
    return scene.cloud.state(computes.Computes).get(scene.cloud.state(workspaces.Workspaces).default.key, name)


def with_cluster(scene: Scene, **settings: object) -> AzureShape:
    return AzureShape(compute=CLUSTER, cluster=Cluster(name=CLUSTER, settings=settings))


def test_deploy__on_a_cluster_that_is_there__is_healthy(on_cluster: Scene) -> None:
    outcome = on_cluster.deploy()
    assert outcome.status is Status.HEALTHY
    assert outcome.scoring_uri
    assert outcome.scoring_uri.endswith("/api/v1/service/churn-svc/score")
    print(f"first deploy to AKS: {len(on_cluster.sent())} requests")
    assert len(on_cluster.sent()) <= 40
    on_cluster.cloud.trace.clear()
    assert on_cluster.deploy().status is Status.UNCHANGED
    assert len(on_cluster.cloud.trace.find()) <= 24


@pytest.mark.parametrize(
    ("auth", "is_keyed", "takes_tokens"),
    [(AuthMode.KEY, True, False), (AuthMode.TOKEN, False, True), (AuthMode.NONE, False, False)],
)
def test_deploy__each_kind_of_auth__is_smoke_tested_with_it(
    on_cluster: Scene, auth: AuthMode, *, is_keyed: bool, takes_tokens: bool
) -> None:
    outcome = on_cluster.deploy(shape=AzureShape(compute=CLUSTER, auth=auth))
    assert outcome.status is Status.HEALTHY
    assert (on_cluster.payload["authEnabled"], on_cluster.payload["aadAuthEnabled"]) == (is_keyed, takes_tokens)
    [call] = on_cluster.cloud.trace.find(host=r"^203\.")
    said = call.request_headers.get("Authorization")
    assert bool(said) is (is_keyed or takes_tokens)
    if said:
        assert said.removeprefix("Bearer ") not in on_cluster.platform.text


def test_deploy__everything_of_the_section__reaches_azure(on_cluster: Scene) -> None:
    raw = {
        "autoscale_enabled": True,
        "autoscale_min_replicas": 2,
        "autoscale_max_replicas": 4,
        "autoscale_target_utilization": 60,
        "autoscale_refresh_seconds": 5,
        "cpu_cores_limit": 2.0,
        "memory_gb_limit": 4.0,
        "gpu_cores": 1,
        "scoring_timeout_ms": 30_000,
        "replica_max_concurrent_requests": 4,
        "max_request_wait_time": 600,
        "period_seconds": 11,
        "initial_delay_seconds": 12,
        "timeout_seconds": 3,
        "success_threshold": 2,
        "failure_threshold": 5,
        "namespace": "team-a",
        "primary_key": Secret("primary-key-given"),
        "properties": {"made-for": "growth"},
        "tags": {"tier": "gold"},
    }
    shape = AzureShape(
        compute=CLUSTER,
        cpu_cores=1.0,
        memory_gb=2.0,
        data_collection=True,
        enable_app_insights=True,
        description="Churn of customers.",
        raw=raw,
    )
    assert on_cluster.deploy(shape=shape).status is Status.HEALTHY
    [sent] = on_cluster.bodies("POST", r"/services$")
    assert sent["autoScaler"] == {
        "autoscaleEnabled": True,
        "minReplicas": 2,
        "maxReplicas": 4,
        "targetUtilization": 60,
        "refreshPeriodInSeconds": 5,
    }
    assert sent["containerResourceRequirements"] == {
        "cpu": 1.0,
        "cpuLimit": 2.0,
        "memoryInGB": 2.0,
        "memoryInGBLimit": 4.0,
        "gpu": 1,
    }
    assert sent["livenessProbeRequirements"] == {
        "periodSeconds": 11,
        "initialDelaySeconds": 12,
        "timeoutSeconds": 3,
        "successThreshold": 2,
        "failureThreshold": 5,
    }
    assert sent["dataCollection"]["storageEnabled"] is True
    assert (sent["scoringTimeoutMs"], sent["maxConcurrentRequestsPerContainer"], sent["maxQueueWaitMs"]) == (
        30_000,
        4,
        600,
    )
    assert (sent["namespace"], sent["appInsightsEnabled"], sent["description"]) == (
        "team-a",
        True,
        "Churn of customers.",
    )
    assert sent["keys"]["primaryKey"] == "primary-key-given"
    assert sent["kvTags"]["tier"] == "gold"
    assert sent["properties"]["made-for"] == "growth"
    assert on_cluster.deploy(shape=shape).status is Status.UNCHANGED


def test_deploy__other_replicas_and_size__are_changed_in_place(on_cluster: Scene) -> None:
    before = on_cluster.deploy()
    shape = AzureShape(compute=CLUSTER, cpu_cores=0.5, memory_gb=1.0, instance_count=3)
    outcome = on_cluster.deploy(shape=shape)
    assert (outcome.status, outcome.scoring_uri) == (Status.HEALTHY, before.scoring_uri)
    assert on_cluster.payload["numReplicas"] == 3
    assert on_cluster.payload["autoScaler"]["autoscaleEnabled"] is False
    assert on_cluster.payload["containerResourceRequirements"]["cpu"] == 0.5


def test_deploy__another_cluster__needs_consent(on_cluster: Scene) -> None:
    on_cluster.deploy()
    on_cluster.add_cluster("aks-other")
    with pytest.raises(RecreateNotAllowed, match="its `compute` is aks-mlflow, not aks-other"):
        on_cluster.deploy(shape=AzureShape(compute="aks-other"))


def test_deploy__service_of_aci_by_the_same_name__needs_consent(on_cluster: Scene) -> None:
    on_cluster.deploy(target=Target.ACI, shape=AzureShape())
    with pytest.raises(RecreateNotAllowed, match="it is of target aci, not aks"):
        on_cluster.deploy()
    assert on_cluster.deploy(allow_recreate=True).status is Status.HEALTHY


def test_deploy__cluster_to_be_made__is_made_once_with_azures_defaults(aks: Scene) -> None:
    aks.cloud.scripts.add("compute-create", after_seconds(1380, "Creating", "Succeeded"), name=CLUSTER)
    outcome = aks.deploy(shape=with_cluster(aks), deadline_s=3600.0)
    assert outcome.status is Status.HEALTHY
    assert [each.what for each in outcome.mutations] == ["registered", "created the cluster", "created"] or [
        each.what for each in outcome.mutations
    ] == ["created the cluster", "registered", "created"]
    [body] = aks.bodies("PUT", f"/computes/{CLUSTER}$")
    assert body["properties"]["computeType"] == "AKS"
    assert "properties" not in body["properties"]
    assert body["tags"].items() >= {"managed-by": "mlaz-ci", "mlaz-owner": "repo:1", "team": "growth"}.items()
    shown = [update for each in aks.platform.progresses for update in each.updates if update[2] == "minutes"]
    assert shown[-1][0] > 20
    aks.serve("run-2")
    assert aks.deploy(shape=with_cluster(aks)).status is Status.HEALTHY
    assert len(aks.cloud.trace.find(method="PUT", path=f"/computes/{CLUSTER}$")) == 1


def test_deploy__cluster_with_settings__passes_them_on(aks: Scene) -> None:
    shape = with_cluster(aks, vm_size="Standard_D4_v2", agent_count=5, cluster_purpose="DevTest")
    assert aks.deploy(shape=shape).status is Status.HEALTHY
    [body] = aks.bodies("PUT", f"/computes/{CLUSTER}$")
    assert body["properties"]["properties"] == {
        "agentVmSize": "Standard_D4_v2",
        "agentCount": 5,
        "clusterPurpose": "DevTest",
    }


def test_deploy__cluster_to_be_attached__is_attached_by_its_id(aks: Scene) -> None:
    shape = AzureShape(compute=CLUSTER, cluster=Cluster(name=CLUSTER, resource_id=RESOURCE_ID))
    outcome = aks.deploy(shape=shape)
    assert outcome.status is Status.HEALTHY
    assert "attached the cluster" in [each.what for each in outcome.mutations]
    compute = compute_of(aks)
    assert compute
    assert compute.resource_id == RESOURCE_ID
    assert (compute.tags["managed-by"], compute.tags["mlaz-owner"]) == ("mlaz-ci", "repo:1")


def test_deploy__cluster_that_takes_too_long__is_timed_out_and_taken_up_by_the_next_run(aks: Scene) -> None:
    aks.cloud.scripts.add("compute-create", after_seconds(3000, "Creating", "Succeeded"), name=CLUSTER)
    with pytest.raises(DeployTimedOut, match="Azure says Creating"):
        aks.deploy(shape=with_cluster(aks))
    assert aks.deploy(shape=with_cluster(aks)).status is Status.HEALTHY
    assert len(aks.cloud.trace.find(method="PUT", path=f"/computes/{CLUSTER}$")) == 1


def test_deploy__compute_that_is_not_there__is_found_before_anything_is_made(aks: Scene) -> None:
    with pytest.raises(ComputeNotFound) as raised:
        aks.deploy()
    assert raised.value.exit_code == 4
    assert {each.method for each in aks.sent() if "login" not in each.host} == {"GET"}


def test_deploy__compute_that_is_no_aks__is_refused(aks: Scene) -> None:
    aks.add_cluster(kind="Kubernetes")
    with pytest.raises(InvalidInput, match="no AKS cluster"):
        aks.deploy()
    with pytest.raises(Conflict, match="no AKS cluster"):
        aks.deploy(shape=with_cluster(aks))


@pytest.mark.parametrize("keeps", [True, False], ids=["detach", "delete"])
def test_cleanup__compute_asked_for_by_name__goes_after_its_service(aks: Scene, *, keeps: bool) -> None:
    aks.deploy(shape=with_cluster(aks))
    outcome = aks.run(Command.CLEANUP, also_delete=(ComputeName(name=CLUSTER, keeps_resource=keeps),))
    assert outcome.status is Status.DELETED
    assert [each.what for each in outcome.mutations] == [
        "deleted",
        "detached the compute" if keeps else "deleted the compute",
    ]
    assert compute_of(aks) is None
    [deletion] = aks.cloud.trace.find(method="DELETE", path="/computes/")
    assert deletion.query["underlyingresourceaction"] == ("Detach" if keeps else "Delete")


def test_cleanup__compute_of_others__is_left_with_exit_5_and_taken_over_by_its_name(on_cluster: Scene) -> None:
    on_cluster.deploy()
    also = (ComputeName(name=CLUSTER, keeps_resource=True), ModelVersionName(name="churn", version="1"))
    with pytest.raises(NotOurs, match=f'The compute "{CLUSTER}" belongs to nobody we know') as raised:
        on_cluster.run(Command.CLEANUP, also_delete=also)
    assert raised.value.exit_code == 5
    assert f"take-over: {CLUSTER}" in raised.value.remedy_text
    assert on_cluster.last
    failure = on_cluster.last.failure_of(raised.value)
    assert [each.what for each in failure.mutations] == ["deleted", "deleted the model version"]
    assert [each.partition(":")[0] for each in failure.left_behind] == [
        f'Could not detach the compute "{CLUSTER}", if it is ours'
    ]
    assert compute_of(on_cluster) is not None
    outcome = on_cluster.run(Command.CLEANUP, also_delete=also, take_over=CLUSTER)
    assert (outcome.status, [each.what for each in outcome.mutations]) == (Status.DELETED, ["detached the compute"])
    assert compute_of(on_cluster) is None
    assert on_cluster.run(Command.CLEANUP, also_delete=also).status is Status.ABSENT


def test_cleanup__of_the_service_alone__leaves_the_cluster(on_cluster: Scene) -> None:
    on_cluster.deploy()
    on_cluster.run(Command.CLEANUP)
    assert list(on_cluster.cloud.state(webservices.Services).by_key) == []
    assert compute_of(on_cluster) is not None
