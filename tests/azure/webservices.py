"""Services of model management as data, ACI's and AKS's, and the operations that change them. Knows no HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.azure import mms_errors, mms_starting
from tests.azure.arm.workspaces import Key, Workspace
from tests.azure.backends import BuildFailed, Serving, StartFailed
from tests.azure.clock import iso8601, utc
from tests.azure.state import Cloud
from tests.azure.transitions import Progress, Stage, after_polls

# By name: the start that serves a version, and its image.
Versions = dict[str, tuple[str, dict[str, Any]]]
ACI, AKS, ENDPOINT = "ACI", "AKS", "AKSENDPOINT"
# ACI's container queues what comes.
_UNLIMITED = 1_000_000
# Without a script: seen under way by one poll, done at the next. What needs no container is done at once.
_COURSES: dict[str, tuple[Stage, ...]] = {
    "mms-create": after_polls(1, "Running", "Succeeded"),
    "mms-update": after_polls(1, "Running", "Succeeded"),
    "mms-delete": (Stage(state="Succeeded"),),
    "mms-keys": (Stage(state="Succeeded"),),
    "mms-words": (Stage(state="Succeeded"),),
}
# What leaves the service's state as it is: new keys, and a PATCH of its tags, properties or description.
_QUIET = {"mms-keys", "mms-words"}
# The progress that is told while a deployment goes on, and when it is through.
_BEGUN = ("Creating Container Registry if not exists.", "Registering the environment.", "Use the existing image.")
_THROUGH = (
    "Generating deployment configuration.",
    "Submitting deployment to compute.",
    "Checking the status of deployment {service}..",
)


@dataclass(slots=True, kw_only=True)
class Service:
    workspace: Key
    name: str
    kind: str
    # The create request, defaults filled in; what a PATCH changes.
    request: dict[str, Any]
    region: str
    created: str
    updated: str
    keys: dict[str, str]
    # As Azure tells a user.
    created_by: dict[str, Any]
    # ACI: the label of its name in DNS. AKS: the address of its cluster.
    label: str = ""
    address: str = ""
    state: str = "Transitioning"
    error: dict[str, Any] | None = None
    operation: str = ""
    # The start that serves now, and its log where a test gave one.
    serving: str = ""
    # Of an endpoint: by version, the start that serves, and its image.
    versions: Versions = field(default_factory=dict)
    told_log: str | None = None
    # Requests that its replicas take on at once: those that run, not those a write has just asked for.
    limit: int = 0
    # Tokens and until when they hold, in seconds since 1970.
    tokens: dict[str, float] = field(default_factory=dict)

    @property
    def scoring_base(self) -> str:
        if self.kind != ACI:
            return f"http://{self.address}:80/api/v1/service/{self.name}"
        if self.request.get("sslEnabled"):
            return f"https://{self.request.get('cname') or self.host}"
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        return f"{self.label}.{self.region}.azurecontainer.io"

    @property
    def is_keyed(self) -> bool:
        return bool(self.request.get("authEnabled"))


@dataclass(slots=True, kw_only=True)
class Operation:
    id: str
    kind: str
    workspace: Key
    service: str
    progress: Progress
    created: str
    state: str = "NotStarted"
    ended: str | None = None
    error: dict[str, Any] | None = None
    # What the test scripted beside the course: service_state, sub_operation, log.
    extra: dict[str, Any] = field(default_factory=dict)
    # The start this operation waits for.
    starting: str = ""
    told: list[str] = field(default_factory=list)
    log_blob: str = ""
    # What an endpoint's versions shall be when this is through.
    versions: Versions | None = None

    @property
    def is_over(self) -> bool:
        return self.ended is not None


@dataclass(slots=True)
class Services:
    """cloud.state(webservices.Services)."""

    by_key: dict[tuple[Key, str], Service] = field(default_factory=dict)
    operations: dict[tuple[Key, str], Operation] = field(default_factory=dict)
    # Cores of container groups the subscription may have in a region; None: as many as are asked for.
    aci_core_limit: float | None = None

    def get(self, workspace: Key, name: str) -> Service | None:
        return self.by_key.get((workspace, name.lower()))

    def of(self, workspace: Key) -> Iterator[Service]:
        return (one for (owner, _), one in list(self.by_key.items()) if owner == workspace)

    def by_host(self, host: str) -> Service | None:
        return next((one for one in self.by_key.values() if one.kind == ACI and one.host.lower() == host), None)

    def on_cluster(self, address: str, name: str) -> Service | None:
        found = (one for one in self.by_key.values() if one.kind != ACI and one.name.lower() == name.lower())
        return next((one for one in found if one.address == address), None)

    def aci_cores(self, region: str) -> float:
        groups = (one for one in self.by_key.values() if one.kind == ACI and one.region == region)
        return sum(float(one.request["containerResourceRequirements"]["cpu"]) for one in groups)


def new_keys(given: dict[str, Any] | None = None) -> dict[str, str]:
    made = {name: (given or {}).get(name) or secrets.token_urlsafe(24) for name in ("primaryKey", "secondaryKey")}
    return {name: str(value) for name, value in made.items()}


def begin(
    cloud: Cloud, service: Service, kind: str, *, starts: bool = False, stages: Sequence[Stage] | None = None
) -> Operation:
    """An operation on a service, by the test's script or its own course; `starts`: its code is to be run anew."""
    script = None if stages else cloud.scripts.take(kind, service.name)
    course = stages or (script.stages if script else _COURSES[kind])
    operation = Operation(
        id=cloud.new_id(),
        kind=kind,
        workspace=service.workspace,
        service=service.name,
        progress=Progress(stages=tuple(course), began_s=cloud.clock.now_s()),
        created=iso8601(cloud.clock),
        extra=script.extra if script else {},
    )
    cloud.state(Services).operations[(service.workspace, operation.id)] = operation
    if kind not in _QUIET:
        _cancel_current(cloud, service)
        service.operation, service.state = operation.id, "Transitioning"
    will_fail = course[-1].state != "Succeeded"
    if starts and not will_fail:
        operation.starting = mms_starting.start(cloud, service)
        operation.versions = mms_starting.start_versions(cloud, service) if service.kind == ENDPOINT else None
    if starts:
        _tell(cloud, operation, _BEGUN)
    return operation


def _cancel_current(cloud: Cloud, service: Service) -> None:
    """A deletion does not wait for what is under way: it ends it."""
    current = cloud.state(Services).operations.get((service.workspace, service.operation))
    if current is not None and not current.is_over:
        current.state, current.ended = "Cancelled", iso8601(cloud.clock)
        cloud.live(Serving).end(current.starting)
        _end_versions(cloud, current.versions or {}, but=service.versions)


def _tell(cloud: Cloud, operation: Operation, lines: Sequence[str]) -> None:
    stamp = utc(cloud.clock).strftime("%Y%m%d%H%M%S")
    operation.told += [f"{stamp}|{line.format(service=operation.service)}" for line in lines]


def look(cloud: Cloud, operation: Operation, *, polls: bool = False) -> None:
    """Brings an operation to where it stands now; `polls`: this look counts as one."""
    if operation.is_over:
        return
    stage = operation.progress.poll(cloud.clock) if polls else operation.progress.peek(cloud.clock)
    if not stage.is_last:
        operation.state = stage.state
        return
    state, error = stage.state, stage.error
    keys = [operation.starting, *(key for key, _ in (operation.versions or {}).values())]
    begun = [cloud.live(Serving).start_of(key) for key in keys if key]
    starts = [start for start in begun if start is not None]
    if state == "Succeeded":
        if not all(start.is_done for start in starts):
            operation.state = "Running"
            return
        failure = next((start.error for start in starts if start.error is not None), None)
        if failure is not None:
            state, error = "Failed", _start_error(cloud, operation, failure)
    _end(cloud, operation, state, error)


def _start_error(cloud: Cloud, operation: Operation, error: BaseException) -> dict[str, Any]:
    service = cloud.state(Services).get(operation.workspace, operation.service)
    assert service is not None, "an operation's service outlives it"
    if not isinstance(error, StartFailed):
        cloud.fail("emulator-error", f"the serving backend failed: {type(error).__name__}: {error}")
        return mms_errors.flat("InternalServerError", 500, "An internal server error occurred.")
    operation.extra = {"log": error.log, **operation.extra}
    if isinstance(error, BuildFailed):
        operation.extra["sub_operation"] = "BuildEnvironment"
        return mms_errors.BUILD_FAILED
    return mms_errors.crash("ACI" if service.kind == ACI else "AKS", service.name)


def _end(cloud: Cloud, operation: Operation, state: str, error: dict[str, Any] | None) -> None:
    services = cloud.state(Services)
    service = services.get(operation.workspace, operation.service)
    assert service is not None, "an operation's service outlives it"
    operation.state, operation.ended = state, iso8601(cloud.clock)
    has_succeeded = state == "Succeeded"
    operation.error = None if has_succeeded else error or mms_errors.crash(service.kind, service.name)
    if operation.kind == "mms-delete" and has_succeeded:
        cloud.live(Serving).end(service.serving)
        _end_versions(cloud, service.versions)
        del services.by_key[(service.workspace, service.name.lower())]
        return
    if operation.kind in _QUIET:
        return
    service.updated = operation.ended
    service.error = operation.error
    if has_succeeded:
        service.limit = _limit(service)
        if operation.starting or not service.serving:
            cloud.live(Serving).end(service.serving)
            service.serving = operation.starting
        if operation.versions is not None:
            _end_versions(cloud, service.versions, but=operation.versions)
            service.versions = operation.versions
        service.state = operation.extra.get("service_state", "Healthy")
        if operation.told:
            _tell(cloud, operation, _THROUGH)
    else:
        _fail(cloud, operation, service)
    is_container = operation.extra.get("sub_operation", "DeployService") == "DeployService"
    service.told_log = operation.extra.get("log") if is_container else None


def _limit(service: Service) -> int:
    if service.kind == ACI:
        return _UNLIMITED
    if service.kind == ENDPOINT:
        return sum(_limit_of(asked) for asked in (service.request.get("versions") or {}).values())
    return _limit_of(service.request)


def _limit_of(request: dict[str, Any]) -> int:
    each, scaler = request.get("maxConcurrentRequestsPerContainer") or 1, request.get("autoScaler") or {}
    replicas = scaler.get("maxReplicas") if scaler.get("autoscaleEnabled") else request.get("numReplicas")
    return int(each * (replicas or 1))


def _end_versions(cloud: Cloud, versions: Versions, *, but: Versions | None = None) -> None:
    kept = {key for key, _ in (but or {}).values()}
    for key, _ in versions.values():
        if key and key not in kept:
            cloud.live(Serving).end(key)


def _fail(cloud: Cloud, operation: Operation, service: Service) -> None:
    _end_versions(cloud, operation.versions or {}, but=service.versions)
    service.state = operation.extra.get("service_state", "Failed")
    if operation.starting and operation.starting != service.serving:
        cloud.live(Serving).end(operation.starting)
    if operation.extra.get("sub_operation", "DeployService") != "DeployService":
        operation.log_blob = mms_starting.keep_build_log(cloud, service, operation.id, operation.extra.get("log", ""))


def resume(cloud: Cloud) -> None:
    """Starts again what served, or was starting, when this state was saved; its processes ended with the emulator."""
    services = cloud.state(Services)
    for service in services.by_key.values():
        service.serving = mms_starting.start(cloud, service) if service.serving else ""
        if service.versions:
            service.versions = {}
            service.versions = mms_starting.start_versions(cloud, service)
    for operation in services.operations.values():
        found = services.get(operation.workspace, operation.service)
        if operation.starting and not operation.is_over and found is not None:
            operation.starting = mms_starting.start(cloud, found)


def settle(cloud: Cloud, service: Service) -> None:
    """Lets time do its work on the service before it is shown; looking is no poll."""
    operation = cloud.state(Services).operations.get((service.workspace, service.operation))
    if operation is not None:
        look(cloud, operation)


def workspace_of(cloud: Cloud, service: Service) -> Workspace:
    return mms_starting.workspace_of(cloud, service.workspace)
