"""What the ways of reading a store (REST, its own files or tables, mlflow's client) and the ways of reading artifacts have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from mlaz_ci.checks.mlmodel import MLMODEL_FILE, PYTHON_FILE, REQUIREMENT_FILES
from mlaz_ci.errors import TrackingServerFailed

ENTRY_LIMIT = 100_000
# What almost every look at a model reads; each is a few KB.
SMALL_FILES: Final = (
    MLMODEL_FILE,
    *(each for each in REQUIREMENT_FILES if each != PYTHON_FILE),
    "serving_input_example.json",
)
# MLflow's words, in its records and its answers.
DELETED: Final = "deleted"
DELETED_VERSION: Final = "Deleted_Internal"
NO_SUCH: Final = "RESOURCE_DOES_NOT_EXIST"
INVALID: Final = "INVALID_PARAMETER_VALUE"


class Missing(Exception):
    """The store answered that it has no such thing. Never leaves this package."""

    def __init__(self, text: str, upstream_code: str | None = None) -> None:
        super().__init__(text)
        self.upstream_code = upstream_code


class TooLarge(Exception):
    """A file that should be small is not. Never leaves this package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    run_id: str
    experiment_id: str
    artifact_uri: str
    ended_at: datetime | None
    is_deleted: bool
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedModelRecord:
    model_id: str
    name: str
    artifact_uri: str
    run_id: str | None
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRecord:
    name: str
    version: str
    run_id: str | None
    model_id: str | None


class Tracking(Protocol):
    """The records of a tracking store and its registry. Raises Missing and our errors only."""

    @property
    def is_writable(self) -> bool: ...

    def run(self, run_id: str) -> RunRecord: ...

    def logged_model(self, model_id: str) -> LoggedModelRecord: ...

    def logged_models(self, run: RunRecord) -> Sequence[LoggedModelRecord]:
        """Those the run logged (mlflow 3); empty where the store has no LoggedModels."""
        ...

    def version(self, name: str, version: str) -> VersionRecord: ...

    def version_by_alias(self, name: str, alias: str) -> VersionRecord: ...

    def latest_version(self, name: str) -> VersionRecord: ...

    def version_location(self, version: VersionRecord) -> str: ...

    def experiment_name(self, experiment_id: str) -> str: ...

    def set_run_tag(self, run_id: str, key: str, value: str) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or folder under an artifact root; `path` is relative to that root."""

    path: str
    is_folder: bool
    size_bytes: int | None


class Artifacts(Protocol):
    """The files under one artifact root. Raises Missing, TooLarge and our errors only."""

    def entries(self, path: str) -> Sequence[Entry]: ...

    def small(self) -> Mapping[str, bytes] | None:
        """Of SMALL_FILES right below the root those that are there; None where a listing comes first, which tells more for as much."""
        ...

    def read(self, path: str, limit_bytes: int) -> bytes: ...

    def download(self, path: str, target: Path, advance: Callable[[int], None]) -> None: ...

    def write(self, path: str, content: bytes) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What to do where a store has not what was asked for; None: what the failure's class says."""

    no_run: str | None = None
    no_model: str | None = None
    no_files: str = "Log the model with mlflow.<flavor>.log_model, or check `run-id`."


class OpenStore(Protocol):
    """One tracking store with its registry and its artifacts. `place` is what people call it; it shows no secret."""

    @property
    def uri(self) -> str: ...

    @property
    def place(self) -> str: ...

    @property
    def advice(self) -> Advice: ...

    @property
    def tracking(self) -> Tracking: ...

    def artifacts(self, uri: str) -> Artifacts:
        """The files under an artifact URI as a run, model or version record gives it."""
        ...


def safe_path(path: str) -> str:
    """The path of an artifact as a store names it, or an error: a name may not lead out of the folder it is downloaded to."""
    pure = PurePosixPath(path)
    if not path or "\0" in path or "\\" in path or pure.is_absolute() or ".." in pure.parts:
        raise TrackingServerFailed(
            f"The store names an artifact {path!r}, which leads out of the model's folder. Nothing of it was written.",
            usually="The artifacts were tampered with, or the server is not an MLflow server.",
            remedy="Log the model again, and look at who may write to that artifact store.",
        )
    return str(pure)


def moment(milliseconds: Any) -> datetime | None:
    """MLflow's epoch milliseconds, sent as number or text."""
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def models_of_run_filter(run_id: str) -> str:
    """For a search of LoggedModels; the run id goes into quotes, so only what needs no escape may be in it."""
    if not re.fullmatch(r"[\w-]+", run_id):
        raise Missing(f"{run_id!r} is not the id of a run")
    return f"source_run_id = '{run_id}'"


def newest(versions: Sequence[VersionRecord]) -> VersionRecord:
    """Of the newest of each stage, as stores answer, the newest of all."""
    if not versions:
        raise Missing("the registered model has no version", NO_SUCH)
    return max(versions, key=lambda each: int(each.version) if each.version.isdecimal() else -1)
