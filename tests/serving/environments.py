"""Real environments for the serving tests: locked and installed by uv, cached by what is in them.

The cache is MLAZ_TEST_CACHE (default ~/.cache/mlaz-ci-tests); deleting it costs time only.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import pythons

CACHE = Path(os.environ.get("MLAZ_TEST_CACHE", "~/.cache/mlaz-ci-tests")).expanduser()
SERVER = "azureml-inference-server-http"


class Unresolvable(Exception):
    """uv finds no environment for these requirements; the text is its explanation."""


def server_ranges(python_version: str) -> tuple[str, ...]:
    """The supported ranges of Microsoft's inference server, in order of preference."""
    return (">=1.2,<1.3",) if python_version == "3.8" else ("==1.5.*", ">=1.4,<1.5")


def interpreter(python_version: str) -> Path:
    """A Python of that version on this machine. Skips where there is none."""
    found = _find(python_version)
    if found is None:
        pytest.skip(f"no Python {python_version} on this machine")
    return found


def first_interpreter(python_versions: Sequence[str]) -> str:
    """The first of these versions that is on this machine. Skips where none is."""
    for version in python_versions:
        if _find(version):
            return version
    pytest.skip(f"no Python {' or '.join(python_versions)} on this machine")


def lock(requirements: Sequence[str], python_version: str, ranges: Sequence[str] = ()) -> str:
    """The exact packages for `requirements` beside the inference server: the first of `ranges` that resolves."""
    key = digest("lock", python_version, *requirements, *ranges)
    cached = CACHE / "locks" / f"{key}.txt"
    with exclusive(cached):
        if not cached.is_file():
            cached.write_text(_resolve(requirements, python_version, ranges))
        return cached.read_text()


def environment(locked: str, python_version: str) -> Path:
    """The interpreter of the environment that holds exactly `locked`."""
    folder = CACHE / "environments" / digest(python_version, locked)
    with exclusive(folder):
        if not (folder / ".complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--quiet", "--python", str(interpreter(python_version)), str(folder))
            (folder / "lock.txt").write_text(locked)
            _uv(
                "pip",
                "sync",
                "--quiet",
                *_find_links(),
                "--python",
                str(folder / "bin/python"),
                str(folder / "lock.txt"),
            )
            lend_bytecode(folder)
            (folder / ".complete").touch()
    return folder / "bin/python"


def serving_environment(requirements: Sequence[str], python_version: str, ranges: Sequence[str] | None = None) -> Path:
    """Where a model with these requirements is served: its packages and the inference server, locked together."""
    ranges = server_ranges(python_version) if ranges is None else ranges
    return environment(lock(requirements, python_version, ranges), python_version)


def lend_bytecode(environment: Path) -> None:
    """Give it what its neighbours in the cache have compiled already."""
    pythons.lend_bytecode(environment, environment.parent.glob("*"))


def made_by(python: Path, script: Path) -> Path:
    """The folder that `script FOLDER` filled, run by that interpreter of the cache."""
    locked = (python.parent.parent / "lock.txt").read_text()
    folder = CACHE / "models" / digest(script.read_text(), str(python), locked)
    with exclusive(folder):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
                made = Path(draft) / "made"
                made.mkdir()
                command = [python, script, made]
                done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, cwd=made)
                assert done.returncode == 0, done.stderr
                made.rename(folder)
    return folder


def _find(python_version: str) -> Path | None:
    return pythons.find_interpreter(python_version, uv=_uv_command(), environ=_kept())


def _resolve(requirements: Sequence[str], python_version: str, ranges: Sequence[str]) -> str:
    explanation = ""
    for server in [f"{SERVER}{each}" for each in ranges] or [""]:
        given = "\n".join([*requirements, server])
        arguments = ["--quiet", "--no-header", "--no-annotate", "--generate-hashes", "--no-build", *_find_links()]
        done = _uv(
            "pip", "compile", *arguments, "--python", str(interpreter(python_version)), "-", check=False, text=given
        )
        if done.returncode == 0:
            return done.stdout
        explanation = done.stderr
    raise Unresolvable(explanation)


def _find_links() -> list[str]:
    """Wheels that the machine has at hand for pip count for uv too (a CPU build of PyTorch, say)."""
    return [part for folder in os.environ.get("PIP_FIND_LINKS", "").split() for part in ("--find-links", folder)]


def _uv(*arguments: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [_uv_command(), *arguments], check=False, capture_output=True, text=True, input=text, env=_kept(), timeout=900
    )
    if check and done.returncode != 0:
        pytest.fail(f"uv {arguments[0]} {arguments[1]} failed:\n{done.stderr}")
    return done


def _uv_command() -> str:
    return shutil.which("uv") or str(Path(sys.executable).with_name("uv"))


def _kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time makes a thing of the cache; the others wait and find it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{path.name}.guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
