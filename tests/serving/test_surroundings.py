"""What the script does around predictions: Azure's data collector, folders as Azure lays them out, failed starts, the log's texts."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import pytest

from tests.serving.conftest import MODELS_SCRIPT, STANDS
from tests.serving.environments import made_by, serving_environment
from tests.serving.served import Served, serve

ROW = {"inputs": [[3, 72.5, "Oslo"]]}


@pytest.fixture(scope="module")
def python() -> Path:
    """An environment with the collector in it."""
    return serving_environment([*STANDS[0].requirements, "azureml-ai-monitoring"], "3.11", [STANDS[0].server])


@pytest.fixture(scope="module")
def models() -> Path:
    stand = STANDS[0]
    return made_by(serving_environment(stand.requirements, stand.python_version, [stand.server]), MODELS_SCRIPT)


SWAGGER = {"swagger.json": '{"swagger": "2.0", "ours": 2}', "swagger3.json": '{"openapi": "3.0.3", "ours": 3}'}


@pytest.fixture(scope="module")
def served_as_in_azure(python: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The model in the folder of its registered name and version, swagger files beside the script, data to be collected and nobody who takes it."""
    home = tmp_path_factory.mktemp("azure")
    model = home / "azureml-models" / "prices" / "7"
    shutil.copytree(models / "table", model / "model")
    with serve(python, model, home / "service", {"MLAZ_DATA_COLLECTION": "true"}, files=SWAGGER) as served:
        yield served


@contextmanager
def collector() -> Iterator[tuple[int, Queue[tuple[str, object]]]]:
    """The side of Azure that a container sends its data to: gives the port and what arrives there."""
    arrived: Queue[tuple[str, object]] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            arrived.put((self.headers["ce-type"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, arrived
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_collection__switched_on__inputs_and_outputs_reach_azures_collector(
    python: Path, models: Path, tmp_path: Path
) -> None:
    with collector() as (port, arrived):
        variables = {
            "MLAZ_DATA_COLLECTION": "true",
            "AZUREML_MDC_ENABLED": "true",
            "AZUREML_MDC_HOST": "127.0.0.1",
            "AZUREML_MDC_PORT": str(port),
        }
        with serve(python, models / "table", tmp_path, variables) as served:
            assert served.score(ROW).json == [222.5]
            received = dict(arrived.get(timeout=20) for _ in range(2))
    assert received["azureml.inference.model_inputs"] == [{"rooms": 3, "area": 72.5, "city": "Oslo"}]
    assert received["azureml.inference.model_outputs"] == [{"0": 222.5}]


def test_collection__its_side_is_absent__predictions_go_on(served_as_in_azure: Served) -> None:
    assert served_as_in_azure.score(ROW).json == [222.5]
    assert "data collection: " in served_as_in_azure.log


def test_log__texts_are_asked_for__it_has_the_exception(python: Path, models: Path, tmp_path: Path) -> None:
    record = {"flag": True, "small": 1, "large": 1, "single": 1, "real": 1, "text": "raise", "raw": "", "moment": None}
    with serve(python, models / "kinds", tmp_path, {"MLAZ_LOG_ERROR_TEXT": "true"}) as served:
        assert served.score({"dataframe_records": [record]}).status == 500
        assert "the secret of the model" in served.log


def test_swagger__files_beside_the_script__are_what_the_server_shows(served_as_in_azure: Served) -> None:
    assert served_as_in_azure.ask("GET", "/swagger.json").json["ours"] == 2
    assert served_as_in_azure.ask("GET", "/swagger.json?version=3").json["ours"] == 3


def test_start__the_model_is_where_azure_puts_it__is_found(served_as_in_azure: Served) -> None:
    assert served_as_in_azure.score(ROW).json == [222.5]


def test_start__no_model__fails_with_the_reason_in_the_log(python: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"exit code 3(.|\n)*No MLmodel file"), serve(python, tmp_path, tmp_path):
        pass


def test_score__the_model_takes_too_long__is_the_servers_own_answer(python: Path, models: Path, tmp_path: Path) -> None:
    with serve(python, models / "slow", tmp_path, {"SCORING_TIMEOUT_MS": "300"}) as served:
        answer = served.score({"inputs": [1.0]})
        assert answer.status == 500
        assert "timeout" in answer.json["message"]
        assert served.ask("GET", "/").status == 200
