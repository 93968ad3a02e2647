"""What will be done: frozen steps in order, printable before anything happens. Pure; decides nothing about how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mlaz_ci.models import Cluster, DeploymentSpec, Lock, ModelRef, ScoreRequest, SmokeTest, Status, told_size


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchModel:
    model: ModelRef

    def describe(self) -> str:
        size = f", {told_size(self.model.size_bytes)}" if self.model.size_bytes is not None else ""
        return f"fetch the model {self.model.label}{size}"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildEnvironment:
    lock: Lock

    def describe(self) -> str:
        return f"build the environment {self.lock.hash} (Python {self.lock.python_version}), unless it is there"


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisterModel:
    """Make the model a version of the workspace's registry: by reference where its bytes lie there, else by upload."""

    model: ModelRef
    tags: Mapping[str, str]

    def describe(self) -> str:
        how = "by reference; no byte of it passes through here" if self.model.is_in_workspace else "by upload"
        return f'register the model {self.model.label} as "{self.model.name}" ({how}), unless it is there'


@dataclass(frozen=True, kw_only=True, slots=True)
class EnsureCluster:
    """Make or attach the cluster that services run on, and wait until it is there. The tags are for one that is made or attached."""

    cluster: Cluster
    tags: Mapping[str, str]

    def describe(self) -> str:
        if self.cluster.resource_id:
            return f'attach the cluster "{self.cluster.name}", unless it is there'
        return f'create the cluster "{self.cluster.name}" (20 to 25 minutes), unless it is there'


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadCode:
    """Bring the scoring script and the swagger files to the workspace, once for each content."""

    spec: DeploymentSpec

    def describe(self) -> str:
        return "upload the scoring script, unless it is there"


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateService:
    """Create the endpoint that deployments are put into."""

    spec: DeploymentSpec

    def describe(self) -> str:
        return f'create the endpoint "{self.spec.service_name}"'


@dataclass(frozen=True, kw_only=True, slots=True)
class StartDeployment:
    """Stage the files and start the deployment where no user's request reaches it; with `is_service` it is the service itself."""

    spec: DeploymentSpec
    is_service: bool = False

    def describe(self) -> str:
        if self.is_service:
            return f'create service "{self.spec.service_name}" with deployment "{self.spec.deployment_name}"'
        return f'start deployment "{self.spec.deployment_name}" of service "{self.spec.service_name}", without traffic'


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateDeployment:
    """Change the service in place: the URI and the keys stay, and the new deployment serves before it is verified."""

    spec: DeploymentSpec

    def describe(self) -> str:
        return f'update service "{self.spec.service_name}" in place to deployment "{self.spec.deployment_name}"'


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreDeployment:
    """Put back in place what the service served before."""

    service_name: str
    deployment_name: str

    def describe(self) -> str:
        return f'put deployment "{self.deployment_name}" of service "{self.service_name}" back in place'


@dataclass(frozen=True, kw_only=True, slots=True)
class RestartDeployment:
    """Start a deployment that is staged already: after a reboot, or to go back to it."""

    service_name: str
    deployment_name: str

    def describe(self) -> str:
        return f'start deployment "{self.deployment_name}" of service "{self.service_name}" again, without traffic'


@dataclass(frozen=True, kw_only=True, slots=True)
class AwaitHealthy:
    service_name: str
    deployment_name: str

    def describe(self) -> str:
        return f'wait until deployment "{self.deployment_name}" is healthy'


@dataclass(frozen=True, kw_only=True, slots=True)
class Verify:
    """Send the smoke test to the deployment itself and demand a 2xx from the model version that this plan deploys."""

    service_name: str
    deployment_name: str
    request: ScoreRequest
    spec_hash: str
    mode: SmokeTest
    through_service: bool = False
    """By the service's own URI, as users call it: after the shift, while what served before is still there to go back to."""

    def describe(self) -> str:
        if self.through_service:
            return (
                f'smoke-test service "{self.service_name}" by its own URI, before the old deployment goes ({self.mode})'
            )
        return f'smoke-test deployment "{self.deployment_name}" with {self.request.origin} ({self.mode})'


@dataclass(frozen=True, kw_only=True, slots=True)
class ShiftTraffic:
    service_name: str
    deployment_name: str

    def describe(self) -> str:
        return f'give all traffic of service "{self.service_name}" to deployment "{self.deployment_name}"'


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareTraffic:
    """Give the deployment a share; what the others have shrinks in proportion."""

    service_name: str
    deployment_name: str
    percent: int

    def describe(self) -> str:
        return f'give {self.percent} % of the traffic of service "{self.service_name}" to deployment "{self.deployment_name}"'


@dataclass(frozen=True, kw_only=True, slots=True)
class MirrorTraffic:
    """Send the deployment copies of a share of the requests; nobody gets its answers."""

    service_name: str
    deployment_name: str
    percent: int

    def describe(self) -> str:
        return f'mirror {self.percent} % of the traffic of service "{self.service_name}" to deployment "{self.deployment_name}"'


@dataclass(frozen=True, kw_only=True, slots=True)
class RetireDeployment:
    """Drain and stop; with `keep_files` it can be started again by a rollback."""

    service_name: str
    deployment_name: str
    keep_files: bool

    def describe(self) -> str:
        kept = "keep its files for a rollback" if self.keep_files else "remove its files"
        return f'drain and stop deployment "{self.deployment_name}", {kept}'


@dataclass(frozen=True, kw_only=True, slots=True)
class RetireOlder:
    """Drain and remove our deployments that are older than this one: those known now, and those that another run makes meanwhile."""

    service_name: str
    deployment_name: str
    known: tuple[str, ...] = ()
    kept: str | None = None
    """The one that stays without traffic, for a rollback."""

    def describe(self) -> str:
        gone = ", ".join(f'"{each}"' for each in self.known if each != self.kept)
        parts = [f"drain and remove deployment {gone}" if gone else ""]
        parts.append(f'keep deployment "{self.kept}" without traffic, for a rollback' if self.kept else "")
        return "; ".join(part for part in parts if part) or "remove what another run began before this one, if any did"


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteService:
    service_name: str
    only_if_empty: bool = False
    """Leave it where a deployment is in it: another run's, that came while this one was at work."""
    loses: str = ""
    """Of a service that is deleted to be made anew: what is gone with it and how to get it back, told if nothing serves in the end."""

    def describe(self) -> str:
        if self.loses:
            return f'delete service "{self.service_name}", to make it anew'
        if self.only_if_empty:
            return f'delete service "{self.service_name}" if no deployment is in it'
        return f'stop and delete service "{self.service_name}" with its deployments'


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteModelVersion:
    """One version of a registered model of this owner, because it was asked for by name. With `takes_over` it may be anybody's."""

    name: str
    version: str
    owner: str
    takes_over: bool = False

    def describe(self) -> str:
        whose = "" if self.takes_over else ", if it is ours"
        return f'delete version {self.version} of the registered model "{self.name}"{whose}'


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteCompute:
    """A compute of this owner, because it was asked for by name; with `keeps_resource` the cluster itself lives on.

    With `takes_over` it may be anybody's.
    """

    name: str
    keeps_resource: bool
    owner: str
    takes_over: bool = False

    def describe(self) -> str:
        whose = "" if self.takes_over else ", if it is ours"
        return f'{"detach" if self.keeps_resource else "delete"} the compute "{self.name}"{whose}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Together:
    """Steps that need nothing of each other: carried out at once, ended when all have ended."""

    steps: tuple[Step, ...]

    def describe(self) -> str:
        return "at once: " + "; ".join(step.describe() for step in self.steps)


Change = (
    CreateService
    | StartDeployment
    | UpdateDeployment
    | RestoreDeployment
    | RestartDeployment
    | ShareTraffic
    | MirrorTraffic
    | ShiftTraffic
    | RetireDeployment
    | RetireOlder
    | DeleteService
)
Shared = EnsureCluster | DeleteModelVersion | DeleteCompute
"""The steps that concern what services share: no service is changed by them."""
Step = FetchModel | RegisterModel | BuildEnvironment | UploadCode | AwaitHealthy | Verify | Together | Shared | Change


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Steps in order. `done` is the status when all are carried out; an empty plan is already there.

    `undo` runs, in order, when a step fails and the request says `on-failure: rollback`.
    """

    steps: tuple[Step, ...]
    done: Status
    undo: tuple[Step, ...] = ()
    deployment_name: str | None = None
    notes: tuple[str, ...] = ()
    carries_on: bool = False
    """Each step stands for itself: when one fails the rest is tried all the same, and the first failure is raised at the end."""
    keeps_unreachable: bool = False
    """A healthy deployment that cannot be reached from here is not a wrong one: it is left, without traffic, and no undo runs."""

    @property
    def serves_at_once(self) -> bool:
        """Whether users are answered by the new deployment before it is verified."""
        changes = UpdateDeployment | RestoreDeployment
        return any(
            isinstance(step, changes) or (isinstance(step, StartDeployment) and step.is_service) for step in self.steps
        )

    def describe(self) -> tuple[str, ...]:
        return tuple(step.describe() for step in self.steps)


_NOT_AWAITED: Final = "It is neither waited for nor verified here: `command: status` with `wait: true` does both."


def begun(plan: Plan) -> Plan:
    """The plan as far as it goes without waiting: up to the last step that starts or changes a deployment."""
    starts = StartDeployment | UpdateDeployment | RestartDeployment | RestoreDeployment
    last = max((at for at, step in enumerate(plan.steps) if isinstance(step, starts)), default=None)
    if last is None:
        return plan
    notes = (*plan.notes, _NOT_AWAITED)
    return replace(plan, steps=plan.steps[: last + 1], done=Status.CREATING, notes=notes)
