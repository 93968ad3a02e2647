"""uv as our resolver and builder of environments, in surroundings that hold none of the step's secrets.

The only room that runs uv. What its answers mean for a model is the checks' business.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.uv.command import Completed, run_uv
from mlaz_ci.adapters.uv.indexes import Indexes, read_indexes
from mlaz_ci.adapters.uv.interpreters import find_interpreter, known_interpreters, python_folder
from mlaz_ci.errors import (
    DiskFull,
    EnvironmentBuildFailed,
    PackageIndexAccessDenied,
    PackageIndexUnreachable,
    PythonNotAvailable,
)
from mlaz_ci.models import Lock
from mlaz_ci.ports import Progress, Resolution
from mlaz_ci.serving.lock import minor_of
from mlaz_ci.serving.matrix import PYTHON_PLATFORM
from mlaz_ci.serving.surroundings import mask_user_info, scrubbed_environment

__all__ = ["UvResolver"]

_UNREACHABLE: Final = re.compile(
    r"error sending request|Request failed after|operation timed out|dns error|HTTP status server error|"
    r"tcp connect error|Connection refused|connection closed|invalid peer certificate|Network connectivity is disabled"
)
_DENIED: Final = re.compile(r"lack of valid authentication credentials|\(40[13] (?:Unauthorized|Forbidden)\)")
_NO_ROOM: Final = re.compile(r"No space left on device|Disk quota exceeded|\(os error (?:28|122)\)")
_DOWNLOAD: Final = re.compile(
    r"\s*(?P<verb>Downloading|Downloaded) (?P<name>\S+)(?: \((?P<size>[\d.]+)(?P<unit>[KMG])iB\))?"
)
_MIB_OF: Final = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}
_PR_SET_DUMPABLE: Final = 4


class UvResolver:
    """Implements ports.Resolver, and builds what local services run in. `home` is a folder of our own; `environ` is read here alone."""

    def __init__(
        self,
        environ: Mapping[str, str],
        home: Path,
        *,
        build_from_source: bool = False,
        resolve_timeout_s: float = 300.0,
        build_timeout_s: float = 1800.0,
    ) -> None:
        self._environ = environ
        self._home = home
        self._build_from_source = build_from_source
        self._resolve_timeout_s = resolve_timeout_s
        self._build_timeout_s = build_timeout_s

    def resolve(
        self,
        requirements: Sequence[str],
        *,
        python_version: str,
        exclude_newer: datetime | None,
        exempt_packages: Sequence[str] = (),
        build_from_source: bool = False,
        prefer_lowest: bool = False,
    ) -> Resolution:
        indexes = read_indexes(self._environ)
        arguments = ["pip", "compile", "requirements.in", "--no-config", "--no-header", "--no-annotate"]
        arguments += ["--generate-hashes", *indexes.options, *_building(is_allowed=build_from_source)]
        arguments += ["--python-version", python_version, "--python-platform", PYTHON_PLATFORM]
        arguments += self._interpreter_for(python_version, build_from_source=build_from_source)
        if prefer_lowest:
            arguments += ["--resolution", "lowest-direct"]
        if exclude_newer is not None:
            arguments += ["--exclude-newer", exclude_newer.astimezone(UTC).isoformat(timespec="seconds")]
            for name in exempt_packages:
                arguments += ["--exclude-newer-package", f"{name}=false"]
        with self._room(indexes, build_from_source=build_from_source) as (folder, environment):
            text = "".join(f"{each}\n" for each in requirements)
            (folder / "requirements.in").write_text(text, encoding="utf-8")
            done = run_uv(arguments, environment=environment, folder=folder, timeout_s=self._resolve_timeout_s)
        return _resolution(done, indexes, self._resolve_timeout_s)

    def python_path(self, python_version: str) -> Path | None:
        environment = scrubbed_environment(self._environ, home=str(self._home))
        return find_interpreter(minor_of(python_version), self._environ, environment)

    def build(self, lock: Lock, destination: Path, progress: Progress) -> None:
        """Make the environment of `lock` in `destination`, all or nothing.

        Raises PythonNotAvailable, EnvironmentBuildFailed, DiskFull.
        """
        indexes = read_indexes(self._environ)
        python = self.python_path(lock.python_version) or self._install_python(lock.python_version, indexes)
        try:
            with self._room(indexes, build_from_source=self._build_from_source) as (folder, environment):
                (folder / "lock.txt").write_text(lock.text, encoding="utf-8")
                venv = ["venv", "--no-config", "--no-project", "--python", str(python), str(destination)]
                made = run_uv(venv, environment=environment, folder=folder, timeout_s=120.0)
                _demand(made, f"The environment {lock.hash} could not be created.")
                interpreter = str(destination / "bin" / "python")
                sync = ["pip", "sync", "lock.txt", "--no-config", "--require-hashes", "--python", interpreter]
                sync += [*indexes.options, *_building(is_allowed=self._build_from_source)]
                watch = _DownloadWatch(progress)
                done = run_uv(
                    sync,
                    environment=environment,
                    folder=folder,
                    timeout_s=self._build_timeout_s,
                    on_line=watch.see,
                )
                _demand(done, f"The packages of environment {lock.hash} could not be installed.")
        except BaseException:
            shutil.rmtree(destination, ignore_errors=True)
            raise

    def _interpreter_for(self, python_version: str, *, build_from_source: bool) -> list[str]:
        """What uv asks for its own version and, from source, builds with; named, so that PATH has no say."""
        found = self.python_path(python_version) if build_from_source else None
        return ["--python", str(found or sys.executable)]

    def _install_python(self, python_version: str, indexes: Indexes) -> Path:
        with self._room(indexes, build_from_source=False) as (folder, environment):
            done = run_uv(
                ["python", "install", "--no-config", "--no-bin", python_version],
                environment={**environment, "UV_PYTHON_DOWNLOADS": "manual"},
                folder=folder,
                timeout_s=300.0,
            )
        if _NO_ROOM.search(done.messages):
            raise DiskFull(f"There is no room to install Python {python_version}.", log=done.messages)
        found = self.python_path(python_version) if done.exit_code == 0 else None
        if found is None:
            here = ", ".join(known_interpreters(self._environ, environment)) or "none"
            raise PythonNotAvailable(
                f"The model needs Python {python_version}, which is not on this machine and could not be downloaded. Here are: {here}.",
                log=mask_user_info(done.messages),
            )
        return found

    @contextmanager
    def _room(self, indexes: Indexes, *, build_from_source: bool) -> Iterator[tuple[Path, dict[str, str]]]:
        """A folder and an environment for one run of uv: no project, no user's configuration, no secret in a variable."""
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            room = tempfile.TemporaryDirectory(dir=self._home, prefix="run-", ignore_cleanup_errors=True)
        except OSError as error:
            if _NO_ROOM.search(f"{error.strerror} (os error {error.errno})"):
                raise DiskFull(f"There is no room in {self._home}.") from error
            raise EnvironmentBuildFailed(f"{self._home} cannot be written: {error.strerror}.") from error
        with room as name:
            folder = Path(name)
            netrc = folder / "netrc"
            netrc.touch(mode=0o600)
            netrc.write_text(indexes.netrc + self._users_netrc(), encoding="utf-8")
            environment = {
                **scrubbed_environment(self._environ, home=str(self._home)),
                "UV_CACHE_DIR": str(self._cache_folder()),
                "UV_PYTHON_INSTALL_DIR": str(python_folder(self._environ)),
                **indexes.variables,
                "UV_NO_PROGRESS": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                "NETRC": str(netrc),
                "NO_COLOR": "1",
            }
            if build_from_source:
                _hide_our_environment()
            yield folder, environment

    def _cache_folder(self) -> Path:
        """What uv itself would take for this user, which a HOME of its own would hide."""
        cache = self._environ.get("XDG_CACHE_HOME")
        return (Path(cache) if cache else Path(self._environ.get("HOME") or Path.home()) / ".cache") / "uv"

    def _users_netrc(self) -> str:
        home = self._environ.get("HOME")
        path = self._environ.get("NETRC") or (f"{home}/.netrc" if home else "")
        try:
            return Path(path).read_text(encoding="utf-8") if path else ""
        except (OSError, UnicodeDecodeError):
            return ""


class _DownloadWatch:
    """Turns uv's lines about large downloads into progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._sizes_mib: dict[str, float] = {}
        self._done_mib = 0.0

    def see(self, line: str) -> None:
        match = _DOWNLOAD.match(line)
        if match is None:
            return
        if match["verb"] == "Downloading" and match["size"]:
            self._sizes_mib[match["name"]] = float(match["size"]) * _MIB_OF[match["unit"]]
        elif match["verb"] == "Downloaded":
            self._done_mib += self._sizes_mib.get(match["name"], 0.0)
        self._progress.update(self._done_mib, sum(self._sizes_mib.values()), "MiB")


def _building(*, is_allowed: bool) -> list[str]:
    # The option, not a variable: `uv pip` reads none for it.
    return [] if is_allowed else ["--no-build"]


def _resolution(done: Completed, indexes: Indexes, timeout_s: float) -> Resolution:
    messages = mask_user_info(done.messages).strip()
    if done.is_timed_out:
        raise PackageIndexUnreachable(f"uv did not finish resolving within {timeout_s:.0f} s.", log=messages)
    if done.exit_code == 0:
        warnings = re.findall(r"(?m)^warning: (.+)$", messages)
        return Resolution(text=done.output, warnings=tuple(warnings), index=indexes.description)
    asked = indexes.description or "the default package index"
    if _NO_ROOM.search(messages):
        raise DiskFull("There is no room to resolve the requirements.", log=messages)
    if _DENIED.search(messages):
        raise PackageIndexAccessDenied(f"The package index refused to answer ({asked}).", log=messages)
    # A source build that fails may speak of the network too; it is the package's failure, not the index's.
    if _UNREACHABLE.search(messages) and "Failed to build" not in messages:
        raise PackageIndexUnreachable(f"The package index could not be read ({asked}).", log=messages)
    return Resolution(conflict=messages or f"uv ended with {done.exit_code}", index=indexes.description)


def _demand(done: Completed, what: str) -> None:
    """Raise what a failed step of a build means; uv's own words go with it."""
    if done.exit_code == 0 and not done.is_timed_out:
        return
    log = mask_user_info(done.messages).strip()
    if _NO_ROOM.search(log):
        raise DiskFull(what, log=log)
    if done.is_timed_out:
        raise EnvironmentBuildFailed(f"{what} It took too long and was ended.", log=log)
    raise EnvironmentBuildFailed(what, log=log)


def _hide_our_environment() -> None:
    """From now on /proc does not show this process's variables to a process of the same user: a package's build runs as that user."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
