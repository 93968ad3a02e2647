"""Plans for services that are endpoints with deployments beside each other: managed and Kubernetes. Pure; it knows no target by name."""

from __future__ import annotations

from mlaz_ci.errors import InvalidInput, ModelVersionNotExpected, NoCanary, NothingToRollBackTo, ServiceNotFound
from mlaz_ci.models import (
    DeploymentFacts,
    DeploymentSpec,
    EndpointUse,
    OnFailure,
    Request,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    Snapshot,
    Status,
    Strategy,
)
from mlaz_ci.plan import (
    BuildEnvironment,
    CreateService,
    DeleteService,
    FetchModel,
    Plan,
    RegisterModel,
    RetireDeployment,
    ShareTraffic,
    ShiftTraffic,
    StartDeployment,
    Step,
    Together,
)
from mlaz_ci.targets.pieces import check_owner, done_status, until_verified


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Start beside what serves, verify by header before any traffic, then shift or share; an equal healthy one is left alone."""
    service = snapshot.service
    _check_endpoint(request, service)
    same = _same(spec, service)
    if same:
        return Plan(steps=(), done=Status.UNCHANGED, deployment_name=same)
    name = spec.deployment_name
    if service and service.deployment(name):
        raise InvalidInput(
            f'`deployment-name` "{name}" is in use in endpoint "{service.name}"; nothing is changed in place.',
            usually="The new deployment is verified beside the one that serves, so it needs a name of its own.",
            remedy="Give another name, or leave `deployment-name` out.",
        )
    steps: list[Step] = [*_prepare(spec, is_new=service is None), StartDeployment(spec=spec)]
    steps += until_verified(request, spec.service_name, name, spec.spec_hash, smoke_request)
    is_canary = request.strategy is Strategy.CANARY and service is not None and service.live is not None
    if is_canary:
        steps.append(ShareTraffic(service_name=spec.service_name, deployment_name=name, percent=request.canary_percent))
    else:
        steps.append(ShiftTraffic(service_name=spec.service_name, deployment_name=name))
        steps += _retire_others(request, service, but=name) if service else []
    return Plan(
        steps=tuple(steps),
        done=Status.CANARY if is_canary else done_status(request, smoke_request),
        undo=_undo(request, spec, is_new=service is None),
        deployment_name=name,
    )


def _check_endpoint(request: Request, service: ServiceFacts | None) -> None:
    if request.endpoint is EndpointUse.EXISTING:
        if service is None:
            raise ServiceNotFound(
                f'There is no endpoint "{request.service_name}" in the workspace, and `endpoint: existing` makes none.'
            )
        return
    if service:
        check_owner(request, service)


def _prepare(spec: DeploymentSpec, *, is_new: bool) -> list[Step]:
    fetch: list[Step] = [] if spec.model.is_in_workspace else [FetchModel(model=spec.model)]
    both: list[Step] = [RegisterModel(model=spec.model, tags=spec.tags), BuildEnvironment(lock=spec.lock)]
    if is_new:
        both.insert(0, CreateService(spec=spec))
    return [*fetch, Together(steps=tuple(both))]


def _same(spec: DeploymentSpec, service: ServiceFacts | None) -> str | None:
    """The name of the live deployment if it is healthy and serves exactly what is asked for, with all the traffic."""
    live = service.deployment(service.live) if service else None
    if service is None or live is None or live.spec_hash != spec.spec_hash:
        return None
    is_alone = service.traffic.get(live.name, 0) == 100
    return live.name if is_alone and live.state is ServiceState.HEALTHY else None


def _retire_others(request: Request, service: ServiceFacts, *, but: str) -> list[Step]:
    """All of ours but the new one; with `keep-previous` the one that served stays, without traffic. Strangers' are left alone."""
    kept = service.live if request.keep_previous else None
    return [
        RetireDeployment(service_name=service.name, deployment_name=each.name, keep_files=each.name == kept)
        for each in service.deployments
        if each.name != but and each.is_ours
    ]


def _undo(request: Request, spec: DeploymentSpec, *, is_new: bool) -> tuple[Step, ...]:
    if request.on_failure is not OnFailure.ROLLBACK:
        return ()
    if is_new:
        return (DeleteService(service_name=spec.service_name),)
    return (RetireDeployment(service_name=spec.service_name, deployment_name=spec.deployment_name, keep_files=False),)


def plan_cleanup(request: Request, snapshot: Snapshot) -> Plan:
    """Delete the endpoint, or in someone else's only our deployments; absent is success."""
    service = snapshot.service
    if service is None:
        return Plan(steps=(), done=Status.ABSENT)
    if request.endpoint is EndpointUse.CREATE:
        check_owner(request, service)
        return Plan(steps=(DeleteService(service_name=service.name),), done=Status.DELETED)
    ours = tuple(
        RetireDeployment(service_name=service.name, deployment_name=each.name, keep_files=False)
        for each in service.deployments
        if each.is_ours
    )
    return Plan(steps=ours, done=Status.DELETED if ours else Status.ABSENT)


def plan_rollback(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """All traffic back to the deployment that was kept, verified before."""
    service = _present(request, snapshot)
    previous = service.deployment(service.previous)
    if previous is None:
        raise NothingToRollBackTo(
            f'Endpoint "{service.name}" holds no deployment that served before "{service.live}".',
            remedy="Deploy with `keep-previous: true`, or deploy the model version of before.",
        )
    steps = until_verified(request, service.name, previous.name, previous.spec_hash, smoke_request)
    steps.append(ShiftTraffic(service_name=service.name, deployment_name=previous.name))
    done = done_status(request, smoke_request)
    return Plan(
        steps=tuple(steps),
        done=Status.ROLLED_BACK if done is Status.HEALTHY else done,
        deployment_name=previous.name,
    )


def plan_promote(request: Request, snapshot: Snapshot) -> Plan:
    """All traffic to the canary; the deployment that served goes, or is kept as the request says."""
    service = _present(request, snapshot)
    canary = _canary(request, service)
    steps: list[Step] = [ShiftTraffic(service_name=service.name, deployment_name=canary.name)]
    steps += _retire_others(request, service, but=canary.name)
    return Plan(steps=tuple(steps), done=Status.PROMOTED, deployment_name=canary.name)


def plan_reject(request: Request, snapshot: Snapshot) -> Plan:
    """The canary's share back to the others, and the canary away."""
    service = _present(request, snapshot)
    canary = _canary(request, service)
    away = RetireDeployment(service_name=service.name, deployment_name=canary.name, keep_files=False)
    return Plan(steps=(away,), done=Status.REJECTED, deployment_name=service.live)


def _present(request: Request, snapshot: Snapshot) -> ServiceFacts:
    service = snapshot.service
    if service is None:
        raise ServiceNotFound(f'There is no endpoint "{request.service_name}" in the workspace.')
    _check_endpoint(request, service)
    return service


def _canary(request: Request, service: ServiceFacts) -> DeploymentFacts:
    """The newest deployment of ours that shares the traffic with an older one."""
    sharing = [each for each in service.deployments if service.traffic.get(each.name, 0) > 0]
    ours = [each for each in sharing if each.is_ours and each.name != service.live]
    if len(sharing) < 2 or not ours:
        shares = ", ".join(f"{name} {percent} %" for name, percent in service.traffic.items()) or "none"
        raise NoCanary(f'Endpoint "{service.name}" has no canary; its traffic: {shares}.')
    canary = max(ours, key=lambda each: each.created_at)
    expected = request.expect_model_version
    if expected is not None and canary.model_version != expected:
        raise ModelVersionNotExpected(
            f'The canary "{canary.name}" serves model version {canary.model_version}, not the approved {expected}.'
        )
    return canary
