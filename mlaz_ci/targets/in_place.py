"""Plans for services that hold one deployment and change in place: v1's web services. Pure; it knows no target by name."""

from __future__ import annotations

from mlaz_ci.errors import NothingToRollBackTo, ServiceNotFound
from mlaz_ci.models import (
    DeploymentFacts,
    DeploymentSpec,
    OnFailure,
    Request,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    Snapshot,
    Status,
)
from mlaz_ci.plan import (
    AwaitHealthy,
    BuildEnvironment,
    DeleteService,
    FetchModel,
    Plan,
    RegisterModel,
    RestoreDeployment,
    StartDeployment,
    Step,
    UpdateDeployment,
)
from mlaz_ci.targets.pieces import check_owner, done_status, until_verified

_VERIFIED_LATE = "A service of this kind changes in place: the new model answers users before it can be smoke-tested."
_NOT_RESTORABLE = (
    "What the service serves now was not deployed by this action, and Azure does not tell enough of it to put it back: "
    "if the new deployment fails, the old one is lost."
)


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Create, or change in place and put back what served before if that fails; an equal healthy service is left alone."""
    service = snapshot.service
    if service:
        check_owner(request, service)
    live = service.deployment(service.live) if service else None
    is_same = live is not None and live.spec_hash == spec.spec_hash
    if service and live and is_same and service.owner == request.owner and service.state is ServiceState.HEALTHY:
        return Plan(steps=(), done=Status.UNCHANGED, deployment_name=live.name)
    steps: list[Step] = [] if spec.model.is_in_workspace else [FetchModel(model=spec.model)]
    steps += [RegisterModel(model=spec.model, tags=spec.tags), BuildEnvironment(lock=spec.lock)]
    # What failed before it ever served is made anew: there is nothing in it to keep.
    is_update = service is not None and live is not None
    if service and not is_update:
        steps.append(DeleteService(service_name=service.name))
    steps.append(UpdateDeployment(spec=spec) if is_update else StartDeployment(spec=spec))
    steps += until_verified(request, spec.service_name, spec.deployment_name, spec.spec_hash, smoke_request)
    can_restore = bool(live and live.can_be_restored)
    notes = [_VERIFIED_LATE] if is_update else []
    if is_update and not can_restore:
        notes.append(_NOT_RESTORABLE)
    undo: tuple[Step, ...] = ()
    if request.on_failure is OnFailure.ROLLBACK:
        undo = _undo(spec, live.name if live and can_restore else None, is_update=is_update)
    return Plan(
        steps=tuple(steps),
        done=done_status(request, smoke_request),
        undo=undo,
        deployment_name=spec.deployment_name,
        notes=tuple(notes),
    )


def _undo(spec: DeploymentSpec, restorable: str | None, *, is_update: bool) -> tuple[Step, ...]:
    if not is_update:
        return (DeleteService(service_name=spec.service_name),)
    if restorable is None:
        return ()
    return (
        RestoreDeployment(service_name=spec.service_name, deployment_name=restorable),
        AwaitHealthy(service_name=spec.service_name, deployment_name=restorable),
    )


def plan_cleanup(request: Request, snapshot: Snapshot) -> Plan:
    """Delete the service; absent is success."""
    if snapshot.service is None:
        return Plan(steps=(), done=Status.ABSENT)
    check_owner(request, snapshot.service)
    return Plan(steps=(DeleteService(service_name=snapshot.service.name),), done=Status.DELETED)


def plan_rollback(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Put back what served before, verified like a new one."""
    service = snapshot.service
    if service is None:
        raise ServiceNotFound(f'There is no service "{request.service_name}" in the workspace.')
    check_owner(request, service)
    previous = _previous(service)
    steps: list[Step] = [RestoreDeployment(service_name=service.name, deployment_name=previous.name)]
    steps += until_verified(request, service.name, previous.name, previous.spec_hash, smoke_request)
    done = done_status(request, smoke_request)
    return Plan(
        steps=tuple(steps),
        done=Status.ROLLED_BACK if done is Status.HEALTHY else done,
        deployment_name=previous.name,
        notes=(_VERIFIED_LATE,),
    )


def _previous(service: ServiceFacts) -> DeploymentFacts:
    previous = service.deployment(service.previous)
    if previous is None:
        raise NothingToRollBackTo(f'Service "{service.name}" has no deployment that served before "{service.live}".')
    return previous
