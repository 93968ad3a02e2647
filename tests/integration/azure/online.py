"""What the tests of online endpoints share: runs with models in the emulated workspace, jobs over them, services that say what they are."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlaz_ci.adapters.azure_arm import OnlineEndpoints
from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
from mlaz_ci.adapters.identity import CLOUDS
from mlaz_ci.execute import Ports
from mlaz_ci.models import (
    AzureShape,
    Cloud,
    Command,
    Lock,
    ModelRef,
    ModelSource,
    Outcome,
    PathSource,
    Request,
    RunSource,
    Target,
    Workspace,
)
from mlaz_ci.operations import Job
from mlaz_ci.ports import Progress
from tests import samples
from tests.azure import storage, world
from tests.azure.backends import Handle, Serving, Spec, StartFailed
from tests.azure.state import Cloud as CloudState
from tests.azure.trace import Exchange
from tests.fakes.platform import RecordingPlatform
from tests.fakes.resolver import FakeResolver, Package
from tests.integration.azure.conftest import CloudClock, SignInAs

WORKSPACE = Workspace(subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name=world.WORKSPACE)
EP = "/onlineEndpoints/churn"
OWNER = "repo:1"
PACKAGES = (
    Package(name="azureml-inference-server-http", version="1.5.1"),
    Package(name="mlflow", version="3.15.0"),
    Package(name="scikit-learn", version="1.9.1"),
)
_POLLS = ("/mfeOperationsStatus/", "/mfeOperationResults/")


@dataclass
class RunStore:
    """A ModelStore over runs of the workspace: their models are known by run id, and are never downloaded."""

    kept: list[str] = field(default_factory=list)
    version: str | None = None
    folder: Path | None = None

    def resolve(self, source: ModelSource, *, name: str | None) -> ModelRef:
        if isinstance(source, PathSource):
            return samples.model(
                source=source, name=name or "churn", digest=source.path.name, artifact_uri=str(source.path)
            )
        assert isinstance(source, RunSource)
        return samples.model(
            source=source,
            name=name or "churn",
            version=self.version,
            run_id=source.run_id,
            artifact_uri=f"runs:/{source.run_id}/{source.path}",
            digest=f"digest-{source.run_id}",
            is_in_workspace=True,
        )

    def fetch(self, model: ModelRef, destination: Path, progress: Progress) -> None:
        assert isinstance(model.source, PathSource)
        destination.mkdir(parents=True)
        for each in model.source.path.iterdir():
            (destination / each.name).write_bytes(each.read_bytes())

    def keep_lock(self, model: ModelRef, lock: Lock) -> bool:
        self.kept.append(lock.hash)
        return True


@dataclass
class Stage:
    """One cloud, and jobs of ours in it."""

    cloud: CloudState
    sign_in_as: SignInAs
    clock: CloudClock
    folder: Path
    platform: RecordingPlatform = field(default_factory=RecordingPlatform)
    store: RunStore = field(default_factory=RunStore)
    base: dict[str, Any] = field(default_factory=dict)

    def place(self, run_id: str, **files: str) -> None:
        """A run's model among its artifacts in the workspace."""
        for name, text in {"MLmodel": "flavors: {python_function: {}}\n", **files}.items():
            storage.write(
                self.cloud,
                world.STORAGE_ACCOUNT,
                storage.ARTIFACT_CONTAINER,
                f"ExperimentRun/dcid.{run_id}/model/{name}",
                text.encode(),
            )

    def request(self, run_id: str = "run-1", command: Command = Command.DEPLOY, **changes: Any) -> Request:
        values: dict[str, Any] = {
            "command": command,
            "target": Target.MANAGED,
            "source": RunSource(run_id=run_id, path="model"),
            "workspace": WORKSPACE,
            "shape": AzureShape(),
            "owner": OWNER,
            "origin": {"run": run_id},
            **self.base,
        }
        return samples.request(**{**values, **changes})

    def side(self, request: Request, clock: Any = None) -> OnlineEndpoints:
        clock = clock or self.clock
        wire = Wire(self.sign_in_as(), clock, deadline_s=clock.now_s() + request.deadline_s)
        return OnlineEndpoints(WorkspaceDoor(wire, WORKSPACE, CLOUDS[Cloud.PUBLIC]), clock, self.platform, request)

    def job(self, request: Request, clock: Any = None) -> Job:
        side = self.side(request, clock)
        ports = Ports(
            store=self.store,
            serving=side,
            platform=self.platform,
            clock=clock or self.clock,
            models_folder=self.folder / "models",
            registry=side,
            in_place=side,
            endpoints=side,
            premises=side,
            room=side,
        )
        return Job(request=request, ports=ports, resolver=FakeResolver(PACKAGES))

    def run(self, run_id: str = "run-1", command: Command = Command.DEPLOY, **changes: Any) -> Outcome:
        return self.job(self.request(run_id, command, **changes)).run()

    def deploy(self, run_id: str = "run-1", **changes: Any) -> Outcome:
        self.place(run_id)
        return self.run(run_id, **changes)

    # --- what is there -----------------------------------------------------------------------------------------------

    def arm(self, method: str, below: str, body: Any = None, api_version: str = "2024-04-01") -> Any:
        """Asked by somebody else: what a person would see or do with `az`."""
        credential = self.sign_in_as()
        wire = Wire(credential, self.clock, deadline_s=self.clock.now_s() + 600)
        door = WorkspaceDoor(wire, WORKSPACE, CLOUDS[Cloud.PUBLIC])
        answer = door.arm(method, below, doing="look", allowed={404}, body=body, api_version=api_version)
        while url := answer.headers.get("azure-asyncoperation"):
            self.clock.sleep(1)
            told = door.arm_url("GET", url, doing="wait")
            if told.object["status"] in {"Succeeded", "Failed", "Canceled"}:
                break
        return None if answer.status == 404 else answer.value

    def endpoint(self) -> Any:
        return self.arm("GET", EP)

    @property
    def traffic(self) -> dict[str, int]:
        return dict(self.endpoint()["properties"]["traffic"])

    def deployments(self) -> dict[str, Any]:
        return {each["name"]: each for each in self.arm("GET", f"{EP}/deployments")["value"]}

    def deployments_of(self, outcome: Outcome) -> Any:
        """The deployment that a deploy made."""
        return self.deployments()[outcome.deployment_name or ""]

    def model_versions(self, name: str = "churn") -> list[str]:
        found = self.arm("GET", f"/models/{name}/versions")
        return [each["name"] for each in found["value"]] if found else []


def asked(cloud: CloudState, since: int = 0) -> list[Exchange]:
    """All requests after the one numbered `since`, without polls: of operations, and looks that found a thing under way."""
    found = [each for each in cloud.trace.find() if each.number > since]
    return [each for each in found if not any(part in each.path for part in _POLLS) and not _is_under_way(each)]


def _is_under_way(one: Exchange) -> bool:
    if (
        one.method != "GET"
        or one.status != 200
        or not re.search(r"/onlineEndpoints/[^/]+(/deployments/[^/]+)?$", one.path)
    ):
        return False
    return json.loads(one.response_body)["properties"]["provisioningState"] in {"Creating", "Updating", "Deleting"}


def last(cloud: CloudState) -> int:
    return max((each.number for each in cloud.trace.find()), default=0)


def writes(cloud: CloudState, since: int = 0) -> list[str]:
    """Method and what it was about, of each request that changes something at ARM."""
    return [
        f"{each.method} {each.path.rpartition(world.WORKSPACE)[2]}"
        for each in asked(cloud, since)
        if each.method in {"PUT", "PATCH", "DELETE"} and each.host == "management.azure.com"
    ]


# --- services that say what they are ----------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        house = self.server.house
        time.sleep(house.takes_s)
        body = json.dumps({"model": self.server.marker}).encode()
        self.send_response(house.statuses.get(self.server.marker, 200))
        self.send_header("x-mlaz-spec", self.server.spec.variables.get("MLAZ_SPEC", ""))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, spec: Spec, house: House) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spec = spec
        self.house = house
        place = spec.model_folder / "model" / "marker" if spec.model_folder else None
        self.marker = place.read_text() if place and place.is_file() else ""


class _Service:
    def __init__(self, spec: Spec, house: House) -> None:
        self._server = _Server(spec, house)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def logs(self) -> str:
        return f"model {self._server.marker} is loaded"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class House:
    """A serving backend: each service answers with its model's `marker` and the spec it was given. `statuses` by marker."""

    statuses: dict[str, int] = field(default_factory=dict)
    takes_s: float = 0.0
    crashing: set[str] = field(default_factory=set)
    specs: list[Spec] = field(default_factory=list)

    def start(self, spec: Spec) -> Handle:
        self.specs.append(spec)
        service = _Service(spec, self)
        if service._server.marker in self.crashing:
            service.stop()
            raise StartFailed("ModuleNotFoundError: No module named 'xgboost'\n")
        return service

    @classmethod
    def opened_in(cls, cloud: CloudState) -> House:
        house = cls()
        cloud.live(Serving).backend = house
        return house


def with_raw(raw: Mapping[str, Any], **shape: Any) -> AzureShape:
    return replace(AzureShape(raw=raw), **shape)
