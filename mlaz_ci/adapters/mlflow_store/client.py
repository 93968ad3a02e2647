"""The stores and artifact places that only mlflow itself can read: database servers, Databricks, plugins, cloud storage.

Imports mlflow late, inside its surroundings: it costs seconds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlaz_ci.adapters.mlflow_store.database import require_own_schema
from mlaz_ci.adapters.mlflow_store.location import DATABASE_SCHEMES, scheme_of
from mlaz_ci.adapters.mlflow_store.records import (
    Entry,
    LoggedModelRecord,
    Missing,
    RunRecord,
    TooLarge,
    VersionRecord,
    models_of_run_filter,
    moment,
    newest,
    safe_path,
)
from mlaz_ci.adapters.mlflow_store.surroundings import Surroundings

_SEARCH_PAGES = 20


class ClientTracking:
    """Tracking by mlflow's own client."""

    def __init__(self, tracking_uri: str, registry_uri: str | None, surroundings: Surroundings) -> None:
        self._around = surroundings
        with surroundings.entered():
            for uri in dict.fromkeys([tracking_uri, registry_uri or tracking_uri]):
                if scheme_of(uri) in DATABASE_SCHEMES:
                    require_own_schema(uri)
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri)

    @property
    def is_writable(self) -> bool:
        return not self._around.is_overridden

    def run(self, run_id: str) -> RunRecord:
        with self._around.entered():
            run = self._client.get_run(run_id)
            return RunRecord(
                run_id=run.info.run_id,
                experiment_id=str(run.info.experiment_id),
                artifact_uri=run.info.artifact_uri or "",
                ended_at=moment(run.info.end_time),
                is_deleted=run.info.lifecycle_stage == "deleted",
                tags=dict(run.data.tags),
            )

    def logged_model(self, model_id: str) -> LoggedModelRecord:
        with self._around.entered():
            if not hasattr(self._client, "get_logged_model"):
                raise Missing("this mlflow has no LoggedModels")
            return _logged_model(self._client.get_logged_model(model_id))

    def logged_models(self, run: RunRecord) -> Sequence[LoggedModelRecord]:
        if not hasattr(self._client, "search_logged_models"):
            return ()
        try:
            found = self._search(run, models_of_run_filter(run.run_id))
        except Missing:
            # Databricks cannot filter by run; other stores have no LoggedModels at all.
            try:
                found = self._search(run, None)
            except Missing:
                return ()
        return tuple(model for model in found if model.run_id == run.run_id)

    def _search(self, run: RunRecord, condition: str | None) -> list[LoggedModelRecord]:
        found: list[LoggedModelRecord] = []
        token = None
        with self._around.entered():
            for _ in range(_SEARCH_PAGES):
                page = self._client.search_logged_models(
                    experiment_ids=[run.experiment_id], filter_string=condition, page_token=token
                )
                found += [_logged_model(each) for each in page]
                token = page.token
                if not token:
                    break
        return found

    def version(self, name: str, version: str) -> VersionRecord:
        with self._around.entered():
            return _version(self._client.get_model_version(name, version))

    def version_by_alias(self, name: str, alias: str) -> VersionRecord:
        with self._around.entered():
            return _version(self._client.get_model_version_by_alias(name, alias))

    def latest_version(self, name: str) -> VersionRecord:
        with self._around.entered():
            return newest([_version(each) for each in self._client.get_latest_versions(name)])

    def version_location(self, version: VersionRecord) -> str:
        with self._around.entered():
            return str(self._client.get_model_version_download_uri(version.name, version.version))

    def experiment_name(self, experiment_id: str) -> str:
        with self._around.entered():
            return str(self._client.get_experiment(experiment_id).name)

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        with self._around.entered():
            self._client.set_tag(run_id, key, value)


class RepositoryArtifacts:
    """Artifacts in whatever place mlflow has a repository class for (s3:, gs:, wasbs:, dbfs:, …)."""

    def __init__(self, uri: str, tracking_uri: str, surroundings: Surroundings) -> None:
        self._around = surroundings
        with surroundings.entered():
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            self._repository: Any = get_artifact_repository(uri, tracking_uri=tracking_uri)

    def small(self) -> None:
        """A listing tells sizes too."""

    def entries(self, path: str) -> Sequence[Entry]:
        with self._around.entered():
            return tuple(
                Entry(path=safe_path(each.path), is_folder=bool(each.is_dir), size_bytes=each.file_size)
                for each in self._repository.list_artifacts(path or None)
            )

    def read(self, path: str, limit_bytes: int) -> bytes:
        """The listing told the size before; mlflow has no way to read a part of a file."""
        with tempfile.TemporaryDirectory(prefix="mlaz-ci-") as folder:
            local = self._fetch(path, Path(folder))
            if local.stat().st_size > limit_bytes:
                raise TooLarge(path)
            return local.read_bytes()

    def download(self, path: str, target: Path, advance: Callable[[int], None]) -> None:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            local = self._fetch(path, Path(folder))
            advance(local.stat().st_size)
            local.replace(target)

    def write(self, path: str, content: bytes) -> None:
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory(prefix="mlaz-ci-") as local, self._around.entered():
            file = Path(local) / name
            file.write_bytes(content)
            self._repository.log_artifact(str(file), folder or None)

    def _fetch(self, path: str, folder: Path) -> Path:
        with self._around.entered():
            return Path(self._repository.download_artifacts(path, str(folder)))


def _logged_model(model: Any) -> LoggedModelRecord:
    return LoggedModelRecord(
        model_id=model.model_id,
        name=model.name,
        artifact_uri=model.artifact_location,
        run_id=model.source_run_id or None,
        created_at=moment(model.creation_timestamp),
    )


def _version(version: Any) -> VersionRecord:
    return VersionRecord(
        name=version.name,
        version=str(version.version),
        run_id=version.run_id or None,
        model_id=getattr(version, "model_id", None) or None,
    )
