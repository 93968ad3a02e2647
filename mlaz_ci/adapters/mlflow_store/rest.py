"""An MLflow server's records and its artifact proxy by MLflow's REST API 2.0, without the seconds that importing mlflow takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests

from mlaz_ci.adapters.mlflow_store.http import Server
from mlaz_ci.adapters.mlflow_store.mlflow_json import logged_model_of, members_of, part_of, run_of, version_of
from mlaz_ci.adapters.mlflow_store.records import (
    ENTRY_LIMIT,
    Entry,
    LoggedModelRecord,
    Missing,
    RunRecord,
    VersionRecord,
    models_of_run_filter,
    newest,
    safe_path,
)
from mlaz_ci.errors import TrackingServerFailed

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_SEARCH_PAGES = 20
_DOWNLOAD_ATTEMPTS = 3


class RestTracking:
    """Tracking over HTTP; the same server is asked for the registry unless another is given."""

    is_writable = True

    def __init__(self, server: Server, registry: Server | None = None) -> None:
        self._server = server
        self._registry = registry or server

    def run(self, run_id: str) -> RunRecord:
        return run_of(self._server.get(f"{_API}/runs/get", {"run_id": run_id, "run_uuid": run_id}), run_id)

    def logged_model(self, model_id: str) -> LoggedModelRecord:
        return logged_model_of(
            self._server.get(f"{_API}/logged-models/{quote(model_id, safe='')}", {}, is_optional=True)
        )

    def logged_models(self, run: RunRecord) -> Sequence[LoggedModelRecord]:
        found: list[LoggedModelRecord] = []
        token: Any = None
        try:
            for _ in range(_SEARCH_PAGES):
                query = {
                    "experiment_ids": [run.experiment_id],
                    "filter": models_of_run_filter(run.run_id),
                    "max_results": 50,
                    **({"page_token": token} if token else {}),
                }
                answer = self._server.post(f"{_API}/logged-models/search", query, is_optional=True)
                found += [logged_model_of({"model": each}) for each in members_of(answer, "models")]
                token = answer.get("next_page_token")
                if not token:
                    break
        except Missing:
            # A server of mlflow 2, or Azure ML: it has no LoggedModels, and says so by a 404 of any form.
            return ()
        return tuple(model for model in found if model.run_id == run.run_id)

    def version(self, name: str, version: str) -> VersionRecord:
        return version_of(self._registry.get(f"{_API}/model-versions/get", {"name": name, "version": version}))

    def version_by_alias(self, name: str, alias: str) -> VersionRecord:
        return version_of(self._registry.get(f"{_API}/registered-models/alias", {"name": name, "alias": alias}))

    def latest_version(self, name: str) -> VersionRecord:
        answer = self._registry.post(f"{_API}/registered-models/get-latest-versions", {"name": name})
        return newest([version_of({"model_version": each}) for each in members_of(answer, "model_versions")])

    def version_location(self, version: VersionRecord) -> str:
        query = {"name": version.name, "version": version.version}
        return str(self._registry.get(f"{_API}/model-versions/get-download-uri", query).get("artifact_uri", ""))

    def experiment_name(self, experiment_id: str) -> str:
        answer = self._server.get(f"{_API}/experiments/get", {"experiment_id": experiment_id})
        return str(part_of(answer, "experiment").get("name", ""))

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        self._server.post(f"{_API}/runs/set-tag", {"run_id": run_id, "run_uuid": run_id, "key": key, "value": value})


class ProxiedArtifacts:
    """Artifacts that the tracking server itself hands out (`mlflow-artifacts:`, the default of `mlflow server`)."""

    def __init__(self, server: Server, root: str) -> None:
        self._server = server
        self._root = root.strip("/")

    @classmethod
    def at(cls, server: Server, uri: str) -> ProxiedArtifacts | None:
        """None where `uri` is no place of this very server: its credentials go nowhere else."""
        parts = urlsplit(uri)
        own = urlsplit(server.address)
        if parts.scheme == "mlflow-artifacts" and parts.netloc in {"", own.netloc}:
            return cls(server, parts.path.removeprefix(_ARTIFACTS))
        if uri.startswith(f"{server.address}{_ARTIFACTS}/"):
            return cls(server, uri.removeprefix(f"{server.address}{_ARTIFACTS}/"))
        return None

    def small(self) -> None:
        """A listing tells sizes too."""

    def entries(self, path: str) -> Sequence[Entry]:
        files = members_of(self._server.get(_ARTIFACTS, {"path": self._full(path)}), "files")
        if len(files) > ENTRY_LIMIT:
            raise TrackingServerFailed(f"The tracking server lists more than {ENTRY_LIMIT} artifacts in one folder.")
        return tuple(
            Entry(
                path=safe_path(f"{path}/{name}" if path else name),
                is_folder=bool(each.get("is_dir")),
                size_bytes=_size(each.get("file_size")),
            )
            for each in files
            for name in [safe_path(str(each.get("path", "")))]
        )

    def read(self, path: str, limit_bytes: int) -> bytes:
        with self._server.open(self._url(path)) as response:
            return self._server.read(response, limit_bytes)

    def download(self, path: str, target: Path, advance: Callable[[int], None]) -> None:
        for attempt in range(_DOWNLOAD_ATTEMPTS):
            written = 0
            try:
                with self._server.open(self._url(path)) as response, target.open("wb") as file:
                    for chunk in response.iter_content(1024 * 1024):
                        file.write(chunk)
                        written += len(chunk)
                        advance(len(chunk))
            except requests.RequestException as error:
                advance(-written)
                if attempt == _DOWNLOAD_ATTEMPTS - 1:
                    raise self._server.unreachable(error) from error
            else:
                return

    def write(self, path: str, content: bytes) -> None:
        self._server.put(self._url(path), content)

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _url(self, path: str) -> str:
        return f"{_ARTIFACTS}/{quote(self._full(path), safe='/')}"


def _size(value: Any) -> int | None:
    try:
        return None if value is None else max(0, int(value))
    except (ValueError, TypeError, OverflowError):
        return None
