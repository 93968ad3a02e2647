"""Locked environments of this machine: built once, by one run at a time, and never seen half-built."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from mlaz_ci.adapters.local_process.home import Home, disk_full_as_error, locked, remove, write_text
from mlaz_ci.errors import DeployTimedOut, EnvironmentBuildFailed, PythonNotAvailable, ServiceBusy
from mlaz_ci.models import Lock
from mlaz_ci.ports import Clock, Progress

_COMPLETE = ".complete"


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
    if (environment / _COMPLETE).exists():
        return
    with disk_full_as_error("building the environment"), ExitStack() as stack:
        subject = f"The environment {lock.hash}"
        left_s = max(0.0, deadline_s - clock.now_s())
        guard = locked(
            environment.with_name(f".lock-{lock.hash}"), clock, "building it", subject=subject, wait_s=left_s
        )
        try:
            stack.enter_context(guard)
        except ServiceBusy as error:
            raise _timed_out(lock, f" {error.what}") from error
        if not (environment / _COMPLETE).exists():
            _build(environment, lock, builder, progress, clock=clock, deadline_s=deadline_s)


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
