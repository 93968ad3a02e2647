"""Finds Python interpreters on this machine: uv's own, this one, PATH, pyenv. Downloads nothing.

Not by `uv python find`: a pyenv shim on PATH that refuses its version ends uv's search with an error.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROBE: Final = "import sys; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"


def python_folder(environ: Mapping[str, str]) -> Path:
    """Where uv keeps the interpreters that it installs."""
    if given := environ.get("UV_PYTHON_INSTALL_DIR"):
        return Path(given)
    data = environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path(environ.get("HOME") or Path.home()) / ".local" / "share") / "uv" / "python"


def find_interpreter(minor: str, environ: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    """A CPython of that major.minor. `environ` says where to look, `environment` is what a candidate is tried in."""
    for candidate in _candidates(minor, environ):
        with suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(
                [str(candidate), "-I", "-c", _PROBE],
                check=False,
                capture_output=True,
                text=True,
                timeout=30,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
            )
            if answer.returncode == 0 and answer.stdout.split() == ["cpython", minor]:
                return candidate
    return None


def known_interpreters(environ: Mapping[str, str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The minor versions that are here, for an error to name."""
    minors = [f"3.{number}" for number in range(8, 16)]
    return tuple(each for each in minors if find_interpreter(each, environ, environment))


def _candidates(minor: str, environ: Mapping[str, str]) -> Iterator[Path]:
    name = f"python{minor}"
    if minor == "{}.{}".format(*sys.version_info[:2]):
        yield Path(sys.executable)
    yield from _newest_first(python_folder(environ).glob(f"cpython-{minor}.*/bin/{name}"))
    for folder in environ.get("PATH", "").split(":"):
        found = shutil.which(name, path=folder) if folder.startswith("/") and not folder.endswith("/shims") else None
        if found:
            yield Path(found)
    pyenv = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME") or Path.home()) / ".pyenv")
    yield from _newest_first(pyenv.glob(f"versions/{minor}.*/bin/{name}"))


def _newest_first(paths: Iterator[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))], reverse=True)
