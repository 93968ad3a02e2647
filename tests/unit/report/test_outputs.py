"""Outputs and the result's schema."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from mlaz_ci.inputs.table import OUTPUTS
from mlaz_ci.models import Failure, Finding, Outcome, ScoreResponse, Severity
from mlaz_ci.report import OUTPUT_NAMES, render_outputs, render_result_schema
from tests.unit.report import scenarios

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "result.schema.json"
ENDS = {name: value for name, value in vars(scenarios).items() if isinstance(value, Outcome | Failure)}


def test_output_names__table_of_the_action__are_the_same() -> None:
    assert list(OUTPUT_NAMES) == list(OUTPUTS)


def test_schema_file__compared_with_the_code__is_what_the_code_renders() -> None:
    assert SCHEMA_FILE.read_text(encoding="utf-8") == render_result_schema()


@pytest.mark.parametrize("ended", ENDS.values(), ids=ENDS)
def test_render_outputs__any_end__has_every_name_and_a_result_that_keeps_the_schema(ended: Outcome | Failure) -> None:
    outputs = render_outputs(ended)
    assert tuple(outputs) == OUTPUT_NAMES
    result = json.loads(outputs["result"])
    validator = jsonschema.Draft202012Validator(json.loads(render_result_schema()))
    assert list(validator.iter_errors(result)) == []
    assert result["status"] == outputs["status"]
    assert (result["service_name"] or "") == outputs["service-name"]


def test_render_outputs__healthy__says_where_and_what() -> None:
    outputs = render_outputs(scenarios.HEALTHY)
    del outputs["result"]
    assert outputs == {
        "scoring-uri": "http://localhost:31311/score",
        "service-uri": "http://localhost:31311/score",
        "swagger-uri": "http://localhost:31311/swagger.json",
        "status": "healthy",
        "command": "deploy",
        "service-name": "diabetes",
        "deployment-name": "g2",
        "model-name": "diabetes",
        "model-version": "3",
        "previous-model-version": "2",
        "changed": "true",
        "studio-url": "",
        "error-code": "",
        "error-kind": "",
        "retryable": "false",
        "correlation-id": "",
    }


def test_render_outputs__failure__says_what_failed_and_that_something_was_changed() -> None:
    outputs = render_outputs(scenarios.SMOKE_TEST_FAILED)
    said = {name: value for name, value in outputs.items() if value and name != "result"}
    assert said == {
        "status": "failed",
        "command": "deploy",
        "service-name": "diabetes",
        "changed": "true",
        "error-code": "8",
        "error-kind": "smoke-test-failed",
        "retryable": "false",
        "correlation-id": "c0ffee",
    }


def test_render_outputs__the_same_end_twice__is_the_same_text() -> None:
    assert render_outputs(scenarios.HEALTHY) == render_outputs(replace(scenarios.HEALTHY))


def test_render_outputs__very_long_values__stay_within_what_github_takes() -> None:
    long = "ü" * 200_000
    finding = Finding(code="x", severity=Severity.NOTICE, what=long, usually=long, remedy=long)
    ended = replace(
        scenarios.HEALTHY,
        findings=(finding,) * 1000,
        notes=(long,) * 1000,
        plan=(long,) * 1000,
        response=ScoreResponse(status_code=200, body=long.encode(), duration_s=1.0),
        service=replace(scenarios.SERVICE, deployments=scenarios.SERVICE.deployments * 1000),
    )
    result = render_outputs(ended)["result"]
    assert len(result) <= 500_000
    facts = json.loads(result)
    assert facts["is_shortened"] is True
    assert facts["mutations"]
    jsonschema.validate(facts, json.loads(render_result_schema()))
