"""What the plans of all targets are made of: whose a service is, the name of the next generation, what a verified end is. Pure."""

from __future__ import annotations

import re

from mlaz_ci.errors import NoCanary, NotOurs
from mlaz_ci.models import (
    Finding,
    ModelVersionName,
    Request,
    ScoreRequest,
    ServiceFacts,
    Shape,
    SmokeTest,
    Snapshot,
    Status,
)
from mlaz_ci.plan import AwaitHealthy, DeleteCompute, DeleteModelVersion, Plan, Step, Verify
from mlaz_ci.serving.scripts import SCORE


def check_owner(request: Request, service: ServiceFacts) -> None:
    """Raises NotOurs for a service of another owner that `take-over` does not name."""
    if service.owner == request.owner or request.take_over == service.name:
        return
    raise NotOurs(f'Service "{service.name}" belongs to {service.owner or "nobody we know"}, not to {request.owner}.')


def findings(request: Request) -> tuple[Finding, ...]:  # noqa: ARG001 - whatever it is
    """Of targets that nothing is to be said of."""
    return ()


def also_delete(request: Request) -> tuple[Step, ...]:
    """What services share is deleted where the request names it, and after the service that uses it."""
    return tuple(
        DeleteModelVersion(
            name=each.name,
            version=each.version,
            owner=request.owner,
            takes_over=request.take_over == each.uri,
        )
        if isinstance(each, ModelVersionName)
        else DeleteCompute(
            name=each.name,
            keeps_resource=each.keeps_resource,
            owner=request.owner,
            takes_over=request.take_over == each.name,
        )
        for each in request.also_delete
    )


def deployment_name(request: Request, snapshot: Snapshot) -> str:
    """The given one, else the next generation, `g1`, `g2`, …: never a name that was used before in this service's record."""
    if request.deployment_name:
        return request.deployment_name
    used = [0]
    if snapshot.service:
        matches = (re.fullmatch(r"g(\d+)", each.name) for each in snapshot.service.deployments)
        used += [int(match.group(1)) for match in matches if match]
    return f"g{max(used) + 1}"


def score_script(_shape: Shape) -> tuple[str, ...]:
    """Where Azure starts the server, our script is all that it runs of ours."""
    return (SCORE,)


def done_status(request: Request, smoke_request: ScoreRequest | None) -> Status:
    """Green means it answers: what nothing was sent to is unverified."""
    is_verified = smoke_request is not None and request.smoke_test is not SmokeTest.OFF
    return Status.HEALTHY if is_verified else Status.UNVERIFIED


def until_verified(
    request: Request, service_name: str, name: str, spec_hash: str, smoke_request: ScoreRequest | None
) -> list[Step]:
    """Wait for a deployment that was started, and demand its answer."""
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
    return steps


def plan_promote(request: Request, snapshot: Snapshot) -> Plan:  # noqa: ARG001 - what is there makes no difference
    """Of targets without canaries. Raises NoCanary."""
    raise NoCanary(
        f'Service "{request.service_name}" has no canary: target {request.target} gives a deployment all of the traffic or none.',
        usually="`promote` and `reject` end what `strategy: canary` began on target managed or kubernetes.",
        remedy="Use `command: deploy`, or `command: rollback`.",
    )


def plan_reject(request: Request, snapshot: Snapshot) -> Plan:
    return plan_promote(request, snapshot)
