"""Locked environments of this machine: built once, by one run at a time, and never seen half-built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol

from mlaz_ci.adapters.local_process.home import (
    Home,
    disk_full_as_error,
    locked,
    remove,
    sweep_leftovers,
    write_text,
)
from mlaz_ci.errors import DeployTimedOut, EnvironmentBuildFailed, PythonNotAvailable, ServiceBusy
from mlaz_ci.models import Lock
from mlaz_ci.ports import Clock, Progress

_COMPLETE: Final = ".complete"
_KEPT_S: Final = 14 * 86_400.0
_KEPT_ON_A_FULL_DISK_S: Final = 86_400.0
_SHORT: Final = 0.1


class EnvironmentBuilder(Protocol):
    """Makes a locked environment in a folder that does not exist yet; `destination/bin/python` runs it."""

    def build(self, lock: Lock, destination: Path, progress: Progress, *, timeout_s: float) -> None:
        """What is not done after `timeout_s` is ended. Raises EnvironmentBuildFailed, PythonNotAvailable, DiskFull."""
        ...


def build_environment(
    home: Home, lock: Lock, builder: EnvironmentBuilder, progress: Progress, *, clock: Clock, deadline_s: float
) -> None:
    """Make it, or find it, until that moment of the clock. Raises what the builder raises, and DeployTimedOut."""
    home.check()
    environment = home.environment(lock.hash)
    if _is_found(environment):
        return
    with disk_full_as_error("building the environment"), ExitStack() as stack:
        subject = f"The environment {lock.hash}"
        left_s = max(0.0, deadline_s - clock.now_s())
        guard = locked(_guard_of(environment), clock, "building it", subject=subject, wait_s=left_s)
        try:
            stack.enter_context(guard)
        except ServiceBusy as error:
            raise _timed_out(lock, f" {error.what}") from error
        if not _is_found(environment):
            _build(environment, lock, builder, progress, clock=clock, deadline_s=deadline_s)


def _is_found(environment: Path) -> bool:
    """Whether it is there, whole. Its mark then says when it was last wanted."""
    mark = environment / _COMPLETE
    with suppress(PermissionError):
        try:
            os.utime(mark)
        except FileNotFoundError:
            return False
    return True


def prune_environments(home: Home, used: Collection[str], clock: Clock) -> None:
    """Remove those that no deployment runs in and nobody wanted for weeks, or for a day where the disk gets short.

    To be called while no other run is under way.
    """
    if not home.environments.is_dir():
        return
    sweep_leftovers(home.environments)
    limit_s = _KEPT_ON_A_FULL_DISK_S if _is_disk_short(home.environments) else _KEPT_S
    for each in home.environments.iterdir():
        if each.name.startswith(".") or each.name in used or _unused_s(each, clock) < limit_s:
            continue
        guard = _guard_of(each)
        with suppress(ServiceBusy), locked(guard, clock, "removing it", subject=each.name, wait_s=0.0):
            remove(each)
            remove(guard)


def _guard_of(environment: Path) -> Path:
    return environment.with_name(f".lock-{environment.name}")


def _unused_s(environment: Path, clock: Clock) -> float:
    mark = environment / _COMPLETE
    with suppress(FileNotFoundError):
        return clock.utc_now().timestamp() - (mark if mark.exists() else environment).stat().st_mtime
    return 0.0


def _is_disk_short(folder: Path) -> bool:
    usage = shutil.disk_usage(folder)
    return usage.free < _SHORT * usage.total


def _build(
    environment: Path, lock: Lock, builder: EnvironmentBuilder, progress: Progress, *, clock: Clock, deadline_s: float
) -> None:
    remove(environment)
    left_s = deadline_s - clock.now_s()
    if left_s <= 0:
        raise _timed_out(lock)
    try:
        builder.build(lock, environment, progress, timeout_s=left_s)
        write_text(environment / _COMPLETE, "")
    except (EnvironmentBuildFailed, PythonNotAvailable) as error:
        remove(environment)
        if clock.now_s() < deadline_s:
            raise
        raise _timed_out(lock, log=error.log) from error
    except BaseException:
        remove(environment)
        raise


def _timed_out(lock: Lock, detail: str = "", *, log: str = "") -> DeployTimedOut:
    return DeployTimedOut(
        f"The environment {lock.hash} (Python {lock.python_version}) was not built within the deadline.{detail}",
        usually="The package index is slow from here, or the packages are large (PyTorch, TensorFlow).",
        remedy="Raise `deadline-minutes`, or run again: packages that were downloaded whole are kept.",
        log=log,
    )
