"""The local target: rules and steps for a service on this machine. Pure; it knows no process and no file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlaz_ci.errors import InvalidInput, NothingToRollBackTo, ServiceNotFound
from mlaz_ci.models import (
    DeploymentSpec,
    LocalShape,
    OnFailure,
    Request,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    Shape,
    Snapshot,
    Status,
)
from mlaz_ci.plan import (
    BuildEnvironment,
    DeleteService,
    FetchModel,
    Plan,
    RestartDeployment,
    RetireDeployment,
    ShiftTraffic,
    StartDeployment,
    Step,
)
from mlaz_ci.serving.scripts import LAUNCH, SCORE
from mlaz_ci.targets.finishing import finish_beside
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.names import check_service_name as check_service_name
from mlaz_ci.targets.pieces import check_owner, done_status, until_verified
from mlaz_ci.targets.pieces import deployment_name as deployment_name
from mlaz_ci.targets.pieces import findings as findings
from mlaz_ci.targets.pieces import plan_promote as plan_promote
from mlaz_ci.targets.pieces import plan_reject as plan_reject
from mlaz_ci.targets.section import Section
from mlaz_ci.targets.side import Side

side = Side.LOCAL
section: Section | None = None
_SECURITY = "security"
_INAPPLICABLE = "inapplicable"
_USES = {
    "auth": _SECURITY,
    "endpoint": _INAPPLICABLE,
    "also-delete": _INAPPLICABLE,
    "keep-previous": _INAPPLICABLE,
    "description": _INAPPLICABLE,
    "cpu-cores": _INAPPLICABLE,
    "memory-gb": _INAPPLICABLE,
    "location": _INAPPLICABLE,
    "compute": _INAPPLICABLE,
    "enable-app-insights": _INAPPLICABLE,
    "data-collection": _INAPPLICABLE,
    "instance-type": _INAPPLICABLE,
    "instance-count": _INAPPLICABLE,
    "strategy": _INAPPLICABLE,
    "canary-percent": _INAPPLICABLE,
    "allow-recreate": _INAPPLICABLE,
    "azureml-environment": _INAPPLICABLE,
    "base-image": _INAPPLICABLE,
}


def input_uses() -> Mapping[str, str]:
    return _USES


def shape(given: Given) -> LocalShape:
    return LocalShape(
        port=given.local_number("port"),
        workers=given.local_number("workers") or 1,
        request_timeout_s=given.local_number("request-timeout-s") or 60,
        environment_variables=given.mapping("environment-variables"),
    )


def scripts(_shape: Shape) -> tuple[str, ...]:
    return SCORE, LAUNCH


def _same_deployment(spec: DeploymentSpec, service: ServiceFacts) -> str | None:
    """The name of the live deployment if it serves exactly what is asked for."""
    live = service.deployment(service.live)
    if live and live.spec_hash == spec.spec_hash and spec.local_shape.port in {None, service.port}:
        return live.name
    return None


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Start beside what serves, verify, take the port, retire the old; an equal healthy service is left alone."""
    service = snapshot.service
    if service:
        check_owner(request, service)
    same = _same_deployment(spec, service) if service and service.owner == request.owner else None
    if service and same and service.state is ServiceState.HEALTHY:
        return Plan(steps=(), done=Status.UNCHANGED, deployment_name=same)
    if service and same and service.state is not ServiceState.UNHEALTHY:
        return _plan_restart(request, service.name, same, spec.spec_hash, smoke_request)
    name = spec.deployment_name
    if service and name == service.live:
        raise InvalidInput(
            f'`deployment-name` "{name}" is the deployment that serves now; nothing is changed in place.',
            usually="The new deployment is verified beside the one that serves, so it needs a name of its own.",
            remedy="Give another name, or leave `deployment-name` out.",
        )
    steps: list[Step] = [FetchModel(model=spec.model), BuildEnvironment(lock=spec.lock), StartDeployment(spec=spec)]
    steps += _bring_up(request, spec.service_name, name, spec.spec_hash, smoke_request)
    if service:
        steps += _retire_others(service, but=name, keep=service.live)
    # Never the service, which another run may have deployed to since: one that nothing is left of goes with its last deployment.
    withdraw = RetireDeployment(service_name=spec.service_name, deployment_name=name, keep_files=False)
    undo = (withdraw,) if request.on_failure is OnFailure.ROLLBACK else ()
    return Plan(steps=tuple(steps), done=done_status(request, smoke_request), undo=undo, deployment_name=name)


def _bring_up(
    request: Request, service_name: str, name: str, spec_hash: str, smoke_request: ScoreRequest | None
) -> list[Step]:
    steps = until_verified(request, service_name, name, spec_hash, smoke_request)
    steps.append(ShiftTraffic(service_name=service_name, deployment_name=name))
    return steps


def _retire_others(service: ServiceFacts, *, but: str, keep: str | None) -> list[Step]:
    """All but the one that serves now. The one that served stays on disk for a rollback; older generations go."""
    return [
        RetireDeployment(service_name=service.name, deployment_name=each.name, keep_files=each.name == keep)
        for each in service.deployments
        if each.name != but
    ]


def _plan_restart(
    request: Request, service_name: str, name: str, spec_hash: str, smoke_request: ScoreRequest | None
) -> Plan:
    steps: list[Step] = [RestartDeployment(service_name=service_name, deployment_name=name)]
    steps += _bring_up(request, service_name, name, spec_hash, smoke_request)
    withdraw = RetireDeployment(service_name=service_name, deployment_name=name, keep_files=True)
    undo = (withdraw,) if request.on_failure is OnFailure.ROLLBACK else ()
    return Plan(steps=tuple(steps), done=done_status(request, smoke_request), undo=undo, deployment_name=name)


def plan_finish(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan | None:
    """The one that served stays on disk here, as after a deploy that waited: until the next one comes, for any number of hours."""
    return finish_beside(replace(request, keep_previous_hours=1.0), snapshot, smoke_request)


def plan_cleanup(request: Request, snapshot: Snapshot) -> Plan:
    """Delete the service; absent is success."""
    if snapshot.service is None:
        return Plan(steps=(), done=Status.ABSENT)
    check_owner(request, snapshot.service)
    return Plan(steps=(DeleteService(service_name=snapshot.service.name),), done=Status.DELETED)


def plan_rollback(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Back to the deployment that served before, verified like a new one."""
    service = snapshot.service
    if service is None:
        raise ServiceNotFound(f'There is no local service "{request.service_name}".')
    check_owner(request, service)
    previous = service.deployment(service.previous)
    if previous is None:
        raise NothingToRollBackTo(f'Service "{service.name}" has no deployment that served before "{service.live}".')
    plan = _plan_restart(request, service.name, previous.name, previous.spec_hash, smoke_request)
    retire = _retire_others(service, but=previous.name, keep=service.live)
    done = Status.ROLLED_BACK if plan.done is Status.HEALTHY else plan.done
    return Plan(steps=(*plan.steps, *retire), done=done, undo=plan.undo, deployment_name=previous.name)
