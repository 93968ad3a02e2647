"""Chooses how a store is read: by REST or from its own files where that is enough, by mlflow where it is not. Opened on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import quote, urlsplit

from mlaz_ci.adapters.mlflow_store.client import ClientTracking, RepositoryArtifacts
from mlaz_ci.adapters.mlflow_store.file_store import FileTracking
from mlaz_ci.adapters.mlflow_store.folder import FolderArtifacts
from mlaz_ci.adapters.mlflow_store.http import Server
from mlaz_ci.adapters.mlflow_store.location import (
    database_file,
    find_tracking_uri,
    is_well_formed,
    local_folder,
    masked,
    require_existing,
    require_http_host,
    scheme_of,
)
from mlaz_ci.adapters.mlflow_store.moved import IN_ACTION_CONTAINER, file_in_workspace, in_store, in_workspace
from mlaz_ci.adapters.mlflow_store.records import Advice, Artifacts, Missing, Tracking
from mlaz_ci.adapters.mlflow_store.rest import ProxiedArtifacts, RestTracking
from mlaz_ci.adapters.mlflow_store.sqlite_store import SqliteTracking
from mlaz_ci.adapters.mlflow_store.surroundings import Surroundings
from mlaz_ci.errors import StoreNotSupported

# Ways to sign requests that mlflow has plugins or clients for; where one is set, mlflow does the asking.
_CLIENT_ONLY = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE", "MLFLOW_ENABLE_WORKSPACES")


class Connection:
    """One tracking store with its registry and its artifacts."""

    advice = Advice()

    def __init__(
        self, given_uri: str | None, environ: Mapping[str, str], working_directory: Path, notify: Callable[[str], None]
    ) -> None:
        uri = find_tracking_uri(given_uri, environ, working_directory)
        self._registry_uri = environ.get("MLFLOW_REGISTRY_URI") or None
        if self._registry_uri == uri:
            self._registry_uri = None
        self._environ = environ
        self._working_directory = working_directory
        self._notify = notify
        self._told: set[str] = set()
        self._scheme = scheme_of(uri)
        self.uri = self._here(uri)
        if self._scheme in {"http", "https"}:
            require_http_host(self.uri)
        is_in_container = bool(environ.get(IN_ACTION_CONTAINER))
        require_existing(self.uri, self._scheme, working_directory, is_in_container=is_in_container)

    @property
    def place(self) -> str:
        return masked(self.uri)

    @cached_property
    def tracking(self) -> Tracking:
        if self._server is not None:
            registry = Server(self._registry_uri, self._environ) if self._registry_uri else None
            return RestTracking(self._server, registry)
        local = self._local_tracking() if self._is_plain and self._registry_uri is None else None
        return local or ClientTracking(self.uri, self._registry_uri, self._surroundings)

    def _local_tracking(self) -> Tracking | None:
        """The store, where it is this machine's own file or folder."""
        if self._scheme == "file" and (folder := local_folder(self.uri)) is not None:
            return FileTracking(self._working_directory / folder, self._environ, self._tell)
        if self._scheme == "sqlite" and (file := database_file(self.uri)) is not None:
            return SqliteTracking(self._working_directory / file, self.uri)
        return None

    def artifacts(self, uri: str) -> Artifacts:
        """The files under an artifact URI as a run, model or version record gives it."""
        if not is_well_formed(uri):
            raise Missing(f"{masked(uri)!r} is no place for artifacts")
        folder = local_folder(uri)
        if folder is not None:
            return FolderArtifacts(self._on_this_machine(folder, uri))
        if self._server is not None:
            proxied = ProxiedArtifacts.at(self._server, uri)
            if proxied is not None:
                return proxied
        return RepositoryArtifacts(uri, self.uri, self._surroundings)

    @cached_property
    def _server(self) -> Server | None:
        """The server, where plain REST reaches it and the registry; else None."""
        if self._scheme not in {"http", "https"} or not self._is_plain or _has_header_plugins():
            return None
        if self._registry_uri and urlsplit(self._registry_uri).scheme not in {"http", "https"}:
            return None
        return Server(self.uri, self._environ)

    @property
    def _is_plain(self) -> bool:
        return not any(self._environ.get(name, "").lower() not in {"", "false", "0"} for name in _CLIENT_ONLY)

    @cached_property
    def _surroundings(self) -> Surroundings:
        return Surroundings(self.uri, self._scheme, self._environ, self._tell)

    def _tell(self, text: str) -> None:
        """Once: mlflow's own reading and ours both notice a file store."""
        if text not in self._told:
            self._told.add(text)
            self._notify(text)

    def _here(self, uri: str) -> str:
        """`file://${{ github.workspace }}/mlruns` is the runner's path, and the runner translates no part of a value."""
        file = database_file(uri) if self._scheme == "sqlite" else None
        if file is not None and not (self._working_directory / file).is_file():
            database = file_in_workspace(file, self._environ)
            return uri if database is None else f"sqlite:///{quote(str(database))}"
        folder = local_folder(uri) if self._scheme == "file" else None
        if folder is None or (self._working_directory / folder).is_dir():
            return uri
        found = in_workspace(folder, self._environ)
        return uri if found is None else found.as_uri()

    def _moved(self, folder: Path) -> Path | None:
        store = local_folder(self.uri) if self._scheme == "file" else None
        found = in_store(folder, self._working_directory / store) if store is not None else None
        return found or in_workspace(folder, self._environ)

    def _on_this_machine(self, folder: Path, uri: str) -> Path:
        """A run without artifacts has no folder yet; a server on another machine has not even their root here."""
        absolute = self._working_directory / folder
        if not absolute.is_dir() and (moved := self._moved(absolute)) is not None:
            return moved
        is_here = absolute.is_dir() or any(parent.is_dir() for parent in absolute.parents[:3] if parent != Path("/"))
        if is_here or self._scheme not in {"http", "https"}:
            return absolute
        raise StoreNotSupported(
            f"The tracking server keeps its artifacts in {masked(uri)}, a folder of its own machine that is not on this one.",
            usually="The server was started with --no-serve-artifacts or a local --default-artifact-root.",
            remedy="Start `mlflow server` with --serve-artifacts and an --artifacts-destination, or run this step on its machine.",
        )


def _has_header_plugins() -> bool:
    """Companies add such plugins to sign requests; mlflow's own ones only describe notebooks."""
    return any(
        not plugin.value.startswith("mlflow.") for plugin in entry_points(group="mlflow.request_header_provider")
    )
