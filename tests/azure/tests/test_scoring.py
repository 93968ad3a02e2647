"""The scoring hosts, in front of services that really answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import backends, roles, storage, webservices, world
from tests.azure.arm import deployments, endpoints, workspaces
from tests.azure.clock import FakeClock
from tests.azure.roles import Assignments
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import Caller, deployment_body, endpoint_body, token
from tests.azure.tests.serving_stub import EchoBackend

EP = "/onlineEndpoints/churn"
HOST = "https://churn.eastus.inference.ml.azure.com"


@pytest.fixture
def arm(azure: Emulator, http: requests.Session) -> Caller:
    return Caller(http)


@pytest.fixture
def backend(azure: Emulator, cloud: Cloud) -> Iterator[EchoBackend]:
    backend = EchoBackend()
    cloud.live(backends.Serving).backend = backend
    yield backend
    backend.close()


def _serve(arm: Caller, *names: str, auth: str = "Key", **properties: Any) -> str:
    """The endpoint with these deployments, all traffic to the first; the key or token."""
    arm.made(EP, endpoint_body(authMode=auth))
    for name in names:
        arm.made(f"{EP}/deployments/{name}", deployment_body(**properties))
    arm.made(EP, endpoint_body(authMode=auth, traffic={names[0]: 100}))
    if auth == "AADToken":
        return token(arm.http, "https://ml.azure.com/.default")
    told = arm.post(f"{EP}/{'listKeys' if auth == 'Key' else 'token'}").json()
    return str(told.get("primaryKey") or told["accessToken"])


def _score(http: requests.Session, key: str, body: Any = None, **headers: str) -> requests.Response:
    told = {"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return http.post(f"{HOST}/score", json=body or {"x": 1}, headers=told, timeout=30)


@pytest.mark.parametrize("auth", ["Key", "AMLToken", "AADToken"])
def test_score__with_its_credential__reaches_the_service(
    arm: Caller, backend: EchoBackend, cloud: Cloud, auth: str
) -> None:
    cloud.state(Assignments).assign(world.CLIENT_OBJECT_ID, roles.OWNER, world.SUBSCRIPTION_SCOPE)
    answer = _score(arm.http, _serve(arm, "blue", auth=auth), {"data": [1]})
    assert answer.status_code == 200
    assert answer.json() == {"served_by": "churn-blue", "path": "/score", "body": {"data": [1]}}
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("auth", ["Key", "AMLToken", "AADToken"])
def test_score__without_or_with_a_wrong_credential__is_refused(arm: Caller, backend: EchoBackend, auth: str) -> None:
    _serve(arm, "blue", auth=auth)
    assert _score(arm.http, "wrong").status_code == 401
    assert arm.http.post(f"{HOST}/score", json={}, timeout=30).status_code == 401


def test_score__expired_token__is_refused(
    arm: Caller, backend: EchoBackend, cloud: Cloud, fake_clock: FakeClock
) -> None:
    key = _serve(arm, "blue", auth="AMLToken")
    assert _score(arm.http, key).status_code == 200
    fake_clock.advance(25 * 3600)
    assert _score(arm.http, key).status_code == 401


def test_score__caller_without_the_role__is_refused(arm: Caller, backend: EchoBackend, cloud: Cloud) -> None:
    key = _serve(arm, "blue", auth="AADToken")
    cloud.state(Assignments).remove_all(world.CLIENT_OBJECT_ID)
    assert _score(arm.http, key).status_code == 403


def test_traffic__is_shared_by_weight_and_header_wins(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue", "green")
    arm.made(EP, endpoint_body(traffic={"blue": 90, "green": 10}))
    served = Counter(_score(arm.http, key).json()["served_by"] for _ in range(20))
    assert served == {"churn-blue": 18, "churn-green": 2}
    chosen = _score(arm.http, key, azureml_model_deployment="green")
    assert chosen.json()["served_by"] == "churn-green"
    assert _score(arm.http, key, azureml_model_deployment="red").status_code == 404


def test_traffic__to_nobody__is_not_found(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    arm.made(EP, endpoint_body(traffic={}))
    answer = _score(arm.http, key)
    assert answer.status_code == 404
    assert "positive weight" in answer.text


def test_connections__to_the_service__are_kept(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    for _ in range(5):
        assert _score(arm.http, key).status_code == 200
    assert len(backend.connections) == 1


def test_answer__that_streams__arrives_as_it_is_sent(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    for _ in range(2):
        backend.second.clear()
        headers = {"Authorization": f"Bearer {key}"}
        with arm.http.post(f"{HOST}/score", json="stream", headers=headers, stream=True, timeout=30) as answer:
            pieces = answer.iter_content(None)
            assert next(pieces) == b"first"
            backend.second.set()
            assert b"".join(pieces) == b"second"
    assert len(backend.connections) == 1


def test_model__that_fails__is_told_as_424(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    backend.status = 500
    answer = _score(arm.http, key)
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"


def test_model__that_takes_too_long__times_out(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue", requestSettings={"requestTimeout": "PT1S"})
    backend.gate.clear()
    answer = _score(arm.http, key)
    backend.gate.set()
    assert answer.status_code == 408


def test_load__beyond_what_the_instances_carry__is_refused(arm: Caller, backend: EchoBackend, azure: Emulator) -> None:
    key = _serve(arm, "blue", requestSettings={"maxConcurrentRequestsPerInstance": 1, "requestTimeout": "PT30S"})
    backend.gate.clear()
    statuses: list[int] = []

    def ask() -> None:
        with requests.Session() as session:
            statuses.append(_score(session, key).status_code)
            if len(statuses) == 3:
                backend.gate.set()

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Counter(statuses) == {200: 2, 429: 3}


def test_swagger__is_the_services_own(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    answer = arm.http.get(f"{HOST}/swagger.json", headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert answer.json() == {"swagger": "2.0"}


def test_endpoint__closed_to_the_public__refuses(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    arm.made(EP, endpoint_body(publicNetworkAccess="Disabled"))
    assert _score(arm.http, key).status_code == 403


def test_update__of_a_deployment__serves_the_old_until_the_new_runs(arm: Caller, backend: EchoBackend) -> None:
    key = _serve(arm, "blue")
    arm.made(f"{EP}/deployments/blue", deployment_body(environmentVariables={"V": "2"}))
    assert [spec.variables.get("V") for spec in backend.specs] == [None, "2"]
    assert backend.running == 1
    backend.crash_log = "boom"
    failed = arm.settle(arm.put(f"{EP}/deployments/blue", deployment_body(environmentVariables={"V": "3"})))
    assert failed["error"]["code"] == "ResourceNotReady"
    assert _score(arm.http, key).status_code == 200


def test_service__without_a_backend__is_not_pretended(arm: Caller, azure: Emulator, cloud: Cloud) -> None:
    key = _serve(arm, "blue")
    assert _score(arm.http, key).status_code == 501
    assert [failure.kind for failure in cloud.take_failures()] == ["not-implemented"]
    cloud.live(backends.Serving).echoes = True
    assert _score(arm.http, key, {"a": 1}).json() == {"a": 1}


@pytest.mark.parametrize(("container", "folder"), [(storage.BLOB_CONTAINER, "code"), ("code-c", ""), ("code-c", "/")])
def test_files__of_model_and_code__lie_where_the_backend_looks(
    arm: Caller, backend: EchoBackend, cloud: Cloud, container: str, folder: str
) -> None:
    place = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{container}"
    script = f"{folder}/score.py".lstrip("/")
    storage.write(cloud, world.STORAGE_ACCOUNT, container, script, b"def init(): ...")
    storage.write(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, "model/sub/weights.bin", b"w")
    arm.put(
        "/codes/c/versions/1", {"properties": {"codeUri": f"{place}/{folder}" if folder.strip("/") else place + folder}}
    )
    arm.put("/models/m/versions/1", {"properties": {"modelUri": "azureml://datastores/workspaceblobstore/paths/model"}})
    arm.put("/environments/e/versions/1", {"properties": {"image": "i", "condaFile": "dependencies:\n- pip"}})
    ws = world.WORKSPACE_SCOPE
    _serve(
        arm,
        "blue",
        model=f"{ws}/models/m/versions/1",
        codeConfiguration={"codeId": f"{ws}/codes/c/versions/1", "scoringScript": "score.py"},
        environmentId=f"{ws}/environments/e/versions/1",
    )
    (spec,) = backend.specs
    assert spec.script_folder is not None
    assert (spec.script_folder / "score.py").read_bytes() == b"def init(): ..."
    assert spec.model_folder is not None
    assert (spec.model_folder / "model" / "sub" / "weights.bin").read_bytes() == b"w"
    assert "pip" in spec.environment


@pytest.mark.parametrize("by_token", [False, True], ids=["sas", "token"])
def test_code__uploaded_where_azure_says__is_what_the_service_gets(
    arm: Caller, backend: EchoBackend, cloud: Cloud, by_token: bool
) -> None:
    begun = arm.post("/codes/c/versions/1/startPendingUpload", {"pendingUploadType": "TemporaryBlobReference"})
    place = begun.json()["blobReferenceForConsumption"]
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2023-11-03"}
    url, _, sas = place["credential"]["sasUri"].partition("?")
    if by_token:
        cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_shared_key = False
        refused = arm.http.put(f"{url}/src/score.py?{sas}", data=b"x", headers=headers, timeout=30)
        assert (refused.status_code, refused.headers["x-ms-error-code"]) == (403, "KeyBasedAuthenticationNotPermitted")
        headers["Authorization"] = f"Bearer {token(arm.http, 'https://storage.azure.com/.default')}"
        lacking = arm.http.put(f"{url}/src/score.py", data=b"x", headers=headers, timeout=30)
        assert (lacking.status_code, lacking.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
        role = roles.STORAGE_BLOB_DATA_CONTRIBUTOR
        cloud.state(Assignments).assign(world.CLIENT_OBJECT_ID, role, world.RESOURCE_GROUP_SCOPE)
    target = f"{url}/src/score.py" + ("" if by_token else f"?{sas}")
    assert arm.http.put(target, data=b"def init(): ...", headers=headers, timeout=30).status_code == 201
    code = {"properties": {"codeUri": f"{place['blobUri']}/src", "properties": {"hash_sha256": "h"}}}
    assert arm.put("/codes/c/versions/1", code).status_code == 201
    assert [one["name"] for one in arm.get("/codes/c/versions?hash=h&hashVersion=202208").json()["value"]] == ["1"]
    ws = world.WORKSPACE_SCOPE
    _serve(arm, "blue", codeConfiguration={"codeId": f"{ws}/codes/c/versions/1", "scoringScript": "score.py"})
    (spec,) = backend.specs
    assert spec.script_folder is not None
    assert (spec.script_folder / "score.py").read_bytes() == b"def init(): ..."


@pytest.mark.parametrize(
    "uri",
    [
        "azureml://jobs/run_1/outputs/artifacts/paths/model",
        "azureml://jobs/run_1/outputs/artifacts/model",
        "runs:/run_1/model",
        "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.run_1/model",
        (
            f"azureml://subscriptions/{world.SUBSCRIPTION_ID}/resourcegroups/{world.RESOURCE_GROUP}/workspaces/"
            f"{world.WORKSPACE}/datastores/workspaceartifactstore/paths/ExperimentRun/dcid.run_1/model"
        ),
    ],
)
def test_model__by_every_spelling_of_its_place__is_what_the_service_gets(
    arm: Caller, backend: EchoBackend, cloud: Cloud, uri: str
) -> None:
    place = "ExperimentRun/dcid.run_1/model"
    for name, content in (
        ("MLmodel", b"flavors: {python_function: {loader_module: x}}"),
        ("data/model.pkl", b"weights"),
    ):
        storage.write(cloud, world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER, f"{place}/{name}", content)
    made = arm.put("/models/m/versions/1", {"properties": {"modelUri": uri, "modelType": "mlflow_model"}})
    assert made.status_code == 201
    assert made.json()["properties"]["modelUri"].endswith(f"/datastores/workspaceartifactstore/paths/{place}")
    assert "python_function" in made.json()["properties"]["flavors"]
    _serve(arm, "blue", model=f"{world.WORKSPACE_SCOPE}/models/m/versions/1")
    (spec,) = backend.specs
    assert spec.model_folder is not None
    assert [path.read_bytes() for path in spec.model_folder.rglob("model.pkl")] == [b"weights"]


def test_files__whose_names_lead_out_of_their_folder__stay_in_it(
    arm: Caller, backend: EchoBackend, cloud: Cloud, azure: Emulator
) -> None:
    account, container = world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER
    for name in ("model/../../../../outside-1", "model/ok", "model/..", "model//../outside-2"):
        storage.write(cloud, account, container, name, b"x")
    arm.put("/models/m/versions/1", {"properties": {"modelUri": "azureml://datastores/workspaceblobstore/paths/model"}})
    _serve(arm, "blue", model=f"{world.WORKSPACE_SCOPE}/models/m/versions/1")
    (spec,) = backend.specs
    assert spec.model_folder is not None
    inside = {path.name for path in spec.model_folder.rglob("*") if path.is_file()}
    assert inside >= {"ok", "outside-1", "outside-2"}
    assert [path for path in azure.folder.rglob("outside-*") if spec.model_folder not in path.parents] == []


def test_reset__stops_every_service(arm: Caller, backend: EchoBackend, azure: Emulator) -> None:
    _serve(arm, "blue", "green")
    assert backend.running == 2
    azure.reset()
    assert backend.running == 0


def test_sas__of_a_container__opens_it_for_its_time_alone(azure: Emulator, cloud: Cloud, fake_clock: FakeClock) -> None:
    account, container = world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER
    sas = storage.issue_sas(cloud, account, container, permissions="rl", lifetime_s=60)
    assert storage.sas_refusal(cloud, account, container, "a", sas, "r") == ""
    assert "lack w" in storage.sas_refusal(cloud, account, container, "a", sas, "w")
    assert "signature" in storage.sas_refusal(cloud, account, "other", "a", sas, "r")
    fake_clock.advance(61)
    assert "time" in storage.sas_refusal(cloud, account, container, "a", sas, "r")


def test_sas__is_the_one_that_azures_client_signs(azure: Emulator, cloud: Cloud) -> None:
    blob = pytest.importorskip("azure.storage.blob", reason="azure-storage-blob is in the emulator's own environment")
    account = cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT]
    import datetime as dt

    sas = blob.generate_blob_sas(
        account.name,
        storage.BLOB_CONTAINER,
        "a/b",
        account_key=account.key,
        permission="r",
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )
    assert storage.sas_refusal(cloud, account.name, storage.BLOB_CONTAINER, "a/b", sas, "r") == ""


def test_state__of_a_cloud_that_ran__is_saved_and_taken_up(arm: Caller, azure: Emulator, cloud: Cloud) -> None:
    cloud.live(backends.Serving).echoes = True
    _serve(arm, "blue")
    cloud.save()
    cloud.state(endpoints.Endpoints).by_key.clear()
    assert cloud.load()
    assert arm.get(EP).json()["properties"]["traffic"] == {"blue": 100}
    assert cloud.state(workspaces.Workspaces).default.name == world.WORKSPACE


def test_services__of_a_state_that_is_taken_up__serve_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command does it: the second emulator has the first one's folder, and none of its processes."""
    answers: list[requests.Response] = []
    for number in range(2):
        backend = EchoBackend()
        with Emulator(tmp_path / "state") as azure, requests.Session() as http:
            for name, value in azure.environment().items():
                monkeypatch.setenv(name, value)
            azure.cloud.load()
            azure.cloud.live(backends.Serving).backend = backend
            arm = Caller(http)
            if number == 0:
                _serve(arm, "blue")
            deployments.resume(azure.cloud)
            webservices.resume(azure.cloud)
            key = arm.post(f"{EP}/listKeys").json()["primaryKey"]
            for _ in range(100):
                answers.append(_score(http, key))
                if answers[-1].status_code != 503:
                    break
            azure.cloud.save()
            backend.close()
    assert answers[-1].status_code == 200
    assert answers[-1].json()["served_by"] == "churn-blue"
