"""What is pinned to the run's page: only what makes a run red. Warnings and notices were annotated when they were found."""

from __future__ import annotations

from typing import Final

from mlaz_ci.models import Failure, Outcome, Severity
from mlaz_ci.report.text import clip, one_line
from mlaz_ci.report.verdict import headline, is_red, meaning

Annotation = tuple[Severity, str, str]
"""(severity, title, text): the arguments of `Platform.annotate`."""

_TEXT_CHARS: Final = 2_000
# GitHub shows ten errors of a step.
_MOST: Final = 10


def render_annotations(ended: Outcome | Failure) -> tuple[Annotation, ...]:
    """Never a log in them: an annotation is read on a page full of others."""
    if isinstance(ended, Outcome):
        detail = [one_line(each) for each in ended.notes[:1]]
        text = "\n".join([headline(ended), *_more(ended), *detail])
        return ((Severity.ERROR, f"mlaz-ci {ended.command}", clip(text, _TEXT_CHARS)),) if is_red(ended) else ()
    error = ended.error
    parts = [error.what, f"Usually: {error.cause_text}" if error.cause_text else "", error.remedy_text]
    first = (Severity.ERROR, error.kind(), clip("\n".join(part for part in parts if part), _TEXT_CHARS))
    rest = (
        (Severity.ERROR, each.code, clip(" ".join(part for part in (each.what, each.remedy) if part), _TEXT_CHARS))
        for each in ended.findings
        if each.severity is Severity.ERROR and each.what not in error.what
    )
    return (first, *rest)[:_MOST]


def _more(outcome: Outcome) -> list[str]:
    answered = f"The answer was HTTP {outcome.response.status_code}." if outcome.response else ""
    return [each for each in (meaning(outcome), answered) if each]
