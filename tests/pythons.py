"""The Pythons of this machine, and the environments that tests build of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path


def find_interpreter(python_version: str, *, uv: str, environ: Mapping[str, str]) -> Path | None:
    """A Python of that minor version: uv knows PATH and its own interpreters; pyenv's, whose shims uv stumbles over, are looked for."""
    root = environ.get("PYENV_ROOT") or str(Path(environ.get("HOME") or Path.home()) / ".pyenv")
    return _find(python_version, uv, tuple(sorted(environ.items())), Path(root) / "versions")


@cache
def _find(python_version: str, uv: str, environ: tuple[tuple[str, str], ...], pyenv: Path) -> Path | None:
    command = [uv, "python", "find", "--no-python-downloads", "--system", python_version]
    found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=dict(environ))
    path = found.stdout.strip()
    if found.returncode == 0 and _runs(path, python_version):
        return Path(path)
    candidates = sorted(pyenv.glob(f"{python_version}.*/bin/python"), reverse=True)
    return next((each for each in candidates if _runs(str(each), python_version)), None)


def _runs(path: str, python_version: str) -> bool:
    probe = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        done = subprocess.run(probe, check=False, capture_output=True, text=True, timeout=60)
    except OSError:
        return False
    return done.stdout.strip() == python_version


def lend_bytecode(environment: Path, others: Iterable[Path]) -> None:
    """Give it what the environment most like it has compiled already: the greater part of a first import of mlflow.

    uv links a module from its own cache: two paths with one inode hold the same module, and one bytecode serves both.
    """
    (ours,) = environment.glob("lib/python*/site-packages")
    places = (each / "lib" / ours.parent.name / "site-packages" for each in others if each != environment)
    theirs = max(
        (each for each in places if each.is_dir()), key=lambda each: len(_wheels(each) & _wheels(ours)), default=ours
    )
    for compiled in theirs.rglob("__pycache__/*.pyc"):
        module = compiled.parent.parent / f"{compiled.name.partition('.')[0]}.py"
        folder = ours / module.parent.relative_to(theirs)
        with suppress(OSError):
            if (folder / module.name).samefile(module):
                (folder / "__pycache__").mkdir(exist_ok=True)
                os.link(compiled, folder / "__pycache__" / compiled.name)


def _wheels(site_packages: Path) -> set[str]:
    return {each.name for each in site_packages.glob("*.dist-info")}
