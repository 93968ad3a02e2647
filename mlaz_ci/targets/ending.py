"""Plans that end something of an endpoint: a canary, a version that turned out wrong, the service. Pure; it knows no target by name."""

from __future__ import annotations

from collections.abc import Sequence

from mlaz_ci.errors import InapplicableInput, ModelVersionNotExpected, NoCanary, NothingToRollBackTo, NotOurs
from mlaz_ci.models import (
    ComputeName,
    DeploymentFacts,
    EndpointUse,
    Request,
    ScoreRequest,
    ServiceFacts,
    Snapshot,
    Status,
)
from mlaz_ci.plan import DeleteService, Plan, RetireDeployment, ShiftTraffic, Step
from mlaz_ci.targets.endpoint_parts import present, retire_others
from mlaz_ci.targets.pieces import also_delete, check_owner, done_status, until_verified


def plan_cleanup(request: Request, snapshot: Snapshot) -> Plan:
    """Delete the endpoint, or in someone else's only our deployments; absent is success."""
    service = snapshot.service
    also = _also(request)
    if service is None:
        return Plan(steps=also, done=Status.DELETED if also else Status.ABSENT, carries_on=True)
    ours = [each for each in service.deployments if each.is_ours]
    if request.endpoint is EndpointUse.CREATE:
        check_owner(request, service)
        _check_alone(request, service, ours)
        return Plan(steps=(DeleteService(service_name=service.name), *also), done=Status.DELETED, carries_on=True)
    steps: tuple[Step, ...] = tuple(
        RetireDeployment(service_name=service.name, deployment_name=each.name, keep_files=False) for each in ours
    )
    steps += also
    return Plan(steps=steps, done=Status.DELETED if steps else Status.ABSENT, carries_on=True)


def _also(request: Request) -> tuple[Step, ...]:
    """Raises InapplicableInput for a compute: those that an endpoint runs on are not made here."""
    named = [each.name for each in request.also_delete if isinstance(each, ComputeName)]
    if named:
        raise InapplicableInput(
            f'`also-delete` names the compute "{named[0]}", which target {request.target} neither makes nor removes.',
            usually="Clusters are made, attached and removed through target aks alone.",
            remedy=f"Leave it out; `az ml compute detach --name {named[0]}` takes it off the workspace.",
        )
    return also_delete(request)


def _check_alone(request: Request, service: ServiceFacts, ours: Sequence[DeploymentFacts]) -> None:
    theirs = [each.name for each in service.deployments if each not in ours]
    if theirs and request.take_over != service.name:
        raise NotOurs(
            f'Endpoint "{service.name}" holds deployments that are not ours: {", ".join(theirs)}.',
            usually="Somebody else deploys into this endpoint, and its end would be theirs too.",
            remedy="Clean up with `endpoint: existing`, which takes ours alone, or pass the endpoint's exact name as `take-over`.",
        )


def plan_rollback(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """All traffic back to the deployment that was kept, verified before."""
    service = present(request, snapshot)
    previous = service.deployment(service.previous)
    if previous is None:
        raise NothingToRollBackTo(
            f'Endpoint "{service.name}" holds no deployment that served before "{service.live}".',
            remedy="Deploy with `keep-previous: 24`, or deploy the model version of before.",
        )
    steps = until_verified(request, service.name, previous.name, previous.spec_hash, smoke_request)
    steps.append(ShiftTraffic(service_name=service.name, deployment_name=previous.name))
    live = service.deployment(service.live)
    if live and live.is_ours:
        steps.append(RetireDeployment(service_name=service.name, deployment_name=live.name, keep_files=True))
    done = done_status(request, smoke_request)
    return Plan(
        steps=tuple(steps),
        done=Status.ROLLED_BACK if done is Status.HEALTHY else done,
        deployment_name=previous.name,
        keeps_unreachable=True,
    )


def plan_promote(request: Request, snapshot: Snapshot) -> Plan:
    """All traffic to the canary; the deployment that served goes, or is kept as the request says."""
    service = present(request, snapshot)
    canary = _canary(request, service)
    steps: list[Step] = [ShiftTraffic(service_name=service.name, deployment_name=canary.name)]
    if older := retire_others(request, service, canary, canary.name):
        steps.append(older)
    return Plan(steps=tuple(steps), done=Status.PROMOTED, deployment_name=canary.name)


def plan_reject(request: Request, snapshot: Snapshot) -> Plan:
    """The canary's share back to the others, and the canary away."""
    service = present(request, snapshot)
    canary = _canary(request, service)
    away = RetireDeployment(service_name=service.name, deployment_name=canary.name, keep_files=False)
    return Plan(steps=(away,), done=Status.REJECTED, deployment_name=service.live)


def _canary(request: Request, service: ServiceFacts) -> DeploymentFacts:
    """The newest deployment of ours that shares the traffic with an older one."""
    shares = {**service.traffic, **service.mirrored}
    sharing = [each for each in service.deployments if shares.get(each.name, 0) > 0]
    ours = [each for each in sharing if each.is_ours and each.name != service.live]
    if len(sharing) < 2 or not ours:
        told = ", ".join(f"{name} {percent} %" for name, percent in service.traffic.items()) or "none"
        raise NoCanary(f'Endpoint "{service.name}" has no canary; its traffic: {told}.')
    canary = max(ours, key=lambda each: each.created_at)
    expected = request.expect_model_version
    if expected is not None and canary.model_version != expected:
        raise ModelVersionNotExpected(
            f'The canary "{canary.name}" serves model version {canary.model_version}, not the approved {expected}.'
        )
    return canary
