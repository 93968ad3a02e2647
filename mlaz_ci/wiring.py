"""Builds the adapters that a Request needs, and no others: what is not used is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlaz_ci.execute import Ports
from mlaz_ci.models import Request
from mlaz_ci.operations import Job
from mlaz_ci.ports import Clock, Platform, Serving
from mlaz_ci.targets import rules_of

# Set in the Dockerfile: whether this is the action's own container, where a process ends with the step.
_IN_ACTION_CONTAINER: Final = "MLAZ_CONTAINER"
_DOCKER_SOCKET: Final = Path("/var/run/docker.sock")


def home_folder(environ: Mapping[str, str]) -> Path:
    """Where local services, environments and models live: MLAZ_HOME, else the user's state folder (XDG)."""
    if given := environ.get("MLAZ_HOME"):
        return Path(given)
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "mlaz-ci"
    return Path(environ.get("HOME") or Path.home()) / ".local" / "state" / "mlaz-ci"


def connect(request: Request, environ: Mapping[str, str], platform: Platform, clock: Clock) -> Job:
    """The job for `request` with real adapters. Raises NotInThisVersion for a target that is not built."""
    from mlaz_ci.adapters.local_docker import LocalDocker
    from mlaz_ci.adapters.local_process import LocalProcess
    from mlaz_ci.adapters.mlflow_store import MlflowStore
    from mlaz_ci.adapters.uv import UvResolver

    rules_of(request.target)
    home = home_folder(environ)
    uv = UvResolver(environ, home / "uv", build_from_source=request.build_from_source)
    in_container = bool(environ.get(_IN_ACTION_CONTAINER))
    has_socket = in_container and _DOCKER_SOCKET.exists()
    serving: Serving = (
        LocalDocker(environ, clock, build_from_source=request.build_from_source)
        if has_socket
        else LocalProcess(home, environ, clock, uv)
    )
    ports = Ports(
        store=MlflowStore(request.tracking_uri, environ, platform),
        serving=serving,
        platform=platform,
        clock=clock,
        models_folder=home / "models",
    )
    return Job(request=request, ports=ports, resolver=uv, serves_only_while_running=in_container and not has_socket)
