"""Which folder a source means: asks the store's records, and says what it has where it has not what was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import assert_never
from urllib.parse import urlsplit

from mlaz_ci.adapters.mlflow_store.facts import holds_model
from mlaz_ci.adapters.mlflow_store.records import (
    Advice,
    Artifacts,
    LoggedModelRecord,
    Missing,
    OpenStore,
    RunRecord,
    VersionRecord,
)
from mlaz_ci.checks.mlmodel import MLMODEL_FILE
from mlaz_ci.errors import (
    InvalidInput,
    ModelNotFound,
    ModelPathNotFound,
    RoleMissing,
    RunNotFound,
    TrackingAccessDenied,
)
from mlaz_ci.models import LoggedModelSource, RunSource, VersionSource

_SUGGESTION_LISTINGS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """`uri` is what mlflow and people call the model, and names the same bytes for ever; `location` is where they lie."""

    uri: str
    location: str
    run: RunRecord | None = None
    model: LoggedModelRecord | None = None
    version: VersionRecord | None = None


class Locator:
    def __init__(self, connection: OpenStore) -> None:
        self._connection = connection

    def locate(self, source: RunSource | VersionSource | LoggedModelSource) -> Located:
        match source:
            case RunSource():
                return self._of_run(source)
            case VersionSource():
                return self._of_version(source)
            case LoggedModelSource():
                return self._of_logged_model(source)
            case _:
                assert_never(source)

    def relocate(self, uri: str) -> Located:
        """What `Located.uri` named: never by the first source, whose alias may have moved since the checks."""
        scheme, _, rest = uri.partition(":/")
        head, _, tail = rest.partition("/")
        if scheme == "runs":
            return self._of_run(RunSource(run_id=head, path=tail))
        if tail:
            return self._of_version(VersionSource(name=head, version=tail))
        return self._of_logged_model(LoggedModelSource(model_id=head))

    def _of_run(self, source: RunSource) -> Located:
        path = _inner_path(source.path)
        run = self._run(source.run_id)
        first, _, rest = path.partition("/")
        models = self._connection.tracking.logged_models(run)
        for model in sorted((each for each in models if each.name == first), key=_age, reverse=True):
            if holds_model(self._connection.artifacts(model.artifact_uri), rest):
                # mlflow has no URI for a path inside a LoggedModel but by its run.
                uri = f"runs:/{run.run_id}/{path}" if rest else f"models:/{model.model_id}"
                return Located(uri=uri, location=_join(model.artifact_uri, rest), run=run, model=model)
        artifacts = self._connection.artifacts(run.artifact_uri)
        named = self._connection.artifacts(_join(run.artifact_uri, path)).small()
        if (named and MLMODEL_FILE in named) or holds_model(artifacts, path):
            uri = f"runs:/{run.run_id}/{path}".rstrip("/")
            return Located(uri=uri, location=_join(run.artifact_uri, path), run=run)
        known = [*(model.name for model in models), *_model_paths(artifacts)]
        raise _no_model_at(path, run, known, self._connection.advice)

    def _run(self, run_id: str) -> RunRecord:
        try:
            run = self._connection.tracking.run(run_id)
        except Missing as error:
            raise RunNotFound(
                f"There is no run {run_id} at {self._connection.place}: {_told(error)}.",
                remedy=self._connection.advice.no_run,
                upstream_code=error.upstream_code,
            ) from error
        if run.is_deleted:
            raise RunNotFound(
                f"Run {run_id} was deleted.",
                usually="Somebody deleted it, or a clean-up of old runs did.",
                remedy=f"Restore it (`mlflow runs restore --run-id {run_id}`), or deploy another run.",
            )
        return run

    def _of_version(self, source: VersionSource) -> Located:
        tracking = self._connection.tracking
        try:
            if source.alias:
                version = tracking.version_by_alias(source.name, source.alias)
            elif source.version in {None, "latest"}:
                version = tracking.latest_version(source.name)
            else:
                version = tracking.version(source.name, str(source.version))
            location = tracking.version_location(version)
        except Missing as error:
            raise self._no_model(uri_of(source), error) from error
        uri = f"models:/{version.name}/{version.version}"
        location, model = self._followed(uri, location)
        return Located(uri=uri, location=location, run=self._run_of(version.run_id), model=model, version=version)

    def _followed(self, uri: str, location: str) -> tuple[str, LoggedModelRecord | None]:
        """A version may point to a run's path or a LoggedModel instead of to bytes."""
        if not location:
            raise ModelNotFound(
                f"{uri} has no location: its files were never stored.", remedy="Register the model again."
            )
        scheme, _, rest = location.partition(":/")
        if scheme == "runs":
            run_id, _, path = rest.lstrip("/").partition("/")
            found = self._of_run(RunSource(run_id=run_id, path=path))
            return found.location, found.model
        if scheme == "models" and re.fullmatch(r"/*m-[0-9a-f]+", rest):
            found = self._of_logged_model(LoggedModelSource(model_id=rest.lstrip("/")))
            return found.location, found.model
        return location, None

    def _of_logged_model(self, source: LoggedModelSource) -> Located:
        try:
            model = self._connection.tracking.logged_model(source.model_id)
        except Missing as error:
            raise self._no_model(uri_of(source), error) from error
        run = self._run_of(model.run_id)
        return Located(uri=f"models:/{model.model_id}", location=model.artifact_uri, run=run, model=model)

    def _run_of(self, run_id: str | None) -> RunRecord | None:
        """The run is where locks are kept and times come from; a model stays deployable when its run is gone or hidden."""
        try:
            return None if run_id is None else self._connection.tracking.run(run_id)
        except (Missing, TrackingAccessDenied, RoleMissing):
            return None

    def _no_model(self, wanted: str, error: Missing) -> ModelNotFound:
        return ModelNotFound(
            f"There is no {wanted} at {self._connection.place}: {_told(error)}.",
            remedy=self._connection.advice.no_model,
            upstream_code=error.upstream_code,
        )


def _told(error: Missing) -> str:
    """As the end of a sentence of ours; some stores end theirs with a full stop, some do not."""
    return str(error).rstrip(".")


def uri_of(source: RunSource | VersionSource | LoggedModelSource) -> str:
    """What was asked for, in mlflow's own form."""
    match source:
        case RunSource():
            return f"runs:/{source.run_id}/{source.path}"
        case VersionSource():
            return f"models:/{source.name}" + (f"@{source.alias}" if source.alias else f"/{source.version}")
        case LoggedModelSource():
            return f"models:/{source.model_id}"
        case _:
            assert_never(source)


def sentence(paths: Sequence[str]) -> str:
    shown = ", ".join(paths[:20])
    return f"{shown} and {len(paths) - 20} more" if len(paths) > 20 else shown


def _no_model_at(path: str, run: RunRecord, paths: Sequence[str], advice: Advice) -> ModelPathNotFound:
    known = sorted({each for each in paths if each})
    asked = f'Run {run.run_id} has no model at "{path}".'
    if not known:
        return ModelPathNotFound(
            f"{asked} It holds no MLmodel file at all.",
            usually="The run ended before it logged a model, or logged the bare file instead of using mlflow's log_model.",
            remedy=advice.no_files,
        )
    return ModelPathNotFound(
        f"{asked} It has models at: {sentence(known)}.",
        remedy=f"Set `model-path: {known[0]}`." if len(known) == 1 else None,
    )


def _model_paths(artifacts: Artifacts) -> list[str]:
    """Every folder of the run that holds an MLmodel, as far as a bounded number of listings goes."""
    waiting: list[str] = [""]
    found: list[str] = []
    for _ in range(_SUGGESTION_LISTINGS):
        if not waiting:
            break
        path = waiting.pop(0)
        entries = artifacts.entries(path)
        if any(PurePosixPath(entry.path).name == MLMODEL_FILE and not entry.is_folder for entry in entries):
            found.append(path)
        else:
            waiting += [entry.path for entry in entries if entry.is_folder]
    return found


def _inner_path(path: str) -> str:
    """`model-path` as a path below the run's artifacts."""
    pure = PurePosixPath(path.strip())
    if "\0" in path or pure.is_absolute() or ".." in pure.parts:
        raise InvalidInput(
            f"`model-path` {path!r} leads out of the run's artifacts.", remedy="Give the path that log_model was given."
        )
    return "" if str(pure) == "." else str(pure)


def _join(uri: str, path: str) -> str:
    if not path:
        return uri
    parts = urlsplit(uri)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{path}").geturl()


def _age(model: LoggedModelRecord) -> float:
    return model.created_at.timestamp() if model.created_at else 0.0
