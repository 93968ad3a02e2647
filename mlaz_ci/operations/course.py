"""One command on its way, and the steps that several commands have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from mlaz_ci.checks import examine, raise_on_errors
from mlaz_ci.errors import MissingInput, MlazError
from mlaz_ci.execute import Execution, Ports
from mlaz_ci.models import (
    Failure,
    Finding,
    Lock,
    ModelRef,
    OnFailure,
    Outcome,
    Request,
    ScoreRequest,
    Severity,
    SmokeTest,
    Snapshot,
    Status,
    Timing,
)
from mlaz_ci.operations.bodies import read_smoke_test
from mlaz_ci.operations.told import model_in, outcome_of_service
from mlaz_ci.plan import Plan
from mlaz_ci.ports import Resolver
from mlaz_ci.serving.smoke import choose_smoke_request
from mlaz_ci.targets import TargetRules, rules_of


@dataclass(kw_only=True)
class Course:
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
            read_smoke_test(file)
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
        chosen = read_smoke_test(file) if file else choose_smoke_request(model.facts)
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
        outcome = outcome_of_service(self.request, done, after.service, plan.deployment_name)
        model = self.model
        return replace(
            outcome,
            model_name=model.name if model else outcome.model_name,
            previous_model_version=model_in(before),
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
