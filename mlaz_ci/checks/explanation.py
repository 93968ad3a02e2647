"""The words for requirements that do not resolve: fact, cause and remedy by reason, and the change that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlaz_ci.checks.conflict import Conflict, Reason
from mlaz_ci.checks.nearest_change import Change
from mlaz_ci.models import Finding, Severity
from mlaz_ci.serving.matrix import SERVER_PACKAGE

_WORDS: Final[Mapping[Reason, tuple[str, str, str]]] = {
    Reason.NOT_FOUND: (
        "The package {subject} is not in {index}.",
        "It is a private package, was deleted, or its name is mistyped.",
        "Name its index in UV_INDEX or PIP_EXTRA_INDEX_URL, or log its code with the model (`code_paths=[…]`).",
    ),
    Reason.NO_VERSION: (
        "There is no version of the package that {subject} asks for in {index}.",
        "It was a development or local build, was deleted, or lives in another index.",
        "Require a released version and log the model again, or name the other index in UV_INDEX.",
    ),
    Reason.NO_WHEEL: (
        "{subject} has no wheel for Python {python} on linux x86_64.",
        "It would be built from source, which runs its code at build time; that is off unless asked for.",
        "`build-from-source: true` builds it; its code can then read the package index's login, and no other secret.",
    ),
    Reason.OTHER_PYTHON: (
        "{subject}; the model was logged under Python {python}.",
        "The requirements were edited, or come from another environment than the model's.",
        "Log the model again in the environment that it is to be served with.",
    ),
    Reason.BUILD_FAILED: (
        "The package {subject} could not be built from source.",
        "Its build needs a compiler or a system library that is not here.",
        "Require a version that has a wheel; the build's own words are in the log.",
    ),
    Reason.INCOMPATIBLE: (
        "The model's requirements cannot be installed beside the inference server: {subject}.",
        "A package that the model pins is older or newer than what the server works with.",
        "No change of a single requirement was found that resolves; loosen the pins named above.",
    ),
    Reason.UNEXPLAINED: (
        "The model's requirements cannot be resolved.",
        "See the resolver's own words in the log.",
        "Correct the requirements and log the model again.",
    ),
}
_OWN_CONFLICT: Final = (
    "The model's own requirements exclude each other: {subject}.",
    "They were edited, or the environment that logged the model was inconsistent (`pip check` tells).",
    "Make them agree and log the model again.",
)


def explain(
    conflict: Conflict, change: Change | None, *, is_own: bool, python: str, index: str, detail: str
) -> Finding:
    """`is_own`: the model's requirements fail without the server too. `index` names what was asked, or is ""."""
    is_own_conflict = is_own and conflict.reason is Reason.INCOMPATIBLE
    what, usually, remedy = _OWN_CONFLICT if is_own_conflict else _WORDS[conflict.reason]
    if change is not None:
        beside = f" with {SERVER_PACKAGE} {change.server_version}" if change.server_version else ""
        tried = (
            f"Require {change.after} instead of {change.before} (tried: it resolves{beside}) and log the model again."
        )
        remedy = f"{tried} {remedy}" if conflict.reason is Reason.NO_WHEEL else tried
    return Finding(
        code=conflict.reason,
        severity=Severity.ERROR,
        what=what.format(subject=conflict.sentence, python=python, index=index or "the default package index"),
        usually=usually,
        remedy=remedy,
        detail=detail,
    )
