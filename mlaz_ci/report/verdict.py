"""What an end means: the exit code, the status word, and the one sentence every report begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

from mlaz_ci.errors import ExitCode, NotReachable
from mlaz_ci.models import Command, Failure, Finding, Outcome, ScoreResponse, ServiceFacts, Severity, Status
from mlaz_ci.report.text import one_line


def exit_code_of(outcome: Outcome) -> ExitCode:
    """Green means it answers: a service that is absent, failed or unhealthy is red, also for the read-only `status`.

    An Outcome that is `unverified` is one that the request allowed (`smoke-test: best-effort` or `off`); where the smoke test is
    required the run ends in a Failure (NotReachable, exit code 8) instead.
    """
    if outcome.status is Status.INVOKED and outcome.response is not None:
        return _exit_code_of_answer(outcome.response)
    return exit_code_of_status(outcome.command, outcome.status)


def exit_code_of_status(command: Command, status: Status) -> ExitCode:
    """The table of docs/contract.md; `invoked` is the code of a 2xx answer."""
    match status:
        case (
            Status.HEALTHY
            | Status.UNCHANGED
            | Status.UNVERIFIED
            | Status.PLANNED
            | Status.CREATING
            | Status.DELETED
            | Status.ROLLED_BACK
            | Status.UPDATING
            | Status.CANARY
            | Status.PROMOTED
            | Status.REJECTED
            | Status.SWEPT
            | Status.PASSED
            | Status.INVOKED
        ):
            return ExitCode.DONE
        case Status.ABSENT:
            return ExitCode.DONE if command is Command.CLEANUP else ExitCode.NOT_FOUND
        case Status.FAILED | Status.UNHEALTHY:
            return ExitCode.SERVICE_FAILED
        case Status.TIMED_OUT:
            return ExitCode.TIMED_OUT
        case Status.CANCELLED:
            return ExitCode.CANCELLED
        case _:
            assert_never(status)


def _exit_code_of_answer(answer: ScoreResponse) -> ExitCode:
    """Who must act on what `invoke` got: the caller's credentials, the caller's file, or the service."""
    if answer.is_success:
        return ExitCode.DONE
    if answer.status_code in {401, 403}:
        return ExitCode.AUTHENTICATION
    if 400 <= answer.status_code < 500 and answer.status_code not in {408, 429}:
        return ExitCode.CONFIGURATION
    return ExitCode.SERVICE_FAILED


def status_of_failure(failure: Failure) -> Status:
    if isinstance(failure.error, NotReachable):
        return Status.UNVERIFIED
    if failure.error.exit_code is ExitCode.TIMED_OUT:
        return Status.TIMED_OUT
    if failure.error.exit_code is ExitCode.CANCELLED:
        return Status.CANCELLED
    return Status.FAILED


def headline(ended: Outcome | Failure) -> str:
    """`healthy: service "churn" on local`, without the status word's colour or format."""
    status = ended.status if isinstance(ended, Outcome) else status_of_failure(ended)
    return f"{status}: {subject(ended)}"


def findings_beside(ended: Outcome | Failure) -> Sequence[Finding]:
    """The findings that the end's own text does not tell already."""
    if isinstance(ended, Outcome):
        return ended.findings
    told = one_line(ended.error.what)
    return [each for each in ended.findings if each.severity is not Severity.ERROR or one_line(each.what) != told]


def model_before(outcome: Outcome) -> str:
    """The model that served before, where another one serves now; of a plan, the one that serves as yet."""
    now = {outcome.model_version, outcome.model_label}
    return "" if outcome.previous_model_version in now else outcome.previous_model_version or ""


def rollback_to(service: ServiceFacts) -> str:
    """`g1 (diabetes/2)`: what a rollback would start again."""
    previous = service.deployment(service.previous)
    return f"{previous.name} ({previous.model_label})" if previous else ""


def without_traffic(service: ServiceFacts) -> str:
    """Deployments that neither serve nor served before: kept for a look, or left by a run that did not end."""
    others = [each for each in service.deployments if each.name not in {service.live, service.previous}]
    return ", ".join(f"{each.name} ({each.detail or each.state})" for each in others)


def subject(ended: Outcome | Failure) -> str:
    """What the command was about, in words."""
    service = f'service "{one_line(ended.service_name)}"' if ended.service_name else ""
    about = service or one_line(ended.model_label or "") or "no service"
    if isinstance(ended, Failure):
        where = f" on {ended.target}" if ended.target else ""
        what, joint = (str(ended.command), "of") if ended.command else ("unknown command", "for")
        return f"{what} {joint} {about}{where}" if service or ended.model_label else what
    if ended.command is Command.DOCTOR:
        about = one_line(ended.model_label or "") or about
    return f"{about} on {ended.target}"


_MEANINGS: Final[Mapping[Status, str]] = {
    Status.UNCHANGED: "It serves exactly this already; nothing was done.",
    Status.UNVERIFIED: "It is up, and no prediction has proved it.",
    Status.CREATING: "It has not settled yet.",
    Status.UPDATING: "It has not settled yet.",
    Status.UNHEALTHY: "It exists and does not answer.",
    Status.FAILED: "It exists and does not run; `deploy` makes it anew.",
    Status.ABSENT: "There is no such service. Check `service-name` and `target`, or deploy it first.",
}


def meaning(outcome: Outcome) -> str:
    """What the status word leaves open, in a sentence; empty where the facts say it all."""
    if outcome.command is Command.CLEANUP and outcome.status is Status.ABSENT:
        return "There is no such service, so there was nothing to delete."
    if outcome.response is not None:
        return _meaning_of_answer(outcome.response)
    return _MEANINGS.get(outcome.status, "")


def _meaning_of_answer(answer: ScoreResponse) -> str:
    match _exit_code_of_answer(answer):
        case ExitCode.DONE:
            return ""
        case ExitCode.AUTHENTICATION:
            return "The service does not let this caller in: check its `auth`, and the roles of who signed in."
        case ExitCode.CONFIGURATION:
            return "The service refused the request: its answer says why, and docs/serving.md which bodies it takes."
        case _:
            return "The service failed on the request: its answer and its log say why, `command: status` how it is."


def is_red(ended: Outcome | Failure) -> bool:
    return isinstance(ended, Failure) or exit_code_of(ended) is not ExitCode.DONE
