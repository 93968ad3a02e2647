"""Downloaded models, each shared by the deployments that were made from it. What no deployment is made from goes with the
next deployment that goes, unless a run is under way that may have found it already.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.local_process.home import Home, copy_folder, is_no_room, make_folder, remove, sweep_leftovers
from mlaz_ci.errors import FileNotFound, ServiceBusy

_LONGEST_RUN_S: Final = 86_400.0  # the longest `deadline-minutes`


class ModelCache:
    """Between `hold` and `release` (or the end of the process) no other run removes a model."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._let_go: weakref.finalize[..., ModelCache] | None = None

    def hold(self) -> None:
        """From before a model is looked for until it is staged: it may lie here already."""
        if self._let_go is not None:
            return
        descriptor = self._open()
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        self._let_go = weakref.finalize(self, os.close, descriptor)

    def release(self) -> None:
        if self._let_go is not None:
            self._let_go()
            self._let_go = None

    def name_of(self, folder: Path) -> str | None:
        """What the cache calls the model in `folder`; None for a folder of the user's."""
        return folder.name if folder.absolute().parent == self._home.models else None

    def copy(self, source: Path, destination: Path) -> None:
        """Raises if it is not whole. A cached model's files are shared, where the disk can."""
        is_cached = self.name_of(source) is not None
        problem = "there is no MLmodel in it"
        try:
            copy_folder(source, destination, link=is_cached)
        except OSError as error:
            if is_no_room(error):
                raise
            problem = f"{error.strerror}: {error.filename}" if error.strerror else str(error)
        else:
            if (destination / "MLmodel").is_file():
                return
        what = f"The model in {source} cannot be copied: {problem}."
        if is_cached:
            usually = "The files of the model were removed from MLAZ_HOME by hand, or by an older version."
            raise ServiceBusy(what, usually=usually, remedy="Run again: what is gone is fetched anew.")
        raise FileNotFound(what, usually="The folder changed meanwhile, or may not be read by this user.")

    def prune(self, used: Collection[str], now_s: float) -> None:
        """Remove every model that no deployment is made from, also those that a run left which failed before it had one.

        To be called inside `alone`, when it is.
        """
        models = self._home.models
        if not models.is_dir():
            return
        sweep_leftovers(models)
        for each in models.iterdir():
            # What begins with a dot may be arriving, by somebody who knows of no lock; no run goes on for longer than a day.
            is_arriving = each.name.startswith(".")
            if each.name not in used and (not is_arriving or _is_left(each, now_s)):
                remove(each)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Whether no other run holds the models. Then none can begin to until the end of the block: what nothing is made from may go.

        Where it is false, whoever comes next does it.
        """
        self.release()
        descriptor = self._open()
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                is_alone = False
            else:
                is_alone = True
            yield is_alone
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        make_folder(self._home.root)
        return os.open(self._home.root / "models.lock", os.O_RDWR | os.O_CREAT, 0o600)


def _is_left(path: Path, now_s: float) -> bool:
    """By the time that nobody can set: an archive brings its own times with it."""
    try:
        return now_s - path.lstat().st_ctime > _LONGEST_RUN_S
    except FileNotFoundError:
        return False
