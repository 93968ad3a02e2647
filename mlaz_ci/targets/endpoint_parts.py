"""What all plans for endpoints ask: may this endpoint be touched, which of its deployments are ours and older. Pure."""

from __future__ import annotations

import hashlib
import re

from mlaz_ci.errors import ServiceNotFound
from mlaz_ci.models import (
    DeploymentFacts,
    DeploymentSpec,
    EndpointUse,
    Request,
    ServiceFacts,
    ServiceState,
    Snapshot,
    Strategy,
)
from mlaz_ci.plan import RetireDeployment, RetireOlder, Step
from mlaz_ci.targets.pieces import check_owner

_AT_WORK = frozenset({ServiceState.CREATING, ServiceState.UPDATING, ServiceState.HEALTHY})


def deployment_name(request: Request, snapshot: Snapshot) -> str:
    """The given one; else the next generation, told apart from what another run may choose at the same moment: `g3-1f0a`.

    In place it is the name of the one that serves.
    """
    live = snapshot.service.live if snapshot.service else None
    if request.strategy is Strategy.IN_PLACE and live:
        return live
    if request.deployment_name:
        return request.deployment_name
    deployments = snapshot.service.deployments if snapshot.service else ()
    matches = (re.match(r"g(\d+)\b", each.name) for each in deployments)
    number = max((int(match[1]) for match in matches if match), default=0) + 1
    # The API creates and overwrites by one verb: equal names of two runs would be one deployment with two wills.
    return f"g{number}-{hashlib.sha256(repr(request).encode()).hexdigest()[:4]}"


def check_endpoint(request: Request, service: ServiceFacts | None) -> None:
    if request.endpoint is EndpointUse.EXISTING:
        if service is None:
            raise ServiceNotFound(
                f'There is no endpoint "{request.service_name}" in the workspace, and `endpoint: existing` makes none.'
            )
        return
    if service:
        check_owner(request, service)


def present(request: Request, snapshot: Snapshot) -> ServiceFacts:
    service = snapshot.service
    if service is None:
        raise ServiceNotFound(f'There is no endpoint "{request.service_name}" in the workspace.')
    check_endpoint(request, service)
    return service


def retire_others(
    request: Request, service: ServiceFacts, own: DeploymentFacts | None, name: str
) -> RetireOlder | None:
    """All of ours that are older than `own` (None: it is made by this plan); with `keep-previous` the one that served stays, without traffic.

    What was kept before stays until then, or until its time is up; strangers' always. A newer one is another run's, at work right now.
    """
    older = [each for each in service.deployments if each.is_ours and (own is None or _is_older(each, own))]
    is_change = own is None or own.name != service.live
    kept = (service.live if request.keep_previous_hours else None) if is_change else _kept_on(service)
    known = [each.name for each in older if is_change or (each.state.is_settled and each.name != kept)]
    if not known and not is_change:
        return None
    return RetireOlder(service_name=service.name, deployment_name=name, known=tuple(known), kept=kept)


def _kept_on(service: ServiceFacts) -> str | None:
    previous = service.deployment(service.previous)
    return previous.name if previous and not previous.is_expired else None


def retire_expired(service: ServiceFacts) -> list[Step]:
    """What was kept for a rollback and has had its time: for plans that leave the others where they are."""
    return [
        RetireDeployment(service_name=service.name, deployment_name=each.name, keep_files=False)
        for each in service.deployments
        if each.is_ours and each.is_expired
    ]


def _is_older(one: DeploymentFacts, other: DeploymentFacts) -> bool:
    return one.name != other.name and (one.created_at, one.name) < (other.created_at, other.name)


def live_if_same(spec: DeploymentSpec, service: ServiceFacts) -> DeploymentFacts | None:
    """The live deployment if it is healthy and serves exactly what is asked for, with all the traffic."""
    live = service.deployment(service.live)
    if live is None or live.spec_hash != spec.spec_hash or live.state is not ServiceState.HEALTHY:
        return None
    return live if service.traffic.get(live.name, 0) == 100 else None


def begun_before(spec: DeploymentSpec, service: ServiceFacts) -> DeploymentFacts | None:
    """The newest of ours that is of this very spec: begun by a run that died, or by one that is at it now."""
    equal = [each for each in service.deployments if each.is_ours and each.spec_hash == spec.spec_hash]
    able = [each for each in equal if each.state in _AT_WORK]
    return max(able, key=lambda each: each.created_at, default=None)
