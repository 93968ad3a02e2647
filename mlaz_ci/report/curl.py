"""The line a person pastes to call the service: a real request body, shortened so that it stays a valid one."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from mlaz_ci.models import AuthMode, Outcome, Status
from mlaz_ci.report.text import one_line

_SHOWN_BODY_CHARS: Final = 600
_NOTHING_ANSWERS: Final = frozenset({Status.FAILED, Status.UNHEALTHY})
_TABLES: Final = frozenset({"input_data", "dataframe_split", "dataframe_records", "inputs", "instances"})


def curl_line(outcome: Outcome) -> str | None:
    """One line of shell, or None where there is nothing to call."""
    if not outcome.scoring_uri or outcome.status in _NOTHING_ANSWERS:
        return None
    # The header is never left out: a body of another content type reaches the service as an empty one.
    call = f"curl -sS {shlex.quote(one_line(outcome.scoring_uri))} -H 'Content-Type: application/json'"
    if outcome.service and outcome.service.auth not in {None, AuthMode.NONE}:
        call += ' -H "Authorization: Bearer $KEY"'
    body = shorten_body(outcome.smoke_request.body) if outcome.smoke_request else None
    return f"{call} -d {shlex.quote(body)}" if body is not None else f"{call} -d @request.json"


def shorten_body(body: bytes) -> str | None:
    """The same request for its first row, as ASCII JSON on one line; None where that is still too long, or no JSON."""
    try:
        request = json.loads(body)
        text = json.dumps(request)
        if len(text) > _SHOWN_BODY_CHARS:
            text = json.dumps(_first_rows(request))
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= _SHOWN_BODY_CHARS else None


def _first_rows(request: Any) -> Any:
    if not isinstance(request, dict):
        return request
    if {"columns", "data"} <= request.keys():
        return _first_row(request)
    return {key: _first_row(value) if key in _TABLES else value for key, value in request.items()}


def _first_row(table: Any) -> Any:
    match table:
        case list():
            return table[:1]
        case {"columns": list(), "data": list()}:
            return {key: value[:1] if key in {"index", "data"} else value for key, value in table.items()}
        case dict():  # named tensors: every one has the same number of rows
            return {key: value[:1] if isinstance(value, list) else value for key, value in table.items()}
        case _:
            return table
