"""From one Outcome or Failure to every text that is shown of it. Pure: values in, strings out; it knows no platform, clock or file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlaz_ci.errors import ExitCode
from mlaz_ci.models import Failure, Outcome
from mlaz_ci.report.annotations import Annotation, render_annotations
from mlaz_ci.report.outputs import OUTPUT_NAMES, render_outputs
from mlaz_ci.report.schema import render_result_schema
from mlaz_ci.report.summary import render_summary
from mlaz_ci.report.terminal import ANSI, PLAIN, Style, render_terminal
from mlaz_ci.report.text import clean
from mlaz_ci.report.verdict import exit_code_of, exit_code_of_status, status_of_failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that is shown of one run. `log` is long material to fold away; it is "the log above" of the texts.

    `body` is what a program reads of it: what a service answered, untouched, or the document that was asked for; else None.
    """

    exit_code: ExitCode
    text: str
    summary: str
    outputs: dict[str, str]
    annotations: tuple[Annotation, ...]
    log: str = ""
    body: bytes | None = None


def report_outcome(
    outcome: Outcome, *, style: Style = PLAIN, now: datetime | None = None, with_body: bool = True
) -> Report:
    """`now` tells the age of the service; without it only the time of its creation is shown. `with_body` is of the text."""
    return Report(
        exit_code=exit_code_of(outcome),
        text=render_terminal(outcome, style, now, with_body=with_body),
        summary=render_summary(outcome, now),
        outputs=render_outputs(outcome),
        annotations=render_annotations(outcome),
        body=_body_of(outcome),
    )


def _body_of(outcome: Outcome) -> bytes | None:
    if outcome.document is not None:
        return outcome.document.encode()
    return outcome.response.body if outcome.response else None


def report_failure(failure: Failure, *, style: Style = PLAIN) -> Report:
    return Report(
        exit_code=failure.error.exit_code,
        text=render_terminal(failure, style),
        summary=render_summary(failure),
        outputs=render_outputs(failure),
        annotations=render_annotations(failure),
        log=clean(failure.error.log).strip("\n"),
    )


__all__ = [
    "ANSI",
    "OUTPUT_NAMES",
    "PLAIN",
    "Annotation",
    "Report",
    "Style",
    "exit_code_of",
    "exit_code_of_status",
    "render_annotations",
    "render_outputs",
    "render_result_schema",
    "render_summary",
    "render_terminal",
    "report_failure",
    "report_outcome",
    "status_of_failure",
]
