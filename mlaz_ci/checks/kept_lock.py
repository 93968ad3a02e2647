"""The lock as it is kept with a model: a requirements file whose first line tells what else the lock's hash covers.

Pure: who keeps it, and where, is the store's business.
"""

from __future__ import annotations

import json

from mlaz_ci.models import Lock

_MARK = "# mlaz-ci-lock "


def render_kept_lock(lock: Lock, *, model_digest: str) -> str:
    header = {
        "base_image": lock.base_image,
        "conda_packages": list(lock.conda_packages),
        "hash": lock.hash,
        "model_digest": model_digest,
        "python_version": lock.python_version,
        "server_range": lock.server_range,
    }
    return f"{_MARK}{json.dumps(header, sort_keys=True)}\n{lock.text}"


def read_kept_lock(text: str, *, model_digest: str) -> Lock | None:
    """The lock, or None where the text is damaged, was changed, or belongs to another model."""
    first, newline, body = text.partition("\n")
    if not first.startswith(_MARK) or not newline:
        return None
    try:
        header = json.loads(first.removeprefix(_MARK))
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or header.get("model_digest") != model_digest:
        return None
    python_version, server_range, base_image = (
        header.get(key) for key in ("python_version", "server_range", "base_image")
    )
    conda_packages = header.get("conda_packages")
    if (
        not isinstance(python_version, str)
        or not isinstance(server_range, str)
        or not isinstance(base_image, str)
        or not isinstance(conda_packages, list)
        or not all(isinstance(each, str) for each in conda_packages)
    ):
        return None
    lock = Lock(
        text=body,
        python_version=python_version,
        server_range=server_range,
        base_image=base_image,
        conda_packages=tuple(conda_packages),
    )
    return lock if lock.hash == header.get("hash") else None
