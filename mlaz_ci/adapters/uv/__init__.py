"""uv as our resolver and builder of environments, in surroundings that hold none of the step's secrets.

The only room that runs uv. What its answers mean for a model is the checks' business.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.uv.answers import demand_success, error_of, read_resolution, tells_of_full_disk
from mlaz_ci.adapters.uv.command import run_uv
from mlaz_ci.adapters.uv.indexes import Indexes, read_indexes
from mlaz_ci.adapters.uv.interpreters import find_interpreter, known_interpreters, python_folder
from mlaz_ci.adapters.uv.trust import trust_cached_wheels
from mlaz_ci.errors import DiskFull, PythonNotAvailable
from mlaz_ci.models import Lock
from mlaz_ci.ports import Progress, Resolution
from mlaz_ci.serving.lock import minor_of
from mlaz_ci.serving.matrix import PYTHON_PLATFORM
from mlaz_ci.serving.surroundings import mask_user_info, scrubbed_environment

__all__ = ["UvResolver", "hide_our_environment"]

_DOWNLOAD: Final = re.compile(
    r"\s*(?P<verb>Downloading|Downloaded) (?P<name>\S+)(?: \((?P<size>[\d.]+)(?P<unit>[KMG])iB\))?"
)
_MIB_OF: Final = {"K": 1 / 1024, "M": 1.0, "G": 1024.0}
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
# CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON: what lets root read another process's memory, be it dumpable or not.
_RIGHTS_TO_READ_PROCESSES: Final = (19, 21, 38)
_LONGEST_BUILD_S: Final = 1800.0
_LONGEST_RUN_S: Final = 86_400.0


class UvResolver:
    """Implements ports.Resolver, and builds what local services run in. `home` is a folder of our own; `environ` is read here alone.

    With `always_asks` nothing in uv's cache is believed that the index has not confirmed in this very run.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        home: Path,
        *,
        build_from_source: bool = False,
        always_asks: bool = False,
        resolve_timeout_s: float = 300.0,
    ) -> None:
        self._environ = environ
        self._home = home
        self._build_from_source = build_from_source
        self._always_asks = always_asks
        self._resolve_timeout_s = resolve_timeout_s

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
        arguments = ["pip", "compile", "requirements.in", "--no-header", "--no-annotate"]
        arguments += ["--generate-hashes", *indexes.options, *_building(is_allowed=build_from_source)]
        arguments += ["--python-version", python_version, "--python-platform", PYTHON_PLATFORM]
        arguments += self._interpreter_for(python_version, build_from_source=build_from_source)
        if prefer_lowest:
            arguments += ["--resolution", "lowest-direct"]
        if exclude_newer is not None:
            arguments += ["--exclude-newer", exclude_newer.astimezone(UTC).isoformat(timespec="seconds")]
            for name in exempt_packages:
                arguments += ["--exclude-newer-package", f"{name}=false"]
        text = "".join(f"{each}\n" for each in requirements)
        with self._room(indexes, build_from_source=build_from_source) as (folder, environment):
            (folder / "requirements.in").write_text(text, encoding="utf-8")
            trusting, options = trust_cached_wheels(indexes, environment, folder)
            arguments += [*options, *(["--refresh"] if self._always_asks else [])]
            done = run_uv(arguments, environment=trusting, folder=folder, timeout_s=self._resolve_timeout_s)
        return read_resolution(done, indexes, self._resolve_timeout_s)

    def python_path(self, python_version: str) -> Path | None:
        environment = scrubbed_environment(self._environ, home=str(self._home))
        return find_interpreter(minor_of(python_version), self._environ, environment)

    def build(self, lock: Lock, destination: Path, progress: Progress, *, timeout_s: float = _LONGEST_BUILD_S) -> None:
        """Make the environment of `lock` in `destination`, all or nothing. What is not done after `timeout_s` is ended.

        Raises PythonNotAvailable, EnvironmentBuildFailed, DiskFull.
        """
        indexes = read_indexes(self._environ)
        deadline_s = time.monotonic() + timeout_s
        python = self.python_path(lock.python_version)
        python = python or self._install_python(lock.python_version, indexes, timeout_s=timeout_s)
        try:
            with self._room(indexes, build_from_source=self._build_from_source) as (folder, environment):
                (folder / "lock.txt").write_text(lock.text, encoding="utf-8")
                venv = ["venv", "--no-config", "--no-project", "--python", str(python), str(destination)]
                left_s = deadline_s - time.monotonic()
                made = run_uv(venv, environment=environment, folder=folder, timeout_s=left_s)
                demand_success(made, f"The environment {lock.hash} could not be created.")
                interpreter = str(destination / "bin" / "python")
                sync = ["pip", "sync", "lock.txt", "--no-config", "--require-hashes", "--python", interpreter]
                sync += [*indexes.options, *_building(is_allowed=self._build_from_source)]
                watch = _DownloadWatch(progress)
                done = run_uv(
                    sync,
                    environment=environment,
                    folder=folder,
                    timeout_s=deadline_s - time.monotonic(),
                    on_line=watch.see,
                )
                demand_success(done, f"The packages of environment {lock.hash} could not be installed.")
        except BaseException:
            shutil.rmtree(destination, ignore_errors=True)
            raise

    def _interpreter_for(self, python_version: str, *, build_from_source: bool) -> list[str]:
        """What uv asks for its own version and, from source, builds with; named, so that PATH has no say."""
        found = self.python_path(python_version) if build_from_source else None
        return ["--python", str(found or sys.executable)]

    def _install_python(self, python_version: str, indexes: Indexes, *, timeout_s: float) -> Path:
        with self._room(indexes, build_from_source=False) as (folder, environment):
            done = run_uv(
                ["python", "install", "--no-config", "--no-bin", python_version],
                environment={**environment, "UV_PYTHON_DOWNLOADS": "manual"},
                folder=folder,
                timeout_s=timeout_s,
            )
        if tells_of_full_disk(done.messages):
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
            self._sweep_rooms()
            with tempfile.TemporaryDirectory(dir=self._home, prefix="run-", ignore_cleanup_errors=True) as name:
                folder = Path(name)
                netrc = folder / "netrc"
                netrc.touch(mode=0o600)
                # A package that is built may read the file: the user's own, of any host, is none of its business.
                users = "" if build_from_source else self._users_netrc()
                netrc.write_text(indexes.netrc + users, encoding="utf-8")
                if build_from_source:
                    hide_our_environment()
                yield folder, {**self._variables(indexes), "NETRC": str(netrc)}
        except OSError as error:
            raise error_of(error, self._home) from error

    def _sweep_rooms(self) -> None:
        """What a run that was killed left, logins of indexes among it; none goes on for longer than a day."""
        for left in self._home.glob("run-*"):
            with suppress(OSError):
                if time.time() - left.stat().st_ctime > _LONGEST_RUN_S:
                    shutil.rmtree(left, ignore_errors=True)

    def _variables(self, indexes: Indexes) -> dict[str, str]:
        return {
            **scrubbed_environment(self._environ, home=str(self._home)),
            "UV_CACHE_DIR": str(self._cache_folder()),
            "UV_PYTHON_INSTALL_DIR": str(python_folder(self._environ)),
            **indexes.variables,
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "NO_COLOR": "1",
        }

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


def hide_our_environment() -> None:
    """From now on /proc does not show this process's variables to what it starts: packages that are built, models that are loaded.

    These run as the same user. Where that is root, they start without the rights that would show them all the same.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        for right in _RIGHTS_TO_READ_PROCESSES:
            libc.prctl(_PR_CAPBSET_DROP, right, 0, 0, 0)  # refused to whoever is not root, and so has none of them
