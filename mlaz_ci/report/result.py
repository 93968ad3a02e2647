"""The output `result`: everything about a run as one JSON object that keeps docs/result.schema.json."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from mlaz_ci.errors import MlazError
from mlaz_ci.models import (
    Command,
    DeploymentFacts,
    Failure,
    Finding,
    Mutation,
    Outcome,
    ScoreRequest,
    ScoreResponse,
    ServiceFacts,
    Target,
    Timing,
)
from mlaz_ci.report.schema import SCHEMA_VERSION
from mlaz_ci.report.text import clip
from mlaz_ci.report.verdict import exit_code_of, status_of_failure

# GitHub takes 1 MB of outputs from a job; a result is one of them.
_LIMIT_CHARS: Final = 400_000
_TEXT_CHARS: Final = 4_000
_BODY_CHARS: Final = 60_000
_ROWS: Final = 100


def render_result(ended: Outcome | Failure) -> str:
    """One line of ASCII JSON with a fixed order of keys. Long texts and lists are cut, and the cut is marked."""
    facts = _facts(ended)
    text = json.dumps(facts)
    for shortened in (("notes", "plan"), ("findings",), ("response", "smoke_test"), ("timings", "mutations")):
        if len(text) <= _LIMIT_CHARS:
            break
        facts |= {key: [] if isinstance(facts[key], list) else None for key in shortened} | {"is_shortened": True}
        text = json.dumps(facts)
    return text


def _facts(ended: Outcome | Failure) -> dict[str, Any]:
    # A failure has no facts of its own about the service: what is missing in it is what an empty Outcome says.
    outcome = ended if isinstance(ended, Outcome) else _bare_outcome(ended)
    failure = ended if isinstance(ended, Failure) else None
    return {
        "schema": SCHEMA_VERSION,
        "command": str(ended.command) if ended.command else None,
        "status": str(outcome.status),
        "exit_code": int(failure.error.exit_code if failure else exit_code_of(outcome)),
        "target": str(ended.target) if ended.target else None,
        "service_name": _text(ended.service_name),
        "deployment_name": _text(outcome.deployment_name),
        "scoring_uri": _text(outcome.scoring_uri),
        "swagger_uri": _text(outcome.swagger_uri),
        "studio_url": _text(outcome.studio_url),
        "model": {
            "name": _text(outcome.model_name),
            "version": _text(outcome.model_version),
            "label": _text(outcome.model_label),
            "previous_version": _text(outcome.previous_model_version),
        },
        "lock_hash": outcome.lock_hash,
        "changed": bool(outcome.changed or outcome.mutations),
        "error": _error(failure.error) if failure else None,
        "left_behind": [clip(each, _TEXT_CHARS) for each in failure.left_behind[:_ROWS]] if failure else [],
        "findings": [_finding(each) for each in outcome.findings[:_ROWS]],
        "plan": [clip(each, _TEXT_CHARS) for each in outcome.plan[:_ROWS]],
        "mutations": [_mutation(each) for each in outcome.mutations[:_ROWS]],
        "timings": [_timing(each) for each in outcome.timings[:_ROWS]],
        "smoke_test": _answer(outcome.smoke_test, outcome.smoke_request),
        "response": _answer(outcome.response, None),
        "service": _service(outcome.service) if outcome.service else None,
        "notes": [clip(each, _TEXT_CHARS) for each in outcome.notes[:_ROWS]],
        "is_shortened": False,
    }


def _bare_outcome(failure: Failure) -> Outcome:
    return Outcome(
        command=failure.command or Command.DEPLOY,  # told by the failure itself, as its target is
        status=status_of_failure(failure),
        target=failure.target or Target.LOCAL,
        model_label=failure.model_label,
        findings=failure.findings,
        mutations=failure.mutations,
        timings=failure.timings,
    )


def _text(value: str | None) -> str | None:
    return clip(value, _TEXT_CHARS) if value else None


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _error(error: MlazError) -> dict[str, Any]:
    return {
        "kind": error.kind(),
        "what": clip(error.what, _TEXT_CHARS),
        "usually": clip(error.cause_text, _TEXT_CHARS),
        "remedy": clip(error.remedy_text, _TEXT_CHARS),
        "retryable": error.retryable,
        "upstream_code": _text(error.upstream_code),
        "correlation_id": _text(error.correlation_id),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "what": clip(finding.what, _TEXT_CHARS),
        "usually": clip(finding.usually, _TEXT_CHARS),
        "remedy": clip(finding.remedy, _TEXT_CHARS),
    }


def _mutation(mutation: Mutation) -> dict[str, Any]:
    return {
        "at": _time(mutation.at),
        "what": clip(mutation.what, _TEXT_CHARS),
        "subject": clip(mutation.subject, _TEXT_CHARS),
    }


def _timing(timing: Timing) -> dict[str, Any]:
    return {"phase": timing.phase, "duration_s": round(timing.duration_s, 3)}


def _answer(answer: ScoreResponse | None, request: ScoreRequest | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "status_code": answer.status_code,
        "duration_s": round(answer.duration_s, 3),
        "body": clip(answer.body.decode("utf-8", "replace"), _BODY_CHARS),
        "request_origin": _text(request.origin) if request else None,
    }


def _service(service: ServiceFacts) -> dict[str, Any]:
    return {
        "state": str(service.state),
        "detail": clip(service.detail, _TEXT_CHARS),
        "owner": _text(service.owner),
        "created_at": _time(service.created_at),
        "port": service.port,
        "live": _text(service.live),
        "previous": _text(service.previous),
        "deployments": [_deployment(each) for each in service.deployments[:_ROWS]],
    }


def _deployment(deployment: DeploymentFacts) -> dict[str, Any]:
    return {
        "name": clip(deployment.name, _TEXT_CHARS),
        "state": str(deployment.state),
        "detail": clip(deployment.detail, _TEXT_CHARS),
        "model_label": clip(deployment.model_label, _TEXT_CHARS),
        "model_version": _text(deployment.model_version),
        "created_at": _time(deployment.created_at),
        "lock_hash": deployment.lock_hash,
        "spec_hash": deployment.spec_hash,
    }
