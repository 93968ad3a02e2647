"""The process of one staged deployment: its environment variables, its sockets, and launch.py in its locked environment."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mlaz_ci.adapters.local_process.home import make_folder
from mlaz_ci.errors import ServiceStartFailed
from mlaz_ci.serving.manifest import MODEL_FOLDER, Manifest
from mlaz_ci.serving.surroundings import scrubbed_environment

_DETACH_TIMEOUT_S = 120.0


def service_environment(
    environ: Mapping[str, str], folder: Path, environment: Path, manifest: Manifest
) -> dict[str, str]:
    """Nothing of the caller's surroundings but the allow-list; then what the server needs; the user's own variables win over defaults."""
    shape = manifest.shape
    scrubbed = scrubbed_environment(environ, home=str(folder / "run" / "home"))
    return {
        **scrubbed,
        "PATH": f"{environment / 'bin'}:{scrubbed.get('PATH', '/usr/bin:/bin')}",
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "WORKER_COUNT": str(shape.workers),
        "WORKER_TIMEOUT": str(shape.request_timeout_s),
        "SCORING_TIMEOUT_MS": str(shape.request_timeout_s * 1000),
        "SERVICE_NAME": manifest.service_name,
        **shape.environment_variables,
        "AML_APP_ROOT": str(folder),
        "AZUREML_ENTRY_SCRIPT": "score.py",
        "AZUREML_MODEL_DIR": str(folder / MODEL_FOLDER),
        "MLAZ_SPEC": manifest.spec_hash,
    }


def launch(
    folder: Path,
    environment: Path,
    manifest: Manifest,
    *,
    environ: Mapping[str, str],
    host: str,
    own: socket.socket,
    held: socket.socket | None,
    lock_fd: int,
) -> None:
    """Returns when the process is detached and on record in run/process.json. Raises ServiceStartFailed."""
    make_folder(folder / "run" / "home")
    command = [str(environment / "bin" / "python"), str(folder / "launch.py"), "--folder", str(folder), "--host", host]
    command += ["--workers", str(manifest.shape.workers), "--timeout", str(manifest.shape.request_timeout_s)]
    descriptors = [own.fileno(), lock_fd]
    command += ["--own-fd", str(own.fileno()), "--lock-fd", str(lock_fd)]
    if held is not None:
        descriptors.append(held.fileno())
        command += ["--service-fd", str(held.fileno())]
    try:
        done = subprocess.run(
            command,
            env=service_environment(environ, folder, environment, manifest),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=descriptors,
            timeout=_DETACH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceStartFailed(
            f'Deployment "{manifest.deployment_name}" did not start within {_DETACH_TIMEOUT_S:g} s.'
        ) from error
    except OSError as error:
        raise ServiceStartFailed(
            f'Deployment "{manifest.deployment_name}" could not be started: {error}.',
            usually="The environment it was built with is damaged.",
            remedy=f"Remove {environment} and deploy again.",
        ) from error
    if not done.stdout.strip():
        raise ServiceStartFailed(
            f'Deployment "{manifest.deployment_name}" ended before it could load its model.', log=done.stderr
        )
