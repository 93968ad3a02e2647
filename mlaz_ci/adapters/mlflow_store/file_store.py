"""A file store (`mlruns`), read without mlflow: its records are small YAML files, in the layout of mlflow 2 and 3.

Nothing is written where mlflow itself would not open the store; what is in the artifacts is not its business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from mlaz_ci.adapters.mlflow_store.records import (
    DELETED,
    DELETED_VERSION,
    INVALID,
    NO_SUCH,
    LoggedModelRecord,
    Missing,
    RunRecord,
    VersionRecord,
    moment,
    newest,
)
from mlaz_ci.errors import StoreNotSupported, TrackingServerFailed

ALLOW_FILE_STORE: Final = "MLFLOW_ALLOW_FILE_STORE"
NOTICE: Final = (
    "The tracking store is a folder of files, which newer versions of mlflow no longer open by themselves; it is only read. "
    f"With {ALLOW_FILE_STORE}=true the lock is left in it too; `mlflow migrate-filestore` moves it to a database."
)
_META: Final = "meta.yaml"
_TRASH: Final = ".trash"
_MODELS: Final = "models"
_ID: Final = re.compile(r"[a-zA-Z0-9][\w-]{0,255}", re.ASCII)
_RECORD_LIMIT_BYTES: Final = 4 * 1024 * 1024
# libyaml's loader where PyYAML was built with it: the same values, ten times as fast.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileTracking:
    """Tracking and registry in the folder `root`. Raises StoreNotSupported where the user forbids file stores."""

    def __init__(self, root: Path, environ: Mapping[str, str], notify: Callable[[str], None]) -> None:
        self._root = root
        allowed = environ.get(ALLOW_FILE_STORE, "").lower()
        if allowed in {"false", "0"}:
            raise StoreNotSupported(
                f"The tracking store is a folder of files, and {ALLOW_FILE_STORE} forbids to open it.",
                usually="The variable was set to move everybody to a database.",
                remedy=f"Unset {ALLOW_FILE_STORE}, or move the store to a database with `mlflow migrate-filestore`.",
            )
        self.is_writable = allowed in {"true", "1"}
        if not self.is_writable:
            notify(NOTICE)

    def run(self, run_id: str) -> RunRecord:
        folder = self._run_folder(run_id)
        meta = _record(folder)
        if meta.get("run_id", meta.get("run_uuid")) != run_id or str(meta.get("experiment_id")) != folder.parent.name:
            raise _damaged(folder / _META)
        return RunRecord(
            run_id=run_id,
            experiment_id=folder.parent.name,
            artifact_uri=str(meta.get("artifact_uri") or ""),
            ended_at=moment(meta.get("end_time")),
            is_deleted=meta.get("lifecycle_stage") == DELETED,
            tags=_tags(folder / "tags"),
        )

    def logged_model(self, model_id: str) -> LoggedModelRecord:
        if _ID.fullmatch(model_id):
            for experiment in self._experiments():
                folder = experiment / _MODELS / model_id
                if (folder / _META).is_file():
                    meta = _record(folder)
                    if meta.get("lifecycle_stage") != DELETED:
                        return _logged_model(meta)
        raise Missing(f"Model '{model_id}' not found", NO_SUCH)

    def logged_models(self, run: RunRecord) -> Sequence[LoggedModelRecord]:
        found = []
        for file in sorted((self._run_folder(run.run_id).parent / _MODELS).glob(f"*/{_META}")):
            # An experiment may hold thousands, and parsing is what takes long.
            content = _content(file)
            if run.run_id.encode() in content:
                meta = _parsed(content, file)
                if meta.get("source_run_id") == run.run_id and meta.get("lifecycle_stage") != DELETED:
                    found.append(_logged_model(meta))
        return tuple(found)

    def version(self, name: str, version: str) -> VersionRecord:
        return _version(self._version_meta(name, version))

    def version_by_alias(self, name: str, alias: str) -> VersionRecord:
        folder = self._model_folder(name)
        if alias.lower() == "latest":
            return self.latest_version(name)
        file = folder / "aliases" / alias
        if not re.fullmatch(r"[\w-]+", alias) or not file.is_file():
            raise Missing(f"Registered model alias {alias} not found.", INVALID)
        return self.version(name, _text(file))

    def latest_version(self, name: str) -> VersionRecord:
        metas = [_record(each.parent) for each in self._model_folder(name).glob(f"version-*/{_META}")]
        return newest([_version(meta) for meta in metas if meta.get("current_stage") != DELETED_VERSION])

    def version_location(self, version: VersionRecord) -> str:
        meta = self._version_meta(version.name, version.version)
        return str(meta.get("storage_location") or meta.get("source") or "")

    def experiment_name(self, experiment_id: str) -> str:
        for folder in self._experiments():
            if folder.name == experiment_id and (folder / _META).is_file():
                return str(_record(folder).get("name", ""))
        raise Missing(f"Could not find experiment with ID {experiment_id}", NO_SUCH)

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        file = self._run_folder(run_id) / "tags" / key
        file.parent.mkdir(exist_ok=True)
        part = file.with_name(f".{file.name}.part")
        part.write_bytes(value.encode())
        part.replace(file)

    # --- where things lie ---

    def _experiments(self) -> Iterator[Path]:
        """The deleted ones too: their runs are still found by id."""
        for parent in (self._root, self._root / _TRASH):
            if parent.is_dir():
                yield from (each for each in sorted(parent.iterdir()) if each.name not in {_TRASH, _MODELS})

    def _run_folder(self, run_id: str) -> Path:
        if not _ID.fullmatch(run_id):
            raise Missing(f"Invalid value {run_id!r} for parameter 'run_id'", INVALID)
        for experiment in self._experiments():
            # Right below its experiment and nowhere deeper: a model's artifacts may hold a folder that looks like a run.
            if (experiment / run_id / _META).is_file():
                return experiment / run_id
        raise Missing(f"Run '{run_id}' not found", NO_SUCH)

    def _model_folder(self, name: str) -> Path:
        folder = self._root / _MODELS / name
        if name in {"", ".", ".."} or re.search(r"[/:\0]", name) or not folder.is_dir():
            raise Missing(f"Registered Model with name={name} not found", NO_SUCH)
        return folder

    def _version_meta(self, name: str, version: str) -> Mapping[str, Any]:
        folder = self._model_folder(name) / f"version-{version}"
        if not version.isdecimal() or not (folder / _META).is_file():
            raise Missing(f"Model Version (name={name}, version={version}) not found", NO_SUCH)
        meta = _record(folder)
        if meta.get("current_stage") == DELETED_VERSION:
            raise Missing(f"Model Version (name={name}, version={version}) not found", NO_SUCH)
        return meta


def _record(folder: Path) -> Mapping[str, Any]:
    file = folder / _META
    return _parsed(_content(file), file)


def _content(file: Path) -> bytes:
    with file.open("rb") as stream:
        content = stream.read(_RECORD_LIMIT_BYTES + 1)
    if len(content) > _RECORD_LIMIT_BYTES:
        raise _damaged(file)
    return content


def _parsed(content: bytes, file: Path) -> Mapping[str, Any]:
    try:
        meta = yaml.load(content, Loader=_LOADER)  # noqa: S506 (both are safe loaders)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _damaged(file) from error
    if not isinstance(meta, dict):
        raise _damaged(file)
    return meta


def _damaged(file: Path) -> TrackingServerFailed:
    return TrackingServerFailed(
        f"{file} is not the record that MLflow keeps there.",
        usually="The file was edited, or the store was copied while it was written to.",
        remedy="Restore the file, or log the model again.",
    )


def _tags(folder: Path) -> dict[str, str]:
    """A key with slashes is a path."""
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return {file.relative_to(folder).as_posix(): _text(file) for file in files if file.is_file()}


def _text(file: Path) -> str:
    return _content(file).decode("utf-8", "replace")


def _logged_model(meta: Mapping[str, Any]) -> LoggedModelRecord:
    return LoggedModelRecord(
        model_id=str(meta.get("model_id", "")),
        name=str(meta.get("name", "")),
        artifact_uri=str(meta.get("artifact_location") or ""),
        run_id=str(meta["source_run_id"]) if meta.get("source_run_id") else None,
        created_at=moment(meta.get("creation_timestamp")),
    )


def _version(meta: Mapping[str, Any]) -> VersionRecord:
    return VersionRecord(
        name=str(meta.get("name", "")),
        version=str(meta.get("version", "")),
        run_id=str(meta["run_id"]) if meta.get("run_id") else None,
        model_id=str(meta["model_id"]) if meta.get("model_id") else None,
    )
