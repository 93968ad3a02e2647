"""A model folder, all or nothing: into a sibling that is renamed when whole, so that no reader meets half a model."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlaz_ci.adapters.mlflow_store.records import ENTRY_LIMIT, Artifacts, Entry, Missing
from mlaz_ci.checks.mlmodel import MLMODEL_FILE
from mlaz_ci.errors import DiskFull, ModelNotServable, ModelPathNotFound, TrackingServerFailed
from mlaz_ci.models import ModelRef, told_size
from mlaz_ci.ports import Progress

_FULL_CODES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DEPTH_LIMIT = 40


def download_folder(artifacts: Artifacts, *, model: ModelRef, destination: Path, progress: Progress) -> None:
    label = model.artifact_uri
    files = [entry for entry in walk(artifacts) if not entry.is_folder]
    if not any(entry.path == MLMODEL_FILE for entry in files):
        raise ModelPathNotFound(
            f"{label} holds no MLmodel file any more.",
            usually="It was deleted after it was looked at.",
            remedy="Run again.",
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    total_bytes = sum(entry.size_bytes or 0 for entry in files)
    with _disk_full_told(label, destination), _part_folder(destination, total_bytes, label) as part:
        _download_files(artifacts, files, part, progress)
        if (part / MLMODEL_FILE).read_bytes().decode("utf-8-sig", "replace") != model.facts.mlmodel_text:
            raise TrackingServerFailed(
                f"{label} is not the model any more that was checked: its MLmodel file changed before the download.",
                usually="Somebody logs or edits this model right now.",
                remedy="Run again.",
            )
        if destination.exists():
            shutil.rmtree(destination)
        part.rename(destination)


def walk(artifacts: Artifacts, *, list_limit: int = ENTRY_LIMIT) -> Iterator[Entry]:
    """Every entry below the root, folders first met first. Ends with ModelNotServable where there is no end."""
    waiting = [("", 0)]
    listed = count = 0
    while waiting:
        path, depth = waiting.pop()
        listed += 1
        if listed > list_limit:
            raise WalkTooLong
        for entry in artifacts.entries(path):
            count += 1
            if count > ENTRY_LIMIT or depth > _DEPTH_LIMIT:
                raise ModelNotServable(
                    f"The model folder holds more than {ENTRY_LIMIT} files, or folders more than {_DEPTH_LIMIT} deep ({entry.path}).",
                    usually="A link inside the folder leads back to it, or a whole environment was logged with the model.",
                    remedy="Log the model without them.",
                )
            if entry.is_folder:
                waiting.append((entry.path, depth + 1))
            yield entry


def is_disk_full(error: OSError) -> bool:
    return error.errno in _FULL_CODES


class WalkTooLong(Exception):
    """More folders than the caller wanted to list. Never leaves this package."""


def _download_files(artifacts: Artifacts, files: Sequence[Entry], part: Path, progress: Progress) -> None:
    known = [entry.size_bytes for entry in files if entry.size_bytes is not None]
    total = float(sum(known)) if len(known) == len(files) else None
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.update(done, total, "bytes")

    for entry in files:
        target = part / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            artifacts.download(entry.path, target, advance)
        except Missing as error:
            raise ModelPathNotFound(
                f"{entry.path} of the model vanished while it was downloaded.",
                usually="Somebody deletes or logs this model right now.",
                remedy="Run again.",
            ) from error
        received = target.stat().st_size
        if entry.size_bytes is not None and received != entry.size_bytes:
            raise TrackingServerFailed(
                f"{entry.path} of the model arrived with {received} bytes instead of {entry.size_bytes}.",
                usually="The connection broke, or the file is being changed.",
                remedy="Run again.",
            )


@contextmanager
def _part_folder(destination: Path, total_bytes: int, label: str) -> Iterator[Path]:
    """A locked sibling of `destination`, gone afterwards unless it was renamed; those of killed processes are removed."""
    for left in destination.parent.glob(".*.part-*"):
        _remove_if_abandoned(left)
    free_bytes = shutil.disk_usage(destination.parent).free
    if free_bytes < total_bytes:
        raise DiskFull(
            f"{label} has {told_size(total_bytes)} and the disk of {destination.parent} has {told_size(free_bytes)} free."
        )
    part, lock = _make_locked_folder(destination.parent, prefix=f".{destination.name}.part-")
    try:
        part.chmod(0o755)
        yield part
    finally:
        os.close(lock)
        shutil.rmtree(part, ignore_errors=True)


def _make_locked_folder(parent: Path, *, prefix: str) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder, lock
        os.close(lock)  # another run took it for abandoned before it was locked


def _remove_if_abandoned(left: Path) -> None:
    try:
        lock = os.open(left, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(left, ignore_errors=True)
    except OSError:
        pass  # another process is downloading into it
    finally:
        os.close(lock)


@contextmanager
def _disk_full_told(label: str, destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"The disk of {destination.parent} was full before {label} was downloaded.") from error
        raise
