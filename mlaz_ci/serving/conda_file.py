"""Reads a conda.yaml: Python, the packages that are conda's, and the lines that are pip's. Total: any text gives values or None."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

_ENTRIES: Final = 2000
_PACKAGE: Final = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_.-]+)(?P<rest>.*)", re.DOTALL)
_VERSION: Final = re.compile(r"\d+\.\d+(?:\.\d+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class CondaFile:
    """`packages` are conda's own, neither python nor pip."""

    python_version: str | None = None
    packages: tuple[str, ...] = ()
    pip: tuple[str, ...] = ()


def read_conda_file(text: str) -> CondaFile | None:
    """None where the text is not a conda environment file; an empty text is an empty one."""
    if not text:
        return CondaFile()
    try:
        root = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, KeyError, OverflowError):
        # The last five escape PyYAML's own constructors for values that are not what they are tagged as.
        return None
    dependencies = root.get("dependencies") if isinstance(root, dict) else None
    return _read_dependencies(dependencies) if isinstance(dependencies, list) else None


def _read_dependencies(dependencies: Sequence[Any]) -> CondaFile:
    python_version: str | None = None
    packages: list[str] = []
    pip: list[str] = []
    for each in dependencies[:_ENTRIES]:
        if isinstance(each, dict) and isinstance(each.get("pip"), list):
            pip += [line for line in each["pip"][:_ENTRIES] if isinstance(line, str)]
        match = _PACKAGE.match(each.strip()) if isinstance(each, str) else None
        if match is None or match["name"].lower() == "pip":
            continue
        if match["name"].lower() == "python":
            version = _VERSION.search(match["rest"])
            python_version = version[0] if version else python_version
        else:
            packages.append(each.strip()[:200])
    return CondaFile(python_version=python_version, packages=tuple(packages), pip=tuple(pip))
