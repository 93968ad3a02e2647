"""A SQLite tracking database, read without mlflow: opened read-only, so that nothing migrates it, and nothing has to be imported.

Rests on the columns that the schemas of mlflow 2 and 3 have in common (docs/decisions/0007); what is in the artifacts is not its business.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.mlflow_store.location import masked
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
)
from mlaz_ci.errors import InvalidInput, StoreNotSupported, TrackingServerFailed

# What a writer holds the database for is milliseconds; a backup may take longer.
_BUSY_TIMEOUT_S: Final = 10.0
# Newer schemas keep several registries in one database; mlflow reads this one where it is told of no other.
_WORKSPACE: Final = "default"
# All that is read. A column that is missing means a schema that this module was not written for.
_COLUMNS: Final = {
    "experiments": {"experiment_id", "name"},
    "runs": {"run_uuid", "experiment_id", "artifact_uri", "end_time", "lifecycle_stage"},
    "tags": {"key", "value", "run_uuid"},
    "logged_models": {
        *("model_id", "experiment_id", "name", "artifact_location"),
        *("creation_timestamp_ms", "source_run_id", "lifecycle_stage"),
    },
    "registered_models": {"name"},
    "model_versions": {"name", "version", "run_id", "source", "current_stage"},
    "registered_model_aliases": {"name", "alias", "version"},
}


class SqliteTracking:
    """Tracking and registry in the database `file`; `uri` is what people call it."""

    is_writable = True

    def __init__(self, file: Path, uri: str) -> None:
        self._file = file
        self._label = masked(uri)
        if not {"alembic_version", "experiments", "runs", "tags"} <= self._tables.keys():
            raise InvalidInput(
                f"`tracking-uri` {self._label} is a database without an MLflow store in it.",
                usually="The database is empty, or another program's.",
                remedy="Check the address and the name of the database.",
            )
        for table, columns in _COLUMNS.items():
            if missing := sorted(columns - self._tables.get(table, columns)):
                raise self._unknown_schema(f"{table} has no {missing[0]}")

    def run(self, run_id: str) -> RunRecord:
        row = self._one("SELECT * FROM runs WHERE run_uuid = ?", run_id, told=f"Run with id={run_id} not found")
        tags = self._rows("SELECT key, value FROM tags WHERE run_uuid = ?", row["run_uuid"])
        return RunRecord(
            run_id=str(row["run_uuid"]),
            experiment_id=str(row["experiment_id"]),
            artifact_uri=str(row["artifact_uri"] or ""),
            ended_at=moment(row["end_time"]),
            is_deleted=row["lifecycle_stage"] == DELETED,
            tags={str(tag["key"]): str(tag["value"] or "") for tag in tags},
        )

    def logged_model(self, model_id: str) -> LoggedModelRecord:
        told = f"Logged model with ID '{model_id}' not found"
        if "logged_models" not in self._tables:
            raise Missing(told, NO_SUCH)
        query = "SELECT * FROM logged_models WHERE model_id = ? AND lifecycle_stage != ?"
        return _logged_model(self._one(query, model_id, DELETED, told=told))

    def logged_models(self, run: RunRecord) -> Sequence[LoggedModelRecord]:
        if "logged_models" not in self._tables:
            return ()
        query = "SELECT * FROM logged_models WHERE source_run_id = ? AND experiment_id = ? AND lifecycle_stage != ?"
        return tuple(_logged_model(row) for row in self._rows(query, run.run_id, run.experiment_id, DELETED))

    def version(self, name: str, version: str) -> VersionRecord:
        return _version(self._version_row(name, version))

    def version_by_alias(self, name: str, alias: str) -> VersionRecord:
        self._require_model(name)
        if alias.lower() == "latest":
            return self.latest_version(name)
        found: Sequence[sqlite3.Row] = ()
        if "registered_model_aliases" in self._tables:
            found = self._registry("registered_model_aliases", "alias = ?", name, alias)
        if not found:
            raise Missing(f"Registered model alias {alias} not found.", INVALID)
        return self.version(name, str(found[0]["version"]))

    def latest_version(self, name: str) -> VersionRecord:
        self._require_model(name)
        rows = self._registry(
            "model_versions", "current_stage != ? ORDER BY version DESC LIMIT 1", name, DELETED_VERSION
        )
        if not rows:
            raise Missing("the registered model has no version", NO_SUCH)
        return _version(rows[0])

    def version_location(self, version: VersionRecord) -> str:
        row = self._version_row(version.name, version.version)
        stored = row["storage_location"] if "storage_location" in self._tables["model_versions"] else None
        return str(stored or row["source"] or "")

    def experiment_name(self, experiment_id: str) -> str:
        query = "SELECT name FROM experiments WHERE experiment_id = ?"
        return str(self._one(query, experiment_id, told=f"No Experiment with id={experiment_id} exists")["name"])

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        with self._connected("rw") as connection, connection:
            connection.execute(
                "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", (key, value, run_id)
            )

    # --- the registry ---

    def _version_row(self, name: str, version: str) -> sqlite3.Row:
        if not version.isdecimal():
            raise Missing(f"Parameter 'version' must be an integer, got {version!r}", INVALID)
        rows = self._registry("model_versions", "version = ? AND current_stage != ?", name, version, DELETED_VERSION)
        if not rows:
            raise Missing(f"Model Version (name={name}, version={version}) not found", NO_SUCH)
        return rows[0]

    def _require_model(self, name: str) -> None:
        if not self._registry("registered_models", "1", name):
            raise Missing(f"Registered Model with name={name} not found", NO_SUCH)

    def _registry(self, table: str, condition: str, name: str, *values: str) -> Sequence[sqlite3.Row]:
        has_workspaces = "workspace" in self._tables.get(table, ())
        mine = f"workspace = '{_WORKSPACE}' AND " if has_workspaces else ""
        # `table` and `condition` are this module's own words; what a user named is bound.
        return self._rows(f"SELECT * FROM {table} WHERE {mine}name = ? AND {condition}", name, *values)  # noqa: S608

    # --- the database ---

    @cached_property
    def _tables(self) -> dict[str, frozenset[str]]:
        """The columns of each table."""
        query = "SELECT m.name AS part, c.name AS column FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        found: dict[str, frozenset[str]] = {}
        for row in self._rows(query):
            found[row["part"]] = found.get(row["part"], frozenset()) | {row["column"]}
        return found

    def _one(self, query: str, *values: str, told: str) -> sqlite3.Row:
        rows = self._rows(query, *values)
        if not rows:
            raise Missing(told, NO_SUCH)
        return rows[0]

    def _rows(self, query: str, *values: str) -> list[sqlite3.Row]:
        with self._connected("ro") as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _connected(self, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            address = f"file:{quote(str(self._file))}?mode={mode}"
            with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_TIMEOUT_S)) as connection:
                connection.row_factory = sqlite3.Row
                yield connection
        except UnicodeEncodeError as error:
            raise Missing("the name is no text", INVALID) from error
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> Exception:
        text = str(error)
        if text.startswith("no such table"):
            return self._unknown_schema(text)
        code = getattr(error, "sqlite_errorname", None)
        return TrackingServerFailed(f"The tracking database {self._label} failed: {text}", upstream_code=code)

    def _unknown_schema(self, text: str) -> StoreNotSupported:
        return StoreNotSupported(
            f"The tracking database {self._label} is of a schema that is not known here ({text}). It was not touched.",
            usually="A much older or a newer mlflow made it.",
            remedy="Run `mlflow server` with the version that made it and pass the server's http address as `tracking-uri`.",
        )


def _logged_model(row: sqlite3.Row) -> LoggedModelRecord:
    return LoggedModelRecord(
        model_id=str(row["model_id"]),
        name=str(row["name"]),
        artifact_uri=str(row["artifact_location"] or ""),
        run_id=_text(row["source_run_id"]),
        created_at=moment(row["creation_timestamp_ms"]),
    )


def _version(row: sqlite3.Row) -> VersionRecord:
    # A database has no column for the LoggedModel of a version: its location names it.
    return VersionRecord(name=str(row["name"]), version=str(row["version"]), run_id=_text(row["run_id"]), model_id=None)


def _text(value: Any) -> str | None:
    return str(value) if value else None
