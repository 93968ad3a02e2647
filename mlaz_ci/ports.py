"""The windows of the core on the outside: one Protocol per thing that an adapter does. Adapters raise only our errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from mlaz_ci.models import (
    Cluster,
    DeploymentSpec,
    Finding,
    Lock,
    ModelRef,
    ModelSource,
    Observation,
    Request,
    ScoreRequest,
    ScoreResponse,
    Severity,
    Snapshot,
)


class Clock(Protocol):
    """Time as a port, so that no test waits for it."""

    def now_s(self) -> float:
        """Monotonic seconds."""
        ...

    def utc_now(self) -> datetime: ...

    def sleep(self, duration_s: float) -> None: ...


class Progress(Protocol):
    """Told how far a long thing is; shows it only when it takes over two seconds."""

    def update(self, done: float, total: float | None, unit: str) -> None: ...


class Platform(Protocol):
    """The CI platform or the terminal: the only way anything is shown."""

    @property
    def is_pull_request(self) -> bool: ...

    def mask(self, secret: str) -> None:
        """From now on nothing written contains `secret`."""
        ...

    def info(self, text: str) -> None: ...

    def annotate(self, severity: Severity, title: str, text: str) -> None: ...

    def group(self, title: str) -> AbstractContextManager[None]: ...

    def set_output(self, name: str, value: str) -> None: ...

    def append_summary(self, markdown: str) -> None: ...

    def progress(self, title: str) -> AbstractContextManager[Progress]: ...


class ModelStore(Protocol):
    """Any MLflow tracking server or store, or a folder."""

    def resolve(self, source: ModelSource, *, name: str | None) -> ModelRef:
        """Fetch the facts, a few KB. Raises RunNotFound, ModelNotFound, ModelPathNotFound, TrackingServerFailed, …"""
        ...

    def fetch(self, model: ModelRef, destination: Path, progress: Progress) -> None:
        """Download the model folder so that `destination/MLmodel` exists. Raises DiskFull, ModelPathNotFound, …"""
        ...

    def keep_lock(self, model: ModelRef, lock: Lock) -> bool:
        """Leave the lock with the model's run for later deploys. False (with no error) where that may not be written."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """uv's answer. Exactly one of `text` (requirements with hashes) and `conflict` (uv's own explanation) is set.

    `warnings` are uv's own sentences (a yanked version); `index` names the package indexes that the surroundings set, or is "".
    """

    text: str | None = None
    conflict: str | None = None
    warnings: tuple[str, ...] = ()
    index: str = ""


class Resolver(Protocol):
    """uv, asked in a scrubbed environment."""

    def resolve(
        self,
        requirements: Sequence[str],
        *,
        python_version: str,
        exclude_newer: datetime | None,
        exempt_packages: Sequence[str] = (),
        build_from_source: bool = False,
        prefer_lowest: bool = False,
    ) -> Resolution:
        """Resolve for linux x86_64, glibc 2.35. `exempt_packages` ignore `exclude_newer`.

        With `prefer_lowest` each named requirement gets the lowest version that fits, and what they need the highest.
        Raises PackageIndexUnreachable, PackageIndexAccessDenied.
        """
        ...

    def python_path(self, python_version: str) -> Path | None:
        """An interpreter of that major.minor on this machine, or None; downloads nothing."""
        ...


class ModelRegistry(Protocol):
    """The registry of the Azure workspace that serves."""

    def register(
        self, model: ModelRef, *, tags: Mapping[str, str], folder: Path | None, progress: Progress
    ) -> ModelRef:
        """The same model with its registered name and version; reused (`was_registered`) where that model is registered already.

        `folder` holds the model's bytes where they are to be uploaded. Never leaves a registered model without a version.
        Raises AzureFailed, RoleMissing, …
        """
        ...

    def remove_version(self, name: str, version: str, *, owner: str | None) -> bool:
        """Delete one version of a registered model; False when it was absent. Raises NotOurs, unless `owner` is None."""
        ...


class Serving(Protocol):
    """A serving side: where services live. Every call names the service; the port holds no state of its own."""

    def snapshot(self, service_name: str) -> Snapshot: ...

    def services(self) -> Sequence[str]: ...

    def build_environment(self, lock: Lock, progress: Progress, *, deadline_s: float) -> None:
        """Make the locked environment, or find it. `deadline_s` is a moment of the clock's `now_s`; nothing half-built stays.

        Raises EnvironmentBuildFailed, PythonNotAvailable, DiskFull, DeployTimedOut.
        """
        ...

    def stage(self, spec: DeploymentSpec, model_folder: Path | None) -> None:
        """Lay down the deployment's files (model, score.py, swagger, record); nothing runs yet. All or nothing.

        Without a folder the model is the registered one that `spec.model` names.
        """
        ...

    def start(self, service_name: str, deployment_name: str) -> None:
        """Start a staged deployment on an address of its own, without traffic. Returns before it is healthy."""
        ...

    def observe(self, service_name: str, deployment_name: str) -> Observation:
        """One look at a deployment that was started, updated or restored."""
        ...

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        """POST to the deployment's own address, or (None) to the service's URI. Raises NotReachable."""
        ...

    def shift(self, service_name: str, deployment_name: str) -> None:
        """All traffic to this deployment, no request lost; the one before becomes `previous`."""
        ...

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        """Drain and stop it. Absent is success. Never the live one. A service that has served nobody goes with its last one."""
        ...

    def delete(self, service_name: str) -> bool:
        """Stop and remove the service; False when it was absent."""
        ...

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str: ...


class InPlace(Protocol):
    """What a serving side has besides whose services hold one deployment, and change in place (v1's web services)."""

    def update(self, spec: DeploymentSpec) -> None:
        """Stage, then begin to change the service in place; returns before it is healthy."""
        ...

    def restore(self, service_name: str, deployment_name: str) -> None:
        """Begin to put back what the service served before, also where it made way; returns before it is healthy.

        Raises NothingToRollBackTo where Azure does not tell enough of it.
        """
        ...


class Recreating(Protocol):
    """What a serving side has besides whose services cannot be changed in all that they are (v1's web services)."""

    def make_way(self, service_name: str) -> None:
        """Delete the service to make it anew, and keep in this process what it takes for `restore` to put it back."""
        ...


class Endpoints(Protocol):
    """What a serving side has besides whose services are endpoints with a share of the traffic for each deployment."""

    def create_service(self, spec: DeploymentSpec) -> None:
        """Create the endpoint, without a deployment; returns when it is there. One that is there already is left as it is."""
        ...

    def left(self, service_name: str) -> Snapshot | None:
        """The service as this run read it after its last change, so that a report need not ask again; None where it must."""
        ...

    def release(self, service_name: str, deployment_name: str) -> None:
        """Let later runs not wait for this one's deployment: it stays without traffic, and this run has ended."""
        ...

    def prepare(self, spec: DeploymentSpec) -> None:
        """Bring what a deployment needs besides model and environment to where it is made from: the scoring script."""
        ...

    def share(self, service_name: str, deployment_name: str, percent: int) -> None:
        """Give the deployment this share of the traffic; what the others have shrinks in proportion."""
        ...

    def mirror(self, service_name: str, deployment_name: str, percent: int) -> None:
        """Send the deployment copies of this share of the requests."""
        ...

    def retire_older(self, service_name: str, deployment_name: str, *, kept: str | None) -> Sequence[str]:
        """Remove our deployments that were made before this one, but `kept`, which loses its traffic alone; the names of the removed.

        What another run has under way is left to that run.
        """
        ...

    def delete_if_empty(self, service_name: str) -> bool:
        """Delete the endpoint unless a deployment is in it; False when it stays, or was absent."""
        ...


class Clusters(Protocol):
    """The computes of the workspace, which services run on and share."""

    def ensure_cluster(
        self, cluster: Cluster, progress: Progress, *, tags: Mapping[str, str], deadline_s: float
    ) -> bool:
        """Make or attach it with these tags, and wait; True if it was. One that is there and whole is left as it is.

        Raises ClusterFailed, ClusterAccessDenied, QuotaExceeded, ComputeNameInvalid, DeployTimedOut.
        """
        ...

    def remove_cluster(self, name: str, *, keeps_resource: bool, owner: str | None) -> bool:
        """Delete it, or with `keeps_resource` only detach it from the workspace; False when it was absent.

        Raises NotOurs where its tags name no `owner` or another one; None takes whatever is there.
        """
        ...


class Legacy(Protocol):
    """The v1 services of the workspace, as they are to be read for a move."""

    def migration(self, service_name: str) -> str:
        """The config and the workflow of its successor. Raises ServiceNotFound."""
        ...


class Premises(Protocol):
    """Looks at what Azure would refuse late: the workspace's switches, roles, quota, computes. Changes nothing."""

    def inspect(self, request: Request) -> Sequence[Finding]:
        """Raises what stands in the way of everything: WorkspaceNotFound, RoleMissing, SignInRefused, WorkspacePrivate, …"""
        ...


class Room(Protocol):
    """What only a change needs there: roles, quota, the port. Looked at when a plan has steps, before the first of them; changes nothing."""

    def inspect_room(self, request: Request) -> Sequence[Finding]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Environ:
    """The process's surroundings as a value: what main reads once and hands on."""

    variables: Mapping[str, str]
    working_directory: Path
    is_terminal: bool
