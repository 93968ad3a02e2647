"""What uv's answers mean: a resolution, a conflict to explain, or an error of the index, the disk or the build. Pure over texts."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.uv.command import Completed
from mlaz_ci.adapters.uv.indexes import Indexes
from mlaz_ci.errors import (
    DiskFull,
    EnvironmentBuildFailed,
    InvalidInput,
    MlazError,
    PackageIndexAccessDenied,
    PackageIndexUnreachable,
)
from mlaz_ci.ports import Resolution
from mlaz_ci.serving.surroundings import mask_user_info

_UNREACHABLE: Final = re.compile(
    r"error sending request|Request failed after|operation timed out|dns error|HTTP status server error|"
    r"tcp connect error|Connection refused|connection closed|invalid peer certificate|Network connectivity is disabled"
)
_DENIED: Final = re.compile(r"lack of valid authentication credentials|\(40[13] (?:Unauthorized|Forbidden)\)")
_NO_ROOM_TEXT: Final = re.compile(r"No space left on device|Disk quota exceeded|\(os error (?:28|122)\)")


def read_resolution(done: Completed, indexes: Indexes, timeout_s: float) -> Resolution:
    messages = mask_user_info(done.messages).strip()
    if done.is_timed_out:
        raise PackageIndexUnreachable(f"uv did not finish resolving within {timeout_s:.0f} s.", log=messages)
    if done.exit_code == 0:
        warnings = re.findall(r"(?m)^warning: (.+)$", messages)
        return Resolution(text=done.output, warnings=tuple(warnings), index=indexes.description)
    asked = indexes.description or "the default package index"
    if _NO_ROOM_TEXT.search(messages):
        raise DiskFull("There is no room to resolve the requirements.", log=messages)
    if _DENIED.search(messages):
        raise PackageIndexAccessDenied(f"The package index refused to answer ({asked}).", log=messages)
    # A source build that fails may speak of the network too; it is the package's failure, not the index's.
    if _UNREACHABLE.search(messages) and "Failed to build" not in messages:
        raise _unreachable(asked, messages)
    return Resolution(conflict=messages or f"uv ended with {done.exit_code}", index=indexes.description)


def _unreachable(asked: str, messages: str) -> PackageIndexUnreachable:
    """The last cause that uv names is the one that tells: a refused connection, a name that is not found, a certificate."""
    causes = re.findall(r"(?m)^\s*cause: (.+)$", messages)
    reason = f": {causes[-1].rstrip('.')}" if causes else ""
    what = f"The package index could not be read ({asked}){reason}."
    if "certificate" not in reason:
        return PackageIndexUnreachable(what, log=messages)
    return PackageIndexUnreachable(
        what,
        usually="A proxy or a private index shows a certificate of the company's own authority, which is not trusted here.",
        remedy="Set SSL_CERT_FILE to a file of certificates that has the authority's too.",
        log=messages,
    )


def demand_success(done: Completed, what: str) -> None:
    """Raise what a failed step of a build means; uv's own words go with it."""
    if done.exit_code == 0 and not done.is_timed_out:
        return
    log = mask_user_info(done.messages).strip()
    if _NO_ROOM_TEXT.search(log):
        raise DiskFull(what, log=log)
    if done.is_timed_out:
        raise EnvironmentBuildFailed(f"{what} It took too long and was ended.", log=log)
    raise EnvironmentBuildFailed(what, log=log)


def tells_of_full_disk(text: str) -> bool:
    return _NO_ROOM_TEXT.search(text) is not None


def error_of(error: OSError, folder: Path) -> MlazError:
    """Our own file work failed: no room, or `folder` is not ours to write."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"There is no room in {folder}.")
    return InvalidInput(
        f"{folder} cannot be written: {error.strerror or error}.",
        usually="The folder of MLAZ_HOME (default: ~/.local/state/mlaz-ci) belongs to another user, is no folder, or its disk is read-only.",
        remedy="Check who owns it, or set MLAZ_HOME to a folder that can be written.",
    )
