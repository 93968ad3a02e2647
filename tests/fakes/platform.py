"""A platform that remembers what was shown, in order. Masking is the real one: a test can look for secrets in all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlaz_ci.models import Severity
from mlaz_ci.ports import Progress
from mlaz_ci.report.masking import Masker


@dataclass
class RecordingProgress:
    """`updates` are (done, total, unit), in order."""

    title: str
    updates: list[tuple[float, float | None, str]] = field(default_factory=list)

    def update(self, done: float, total: float | None, unit: str) -> None:
        self.updates.append((done, total, unit))


@dataclass
class RecordingPlatform:
    """`ports.Platform` for tests. `outputs` holds the last value of each name, `output_order` every name as it was set."""

    is_pull_request: bool = False
    lines: list[str] = field(default_factory=list)
    annotations: list[tuple[Severity, str, str]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    output_order: list[str] = field(default_factory=list)
    summary: str = ""
    progresses: list[RecordingProgress] = field(default_factory=list)
    _masker: Masker = field(default_factory=Masker)

    def mask(self, secret: str) -> None:
        self._masker.add(secret)

    def info(self, text: str) -> None:
        self.lines += self._masker.mask(text).split("\n")

    def annotate(self, severity: Severity, title: str, text: str) -> None:
        self.annotations.append((severity, self._masker.mask(title), self._masker.mask(text)))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        self.groups.append(self._masker.mask(title))
        yield

    def set_output(self, name: str, value: str) -> None:
        self.output_order.append(name)
        self.outputs[name] = self._masker.mask_json(value)

    def append_summary(self, markdown: str) -> None:
        self.summary += self._masker.mask_markup(markdown)

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        progress = RecordingProgress(self._masker.mask(title))
        self.progresses.append(progress)
        yield progress

    @property
    def text(self) -> str:
        """Everything that was shown or written, to be searched."""
        annotations = [f"{severity}: {title}: {text}" for severity, title, text in self.annotations]
        outputs = [f"{name}={value}" for name, value in self.outputs.items()]
        return "\n".join([*self.lines, *annotations, *self.groups, *outputs, self.summary])
