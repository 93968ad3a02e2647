"""Builds the adapters that a Request needs, and no others: what is not used is not imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mlaz_ci.errors import ClientNotInstalled, FileNotFound, InvalidConfigFile, InvalidInput, NotInThisVersion
from mlaz_ci.execute import Ports
from mlaz_ci.inputs import (
    ConfigFile,
    Origin,
    lines_of_pem,
    origin_from_environ,
    parse_config,
    parse_request,
    secrets_of,
    secrets_of_config,
)
from mlaz_ci.models import PathSource, Request, SignIn
from mlaz_ci.operations import Job
from mlaz_ci.ports import Clock, Platform, Premises, Room, Serving
from mlaz_ci.targets import Side, rules_of

if TYPE_CHECKING:
    from mlaz_ci.adapters.azure_wire import WorkspaceDoor
    from mlaz_ci.adapters.identity import Credential
    from mlaz_ci.adapters.uv import UvResolver


class AzureServing(Serving, Premises, Protocol):
    """A serving side on Azure also knows what stands in the way there."""


class LocalServing(Serving, Room, Protocol):
    """A serving side on this machine also knows whether the port can be had."""


# Set in the Dockerfile: whether this is the action's own container, where a process ends with the step.
_IN_ACTION_CONTAINER: Final = "MLAZ_CONTAINER"
_DOCKER_SOCKET: Final = Path("/var/run/docker.sock")


_DEFAULT_CONFIG: Final = "mlaz-ci.yml"
_MAX_CONFIG_BYTES: Final = 1_000_000
_MAX_KEY_FILE_BYTES: Final = 65_536


def prepare(
    given: Mapping[str, str],
    environ: Mapping[str, str],
    platform: Platform,
    clock: Clock,
    *,
    working_directory: Path,
    host: str,
    user_id: int | None,
) -> Job:
    """From what was given to a job that is ready to run. Raises what parsing raises; nothing is touched yet."""
    # Before anything is parsed or shown: no error text may carry what a step passed as a secret.
    for secret in secrets_of(given):
        platform.mask(secret)
    environ = with_home(environ)
    origin = origin_from_environ(environ, _event_text(environ), working_directory, host=host, user_id=user_id)
    config = _read_config(given, origin, platform)
    parsed = parse_request(given, config, origin)
    job = connect(parsed.request, environ, platform, clock)
    job.find(parsed.findings)
    return job


def _read_config(given: Mapping[str, str], origin: Origin, platform: Platform) -> ConfigFile | None:
    """The file named by `config`, else mlaz-ci.yml where there is one. What is secret in it is masked before it is read further."""
    name = given.get("config", "").strip()
    path = origin.working_directory / (name or _DEFAULT_CONFIG)
    if not name and not path.is_file():
        return None
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FileNotFound(f"The config file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise FileNotFound(f"`config` is not a path: {error}.") from error
    if len(raw) > _MAX_CONFIG_BYTES:
        raise InvalidConfigFile(f"{path} is {len(raw)} bytes long; a config file is at most {_MAX_CONFIG_BYTES}.")
    for secret in secrets_of_config(raw.decode("utf-8", "replace")):
        platform.mask(secret)
    try:
        config = parse_config(raw.decode("utf-8-sig"), name or _DEFAULT_CONFIG)
    except UnicodeDecodeError as error:
        raise InvalidConfigFile(f"{path} is not UTF-8 text (byte {error.start}).") from error
    for file in config.key_files:
        _mask_key_file(origin.working_directory / file, platform)
    return config


def _mask_key_file(path: Path, platform: Platform) -> None:
    """Best effort: who needs the file says what is wrong with it."""
    try:
        with path.open("rb") as opened:
            text = opened.read(_MAX_KEY_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return
    for line in lines_of_pem(text):
        platform.mask(line)


def _event_text(environ: Mapping[str, str]) -> str | None:
    """The event's JSON as the runner left it, or None."""
    path = environ.get("GITHUB_EVENT_PATH")
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else None
    except (OSError, ValueError):
        return None


def with_home(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The variables with a HOME: where what is kept, and uv's cache, can lie. A user without a name may have none."""
    if environ.get("HOME"):
        return environ
    home = environ.get("MLAZ_HOME")
    with suppress(RuntimeError):
        home = str(Path.home())
    if not home:
        raise InvalidInput(
            "There is no home folder to keep models and environments in: HOME is not set, and this user has no entry with one.",
            usually="A container that runs as a number nobody gave a name to.",
            remedy="Set HOME, or MLAZ_HOME, to a folder that this user may write to.",
        )
    return {**environ, "HOME": home}


def home_folder(environ: Mapping[str, str]) -> Path:
    """Where local services, environments and models live: MLAZ_HOME, else the user's state folder (XDG)."""
    if given := environ.get("MLAZ_HOME"):
        return Path(given)
    if state := environ.get("XDG_STATE_HOME"):
        return Path(state) / "mlaz-ci"
    return Path(environ["HOME"]) / ".local" / "state" / "mlaz-ci"


def connect(request: Request, environ: Mapping[str, str], platform: Platform, clock: Clock) -> Job:
    """The job for `request` with real adapters. Raises ClientNotInstalled, and what signing in raises."""
    from mlaz_ci.adapters.uv import UvResolver

    rules = rules_of(request.target)
    home = home_folder(environ)
    uv = UvResolver(environ, home / "uv", build_from_source=request.build_from_source, always_asks=request.relock)
    in_container = bool(environ.get(_IN_ACTION_CONTAINER))
    has_socket = in_container and _DOCKER_SOCKET.exists()
    if has_socket and request.build_from_source:
        # The resolver would run the package's code beside the socket, from which every secret of the step can be read.
        raise NotInThisVersion(
            "`build-from-source` is not in this version where the action has the Docker socket.",
            remedy="Give the package a wheel (build it once and put it on an index), or use the command line on the runner.",
        )
    ports = _PORTS[rules.side](
        _Surroundings(environ=environ, platform=platform, clock=clock, uv=uv, has_socket=has_socket), request
    )
    ends_with_process = rules.side is Side.LOCAL and in_container and not has_socket
    return Job(request=request, ports=ports, resolver=uv, serves_only_while_running=ends_with_process)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Surroundings:
    environ: Mapping[str, str]
    platform: Platform
    clock: Clock
    uv: UvResolver
    has_socket: bool


def _local_ports(around: _Surroundings, request: Request) -> Ports:
    from mlaz_ci.adapters.local_docker import LocalDocker
    from mlaz_ci.adapters.local_process import LocalProcess
    from mlaz_ci.adapters.mlflow_store import MlflowStore

    environ, clock = around.environ, around.clock
    home = home_folder(environ)
    serving: LocalServing = (
        LocalDocker(environ, clock) if around.has_socket else LocalProcess(home, environ, clock, around.uv)
    )
    door = _tracking_workspace(around, request)
    return Ports(
        store=MlflowStore(request.tracking_uri, environ, around.platform, workspace=door, workspace_serves=False),
        serving=serving,
        platform=around.platform,
        clock=clock,
        models_folder=home / "models",
        room=serving,
    )


def _tracking_workspace(around: _Surroundings, request: Request) -> WorkspaceDoor | None:
    """The workspace that only tells of models: named by the inputs, or by the tracking URI, which names one whole."""
    from mlaz_ci.adapters.mlflow_store import tracking_workspace

    # Signing in may fail, and who asks no workspace for a model must not fail of it.
    if request.source is None or isinstance(request.source, PathSource):
        return None
    uri = request.tracking_uri or around.environ.get("MLFLOW_TRACKING_URI")
    named = tracking_workspace(uri) if uri else request.workspace
    if named is None:
        return None
    _need("azure.identity", "azure-identity", request)
    return _workspace(around, replace(request, workspace=named))[1]


def _web_service_ports(around: _Surroundings, request: Request) -> Ports:
    _need("azure.identity", "azure-identity", request)
    _need("azureml.core", "azureml-core", request)
    from mlaz_ci.adapters.azureml_v1 import WebServices
    from mlaz_ci.adapters.identity import v1_authentication
    from mlaz_ci.adapters.v1_reader import V1Reader

    credential, door = _workspace(around, request)
    authentication = partial(v1_authentication, credential)
    services = WebServices(door, authentication, around.clock, around.platform, request.target)
    return replace(
        _azure_ports(around, request, door, services),
        registry=services,
        in_place=services,
        recreating=services,
        clusters=services,
        legacy=V1Reader(door),
    )


def _online_endpoint_ports(around: _Surroundings, request: Request) -> Ports:
    _need("azure.identity", "azure-identity", request)
    from mlaz_ci.adapters.azure_arm import OnlineEndpoints

    _, door = _workspace(around, request)
    endpoints = OnlineEndpoints(door, around.clock, around.platform, request)
    return replace(
        _azure_ports(around, request, door, endpoints),
        registry=endpoints,
        endpoints=endpoints,
        in_place=endpoints,
        room=endpoints,
    )


def _azure_ports(around: _Surroundings, request: Request, door: WorkspaceDoor, serving: AzureServing) -> Ports:
    from mlaz_ci.adapters.mlflow_store import MlflowStore

    return Ports(
        store=MlflowStore(request.tracking_uri, around.environ, around.platform, workspace=door),
        serving=serving,
        platform=around.platform,
        clock=around.clock,
        models_folder=home_folder(around.environ) / "models",
        premises=serving,
    )


def _workspace(around: _Surroundings, request: Request) -> tuple[Credential, WorkspaceDoor]:
    """Who signs in, and the workspace's door; nothing is asked of Azure yet."""
    from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
    from mlaz_ci.adapters.identity import CLOUDS, check_subscription, sign_in

    assert request.workspace is not None, "inputs ask for a workspace where the target needs one"
    cloud, clock = request.workspace.cloud, around.clock
    credential = sign_in(request.sign_in or SignIn(), around.environ, cloud, clock, around.platform)
    wire = Wire(credential, clock, deadline_s=clock.now_s() + request.deadline_s)
    subscription_id = request.workspace.subscription_id

    def explain() -> None:
        check_subscription(credential, subscription_id, clock)

    return credential, WorkspaceDoor(wire, request.workspace, CLOUDS[cloud], explain=explain)


def _need(module: str, package: str, request: Request) -> None:
    """A laptop that only serves locally has no client of Azure. Raises ClientNotInstalled."""
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        found = None
    if found is None:
        raise ClientNotInstalled(
            f"A workspace of Azure needs the Python package {package}, which is not installed here (`target: {request.target}`)."
        )


_PORTS: Final[Mapping[Side, Callable[[_Surroundings, Request], Ports]]] = {
    Side.LOCAL: _local_ports,
    Side.WEB_SERVICES: _web_service_ports,
    Side.ONLINE_ENDPOINTS: _online_endpoint_ports,
}
