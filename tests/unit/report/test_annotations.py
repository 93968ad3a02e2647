"""What is pinned to the run's page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlaz_ci.errors import ModelNotServable
from mlaz_ci.models import Finding, Outcome, Severity
from mlaz_ci.report import render_annotations
from tests.unit.report import scenarios


@pytest.mark.parametrize("ended", [scenarios.HEALTHY, scenarios.UNCHANGED, scenarios.DOCTOR, scenarios.CLEANUP_ABSENT])
def test_render_annotations__green__pins_nothing(ended: Outcome) -> None:
    assert render_annotations(ended) == ()


def test_render_annotations__status_of_a_bad_service__says_why_the_step_is_red() -> None:
    text = (
        'unhealthy: service "diabetes" on local\n'
        "It exists and does not answer.\n"
        "Its process is gone since the machine was started again."
    )
    assert render_annotations(scenarios.UNHEALTHY) == ((Severity.ERROR, "mlaz-ci status", text),)


def test_render_annotations__failure__has_cause_and_remedy_and_no_log() -> None:
    text = (
        'Deployment "g1" of service "diabetes" did not start: it ended with exit code 3\n'
        "Usually: The model needs the module xgboost, which is not in its requirements.\n"
        "Log the model again with it in `extra_pip_requirements`."
    )
    assert render_annotations(scenarios.START_FAILED) == ((Severity.ERROR, "service-start-failed", text),)


def test_render_annotations__findings__only_errors_that_the_failure_does_not_name_at_most_ten() -> None:
    named = Finding(code="named", severity=Severity.ERROR, what="The flavor is missing.")
    told = Finding(code="told-before", severity=Severity.WARNING, what="It is old.")
    more = Finding(code="more", severity=Severity.ERROR, what="A pin conflicts.", remedy="Change it.")
    failure = replace(
        scenarios.START_FAILED,
        error=ModelNotServable("The flavor is missing."),
        findings=(named, told, *[more] * 30),
    )
    kind, second, *rest = render_annotations(failure)
    assert kind[1] == "model-not-servable"
    assert second == (Severity.ERROR, "more", "A pin conflicts. Change it.")
    assert len(rest) == 8
