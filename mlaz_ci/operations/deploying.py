"""`deploy`: resolve, check, plan, carry out, tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlaz_ci.errors import InapplicableInput
from mlaz_ci.models import DeploymentSpec, Finding, ModelRef, Outcome, Request, Severity, Snapshot, Status
from mlaz_ci.operations.course import Course
from mlaz_ci.operations.told import model_in, outcome_of_service
from mlaz_ci.plan import Plan, begun
from mlaz_ci.serving.scripts import script_texts
from mlaz_ci.serving.swagger import render_swagger


def deploy(job: Course) -> Outcome:
    request, rules = job.request, job.rules
    rules.check_service_name(request.service_name)
    model, lock = job.resolve_and_check()
    smoke_request = job.smoke_request(model)
    before = job.ports.serving.snapshot(request.service_name)
    spec = DeploymentSpec(
        service_name=request.service_name,
        deployment_name=rules.deployment_name(request, before),
        model=model,
        lock=lock,
        shape=request.shape,
        files={
            **script_texts(rules.scripts(request.shape)),
            **render_swagger(model.facts.signature, request.service_name, smoke_request),
        },
        tags=_tags(request, model),
        owner=request.owner,
        smoke_request=smoke_request,
        environment=request.azureml_environment,
        replaces=before.service.live if before.service else None,
    )
    plan = rules.plan_deploy(request, spec, before, smoke_request)
    if plan.steps:
        job.inspect_room()
    if not request.wait:
        _check_may_leave(job)
        plan = begun(plan)
    if request.dry_run:
        return _planned_deploy(job, spec, before, plan)
    execution = job.execute(plan) if plan.steps else None
    if execution and not job.ports.store.keep_lock(model, lock) and model.run_id:
        code, what = "lock-not-kept", f"The lock {lock.hash} could not be left with run {model.run_id}."
        remedy = "The next deploy resolves the requirements anew; allow writing to the run to avoid that."
        job.find([Finding(code=code, severity=Severity.NOTICE, what=what, remedy=remedy)])
    outcome = replace(job.outcome(plan, execution, before), smoke_request=smoke_request)
    return _end_with_process(job, outcome) if job.serves_only_while_running else outcome


def _check_may_leave(job: Course) -> None:
    if job.serves_only_while_running:
        raise InapplicableInput(
            "`wait: false` cannot be had in a container without the Docker socket: what is served ends with the step.",
            remedy="Leave `wait` out, or run on a runner that mounts the socket.",
        )


def _planned_deploy(job: Course, spec: DeploymentSpec, before: Snapshot, plan: Plan) -> Outcome:
    """The service as it is, with the model that would be served."""
    model = spec.model
    return replace(
        outcome_of_service(job.request, Status.PLANNED, before.service),
        model_name=model.name,
        model_version=model.version,
        model_label=model.label,
        previous_model_version=model_in(before),
        lock_hash=spec.lock.hash,
        smoke_request=spec.smoke_request,
        plan=plan.describe() or ("nothing: the service already serves this",),
        notes=plan.notes,
        findings=tuple(job.findings),
        timings=tuple(job.timings),
    )


def _end_with_process(job: Course, outcome: Outcome) -> Outcome:
    """Without a place for a service to live on, what was verified is stopped, and the report says so."""
    job.ports.serving.delete(job.request.service_name)
    note = (
        "Served, verified and stopped: in a container without the Docker socket nothing can go on serving "
        "after this step. Run on a runner that mounts the socket, or use the command line on the machine itself."
    )
    return replace(outcome, scoring_uri=None, swagger_uri=None, notes=(*outcome.notes, note))


def _tags(request: Request, model: ModelRef) -> Mapping[str, str]:
    """The user's tags and ours; ours win, since ownership is read from them."""
    origin = request.origin
    ours = {
        "managed-by": "mlaz-ci",
        "mlaz-owner": request.owner,
        "mlaz-repository": origin.get("repository", ""),
        "mlaz-commit": origin.get("commit", ""),
        "mlaz-run": origin.get("run", ""),
        "mlaz-model": model.name,
    }
    return {**request.tags, **{name: value for name, value in ours.items() if value}}
