"""Fifty clients at once in every room, each with a principal's token of its own: no error is the emulator's."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

from tests.azure import backends, storage, world
from tests.azure.arm import quotas
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import WORKSPACE, Caller, deployment_body, endpoint_body

CLIENTS, REQUESTS = 50, 2_000
REGIONAL = f"https://{world.REGION}.api.azureml.ms"
MMS = f"{REGIONAL}/modelmanagement/v1.0{WORKSPACE}"
MLFLOW = f"{REGIONAL}/mlflow/v2.0{WORKSPACE}/api/2.0/mlflow"
ARTIFACTS = f"{REGIONAL}/artifact/v2.0{WORKSPACE}/artifacts"
GITHUB = f"https://api.github.com/repos/{world.GITHUB_REPOSITORY}"


class Client:
    """One client's round of all rooms; `met` counts the statuses of its answers."""

    def __init__(self, number: int, sas: str) -> None:
        self.name, self.sas = f"churn-{number}", sas
        self.met: Counter[int] = Counter()
        self.http = requests.Session()
        self.http.hooks["response"].append(lambda answer, *_, **__: self.met.update([answer.status_code]))

    def ask(self, method: str, url: str, body: Any = None, **headers: str) -> requests.Response:
        return self.http.request(method, url, json=body, headers={**self.arm.headers, **headers}, timeout=120)

    def run(self) -> Counter[int]:
        with self.http:
            self.arm = Caller(self.http)
            for part in (self.serve, self.upload, self.track, self.deploy_v1, self.comment):
                part()
        return self.met

    def serve(self) -> None:
        endpoint = f"/onlineEndpoints/{self.name}"
        self.arm.made(endpoint, endpoint_body())
        self.arm.made(f"{endpoint}/deployments/blue", deployment_body(instanceType="Standard_DS1_v2"))
        self.arm.made(endpoint, endpoint_body(traffic={"blue": 100}))
        key = self.arm.post(f"{endpoint}/listKeys").json()["primaryKey"]
        for number in range(3):
            url = f"https://{self.name}.{world.REGION}.inference.ml.azure.com/score"
            asked = {"client": self.name, "number": number}
            assert self.ask("POST", url, asked, Authorization=f"Bearer {key}").json() == asked
        self.arm.post(f"{endpoint}/deployments/blue/getLogs", {"tail": 5})
        self.arm.get("/onlineEndpoints")
        self.arm.made(endpoint, endpoint_body(traffic={}))
        self.arm.settle(self.arm.delete(endpoint))

    def upload(self) -> None:
        blob = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{storage.BLOB_CONTAINER}/{self.name}?{self.sas}"
        content = self.name.encode() * 1000
        self.http.put(blob, data=content, headers={"x-ms-blob-type": "BlockBlob"}, timeout=120)
        assert self.http.get(blob, timeout=120).content == content
        self.ask("POST", f"{ARTIFACTS}/batch/metadata/LocalUpload/{self.name}", {"paths": [{"path": "a"}]})

    def track(self) -> None:
        run = self.ask("POST", f"{MLFLOW}/runs/create", {"experiment_id": "0"}).json()["run"]["info"]["run_id"]
        for step in range(3):
            metric = {"run_id": run, "key": "m", "value": step, "timestamp": step, "step": step}
            self.ask("POST", f"{MLFLOW}/runs/log-metric", metric)
        told = self.ask("GET", f"{MLFLOW}/runs/get?run_id={run}").json()["run"]["data"]["metrics"]
        assert [(one["key"], one["value"]) for one in told] == [("m", 2.0)]
        self.ask("POST", f"{MLFLOW}/registered-models/create", {"name": self.name})
        self.ask("GET", f"{MMS}/models?name={self.name}")

    def deploy_v1(self) -> None:
        image = {"driverProgram": "d", "assets": [], "modelIds": [], "environment": {"name": "e"}}
        body = {"name": self.name, "computeType": "ACI", "environmentImageRequest": image}
        for begun in (self.ask("POST", f"{MMS}/services", body), self.ask("DELETE", f"{MMS}/services/{self.name}")):
            state = ""
            while state not in {"Succeeded", "Failed", "Cancelled"}:
                state = self.ask("GET", begun.headers["Operation-Location"]).json()["state"]
        self.ask("GET", f"{MMS}/services?expand=true")

    def comment(self) -> None:
        headers = {"Authorization": f"Bearer {world.GITHUB_TOKEN}"}
        url = f"{GITHUB}/issues/1/comments"
        assert self.http.post(url, json={"body": self.name}, headers=headers, timeout=120).status_code == 201
        self.http.get(url, headers=headers, timeout=120)


def test_rooms__fifty_clients_and_two_thousand_requests__without_an_error_of_their_own(
    azure: Emulator, cloud: Cloud
) -> None:
    from tests.azure import github

    cloud.live(backends.Serving).echoes = True
    cloud.state(quotas.Quotas).limits[world.REGION, "standardDSv2Family"] = 1000
    cloud.state(github.GitHub).add_pull(cloud, 1)
    sas = storage.issue_sas(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, permissions="racwdl")
    with ThreadPoolExecutor(CLIENTS) as pool:
        met = sum(pool.map(lambda number: Client(number, sas).run(), range(CLIENTS)), Counter[int]())
    assert met.total() >= REQUESTS
    assert set(met) <= {200, 201, 202, 204}, json.dumps(met)
    assert cloud.failures == ()
    assert cloud.trace.most_concurrent >= 10
