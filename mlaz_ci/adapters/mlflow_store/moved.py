"""Where folders lie here that a store recorded under another path: a checkout mounted elsewhere, a file store that was moved.

A recorded path is never followed out of the place it is mapped into; it must not know what is read from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

IN_ACTION_CONTAINER: Final = "MLAZ_CONTAINER"
# Where the runner mounts its work folder for the steps of a job that has a `container:`.
_WORK_IN_JOB_CONTAINER: Final = PurePosixPath("/__w")
# What a file store keeps below its root; the id makes the folder unmistakable wherever the root is.
_OF_RUN: Final = re.compile(r"/([^/]+/[0-9a-f]{32})/(artifacts(?:/.*)?)")
_OF_LOGGED_MODEL: Final = re.compile(r"/([^/]+/models/m-[0-9a-f]{32})/(artifacts(?:/.*)?)")


def in_workspace(recorded: Path, environ: Mapping[str, str]) -> Path | None:
    """The same path below GITHUB_WORKSPACE, for one that a step on the runner wrote; None outside the action's container.

    The runner mounts <RUNNER_WORKSPACE>/<repository> as the container's workspace. RUNNER_WORKSPACE, which ends in the
    repository's name too, is under no mount and so reaches the container as it is on the host. What it is mapped to must be
    there and inside the workspace, links followed.
    """
    mounted, on_host = environ.get("GITHUB_WORKSPACE"), environ.get("RUNNER_WORKSPACE")
    if not environ.get(IN_ACTION_CONTAINER) or not mounted or not on_host:
        return None
    name = PurePosixPath(on_host).name
    for root in (PurePosixPath(on_host, name), _WORK_IN_JOB_CONTAINER / name / name):
        if name and recorded.is_relative_to(root):
            return _existing(Path(mounted), PurePosixPath(recorded.relative_to(root)))
    return None


def file_in_workspace(recorded: Path, environ: Mapping[str, str]) -> Path | None:
    """The same for a file."""
    folder = in_workspace(recorded.parent, environ)
    found = None if folder is None else _inside(folder, PurePosixPath(recorded.name))
    return found if found is not None and found.is_file() else None


def in_store(recorded: Path, store: Path) -> Path | None:
    """The artifacts' folder in the file store at `store`, whatever the store's path was when it was recorded.

    A file store keeps a run's artifacts in <experiment>/<run id>/artifacts beside the run's meta.yaml, and a LoggedModel's in
    <experiment>/models/<model id>/artifacts. Only where that meta.yaml is in `store` is the path taken to be of this store.
    """
    for form in (_OF_RUN, _OF_LOGGED_MODEL):
        for match in form.finditer(recorded.as_posix()):
            owner = _existing(store, PurePosixPath(match[1]))
            if owner is not None and (owner / "meta.yaml").is_file():
                # The folder itself may be missing: what carries a store elsewhere often leaves empty folders behind.
                return _inside(store, PurePosixPath(match[1], match[2]))
    return None


def _existing(root: Path, inner: PurePosixPath) -> Path | None:
    found = _inside(root, inner)
    return found if found is not None and found.is_dir() else None


def _inside(root: Path, inner: PurePosixPath) -> Path | None:
    if ".." in inner.parts:
        return None
    try:
        found = (root / inner).resolve()
        return found if found.is_relative_to(root.resolve()) else None
    except (OSError, RuntimeError, ValueError):
        return None
