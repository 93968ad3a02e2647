"""The job summary: what a person reads on the run's page. GitHub refuses one over 1 MiB whole, so the log is cut to fit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from mlaz_ci.models import Failure, Finding, Outcome, ServiceFacts, Status
from mlaz_ci.report.curl import curl_line
from mlaz_ci.report.markdown import block, code, folded, prose, table
from mlaz_ci.report.text import age, clean, clip, clip_lines, clip_log, duration, moment
from mlaz_ci.report.verdict import findings_beside, headline, meaning, model_before, rollback_to, without_traffic

SUMMARY_LIMIT_BYTES: Final = 1024 * 1024
# Other texts of the same step go to the same file.
_OUR_SHARE_BYTES: Final = 900_000
_LOG_BYTES: Final = 200_000
_LEAST_LOG_BYTES: Final = 10_000
_ROWS: Final = 50
_SENTENCE_CHARS: Final = 2_000
_BODY_CHARS: Final = 10_000


def render_summary(ended: Outcome | Failure, now: datetime | None = None) -> str:
    """Markdown in which no value can be more than a value."""
    details = [*_findings(findings_beside(ended)), *_mutations(ended), *_timings(ended)]
    if isinstance(ended, Outcome):
        return "\n".join([*_outcome(ended, now), *details])
    # The remedies speak of "the log above".
    head, tail = [*_heading(ended), *_paragraphs(ended.error.what)], [*_failure(ended), *details]
    room_bytes = _OUR_SHARE_BYTES - len("\n".join([*head, *tail]).encode())
    return "\n".join([*head, *_log(ended.error.log, room_bytes), *tail])


def _outcome(outcome: Outcome, now: datetime | None) -> list[str]:
    facts = [(name, value) for name, value in _facts(outcome, now) if value]
    return [
        *_heading(outcome),
        *_paragraphs(meaning(outcome)),
        *(f"- {_sentence(each)}" for each in clip_lines(list(outcome.notes), _ROWS)),
        *([""] if outcome.notes else []),
        *(table(("", ""), facts) if facts else []),
        *_call(outcome),
        *_answer(outcome),
        *_plan(outcome.plan),
    ]


def _heading(ended: Outcome | Failure) -> list[str]:
    name = f"mlaz-ci {ended.command}" if ended.command else "mlaz-ci"
    return [f"### {prose(name)}", "", f"**{prose(headline(ended))}**", ""]


def _facts(outcome: Outcome, now: datetime | None) -> list[tuple[str, str]]:
    is_planned = outcome.status is Status.PLANNED
    checked = outcome.smoke_test
    origin = f" to {prose(outcome.smoke_request.origin)}" if outcome.smoke_request else ""
    return [
        ("Scoring URI", code(outcome.scoring_uri or "")),
        ("Model", code(outcome.model_label or "")),
        ("Model now" if is_planned else "Model before", code(model_before(outcome))),
        ("Deployment", "" if is_planned else code(outcome.deployment_name or "")),
        ("Environment", code(outcome.lock_hash or "")),
        ("Smoke test", f"HTTP {checked.status_code}{origin} in {duration(checked.duration_s)}" if checked else ""),
        ("Swagger", code(outcome.swagger_uri or "")),
        ("Studio", code(outcome.studio_url or "")),
        *(_service(outcome.service, now) if outcome.service else []),
    ]


def _service(service: ServiceFacts, now: datetime | None) -> list[tuple[str, str]]:
    ago = f" ({age(service.created_at, now)} ago)" if now else ""
    return [
        ("State", prose(str(service.state))),
        ("Created", f"{prose(moment(service.created_at))}{ago}"),
        ("Owner", code(service.owner)),
        ("Rollback to", code(rollback_to(service))),
        ("No traffic", code(without_traffic(service))),
    ]


def _call(outcome: Outcome) -> list[str]:
    call = curl_line(outcome)
    return ["Call it:", "", *block(call)] if call else []


def _answer(outcome: Outcome) -> list[str]:
    answer = outcome.response
    if answer is None:
        return []
    body = clip(answer.body.decode("utf-8", "replace"), _BODY_CHARS)
    return [f"HTTP {answer.status_code} in {duration(answer.duration_s)}:", "", *block(body)]


def _plan(plan: Sequence[str]) -> list[str]:
    if not plan:
        return []
    steps = clip_lines([_sentence(each) for each in plan], _ROWS)
    return ["Would do, in this order:", "", *(f"{at}. {each}" for at, each in enumerate(steps, 1)), ""]


def _failure(failure: Failure) -> list[str]:
    error = failure.error
    lines: list[str] = []
    if error.cause_text:
        lines += [f"**Usually:** {_sentence(error.cause_text)}", ""]
    if error.remedy_text:
        lines += [f"**What to do:** {_sentence(error.remedy_text)}", ""]
    if failure.left_behind:
        left = clip_lines([_sentence(each) for each in failure.left_behind], _ROWS)
        lines += ["**Left behind:**", "", *(f"- {each}" for each in left), ""]
    elif not failure.mutations:
        lines += ["Nothing was changed.", ""]
    kind = code(error.kind())
    upstream = [
        f"{name} {code(value)}"
        for name, value in (("code", error.upstream_code), ("correlation id", error.correlation_id))
        if value
    ]
    return [*lines, " · ".join([f"docs/contract.md: {kind}", *upstream]), ""]


def _paragraphs(text: str) -> list[str]:
    """One paragraph for each line of what happened: findings are listed one a line there."""
    lines = [each for each in clean(text).split("\n") if each.strip()]
    return [part for each in clip_lines(lines, _ROWS) for part in (_sentence(each), "")]


def _sentence(text: str) -> str:
    return prose(clip(text, _SENTENCE_CHARS))


def _findings(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    rows = [
        (str(each.severity), code(each.code), _cell(each.what), _cell(f"{each.usually} {each.remedy}"))
        for each in findings[:_ROWS]
    ]
    return ["Findings:", "", *table(("", "Check", "What", "Cause and remedy"), rows)]


def _cell(text: str) -> str:
    return prose(clip(text.strip(), 600))


def _mutations(ended: Outcome | Failure) -> list[str]:
    if not ended.mutations:
        return []
    rows = [(prose(moment(each.at)), _cell(each.what), code(each.subject)) for each in ended.mutations[:_ROWS]]
    return folded("What was changed", table(("Time", "What", "Subject"), rows))


def _timings(ended: Outcome | Failure) -> list[str]:
    if not ended.timings:
        return []
    rows = [(_cell(each.phase), duration(each.duration_s)) for each in ended.timings[:_ROWS]]
    return folded("Timings", table(("Phase", "Took"), rows))


def _log(log: str, room_bytes: int) -> list[str]:
    if not log.strip() or room_bytes < _LEAST_LOG_BYTES:
        return []
    # Escaped, a character of the log takes five bytes at most; its UTF-8 length is counted before.
    return folded("Log", block(clip_log(clean(log).strip("\n"), min(_LOG_BYTES, room_bytes // 5))))
