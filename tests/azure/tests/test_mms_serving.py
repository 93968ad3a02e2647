"""Services of model management that really run something: what the backend is given, and what its callers get."""

from __future__ import annotations

import http.server
import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import storage
from tests.azure.arm import workspaces
from tests.azure.backends import Serving, Spec, StartFailed
from tests.azure.state import Cloud
from tests.azure.tests import test_mms_errors
from tests.azure.tests.test_mms_errors import MMS

client, cluster, model = test_mms_errors.client, test_mms_errors.cluster, test_mms_errors.model


class _Server:
    """A service: tells the path it was called by, and which one it is."""

    def __init__(self, number: int) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                body = f"{number} {self.path} ".encode() + self.rfile.read(size)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def logs(self) -> str:
        return "one\ntwo\nthree\n"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Backend:
    def __init__(self) -> None:
        self.specs: list[Spec] = []
        self.files: list[dict[str, bytes]] = []
        self.may_start = threading.Event()
        self.may_start.set()

    def start(self, spec: Spec) -> _Server:
        self.may_start.wait(20)
        self.specs.append(spec)
        folders = {"code": spec.script_folder, "model": spec.model_folder}
        self.files.append(
            {
                f"{kind}/{path.relative_to(folder).as_posix()}": path.read_bytes()
                for kind, folder in folders.items()
                if folder
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        )
        if b"crash" in self.files[-1].get("code/score.py", b""):
            raise StartFailed("Traceback: crash in init\n")
        return _Server(len(self.specs))


@pytest.fixture
def backend(cloud: Cloud) -> _Backend:
    found = _Backend()
    cloud.live(Serving).backend = found
    return found


def _upload(cloud: Cloud, name: str, content: bytes) -> str:
    account = cloud.state(workspaces.Workspaces).default.storage_account
    storage.write(cloud, account, storage.ARTIFACT_CONTAINER, f"LocalUpload/{name}", content)
    return f"aml://artifact/LocalUpload/{name}"


def _asked(cloud: Cloud, model: str, script: bytes, **more: Any) -> dict[str, Any]:
    image = {
        "driverProgram": "driver.py",
        "assets": [
            {"id": "driver.py", "url": _upload(cloud, "a/driver.py", b"driver"), "mimeType": "application/x-python"},
            {"id": "score.py", "url": _upload(cloud, f"{len(script)}/score.py", script), "mimeType": "text/plain"},
        ],
        "modelIds": [model],
        "environment": {
            "name": "env",
            "python": {"condaDependencies": {"dependencies": ["python=3.11", {"pip": ["numpy"]}]}},
            "environmentVariables": {"AZUREML_ENTRY_SCRIPT": "./score.py", "A": "b"},
        },
    }
    return {
        "name": "churn-svc",
        "computeType": "ACI",
        "dnsNameLabel": "churn",
        "environmentImageRequest": image,
        **more,
    }


def _ended(client: requests.Session, accepted: requests.Response) -> dict[str, Any]:
    assert accepted.status_code == 202, accepted.text
    while True:
        operation: dict[str, Any] = client.get(accepted.headers["Operation-Location"]).json()
        if operation["endTime"]:
            return operation


def test_service__with_a_backend__is_given_its_files_and_answers_its_callers(
    client: requests.Session, model: str, backend: _Backend, cloud: Cloud
) -> None:
    backend.may_start.clear()
    accepted = client.post(f"{MMS}/services", json=_asked(cloud, model, b"score"))
    for _ in range(3):
        assert client.get(accepted.headers["Operation-Location"]).json()["state"] == "Running"
    backend.may_start.set()
    assert _ended(client, accepted)["state"] == "Succeeded"
    (spec,) = backend.specs
    assert (spec.script, spec.variables["A"], spec.name) == ("score.py", "b", "churn-svc")
    assert "python=3.11" in spec.environment
    assert backend.files == [{"code/driver.py": b"driver", "code/score.py": b"score", "model/model.pkl": b"x"}]
    url = client.get(f"{MMS}/services/churn-svc").json()["scoringUri"]
    assert requests.post(f"{url}?a=b", data=b"hello", timeout=10).text == "1 /score?a=b hello"
    assert client.get(f"{MMS}/services/churn-svc/logs?tail=2").json()["content"] == "two\nthree\n"


def test_service__overwritten_by_one_that_crashes__goes_on_serving_and_tells_its_log(
    client: requests.Session, model: str, backend: _Backend, cloud: Cloud
) -> None:
    _ended(client, client.post(f"{MMS}/services", json=_asked(cloud, model, b"score")))
    url = client.get(f"{MMS}/services/churn-svc").json()["scoringUri"]
    again = client.post(f"{MMS}/services", json=_asked(cloud, model, b"crash", overwrite=True))
    assert _ended(client, again)["error"]["details"][0]["code"] == "CrashLoopBackOff"
    assert client.get(f"{MMS}/services/churn-svc/logs").json()["content"] == "Traceback: crash in init\n"
    assert requests.post(url, data=b"x", timeout=10).text == "1 /score x"
    third = client.post(f"{MMS}/services", json=_asked(cloud, model, b"better", overwrite=True))
    assert _ended(client, third)["state"] == "Succeeded"
    assert requests.post(url, data=b"x", timeout=10).text == "3 /score x"
    _ended(client, client.delete(f"{MMS}/services/churn-svc"))
    assert requests.post(url, data=b"x", timeout=10).status_code == 503


def test_service__of_a_packed_folder__has_it_unpacked(
    client: requests.Session, model: str, backend: _Backend, cloud: Cloud, tmp_path: Path
) -> None:
    packed = io.BytesIO()
    (tmp_path / "score.py").write_bytes(b"inner")
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path / "score.py", "source/score.py")
    asked = _asked(cloud, model, b"")
    url = _upload(cloud, "p/source.tar.gz", packed.getvalue())
    asset = {"id": "source.tar.gz", "url": url, "mimeType": "application/octet-stream", "unpack": True}
    asked["environmentImageRequest"]["assets"] = [asset]
    _ended(client, client.post(f"{MMS}/services", json=asked))
    assert backend.files == [{"code/source/score.py": b"inner", "model/model.pkl": b"x"}]


def test_aks_endpoint__versions_with_shares__are_called_by_them(
    client: requests.Session, model: str, cluster: str, backend: _Backend, cloud: Cloud
) -> None:
    def version(name: str, script: bytes, share: float) -> dict[str, Any]:
        image = _asked(cloud, model, script)["environmentImageRequest"]
        return {"name": name, "computeType": "AKS", "environmentImageRequest": image, "trafficPercentile": share}

    asked = {"name": "churn-ep", "computeType": "AKSENDPOINT", "computeName": cluster, "authEnabled": False}
    _ended(client, client.post(f"{MMS}/services", json={**asked, "versions": {"blue": version("blue", b"b", 100.0)}}))
    url = client.get(f"{MMS}/services/churn-ep").json()["scoringUri"]

    def who_answers() -> list[str]:
        return [requests.post(url, data=b"x", timeout=10).text.split()[0] for _ in range(4)]

    assert who_answers() == ["1"] * 4
    crash = {"op": "add", "path": "/versions/red", "value": version("red", b"crash", 0.0)}
    assert _ended(client, client.patch(f"{MMS}/services/churn-ep", json=[crash]))["state"] == "Failed"
    assert who_answers() == ["1"] * 4
    changes = [
        {"op": "remove", "path": "/versions/red"},
        {"op": "add", "path": "/versions/green", "value": version("green", b"g2", 25.0)},
        {"op": "replace", "path": "/versions/blue/trafficPercentile", "value": 75.0},
    ]
    assert _ended(client, client.patch(f"{MMS}/services/churn-ep", json=changes))["state"] == "Succeeded"
    assert sorted(who_answers()) == ["1", "1", "1", "3"]
    _ended(client, client.delete(f"{MMS}/services/churn-ep"))
    assert requests.post(url, data=b"x", timeout=10).status_code == 503
