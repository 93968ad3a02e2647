"""What only asks, or goes on waiting: `status`, `invoke`, `migrate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from mlaz_ci.errors import MissingInput, MlazError, NotReachable, ServiceBusy, ServiceNotFound, ServiceNotRunning
from mlaz_ci.models import Command, Outcome, ScoreRequest, ServiceFacts, ServiceState, SmokeTest, Snapshot, Status
from mlaz_ci.operations.bodies import read_request, read_smoke_test
from mlaz_ci.operations.course import Course
from mlaz_ci.operations.told import outcome_of_service

_STATUS_OF_STATE: Final = {
    ServiceState.ABSENT: Status.ABSENT,
    ServiceState.CREATING: Status.CREATING,
    ServiceState.UPDATING: Status.UPDATING,
    ServiceState.HEALTHY: Status.HEALTHY,
    ServiceState.UNHEALTHY: Status.UNHEALTHY,
    ServiceState.FAILED: Status.FAILED,
    ServiceState.STOPPED: Status.FAILED,
}


def status(job: Course) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    if "wait" in job.request.given and job.request.wait and (finished := _finish(job, before)):
        return finished
    service = before.service
    if service is None:
        return outcome_of_service(job.request, Status.ABSENT, None)
    outcome = outcome_of_service(job.request, _STATUS_OF_STATE[service.state], service)
    reason = service.detail if service.state is ServiceState.HEALTHY else f"Reason: {service.detail}."
    return replace(outcome, notes=(reason,) if service.detail else ())


def _finish(job: Course, before: Snapshot) -> Outcome | None:
    """What a deploy with `wait: false` began, taken to its end; None where nothing is under way."""
    if job.rules.plan_finish(job.request, before, None) is None:
        return None
    smoke_request = _smoke_request_of_waiting(job, before)
    plan = job.rules.plan_finish(job.request, before, smoke_request)
    assert plan is not None, "the smoke test decides nothing of whether there is something to finish"
    return replace(job.outcome(plan, job.execute(plan), before), smoke_request=smoke_request)


def _smoke_request_of_waiting(job: Course, before: Snapshot) -> ScoreRequest | None:
    """The user's file, what the deploy left with the deployment, or the example of the model if the step names it."""
    if job.request.smoke_test is SmokeTest.OFF:
        return None
    if job.request.smoke_test_file is not None:
        return read_smoke_test(job.request.smoke_test_file)
    plan = job.rules.plan_finish(job.request, before, None)
    facts = before.service.deployment(plan.deployment_name) if before.service and plan else None
    if facts is not None and facts.smoke_body is not None:
        return ScoreRequest(body=facts.smoke_body.encode(), origin="the smoke test of its deploy")
    if job.request.source is not None:
        job.model = job.ports.store.resolve(job.request.source, name=job.request.model_name)
        return job.smoke_request(job.model)
    if job.request.smoke_test is SmokeTest.REQUIRED:
        raise MissingInput(
            "There is nothing to smoke-test the deployment with.",
            usually="`status` with `wait: true` ends a deploy, and was not told which model that deployed.",
            remedy="Give the same `run-id` or `model-uri` as the deploy, or `smoke-test-file`, or set `smoke-test: off`.",
        )
    return None


def invoke(job: Course) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    file = job.request.request_file
    if file is None:
        raise MissingInput("`request-file` is missing.", usually="`invoke` sends a file to the service.")
    body = read_request(file, "request-file")
    service = _known_service(job)
    try:
        answer = job.ports.serving.score(job.request.service_name, None, body)
    except NotReachable as error:
        raise _why_unreachable(_known_service(job), error) from error
    return replace(outcome_of_service(job.request, Status.INVOKED, service), response=answer)


def _known_service(job: Course) -> ServiceFacts:
    service = job.ports.serving.snapshot(job.request.service_name).service
    if service is None:
        raise ServiceNotFound(f'There is no {job.request.target} service "{job.request.service_name}".')
    return service


def _why_unreachable(service: ServiceFacts, error: NotReachable) -> MlazError:
    """What does not run is not out of reach: somebody else must act."""
    what = f'Service "{service.name}" on {service.target} does not answer'
    match service.state:
        case ServiceState.FAILED | ServiceState.STOPPED | ServiceState.UNHEALTHY:
            return ServiceNotRunning(f"{what}: {service.detail or service.state}.", log=error.log)
        case ServiceState.CREATING | ServiceState.UPDATING:
            return ServiceBusy(
                f"{what} yet: it is {service.state}.",
                usually="A deploy is under way, or one with `wait: false` was not taken to its end.",
                remedy="Run `command: status` with `wait: true`, then invoke it.",
            )
        case _:
            return error


def migrate(job: Course) -> Outcome:
    """Read-only: what a live v1 service would be as its successor."""
    assert job.ports.legacy is not None, "wiring gives it to the side that has v1 services"
    document = job.ports.legacy.migration(job.request.service_name)
    return Outcome(
        command=Command.MIGRATE,
        status=Status.PLANNED,
        target=job.request.target,
        service_name=job.request.service_name,
        document=document,
    )
