"""A model store in memory: one model, whose bytes are its MLmodel text."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mlaz_ci.models import Lock, ModelRef, ModelSource
from mlaz_ci.ports import Progress
from tests import samples


@dataclass
class FakeStore:
    model: ModelRef = field(default_factory=samples.model)
    fetch_error: Exception | None = None
    is_writable: bool = True
    kept: list[str] = field(default_factory=list)

    def resolve(self, source: ModelSource, *, name: str | None) -> ModelRef:
        return self.model

    def fetch(self, model: ModelRef, destination: Path, progress: Progress) -> None:
        if self.fetch_error:
            raise self.fetch_error
        destination.mkdir(parents=True)
        (destination / "MLmodel").write_text(model.facts.mlmodel_text)

    def keep_lock(self, model: ModelRef, lock: Lock) -> bool:
        if self.is_writable:
            self.kept.append(lock.hash)
        return self.is_writable
