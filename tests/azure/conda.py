"""Environments as Azure's image build makes them: a conda file in, an interpreter with its packages out. Built by uv, cached by content.

There is no conda here: of conda's packages only python and pip can be had, and what asks for another fails its build and says so.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.azure.backends import BuildFailed
from tests.pythons import find_interpreter, lend_bytecode

# As it was before a test pointed its clients, and thereby this process, at the emulator.
_OUTSIDE = dict(os.environ)
_BUILD_TIMEOUT_S = 600.0
_PYTHON = re.compile(r"python\s*(?:[=~]=?|>=)?\s*(\d+\.\d+)?")
_PIP = re.compile(r"pip\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a conda file asks for, as far as it can be had here."""

    python: str
    requirements: tuple[str, ...]


def default_folder() -> Path:
    cache = _OUTSIDE.get("XDG_CACHE_HOME") or str(Path(_OUTSIDE.get("HOME") or Path.home()) / ".cache")
    return Path(cache) / "mlaz-ci-tests" / "emulator-environments"


def read(text: str) -> Wanted:
    """Raises BuildFailed, with the log that a build would leave."""
    try:
        parsed = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise BuildFailed(f"EnvironmentFileInvalid: {error}\n") from error
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    requirements: list[str] = []
    strangers: list[str] = []
    for each in _dependencies(parsed):
        if isinstance(each, dict):
            requirements += [str(line) for line in each.get("pip") or ()]
        elif match := _PYTHON.match(str(each)):
            python = match.group(1) or python
        elif not _PIP.match(str(each)):
            strangers.append(str(each))
    if strangers:
        packages = "\n".join(f"  - {each}" for each in strangers)
        raise BuildFailed(
            f"Collecting package metadata: done\nSolving environment: failed\n\nResolvePackageNotFound:\n{packages}\n"
        )
    return Wanted(python=python, requirements=tuple(requirements))


def _dependencies(parsed: Any) -> list[Any]:
    dependencies = parsed.get("dependencies") if isinstance(parsed, dict) else None
    return dependencies if isinstance(dependencies, list) else []


@dataclass(frozen=True, slots=True)
class Environments:
    """Implements environments.Builder; one folder may serve many processes at once."""

    folder: Path

    def build(self, conda: str) -> str:
        """The build's log."""
        wanted = read(conda)
        return (self._made(wanted) / "build.log").read_text(encoding="utf-8")

    def python_of(self, conda: str, *, more: tuple[str, ...] = ()) -> Path:
        """The interpreter of the built environment; `more` are requirements beside the file's."""
        wanted = read(conda)
        place = self._made(Wanted(python=wanted.python, requirements=(*wanted.requirements, *more)))
        return place / "venv" / "bin" / "python"

    def _made(self, wanted: Wanted) -> Path:
        name = hashlib.sha256("\n".join([wanted.python, *wanted.requirements]).encode()).hexdigest()[:16]
        place = self.folder / name
        with self._guard(name):
            if not (place / ".complete").exists():
                shutil.rmtree(place, ignore_errors=True)
                place.mkdir(parents=True)
                try:
                    _make(wanted, place)
                except BaseException:
                    shutil.rmtree(place, ignore_errors=True)
                    raise
                (place / ".complete").touch()
        return place

    @contextmanager
    def _guard(self, name: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.guard").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _make(wanted: Wanted, place: Path) -> None:
    requirements = place / "requirements.txt"
    requirements.write_text("\n".join(wanted.requirements) + "\n", encoding="utf-8")
    found = find_interpreter(wanted.python, uv=uv_command(), environ=_OUTSIDE)
    log = _uv("venv", "--quiet", "--no-project", "--python", str(found or wanted.python), str(place / "venv"))
    if wanted.requirements:
        python = str(place / "venv" / "bin" / "python")
        log += _uv("pip", "install", "--python", python, *_find_links(), "--requirement", str(requirements))
        lend_bytecode(place / "venv", place.parent.glob("*/venv"))
    (place / "build.log").write_text(log, encoding="utf-8")


def _find_links() -> list[str]:
    """Wheels that the machine has at hand for pip, which uv does not ask by itself."""
    return [part for folder in _OUTSIDE.get("PIP_FIND_LINKS", "").split() for part in ("--find-links", folder)]


def uv_command() -> str:
    """The uv beside this Python, else the one on the path; FileNotFoundError with what to do when there is none."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv", path=_OUTSIDE.get("PATH"))
    if found is None:
        raise FileNotFoundError(f"real serving needs uv: install it beside {sys.executable}, or on the path")
    return found


def _uv(*arguments: str) -> str:
    command = [uv_command(), *arguments, "--no-config"]
    environment = {**_OUTSIDE, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1", "UV_NO_PROGRESS": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
    )
    log = f"$ uv {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    if done.returncode:
        raise BuildFailed(log)
    return log
