"""MLAZ_HOME on disk: where everything is, how it is written so that death at any point leaves it readable, and its locks."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlaz_ci.errors import DiskFull, InvalidInput, ServiceBusy
from mlaz_ci.ports import Clock

LOCK_WAIT_S = 60.0
_POLL_S = 0.1
_LOCK = "service.lock"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

    @property
    def services(self) -> Path:
        return self.root / "services"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    def service(self, name: str) -> Path:
        return self.services / _component(name)

    def deployment(self, service_name: str, deployment_name: str) -> Path:
        return self.service(service_name) / _component(deployment_name)

    def environment(self, lock_hash: str) -> Path:
        return self.environments / _component(lock_hash)

    def check(self) -> None:
        """Makes nothing. Raises InvalidInput where services can be neither kept nor found."""
        nearest = self.services
        while not os.path.lexists(nearest):
            nearest = nearest.parent
        if not os.path.isdir(nearest):  # noqa: PTH112 - Path.is_dir raises for a folder that may not be looked into
            problem = f"{nearest} is not a folder"
        elif not os.access(nearest, os.R_OK | os.W_OK | os.X_OK):
            problem = f"{nearest} may not be written by this user"
        else:
            return
        raise InvalidInput(
            f"MLAZ_HOME ({self.root}) cannot hold local services: {problem}.",
            usually="The path is mistyped, or belongs to another user.",
            remedy="Set MLAZ_HOME to a folder that this user may write to.",
        )


def _component(name: str) -> str:
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise InvalidInput(f'"{name[:60]}" cannot be the name of a service or deployment.')
    return name


def make_folder(path: Path) -> None:
    """The state may hold secrets (environment variables of a service): it is its owner's alone."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_text(path: Path, text: str) -> None:
    """All or nothing, also when the machine stops in the middle."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def copy_folder(source: Path, destination: Path, *, link: bool) -> None:
    """Copy what a link follows to; with `link` the files are shared with the source where the disk can.

    All of it, or OSError: a folder that cannot be listed, or goes meanwhile, is never left out silently.
    """
    for folder, _, files in os.walk(source, followlinks=True, onerror=_fail):
        target = destination / Path(folder).relative_to(source)
        make_folder(target)
        for name in files:
            copy_file(Path(folder, name), target / name, link=link)


def _fail(error: OSError) -> None:
    raise error


def copy_file(source: Path, destination: Path, *, link: bool = False) -> None:
    if link and not source.is_symlink():
        with suppress(OSError):
            os.link(source, destination)
            return
    shutil.copyfile(source, destination)


def remove(path: Path) -> None:
    """Out of sight in one step, then away: a reader never sees half of it."""
    trash = path.with_name(f".trash-{path.name}-{os.urandom(4).hex()}")
    try:
        path.rename(trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def sweep_leftovers(folder: Path) -> None:
    """What a run that was killed in the middle had begun to write or to remove."""
    if folder.is_dir():
        for each in [*folder.glob(".trash-*"), *folder.glob(".staging-*")]:
            shutil.rmtree(each, ignore_errors=True)


def is_no_room(error: OSError) -> bool:
    return error.errno in _NO_ROOM


@contextmanager
def disk_full_as_error(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_no_room(error):
            raise DiskFull(f"The disk is full while {doing}.") from error
        raise


@contextmanager
def locked(
    folder: Path, clock: Clock, doing: str, *, subject: str = "", wait_s: float = LOCK_WAIT_S, file_name: str = _LOCK
) -> Iterator[int]:
    """Alone with the service in `folder` (made if absent), or with another `subject`.

    Gives the lock's descriptor; raises ServiceBusy, which names the holder.
    """
    subject = subject or f'Service "{folder.name}"'
    deadline_s = clock.now_s() + wait_s
    while True:
        holder = ""
        descriptor = _open_lock(folder, file_name)
        if descriptor is not None:
            try:
                if _try_lock(descriptor) and _is_still(folder / file_name, descriptor):
                    _sign(descriptor, doing, clock)
                    yield descriptor
                    return
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            finally:
                os.close(descriptor)
        if clock.now_s() >= deadline_s:
            by = f": {holder}" if holder else ""
            raise ServiceBusy(f"{subject} is being changed{by}.")
        clock.sleep(_POLL_S)


def _open_lock(folder: Path, file_name: str) -> int | None:
    """None if the one who deletes the service removed the folder just now."""
    try:
        make_folder(folder)
        return os.open(folder / file_name, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    except FileExistsError:  # of mkdir too, for a folder that is gone when it looks again
        if folder.is_file():
            raise
        return None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the file we locked is the one that others would lock: the folder may have been deleted meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int, doing: str, clock: Clock) -> None:
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{doing}, pid {os.getpid()}, since {clock.utc_now():%Y-%m-%dT%H:%M:%SZ}\n".encode(), 0)
