"""What the doctor finds before anything is made: switches, roles, quota, clusters. It writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import pytest

from mlaz_ci.errors import QuotaExceeded, RoleMissing, WorkspaceNotFound
from mlaz_ci.models import AzureShape, Command, Finding, Severity, Status, Strategy, Target
from tests.azure import faults, roles, world
from tests.azure.arm import deployments, quotas, workspaces
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.online import Stage, with_raw, writes


def inspect(stage: Stage, **changes: Any) -> Sequence[Finding]:
    request = stage.request(command=Command.DOCTOR, **changes)
    side = stage.side(request)
    return (*side.inspect(request), *side.inspect_room(request))


def codes(findings: Sequence[Finding]) -> dict[str, Severity]:
    return {each.code: each.severity for each in findings}


def test_inspect__all_well__finds_nothing_and_writes_nothing(stage: Stage, cloud: CloudState) -> None:
    assert inspect(stage) == ()
    assert writes(cloud) == []


def test_inspect__quota_of_the_size_is_short__says_how_much_is_missing(stage: Stage, cloud: CloudState) -> None:
    state = cloud.state(quotas.Quotas)
    state.limits[world.REGION, "standardDSv2Family"] = 10
    state.used_elsewhere[world.REGION, "standardDSv2Family"] = 4
    [found] = inspect(stage, shape=AzureShape(instance_count=2))
    assert (found.code, found.severity) == ("quota-short", Severity.ERROR)
    assert "4 of 10 cores are used, and 2 of Standard_DS3_v2 need 12" in found.what
    assert inspect(stage, shape=AzureShape(instance_type="Standard_F4s_v2")) == ()


def test_deploy__quota_is_short__ends_before_anything_is_made(stage: Stage, cloud: CloudState) -> None:
    cloud.state(quotas.Quotas).limits[world.REGION, "standardDSv2Family"] = 2
    with pytest.raises(QuotaExceeded):
        stage.deploy()
    assert writes(cloud) == []


def test_inspect__service_that_has_grown__needs_room_for_as_many_instances_of_its_size(
    stage: Stage, cloud: CloudState
) -> None:
    stage.deploy(shape=AzureShape(instance_type="Standard_F4s_v2", instance_count=3))
    quota = cloud.state(quotas.Quotas)
    quota.limits[world.REGION, "standardFSv2Family"] = 24
    [found] = inspect(stage)
    assert (found.code, found.severity) == ("quota-short", Severity.ERROR)
    assert "3 of Standard_F4s_v2 need 16" in found.what
    assert inspect(stage, strategy=Strategy.IN_PLACE) == ()
    [found] = inspect(
        stage, strategy=Strategy.IN_PLACE, shape=AzureShape(instance_type="Standard_F4s_v2", instance_count=6)
    )
    assert "3 of Standard_F4s_v2 need 16" in found.what


def test_deploy__endpoint_is_full_of_deployments__ends_before_anything_is_made(stage: Stage, cloud: CloudState) -> None:
    stage.deploy("blue")
    by_key = cloud.state(deployments.Deployments).by_key
    [one] = by_key.values()
    for number in range(19):
        other = copy(one)
        other.name, other.id = f"other-{number}", f"{one.id}-{number}"
        by_key[other.key] = other
    before = len(writes(cloud))
    with pytest.raises(QuotaExceeded, match="holds 20 deployments; 20 are the most"):
        stage.deploy("green")
    assert len(writes(cloud)) == before


def test_inspect__size_that_the_region_lacks__is_told(stage: Stage) -> None:
    assert codes(inspect(stage, shape=AzureShape(instance_type="Standard_NoSuch_v9"))) == {
        "size-unknown": Severity.ERROR
    }
    assert inspect(stage, shape=AzureShape(instance_type="Standard_NC6s_v3")) == ()


def test_inspect__cores_and_memory__show_the_size_they_become(stage: Stage) -> None:
    [found] = inspect(stage, shape=AzureShape(cpu_cores=1, memory_gb=2, instance_type="Standard_DS2_v2"))
    assert (found.code, found.severity) == ("size-chosen", Severity.NOTICE)
    assert "become the VM size Standard_DS2_v2" in found.what


def test_inspect__workspace_in_legacy_mode_or_private__is_told(stage: Stage, cloud: CloudState) -> None:
    workspace = cloud.state(workspaces.Workspaces).default
    workspace.v1_legacy_mode = True
    workspace.public_network_access = "Disabled"
    workspace.isolation_mode = "AllowOnlyApprovedOutbound"
    assert codes(_deploy_findings(stage)) == {
        "workspace-legacy-mode": Severity.ERROR,
        "workspace-private": Severity.NOTICE,
        "workspace-outbound-closed": Severity.NOTICE,
    }


def _deploy_findings(stage: Stage) -> Sequence[Finding]:
    """Of a deploy, which does not count endpoints."""
    request = stage.request()
    side = stage.side(request)
    return (*side.inspect(request), *side.inspect_room(request))


def test_inspect__reader__names_what_is_missing_and_the_role(stage: Stage, cloud: CloudState) -> None:
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.SUBSCRIPTION_SCOPE)
    [found] = inspect(stage)
    assert found.code == "role-missing"
    assert "onlineEndpoints/deployments/write" in found.what
    assert "AzureML Data Scientist" in found.remedy


def test_inspect__data_scientist__may_all_that_a_deploy_does(stage: Stage, cloud: CloudState) -> None:
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.DATA_SCIENTIST, world.WORKSPACE_SCOPE)
    assert "role-missing" not in codes(inspect(stage))
    stage.deploy("run-1")
    assert stage.deploy("run-2").status is Status.HEALTHY
    assert stage.platform.annotations == []
    assert sum("are not taken over." in each for each in stage.platform.lines) == 2
    assert stage.run(command=Command.CLEANUP).status is Status.DELETED


def test_inspect__no_role_at_all__is_role_missing(stage: Stage, cloud: CloudState) -> None:
    cloud.state(roles.Assignments).remove_all(world.CLIENT_OBJECT_ID)
    with pytest.raises(RoleMissing):
        inspect(stage)


def test_workspace__that_is_not_there__is_no_absent_endpoint(stage: Stage, cloud: CloudState) -> None:
    """A mistyped workspace must not make a cleanup green."""
    cloud.state(workspaces.Workspaces).by_key.clear()
    with pytest.raises(WorkspaceNotFound):
        stage.run(command=Command.CLEANUP)


def test_inspect__permissions_cannot_be_read__is_a_notice(stage: Stage, cloud: CloudState) -> None:
    refusal = faults.json_error(403, {"error": {"code": "AuthorizationFailed", "message": "No."}})
    cloud.faults.add(refusal, path="/permissions$", times=None)
    assert codes(inspect(stage)) == {"roles-unknown": Severity.NOTICE}


def test_inspect__kubernetes__the_compute_must_be_there_and_be_a_cluster(stage: Stage) -> None:
    def found(name: str) -> dict[str, Severity]:
        return codes(inspect(stage, target=Target.KUBERNETES, shape=AzureShape(compute=name)))

    assert found("nowhere") == {"compute-not-found": Severity.ERROR}
    stage.arm(
        "PUT",
        "/computes/machines",
        {
            "location": world.REGION,
            "properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_DS3_v2"}},
        },
    )
    assert found("machines") == {"compute-not-kubernetes": Severity.ERROR}
    cluster = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/aks"
    body = {"computeType": "Kubernetes", "resourceId": cluster, "properties": {"namespace": "ml"}}
    stage.arm("PUT", "/computes/cluster", {"location": world.REGION, "properties": body})
    assert found("cluster") == {}
    assert found(f"{world.WORKSPACE_SCOPE}/computes/cluster") == {}


def test_inspect__no_code__is_warned_of(stage: Stage) -> None:
    assert codes(inspect(stage, shape=with_raw({"serving": "no-code"}))) == {"serving-no-code": Severity.WARNING}
