from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mlaz_ci.errors import (
    InvalidInput,
    MissingInput,
    ModelVersionNotExpected,
    NoCanary,
    NothingToRollBackTo,
    NotOurs,
    RecreateNotAllowed,
    ServiceNotFound,
)
from mlaz_ci.models import AzureShape, EndpointUse, OnFailure, ScoreRequest, ServiceState, Snapshot, Status, Strategy
from mlaz_ci.targets import kubernetes, managed
from tests import samples

SMOKE = ScoreRequest(body=b"{}", origin="the model's input example")
SPEC = samples.spec(shape=AzureShape(), model=replace(samples.model(), is_in_workspace=True), deployment_name="g2")
OLD = samples.deployment("g1", created_at=datetime(2026, 1, 1, tzinfo=UTC))
SERVING = samples.service(live="g1", deployments=(OLD,), traffic={"g1": 100})
CANARY = replace(
    SERVING,
    deployments=(OLD, samples.deployment("g2", model_version="2", created_at=datetime(2026, 2, 1, tzinfo=UTC))),
    traffic={"g1": 90, "g2": 10},
)


def described(steps: object) -> list[str]:
    return [step.describe() for step in steps]  # type: ignore[attr-defined]


def test_plan_deploy__nothing_there__creates_at_once_verifies_and_shifts() -> None:
    plan = managed.plan_deploy(samples.request(), SPEC, Snapshot(), SMOKE)
    first, *rest = described(plan.steps)
    assert first.startswith('at once: create the endpoint "churn"; register the model')
    assert "build the environment" in first
    assert first.endswith("; upload the scoring script, unless it is there")
    assert rest == [
        'start deployment "g2" of service "churn", without traffic',
        'wait until deployment "g2" is healthy',
        'smoke-test deployment "g2" with the model\'s input example (required)',
        'give all traffic of service "churn" to deployment "g2"',
        "remove what another run began before this one, if any did",
    ]
    assert described(plan.undo) == [
        'drain and stop deployment "g2", remove its files',
        'delete service "churn" if no deployment is in it',
    ]
    assert plan.done is Status.HEALTHY


def test_plan_deploy__another_serves__retires_it_after_the_shift_or_keeps_it() -> None:
    plan = managed.plan_deploy(samples.request(), SPEC, Snapshot(service=SERVING), SMOKE)
    assert described(plan.steps)[-1] == 'drain and remove deployment "g1"'
    assert described(plan.undo) == ['drain and stop deployment "g2", remove its files']
    kept = managed.plan_deploy(samples.request(keep_previous_hours=24.0), SPEC, Snapshot(service=SERVING), SMOKE)
    assert described(kept.steps)[-1] == 'keep deployment "g1" without traffic, for a rollback'


def test_plan_deploy__one_was_kept_and_its_time_is_up__goes_with_any_strategy() -> None:
    new = replace(samples.deployment("g2", spec_hash="served"), created_at=datetime(2026, 2, 1, tzinfo=UTC))
    spec = replace(SPEC, deployment_name="g3")
    there = replace(SERVING, live="g2", previous="g1", deployments=(OLD, new), traffic={"g2": 100})
    late = replace(there, deployments=(replace(OLD, is_expired=True), new))
    goes = 'drain and stop deployment "g1", remove its files'
    for strategy in (Strategy.CANARY, Strategy.IN_PLACE):
        request = samples.request(strategy=strategy)
        assert goes not in described(managed.plan_deploy(request, spec, Snapshot(service=there), SMOKE).steps)
        assert described(managed.plan_deploy(request, spec, Snapshot(service=late), SMOKE).steps)[-1] == goes
    same = replace(late, deployments=(late.deployments[0], replace(new, spec_hash=spec.spec_hash)))
    plan = managed.plan_deploy(samples.request(), spec, Snapshot(service=same), SMOKE)
    assert described(plan.steps)[-1] == 'drain and remove deployment "g1"'


def test_plan_deploy__canary__stops_at_its_share() -> None:
    request = samples.request(strategy=Strategy.CANARY, canary_percent=20)
    plan = managed.plan_deploy(request, SPEC, Snapshot(service=SERVING), SMOKE)
    assert described(plan.steps)[-1] == 'give 20 % of the traffic of service "churn" to deployment "g2"'
    assert plan.done is Status.CANARY
    assert managed.plan_deploy(request, SPEC, Snapshot(), SMOKE).done is Status.HEALTHY


def test_plan_deploy__the_same_has_all_the_traffic__is_unchanged() -> None:
    live = replace(OLD, spec_hash=SPEC.spec_hash)
    there = replace(SERVING, deployments=(live,))
    assert managed.plan_deploy(samples.request(), SPEC, Snapshot(service=there), SMOKE).done is Status.UNCHANGED
    shared = replace(there, traffic={"g1": 90})
    assert managed.plan_deploy(samples.request(), SPEC, Snapshot(service=shared), SMOKE).steps


def test_plan_deploy__name_in_use__is_refused() -> None:
    with pytest.raises(InvalidInput, match="in use"):
        managed.plan_deploy(samples.request(), replace(SPEC, deployment_name="g1"), Snapshot(service=SERVING), SMOKE)


def test_plan_deploy__endpoint_of_others__needs_existing_or_take_over_and_keeps_theirs() -> None:
    theirs = replace(SERVING, owner="terraform", deployments=(replace(OLD, is_ours=False),))
    with pytest.raises(NotOurs):
        managed.plan_deploy(samples.request(), SPEC, Snapshot(service=theirs), SMOKE)
    existing = samples.request(endpoint=EndpointUse.EXISTING)
    plan = managed.plan_deploy(existing, SPEC, Snapshot(service=theirs), SMOKE)
    assert described(plan.steps)[-3:] == [
        'give all traffic of service "churn" to deployment "g2"',
        'smoke-test service "churn" by its own URI, before the old deployment goes (required)',
        "remove what another run began before this one, if any did",
    ]
    with pytest.raises(ServiceNotFound):
        managed.plan_deploy(existing, SPEC, Snapshot(), SMOKE)


def test_plan_deploy__on_failure_keep_and_other_store__no_undo_and_a_fetch() -> None:
    plan = managed.plan_deploy(
        samples.request(on_failure=OnFailure.KEEP), replace(SPEC, model=samples.model()), Snapshot(), SMOKE
    )
    assert plan.undo == ()
    assert described(plan.steps)[0].startswith("fetch the model")


def test_plan_deploy__kubernetes_without_compute__is_missing_for_a_new_endpoint_alone() -> None:
    with pytest.raises(MissingInput, match="compute"):
        kubernetes.plan_deploy(samples.request(), SPEC, Snapshot(), SMOKE)
    assert kubernetes.plan_deploy(samples.request(), SPEC, Snapshot(service=SERVING), SMOKE).steps


def test_plan_cleanup__ours_absent_and_existing__deletes_no_more_than_ours() -> None:
    assert managed.plan_cleanup(samples.request(), Snapshot()).done is Status.ABSENT
    assert described(managed.plan_cleanup(samples.request(), Snapshot(service=SERVING)).steps) == [
        'stop and delete service "churn" with its deployments'
    ]
    with pytest.raises(NotOurs):
        managed.plan_cleanup(samples.request(), Snapshot(service=replace(SERVING, owner="x")))
    existing = samples.request(endpoint=EndpointUse.EXISTING)
    mixed = replace(CANARY, owner="x", deployments=(replace(OLD, is_ours=False), CANARY.deployments[1]))
    plan = managed.plan_cleanup(existing, Snapshot(service=mixed))
    assert described(plan.steps) == ['drain and stop deployment "g2", remove its files']
    strangers = replace(mixed, deployments=mixed.deployments[:1])
    assert managed.plan_cleanup(existing, Snapshot(service=strangers)).done is Status.ABSENT


def test_plan_rollback__kept_deployment__is_verified_and_shifted_to() -> None:
    there = replace(CANARY, live="g2", previous="g1", traffic={"g2": 100})
    plan = managed.plan_rollback(samples.request(), Snapshot(service=there), SMOKE)
    assert described(plan.steps)[-2:] == [
        'give all traffic of service "churn" to deployment "g1"',
        'drain and stop deployment "g2", keep its files for a rollback',
    ]
    assert plan.done is Status.ROLLED_BACK
    with pytest.raises(NothingToRollBackTo):
        managed.plan_rollback(samples.request(), Snapshot(service=SERVING), SMOKE)
    with pytest.raises(ServiceNotFound):
        managed.plan_rollback(samples.request(), Snapshot(), SMOKE)


def test_plan_promote__canary__gets_all_and_the_old_goes() -> None:
    plan = managed.plan_promote(samples.request(expect_model_version="2"), Snapshot(service=CANARY))
    assert described(plan.steps) == [
        'give all traffic of service "churn" to deployment "g2"',
        'drain and remove deployment "g1"',
    ]
    assert plan.done is Status.PROMOTED


def test_plan_promote__another_version_than_approved__is_refused() -> None:
    with pytest.raises(ModelVersionNotExpected, match="2, not the approved 7"):
        managed.plan_promote(samples.request(expect_model_version="7"), Snapshot(service=CANARY))


def test_plan_promote__no_canary__tells_the_traffic() -> None:
    with pytest.raises(NoCanary, match="g1 100 %"):
        managed.plan_promote(samples.request(), Snapshot(service=SERVING))


def test_plan_reject__canary__goes() -> None:
    plan = managed.plan_reject(samples.request(), Snapshot(service=CANARY))
    assert described(plan.steps) == ['drain and stop deployment "g2", remove its files']
    assert (plan.done, plan.deployment_name) == (Status.REJECTED, "g1")


BEGUN = samples.deployment("g2-1f0a", spec_hash=SPEC.spec_hash, created_at=datetime(2026, 2, 1, tzinfo=UTC))


def with_begun(**changes: object) -> Snapshot:
    return Snapshot(service=replace(SERVING, deployments=(OLD, replace(BEGUN, **changes))))  # type: ignore[arg-type]


@pytest.mark.parametrize("state", [ServiceState.UPDATING, ServiceState.HEALTHY])
def test_plan_deploy__an_earlier_run_had_begun_the_same__is_taken_up(state: ServiceState) -> None:
    plan = managed.plan_deploy(samples.request(), SPEC, with_begun(state=state), SMOKE)
    assert described(plan.steps)[0] == 'wait until deployment "g2-1f0a" is healthy'
    assert described(plan.steps)[-1] == 'drain and remove deployment "g1"'
    assert plan.deployment_name == "g2-1f0a"


def test_plan_deploy__what_an_earlier_run_had_begun_failed__is_made_anew_and_taken_away() -> None:
    spec = replace(SPEC, deployment_name="g3")
    plan = managed.plan_deploy(samples.request(), spec, with_begun(state=ServiceState.FAILED), SMOKE)
    assert 'start deployment "g3" of service "churn", without traffic' in described(plan.steps)
    assert described(plan.steps)[-1] == 'drain and remove deployment "g1", "g2-1f0a"'


def test_plan_deploy__a_run_died_after_its_shift__its_old_one_goes_but_a_kept_or_newer_one_stays() -> None:
    live = replace(BEGUN, name="g2")
    shifted = replace(SERVING, live="g2", traffic={"g2": 100}, deployments=(OLD, live))
    plan = managed.plan_deploy(samples.request(), SPEC, Snapshot(service=shifted), SMOKE)
    assert described(plan.steps)[-1] == 'drain and remove deployment "g1"'
    kept = replace(shifted, previous="g1")
    assert managed.plan_deploy(samples.request(), SPEC, Snapshot(service=kept), SMOKE).done is Status.UNCHANGED
    newer = samples.deployment("g3", created_at=datetime(2026, 3, 1, tzinfo=UTC))
    at_work = replace(shifted, deployments=(live, newer))
    assert managed.plan_deploy(samples.request(), SPEC, Snapshot(service=at_work), SMOKE).done is Status.UNCHANGED


def test_deployment_name__of_two_runs_at_once__differs_and_of_the_same_run_does_not() -> None:
    one, other = samples.request(origin={"run": "1"}), samples.request(origin={"run": "2"})
    there = Snapshot(service=SERVING)
    assert managed.deployment_name(one, there) == managed.deployment_name(one, there)
    assert managed.deployment_name(one, there) != managed.deployment_name(other, there)
    assert managed.deployment_name(one, there).startswith("g2-")
    assert managed.deployment_name(samples.request(deployment_name="blue"), there) == "blue"
    assert managed.deployment_name(samples.request(strategy=Strategy.IN_PLACE), there) == "g1"


def test_plan_deploy__in_place__says_that_users_come_first_and_puts_back() -> None:
    spec = replace(SPEC, deployment_name="g1")
    plan = managed.plan_deploy(samples.request(strategy=Strategy.IN_PLACE), spec, Snapshot(service=SERVING), SMOKE)
    assert 'update service "churn" in place to deployment "g1"' in described(plan.steps)
    assert described(plan.undo)[0] == 'put deployment "g1" of service "churn" back in place'
    assert "before it can be smoke-tested" in plan.notes[0]
    theirs = replace(SERVING, deployments=(replace(OLD, is_ours=False),))
    with pytest.raises(NotOurs):
        managed.plan_deploy(samples.request(strategy=Strategy.IN_PLACE), spec, Snapshot(service=theirs), SMOKE)


def test_plan_deploy__recreate__needs_consent_and_takes_the_old_one_first() -> None:
    with pytest.raises(RecreateNotAllowed):
        managed.plan_deploy(samples.request(strategy=Strategy.RECREATE), SPEC, Snapshot(service=SERVING), SMOKE)
    request = samples.request(strategy=Strategy.RECREATE, allow_recreate=True)
    steps = described(managed.plan_deploy(request, SPEC, Snapshot(service=SERVING), SMOKE).steps)
    assert steps[1:3] == [
        'drain and stop deployment "g1", remove its files',
        'start deployment "g2" of service "churn", without traffic',
    ]


def test_plan_deploy__no_code_and_a_given_environment__make_less() -> None:
    no_code = replace(SPEC, shape=AzureShape(raw={"serving": "no-code"}))
    first = managed.plan_deploy(samples.request(), no_code, Snapshot(), SMOKE).steps[0].describe()
    assert "build the environment" not in first
    assert "upload the scoring script" not in first
    given = replace(SPEC, environment="curated:3")
    first = managed.plan_deploy(samples.request(), given, Snapshot(), SMOKE).steps[0].describe()
    assert "build the environment" not in first
    assert "upload the scoring script" in first


def test_plan_deploy__endpoint_that_failed_before_it_served__is_made_anew() -> None:
    failed = replace(SERVING, state=ServiceState.FAILED, live=None, deployments=(), traffic={})
    steps = described(managed.plan_deploy(samples.request(), SPEC, Snapshot(service=failed), SMOKE).steps)
    assert steps[0] == 'stop and delete service "churn" with its deployments'
    assert steps[1].startswith('at once: create the endpoint "churn"')


def test_plan_deploy__kubernetes_names_too_long_together__are_refused() -> None:
    spec = replace(SPEC, service_name="c" * 32, deployment_name="d" * 31)
    with pytest.raises(InvalidInput, match="63 characters together"):
        kubernetes.plan_deploy(samples.request(), spec, Snapshot(service=SERVING), SMOKE)
