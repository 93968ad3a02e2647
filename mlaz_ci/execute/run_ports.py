"""The adapters of one run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mlaz_ci.ports import (
    Clock,
    Clusters,
    Endpoints,
    InPlace,
    Legacy,
    ModelRegistry,
    ModelStore,
    Platform,
    Premises,
    Recreating,
    Room,
    Serving,
)

_PortT = TypeVar("_PortT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ports:
    """The adapters of one run. `models_folder` is where downloaded models lie, one folder per model."""

    store: ModelStore
    serving: Serving
    platform: Platform
    clock: Clock
    models_folder: Path
    registry: ModelRegistry | None = None
    in_place: InPlace | None = None
    recreating: Recreating | None = None
    endpoints: Endpoints | None = None
    clusters: Clusters | None = None
    premises: Premises | None = None
    room: Room | None = None
    legacy: Legacy | None = None
    """None are those that the target's rules never plan for."""


def known(port: _PortT | None) -> _PortT:
    assert port is not None, "a plan names only what its target's rules know the serving side to have"
    return port
