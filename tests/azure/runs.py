"""Experiments and runs as data, which MLflow's room and run history's both speak of. Knows no HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm.workspaces import Key
from tests.azure.clock import iso8601
from tests.azure.state import Cloud

ORIGIN = "ExperimentRun"
DEFAULT_EXPERIMENT = "Default"


@dataclass(slots=True, kw_only=True)
class Experiment:
    id: str
    name: str
    created_ms: int
    updated_ms: int
    lifecycle: str = "active"
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    value: float
    timestamp_ms: int
    step: int


@dataclass(slots=True, kw_only=True)
class Run:
    id: str
    experiment: Experiment
    # Where its artifacts are, as MLflow is told; fixed when the run is made.
    artifact_uri: str
    name: str
    user_id: str
    tenant_id: str
    number: int
    created: str
    start_ms: int
    end_ms: int | None = None
    status: str = "RUNNING"
    lifecycle: str = "active"
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[Metric]] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    revision: int = 1

    @property
    def container(self) -> str:
        """The artifact container of the run."""
        return f"dcid.{self.id}"


@dataclass(slots=True)
class Tracking:
    """Every experiment and run, by workspace: cloud.state(runs.Tracking)."""

    experiments: dict[tuple[Key, str], Experiment] = field(default_factory=dict)
    runs: dict[tuple[Key, str], Run] = field(default_factory=dict)

    def experiment(self, workspace: Key, said: str) -> Experiment | None:
        """By id, by name, or by MLflow's "0" for the default one."""
        if said == "0":
            return self.experiment(workspace, DEFAULT_EXPERIMENT)
        if found := self.experiments.get((workspace, said.lower())):
            return found
        return next((one for one in self.experiments_of(workspace) if one.name.lower() == said.lower()), None)

    def experiments_of(self, workspace: Key) -> Iterator[Experiment]:
        return (one for (owner, _), one in self.experiments.items() if owner == workspace)

    def runs_of(self, workspace: Key) -> Iterator[Run]:
        return (one for (owner, _), one in self.runs.items() if owner == workspace)

    def run(self, workspace: Key, run_id: str) -> Run | None:
        return self.runs.get((workspace, run_id))


def milliseconds(cloud: Cloud) -> int:
    return int(cloud.clock.now_s() * 1000)


def create_experiment(cloud: Cloud, workspace: Key, name: str) -> Experiment:
    now_ms = milliseconds(cloud)
    experiment = Experiment(id=str(uuid.uuid4()), name=name, created_ms=now_ms, updated_ms=now_ms)
    cloud.state(Tracking).experiments[(workspace, experiment.id)] = experiment
    return experiment


def default_experiment(cloud: Cloud, workspace: Key) -> Experiment:
    """Every workspace has one, without anyone making it."""
    found = cloud.state(Tracking).experiment(workspace, DEFAULT_EXPERIMENT)
    return found or create_experiment(cloud, workspace, DEFAULT_EXPERIMENT)


def create_run(cloud: Cloud, workspace: Key, experiment: Experiment, *, run_id: str = "", **more: Any) -> Run:
    run = Run(
        id=run_id or str(uuid.uuid4()),
        experiment=experiment,
        number=int(cloud.clock.now_s()),
        created=iso8601(cloud.clock)[:-1] + "+00:00",
        **more,
    )
    cloud.state(Tracking).runs[(workspace, run.id)] = run
    return run
