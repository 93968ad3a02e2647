"""From a model's requirement files to what uv is asked, and from uv's answer to the lock and the conda file.

Pure over texts. It must not know how uv is run, nor what a finding leads to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from mlaz_ci.models import Lock
from mlaz_ci.serving.matrix import MONITORING_PACKAGE, SERVER_PACKAGE, ServerRange, python_support

_PINNED: Final = re.compile(
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)(?:\[[a-z0-9,.-]+\])?"
    r"(?:==(?P<version>[A-Za-z0-9.!+_-]+)| @ (?P<url>https://[^\s@]+))(?: ; [^\\]+)?"
)
_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_INDEX_LINE: Final = re.compile(r"--(?:index-url|extra-index-url|find-links) https://[^\s@]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedPackage:
    """One entry of a lock. Exactly one of `version` and `url` is set."""

    name: str
    text: str
    version: str | None
    url: str | None
    hashes: tuple[str, ...]


def make_lock(
    text: str,
    *,
    python_version: str,
    server_range: str,
    base_image: str,
    index_options: tuple[str, ...] = (),
    conda_packages: tuple[str, ...] = (),
) -> Lock:
    """The lock of uv's answer. `python_version` counts to the minor: wheels and pickles go by it, and equal locks share an image."""
    body = text if text.endswith("\n") else f"{text}\n"
    return Lock(
        text="".join(f"{each}\n" for each in index_options) + body,
        python_version=minor_of(python_version),
        server_range=server_range,
        base_image=base_image,
        conda_packages=tuple(sorted(conda_packages)),
    )


def minor_of(python_version: str) -> str:
    return ".".join(python_version.split(".")[:2])


def locked_packages(text: str) -> tuple[LockedPackage, ...]:
    """The entries of a lock's text. Raises ValueError for anything a lock of ours does not hold: options, paths, other hashes."""
    packages = []
    for line in _joined_lines(text):
        if _INDEX_LINE.fullmatch(line):
            continue
        head, *hashes = re.split(r"\s+(?=--hash=)", line)
        match = _PINNED.fullmatch(head)
        if match is None or not all(_HASH.fullmatch(each) for each in hashes):
            raise ValueError(f"not a locked package: {line[:120]}")
        packages.append(
            LockedPackage(
                name=match["name"], text=head, version=match["version"], url=match["url"], hashes=tuple(hashes)
            )
        )
    return tuple(packages)


def render_conda(lock: Lock) -> str:
    """The conda file of the lock, as both of Azure's worlds take it: Python, pip, conda's own packages, the lock with hashes."""
    lines = ["name: mlaz-ci", "channels:", "  - conda-forge", "dependencies:"]
    lines += [f"  - {_quoted(each)}" for each in (f"python={lock.python_version}", "pip", *lock.conda_packages)]
    lines.append("  - pip:")
    # pip reads each entry as one line of a requirements file, hashes included.
    lines += [f"      - {_quoted(each)}" for each in _joined_lines(lock.text)]
    return "\n".join(lines) + "\n"


def why_lock_does_not_fit(
    lock: Lock,
    *,
    python_version: str,
    requirements: tuple[str, ...],
    base_image: str,
    conda_packages: tuple[str, ...] = (),
    collects_data: bool = False,
) -> str | None:
    """None where a lock kept with the model can be used again, else the reason in one clause."""
    try:
        packages = {each.name: each for each in locked_packages(lock.text)}
    except ValueError as error:
        return f"it holds what no lock holds ({error})"
    ranges = {each.specifier for each in _server_ranges(python_version)}
    reasons = (
        (
            lock.python_version != minor_of(python_version),
            f"it is for Python {lock.python_version}, the model for {minor_of(python_version)}",
        ),
        (lock.base_image != base_image, f"it is for the base image {lock.base_image}"),
        (lock.conda_packages != tuple(sorted(conda_packages)), "its conda packages are not the model's"),
        (lock.server_range not in ranges, f"its inference server range {lock.server_range} is not supported any more"),
        (collects_data and MONITORING_PACKAGE not in packages, f"it lacks {MONITORING_PACKAGE}"),
        (not all(each.hashes for each in packages.values()), "a package in it has no hash"),
    )
    why = next((text for is_so, text in reasons if is_so), None)
    wanted = (f"{SERVER_PACKAGE}{lock.server_range}", *requirements)
    return why or next((text for each in wanted if (text := _why_unmet(each, packages, python_version))), None)


def _server_ranges(python_version: str) -> tuple[ServerRange, ...]:
    support = python_support(minor_of(python_version))
    return support.ranges if support else ()


def _why_unmet(line: str, packages: Mapping[str, LockedPackage], python_version: str) -> str | None:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return f"the model's requirement {line[:80]} cannot be read"
    if requirement.marker and not requirement.marker.evaluate(marker_environment(python_version)):
        return None
    package = packages.get(canonicalize_name(requirement.name))
    if package is None:
        return f"it lacks {requirement.name}"
    if requirement.url or package.url:
        return None if requirement.url == package.url else f"{requirement.name} comes from another place"
    if not is_version_in(package.version or "", requirement.specifier):
        return f"it has {package.name} {package.version}, the model wants {requirement.specifier}"
    return None


def is_version_in(version: str, specifier: SpecifierSet) -> bool:
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def marker_environment(python_version: str) -> dict[str, str]:
    """The markers of the machine a model is served on, whatever this one is."""
    support = python_support(minor_of(python_version))
    full = python_version if python_version.count(".") > 1 or support is None else support.patch
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": full,
        "python_version": minor_of(python_version),
        "sys_platform": "linux",
        "extra": "",
    }


def _joined_lines(text: str) -> Iterator[str]:
    """Logical lines: continuations joined, comments and blanks left out."""
    joined = re.sub(r"\s*\\\n\s*", " ", text)
    for line in joined.splitlines():
        bare = re.sub(r"(?:^|\s)#.*$", "", line).strip()
        if bare:
            yield bare


def _quoted(item: str) -> str:
    """Single-quoted YAML where the plain form would be read as something else."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+=-]*", item):
        return item
    return "'" + item.replace("'", "''") + "'"
