"""The README's workflow on Azure, in the image: a job that signs in by OIDC and reaches Azure through the emulator's proxy alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.azure import world
from tests.azure.backends import Serving
from tests.azure.inference import InferenceServer
from tests.azure.server import Emulator
from tests.container.checkout import CERTIFICATES
from tests.container.engine import GATEWAY
from tests.container.runner import Job, StepResult
from tests.integration.azure.store.models import Shelf
from tests.integration.azure.test_web_service_serving import ROWS, predict, trained

__all__ = ["trained"]

# Full mlflow, which trains the models here, warns while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = f"""\
subscription-id: {world.SUBSCRIPTION_ID}
resource-group: {world.RESOURCE_GROUP}
workspace-name: {world.WORKSPACE}
service-name: churn
compute: {{name: aks-mlflow, create: true}}
"""
SIGN_IN = {"client-id": world.CLIENT_ID, "tenant-id": world.TENANT_ID}


@pytest.fixture(scope="module")
def azure() -> Iterator[Emulator]:
    """What is not Azure's passes: packages come from where they always come from."""
    is_no_cloud = re.compile(r"azure|microsoft|windows|github")
    with Emulator(host="0.0.0.0", passes=lambda host: is_no_cloud.search(host) is None) as emulator:
        emulator.cloud.live(Serving).backend = InferenceServer()
        yield emulator
        emulator.cloud.live(Serving).close()


@pytest.fixture
def azure_job(job: Job, azure: Emulator) -> Job:
    job.workspace.mkdir(parents=True)
    (job.workspace / "mlaz-ci.yml").write_text(CONFIG)
    (job.workspace / "request.json").write_text(json.dumps({"input_data": ROWS}))
    known = Path(CERTIFICATES["SSL_CERT_FILE"]).read_text()
    (job.workspace / "certificates.pem").write_text(known + azure.ca_file.read_text())
    return job


def run(job: Job, image: str, azure: Emulator, **inputs: str) -> StepResult:
    proxy = f"http://{GATEWAY}:{azure.port}"
    certificates = "/github/workspace/certificates.pem"
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), proxy)
    trust = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), certificates)
    oidc = {name: value for name, value in azure.credentials().items() if name.startswith("ACTIONS_")}
    given = {**SIGN_IN, **{name.replace("_", "-"): value for name, value in inputs.items()}}
    result = job.run_step(image, given, env={**proxies, **trust, **oidc}, timeout_s=600)
    assert result.exit_code == 0, result.explain()
    return result


@pytest.mark.parametrize("target", ["aci", "aks", "managed"])
def test_readme__workflow_on_azure__deploys_changes_and_cleans_up(
    target: str, azure_job: Job, image: str, azure: Emulator, trained: dict[str, Path]
) -> None:
    shelf = Shelf(azure.cloud)
    runs = {}
    for name in ("first", "second"):
        folder = trained[name]
        files = {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
        runs[name] = shelf.log_model(files=files).id

    first = run(azure_job, image, azure, target=target, run_id=runs["first"])
    assert first.outputs["status"] == "healthy"
    again = run(azure_job, image, azure, target=target, run_id=runs["first"])
    assert (again.outputs["status"], again.outputs["changed"]) == ("unchanged", "false")

    second = run(azure_job, image, azure, target=target, run_id=runs["second"])
    assert (second.outputs["status"], second.outputs["scoring-uri"]) == ("healthy", first.outputs["scoring-uri"])
    invoked = run(azure_job, image, azure, target=target, command="invoke", request_file="request.json")
    body = json.loads(invoked.outputs["result"])["response"]["body"]
    assert json.loads(body) == pytest.approx(predict(trained["second"]))

    cleaned = run(azure_job, image, azure, target=target, command="cleanup")
    assert cleaned.outputs["status"] == "deleted"
    azure.assert_clean()
