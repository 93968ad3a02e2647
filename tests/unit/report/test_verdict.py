"""Exit codes and status words: the table of docs/contract.md."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlaz_ci.errors import Bug, Cancelled, DeployTimedOut, ExitCode, MlazError, NotReachable, SmokeTestFailed
from mlaz_ci.models import Command, Failure, Outcome, ScoreResponse, Status, Target
from mlaz_ci.report import exit_code_of, exit_code_of_status, report_failure, report_outcome, status_of_failure
from tests.unit.report import scenarios


@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("status", Status)
def test_exit_code_of_status__any_pair__has_a_code(command: Command, status: Status) -> None:
    assert exit_code_of_status(command, status) in ExitCode


@pytest.mark.parametrize(
    ("command", "status", "code"),
    [
        (Command.DEPLOY, Status.HEALTHY, ExitCode.DONE),
        (Command.DEPLOY, Status.UNVERIFIED, ExitCode.DONE),
        (Command.STATUS, Status.HEALTHY, ExitCode.DONE),
        (Command.STATUS, Status.UPDATING, ExitCode.DONE),
        (Command.STATUS, Status.ABSENT, ExitCode.NOT_FOUND),
        (Command.STATUS, Status.UNHEALTHY, ExitCode.SERVICE_FAILED),
        (Command.STATUS, Status.FAILED, ExitCode.SERVICE_FAILED),
        (Command.CLEANUP, Status.ABSENT, ExitCode.DONE),
    ],
)
def test_exit_code_of__outcome__is_green_only_where_it_answers_or_is_done(
    command: Command, status: Status, code: ExitCode
) -> None:
    assert exit_code_of(Outcome(command=command, status=status, target=Target.LOCAL)) is code


@pytest.mark.parametrize(
    ("status_code", "code"),
    [
        (200, ExitCode.DONE),
        (400, ExitCode.CONFIGURATION),
        (401, ExitCode.AUTHENTICATION),
        (403, ExitCode.AUTHENTICATION),
        (408, ExitCode.SERVICE_FAILED),
        (429, ExitCode.SERVICE_FAILED),
        (500, ExitCode.SERVICE_FAILED),
    ],
)
def test_exit_code_of__invoke__says_who_must_act_on_the_answer(status_code: int, code: ExitCode) -> None:
    answer = ScoreResponse(status_code=status_code, body=b"{}", duration_s=0.1)
    report = report_outcome(replace(scenarios.INVOKED, response=answer))
    assert report.exit_code is code
    assert report.outputs["error-code"] == ("" if code is ExitCode.DONE else str(int(code)))
    assert bool(report.annotations) is (code is not ExitCode.DONE)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SmokeTestFailed("x"), Status.FAILED),
        (NotReachable("x"), Status.UNVERIFIED),
        (DeployTimedOut("x"), Status.TIMED_OUT),
        (Cancelled("x"), Status.CANCELLED),
        (Bug("x"), Status.FAILED),
    ],
)
def test_status_of_failure__error__gives_the_status_word_and_its_own_exit_code(
    error: MlazError, status: Status
) -> None:
    failure = Failure(error=error, command=Command.DEPLOY, target=Target.LOCAL)
    assert status_of_failure(failure) is status
    assert report_failure(failure).exit_code is error.exit_code


@pytest.mark.parametrize(
    ("status_code", "said"),
    [
        (200, ""),
        (400, "docs/serving.md which bodies it takes"),
        (403, "check its `auth`"),
        (500, "`command: status` how it is"),
    ],
)
def test_report__answer_that_is_no_prediction__says_what_it_means_and_what_to_do(status_code: int, said: str) -> None:
    assert scenarios.INVOKED.response
    outcome = replace(scenarios.INVOKED, response=replace(scenarios.INVOKED.response, status_code=status_code))
    report = report_outcome(outcome)
    assert said in report.text
    assert (report.text.partition("\n\n")[2].startswith("The service ")) is bool(said)


def test_report__failed_before_a_target_was_chosen__names_none() -> None:
    failure = Failure(error=Bug("x"), command=Command.DEPLOY, target=None, service_name="churn")
    report = report_failure(failure)
    assert report.text.startswith('failed: deploy of service "churn"\n')
    assert json.loads(report.outputs["result"])["target"] is None


def test_report__what_was_asked_for_is_no_command__names_none() -> None:
    failure = Failure(error=Bug("x"), command=None, target=Target.LOCAL, service_name="churn")
    report = report_failure(failure)
    assert report.text.startswith('failed: unknown command for service "churn" on local\n')
    assert report.summary.startswith("### mlaz-ci\n")
    assert (report.outputs["command"], json.loads(report.outputs["result"])["command"]) == ("", None)
    assert report_failure(replace(failure, service_name="")).text.startswith("failed: unknown command\n")
