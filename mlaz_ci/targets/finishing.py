"""Plans that take to its end what a deploy with `wait: false` began: wait, verify, settle. Pure; it knows no target by name."""

from __future__ import annotations

from mlaz_ci.models import (
    DeploymentFacts,
    Request,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    Snapshot,
    Status,
    Strategy,
)
from mlaz_ci.plan import Plan, RetireDeployment, ShareTraffic, ShiftTraffic, Step
from mlaz_ci.targets.endpoint_parts import check_endpoint
from mlaz_ci.targets.pieces import check_owner, done_status, until_verified

_OVER = frozenset({ServiceState.FAILED, ServiceState.STOPPED, ServiceState.ABSENT})


def finish_in_place(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan | None:
    """For services that change in place; None where nothing is under way."""
    service = snapshot.service
    live = service.deployment(service.live) if service else None
    if service is None or live is None or service.state.is_settled:
        return None
    check_owner(request, service)
    steps = until_verified(request, service.name, live.name, live.spec_hash, smoke_request)
    return Plan(steps=tuple(steps), done=done_status(request, smoke_request), deployment_name=live.name)


def finish_beside(request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan | None:
    """For services with deployments beside each other: the newest of ours that was never given traffic."""
    service = snapshot.service
    waiting = _waiting(service) if service else None
    if service is None or waiting is None:
        return None
    check_endpoint(request, service)
    name = waiting.name
    steps: list[Step] = until_verified(request, service.name, name, waiting.spec_hash, smoke_request)
    if request.strategy is Strategy.CANARY and service.live is not None:
        steps.append(ShareTraffic(service_name=service.name, deployment_name=name, percent=request.canary_percent))
        return Plan(steps=tuple(steps), done=Status.CANARY, deployment_name=name)
    steps.append(ShiftTraffic(service_name=service.name, deployment_name=name))
    kept = service.live if request.keep_previous_hours else None
    steps += [
        RetireDeployment(service_name=service.name, deployment_name=each.name, keep_files=each.name == kept)
        for each in service.deployments
        if each.name != name and each.is_ours and each.created_at <= waiting.created_at
    ]
    return Plan(steps=tuple(steps), done=done_status(request, smoke_request), deployment_name=name)


def _waiting(service: ServiceFacts) -> DeploymentFacts | None:
    """Newer than what serves, without traffic, and neither failed nor the one that is kept for a rollback."""
    live = service.deployment(service.live)
    found = [
        each
        for each in service.deployments
        if each.is_ours
        and each.name not in {service.live, service.previous}
        and not service.traffic.get(each.name)
        and each.state not in _OVER
        and (live is None or each.created_at >= live.created_at)
    ]
    return max(found, key=lambda each: each.created_at, default=None)
