"""What a service looks like in an Outcome."""

from __future__ import annotations

from dataclasses import replace

from mlaz_ci.models import DeploymentFacts, Outcome, Request, ScoreRequest, ServiceFacts, Snapshot, Status


def outcome_of_service(
    request: Request, status: Status, service: ServiceFacts | None, deployment_name: str | None = None
) -> Outcome:
    """The service with the deployment of that name, or else the one that has the traffic.

    A canary, or a deployment that nobody could reach, is what its deploy tells of: it is what a later job approves or looks at.
    """
    outcome = Outcome(command=request.command, status=status, target=request.target, service_name=request.service_name)
    if service is None:
        return outcome
    told = service.deployment(deployment_name) or service.deployment(service.live)
    return replace(
        outcome,
        deployment_name=told.name if told else service.live,
        scoring_uri=service.scoring_uri,
        swagger_uri=service.swagger_uri,
        model_name=service.tags.get("mlaz-model"),
        model_version=told.model_version if told else None,
        model_label=told.model_label if told else None,
        lock_hash=told.lock_hash if told else None,
        smoke_request=smoke_request_of(told),
        service=service,
        studio_url=service.studio_url,
    )


def smoke_request_of(deployment: DeploymentFacts | None) -> ScoreRequest | None:
    """What verified it when it was made, where that is on record."""
    if deployment is None or deployment.smoke_body is None:
        return None
    return ScoreRequest(body=deployment.smoke_body.encode(), origin="the request that verified it before")


def model_in(snapshot: Snapshot) -> str | None:
    """The version, or else the place, of the model that has the traffic."""
    live = snapshot.service.deployment(snapshot.service.live) if snapshot.service else None
    return (live.model_version or live.model_label) if live else None
