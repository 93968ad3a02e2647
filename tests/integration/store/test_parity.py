"""Our own reading of local stores against mlflow's own client, both asked everything about the same store while mlflow has it open."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.adapters.mlflow_store.file_store import FileTracking
from mlaz_ci.adapters.mlflow_store.location import database_file
from mlaz_ci.adapters.mlflow_store.records import LoggedModelRecord, Missing, RunRecord, Tracking, VersionRecord
from mlaz_ci.adapters.mlflow_store.sqlite_store import SqliteTracking
from tests.integration.store import stores

SCRIPT = Path(__file__).with_name("corners.py")
NAMES = ["with space é", "empty", "of ten", "deleted", "never was", "..", "a/b", ""]
VERSIONS = [*map(str, range(7)), "10", "11", "99", "latest", "1' OR '1'='1", "99999999999999999999"]
ALIASES = ["first", "moved", "removed", "nobody", "../first", "a'b"]
STRANGE_IDS = ["0" * 32, "nope", "..", "../0", "a'b", "tags", "models", "a" * 300]


@dataclass(frozen=True, kw_only=True)
class Corners:
    """A store of corners.py, with the process that made it and still has it open."""

    tracking_uri: str
    process: subprocess.Popen[str]
    there: dict[str, Any]

    def open(self) -> Tracking:
        file = database_file(self.tracking_uri)
        if file is not None:
            return SqliteTracking(file, self.tracking_uri)
        return FileTracking(Path(self.tracking_uri.removeprefix("file://")), {}, lambda _: None)

    def ask_mlflow(self, questions: Sequence[tuple[str, list[str]]]) -> list[Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(questions) + "\n")
        self.process.stdin.flush()
        answers: list[Any] = hear(self.process)
        return answers

    def questions(self) -> list[tuple[str, list[str]]]:
        runs, models = [*self.there["runs"].values()], [*self.there["models"]]
        return [
            *(("run", [each]) for each in [*runs, *STRANGE_IDS]),
            *(("logged_models", [each]) for each in runs),
            *(("logged_model", [each]) for each in [*models, "m-" + "0" * 32, *STRANGE_IDS]),
            *(("experiment_name", [each]) for each in self.there["experiments"]),
            *(("latest_version", [each]) for each in NAMES),
            *(("version", [name, each]) for name in NAMES for each in VERSIONS),
            *(("version_location", [name, each]) for name in NAMES[:3] for each in VERSIONS),
            *(("version_by_alias", [name, each]) for name in NAMES for each in ALIASES),
        ]


KINDS = ["sqlite-3", "sqlite-2", "files-3", "files-2"]


@pytest.fixture(scope="module", params=KINDS)
def corners(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corners]:
    kind, major = request.param.split("-")
    folder = tmp_path_factory.mktemp("corners")
    python = Path(sys.executable) if major == "3" else stores.mlflow_2_python()
    uri = f"sqlite:///{folder}/mlflow.db" if kind == "sqlite" else (folder / "mlruns").as_uri()
    with subprocess.Popen(
        [str(python), "-W", "ignore", str(SCRIPT), uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**stores.surroundings(), **stores.QUIET},
    ) as process:
        try:
            there = hear(process)
            if request.param == "sqlite-3":
                add_workspace(folder / "mlflow.db")
            yield Corners(tracking_uri=uri, process=process, there=there)
        finally:
            process.kill()


def add_workspace(database: Path) -> None:
    """A registry of the same names beside the default one, with a version that the default one has not."""
    columns = "name, version, source, current_stage, workspace"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "INSERT INTO registered_models (name, workspace) SELECT name, 'other' FROM registered_models"
        )
        connection.execute(f"INSERT INTO model_versions ({columns}) VALUES ('of ten', 99, '/other', 'None', 'other')")
        connection.execute("INSERT INTO registered_models (name, workspace) VALUES ('never was', 'other')")
        connection.commit()


def hear(process: subprocess.Popen[str]) -> Any:
    """The next line that is JSON; mlflow prints what it likes between."""
    assert process.stdout is not None
    line = next((line for line in process.stdout if line.startswith(("[", "{"))), None)
    assert line is not None, "mlflow ended; what it said stands on stderr"
    return json.loads(line)


def test_local_store__asked_everything__what_mlflows_client_says(corners: Corners) -> None:
    questions = corners.questions()
    tracking = corners.open()

    ours = [answer(tracking, name, arguments) for name, arguments in questions]

    theirs = corners.ask_mlflow(questions)
    differing = [each for each in zip(questions, ours, theirs, strict=True) if each[1] != each[2]]
    assert differing == []
    assert sum(each is not None for each in theirs) > 30, "mlflow found nothing: the test proves nothing"


def test_local_store__tag_set_by_us__seen_by_mlflows_client(corners: Corners) -> None:
    run_id = corners.there["runs"]["running"]
    for value in ("first", "second é"):
        corners.open().set_run_tag(run_id, "mlaz-lock.0123", value)

    ((*_, tags),) = corners.ask_mlflow([("run", [run_id])])

    assert tags["mlaz-lock.0123"] == "second é"
    assert tags == corners.open().run(run_id).tags


def answer(tracking: Tracking, name: str, arguments: Sequence[str]) -> Any:
    try:
        if name == "logged_models":
            return sorted(told_of(each) for each in tracking.logged_models(tracking.run(*arguments)))
        if name == "version_location":
            return tracking.version_location(tracking.version(*arguments))
        return told_of(getattr(tracking, name)(*arguments))
    except Missing:
        return None


def told_of(found: RunRecord | LoggedModelRecord | VersionRecord | str) -> Any:
    """In the words of corners.py."""
    match found:
        case RunRecord():
            stage = "deleted" if found.is_deleted else "active"
            ended_ms = milliseconds(found.ended_at)
            return [found.run_id, found.experiment_id, found.artifact_uri, ended_ms, stage, dict(found.tags)]
        case LoggedModelRecord():
            return [found.model_id, found.name, found.artifact_uri, found.run_id, milliseconds(found.created_at)]
        case VersionRecord():
            return [found.name, found.version, found.run_id, found.model_id]
        case _:
            return found


def milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
