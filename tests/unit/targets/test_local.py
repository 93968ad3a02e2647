from __future__ import annotations

import pytest

from mlaz_ci.errors import InvalidInput, NothingToRollBackTo, NotOurs, ServiceNotFound
from mlaz_ci.models import LocalShape, OnFailure, ScoreRequest, ServiceState, SmokeTest, Snapshot, Status
from mlaz_ci.targets import local
from tests import samples

SMOKE = ScoreRequest(body=b"{}", origin="the model's input example")


def described(plan: object) -> list[str]:
    return [step.describe() for step in plan.steps]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["churn", "abc", "a-1", "churn-pr-42", "a" * 32])
def test_check_service_name__good__passes(name: str) -> None:
    local.check_service_name(name)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Churn", "churn"),
        ("my_service", "my-service"),
        ("a" * 40, "a" * 32),
        ("1churn", "churn"),
        ("churn-", "churn"),
        ("double--dash", "double-dash"),
        ("Größe Modell", "gr-e-modell"),
    ],
)
def test_check_service_name__bad__suggests_the_nearest(name: str, suggestion: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        local.check_service_name(name)
    assert f'"{suggestion}" would do' in raised.value.what


@pytest.mark.parametrize("name", ["", "x", "12", "---", "日本"])
def test_check_service_name__nothing_to_keep__suggests_nothing(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        local.check_service_name(name)
    assert "would do" not in raised.value.what


def test_deployment_name__generations_used__takes_the_next() -> None:
    there = samples.service(deployments=(samples.deployment("g3"), samples.deployment("blue")))
    assert local.deployment_name(samples.request(), Snapshot(service=there)) == "g4"
    assert local.deployment_name(samples.request(), Snapshot()) == "g1"
    assert local.deployment_name(samples.request(deployment_name="blue"), Snapshot()) == "blue"


def test_plan_deploy__nothing_there__starts_verifies_and_shifts() -> None:
    plan = local.plan_deploy(samples.request(), samples.spec(), Snapshot(), SMOKE)
    lock_hash = samples.lock().hash
    assert described(plan) == [
        "fetch the model file:///models/churn, 2.0 MB",
        f"build the environment {lock_hash} (Python 3.11), unless it is there",
        'start deployment "g1" of service "churn", without traffic',
        'wait until deployment "g1" is healthy',
        'smoke-test deployment "g1" with the model\'s input example (required)',
        'give all traffic of service "churn" to deployment "g1"',
    ]
    assert plan.done is Status.HEALTHY
    assert [step.describe() for step in plan.undo] == ['drain and stop deployment "g1", remove its files']


def test_plan_deploy__another_model_serves__retires_it_after_the_shift_and_drops_older() -> None:
    there = samples.service(live="g2", previous="g1", deployments=(samples.deployment("g1"), samples.deployment("g2")))
    plan = local.plan_deploy(samples.request(), samples.spec(deployment_name="g3"), Snapshot(service=there), SMOKE)
    assert described(plan)[-3:] == [
        'give all traffic of service "churn" to deployment "g3"',
        'drain and stop deployment "g1", remove its files',
        'drain and stop deployment "g2", keep its files for a rollback',
    ]
    assert [step.describe() for step in plan.undo] == ['drain and stop deployment "g3", remove its files']


def test_plan_deploy__the_same_is_healthy__is_empty() -> None:
    spec = samples.spec(deployment_name="g2")
    there = samples.service(deployments=(samples.deployment("g1", spec_hash=spec.spec_hash),))
    plan = local.plan_deploy(samples.request(), spec, Snapshot(service=there), SMOKE)
    assert (plan.steps, plan.done, plan.deployment_name) == ((), Status.UNCHANGED, "g1")


def test_plan_deploy__the_same_is_down__starts_it_again() -> None:
    spec = samples.spec(deployment_name="g2")
    there = samples.service(
        state=ServiceState.FAILED, deployments=(samples.deployment("g1", spec_hash=spec.spec_hash),)
    )
    plan = local.plan_deploy(samples.request(), spec, Snapshot(service=there), SMOKE)
    assert described(plan)[0] == 'start deployment "g1" of service "churn" again, without traffic'
    assert [step.describe() for step in plan.undo] == ['drain and stop deployment "g1", keep its files for a rollback']


def test_plan_deploy__the_same_does_not_answer__starts_a_new_one_beside_it() -> None:
    spec = samples.spec(deployment_name="g2")
    there = samples.service(
        state=ServiceState.UNHEALTHY, deployments=(samples.deployment("g1", spec_hash=spec.spec_hash),)
    )
    plan = local.plan_deploy(samples.request(), spec, Snapshot(service=there), SMOKE)
    assert described(plan)[-1] == 'drain and stop deployment "g1", keep its files for a rollback'


def test_plan_deploy__the_same_of_another_owner_is_taken_over__is_made_anew_as_ours() -> None:
    spec = samples.spec(deployment_name="g2")
    there = samples.service(owner="repo:2", deployments=(samples.deployment("g1", spec_hash=spec.spec_hash),))
    plan = local.plan_deploy(samples.request(take_over="churn"), spec, Snapshot(service=there), SMOKE)
    assert 'give all traffic of service "churn" to deployment "g2"' in described(plan)


def test_plan_deploy__name_of_the_live_one__is_refused_before_anything_is_done() -> None:
    there = samples.service(live="blue", deployments=(samples.deployment("blue"),))
    with pytest.raises(InvalidInput, match='"blue" is the deployment that serves now'):
        local.plan_deploy(samples.request(), samples.spec(deployment_name="blue"), Snapshot(service=there), SMOKE)


def test_plan_deploy__name_of_the_previous_one__is_not_retired_after_the_shift() -> None:
    there = samples.service(
        live="green", previous="blue", deployments=(samples.deployment("blue"), samples.deployment("green"))
    )
    plan = local.plan_deploy(samples.request(), samples.spec(deployment_name="blue"), Snapshot(service=there), SMOKE)
    assert described(plan)[-2:] == [
        'give all traffic of service "churn" to deployment "blue"',
        'drain and stop deployment "green", keep its files for a rollback',
    ]


def test_plan_deploy__nothing_to_verify_with__is_unverified() -> None:
    request = samples.request(smoke_test=SmokeTest.BEST_EFFORT)
    assert local.plan_deploy(request, samples.spec(), Snapshot(), None).done is Status.UNVERIFIED


def test_plan_deploy__another_port_is_asked_for__is_not_the_same() -> None:
    spec = samples.spec(deployment_name="g2", shape=LocalShape(port=6000))
    there = samples.service(deployments=(samples.deployment("g1", spec_hash=spec.spec_hash),))
    assert local.plan_deploy(samples.request(), spec, Snapshot(service=there), SMOKE).steps


def test_plan_deploy__smoke_test_off__is_unverified() -> None:
    request = samples.request(smoke_test=SmokeTest.OFF)
    plan = local.plan_deploy(request, samples.spec(), Snapshot(), SMOKE)
    assert plan.done is Status.UNVERIFIED
    assert not any("smoke-test" in line for line in described(plan))


def test_plan_deploy__on_failure_keep__undoes_nothing() -> None:
    plan = local.plan_deploy(samples.request(on_failure=OnFailure.KEEP), samples.spec(), Snapshot(), SMOKE)
    assert plan.undo == ()


@pytest.mark.parametrize("owner", ["repo:2", ""])
def test_plan__service_of_another__is_refused_without_take_over(owner: str) -> None:
    there = Snapshot(service=samples.service(owner=owner))
    for plan in (
        lambda request: local.plan_deploy(request, samples.spec(), there, SMOKE),
        lambda request: local.plan_cleanup(request, there),
        lambda request: local.plan_rollback(request, there, SMOKE),
    ):
        with pytest.raises(NotOurs):
            plan(samples.request())
        with pytest.raises(NotOurs):
            plan(samples.request(take_over="churn-2"))
    assert local.plan_cleanup(samples.request(take_over="churn"), there).steps


def test_plan_cleanup__absent__is_success() -> None:
    plan = local.plan_cleanup(samples.request(), Snapshot())
    assert (plan.steps, plan.done) == ((), Status.ABSENT)


def test_plan_rollback__previous_is_kept__starts_verifies_and_shifts_to_it() -> None:
    there = samples.service(live="g2", previous="g1", deployments=(samples.deployment("g1"), samples.deployment("g2")))
    plan = local.plan_rollback(samples.request(), Snapshot(service=there), SMOKE)
    assert described(plan) == [
        'start deployment "g1" of service "churn" again, without traffic',
        'wait until deployment "g1" is healthy',
        'smoke-test deployment "g1" with the model\'s input example (required)',
        'give all traffic of service "churn" to deployment "g1"',
        'drain and stop deployment "g2", keep its files for a rollback',
    ]
    assert plan.done is Status.ROLLED_BACK


def test_plan_rollback__nothing_to_verify_with__is_unverified() -> None:
    there = samples.service(live="g2", previous="g1", deployments=(samples.deployment("g1"), samples.deployment("g2")))
    assert local.plan_rollback(samples.request(), Snapshot(service=there), None).done is Status.UNVERIFIED


def test_plan_rollback__nothing_before__says_so() -> None:
    with pytest.raises(NothingToRollBackTo):
        local.plan_rollback(samples.request(), Snapshot(service=samples.service()), SMOKE)
    with pytest.raises(ServiceNotFound):
        local.plan_rollback(samples.request(), Snapshot(), SMOKE)
