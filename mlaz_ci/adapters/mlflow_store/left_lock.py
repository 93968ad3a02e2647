"""The lock that a deploy leaves with the model's run: a file among the run's artifacts, and a tag that says that the file is whole."""

from __future__ import annotations

import re
from collections.abc import Callable

from mlaz_ci.adapters.mlflow_store.records import Missing, OpenStore, RunRecord, TooLarge
from mlaz_ci.checks.kept_lock import read_kept_lock, render_kept_lock
from mlaz_ci.errors import MlazError
from mlaz_ci.models import Lock, ModelRef

LOCK_FOLDER = "mlaz-ci"
LOCK_TAG = "mlaz-lock"
_LOCK_LIMIT_BYTES = 4 * 1024 * 1024


def leave_lock(store: OpenStore, run: RunRecord, model: ModelRef, lock: Lock) -> bool:
    """False where the store is not written to. Raises what the store raises where writing is refused.

    `run` is the model's as it was read when the model was resolved: whatever was left with it since is as good as this.
    """
    tag = _lock_tag(model.digest)
    if run.tags.get(tag) == lock.hash and model.lock_text is not None:
        return True
    if not store.tracking.is_writable:
        return False
    text = render_kept_lock(lock, model_digest=model.digest)
    store.artifacts(run.artifact_uri).write(_lock_path(lock.hash), text.encode())
    # The tag last: it says that the file is whole.
    store.tracking.set_run_tag(run.run_id, tag, lock.hash)
    return True


def find_lock(store: OpenStore, run: RunRecord | None, digest: str, notify: Callable[[str], None]) -> str | None:
    """The text, only if it is what its hash says and was made for this very model."""
    wanted = run.tags.get(_lock_tag(digest), "") if run else ""
    if run is None or not re.fullmatch(r"[0-9a-f]{16}", wanted):
        return None
    try:
        content = store.artifacts(run.artifact_uri).read(_lock_path(wanted), _LOCK_LIMIT_BYTES)
        text = content.decode("utf-8")
    except (Missing, TooLarge, UnicodeDecodeError, OSError, MlazError):
        text = ""
    lock = read_kept_lock(text, model_digest=digest)
    if lock is None or lock.hash != wanted:
        notify(f"The lock {wanted} left with run {run.run_id} is missing or changed and is not used.")
        return None
    return text


def _lock_tag(digest: str) -> str:
    """One tag for each model of the run."""
    return f"{LOCK_TAG}.{digest[:12]}"


def _lock_path(lock_hash: str) -> str:
    return f"{LOCK_FOLDER}/lock-{lock_hash}.txt"
