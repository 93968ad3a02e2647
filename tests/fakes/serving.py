"""A serving side in memory: it keeps the promises of ports.Serving and nothing more; tests/integration/local holds the real one to the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlaz_ci.errors import MlazError
from mlaz_ci.models import (
    Cluster,
    DeploymentFacts,
    DeploymentSpec,
    Lock,
    ModelRef,
    Observation,
    ScoreRequest,
    ScoreResponse,
    ServiceFacts,
    ServiceState,
    Snapshot,
    Target,
)
from mlaz_ci.ports import Progress
from tests.samples import NOON


@dataclass
class FakeServing:
    """`states` are what each start leads to, look by look; `answers` what a score gets; `failing` raises at that verb."""

    states: list[Observation] = field(default_factory=lambda: [Observation(state=ServiceState.HEALTHY)])
    answer: ScoreResponse | None = None
    failing: dict[str, BaseException] = field(default_factory=dict)
    log: str = "the log"
    calls: list[str] = field(default_factory=list)
    specs: dict[str, DeploymentSpec] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    live: str | None = None
    previous: str | None = None
    owner: str = ""

    def _called(self, verb: str, subject: str) -> None:
        self.calls.append(f"{verb} {subject}")
        if verb in self.failing:
            raise self.failing[verb]

    def snapshot(self, service_name: str) -> Snapshot:
        if not self.specs:
            return Snapshot()
        deployments = tuple(
            DeploymentFacts(
                name=name,
                state=ServiceState.HEALTHY if name in self.running else ServiceState.STOPPED,
                spec_hash=spec.spec_hash,
                lock_hash=spec.lock.hash,
                model_label=spec.model.label,
                model_version=spec.model.version,
                created_at=NOON,
                smoke_body=spec.smoke_request.body.decode() if spec.smoke_request else None,
            )
            for name, spec in self.specs.items()
        )
        uri = "http://localhost:5000" if self.live else None
        facts = ServiceFacts(
            name=service_name,
            target=Target.LOCAL,
            state=ServiceState.HEALTHY if self.live else ServiceState.CREATING,
            owner=self.owner,
            scoring_uri=f"{uri}/score" if uri else None,
            swagger_uri=f"{uri}/swagger.json" if uri else None,
            port=5000,
            live=self.live,
            previous=self.previous,
            deployments=deployments,
            tags={},
            created_at=NOON,
        )
        return Snapshot(service=facts)

    def services(self) -> Sequence[str]:
        return sorted({spec.service_name for spec in self.specs.values()})

    def build_environment(self, lock: Lock, progress: Progress, *, deadline_s: float) -> None:
        self._called("build", lock.hash)

    def stage(self, spec: DeploymentSpec, model_folder: Path | None) -> None:
        self._called("stage", spec.deployment_name)
        self.specs[spec.deployment_name] = spec
        self.owner = spec.owner

    def start(self, service_name: str, deployment_name: str) -> None:
        self._called("start", deployment_name)
        self.running.add(deployment_name)

    def observe(self, service_name: str, deployment_name: str) -> Observation:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        self._called("score", deployment_name or service_name)
        if self.answer:
            return self.answer
        spec = self.specs[deployment_name or self.live or ""]
        return ScoreResponse(status_code=200, body=b"[1.0]", duration_s=0.01, spec_hash=spec.spec_hash)

    def shift(self, service_name: str, deployment_name: str) -> None:
        self._called("shift", deployment_name)
        self.live, self.previous = deployment_name, self.live

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        self._called("retire", deployment_name)
        self.running.discard(deployment_name)
        if not keep_files:
            self.specs.pop(deployment_name, None)

    def delete(self, service_name: str) -> bool:
        self._called("delete", service_name)
        was_there = bool(self.specs)
        self.specs.clear()
        self.running.clear()
        self.live = self.previous = None
        return was_there

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str:
        if "logs" in self.failing and isinstance(self.failing["logs"], MlazError):
            raise self.failing["logs"]
        return self.log


@dataclass
class FakeAzure(FakeServing):
    """The same with what sides on Azure have besides: a registry, changes in place, and shares of traffic."""

    versions: int = 0
    uploaded: list[Path] = field(default_factory=list)

    def register(
        self, model: ModelRef, *, tags: Mapping[str, str], folder: Path | None, progress: Progress
    ) -> ModelRef:
        self._called("register", model.name)
        if folder is not None:
            assert (folder / "MLmodel").is_file()
            self.uploaded.append(folder)
        self.versions += 1
        return replace(model, version=str(self.versions))

    def create_service(self, spec: DeploymentSpec) -> None:
        self._called("create", spec.service_name)

    def remove_version(self, name: str, version: str, *, owner: str | None) -> bool:
        self._called("remove version", f"{name}/{version}")
        return True

    def ensure_cluster(
        self, cluster: Cluster, progress: Progress, *, tags: Mapping[str, str], deadline_s: float
    ) -> bool:
        self._called("ensure", cluster.name)
        return True

    def remove_cluster(self, name: str, *, keeps_resource: bool, owner: str | None) -> bool:
        self._called("detach" if keeps_resource else "delete", name)
        return True

    def left(self, service_name: str) -> Snapshot | None:
        return self.snapshot(service_name)

    def release(self, service_name: str, deployment_name: str) -> None:
        self._called("release", deployment_name)

    def prepare(self, spec: DeploymentSpec) -> None:
        self._called("upload", spec.deployment_name)

    def mirror(self, service_name: str, deployment_name: str, percent: int) -> None:
        self._called(f"mirror {percent}", deployment_name)

    def retire_older(self, service_name: str, deployment_name: str, *, kept: str | None) -> Sequence[str]:
        older = [name for name in self.specs if name not in {deployment_name, kept}]
        for each in older:
            self.retire(service_name, each, keep_files=False)
        return older

    def delete_if_empty(self, service_name: str) -> bool:
        return not self.specs and self.delete(service_name)

    def update(self, spec: DeploymentSpec) -> None:
        self._called("update", spec.deployment_name)
        self.specs[spec.deployment_name] = spec
        self.live, self.previous = spec.deployment_name, self.live

    def make_way(self, service_name: str) -> None:
        self.delete(service_name)

    def restore(self, service_name: str, deployment_name: str) -> None:
        self._called("restore", deployment_name)
        self.live = deployment_name

    def share(self, service_name: str, deployment_name: str, percent: int) -> None:
        self._called(f"share {percent}", deployment_name)
