"""Web services on ACI and AKS as the core's ports: which room does what. What it keeps is what this process read and began."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.azureml_v1.clusters import AksClusters
from mlaz_ci.adapters.azureml_v1.environment import Environments
from mlaz_ci.adapters.azureml_v1.following import Following
from mlaz_ci.adapters.azureml_v1.making import Making
from mlaz_ci.adapters.azureml_v1.mms import ModelManagement, require
from mlaz_ci.adapters.azureml_v1.premises import Inspection
from mlaz_ci.adapters.azureml_v1.reading import FOREIGN, Seen, see, service_facts
from mlaz_ci.adapters.azureml_v1.registry import Registry
from mlaz_ci.adapters.azureml_v1.restoring import Restoring
from mlaz_ci.adapters.azureml_v1.scoring import Caller
from mlaz_ci.adapters.azureml_v1.script import Script
from mlaz_ci.adapters.azureml_v1.sdk import Sdk
from mlaz_ci.adapters.azureml_v1.upload import Artifacts
from mlaz_ci.errors import DeployTimedOut, MlazError
from mlaz_ci.models import (
    Cloud,
    Cluster,
    DeploymentSpec,
    Finding,
    Lock,
    ModelRef,
    Observation,
    Request,
    ScoreRequest,
    ScoreResponse,
    Snapshot,
    Target,
)
from mlaz_ci.polling import poll_interval_s
from mlaz_ci.ports import Clock, Platform, Progress

_DELETION_S: Final = 900.0


class WebServices:
    """`ports.Serving`, `InPlace`, `ModelRegistry`, `Clusters` and `Premises` for target aci or aks."""

    def __init__(
        self, door: WorkspaceDoor, authentication: Callable[[], Any], clock: Clock, platform: Platform, target: Target
    ) -> None:
        """`authentication` makes azureml-core's, and imports it: it is called when something is about to be made."""
        self._door = door
        self._clock = clock
        self._platform = platform
        self._target = target
        self._mms = ModelManagement(door)
        self._sdk = Sdk(door, authentication)
        artifacts = Artifacts(door, platform)
        self._registry = Registry(self._mms, artifacts, platform)
        self._environments = Environments(door, self._sdk, clock)
        self._following = Following(door, self._mms, platform)
        self._caller = Caller(self._mms, clock, platform)
        self._clusters = AksClusters(door, self._sdk, clock)
        self._inspection = Inspection(door, self._clusters, target)
        self._restoring = Restoring(self._mms, self._environments)
        self._making = Making(
            sdk=self._sdk,
            mms=self._mms,
            artifacts=artifacts,
            environments=self._environments,
            clock=clock,
            platform=platform,
            target=target,
        )
        self._staged: dict[tuple[str, str], tuple[DeploymentSpec, Script]] = {}
        self._seen: dict[str, Seen] = {}
        """As each service was before this process changed anything of it."""
        self._begun: dict[str, tuple[str, str]] = {}
        """What this process made of it: the deployment's name and spec."""
        self._keys: dict[str, Mapping[str, str]] = {}
        """Those of a service that made way, to be given back with it: they are kept nowhere else."""

    # --- Serving ----------------------------------------------------------------------------------------------------

    def snapshot(self, service_name: str) -> Snapshot:
        # What this process made of it, it knows.
        payload = self._mms.service(service_name, expands=service_name not in self._begun)
        if payload is None:
            return Snapshot()
        state, payload = self._following.state_of(payload)
        seen = see(payload)
        self._seen.setdefault(service_name, seen)
        return Snapshot(service=service_facts(seen, self._target, state, self._studio_url(service_name)))

    def services(self) -> Sequence[str]:
        return self._mms.service_names()

    def build_environment(self, lock: Lock, progress: Progress, *, deadline_s: float) -> None:  # noqa: ARG002 - the image is built with the service
        """Registers the environment, or finds it: Azure builds its image when the first service asks for it."""
        self._environments.ensure(lock)

    def stage(self, spec: DeploymentSpec, model_folder: Path | None) -> None:
        assert model_folder is None, "the model is registered by now"
        self._staged[spec.service_name, spec.deployment_name] = (spec, self._making.upload_script(spec))

    def start(self, service_name: str, deployment_name: str) -> None:
        spec, script = self._staged[service_name, deployment_name]
        self._caller.forget(service_name)
        self._begun[service_name] = (spec.deployment_name, spec.spec_hash)
        self._following.begin(service_name, self._making.create(spec, script))

    def observe(self, service_name: str, deployment_name: str) -> Observation:  # noqa: ARG002 - a service has one
        return self._following.observe(service_name)

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        service = require(self._mms.service(service_name), service_name)
        record = see(service).record(deployment_name) if deployment_name else None
        return self._caller.call(service, request, wanted_spec=record.spec if record else None)

    def shift(self, service_name: str, deployment_name: str) -> None:
        """Nothing to do: the one deployment has all the traffic."""

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        """Nothing to do: a deployment ends when another takes its place."""

    def delete(self, service_name: str) -> bool:
        """Waits until it is gone, so that its name is free again."""
        was_there, operation = self._mms.delete_service(service_name)
        self._following.begin(service_name, None)
        if was_there and operation:
            self._await_deletion(service_name, operation)
        return was_there

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str:  # noqa: ARG002 - a service has one
        return self._following.log(service_name, tail_lines=tail_lines)

    def _await_deletion(self, service_name: str, operation: str) -> None:
        began_s = self._clock.now_s()
        while True:
            told = self._mms.operation(operation, offset=0)
            state = str(told.get("state"))
            if state == "Succeeded":
                return
            if state in {"Failed", "Cancelled", "TimedOut"}:
                raise self._following.failure(f'delete the service "{service_name}"', told)
            waited_s = self._clock.now_s() - began_s
            if waited_s >= _DELETION_S:
                raise DeployTimedOut(
                    f'The service "{service_name}" is still being deleted after {waited_s / 60:.0f} minutes.'
                )
            self._clock.sleep(poll_interval_s(waited_s))

    # --- InPlace ----------------------------------------------------------------------------------------------------

    def update(self, spec: DeploymentSpec) -> None:
        name = spec.service_name
        script = self._making.upload_script(spec)
        seen = self._seen.get(name) or see(require(self._mms.service(name, expands=True), name))
        self._seen.setdefault(name, seen)
        self._caller.forget(name)
        self._begun[name] = (spec.deployment_name, spec.spec_hash)
        self._following.begin(name, self._making.update(spec, script, seen))

    def make_way(self, service_name: str) -> None:
        kept = self._seen.get(service_name)
        if kept and kept.payload.get("authEnabled"):
            # Without them the service still comes back, with new ones.
            with contextlib.suppress(MlazError):
                self._keys[service_name] = self._caller.keys(service_name)
        self.delete(service_name)

    def restore(self, service_name: str, deployment_name: str) -> None:
        payload, kept = self._mms.service(service_name, expands=True), self._seen.get(service_name)
        is_before = kept is not None and _live_name(kept) == deployment_name
        self._caller.forget(service_name)
        if payload is None and is_before and kept is not None:
            operation = self._restoring.make_anew(service_name, kept, self._keys.get(service_name, {}))
            self._following.begin(service_name, operation)
            return
        now = see(require(payload, service_name))
        if is_before and kept is not None and _mark(now) not in {_mark(kept), self._begun.get(service_name)}:
            # Another run came between: what it made is not ours to take back.
            self._platform.info(f'Service "{service_name}" was changed by another run meanwhile, and is left as it is.')
            self._following.begin(service_name, None)
            return
        operation = self._restoring.restore(service_name, deployment_name, before=kept if is_before else None, now=now)
        self._following.begin(service_name, operation)

    # --- ModelRegistry, Clusters, Premises --------------------------------------------------------------------------

    def register(
        self, model: ModelRef, *, tags: Mapping[str, str], folder: Path | None, progress: Progress
    ) -> ModelRef:
        # From here on something will be made: the import goes on while Azure answers.
        self._sdk.begin_import()
        return self._registry.register(model, tags=tags, folder=folder, progress=progress)

    def remove_version(self, name: str, version: str, *, owner: str | None) -> bool:
        return self._registry.remove_version(name, version, owner=owner)

    def ensure_cluster(
        self, cluster: Cluster, progress: Progress, *, tags: Mapping[str, str], deadline_s: float
    ) -> bool:
        return self._clusters.ensure(cluster, progress, tags=tags, deadline_s=deadline_s)

    def remove_cluster(self, name: str, *, keeps_resource: bool, owner: str | None) -> bool:
        return self._clusters.remove(name, keeps_resource=keeps_resource, owner=owner)

    def inspect(self, request: Request) -> Sequence[Finding]:
        return self._inspection.inspect(request)

    def _studio_url(self, service_name: str) -> str | None:
        """The portal's page; its address is known for the public cloud alone."""
        if self._door.workspace.cloud is not Cloud.PUBLIC:
            return None
        tenant = self._door.facts.tenant_id
        return f"https://ml.azure.com/endpoints/realtime/{quote(service_name)}/detail?wsid={self._door.path}" + (
            f"&tid={tenant}" if tenant else ""
        )


def _mark(seen: Seen) -> tuple[str, str]:
    return seen.stamp.deployment_name, seen.stamp.spec_hash


def _live_name(seen: Seen) -> str:
    return seen.live.deployment if seen.live else seen.stamp.deployment_name or FOREIGN
