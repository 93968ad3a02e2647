"""Reads uv's explanation of why requirements do not resolve, and says it in the words of the model's own lines.

Pure over text. uv's wording is not an interface: what is not recognised stays UNEXPLAINED and is shown as uv wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from packaging.utils import canonicalize_name

from mlaz_ci.serving.matrix import SERVER_PACKAGE
from mlaz_ci.serving.requirement_files import name_of

_SPEC: Final = r"(?:[<>=!~]=?[^\s,]+(?:,[<>=!~]=?[^\s,]+)*)"
_TERM: Final = (
    rf"(?P<{{0}}>[A-Za-z0-9][A-Za-z0-9._-]*?)(?:\[[^\]\s]*\])?(?:\{{{{[^}}}}]*\}}}})?(?P<{{0}}_spec>{_SPEC})?"
)
_NEEDS: Final = re.compile(
    rf"(?<![\w.-]){_TERM.format('who')} depends on {_TERM.format('what')}(?=[\s,]|\.?$|\.\s)", re.MULTILINE
)
_NOT_FOUND: Final = re.compile(
    r"(?:Because|and|,) ([A-Za-z0-9._-]+) was not found in the (?:package registry|provided)"
)
_NO_VERSION: Final = re.compile(r"there (?:is|are) no versions? of ([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?(?:[<>=!~,{\s]|$)")
_NO_WHEEL: Final = re.compile(
    r"(?:([A-Za-z0-9._-]+?)(?:[<>=!~][^\s]*)? has no (?:usable )?wheels|Wheels are required for `([^`]+)`)"
)
_BUILD_FAILED: Final = re.compile(r"Failed to (?:download and )?build `?([A-Za-z0-9._-]+?)(?:[=@ `]|$)")
_OTHER_PYTHON: Final = re.compile(
    rf"(?<![\w.-]){_TERM.format('who')} (?:depends on|requires) Python ?(?P<python>{_SPEC})"
)
_FILTERED_BY_DATE: Final = "filtered by `exclude-newer`"


class Reason(StrEnum):
    NOT_FOUND = "package-not-found"
    NO_VERSION = "version-not-found"
    NO_WHEEL = "package-without-wheel"
    OTHER_PYTHON = "package-for-other-python"
    BUILD_FAILED = "package-build-failed"
    INCOMPATIBLE = "requirements-conflict"
    UNEXPLAINED = "requirements-unsatisfiable"


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """`suspects` are names of the model's own requirements, the likeliest first; `sentence` has who needs what, or is ""."""

    reason: Reason
    suspects: tuple[str, ...]
    sentence: str


@dataclass(frozen=True, slots=True)
class _Need:
    who: str
    who_spec: str
    what: str
    what_spec: str

    def words(self, own: Mapping[str, str]) -> str:
        who = own.get(canonicalize_name(self.who), f"{self.who}{self.who_spec}")
        return f"{who} needs {self.what}{self.what_spec}"


def is_filtered_by_date(text: str) -> bool:
    return _FILTERED_BY_DATE in text


def read_conflict(text: str, requirements: Sequence[str]) -> Conflict:
    """`requirements` are the model's own lines; uv's text may speak of many more packages."""
    flat = re.sub(r"\s+", " ", text)
    own = {name_of(line): line for line in requirements}
    for reason, pattern in (
        (Reason.BUILD_FAILED, _BUILD_FAILED),
        (Reason.NOT_FOUND, _NOT_FOUND),
        (Reason.NO_VERSION, _NO_VERSION),
        (Reason.NO_WHEEL, _NO_WHEEL),
    ):
        names = [canonicalize_name(next(filter(None, each.groups()))) for each in pattern.finditer(flat)]
        found = tuple(dict.fromkeys(each for each in names if each in own))
        if found:
            return Conflict(reason=reason, suspects=found, sentence=own[found[0]])
        if names and reason in {Reason.BUILD_FAILED, Reason.NOT_FOUND}:
            return Conflict(reason=reason, suspects=_mentioned(flat, own), sentence=names[0])
    if other_python := _read_other_python(flat, own):
        return other_python
    return _read_needs(flat, own)


def _read_other_python(flat: str, own: Mapping[str, str]) -> Conflict | None:
    for match in _OTHER_PYTHON.finditer(flat):
        name = canonicalize_name(match["who"])
        if name in own:
            return Conflict(
                reason=Reason.OTHER_PYTHON, suspects=(name,), sentence=f"{own[name]} needs Python {match['python']}"
            )
    return None


def _read_needs(flat: str, own: Mapping[str, str]) -> Conflict:
    needs = [
        _Need(
            each["who"], each["who_spec"] or "", canonicalize_name(each["what"]), (each["what_spec"] or "").rstrip(".")
        )
        for each in _NEEDS.finditer(flat)
    ]
    disputed = _disputed(needs, own)
    mentioned = _mentioned(flat, own)
    if not needs:
        return Conflict(reason=Reason.UNEXPLAINED, suspects=mentioned, sentence="")
    suspects = [each.what for each in disputed if each.what in own]
    suspects += [name for each in disputed if (name := canonicalize_name(each.who)) in own]
    words = dict.fromkeys(each.words(own) for each in disputed)
    pinned = dict.fromkeys(own[each.what] for each in disputed if each.what in own)
    sentence = "; ".join((*(f"the model requires {line}" for line in pinned), *words))
    return Conflict(
        reason=Reason.INCOMPATIBLE,
        suspects=tuple(dict.fromkeys((*suspects, *mentioned))),
        sentence=sentence or "; ".join(dict.fromkeys(each.words(own) for each in needs[:3])),
    )


def _disputed(needs: Sequence[_Need], own: Mapping[str, str]) -> list[_Need]:
    """The needs about one package that several, or the model and another, want otherwise; the server's side named last."""
    for what in dict.fromkeys(each.what for each in needs):
        about = [each for each in needs if each.what == what]
        if len({(each.who, each.what_spec) for each in about}) > 1 or what in own:
            return sorted(about, key=lambda each: canonicalize_name(each.who) == SERVER_PACKAGE)
    return []


def _mentioned(flat: str, own: Mapping[str, str]) -> tuple[str, ...]:
    places = {
        name: match.start()
        for name in own
        if (match := re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)", flat)) and name != SERVER_PACKAGE
    }
    return tuple(sorted(places, key=places.__getitem__))
