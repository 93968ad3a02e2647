"""Plans that deploy to endpoints, which hold deployments beside each other. Pure; it knows no target by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlaz_ci.errors import (
    InvalidInput,
    NotOurs,
    RecreateNotAllowed,
)
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
    AwaitHealthy,
    BuildEnvironment,
    CreateService,
    DeleteService,
    FetchModel,
    MirrorTraffic,
    Plan,
    RegisterModel,
    RestoreDeployment,
    RetireDeployment,
    RetireOlder,
    ShareTraffic,
    ShiftTraffic,
    StartDeployment,
    Step,
    Together,
    UpdateDeployment,
    UploadCode,
    Verify,
)
from mlaz_ci.targets.endpoint_parts import (
    begun_before,
    check_endpoint,
    live_if_same,
    retire_expired,
    retire_others,
)
from mlaz_ci.targets.online_section import read_section
from mlaz_ci.targets.pieces import done_status, until_verified

_VERIFIED_LATE = "`strategy: in-place`: the new model answers users before it can be smoke-tested."
_GONE_BEFORE = "`strategy: recreate`: nothing answers from the end of the old deployment until the new one is verified."


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    """Start beside what serves, verify by header before any traffic, then shift or share.

    An equal healthy one is left alone; an equal one that an earlier run began is taken up where it stands.
    """
    service = snapshot.service
    check_endpoint(request, service)
    begins_anew = service is not None and _begins_anew(request, spec, service)
    if service is None or begins_anew:
        plan = _plan_first(request, spec, smoke_request)
        first: tuple[Step, ...] = (DeleteService(service_name=spec.service_name),) if begins_anew else ()
        return replace(plan, steps=(*first, *plan.steps))
    if same := live_if_same(spec, service):
        return _plan_same(request, service, same, smoke_request)
    live = service.deployment(service.live)
    if live is not None and request.strategy is Strategy.IN_PLACE:
        return _plan_in_place(request, spec, service, live, smoke_request)
    if live is not None and request.strategy is Strategy.RECREATE:
        return _plan_recreate(request, spec, service, live, smoke_request)
    return _plan_beside(request, spec, service, smoke_request)


def _begins_anew(request: Request, spec: DeploymentSpec, service: ServiceFacts) -> bool:
    """Whether the endpoint itself must be made once more: it failed before it ever served, or callers shall sign in otherwise."""
    is_ours = request.endpoint is EndpointUse.CREATE
    if is_ours and service.state is ServiceState.FAILED and not service.deployments:
        return True
    wanted = spec.azure_shape.auth
    if wanted is None or service.auth in {None, wanted}:
        return False
    if not (is_ours and request.allow_recreate):
        raise RecreateNotAllowed(
            f'Endpoint "{service.name}" is called with auth "{service.auth}", and Azure cannot change that to "{wanted}".',
            remedy=None
            if is_ours
            else "Leave `auth` out: with `endpoint: existing` the endpoint is not ours to change.",
        )
    return True


def _plan_first(request: Request, spec: DeploymentSpec, smoke_request: ScoreRequest | None) -> Plan:
    name, service_name = spec.deployment_name, spec.service_name
    steps = [*_prepare(request, spec, is_new=True), StartDeployment(spec=spec)]
    steps += until_verified(request, service_name, name, spec.spec_hash, smoke_request)
    steps.append(ShiftTraffic(service_name=service_name, deployment_name=name))
    # Another run may have begun at the same moment.
    steps.append(RetireOlder(service_name=service_name, deployment_name=name))
    undo: tuple[Step, ...] = (
        RetireDeployment(service_name=service_name, deployment_name=name, keep_files=False),
        DeleteService(service_name=service_name, only_if_empty=True),
    )
    return Plan(
        steps=tuple(steps),
        done=done_status(request, smoke_request),
        undo=undo if request.on_failure is OnFailure.ROLLBACK else (),
        deployment_name=name,
        keeps_unreachable=True,
    )


def _plan_same(
    request: Request, service: ServiceFacts, live: DeploymentFacts, smoke_request: ScoreRequest | None
) -> Plan:
    """Nothing, or the end of what a run that died after its shift had left."""
    left = retire_others(request, service, live, live.name)
    if left is None:
        return Plan(steps=(), done=Status.UNCHANGED, deployment_name=live.name)
    steps = until_verified(request, service.name, live.name, live.spec_hash, smoke_request)
    return Plan(
        steps=(*steps, left),
        done=done_status(request, smoke_request),
        deployment_name=live.name,
        keeps_unreachable=True,
    )


def _plan_beside(
    request: Request, spec: DeploymentSpec, service: ServiceFacts, smoke_request: ScoreRequest | None
) -> Plan:
    begun = begun_before(spec, service)
    name = begun.name if begun else spec.deployment_name
    if begun is None and service.deployment(name):
        raise InvalidInput(
            f'`deployment-name` "{name}" is in use in endpoint "{service.name}"; nothing is changed in place.',
            usually="The new deployment is verified beside the one that serves, so it needs a name of its own.",
            remedy="Give another name, leave `deployment-name` out, or set `strategy: in-place`.",
        )
    is_canary = request.strategy is Strategy.CANARY and service.live not in {None, name}
    if begun and is_canary and _has_its_share(request, spec, service, begun):
        return Plan(steps=(), done=Status.CANARY, deployment_name=name)
    steps = [] if begun else [*_prepare(request, spec, is_new=False), StartDeployment(spec=spec)]
    steps += until_verified(request, service.name, name, spec.spec_hash, smoke_request)
    if is_canary:
        steps += [_canary_step(request, spec, name), *retire_expired(service)]
    else:
        steps.append(ShiftTraffic(service_name=service.name, deployment_name=name))
        steps += _verified_by_users(steps, service)
        if older := retire_others(request, service, begun, name):
            steps.append(older)
    away = RetireDeployment(service_name=service.name, deployment_name=name, keep_files=False)
    return Plan(
        steps=tuple(steps),
        done=Status.CANARY if is_canary else done_status(request, smoke_request),
        undo=(away,) if request.on_failure is OnFailure.ROLLBACK else (),
        deployment_name=name,
        keeps_unreachable=True,
    )


def _verified_by_users(steps: Sequence[Step], service: ServiceFacts) -> list[Step]:
    """The smoke test once more, by the way that users come, where there is an old deployment to go back to."""
    verify = next((each for each in steps if isinstance(each, Verify)), None)
    return [replace(verify, through_service=True)] if verify and service.live else []


def _mirror_percent(request: Request, spec: DeploymentSpec) -> int | None:
    return read_section(spec.azure_shape.raw, request.target).mirror_percent


def _canary_step(request: Request, spec: DeploymentSpec, name: str) -> Step:
    if percent := _mirror_percent(request, spec):
        return MirrorTraffic(service_name=spec.service_name, deployment_name=name, percent=percent)
    return ShareTraffic(service_name=spec.service_name, deployment_name=name, percent=request.canary_percent)


def _has_its_share(request: Request, spec: DeploymentSpec, service: ServiceFacts, begun: DeploymentFacts) -> bool:
    percent = _mirror_percent(request, spec)
    if percent:
        return service.mirrored.get(begun.name) == percent
    return service.traffic.get(begun.name) == request.canary_percent


def _plan_in_place(
    request: Request,
    spec: DeploymentSpec,
    service: ServiceFacts,
    live: DeploymentFacts,
    smoke_request: ScoreRequest | None,
) -> Plan:
    """Azure's own rolling update, where there is no room for two."""
    if not live.is_ours:
        raise NotOurs(f'Deployment "{live.name}" of endpoint "{spec.service_name}" is not ours to change in place.')
    steps = [*_prepare(request, spec, is_new=False), UpdateDeployment(spec=spec)]
    steps += until_verified(request, spec.service_name, live.name, spec.spec_hash, smoke_request)
    steps += retire_expired(service)
    undo: tuple[Step, ...] = (
        RestoreDeployment(service_name=spec.service_name, deployment_name=live.name),
        AwaitHealthy(service_name=spec.service_name, deployment_name=live.name),
    )
    return Plan(
        steps=tuple(steps),
        done=done_status(request, smoke_request),
        undo=undo if request.on_failure is OnFailure.ROLLBACK else (),
        deployment_name=live.name,
        notes=(_VERIFIED_LATE,),
        keeps_unreachable=True,
    )


def _plan_recreate(
    request: Request,
    spec: DeploymentSpec,
    service: ServiceFacts,
    live: DeploymentFacts,
    smoke_request: ScoreRequest | None,
) -> Plan:
    """The old one goes before the new one comes: the last way where there is room for one alone."""
    if not request.allow_recreate:
        raise RecreateNotAllowed(
            f'`strategy: recreate` takes deployment "{live.name}" of "{service.name}" away before the new one answers.',
            usually="Between the two nobody answers, and if the new one fails the old one is lost.",
            remedy="Set `allow-recreate: true` if that can be borne, or use `strategy: in-place`.",
        )
    if not live.is_ours:
        raise NotOurs(f'Deployment "{live.name}" of endpoint "{service.name}" is not ours to take away.')
    gone = RetireDeployment(service_name=service.name, deployment_name=live.name, keep_files=False)
    rest = replace(service, live=None, deployments=tuple(each for each in service.deployments if each is not live))
    plan = _plan_beside(request, replace(spec, replaces=None), rest, smoke_request)
    first = [step for step in plan.steps if isinstance(step, FetchModel | Together)]
    return replace(
        plan,
        steps=(*first, gone, *(step for step in plan.steps if step not in first)),
        notes=(*plan.notes, _GONE_BEFORE),
    )


def _prepare(request: Request, spec: DeploymentSpec, *, is_new: bool) -> list[Step]:
    """What needs nothing of each other: the endpoint, the registration, the environment, the script."""
    is_no_code = read_section(spec.azure_shape.raw, request.target).is_no_code
    fetch: list[Step] = [] if spec.model.is_in_workspace else [FetchModel(model=spec.model)]
    at_once: list[Step] = [CreateService(spec=spec)] if is_new else []
    at_once.append(RegisterModel(model=spec.model, tags=spec.tags))
    if spec.environment is None and not is_no_code:
        at_once.append(BuildEnvironment(lock=spec.lock))
    if not is_no_code:
        at_once.append(UploadCode(spec=spec))
    return [*fetch, Together(steps=tuple(at_once))]
