"""Whether a deployment came up, and whether it answers."""

from __future__ import annotations

from dataclasses import dataclass

from mlaz_ci.checks.start_failure import explain_start_failure
from mlaz_ci.errors import ContainerCrashed, MlazError, NotReachable, ServiceBusy, ServiceStartFailed, SmokeTestFailed
from mlaz_ci.execute.run_ports import Ports
from mlaz_ci.models import Observation, ScoreResponse, ServiceState, SmokeTest
from mlaz_ci.plan import AwaitHealthy, Verify
from mlaz_ci.polling import wait_until_settled

_LOG_TAIL_LINES = 200
_SHOWN_BODY_CHARS = 2000


def await_healthy(ports: Ports, step: AwaitHealthy, *, deadline_s: float) -> None:
    """Raises ServiceStartFailed, ServiceBusy, DeployTimedOut and what the serving side says of the reason, with the log."""
    subject = f'Deployment "{step.deployment_name}" of service "{step.service_name}"'

    def show(seen: Observation) -> None:
        ports.platform.info(f"{subject}: {seen.state}{f' ({seen.detail})' if seen.detail else ''}")

    try:
        seen = wait_until_settled(
            lambda: ports.serving.observe(step.service_name, step.deployment_name),
            subject=subject,
            clock=ports.clock,
            deadline_s=deadline_s,
            on_transition=show,
        )
    except MlazError as error:
        error.log = error.log or _logs(ports, step.service_name, step.deployment_name)
        if isinstance(error, ContainerCrashed):
            # The serving side knows that it crashed; its log says why.
            usually, remedy = explain_start_failure(error.log)
            error.cause_text, error.remedy_text = usually or error.cause_text, remedy or error.remedy_text
        raise
    if seen.state is ServiceState.ABSENT:
        raise ServiceBusy(f"{subject} was removed while it started: {seen.detail or seen.state}.")
    if seen.state is not ServiceState.HEALTHY:
        log = _logs(ports, step.service_name, step.deployment_name)
        usually, remedy = explain_start_failure(log)
        what = f"{subject} did not start: {seen.detail or seen.state}"
        raise ServiceStartFailed(what, usually=usually, remedy=remedy, log=log)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`doubt` is why the deployment passes without having been verified."""

    answer: ScoreResponse | None
    doubt: str | None = None


def verify(ports: Ports, step: Verify) -> Verdict:
    """Raises SmokeTestFailed and NotReachable where `smoke-test: required` asks for a prediction."""
    try:
        name = None if step.through_service else step.deployment_name
        answer = ports.serving.score(step.service_name, name, step.request)
    except NotReachable as error:
        if step.mode is SmokeTest.REQUIRED:
            error.log = error.log or _logs(ports, step.service_name, step.deployment_name)
            raise
        return Verdict(None, "The service could not be reached from here, so no prediction was verified.")
    problem = _smoke_test_problem(step, answer)
    if problem is None:
        return Verdict(answer)
    if step.mode is SmokeTest.BEST_EFFORT:
        return Verdict(answer, f"{problem} `smoke-test: best-effort` lets the deployment pass.")
    shown = answer.body[:_SHOWN_BODY_CHARS].decode("utf-8", "replace")
    log = f"answer to {step.request.origin}:\n{shown}\n\n{_logs(ports, step.service_name, step.deployment_name)}"
    raise SmokeTestFailed(problem, log=log)


def _smoke_test_problem(step: Verify, answer: ScoreResponse) -> str | None:
    """Why this answer does not verify the deployment, or None."""
    if not answer.is_success:
        return f"The smoke test with {step.request.origin} was answered with HTTP {answer.status_code}."
    if step.through_service:
        # Who answers here may lag behind, or be a later run's: that users are answered is what this is about.
        return None
    if answer.spec_hash is not None and answer.spec_hash != step.spec_hash:
        return f"The smoke test was answered by another deployment ({answer.spec_hash}, expected {step.spec_hash})."
    return None


def _logs(ports: Ports, service_name: str, deployment_name: str) -> str:
    """Best effort: a log that cannot be had must not hide why it was wanted."""
    try:
        return ports.serving.logs(service_name, deployment_name, tail_lines=_LOG_TAIL_LINES)
    except MlazError as error:
        return f"(the log could not be read: {error.what})"
