"""The schema of the output `result`, from which docs/result.schema.json is rendered. result.py fills it in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mlaz_ci.errors import ExitCode
from mlaz_ci.models import Command, ServiceState, Severity, Status, Target

SCHEMA_VERSION: Final = 1

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
    "command": _enum([*(str(each) for each in Command), None], "Null where what was asked for is no command."),
    "status": _enum([str(each) for each in Status]),
    "exit_code": _enum([int(each) for each in ExitCode], "Who must act next (docs/contract.md)."),
    "target": _enum([*(str(each) for each in Target), None], "Null where the run failed before one was chosen."),
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
