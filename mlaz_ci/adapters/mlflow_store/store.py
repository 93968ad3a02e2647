"""The port ModelStore: from a source to a ModelRef by a few KB, later the folder itself, and the lock left with the run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.mlflow_store.connection import Connection
from mlaz_ci.adapters.mlflow_store.download import download_folder, is_disk_full
from mlaz_ci.adapters.mlflow_store.facts import read_facts
from mlaz_ci.adapters.mlflow_store.folder import FolderArtifacts
from mlaz_ci.adapters.mlflow_store.left_lock import find_lock, leave_lock
from mlaz_ci.adapters.mlflow_store.locate import Located, Locator, sentence, uri_of
from mlaz_ci.adapters.mlflow_store.location import masked, secrets_of
from mlaz_ci.adapters.mlflow_store.records import Artifacts, Missing, OpenStore, RunRecord
from mlaz_ci.adapters.mlflow_store.workspace import (
    WorkspaceArtifacts,
    WorkspaceConnection,
    is_same,
    tracking_workspace,
)
from mlaz_ci.checks.mlmodel import MLMODEL_FILE, digest_facts
from mlaz_ci.errors import DiskFull, MlazError, ModelPathNotFound, NotInThisVersion, RoleMissing, TrackingAccessDenied
from mlaz_ci.models import Lock, ModelRef, ModelSource, PathSource, RegistrySource, RunSource, Severity
from mlaz_ci.ports import Platform, Progress

_DEFAULT_EXPERIMENT_ID = "0"
# A workspace gives its own an id like any other's.
_DEFAULT_EXPERIMENT_NAME = "Default"


class MlflowStore:
    """A ModelStore on any MLflow tracking server or store. Nothing is opened before it is needed; a folder needs no store.

    `environ` is where MLFLOW_* variables are read; `platform` is told what people should know and is no failure.
    With a `workspace` its own records are the default, and it opens other workspaces that `tracking_uri` names; where it is also what
    `workspace_serves` the model, the model is taken by reference.
    """

    def __init__(
        self,
        tracking_uri: str | None,
        environ: Mapping[str, str],
        platform: Platform,
        *,
        working_directory: Path | None = None,
        workspace: WorkspaceDoor | None = None,
        workspace_serves: bool = True,
    ) -> None:
        self._workspace = workspace
        self._workspace_serves = workspace_serves
        self._tracking_uri = tracking_uri
        self._environ = environ
        self._platform = platform
        self._secrets = secrets_of(tracking_uri or "", environ)
        self._working_directory = working_directory or Path.cwd()
        self._locations: dict[str, str] = {}
        self._runs: dict[str, RunRecord] = {}
        for secret in self._secrets:
            platform.mask(secret)

    def resolve(self, source: ModelSource, *, name: str | None) -> ModelRef:
        match source:
            case PathSource():
                with _readable(str(source.path)):
                    return self._resolve_folder(source, name)
            case RegistrySource():
                raise NotInThisVersion(
                    f"`model-uri` names a model of the Azure ML registry {source.registry}, which this version does not read."
                )
            case _:
                with _readable(uri_of(source)):
                    return self._describe(source, self._locator.locate(source), name)

    def fetch(self, model: ModelRef, destination: Path, progress: Progress) -> None:
        """`destination` is replaced if it is there: it never holds half a model."""
        with _readable(model.artifact_uri):
            artifacts = self._artifacts_of(model)
            if isinstance(artifacts, WorkspaceArtifacts):
                artifacts = artifacts.measured()
            download_folder(artifacts, model=model, destination=destination, progress=progress)

    def keep_lock(self, model: ModelRef, lock: Lock) -> bool:
        if model.run_id is None or isinstance(model.source, PathSource):
            return False
        try:
            run = self._runs.get(model.run_id) or self._connection.tracking.run(model.run_id)
            return leave_lock(self._connection, run, model, lock)
        except (MlazError, Missing, OSError) as error:
            what = masked(error.what if isinstance(error, MlazError) else str(error), *self._secrets)
            self._platform.info(f"The lock could not be left with run {model.run_id}: {what}")
            return False

    @cached_property
    def _connection(self) -> OpenStore:
        if (door := self._door) is not None:
            return WorkspaceConnection(door, self._platform.mask)
        return Connection(self._tracking_uri, self._environ, self._working_directory, self._notify)

    @cached_property
    def _door(self) -> WorkspaceDoor | None:
        """The workspace whose records are the store; None for every other store."""
        uri = (self._tracking_uri or self._environ.get("MLFLOW_TRACKING_URI") or "").strip()
        if self._workspace is None or not uri:
            return self._workspace
        named = tracking_workspace(uri)
        if named is None:
            return None
        return self._workspace if is_same(named, self._workspace.workspace) else self._workspace.beside(named)

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self._connection)

    def _notify(self, text: str) -> None:
        self._platform.annotate(Severity.NOTICE, "Model", text)

    def _resolve_folder(self, source: PathSource, name: str | None) -> ModelRef:
        folder = (self._working_directory / source.path).resolve()
        if not (folder / MLMODEL_FILE).is_file():
            raise _no_model_in(source.path, folder)
        artifacts = FolderArtifacts(folder)
        found = read_facts(artifacts, place=str(source.path), notify=self._notify)
        return ModelRef(
            source=source,
            name=name or _azure_name(folder.parent.name if folder.name == "model" else folder.name),
            version=None,
            run_id=None,
            artifact_uri=str(folder),
            facts=found.facts,
            digest=artifacts.digest(),
            size_bytes=found.size_bytes,
            logged_at=found.created_at,
            tracking_uri="",
        )

    def _describe(self, source: ModelSource, located: Located, name: str | None) -> ModelRef:
        artifacts = self._connection.artifacts(located.location)
        found = read_facts(artifacts, place=located.uri, notify=self._notify)
        digest = digest_facts(found.facts)
        run, model, version = located.run, located.model, located.version
        self._locations[located.uri] = located.location
        if run is not None:
            self._runs[run.run_id] = run
        return ModelRef(
            source=source,
            name=name or (version.name if version else self._derived_name(source, located)),
            version=version.version if version else None,
            run_id=run.run_id if run else None,
            artifact_uri=located.uri,
            facts=found.facts,
            digest=digest,
            size_bytes=found.size_bytes,
            logged_at=(run.ended_at if run else None) or (model.created_at if model else None) or found.created_at,
            tracking_uri=masked(self._connection.uri),
            model_id=model.model_id if model else (version.model_id if version else None),
            lock_text=find_lock(self._connection, run, digest, self._notify),
            is_in_workspace=self._workspace_serves and self._door is not None and self._door is self._workspace,
        )

    def _derived_name(self, source: ModelSource, located: Located) -> str:
        """The experiment is what stays the same from run to run; the path tells apart two models of one run."""
        path = source.path if isinstance(source, RunSource) else (located.model.name if located.model else "")
        parts = [path] if path not in {"", "model"} else []
        if located.run is not None and located.run.experiment_id != _DEFAULT_EXPERIMENT_ID:
            try:
                experiment = self._connection.tracking.experiment_name(located.run.experiment_id)
                if experiment != _DEFAULT_EXPERIMENT_NAME:
                    parts.insert(0, PurePosixPath(experiment).name)
            except (Missing, TrackingAccessDenied, RoleMissing):
                pass
        return _azure_name("-".join(parts))

    def _artifacts_of(self, model: ModelRef) -> Artifacts:
        if isinstance(model.source, PathSource):
            return FolderArtifacts(Path(model.artifact_uri))
        location = self._locations.get(model.artifact_uri) or self._locator.relocate(model.artifact_uri).location
        return self._connection.artifacts(location)


@contextmanager
def _readable(uri: str) -> Iterator[None]:
    try:
        yield
    except Missing as error:
        raise ModelPathNotFound(
            f"The files of {uri} are not where the store says: {error}.",
            usually="The files were deleted or moved while the record stayed, or the artifact store is on another machine.",
            remedy="Log the model again, or point `tracking-uri` at the server that stores its files.",
            upstream_code=error.upstream_code,
        ) from error
    except OSError as error:
        if is_disk_full(error):
            raise DiskFull(f"The disk was full while {uri} was read.") from error
        raise ModelPathNotFound(
            f"{uri} cannot be read: {error.strerror or error}.",
            usually="This user may not read the files, or a disk or network mount failed.",
            remedy="Check the permissions of the files and the mount they are on.",
        ) from error


def _no_model_in(given: Path, folder: Path) -> ModelPathNotFound:
    found = [each.parent for pattern in ("*", "*/*", "*/*/*") for each in folder.glob(f"{pattern}/{MLMODEL_FILE}")]
    below = [each.relative_to(folder).as_posix() for each in sorted(found)]
    return ModelPathNotFound(
        f"{given} is {'a folder without an MLmodel file' if folder.is_dir() else 'no folder'}.",
        usually="The path is mistyped, or the step runs before the model was checked out or downloaded.",
        remedy="Set `model-uri` to the folder that holds the MLmodel file"
        + (f"; below it there are: {sentence(below)}." if below else "."),
    )


def _azure_name(text: str) -> str:
    """Letters, digits, - and _, starting with a letter or digit, as Azure ML takes names of assets."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-_")[:255].rstrip("-_") or "model"
