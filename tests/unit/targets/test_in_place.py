from __future__ import annotations

from dataclasses import replace

import pytest

from mlaz_ci.errors import (
    InapplicableInput,
    MissingInput,
    NothingToRollBackTo,
    NotOurs,
    RecreateNotAllowed,
    ServiceNotFound,
)
from mlaz_ci.models import (
    AuthMode,
    AzureShape,
    Cluster,
    ComputeName,
    ModelVersionName,
    OnFailure,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    SmokeTest,
    Snapshot,
    Status,
    Strategy,
    Target,
)
from mlaz_ci.targets import TargetRules, aci, aks, managed
from tests import samples

SMOKE = ScoreRequest(body=b"{}", origin="the model's input example")
IN_WORKSPACE = replace(samples.model(), is_in_workspace=True)
SPEC = samples.spec(shape=AzureShape(cpu_cores=1.0), model=IN_WORKSPACE)
SERVING = samples.deployment("g1", can_be_restored=True)


def service(**changes: object) -> ServiceFacts:
    return samples.service(**{"target": Target.ACI, **changes})


def described(steps: object) -> list[str]:
    return [step.describe() for step in steps]  # type: ignore[attr-defined]


def test_plan_deploy__nothing_there__registers_by_reference_creates_and_verifies() -> None:
    plan = aci.plan_deploy(samples.request(), SPEC, Snapshot(), SMOKE)
    assert described(plan.steps) == [
        (
            'at once: register the model file:///models/churn as "churn" (by reference; no byte of it passes through here), unless it is there; '
            f"build the environment {samples.lock().hash} (Python 3.11), unless it is there"
        ),
        'create service "churn" with deployment "g1"',
        'wait until deployment "g1" is healthy',
        'smoke-test deployment "g1" with the model\'s input example (required)',
    ]
    assert described(plan.undo) == ['stop and delete service "churn" with its deployments']
    assert plan.done is Status.HEALTHY
    assert plan.notes == (
        "The service asks its callers for no key (Azure's default here; `auth: key` changes it): whoever knows its address can call it.",
    )


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (
            AzureShape(cpu_cores=1.0),
            "For 1 core and 0.5 GB it runs on a Standard_DS1_v2. It asks its callers for a key, which this service does not.",
        ),
        (AzureShape(memory_gb=4.0, auth=AuthMode.KEY), "For 0.1 cores and 4 GB it runs on a Standard_DS2_v2."),
        (
            AzureShape(cpu_cores=500.0, auth=AuthMode.KEY),
            "For 500 cores and 0.5 GB it needs an `instance-type`, a VM size.",
        ),
    ],
    ids=["open", "keyed", "too-large"],
)
def test_findings__of_aci__tell_the_one_word_and_what_changes_with_it(shape: AzureShape, told: str) -> None:
    [finding] = aci.findings(samples.request(shape=shape))
    assert finding.remedy == (
        "One word moves it: `target: managed`. Inputs, bodies, answers and the callers' Authorization header stay; "
        f"the URL and the keys change. {told}"
    )


@pytest.mark.parametrize(("rules", "target", "successor"), [(aci, "aci", "managed"), (aks, "aks", "kubernetes")])
def test_findings__canary_where_there_are_none__is_refused_and_not_made_a_replacement(
    rules: TargetRules, target: str, successor: str
) -> None:
    request = samples.request(target=Target(target), shape=AzureShape(), strategy=Strategy.CANARY)
    with pytest.raises(InapplicableInput, match="all callers would get the new model at once") as raised:
        rules.findings(request)
    assert f"`target: {successor}` has canaries" in raised.value.remedy_text


def test_plan_deploy__recreate_asked_for__needs_consent_and_makes_it_anew() -> None:
    there = Snapshot(service=service(live="g1", deployments=(SERVING,)))
    wanted = replace(SPEC, deployment_name="g2")
    with pytest.raises(RecreateNotAllowed, match="`strategy: recreate` was asked for"):
        aci.plan_deploy(samples.request(strategy=Strategy.RECREATE), wanted, there, SMOKE)
    request = samples.request(strategy=Strategy.RECREATE, allow_recreate=True)
    plan = aci.plan_deploy(request, wanted, there, SMOKE)
    assert described(plan.steps)[1:3] == [
        'delete service "churn", to make it anew',
        'create service "churn" with deployment "g2"',
    ]


def test_findings__of_aks__tell_what_the_cluster_needs() -> None:
    [finding] = aks.findings(samples.request(shape=AzureShape(compute="k8s")))
    assert finding.remedy.startswith("One word moves it: `target: kubernetes`.")
    assert finding.remedy.endswith("is attached as Kubernetes under a name of its own.")


def test_plan_deploy__model_of_another_store__is_fetched_and_uploaded() -> None:
    plan = aci.plan_deploy(samples.request(), replace(SPEC, model=samples.model()), Snapshot(), SMOKE)
    assert described(plan.steps)[0] == "fetch the model file:///models/churn, 2.0 MB"
    assert (
        'register the model file:///models/churn as "churn" (by upload), unless it is there' in described(plan.steps)[1]
    )


def test_plan_deploy__another_model_serves__changes_in_place_says_so_and_can_put_it_back() -> None:
    there = service(live="g1", deployments=(SERVING,))
    plan = aci.plan_deploy(samples.request(), replace(SPEC, deployment_name="g2"), Snapshot(service=there), SMOKE)
    assert described(plan.steps)[1] == 'update service "churn" in place to deployment "g2"'
    assert described(plan.undo) == [
        'put deployment "g1" of service "churn" back in place',
        'wait until deployment "g1" is healthy',
    ]
    assert len(plan.notes) == 1
    assert "before it can be smoke-tested" in plan.notes[0]


def test_plan_deploy__what_serves_cannot_be_put_back__is_said_before_the_first_write() -> None:
    there = service(live="g1", deployments=(replace(SERVING, can_be_restored=False),))
    plan = aci.plan_deploy(samples.request(), replace(SPEC, deployment_name="g2"), Snapshot(service=there), SMOKE)
    assert plan.undo == ()
    assert "the old one is lost" in plan.notes[1]


def test_plan_deploy__service_that_never_served__is_made_anew() -> None:
    there = service(live=None, deployments=(), state=ServiceState.FAILED)
    plan = aci.plan_deploy(samples.request(), SPEC, Snapshot(service=there), SMOKE)
    assert described(plan.steps)[1:3] == [
        'stop and delete service "churn" with its deployments',
        'create service "churn" with deployment "g1"',
    ]


def test_plan_deploy__the_same_is_healthy__is_unchanged_and_unhealthy_is_updated() -> None:
    live = samples.deployment("g1", spec_hash=SPEC.spec_hash)
    there = service(live="g1", deployments=(live,))
    plan = aci.plan_deploy(samples.request(), SPEC, Snapshot(service=there), SMOKE)
    assert (plan.steps, plan.done, plan.deployment_name) == ((), Status.UNCHANGED, "g1")
    sick = replace(there, state=ServiceState.UNHEALTHY)
    assert aci.plan_deploy(samples.request(), SPEC, Snapshot(service=sick), SMOKE).steps


def test_plan_deploy__on_failure_keep__has_no_undo() -> None:
    request = samples.request(on_failure=OnFailure.KEEP)
    assert aci.plan_deploy(request, SPEC, Snapshot(), SMOKE).undo == ()


def test_plan_deploy__no_smoke_test__ends_unverified() -> None:
    plan = aci.plan_deploy(samples.request(smoke_test=SmokeTest.OFF), SPEC, Snapshot(), SMOKE)
    assert plan.done is Status.UNVERIFIED


def test_plan_deploy__service_of_others__is_refused_unless_taken_over() -> None:
    there = Snapshot(service=service(owner="somebody", deployments=(SERVING,), live="g1"))
    with pytest.raises(NotOurs):
        aci.plan_deploy(samples.request(), SPEC, there, SMOKE)
    assert aci.plan_deploy(samples.request(take_over="churn"), SPEC, there, SMOKE).steps


def test_plan_deploy__aks_without_compute__is_missing_for_a_new_service_alone() -> None:
    with pytest.raises(MissingInput, match="compute"):
        aks.plan_deploy(samples.request(), SPEC, Snapshot(), SMOKE)
    there = Snapshot(service=service(live="g1", deployments=(SERVING,), target=Target.AKS))
    assert aks.plan_deploy(samples.request(), SPEC, there, SMOKE).steps


def test_plan_cleanup__there_absent_and_of_others__deletes_succeeds_refuses() -> None:
    there = service()
    assert aci.plan_cleanup(samples.request(), Snapshot(service=there)).done is Status.DELETED
    assert aci.plan_cleanup(samples.request(), Snapshot()).done is Status.ABSENT
    with pytest.raises(NotOurs):
        aci.plan_cleanup(samples.request(), Snapshot(service=replace(there, owner="x")))


def test_plan_rollback__previous_known__puts_it_back_and_verifies() -> None:
    there = service(live="g2", previous="g1", deployments=(SERVING, samples.deployment("g2")))
    plan = aci.plan_rollback(samples.request(), Snapshot(service=there), SMOKE)
    assert described(plan.steps)[0] == 'put deployment "g1" of service "churn" back in place'
    assert plan.done is Status.ROLLED_BACK
    assert aci.plan_rollback(samples.request(), Snapshot(service=there), None).done is Status.UNVERIFIED


def test_plan_rollback__previous_had_other_variables__is_refused_with_the_deploy_that_does_it() -> None:
    previous = samples.deployment("g1", can_be_restored=False)
    there = service(live="g2", previous="g1", deployments=(previous, samples.deployment("g2")))
    with pytest.raises(NothingToRollBackTo, match="other environment variables") as raised:
        aci.plan_rollback(samples.request(), Snapshot(service=there), SMOKE)
    assert "`model-uri: models:/churn/" in raised.value.remedy_text


def test_plan_rollback__nothing_to_go_back_to__says_which() -> None:
    with pytest.raises(ServiceNotFound):
        aci.plan_rollback(samples.request(), Snapshot(), SMOKE)
    with pytest.raises(NothingToRollBackTo):
        aci.plan_rollback(samples.request(), Snapshot(service=service()), SMOKE)


def test_plan_deploy__the_same_is_on_its_way__is_waited_for_and_not_made_again() -> None:
    live = samples.deployment("g1", spec_hash=SPEC.spec_hash)
    there = service(live="g1", deployments=(live,), state=ServiceState.CREATING)
    plan = aci.plan_deploy(samples.request(), SPEC, Snapshot(service=there), SMOKE)
    assert described(plan.steps) == [
        'wait until deployment "g1" is healthy',
        'smoke-test deployment "g1" with the model\'s input example (required)',
    ]
    assert (plan.done, plan.undo) == (Status.HEALTHY, ())


def test_plan_deploy__what_azure_never_changes__is_refused_with_what_would_change() -> None:
    there = service(deployments=(SERVING,), settings={"cpu-cores": 0.5, "location": "eastus"})
    wanted = replace(SPEC, shape=AzureShape(cpu_cores=1.0, location="East US"), deployment_name="g2")
    with pytest.raises(RecreateNotAllowed) as raised:
        aci.plan_deploy(samples.request(), wanted, Snapshot(service=there), SMOKE)
    assert raised.value.what == (
        'Service "churn" cannot become what was asked for while it exists: its `cpu-cores` is 0.5, not 1.0. Deleted and created '
        "anew, it would get a new URL (http://localhost:5000/score), a new IP address and new keys, and serve nobody meanwhile."
    )
    plan = aci.plan_deploy(samples.request(allow_recreate=True), wanted, Snapshot(service=there), SMOKE)
    assert described(plan.steps)[1:3] == [
        'delete service "churn", to make it anew',
        'create service "churn" with deployment "g2"',
    ]
    assert "its URL, IP address and keys change" in plan.notes[-1]
    assert described(plan.undo) == [
        'stop and delete service "churn" with its deployments',
        'put deployment "g1" of service "churn" back in place',
        'wait until deployment "g1" is healthy',
    ]
    unknown = replace(there, deployments=(replace(SERVING, can_be_restored=False),))
    plan = aci.plan_deploy(samples.request(allow_recreate=True), wanted, Snapshot(service=unknown), SMOKE)
    assert described(plan.undo) == ['stop and delete service "churn" with its deployments']
    assert "the old one is lost" in plan.notes[-1]


def test_plan_deploy__of_another_target_by_the_same_name__is_refused() -> None:
    there = service(deployments=(SERVING,), target=Target.AKS)
    with pytest.raises(RecreateNotAllowed, match="it is of target aks, not aci"):
        aci.plan_deploy(samples.request(), replace(SPEC, deployment_name="g2"), Snapshot(service=there), SMOKE)


def test_plan_deploy__cluster_to_be_made__is_made_while_the_model_is_registered() -> None:
    shape = AzureShape(compute="k8s", cluster=Cluster(name="k8s"), auth=AuthMode.KEY)
    plan = aks.plan_deploy(samples.request(), replace(SPEC, shape=shape), Snapshot(), SMOKE)
    assert described(plan.steps)[0].startswith(
        'at once: create the cluster "k8s" (20 to 25 minutes), unless it is there; register the model'
    )
    assert plan.notes == ()


def test_plan_cleanup__what_services_share__goes_by_name_and_after_the_service() -> None:
    also = (ModelVersionName(name="churn", version="3"), ComputeName(name="k8s", keeps_resource=True))
    request = samples.request(also_delete=also)
    plan = aci.plan_cleanup(request, Snapshot(service=service()))
    assert described(plan.steps) == [
        'stop and delete service "churn" with its deployments',
        'delete version 3 of the registered model "churn", if it is ours',
        'detach the compute "k8s", if it is ours',
    ]
    assert plan.carries_on
    assert aci.plan_cleanup(request, Snapshot()).done is Status.DELETED
    taking = samples.request(also_delete=also, take_over="k8s")
    assert described(aci.plan_cleanup(taking, Snapshot()).steps)[1] == 'detach the compute "k8s"'


def test_plan_cleanup__of_an_endpoint__takes_model_versions_along_and_refuses_computes() -> None:
    version = ModelVersionName(name="churn", version="3")
    plan = managed.plan_cleanup(samples.request(also_delete=(version,)), Snapshot())
    assert described(plan.steps) == ['delete version 3 of the registered model "churn", if it is ours']
    compute = ComputeName(name="k8s", keeps_resource=True)
    with pytest.raises(InapplicableInput, match='"k8s"'):
        managed.plan_cleanup(samples.request(also_delete=(compute,)), Snapshot())
