"""Managed and Kubernetes online endpoints as a serving side: each call of the ports, made of this room's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.azure_arm import seen
from mlaz_ci.adapters.azure_arm.assets import Assets
from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.adapters.azure_arm.insights import Insights
from mlaz_ci.adapters.azure_arm.leases import Leases
from mlaz_ci.adapters.azure_arm.logs import Logs
from mlaz_ci.adapters.azure_arm.making import Making
from mlaz_ci.adapters.azure_arm.premises import Inspection
from mlaz_ci.adapters.azure_arm.registration import Registration
from mlaz_ci.adapters.azure_arm.rollout import Rollout, is_deploy
from mlaz_ci.adapters.azure_arm.room import RoomInspection
from mlaz_ci.adapters.azure_arm.scoring import Scoring
from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.models import (
    Command,
    DeploymentSpec,
    Finding,
    Lock,
    ModelRef,
    Observation,
    Request,
    ScoreRequest,
    ScoreResponse,
    ServiceState,
    Snapshot,
)
from mlaz_ci.ports import Clock, Platform, Progress

# These look on; the others wait until what another run has under way has ended, since they decide by what they see.
_LOOKS_ON: Final = frozenset({Command.STATUS, Command.INVOKE, Command.SWEEP, Command.DOCTOR})
# A cleanup takes away whatever is there, and waits for no run to finish what it will delete.
_KEEPS_APART: Final = frozenset({Command.DEPLOY, Command.PROMOTE, Command.REJECT, Command.ROLLBACK})


class OnlineEndpoints:
    """Implements ports.Serving, Endpoints, InPlace, ModelRegistry, Premises and Room. Safe for threads."""

    def __init__(self, door: WorkspaceDoor, clock: Clock, platform: Platform, request: Request) -> None:
        self._door = door
        self._clock = clock
        self._platform = platform
        self._request = request
        self._gateway = Gateway(door, clock, platform, deadline_s=clock.now_s() + request.deadline_s)
        self._assets = Assets(door, platform)
        self._registration = Registration(door, platform)
        insights = Insights(door, platform)
        self._rollout = Rollout(self._gateway, insights, request)
        self._making = Making(self._gateway, self._assets, self._registration, insights, request)
        self._leases = Leases(self._gateway, self._making.run)
        self._scoring = Scoring(self._gateway)
        self._logs = Logs(self._gateway)
        self._there: tuple[seen.Deployment | None, Sequence[seen.Deployment]] | None = None
        """What served and what was there when the endpoint was last looked at."""

    # --- Serving ---------------------------------------------------------------------------------------------------

    def snapshot(self, service_name: str) -> Snapshot:
        self._there = (None, ())
        looks_on = self._request.command in _LOOKS_ON
        endpoint = self._gateway.endpoint(service_name) if looks_on else self._gateway.idle_endpoint(service_name)
        if endpoint is None:
            return Snapshot()
        deployments = self._gateway.deployments(service_name)
        if self._request.command in _KEEPS_APART and not self._request.dry_run and not self._making.made:
            there, deployments = self._leases.wait(service_name, endpoint, deployments)
            if there is None:
                return Snapshot()
            endpoint = there
        return self._told(endpoint, deployments)

    def left(self, service_name: str) -> Snapshot | None:
        known = self._gateway.left(service_name)
        return None if known is None else self._told(*known)

    def _told(self, endpoint: seen.Endpoint, deployments: Sequence[seen.Deployment]) -> Snapshot:
        self._there = (seen.live_of(endpoint, deployments), deployments)
        facts = seen.service_facts(
            endpoint,
            deployments,
            owner=self._request.owner,
            studio_url=self._studio(endpoint.name),
            now=self._clock.utc_now(),
        )
        if self._request.take_over == endpoint.name:
            ours = tuple(replace(each, is_ours=True) for each in facts.deployments)
            facts = replace(facts, deployments=ours)
        return Snapshot(service=facts)

    def _studio(self, service_name: str) -> str:
        host = {"AzureUSGovernment": "ml.azure.us", "AzureChinaCloud": "studio.ml.azure.cn"}
        at = host.get(self._door.workspace.cloud, "ml.azure.com")
        return f"https://{at}/endpoints/realtime/{service_name}/detail?wsid={self._door.path}"

    def services(self) -> Sequence[str]:
        """The endpoints of this owner."""
        found = self._door.arm_pages("/onlineEndpoints", doing="list the endpoints")
        endpoints = [seen.Endpoint(each) for each in found]
        return sorted(each.name for each in endpoints if each.stamp.owner == self._request.owner)

    def build_environment(self, lock: Lock, progress: Progress, *, deadline_s: float) -> None:  # noqa: ARG002 - the port's
        """Registered here; Azure builds its image with the first deployment that needs it."""
        self._assets.ensure_environment(lock)

    def stage(self, spec: DeploymentSpec, model_folder: Path | None) -> None:  # noqa: ARG002 - the port's
        """Azure has no staging: the deployment is begun, without traffic, and may already come up when this returns."""
        self._making.create(spec)

    def start(self, service_name: str, deployment_name: str) -> None:
        """Nothing: what was staged is on its way, and Azure stops no deployment."""

    def observe(self, service_name: str, deployment_name: str) -> Observation:
        """Raises, where it failed, what its operation says of the reason."""
        found = self._gateway.deployment(service_name, deployment_name)
        if found is None:
            return Observation(state=ServiceState.ABSENT, detail="it is gone: another run, or somebody, deleted it")
        if found.state is ServiceState.FAILED:
            doing = f'start deployment "{deployment_name}" of service "{service_name}"'
            error = self._gateway.failure_of(found, found.operation_uri, doing=doing)
            if error is not None:
                error.log = "\n\n".join(
                    part for part in (error.log, self._logs.read(service_name, deployment_name, 200)) if part
                )
                raise error
        return Observation(state=found.state, detail="" if found.state is ServiceState.HEALTHY else found.word)

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        return self._scoring.score(service_name, deployment_name, request)

    def shift(self, service_name: str, deployment_name: str) -> None:
        own = self._level(service_name, deployment_name)
        self._rollout.shift(service_name, deployment_name)
        if own is not None:
            self._rollout.shrink(service_name, own)

    def _level(self, service_name: str, deployment_name: str) -> seen.Deployment | None:
        """Before its first share of the traffic, whatever share that is. None where it is gone, which the next read tells."""
        own = self._gateway.known_deployment(service_name, deployment_name)
        if own is not None and is_deploy(self._request):
            self._making.level(own)
        return own

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        if keep_files:
            self._rollout.keep(service_name, deployment_name)
        else:
            is_own = deployment_name in self._making.made
            self._rollout.remove(service_name, deployment_name, is_own=is_own)

    def delete(self, service_name: str) -> bool:
        return self._gateway.delete_endpoint(service_name)

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str:
        return self._logs.read(service_name, deployment_name, tail_lines)

    # --- Endpoints and InPlace -------------------------------------------------------------------------------------

    def create_service(self, spec: DeploymentSpec) -> None:
        self._making.create_endpoint(spec)

    def release(self, service_name: str, deployment_name: str) -> None:
        self._leases.release(service_name, deployment_name)

    def prepare(self, spec: DeploymentSpec) -> None:
        self._making.prepare(spec)

    def delete_if_empty(self, service_name: str) -> bool:
        """False where a deployment of anybody's is in it."""
        if self._gateway.idle_endpoint(service_name) is None or self._gateway.deployments(service_name):
            return False
        return self._gateway.delete_endpoint(service_name)

    def retire_older(self, service_name: str, deployment_name: str, *, kept: str | None) -> Sequence[str]:
        is_taken = self._request.take_over == service_name
        older = [
            each
            for each in self._rollout.older(service_name, deployment_name)
            if is_taken or each.stamp.owner == self._request.owner
        ]
        if any(each.name == kept for each in older) and kept is not None:
            self._rollout.keep(service_name, kept)
        gone = [each for each in older if each.name != kept]
        return [each.name for each in gone if self._rollout.remove(service_name, each.name, is_own=False, known=each)]

    def share(self, service_name: str, deployment_name: str, percent: int) -> None:
        self._level(service_name, deployment_name)
        self._rollout.share(service_name, deployment_name, percent)

    def mirror(self, service_name: str, deployment_name: str, percent: int) -> None:
        self._rollout.mirror(service_name, deployment_name, percent)

    def update(self, spec: DeploymentSpec) -> None:
        self._making.update(spec)

    def restore(self, service_name: str, deployment_name: str) -> None:
        self._making.restore(service_name, deployment_name)

    # --- ModelRegistry and Premises --------------------------------------------------------------------------------

    def register(
        self, model: ModelRef, *, tags: Mapping[str, str], folder: Path | None, progress: Progress
    ) -> ModelRef:
        return self._registration.register(model, tags=tags, folder=folder, progress=progress)

    def remove_version(self, name: str, version: str, *, owner: str | None) -> bool:
        return self._registration.remove_version(name, version, owner=owner)

    def inspect(self, request: Request) -> Sequence[Finding]:
        return Inspection(self._door, request).findings()

    def inspect_room(self, request: Request) -> Sequence[Finding]:
        if self._there is None and request.service_name:
            self.snapshot(request.service_name)
        live, deployments = self._there or (None, ())
        return RoomInspection(self._door, request, deployments, live).findings()
