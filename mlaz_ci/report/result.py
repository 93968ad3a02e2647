"""The output `result`: everything about a run as one JSON object, and the schema it keeps (docs/result.schema.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mlaz_ci.errors import ExitCode, MlazError
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
    ServiceState,
    Severity,
    Status,
    Target,
    Timing,
)
from mlaz_ci.report.text import clip
from mlaz_ci.report.verdict import exit_code_of, status_of_failure

SCHEMA_VERSION: Final = 1
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
        "command": str(ended.command),
        "status": str(outcome.status),
        "exit_code": int(failure.error.exit_code if failure else exit_code_of(outcome)),
        "target": str(ended.target),
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
        command=failure.command,
        status=status_of_failure(failure),
        target=failure.target,
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


# --- the schema ---------------------------------------------------------------------------------------------------------

_STRING: Final = {"type": "string"}
_OPTIONAL: Final = {"type": ["string", "null"]}
_NUMBER: Final = {"type": "number", "minimum": 0}
_INSTANT: Final = {"type": "string", "format": "date-time"}


def _object(properties: Mapping[str, Any], *, description: str = "", is_optional: bool = False) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": ["object", "null"] if is_optional else "object"}
    text = {"description": description} if description else {}
    return kind | text | {"properties": dict(properties), "required": [*properties], "additionalProperties": False}


def _list(items: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "description": description, "items": dict(items)}


def _enum(values: list[Any], description: str = "") -> dict[str, Any]:
    return ({"description": description} if description else {}) | {"enum": values}


_ANSWER: Final = {
    "status_code": {"type": "integer"},
    "duration_s": _NUMBER,
    "body": _STRING,
    "request_origin": _OPTIONAL | {"description": "Where the request's body came from, in words."},
}

_DEPLOYMENT: Final = {
    "name": _STRING,
    "state": _enum([str(each) for each in ServiceState]),
    "detail": _STRING,
    "model_label": _STRING,
    "model_version": _OPTIONAL,
    "created_at": _INSTANT,
    "lock_hash": _STRING,
    "spec_hash": _STRING,
}

_PROPERTIES: Final[Mapping[str, Any]] = {
    "schema": {"const": SCHEMA_VERSION, "description": "Rises when a key changes its meaning or goes away."},
    "command": _enum([str(each) for each in Command]),
    "status": _enum([str(each) for each in Status]),
    "exit_code": _enum([int(each) for each in ExitCode], "Who must act next (docs/contract.md)."),
    "target": _enum([str(each) for each in Target]),
    "service_name": _OPTIONAL,
    "deployment_name": _OPTIONAL,
    "scoring_uri": _OPTIONAL,
    "swagger_uri": _OPTIONAL,
    "studio_url": _OPTIONAL,
    "model": _object({"name": _OPTIONAL, "version": _OPTIONAL, "label": _OPTIONAL, "previous_version": _OPTIONAL}),
    "lock_hash": _OPTIONAL,
    "changed": {"type": "boolean", "description": "Whether anything was created, changed or deleted."},
    "error": _object(
        {
            "kind": _STRING,
            "what": _STRING,
            "usually": _STRING,
            "remedy": _STRING,
            "retryable": {"type": "boolean"},
            "upstream_code": _OPTIONAL | {"description": "The other side's own code, such as Azure's."},
            "correlation_id": _OPTIONAL,
        },
        description="What failed, what it usually means, what to do; null where nothing failed.",
        is_optional=True,
    ),
    "left_behind": _list(_STRING, "What this run began and could not take back, in sentences."),
    "findings": _list(
        _object(
            {
                "code": _STRING,
                "severity": _enum([str(each) for each in Severity]),
                "what": _STRING,
                "usually": _STRING,
                "remedy": _STRING,
            }
        ),
        "What the checks found.",
    ),
    "plan": _list(_STRING, "With `dry-run`: the steps, in order."),
    "mutations": _list(
        _object({"at": _INSTANT, "what": _STRING, "subject": _STRING}),
        "Everything that was changed, in order; recorded before it is done.",
    ),
    "timings": _list(_object({"phase": _STRING, "duration_s": _NUMBER}), "How long each phase took."),
    "smoke_test": _object(_ANSWER, description="The prediction that proved the service.", is_optional=True),
    "response": _object(_ANSWER, description="With `invoke`: the service's answer.", is_optional=True),
    "service": _object(
        {
            "state": _enum([str(each) for each in ServiceState]),
            "detail": _STRING,
            "owner": _OPTIONAL,
            "created_at": _INSTANT,
            "port": {"type": ["integer", "null"]},
            "live": _OPTIONAL | {"description": "The deployment that has the traffic."},
            "previous": _OPTIONAL | {"description": "The deployment that `rollback` goes back to."},
            "deployments": _list(_object(_DEPLOYMENT), "Every deployment of the service."),
        },
        description="The service as it is at the end; null where there is none.",
        is_optional=True,
    ),
    "notes": _list(_STRING, "What else a reader should know, in sentences."),
    "is_shortened": {"type": "boolean", "description": "Whether parts were left out because the whole was too long."},
}


def render_result_schema() -> str:
    """The text of docs/result.schema.json."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mlaz-ci: the output `result`",
    } | _object(_PROPERTIES, description="One run of mlaz-ci. Long texts are cut, and say how much is missing.")
    return json.dumps(schema, indent=2) + "\n"
