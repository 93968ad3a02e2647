"""Stores that cannot be read: each error says whose turn it is, and none shows a credential."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from mlaz_ci.errors import (
    InvalidInput,
    MissingInput,
    MlazError,
    ModelPathNotFound,
    RunNotFound,
    StoreNotSupported,
    TrackingAccessDenied,
    TrackingServerFailed,
)
from mlaz_ci.models import RunSource
from tests.fakes.platform import RecordingPlatform
from tests.integration.store import stores
from tests.integration.store.answers import Answer, of_json, serve_answers
from tests.integration.store.conftest import OpenStore

ROOT = Path(__file__).parents[3]
SOURCE = RunSource(run_id="4dfe50d9a74d471cbd58ab2ca25ad704", path="model")
RUN_PATH = "/api/2.0/mlflow/runs/get"
NO_SUCH_RUN = of_json({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Run 'x' not found."}, status=404)
LOGIN_PAGE = Answer(body=b"<!doctype html><title>Sign in</title>", content_type="text/html; charset=utf-8")
THIS_PYTHON = ".".join(str(part) for part in sys.version_info[:3])
CANARY = "c4nary/p@ss"

ANSWERS = {
    "401": (Answer(status=401, body=b"You are not authenticated."), TrackingAccessDenied, "401"),
    "403 of MLflow": (
        of_json({"error_code": "PERMISSION_DENIED", "message": "Permission denied"}, status=403),
        TrackingAccessDenied,
        "PERMISSION_DENIED",
    ),
    "400 that means 403": (
        of_json({"error_code": "CUSTOMER_UNAUTHORIZED", "message": "no"}, status=400),
        TrackingAccessDenied,
        "CUSTOMER_UNAUTHORIZED",
    ),
    "404 of MLflow": (NO_SUCH_RUN, RunNotFound, "RESOURCE_DOES_NOT_EXIST"),
    "404 page": (Answer(status=404, body=b"<html>", content_type="text/html"), TrackingServerFailed, None),
    "404 empty": (Answer(status=404), TrackingServerFailed, None),
    "500": (Answer(status=500, body=b"Traceback"), TrackingServerFailed, "500"),
    "502 page": (Answer(status=502, body=b"<html>", content_type="text/html"), TrackingServerFailed, "502"),
    "500 of MLflow": (
        of_json({"error_code": "INTERNAL_ERROR", "message": "database is locked"}, status=500),
        TrackingServerFailed,
        "INTERNAL_ERROR",
    ),
    "429": (Answer(status=429, headers={"Retry_After": "0"}), TrackingServerFailed, "429"),
    "login page": (LOGIN_PAGE, TrackingServerFailed, None),
    "no JSON": (Answer(body=b"{"), TrackingServerFailed, None),
    "deep JSON": (Answer(body=b"[" * 100_000), TrackingServerFailed, None),
    "a list": (of_json([]), TrackingServerFailed, None),
    "another service's JSON": (of_json({"status": "ok"}), TrackingServerFailed, None),
    "a run that is none": (of_json({"run": "yes"}), TrackingServerFailed, None),
    "cut off": (Answer(body=b'{"run": ', claimed_length=500), TrackingServerFailed, None),
}


@pytest.mark.parametrize(("answer", "error", "code"), ANSWERS.values(), ids=ANSWERS)
def test_resolve__server_answers_badly__whose_turn_it_is(
    open_store: OpenStore, platform: RecordingPlatform, answer: Answer, error: type[MlazError], code: str | None
) -> None:
    with serve_answers(answer) as server:
        host = server.uri.removeprefix("http://")
        tracking_uri = f"http://someone:{CANARY.replace('/', '%2F').replace('@', '%40')}@{host}"
        with pytest.raises(error) as caught:
            open_store(tracking_uri).resolve(SOURCE, name=None)

    assert type(caught.value) is error
    if code is not None:
        assert caught.value.upstream_code == code
    for secret in (CANARY, "c4nary%2Fp%40ss"):
        assert secret not in str(caught.value) + platform.text
    assert caught.value.cause_text
    assert caught.value.remedy_text


def test_resolve__server_fails_for_a_while__asked_again(open_store: OpenStore) -> None:
    bad = [Answer(status=503), Answer(status=500), Answer(status=429, headers={"Retry_After": "0"})]
    with serve_answers(Answer(status=404), {RUN_PATH: [*bad, NO_SUCH_RUN]}) as server, pytest.raises(RunNotFound):
        open_store(server.uri).resolve(SOURCE, name=None)

    assert len(server.requests) == 4


def test_resolve__retries_set_by_the_user__as_many(open_store: OpenStore) -> None:
    with serve_answers(Answer(status=503)) as server, pytest.raises(TrackingServerFailed):
        open_store(server.uri, {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}).resolve(SOURCE, name=None)

    assert len(server.requests) == 2


def test_resolve__nobody_listens__server_failed(open_store: OpenStore) -> None:
    uri = f"http://127.0.0.1:{stores.free_port()}"
    with pytest.raises(TrackingServerFailed, match="Connection refused") as caught:
        open_store(uri).resolve(SOURCE, name=None)

    assert caught.value.exit_code == 6
    assert caught.value.retryable


def test_resolve__unknown_host__server_failed(open_store: OpenStore) -> None:
    with pytest.raises(TrackingServerFailed, match=r"mlflow\.invalid"):
        open_store("https://mlflow.invalid").resolve(SOURCE, name=None)


def test_resolve__https_to_an_http_server__told_at_once(open_store: OpenStore) -> None:
    with serve_answers(NO_SUCH_RUN) as server, pytest.raises(TrackingServerFailed, match=r"(?i)ssl"):
        open_store(server.uri.replace("http:", "https:")).resolve(SOURCE, name=None)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


CREDENTIALS = {
    "none": ({}, "", None),
    "user and password": (
        {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "pä:ss"},
        "",
        basic("ann", "pä:ss"),
    ),
    "token": ({"MLFLOW_TRACKING_TOKEN": "t0ken"}, "", "Bearer t0ken"),
    "password beats token": (
        {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "x", "MLFLOW_TRACKING_TOKEN": "t0ken"},
        "",
        basic("ann", "x"),
    ),
    "in the address": ({}, "ann:p%40ss@", basic("ann", "p@ss")),
}


@pytest.mark.parametrize(("environ", "user_info", "expected"), CREDENTIALS.values(), ids=CREDENTIALS)
def test_resolve__credentials__sent_as_mlflow_sends_them(
    open_store: OpenStore, environ: dict[str, str], user_info: str, expected: str | None
) -> None:
    with serve_answers(NO_SUCH_RUN) as server, pytest.raises(RunNotFound):
        open_store(server.uri.replace("://", f"://{user_info}"), environ).resolve(SOURCE, name=None)

    assert [sent for _, _, sent in server.requests] == [expected]


def test_resolve__credentials_file_of_mlflow__used(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = 100%\n"
    )
    with serve_answers(NO_SUCH_RUN) as server, pytest.raises(RunNotFound):
        open_store(server.uri).resolve(SOURCE, name=None)

    assert [sent for _, _, sent in server.requests] == [basic("ann", "100%")]


def test_resolve__redirected_to_another_host__credentials_stay(open_store: OpenStore) -> None:
    with serve_answers(NO_SUCH_RUN) as other:
        elsewhere = other.uri.replace("127.0.0.1", "localhost") + "/elsewhere"
        with serve_answers(Answer(status=302, headers={"Location": elsewhere})) as server, pytest.raises(RunNotFound):
            open_store(server.uri, {"MLFLOW_TRACKING_TOKEN": "t0ken"}).resolve(SOURCE, name=None)

    assert [sent for _, _, sent in server.requests] == ["Bearer t0ken"]
    assert [sent for _, _, sent in other.requests] == [None]


ADDRESSES = {
    "azureml": ("azureml://westeurope.api.azureml.ms/mlflow/v1.0/x", InvalidInput),
    "typo in the scheme": ("htps://mlflow.example.com", InvalidInput),
    "no host": ("https://", InvalidInput),
    "space": ("http://my host:5000", InvalidInput),
    "port out of range": ("http://host:99999999", InvalidInput),
    "broken IPv6": ("http://[::1", InvalidInput),
    "control character": ("http://host\r\nX: y", InvalidInput),
    "missing folder": ("./no/such/mlruns", InvalidInput),
    "missing file: URI": ("file:///no/such/mlruns", InvalidInput),
    "missing database": ("sqlite:///no-such.db", InvalidInput),
    "sqlite in memory": ("sqlite://", InvalidInput),
    "nothing": (None, MissingInput),
}


@pytest.mark.parametrize(("tracking_uri", "error"), ADDRESSES.values(), ids=ADDRESSES)
def test_resolve__address_of_no_store__told_and_nothing_made(
    open_store: OpenStore, tmp_path: Path, tracking_uri: str | None, error: type[MlazError]
) -> None:
    with pytest.raises(error, match="tracking-uri") as caught:
        open_store(tracking_uri).resolve(SOURCE, name=None)

    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_resolve__no_address_but_mlflow_db_in_the_folder__that_store(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database")

    with pytest.raises(MlazError) as caught:
        open_store(None).resolve(SOURCE, name=None)

    assert "file is not a database" in caught.value.what
    assert caught.value.exit_code == 6


def test_resolve__artifacts_on_the_servers_own_disk__store_not_supported(open_store: OpenStore) -> None:
    info = {"run_id": "r1", "experiment_id": "0", "artifact_uri": "/srv/mlartifacts/0/r1/artifacts"}
    answers = {
        RUN_PATH: [of_json({"run": {"info": info, "data": {}}})],
        "/api/2.0/mlflow/logged-models/search": [of_json({})],
    }
    with serve_answers(Answer(status=404), answers) as server, pytest.raises(StoreNotSupported, match="own machine"):
        open_store(server.uri).resolve(SOURCE, name=None)


@pytest.mark.parametrize("uri", ["", "http://[", "mlflow-artifacts:/0/r1", "\0"])
def test_resolve__artifacts_at_no_place__model_path_not_found(open_store: OpenStore, uri: str) -> None:
    info = {"run_id": "r1", "experiment_id": "0", "artifact_uri": uri}
    answers = {
        RUN_PATH: [of_json({"run": {"info": info, "data": {}}})],
        "/api/2.0/mlflow/logged-models/search": [of_json({})],
        "/api/2.0/mlflow-artifacts/artifacts": [of_json({})],
    }
    with serve_answers(Answer(status=404), answers) as server, pytest.raises(ModelPathNotFound):
        open_store(server.uri).resolve(SOURCE, name=None)


def resolve_by(python: Path, tracking_uri: str, run_id: str, tmp_path: Path, **variables: str) -> tuple[str, str]:
    """Resolves in another environment; the outcome in one line, and what was said on stderr."""
    script = (
        "import json, os, sys\n"
        "from mlaz_ci.adapters.mlflow_store import MlflowStore\n"
        "from mlaz_ci.errors import MlazError\n"
        "from mlaz_ci.models import RunSource\n"
        "from tests.fakes.platform import RecordingPlatform\n"
        "store = MlflowStore(sys.argv[1], dict(os.environ), RecordingPlatform())\n"
        "try:\n"
        "    model = store.resolve(RunSource(run_id=sys.argv[2], path='model'), name=None)\n"
        "    print(model.facts.python_version)\n"
        "except MlazError as error:\n"
        "    print(error.kind(), error.remedy_text)\n"
    )
    done = subprocess.run(
        [str(python), "-c", script, tracking_uri, run_id],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**stores.surroundings(), "PYTHONPATH": str(ROOT), **variables},
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("kind", ["on_server", "in_files", "in_sqlite", "in_sqlite_by_mlflow_2"])
def test_resolve__mlflow_skinny_alone__reads_servers_files_and_sqlite(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    logged = request.getfixturevalue(kind)

    outcome, chatter = resolve_by(stores.skinny_python(), logged.tracking_uri, logged.run_id, tmp_path)

    mlmodel = yaml.safe_load((logged.downloads / "MLmodel").read_text())
    assert (outcome, chatter) == (mlmodel["flavors"]["python_function"]["python_version"], "")


def test_resolve__other_database_with_mlflow_skinny_alone__offers_a_server(tmp_path: Path) -> None:
    outcome, chatter = resolve_by(stores.skinny_python(), "postgresql://host/store", SOURCE.run_id, tmp_path)

    assert outcome.startswith("store-not-supported Install `mlaz-ci[stores]`, or run `mlflow server`")
    assert chatter == ""


@pytest.mark.parametrize(
    ("uri", "package", "install"),
    [
        ("postgresql+psycopg2://ada:canary-pw@host/store", "psycopg2", "pip install psycopg2-binary"),
        ("postgresql+psycopg://ada:canary-pw@host/store", "psycopg", "pip install 'psycopg[binary]'"),
        ("mysql+pymysql://ada:canary-pw@host/store", "pymysql", "pip install pymysql"),
        ("mysql://ada:canary-pw@host/store", "MySQLdb", "pip install mysqlclient"),
        ("mssql+pyodbc://ada:canary-pw@host/store", "pyodbc", "pip install pyodbc"),
    ],
)
def test_resolve__database_without_its_driver__says_which_to_install(
    open_store: OpenStore, uri: str, package: str, install: str
) -> None:
    with pytest.raises(StoreNotSupported) as caught:
        open_store(uri).resolve(SOURCE, name=None)
    assert f"the Python package {package}," in caught.value.what
    assert install in caught.value.remedy_text
    assert "brings mlflow and no driver" in caught.value.cause_text
    assert "canary-pw" not in str(caught.value)


@pytest.mark.parametrize("kind", ["in_sqlite", "in_sqlite_by_mlflow_2"])
def test_resolve__database__nothing_in_it_or_beside_it_changes(
    request: pytest.FixtureRequest, open_store: OpenStore, kind: str
) -> None:
    """mlflow itself would migrate the older one."""
    logged = request.getfixturevalue(kind)
    database = Path(logged.tracking_uri.removeprefix("sqlite:///"))
    before = database.read_bytes(), sorted(database.parent.iterdir())

    open_store(logged.tracking_uri).resolve(RunSource(run_id=logged.run_id, path="model"), name=None)

    assert (database.read_bytes(), sorted(database.parent.iterdir())) == before


def test_resolve__database_of_an_unknown_schema__told(open_store: OpenStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        for table in ("alembic_version", "experiments", "runs", "tags"):
            connection.execute(f"CREATE TABLE {table} (experiment_id, name, run_uuid, key, value)")
        connection.commit()

    with pytest.raises(StoreNotSupported, match="runs has no artifact_uri") as caught:
        open_store(f"sqlite:///{tmp_path}/mlflow.db").resolve(SOURCE, name=None)

    assert "with the version that made it" in caught.value.remedy_text


def test_resolve__damaged_database__server_failed(
    request: pytest.FixtureRequest, open_store: OpenStore, tmp_path: Path
) -> None:
    content = bytearray(database_of(request).read_bytes())
    content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
    (tmp_path / "mlflow.db").write_bytes(content)

    with pytest.raises(TrackingServerFailed) as caught:
        open_store(f"sqlite:///{tmp_path}/mlflow.db").resolve(SOURCE, name=None)

    assert caught.value.upstream_code == "SQLITE_CORRUPT"


def test_resolve__database_address_as_sqlalchemy_reads_it__opened(
    request: pytest.FixtureRequest, open_store: OpenStore, tmp_path: Path
) -> None:
    """Relative, with an escape, a query and the driver's name."""
    logged = request.getfixturevalue("in_sqlite")
    (tmp_path / "my #1.db").write_bytes(database_of(request).read_bytes())

    store = open_store("sqlite+pysqlite:///my%20#1.db?timeout=5")

    assert store.resolve(RunSource(run_id=logged.run_id, path="model"), name=None).run_id == logged.run_id


def database_of(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue("in_sqlite").tracking_uri.removeprefix("sqlite:///"))


RECORDS = {
    "no YAML": b"{",
    "a list": b"[]",
    "an object of Python": b"!!python/object/apply:os.getcwd []",
    "another run": b"run_id: other\nexperiment_id: '0'\n",
    "another experiment": b"run_id: %s\nexperiment_id: '1'\n" % SOURCE.run_id.encode(),
    "endless": b"a" * (4 * 1024 * 1024 + 1),
    "not UTF-8": b"run_id: \xff\n",
}


@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS)
def test_resolve__damaged_file_store__names_the_file_and_not_its_content(
    open_store: OpenStore, tmp_path: Path, content: bytes
) -> None:
    folder = tmp_path / "mlruns" / "0" / SOURCE.run_id
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_bytes(content)

    with pytest.raises(TrackingServerFailed) as caught:
        open_store("mlruns").resolve(SOURCE, name=None)

    assert str(caught.value).splitlines()[0] == f"{folder / 'meta.yaml'} is not the record that MLflow keeps there."


def test_resolve__what_looks_like_a_run_in_a_models_artifacts__run_not_found(
    open_store: OpenStore, tmp_path: Path
) -> None:
    folder = tmp_path / "mlruns" / "0" / "0123456789abcdef0123456789abcdef" / "artifacts" / SOURCE.run_id
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_text(f"run_id: {SOURCE.run_id}\nexperiment_id: artifacts\nartifact_uri: /etc\n")

    with pytest.raises(RunNotFound):
        open_store("mlruns").resolve(SOURCE, name=None)


def test_resolve__database_of_another_program__told_and_not_filled(open_store: OpenStore, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.commit()
    before = (tmp_path / "shop.db").read_bytes()

    with pytest.raises(InvalidInput, match="without an MLflow store in it"):
        open_store(f"sqlite:///{tmp_path}/shop.db").resolve(SOURCE, name=None)

    assert (tmp_path / "shop.db").read_bytes() == before


def test_resolve__file_store_forbidden_by_the_user__told(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    logged = request.getfixturevalue("in_files")

    outcome, _ = resolve_by(
        Path(sys.executable), logged.tracking_uri, logged.run_id, tmp_path, MLFLOW_ALLOW_FILE_STORE="false"
    )

    assert outcome.startswith("store-not-supported Unset MLFLOW_ALLOW_FILE_STORE")


def test_resolve__database__nothing_on_stderr(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    logged = request.getfixturevalue("in_sqlite")

    outcome = resolve_by(Path(sys.executable), logged.tracking_uri, logged.run_id, tmp_path)

    assert outcome == (THIS_PYTHON, "")
