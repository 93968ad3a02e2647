"""The verbs of the program in one place: a Request and the ports in, an Outcome out. Nothing here exits, prints or reads the environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from mlaz_ci.checks import examine, raise_on_errors
from mlaz_ci.errors import (
    FileNotFound,
    InapplicableInput,
    InvalidInput,
    MissingInput,
    MlazError,
    NotInThisVersion,
    NotReachable,
    ServiceBusy,
    ServiceNotFound,
    ServiceNotRunning,
)
from mlaz_ci.execute import Execution, Ports
from mlaz_ci.models import (
    Command,
    DeploymentFacts,
    DeploymentSpec,
    Failure,
    Finding,
    Lock,
    ModelRef,
    OnFailure,
    Outcome,
    Request,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    Severity,
    SmokeTest,
    Snapshot,
    Status,
    Timing,
)
from mlaz_ci.plan import Plan, begun
from mlaz_ci.ports import Resolver
from mlaz_ci.serving.lock import locked_packages
from mlaz_ci.serving.matrix import SERVER_PACKAGE
from mlaz_ci.serving.scripts import script_texts
from mlaz_ci.serving.smoke import choose_smoke_request
from mlaz_ci.serving.swagger import render_swagger
from mlaz_ci.targets import TargetRules, rules_of

_TOLD_PACKAGES: Final = ("mlflow", SERVER_PACKAGE)


@dataclass(kw_only=True)
class Job:
    """One command on its way: what it was asked, what it holds, and what it has found and done so far."""

    request: Request
    ports: Ports
    resolver: Resolver
    serves_only_while_running: bool = False
    """True in a container without a Docker socket: what is served ends with this process."""
    findings: list[Finding] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    execution: Execution | None = None
    model: ModelRef | None = None
    deadline_s: float = 0.0

    def run(self) -> Outcome:
        """Carry out the command. Raises MlazError; `failure_of` then tells what was done until there."""
        self.deadline_s = self.ports.clock.now_s() + self.request.deadline_s
        verb = _VERBS.get(self.request.command)
        if verb is None:
            built = ", ".join(_VERBS)
            raise NotInThisVersion(f'Command "{self.request.command}" is not in this version; built: {built}.')
        return verb(self)

    def failure_of(self, error: MlazError) -> Failure:
        """What a report of `error` needs to know."""
        execution = self.execution
        return Failure(
            error=error,
            command=self.request.command,
            target=self.request.target,
            service_name=self.request.service_name,
            model_label=self.model.label if self.model else None,
            mutations=tuple(execution.mutations) if execution else (),
            left_behind=tuple(execution.left_behind) if execution else (),
            timings=(*self.timings, *(execution.timings if execution else ())),
            findings=tuple(self.findings),
        )

    # --- pieces of the verbs ----------------------------------------------------------------------------------------

    @property
    def rules(self) -> TargetRules:
        return rules_of(self.request.target)

    @contextmanager
    def phase(self, phase: str) -> Iterator[None]:
        """Timed for the report, and told while it goes on where it takes long."""
        began_s = self.ports.clock.now_s()
        try:
            with self.ports.platform.progress(phase.capitalize()):
                yield
        finally:
            self.timings.append(Timing(phase=phase, duration_s=self.ports.clock.now_s() - began_s))

    def find(self, findings: Iterable[Finding]) -> None:
        """Keep and show findings; errors among them are raised once all are shown."""
        new = tuple(findings)
        self.findings += new
        for each in new:
            if each.severity is not Severity.ERROR:
                text = " ".join(part for part in (each.what, each.usually, each.remedy) if part)
                self.ports.platform.annotate(each.severity, each.code, text)

    def resolve_and_check(self) -> tuple[ModelRef, Lock]:
        if self.request.source is None:
            raise MissingInput("No model was named.", remedy="Give `run-id`, or `model-uri`.")
        if (file := self.request.smoke_test_file) is not None:
            # What is wrong with it is known before anything else is asked.
            _read_smoke_test(file)
        self.find(self.rules.findings(self.request))
        self.inspect()
        with self.phase("resolve the model"):
            self.model = self.ports.store.resolve(self.request.source, name=self.request.model_name)
        self.ports.platform.info(f"Model: {self.model.label}")
        with self.phase("check"):
            examination = examine(self.model, self.request, self.resolver)
        self.find(examination.findings)
        raise_on_errors(examination.findings)
        assert examination.lock is not None
        self.ports.platform.info(f"Environment: {examination.lock.hash} (Python {examination.lock.python_version})")
        return self.model, examination.lock

    def inspect(self) -> None:
        """What stands in the way there, before anything is resolved: a missing role is seen in a second."""
        if self.ports.premises is not None:
            with self.phase("look at the workspace"):
                findings = self.ports.premises.inspect(self.request)
            self.find(findings)
            raise_on_errors(findings)

    def inspect_room(self) -> None:
        """Whether there is room and leave for a change. Not asked where nothing is to be changed."""
        if self.ports.room is not None:
            with self.phase("look for room and leave"):
                findings = self.ports.room.inspect_room(self.request)
            self.find(findings)
            raise_on_errors(findings)

    def smoke_request(self, model: ModelRef) -> ScoreRequest | None:
        """The request that proves the service: the user's file, the model's example, or a sample of its signature."""
        file = self.request.smoke_test_file
        chosen = _read_smoke_test(file) if file else choose_smoke_request(model.facts)
        if chosen is None and self.request.smoke_test is SmokeTest.REQUIRED:
            raise MissingInput(
                f"There is no request to smoke-test {model.label} with.",
                usually="The model was logged without an input example and without a signature.",
                remedy="Log it with `input_example=…`, or give `smoke-test-file`, or set `smoke-test: off`.",
            )
        return chosen

    def execute(self, plan: Plan) -> Execution:
        # Before the first wait: a cancelled job must still learn what to clean up.
        self.ports.platform.set_output("service-name", self.request.service_name)
        for note in plan.notes:
            self.ports.platform.info(note)
        self.execution = Execution(ports=self.ports, deadline_s=self.deadline_s)
        try:
            self.execution.carry_out(plan)
        except BaseException:
            is_kept = self.execution.mutations and not self.execution.has_shifted and not plan.undo
            if is_kept and self.request.on_failure is OnFailure.KEEP and plan.deployment_name:
                name = f"{self.request.service_name}/{plan.deployment_name}"
                how = (
                    "(`on-failure: keep`): it is all that the service's callers reach"
                    if plan.serves_at_once
                    else "without traffic (`on-failure: keep`)"
                )
                self.execution.left_behind.append(f"{name} was kept {how}.")
            raise
        return self.execution

    def outcome(self, plan: Plan, execution: Execution | None, before: Snapshot) -> Outcome:
        """What is there now, as it was read after the last change, with what was done."""
        after = before if execution is None else self._after()
        done, notes = plan.done, [*plan.notes]
        if execution:
            notes += execution.notes
            if execution.is_unverified:
                done = Status.UNVERIFIED
        outcome = _outcome_of_service(self.request, done, after.service, plan.deployment_name)
        model = self.model
        return replace(
            outcome,
            model_name=model.name if model else outcome.model_name,
            previous_model_version=_model_in(before),
            changed=bool(execution and execution.mutations),
            findings=tuple(self.findings),
            mutations=tuple(execution.mutations) if execution else (),
            timings=(*self.timings, *(execution.timings if execution else ())),
            smoke_test=execution.smoke_test if execution else None,
            notes=tuple(notes),
        )

    def _after(self) -> Snapshot:
        name = self.request.service_name
        left = self.ports.endpoints.left(name) if self.ports.endpoints else None
        return left or self.ports.serving.snapshot(name)


def _outcome_of_service(
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
        smoke_request=_smoke_request_of(told),
        service=service,
        studio_url=service.studio_url,
    )


def _smoke_request_of(deployment: DeploymentFacts | None) -> ScoreRequest | None:
    """What verified it when it was made, where that is on record."""
    if deployment is None or deployment.smoke_body is None:
        return None
    return ScoreRequest(body=deployment.smoke_body.encode(), origin="the request that verified it before")


def _deploy(job: Job) -> Outcome:
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


def _check_may_leave(job: Job) -> None:
    if job.serves_only_while_running:
        raise InapplicableInput(
            "`wait: false` cannot be had in a container without the Docker socket: what is served ends with the step.",
            remedy="Leave `wait` out, or run on a runner that mounts the socket.",
        )


def _planned_deploy(job: Job, spec: DeploymentSpec, before: Snapshot, plan: Plan) -> Outcome:
    """The service as it is, with the model that would be served."""
    model = spec.model
    return replace(
        _outcome_of_service(job.request, Status.PLANNED, before.service),
        model_name=model.name,
        model_version=model.version,
        model_label=model.label,
        previous_model_version=_model_in(before),
        lock_hash=spec.lock.hash,
        smoke_request=spec.smoke_request,
        plan=plan.describe() or ("nothing: the service already serves this",),
        notes=plan.notes,
        findings=tuple(job.findings),
        timings=tuple(job.timings),
    )


def _model_in(snapshot: Snapshot) -> str | None:
    """The version, or else the place, of the model that has the traffic."""
    live = snapshot.service.deployment(snapshot.service.live) if snapshot.service else None
    return (live.model_version or live.model_label) if live else None


def _end_with_process(job: Job, outcome: Outcome) -> Outcome:
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


def _doctor(job: Job) -> Outcome:
    if job.request.service_name:
        job.rules.check_service_name(job.request.service_name)
    job.inspect_room()
    model, lock = job.resolve_and_check()
    smoke_request = job.smoke_request(model)
    return Outcome(
        command=Command.DOCTOR,
        status=Status.PASSED,
        target=job.request.target,
        service_name=job.request.service_name,
        model_name=model.name,
        model_version=model.version,
        model_label=model.label,
        lock_hash=lock.hash,
        smoke_request=smoke_request,
        findings=tuple(job.findings),
        timings=tuple(job.timings),
        notes=tuple(_what_passed(lock, smoke_request)),
    )


def _what_passed(lock: Lock, smoke_request: ScoreRequest | None) -> Iterator[str]:
    """What a deploy would build and send."""
    told = [f"{name} {version}" for name in _TOLD_PACKAGES if (version := lock.version_of(name))]
    which = f", {' and '.join(told)} among them" if told else ""
    count = len(locked_packages(lock.text))
    yield f"{count} packages can be installed together for Python {lock.python_version}{which}."
    if smoke_request:
        yield f"The smoke test would send {smoke_request.origin}."


def _cleanup(job: Job) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    plan = job.rules.plan_cleanup(job.request, before)
    if job.request.dry_run:
        outcome = _outcome_of_service(job.request, Status.PLANNED, before.service)
        return replace(outcome, plan=plan.describe() or ("nothing: there is no such service",))
    execution = job.execute(plan) if plan.steps else None
    outcome = job.outcome(plan, execution, before)
    # Of what was named nothing was there.
    return replace(outcome, status=Status.ABSENT) if before.service is None and not outcome.mutations else outcome


_STATUS_OF_STATE: Final = {
    ServiceState.ABSENT: Status.ABSENT,
    ServiceState.CREATING: Status.CREATING,
    ServiceState.UPDATING: Status.UPDATING,
    ServiceState.HEALTHY: Status.HEALTHY,
    ServiceState.UNHEALTHY: Status.UNHEALTHY,
    ServiceState.FAILED: Status.FAILED,
    ServiceState.STOPPED: Status.FAILED,
}


def _status(job: Job) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    if "wait" in job.request.given and job.request.wait and (finished := _finish(job, before)):
        return finished
    service = before.service
    if service is None:
        return _outcome_of_service(job.request, Status.ABSENT, None)
    outcome = _outcome_of_service(job.request, _STATUS_OF_STATE[service.state], service)
    reason = service.detail if service.state is ServiceState.HEALTHY else f"Reason: {service.detail}."
    return replace(outcome, notes=(reason,) if service.detail else ())


def _finish(job: Job, before: Snapshot) -> Outcome | None:
    """What a deploy with `wait: false` began, taken to its end; None where nothing is under way."""
    if job.rules.plan_finish(job.request, before, None) is None:
        return None
    smoke_request = _smoke_request_of_waiting(job, before)
    plan = job.rules.plan_finish(job.request, before, smoke_request)
    assert plan is not None, "the smoke test decides nothing of whether there is something to finish"
    return replace(job.outcome(plan, job.execute(plan), before), smoke_request=smoke_request)


def _smoke_request_of_waiting(job: Job, before: Snapshot) -> ScoreRequest | None:
    """The user's file, what the deploy left with the deployment, or the example of the model if the step names it."""
    if job.request.smoke_test is SmokeTest.OFF:
        return None
    if job.request.smoke_test_file is not None:
        return _read_smoke_test(job.request.smoke_test_file)
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


def _invoke(job: Job) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    file = job.request.request_file
    if file is None:
        raise MissingInput("`request-file` is missing.", usually="`invoke` sends a file to the service.")
    body = _read_request(file, "request-file")
    service = _known_service(job)
    try:
        answer = job.ports.serving.score(job.request.service_name, None, body)
    except NotReachable as error:
        raise _why_unreachable(_known_service(job), error) from error
    return replace(_outcome_of_service(job.request, Status.INVOKED, service), response=answer)


def _known_service(job: Job) -> ServiceFacts:
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


def _smoke_request_of_previous(job: Job, before: Snapshot) -> ScoreRequest | None:
    """The user's file, else what verified that deployment when it was made."""
    if job.request.smoke_test_file is not None:
        return _read_smoke_test(job.request.smoke_test_file)
    return _smoke_request_of(before.service.deployment(before.service.previous) if before.service else None)


def _read_smoke_test(file: Path) -> ScoreRequest:
    """Raises FileNotFound, and InvalidInput for what every service of ours would refuse when it stands."""
    request = _read_request(file, "smoke-test-file")
    try:
        json.loads(request.body)
    except json.JSONDecodeError as error:
        problem = f" at line {error.lineno}, column {error.colno}"
    except (ValueError, RecursionError):
        problem = ""
    else:
        return request
    raise InvalidInput(
        f"`smoke-test-file` {file} is not JSON{problem}.",
        usually="The file is another one, or was cut off.",
        remedy="Write a request as docs/serving.md shows it, or leave the input out: the model's own input example is sent then.",
    )


def _read_request(file: Path, input_name: str) -> ScoreRequest:
    """Raises FileNotFound naming the input."""
    try:
        return ScoreRequest(body=file.read_bytes(), origin=str(file))
    except OSError as error:
        raise FileNotFound(f"`{input_name}` {file} cannot be read: {error.strerror}.") from error


def _rollback(job: Job) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    smoke_request = _smoke_request_of_previous(job, before)
    plan = job.rules.plan_rollback(job.request, before, smoke_request)
    if job.request.dry_run:
        outcome = _outcome_of_service(job.request, Status.PLANNED, before.service)
        return replace(outcome, plan=plan.describe(), notes=plan.notes)
    return replace(job.outcome(plan, job.execute(plan), before), smoke_request=smoke_request)


def _end_canary(job: Job) -> Outcome:
    job.rules.check_service_name(job.request.service_name)
    before = job.ports.serving.snapshot(job.request.service_name)
    is_promote = job.request.command is Command.PROMOTE
    plan = (job.rules.plan_promote if is_promote else job.rules.plan_reject)(job.request, before)
    if job.request.dry_run:
        return replace(_outcome_of_service(job.request, Status.PLANNED, before.service), plan=plan.describe())
    return job.outcome(plan, job.execute(plan), before)


def _migrate(job: Job) -> Outcome:
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


_VERBS: Final[Mapping[Command, Callable[[Job], Outcome]]] = {
    Command.DEPLOY: _deploy,
    Command.DOCTOR: _doctor,
    Command.CLEANUP: _cleanup,
    Command.STATUS: _status,
    Command.INVOKE: _invoke,
    Command.ROLLBACK: _rollback,
    Command.PROMOTE: _end_canary,
    Command.REJECT: _end_canary,
    Command.MIGRATE: _migrate,
}
