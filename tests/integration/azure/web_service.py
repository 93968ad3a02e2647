"""A whole job on ACI or AKS: the product's adapters over the emulator, and a model that lies in a run of the workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
from mlaz_ci.adapters.azureml_v1 import WebServices
from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.identity import CLOUDS, Credential, v1_authentication
from mlaz_ci.execute import Ports
from mlaz_ci.models import (
    AzureShape,
    Cloud,
    Command,
    Lock,
    ModelRef,
    ModelSource,
    Outcome,
    Request,
    RunSource,
    Target,
    Workspace,
)
from mlaz_ci.operations import Job
from mlaz_ci.ports import Progress, Resolver
from mlaz_ci.targets import TargetRules, aci, aks
from tests import samples
from tests.azure import runs, storage, world
from tests.azure.arm import workspaces
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.azure.trace import Exchange
from tests.fakes.packages import SHELF
from tests.fakes.platform import RecordingPlatform
from tests.fakes.resolver import FakeResolver
from tests.integration.azure.conftest import CloudClock

WORKSPACE = Workspace(subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name=world.WORKSPACE)
SERVICE = "churn-svc"
CLUSTER = "aks-mlflow"
_RULES: Mapping[Target, TargetRules] = {Target.ACI: aci, Target.AKS: aks}


@dataclass
class RunStore:
    """A model that a run of the workspace logged; `folder` holds its bytes where it is somebody else's run."""

    model: ModelRef
    folder: Path | None = None

    def resolve(self, source: ModelSource, *, name: str | None) -> ModelRef:
        return replace(self.model, name=name or self.model.name)

    def fetch(self, model: ModelRef, destination: Path, progress: Progress) -> None:
        destination.mkdir(parents=True)
        if self.folder is None:
            (destination / "MLmodel").write_text(model.facts.mlmodel_text)
            return
        for file in self.folder.rglob("*"):
            if file.is_file():
                (destination / file.relative_to(self.folder)).parent.mkdir(parents=True, exist_ok=True)
                (destination / file.relative_to(self.folder)).write_bytes(file.read_bytes())

    def keep_lock(self, model: ModelRef, lock: Lock) -> bool:
        return True


class AzureJob(Job):
    @property
    def rules(self) -> TargetRules:
        return _RULES[self.request.target]


@dataclass
class Scene:
    """`deploy`, `cleanup`, … run a job of their own each, as processes do; what one of them read is not the next one's."""

    azure: Emulator
    clock: CloudClock
    platform: RecordingPlatform
    credential: Credential
    folder: Path
    target: Target = Target.ACI
    store: RunStore = field(init=False)
    resolver: Resolver = field(default_factory=lambda: FakeResolver(SHELF))
    request: Request = field(init=False)
    last: AzureJob | None = None

    def __post_init__(self) -> None:
        self.store = RunStore(self.log_run("run-1"))
        shape = AzureShape(cpu_cores=0.5, memory_gb=1.0) if self.target is Target.ACI else AzureShape(compute=CLUSTER)
        self.request = samples.request(
            target=self.target,
            source=RunSource(run_id="run-1", path="model"),
            service_name=SERVICE,
            workspace=WORKSPACE,
            shape=shape,
            tags={"team": "growth"},
        )

    @property
    def cloud(self) -> CloudState:
        return self.azure.cloud

    def log_run(self, run_id: str, files: Mapping[str, bytes] | None = None, **changes: Any) -> ModelRef:
        """A run with a model among its artifacts, where Azure keeps them."""
        workspace = self.cloud.state(workspaces.Workspaces).default
        experiment = runs.default_experiment(self.cloud, workspace.key)
        run = runs.create_run(
            self.cloud,
            workspace.key,
            experiment,
            run_id=run_id,
            artifact_uri=f"azureml://x/{run_id}/artifacts",
            name=run_id,
            user_id=world.CLIENT_OBJECT_ID,
            tenant_id=world.TENANT_ID,
            start_ms=0,
        )
        files = files or {"MLmodel": samples.facts().mlmodel_text.encode(), "model.pkl": b"bytes of " + run_id.encode()}
        for name, content in files.items():
            path = f"ExperimentRun/{run.container}/model/{name}"
            storage.write(self.cloud, workspace.storage_account, storage.ARTIFACT_CONTAINER, path, content)
        values: dict[str, Any] = {
            "source": RunSource(run_id=run_id, path="model"),
            "run_id": run_id,
            "artifact_uri": f"runs:/{run_id}/model",
            "digest": f"digest of {run_id}",
            "is_in_workspace": True,
            **changes,
        }
        return samples.model(**values)

    def serve(self, run_id: str) -> None:
        """From now on another run's model is asked for."""
        self.store = RunStore(self.log_run(run_id))

    def door(self, deadline_s: float = 1800.0) -> WorkspaceDoor:
        wire = Wire(self.credential, self.clock, deadline_s=self.clock.now_s() + deadline_s)
        return WorkspaceDoor(wire, WORKSPACE, CLOUDS[Cloud.PUBLIC])

    def job(self, **changes: Any) -> AzureJob:
        request = replace(self.request, **changes)
        door = self.door(request.deadline_s)
        authentication = partial(v1_authentication, self.credential)
        services = WebServices(door, authentication, self.clock, self.platform, request.target)
        ports = Ports(
            store=self.store,
            serving=services,
            platform=self.platform,
            clock=self.clock,
            models_folder=self.folder / "models",
            registry=services,
            in_place=services,
            recreating=services,
            clusters=services,
            premises=services,
        )
        self.last = AzureJob(request=request, ports=ports, resolver=self.resolver)
        return self.last

    def deploy(self, **changes: Any) -> Outcome:
        return self.job(**changes).run()

    def run(self, command: Command, **changes: Any) -> Outcome:
        return self.job(command=command, **changes).run()

    # --- what was asked of Azure ------------------------------------------------------------------------------------

    @property
    def payload(self) -> dict[str, Any]:
        """What was asked for when the service was created, or last changed: the request as the emulator holds it."""
        from tests.azure import webservices

        service = self.cloud.state(webservices.Services).get(
            self.cloud.state(workspaces.Workspaces).default.key, SERVICE
        )
        assert service is not None
        return service.request

    def sent(self) -> list[Exchange]:
        """Every exchange but those that ask again how far something is."""
        return [each for each in self.cloud.trace.find() if not _is_poll(each)]

    def bodies(self, method: str, path: str) -> list[Any]:
        return [json.loads(each.request_body) for each in self.cloud.trace.find(method=method, path=path)]

    def add_cluster(self, name: str = CLUSTER, *, kind: str = "AKS") -> None:
        """A cluster that was there before: what it took to make it is not in the trace."""
        door = self.door()
        body = {"location": world.REGION, "properties": {"computeType": kind, "properties": {}}}
        door.arm("PUT", f"/computes/{name}", doing="make a cluster", body=body)
        for _ in range(10):
            told = door.arm("GET", f"/computes/{name}", doing="look at the cluster").object
            if told["properties"]["provisioningState"] == "Succeeded":
                break
            self.clock.sleep(0.5 if isinstance(self.clock, SystemClock) else 60)
        self.cloud.trace.clear()


def _is_poll(exchange: Exchange) -> bool:
    return "/operations/" in exchange.path
