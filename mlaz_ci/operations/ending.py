"""What ends a deployment or its canary: `cleanup`, `rollback`, `promote`, `reject`."""

from __future__ import annotations

from dataclasses import replace

from mlaz_ci.models import Command, Outcome, ScoreRequest, Snapshot, Status
from mlaz_ci.operations.bodies import read_smoke_test
from mlaz_ci.operations.course import Course
from mlaz_ci.operations.told import outcome_of_service, smoke_request_of


def cleanup(job: Course) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    plan = job.rules.plan_cleanup(job.request, before)
    if job.request.dry_run:
        outcome = outcome_of_service(job.request, Status.PLANNED, before.service)
        return replace(outcome, plan=plan.describe() or ("nothing: there is no such service",))
    execution = job.execute(plan) if plan.steps else None
    outcome = job.outcome(plan, execution, before)
    # Of what was named nothing was there.
    return replace(outcome, status=Status.ABSENT) if before.service is None and not outcome.mutations else outcome


def rollback(job: Course) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    smoke_request = _smoke_request_of_previous(job, before)
    plan = job.rules.plan_rollback(job.request, before, smoke_request)
    if job.request.dry_run:
        outcome = outcome_of_service(job.request, Status.PLANNED, before.service)
        return replace(outcome, plan=plan.describe(), notes=plan.notes)
    return replace(job.outcome(plan, job.execute(plan), before), smoke_request=smoke_request)


def _smoke_request_of_previous(job: Course, before: Snapshot) -> ScoreRequest | None:
    """The user's file, else what verified that deployment when it was made."""
    if job.request.smoke_test_file is not None:
        return read_smoke_test(job.request.smoke_test_file)
    return smoke_request_of(before.service.deployment(before.service.previous) if before.service else None)


def end_canary(job: Course) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    is_promote = job.request.command is Command.PROMOTE
    plan = (job.rules.plan_promote if is_promote else job.rules.plan_reject)(job.request, before)
    if job.request.dry_run:
        return replace(outcome_of_service(job.request, Status.PLANNED, before.service), plan=plan.describe())
    return job.outcome(plan, job.execute(plan), before)
