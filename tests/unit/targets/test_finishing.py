from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mlaz_ci.errors import NotOurs
from mlaz_ci.models import DeploymentFacts, ScoreRequest, ServiceState, Snapshot, Status, Strategy
from mlaz_ci.plan import AwaitHealthy, RetireDeployment, ShareTraffic, ShiftTraffic, Verify, begun
from mlaz_ci.targets import aci, local, managed
from tests import samples

SMOKE = ScoreRequest(body=b"{}", origin="a file")


def deployment(name: str, age_h: int, state: ServiceState = ServiceState.HEALTHY) -> DeploymentFacts:
    created_at = samples.NOON - timedelta(hours=age_h)
    return replace(samples.deployment(name=name, state=state), created_at=created_at)


def snapshot(*deployments: DeploymentFacts, live: str | None = "g1", **changes: object) -> Snapshot:
    service = samples.service(live=live, deployments=deployments, owner="repo:1", **changes)
    return Snapshot(service=service)


def test_finish_beside__newer_one_without_traffic__is_awaited_verified_and_given_it_all() -> None:
    plan = managed.plan_finish(samples.request(), snapshot(deployment("g1", 5), deployment("g2", 1)), SMOKE)
    assert plan is not None
    assert [type(each) for each in plan.steps] == [AwaitHealthy, Verify, ShiftTraffic, RetireDeployment]
    assert (plan.done, plan.deployment_name) == (Status.HEALTHY, "g2")
    assert plan.steps[-1] == RetireDeployment(service_name="churn", deployment_name="g1", keep_files=False)


def test_finish_beside__canary__gets_its_share_and_nothing_is_retired() -> None:
    request = samples.request(strategy=Strategy.CANARY, canary_percent=20)
    plan = managed.plan_finish(request, snapshot(deployment("g1", 5), deployment("g2", 1)), SMOKE)
    assert plan is not None
    assert plan.steps[-1] == ShareTraffic(service_name="churn", deployment_name="g2", percent=20)
    assert plan.done is Status.CANARY


@pytest.mark.parametrize(
    "beside",
    [
        (),
        (deployment("g0", 9),),
        (deployment("g2", 1, ServiceState.FAILED),),
        (replace(deployment("g2", 1), is_ours=False),),
    ],
    ids=["alone", "older", "failed", "a-stranger's"],
)
def test_finish_beside__nothing_under_way__is_none(beside: tuple[DeploymentFacts, ...]) -> None:
    assert managed.plan_finish(samples.request(), snapshot(deployment("g1", 5), *beside), SMOKE) is None
    assert managed.plan_finish(samples.request(), Snapshot(), SMOKE) is None


def test_finish_beside__one_with_traffic_or_kept_for_a_rollback__is_not_under_way() -> None:
    both = deployment("g1", 5), deployment("g2", 1)
    assert managed.plan_finish(samples.request(), snapshot(*both, traffic={"g1": 90, "g2": 10}), SMOKE) is None
    assert managed.plan_finish(samples.request(), snapshot(*both, previous="g2"), SMOKE) is None


def test_finish__of_another_owner__is_refused() -> None:
    request = samples.request(owner="repo:2")
    with pytest.raises(NotOurs):
        managed.plan_finish(request, snapshot(deployment("g1", 5), deployment("g2", 1)), SMOKE)
    with pytest.raises(NotOurs):
        aci.plan_finish(request, snapshot(deployment("g1", 5), state=ServiceState.CREATING), SMOKE)


def test_finish_in_place__service_that_has_not_settled__is_awaited_and_verified() -> None:
    plan = aci.plan_finish(samples.request(), snapshot(deployment("g1", 5), state=ServiceState.UPDATING), SMOKE)
    assert plan is not None
    assert [type(each) for each in plan.steps] == [AwaitHealthy, Verify]
    assert aci.plan_finish(samples.request(), snapshot(deployment("g1", 5)), SMOKE) is None
    assert aci.plan_finish(samples.request(), Snapshot(), SMOKE) is None


def test_finish__local__keeps_the_one_that_served_for_a_rollback() -> None:
    plan = local.plan_finish(samples.request(), snapshot(deployment("g1", 5), deployment("g2", 1)), SMOKE)
    assert plan is not None
    assert plan.steps[-1] == RetireDeployment(service_name="churn", deployment_name="g1", keep_files=True)


def test_begun__plan_that_starts_nothing__is_the_same() -> None:
    plan = local.plan_cleanup(samples.request(), snapshot(deployment("g1", 5)))
    assert begun(plan) == plan
