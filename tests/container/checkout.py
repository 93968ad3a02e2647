"""What the steps of these tests work on: a checkout with models, the lock that serves them, and a later step that calls a service."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

from tests.integration.local.conftest import MODELS_SCRIPT, PYTHON, REQUEST, REQUIREMENTS
from tests.serving import environments

# The stand-in trusts what this machine trusts; a runner with a company's certificates sets the same variable.
CERTIFICATES = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}


def make_checkout(folder: Path) -> None:
    """drive.py, lock.txt, request.json, and models/: v1 v2 … answer their own name, broken does not load."""
    lock = environments.lock(REQUIREMENTS, PYTHON, environments.server_ranges(PYTHON)[:1])
    (folder / "lock.txt").write_text(lock)
    (folder / "request.json").write_bytes(REQUEST.body)
    shutil.copy2(Path(__file__).with_name("drive.py"), folder)
    models = environments.made_by(environments.environment(lock, PYTHON), MODELS_SCRIPT)
    shutil.copytree(models, folder / "models")


def ask_from_host(uri: str) -> Any:
    """A later step of the job, on the runner itself."""
    request = urllib.request.Request(uri, REQUEST.body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
