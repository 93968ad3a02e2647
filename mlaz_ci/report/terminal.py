"""The same content for a person in front of a terminal or a step's log, as plain text; colours come from outside as a Style."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from mlaz_ci.models import Command, Failure, Finding, Outcome, ScoreResponse, ServiceFacts, Severity, Status
from mlaz_ci.report.curl import curl_line
from mlaz_ci.report.text import age, clean, clip, clip_lines, duration, moment, one_line
from mlaz_ci.report.verdict import (
    findings_beside,
    headline,
    is_red,
    meaning,
    model_before,
    rollback_to,
    without_traffic,
)

_LINES: Final = 50
_SENTENCE_CHARS: Final = 2_000
_BODY_CHARS: Final = 60_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """Escape sequences around what is told; all empty where there are no colours."""

    bold: str = ""
    dim: str = ""
    red: str = ""
    green: str = ""
    yellow: str = ""
    off: str = ""


PLAIN: Final = Style()
ANSI: Final = Style(bold="\x1b[1m", dim="\x1b[2m", red="\x1b[31m", green="\x1b[32m", yellow="\x1b[33m", off="\x1b[0m")
_DOUBTFUL: Final = frozenset({Status.UNVERIFIED, Status.CREATING, Status.UPDATING, Status.CANARY})


def render_terminal(
    ended: Outcome | Failure, style: Style = PLAIN, now: datetime | None = None, *, with_body: bool = True
) -> str:
    """Without `with_body` the body of an answer is left out: it is shown elsewhere."""
    lines = [_headline(ended, style), ""]
    if isinstance(ended, Outcome):
        lines += _outcome(ended, style, now)
        lines += _answer(ended.response, with_body=with_body) if ended.response else []
        lines += [*ended.document.split("\n"), ""] if ended.document and with_body else []
        lines += _further(ended)
    else:
        lines += _failure(ended, style)
    lines += _findings(ended, style)
    rows = [(moment(each.at), f"{one_line(each.what)} {one_line(each.subject)}") for each in ended.mutations]
    lines += _section("changed", rows, style)
    lines += _section("timings", [(duration(each.duration_s), one_line(each.phase)) for each in ended.timings], style)
    while lines[-1] == "":
        lines.pop()
    return "\n".join(lines)


def _headline(ended: Outcome | Failure, style: Style) -> str:
    word, _, rest = headline(ended).partition(":")
    if is_red(ended):
        colour = style.red
    elif isinstance(ended, Outcome) and ended.status in _DOUBTFUL:
        colour = style.yellow
    else:
        colour = style.green
    return f"{style.bold}{colour}{word}{style.off}:{rest}"


def _outcome(outcome: Outcome, style: Style, now: datetime | None) -> Iterator[str]:
    if sentence := meaning(outcome):
        yield from (sentence, "")
    for each in clip_lines(list(outcome.notes), _LINES):
        yield from (_sentence(each), "")
    facts = [(name, one_line(value)) for name, value in _facts(outcome, now) if value]
    width = max((len(name) for name, _ in facts), default=0)
    yield from (f"  {style.dim}{name:<{width}}{style.off}  {value}" for name, value in facts)
    yield from [""] if facts else []
    if call := curl_line(outcome):
        yield from (f"  {call}", "")


def _answer(answer: ScoreResponse, *, with_body: bool) -> Iterator[str]:
    yield f"HTTP {answer.status_code} in {duration(answer.duration_s)}"
    if with_body:
        yield from clean(clip(answer.body.decode("utf-8", "replace"), _BODY_CHARS)).split("\n")
    yield ""


def _further(outcome: Outcome) -> Iterator[str]:
    if outcome.plan:
        steps = clip_lines([_sentence(each) for each in outcome.plan], _LINES)
        yield "Would do, in this order:"
        yield from (f"  {at}. {each}" for at, each in enumerate(steps, 1))
        yield ""


def _facts(outcome: Outcome, now: datetime | None) -> list[tuple[str, str]]:
    is_planned = outcome.status is Status.PLANNED
    checked = outcome.smoke_test
    origin = f" to {outcome.smoke_request.origin}" if outcome.smoke_request else ""
    return [
        ("scoring URI", outcome.scoring_uri or ""),
        ("model", outcome.model_label or ""),
        ("model now" if is_planned else "model before", model_before(outcome)),
        ("deployment", "" if is_planned else outcome.deployment_name or ""),
        ("environment", outcome.lock_hash or ""),
        ("smoke test", f"HTTP {checked.status_code}{origin} in {duration(checked.duration_s)}" if checked else ""),
        ("swagger", outcome.swagger_uri or ""),
        ("studio", outcome.studio_url or ""),
        *(_service(outcome.service, now) if outcome.service else []),
    ]


def _service(service: ServiceFacts, now: datetime | None) -> list[tuple[str, str]]:
    ago = f" ({age(service.created_at, now)} ago)" if now else ""
    return [
        ("state", str(service.state)),
        ("created", f"{moment(service.created_at)}{ago}"),
        ("owner", service.owner),
        ("rollback to", one_line(rollback_to(service))),
        ("no traffic", one_line(without_traffic(service))),
    ]


def _failure(failure: Failure, style: Style) -> Iterator[str]:
    error = failure.error
    what = [each for each in clean(clip(error.what, 20 * _SENTENCE_CHARS)).split("\n") if each.strip()]
    yield from clip_lines(what, _LINES)
    if error.cause_text:
        yield f"Usually: {_sentence(error.cause_text)}"
    if error.remedy_text:
        yield f"What to do: {style.bold}{_sentence(error.remedy_text)}{style.off}"
    yield from (f"Left behind: {_sentence(each)}" for each in failure.left_behind[:_LINES])
    done = "Nothing was changed.   " if not failure.mutations and not failure.left_behind else ""
    yield f"{done}{style.dim}[docs/contract.md: {error.kind()}]{style.off}"
    for name, value in (("code", error.upstream_code), ("correlation id", error.correlation_id)):
        if value:
            yield f"{name}: {one_line(value)}"
    yield ""


def _sentence(text: str) -> str:
    return one_line(clip(text, _SENTENCE_CHARS))


def _findings(ended: Outcome | Failure, style: Style) -> Iterator[str]:
    """Whole where they are what was asked for, and where they forbid to go on; the others were told when they were found."""
    findings = findings_beside(ended)
    is_asked_for = ended.command is Command.DOCTOR
    yield from _told([each for each in findings if is_asked_for or each.severity is Severity.ERROR], style)
    told = ", ".join(
        f"{each.severity} {one_line(each.code)}" for each in findings if each.severity is not Severity.ERROR
    )
    if told and not is_asked_for:
        yield from (f"{style.dim}Told above: {told}{style.off}", "")


def _told(findings: Sequence[Finding], style: Style) -> Iterator[str]:
    colours = {Severity.ERROR: style.red, Severity.WARNING: style.yellow, Severity.NOTICE: style.dim}
    for each in findings[:_LINES]:
        yield f"{colours[each.severity]}{each.severity}{style.off} {one_line(each.code)}: {_sentence(each.what)}"
        yield from (f"  {_sentence(part)}" for part in (each.usually, each.remedy) if part)
    yield from [""] if findings else []


def _section(title: str, rows: Sequence[tuple[str, str]], style: Style) -> Iterator[str]:
    if rows:
        width = max(len(head) for head, _ in rows)
        yield f"{style.bold}{title}{style.off}"
        yield from clip_lines([f"  {style.dim}{head:>{width}}{style.off}  {text}" for head, text in rows], _LINES)
        yield ""
