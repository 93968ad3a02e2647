"""Plans for services that hold one deployment and change in place: v1's web services. Pure; it knows no target by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlaz_ci.errors import NothingToRollBackTo, RecreateNotAllowed, ServiceNotFound
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
    Strategy,
    Target,
)
from mlaz_ci.plan import (
    AwaitHealthy,
    BuildEnvironment,
    DeleteService,
    EnsureCluster,
    FetchModel,
    Plan,
    RegisterModel,
    RestoreDeployment,
    StartDeployment,
    Step,
    Together,
    UpdateDeployment,
)
from mlaz_ci.targets.pieces import also_delete, check_owner, done_status, until_verified

_VERIFIED_LATE = "A service of this kind changes in place: the new model answers users before it can be smoke-tested."
_PUT_BACK_UNSEEN = (
    "A service of this kind changes in place: what is put back answers users before it can be smoke-tested."
)
_NOT_RESTORABLE = (
    "What the service serves now was not deployed by this action, and Azure does not tell enough of it to put it back: "
    "if the new deployment fails, the old one is lost."
)


def plan_deploy(
    request: Request,
    spec: DeploymentSpec,
    snapshot: Snapshot,
    smoke_request: ScoreRequest | None,
    *,
    target: Target,
    fixed: Mapping[str, Any],
    notes_when_new: tuple[str | None, ...] = (),
) -> Plan:
    """Create, or change in place and put back what served before if that fails; an equal healthy service is left alone.

    `fixed` is what was asked for and is set once, when a service is created. Raises NotOurs, RecreateNotAllowed.
    """
    service = snapshot.service
    if service:
        check_owner(request, service)
    if service and (same := _same(request, spec, service)):
        return _plan_for_same(request, spec, service, same, smoke_request)
    live = service.deployment(service.live) if service else None
    differences = _differences(service, target, fixed) if service else ()
    if service and request.strategy is Strategy.RECREATE:
        differences += ("`strategy: recreate` was asked for",)
    # What failed before it ever served is made anew: there is nothing in it to keep.
    is_update = service is not None and live is not None and not differences
    if live and service and differences and not request.allow_recreate:
        raise _recreate_not_allowed(service, differences)
    steps = _prepare(spec)
    if service and not is_update:
        steps.append(DeleteService(service_name=service.name, loses=_loses(service, live) if live else ""))
    steps.append(UpdateDeployment(spec=spec) if is_update else StartDeployment(spec=spec, is_service=True))
    steps += until_verified(request, spec.service_name, spec.deployment_name, spec.spec_hash, smoke_request)
    can_restore = bool(live and live.can_be_restored)
    notes = [_VERIFIED_LATE] if is_update else [note for note in notes_when_new if note]
    if is_update and not can_restore:
        notes.append(_NOT_RESTORABLE)
    if live and differences:
        notes.append(_recreated(differences, can_restore=can_restore))
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


def _same(request: Request, spec: DeploymentSpec, service: ServiceFacts) -> DeploymentFacts | None:
    """What serves there, or is about to, if it is what was asked for and is ours already."""
    newest = service.deployment(service.live) or next(iter(service.deployments), None)
    is_same = newest is not None and newest.spec_hash == spec.spec_hash and service.owner == request.owner
    is_well = service.state in {ServiceState.HEALTHY, ServiceState.CREATING, ServiceState.UPDATING}
    return newest if is_same and is_well else None


def _plan_for_same(
    request: Request,
    spec: DeploymentSpec,
    service: ServiceFacts,
    same: DeploymentFacts,
    smoke_request: ScoreRequest | None,
) -> Plan:
    """Nothing to do, or to wait for what a run before began and did not see the end of."""
    if service.state.is_settled:
        return Plan(steps=(), done=Status.UNCHANGED, deployment_name=same.name)
    return Plan(
        steps=tuple(until_verified(request, service.name, same.name, spec.spec_hash, smoke_request)),
        done=done_status(request, smoke_request),
        deployment_name=same.name,
        notes=("A run before began this deployment; it is waited for.",),
    )


def _prepare(spec: DeploymentSpec) -> list[Step]:
    """What needs nothing of each other is done at once: a cluster alone takes 20 minutes."""
    fetch: list[Step] = [] if spec.model.is_in_workspace else [FetchModel(model=spec.model)]
    at_once: list[Step] = [RegisterModel(model=spec.model, tags=spec.tags), BuildEnvironment(lock=spec.lock)]
    if spec.azure_shape.cluster:
        at_once.insert(0, EnsureCluster(cluster=spec.azure_shape.cluster, tags=spec.tags))
    return [*fetch, Together(steps=tuple(at_once))]


def _differences(service: ServiceFacts, target: Target, fixed: Mapping[str, Any]) -> tuple[str, ...]:
    """What was asked for and cannot be had without a new service, each as a clause. What Azure does not tell is taken to be equal."""
    found = [] if service.target is target else [f"it is of target {service.target}, not {target}"]
    for name, wanted in fixed.items():
        there = service.settings.get(name)
        if there is not None and not _is_equal(there, wanted):
            found.append(f"its `{name}` is {there}, not {wanted}")
    return tuple(found)


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other)
    # Azure writes a region as "eastus" and as "East US".
    return str(one).lower().replace(" ", "") == str(other).lower().replace(" ", "")


def _recreate_not_allowed(service: ServiceFacts, differences: tuple[str, ...]) -> RecreateNotAllowed:
    uri = f" ({service.scoring_uri})" if service.scoring_uri else ""
    return RecreateNotAllowed(
        f'Service "{service.name}" cannot become what was asked for while it exists: {"; ".join(differences)}. '
        f"Deleted and created anew, it would get a new URL{uri}, a new IP address and new keys, and serve nobody meanwhile."
    )


def _recreated(differences: tuple[str, ...], *, can_restore: bool) -> str:
    end = (
        "If the new one fails, the old one is made anew as it was, with its keys and at another address."
        if can_restore
        else "If the new one fails, the old one is lost: Azure does not tell enough of it to make it anew."
    )
    return (
        f"The service is deleted and created anew, because {'; '.join(differences)}: its URL, IP address and keys change, "
        f"and it serves nobody meanwhile. {end}"
    )


def _loses(service: ServiceFacts, live: DeploymentFacts) -> str:
    had = ", ".join(f"{name}: {value}" for name, value in service.settings.items() if name != "dns_name_label")
    where = f" at {service.scoring_uri}" if service.scoring_uri else ""
    named = f"`model-uri: models:/{live.model_label}`" if live.model_version else "the model that it served"
    return (
        f'Service "{service.name}" is gone: it was deleted to be made anew. It served {live.model_label or "a model"}{where}. '
        f"To have it back, deploy {named}{f' with what it had ({had})' if had else ''}; its address and its keys will be new."
    )


def _undo(spec: DeploymentSpec, restorable: str | None, *, is_update: bool) -> tuple[Step, ...]:
    made: tuple[Step, ...] = () if is_update else (DeleteService(service_name=spec.service_name),)
    if restorable is None:
        return made
    return (
        *made,
        RestoreDeployment(service_name=spec.service_name, deployment_name=restorable),
        AwaitHealthy(service_name=spec.service_name, deployment_name=restorable),
    )


def plan_cleanup(request: Request, snapshot: Snapshot) -> Plan:
    """Delete the service; absent is success."""
    also = also_delete(request)
    if snapshot.service is None:
        return Plan(steps=also, done=Status.DELETED if also else Status.ABSENT, carries_on=True)
    check_owner(request, snapshot.service)
    steps = (DeleteService(service_name=snapshot.service.name), *also)
    return Plan(steps=steps, done=Status.DELETED, carries_on=True)


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
        notes=(_PUT_BACK_UNSEEN,),
    )


def _previous(service: ServiceFacts) -> DeploymentFacts:
    previous = service.deployment(service.previous)
    if previous is None:
        raise NothingToRollBackTo(f'Service "{service.name}" has no deployment that served before "{service.live}".')
    if not previous.can_be_restored:
        raise NothingToRollBackTo(
            f'Deployment "{previous.name}" of service "{service.name}" cannot be put back: it had other environment variables than the service has now.',
            usually="Their values are kept nowhere but in the running service, so that a secret that was changed is not readable for ever.",
            remedy=f"Deploy `model-uri: models:/{previous.model_label}`, with the `environment-variables` that it shall have.",
        )
    return previous
