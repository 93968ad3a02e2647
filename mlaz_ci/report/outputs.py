"""The step's outputs. Every name is always written: a workflow may compare any of them without asking whether it is there."""

from __future__ import annotations

from typing import Final

from mlaz_ci.models import Failure, Outcome
from mlaz_ci.report.result import render_result
from mlaz_ci.report.verdict import exit_code_of, is_red, status_of_failure

OUTPUT_NAMES: Final = (
    "scoring-uri",
    "service-uri",
    "swagger-uri",
    "status",
    "command",
    "service-name",
    "deployment-name",
    "model-name",
    "model-version",
    "previous-model-version",
    "changed",
    "studio-url",
    "error-code",
    "error-kind",
    "retryable",
    "correlation-id",
    "result",
)


def render_outputs(ended: Outcome | Failure) -> dict[str, str]:
    """Output name → value, in the order of OUTPUT_NAMES; what does not apply is empty."""
    given = _of_outcome(ended) if isinstance(ended, Outcome) else _of_failure(ended)
    given |= {
        "command": str(ended.command or ""),
        "service-name": ended.service_name,
        "changed": _word(value=bool(ended.mutations) or (isinstance(ended, Outcome) and ended.changed)),
        "result": render_result(ended),
    }
    return {name: given.get(name) or "" for name in OUTPUT_NAMES}


def _of_outcome(outcome: Outcome) -> dict[str, str | None]:
    return {
        "scoring-uri": outcome.scoring_uri,
        "service-uri": outcome.scoring_uri,
        "swagger-uri": outcome.swagger_uri,
        "status": str(outcome.status),
        "deployment-name": outcome.deployment_name,
        "model-name": outcome.model_name,
        "model-version": outcome.model_version,
        "previous-model-version": outcome.previous_model_version,
        "studio-url": outcome.studio_url,
        "error-code": str(int(exit_code_of(outcome))) if is_red(outcome) else None,
        "retryable": _word(value=False),
    }


def _of_failure(failure: Failure) -> dict[str, str | None]:
    error = failure.error
    return {
        "status": str(status_of_failure(failure)),
        "error-code": str(int(error.exit_code)),
        "error-kind": error.kind(),
        "retryable": _word(value=error.retryable),
        "correlation-id": error.correlation_id,
    }


def _word(*, value: bool) -> str:
    return "true" if value else "false"
