"""Which one requirement of the model to change, and to what, so that the rest resolves. Every answer was tried with the resolver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from mlaz_ci.serving.lock import LockedPackage, locked_packages
from mlaz_ci.serving.matrix import SERVER_PACKAGE
from mlaz_ci.serving.requirement_files import name_of, replaced

_TRIES: Final = 6
_SUSPECTS: Final = 3


class Ask(Protocol):
    """The lock's text for these lines as of today, or None."""

    def __call__(self, lines: Sequence[str], *, prefer_lowest: bool = False) -> str | None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    before: str
    after: str
    server_version: str | None


def find_nearest_change(
    requirements: tuple[str, ...], server: tuple[str, ...], suspects: Sequence[str], ask: Ask
) -> Change | None:
    """Loosen one suspect at a time, upwards first; then look for the version nearest to the pin that still resolves."""
    tries = 0
    for name in suspects[:_SUSPECTS]:
        before = next(line for line in requirements if name_of(line) == name)
        for loosened in _loosened(before):
            tries += 1
            if tries > _TRIES:
                return None
            lines = (*replaced(requirements, name, loosened), *server)
            text = ask(lines)
            if text is not None:
                nearest = _narrowed(loosened, lines, text, ask)
                server_line = nearest.get(SERVER_PACKAGE)
                return Change(
                    before=before,
                    after=f"{_bare(before)}=={nearest[name].version}",
                    server_version=server_line.version if server_line else None,
                )
    return None


def _narrowed(loosened: str, lines: tuple[str, ...], text: str, ask: Ask) -> dict[str, LockedPackage]:
    """What was found, or the same with the lowest version that `loosened` allows."""
    name = name_of(loosened)
    found = {each.name: each for each in locked_packages(text)}
    highest = found[name].version
    if highest is not None and ">=" in loosened:
        # All else stays as it was found, so that "lowest" speaks of this package alone.
        others = tuple(_pinned(line, found) for line in lines if name_of(line) != name)
        lowest = ask((*others, f"{_bare(loosened)}{Requirement(loosened).specifier},<={highest}"), prefer_lowest=True)
        if lowest is not None:
            return {each.name: each for each in locked_packages(lowest)}
    return found


def _loosened(line: str) -> Iterator[str]:
    """From the pin upwards within its major version, upwards at all, then downwards."""
    requirement = Requirement(line)
    if requirement.url:
        return
    bare = _bare(line)
    versions = sorted(_versions(requirement))
    if not versions:
        return
    version = versions[-1]
    if version.local:
        yield f"{bare}=={version.public}"
    yield f"{bare}>={version.public},<{version.major + 1}"
    yield f"{bare}>={version.public}"
    yield f"{bare}<{version.public}"


def _versions(requirement: Requirement) -> Iterator[Version]:
    for each in requirement.specifier:
        try:
            yield Version(each.version.removesuffix(".*"))
        except InvalidVersion:
            continue


def _bare(line: str) -> str:
    requirement = Requirement(line)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}"


def _pinned(line: str, found: dict[str, LockedPackage]) -> str:
    package = found.get(name_of(line))
    return f"{_bare(line)}=={package.version}" if package and package.version else line
