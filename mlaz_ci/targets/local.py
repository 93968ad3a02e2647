"""The local target: rules and steps for a service on this machine. Pure; it knows no process and no file."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlaz_ci.errors import InvalidInput, NothingToRollBackTo, NotOurs, ServiceNotFound
from mlaz_ci.models import (
    DeploymentSpec,
    OnFailure,
    Request,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    SmokeTest,
    Snapshot,
    Status,
)
from mlaz_ci.plan import (
    AwaitHealthy,
    BuildEnvironment,
    DeleteService,
    FetchModel,
    Plan,
    RestartDeployment,
    RetireDeployment,
    ShiftTraffic,
    StartDeployment,
    Step,
    Verify,
)

# What every target accepts (PEERS of the field: v1 services and online endpoints), so that one word changes the target.
_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){1,30}[a-z0-9]")
_NAME_RULE = (
    "3 to 32 lower-case letters, digits and single dashes, starting with a letter and ending with a letter or digit"
)

_SECURITY = "security"
_INAPPLICABLE = "inapplicable"
_USES = {
    "auth": _SECURITY,
    # Where Azure is and who signs in: a workflow that goes over to `local` for a test keeps them.
    "subscription-id": _INAPPLICABLE,
    "resource-group": _INAPPLICABLE,
    "workspace-name": _INAPPLICABLE,
    "cloud": _INAPPLICABLE,
    "client-id": _INAPPLICABLE,
    "tenant-id": _INAPPLICABLE,
    "client-secret": _INAPPLICABLE,
    "creds": _INAPPLICABLE,
    "audience": _INAPPLICABLE,
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


def check_service_name(name: str) -> None:
    if _NAME.fullmatch(name):
        return
    suggestion = _suggest_name(name)
    near = f' "{suggestion}" would do.' if suggestion else ""
    raise InvalidInput(
        f'`service-name` "{name[:60]}" is not a service name.{near}',
        usually="A name that Azure Machine Learning would refuse is refused on every target alike.",
        remedy=f"Use {_NAME_RULE}.",
    )


def _suggest_name(name: str) -> str | None:
    """The nearest name that follows the rule, or None where nothing of `name` can be kept."""
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower())
    kept = re.sub(r"^[^a-z]+", "", kept)[:32].strip("-")
    return kept if _NAME.fullmatch(kept) else None


def input_uses() -> Mapping[str, str]:
    return _USES


def deployment_name(request: Request, snapshot: Snapshot) -> str:
    """The next generation, `g1`, `g2`, …: never a name that was used before in this service's record."""
    if request.deployment_name:
        return request.deployment_name
    used = [0]
    if snapshot.service:
        matches = (re.fullmatch(r"g(\d+)", each.name) for each in snapshot.service.deployments)
        used += [int(match.group(1)) for match in matches if match]
    return f"g{max(used) + 1}"


def _check_owner(request: Request, service: ServiceFacts) -> None:
    if service.owner == request.owner or request.take_over == service.name:
        return
    raise NotOurs(f'Service "{service.name}" belongs to {service.owner or "nobody we know"}, not to {request.owner}.')


def _same_deployment(spec: DeploymentSpec, service: ServiceFacts) -> str | None:
    """The name of the live deployment if it serves exactly what is asked for."""
    live = service.deployment(service.live)
    if live and live.spec_hash == spec.spec_hash and spec.shape.port in {None, service.port}:
        return live.name
    return None


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Start beside what serves, verify, take the port, retire the old; an equal healthy service is left alone."""
    service = snapshot.service
    if service:
        _check_owner(request, service)
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
    undo: tuple[Step, ...] = ()
    if request.on_failure is OnFailure.ROLLBACK:
        withdraw = RetireDeployment(service_name=spec.service_name, deployment_name=name, keep_files=False)
        undo = (withdraw,) if service else (DeleteService(service_name=spec.service_name),)
    return Plan(steps=tuple(steps), done=_done(request, smoke_request), undo=undo, deployment_name=name)


def _done(request: Request, smoke_request: ScoreRequest | None) -> Status:
    """Green means it answers: what nothing was sent to is unverified."""
    is_verified = smoke_request is not None and request.smoke_test is not SmokeTest.OFF
    return Status.HEALTHY if is_verified else Status.UNVERIFIED


def _bring_up(
    request: Request, service_name: str, name: str, spec_hash: str, smoke_request: ScoreRequest | None
) -> list[Step]:
    steps: list[Step] = [AwaitHealthy(service_name=service_name, deployment_name=name)]
    if smoke_request and request.smoke_test is not SmokeTest.OFF:
        steps.append(
            Verify(
                service_name=service_name,
                deployment_name=name,
                request=smoke_request,
                spec_hash=spec_hash,
                mode=request.smoke_test,
            )
        )
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
    return Plan(steps=tuple(steps), done=_done(request, smoke_request), undo=undo, deployment_name=name)


def plan_cleanup(request: Request, snapshot: Snapshot) -> Plan:
    """Delete the service; absent is success."""
    if snapshot.service is None:
        return Plan(steps=(), done=Status.ABSENT)
    _check_owner(request, snapshot.service)
    return Plan(steps=(DeleteService(service_name=snapshot.service.name),), done=Status.DELETED)


def plan_rollback(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Back to the deployment that served before, verified like a new one."""
    service = snapshot.service
    if service is None:
        raise ServiceNotFound(f'There is no local service "{request.service_name}".')
    _check_owner(request, service)
    previous = service.deployment(service.previous)
    if previous is None:
        raise NothingToRollBackTo(f'Service "{service.name}" has no deployment that served before "{service.live}".')
    plan = _plan_restart(request, service.name, previous.name, previous.spec_hash, smoke_request)
    retire = _retire_others(service, but=previous.name, keep=service.live)
    done = Status.ROLLED_BACK if plan.done is Status.HEALTHY else plan.done
    return Plan(steps=(*plan.steps, *retire), done=done, undo=plan.undo, deployment_name=previous.name)
