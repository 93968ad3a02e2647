"""What is there, as values: a service by its record, its folders and its processes. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mlaz_ci.adapters.local_process.place import Place, places
from mlaz_ci.adapters.local_process.record import Record, read_manifest, readable_manifests
from mlaz_ci.errors import RecordUnreadable
from mlaz_ci.models import DeploymentFacts, Observation, ServiceFacts, ServiceState, Target


def service_facts(folder: Path, record: Record, host: str) -> ServiceFacts:
    deployments = tuple(_deployment_facts(record, each, host) for each in places(folder))
    live = next((each for each in deployments if each.name == record.live), None)
    state = live.state if live else _state_before_traffic(deployments)
    return ServiceFacts(
        name=record.name,
        target=Target.LOCAL,
        state=state,
        owner=record.owner,
        scoring_uri=f"http://{host}:{record.port}/score",
        swagger_uri=f"http://{host}:{record.port}/swagger.json",
        port=record.port,
        live=record.live,
        previous=record.previous,
        deployments=deployments,
        tags=record.tags,
        created_at=record.created_at,
        detail=live.detail if live else "no deployment of it has had its traffic yet",
    )


def _state_before_traffic(deployments: Sequence[DeploymentFacts]) -> ServiceState:
    """Of a service none of whose deployments has served yet: a deploy that did not wait is under way, or one has failed."""
    is_under_way = any(each.state in {ServiceState.CREATING, ServiceState.HEALTHY} for each in deployments)
    return ServiceState.CREATING if is_under_way else ServiceState.FAILED


def service_facts_without_record(folder: Path, error: RecordUnreadable, host: str, now: datetime) -> ServiceFacts:
    """Who owns it is in every manifest too, so that cleanup knows whether it may."""
    manifests = readable_manifests(folder)
    owners = {each.owner for each in manifests}
    stand_in = Record(
        name=folder.name,
        owner=owners.pop() if len(owners) == 1 else "",
        port=0,
        created_at=min((each.created_at for each in manifests), default=now),
        tags=manifests[-1].tags if manifests else {},
    )
    facts = service_facts(folder, stand_in, host)
    # Which of its deployments is live is what the record would say: whatever still runs there, no run can go on with it.
    return replace(facts, state=ServiceState.FAILED, detail=error.what, port=None, scoring_uri=None, swagger_uri=None)


def _deployment_facts(record: Record, place: Place, host: str) -> DeploymentFacts:
    try:
        manifest = read_manifest(place.folder)
    except RecordUnreadable as error:
        return DeploymentFacts(
            name=place.name,
            state=ServiceState.FAILED,
            spec_hash="",
            lock_hash="",
            model_label="",
            model_version=None,
            created_at=record.created_at,
            detail=error.what,
        )
    observation = place.look(host)
    if place.name == record.live:
        observation = _as_live(place, observation, host)
    identity = place.identity
    return DeploymentFacts(
        name=place.name,
        state=observation.state,
        spec_hash=manifest.spec_hash,
        lock_hash=manifest.lock.hash,
        model_label=manifest.model_label,
        model_version=manifest.model_version,
        created_at=manifest.created_at,
        detail=observation.detail,
        port=identity.port if identity else None,
        smoke_body=manifest.smoke_body,
    )


def _as_live(place: Place, observation: Observation, host: str) -> Observation:
    """The deployment that should have the traffic is healthy only if it has it."""
    if observation.state is ServiceState.STOPPED:
        return Observation(state=ServiceState.FAILED, detail="it was stopped, and not started again")
    if observation.state is not ServiceState.HEALTHY or place.is_serving():
        return observation
    # It may have ended since it answered, and what has ended cannot be asked either.
    again = place.look(host)
    if again.state is not ServiceState.HEALTHY:
        return again
    if place.living() is None:
        return place.look(host)
    return Observation(state=ServiceState.FAILED, detail="it was started again and does not have its port yet")
