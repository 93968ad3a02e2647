"""One workflow, one word changed: the whole program as a step starts it, on all five targets, with services that really run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.identity import CLOUDS, sign_in
from mlaz_ci.models import Cloud
from mlaz_ci.report import OUTPUT_NAMES
from mlaz_ci.serving.surroundings import scrubbed_environment
from tests.azure import world
from tests.azure.backends import Serving
from tests.azure.inference import InferenceServer
from tests.azure.server import Emulator
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.conftest import HOSTED, SECRET
from tests.integration.azure.store.models import Shelf
from tests.integration.azure.test_web_service_serving import ROWS, predict, trained
from tests.integration.azure.web_service import WORKSPACE
from tests.integration.local.conftest import wait_for
from tests.runner_files import parse_file_command

__all__ = ["trained"]

ROOT = Path(__file__).resolve().parents[3]
ENTRYPOINT = "from mlaz_ci.main import run_action; raise SystemExit(run_action())"
TARGETS = ["local", "aci", "aks", "managed", "kubernetes"]
CLUSTER_ID = f"{world.RESOURCE_GROUP_SCOPE}/providers/Microsoft.ContainerService/managedClusters/shared"
CLUSTERS = {"aks": "aks-mlflow", "kubernetes": "k8s"}
# As it was before a test pointed this process at the emulator.
OUTSIDE = dict(os.environ)


@dataclass(frozen=True, kw_only=True)
class Ended:
    exit_code: int
    outputs: Mapping[str, str]
    log: str


@dataclass
class Step:
    """A step of a job that signs in by OIDC, on a runner whose only way out is the emulator's proxy."""

    azure: Emulator
    workspace: Path
    certificates: Path

    def run(self, **inputs: str) -> Ended:
        files = {name: self.workspace / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for path in files.values():
            path.write_text("")
        given = {
            "subscription-id": world.SUBSCRIPTION_ID,
            "resource-group": world.RESOURCE_GROUP,
            "workspace-name": world.WORKSPACE,
            "client-id": world.CLIENT_ID,
            "tenant-id": world.TENANT_ID,
            "service-name": "churn",
            "deadline-minutes": "8",
            **{name.replace("_", "-"): value for name, value in inputs.items()},
        }
        credentials = {name: value for name, value in self.azure.credentials().items() if not name.startswith("AZURE_")}
        environ = {
            **scrubbed_environment(OUTSIDE, home=str(self.workspace / "user")),
            # Wheels that the machine has at hand, beside its index: what builds the emulator's environments asks there too.
            **{name: value for name, value in OUTSIDE.items() if name == "PIP_FIND_LINKS"},
            **self.azure.environment(),
            **credentials,
            "REQUESTS_CA_BUNDLE": str(self.certificates),
            "SSL_CERT_FILE": str(self.certificates),
            "GITHUB_ACTIONS": "true",
            "RUNNER_ENVIRONMENT": "github-hosted",
            "GITHUB_REPOSITORY_ID": "4711",
            "MLAZ_HOME": str(self.workspace / "home"),
            "PYTHONPATH": str(ROOT),
            **{name: str(path) for name, path in files.items()},
            **{f"INPUT_{name.upper()}": value for name, value in given.items()},
        }
        done = subprocess.run(
            [sys.executable, "-c", ENTRYPOINT],
            cwd=self.workspace,
            env=environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        outputs = parse_file_command(files["GITHUB_OUTPUT"].read_text())
        return Ended(exit_code=done.returncode, outputs=outputs, log=done.stdout + done.stderr)


def is_an_index(host: str) -> bool:
    """Where packages come from: nothing that belongs to Azure."""
    return re.search(r"azure|microsoft|windows|github", host) is None


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(passes=is_an_index) as emulator:
        yield emulator


@pytest.fixture
def step(azure: Emulator, tmp_path: Path) -> Iterator[Step]:
    azure.cloud.live(Serving).backend = InferenceServer()
    certificates = azure.write_authorities(tmp_path / "certificates.pem")
    workspace = tmp_path / "workspace"
    (workspace / "user").mkdir(parents=True)
    yield Step(azure, workspace, certificates)
    azure.cloud.live(Serving).close()


@pytest.fixture
def runs(azure: Emulator, trained: dict[str, Path]) -> dict[str, str]:
    """The models as two runs of the workspace logged them: name → run id."""
    shelf = Shelf(azure.cloud)
    found = {}
    for name in ("first", "second"):
        folder = trained[name]
        files = {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
        found[name] = shelf.log_model(files=files).id
    return found


def add_cluster(azure: Emulator, target: str) -> dict[str, str]:
    """A cluster that is attached already; the input that names it."""
    if target not in CLUSTERS:
        return {}
    clock, platform = SystemClock(), RecordingPlatform()
    credential = sign_in(SECRET, {**HOSTED, **azure.credentials()}, Cloud.PUBLIC, clock, platform)
    wire = Wire(credential, clock, deadline_s=clock.now_s() + 60)
    door = WorkspaceDoor(wire, WORKSPACE, CLOUDS[Cloud.PUBLIC])
    kind = {"aks": "AKS", "kubernetes": "Kubernetes"}[target]
    below = f"/computes/{CLUSTERS[target]}"
    properties = {"computeType": kind, "resourceId": CLUSTER_ID, "properties": {}}
    door.arm("PUT", below, doing="attach a cluster", body={"location": world.REGION, "properties": properties})

    def look() -> str:
        told = door.arm("GET", below, doing="look at the cluster").object
        return str(told["properties"]["provisioningState"])

    wait_for(look, lambda state: state == "Succeeded")
    return {"compute": CLUSTERS[target]}


# What a later step reads, whatever the target is.
ALWAYS = {
    "scoring-uri", "service-uri", "swagger-uri", "status", "command", "service-name", "deployment-name", "model-name", "changed", "result",
}  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_workflow__with_one_word_changed__gives_the_same_outputs_and_answers(
    target: str, step: Step, runs: dict[str, str], trained: dict[str, Path]
) -> None:
    common = {"target": target, **add_cluster(step.azure, target)}
    (step.workspace / "request.json").write_text(json.dumps({"input_data": ROWS}))

    first = step.run(run_id=runs["first"], **common)
    assert (first.exit_code, first.outputs.get("status")) == (0, "healthy"), first.log
    assert set(first.outputs) == set(OUTPUT_NAMES)
    assert {name for name in ALWAYS if not first.outputs[name]} == set()
    again = step.run(run_id=runs["first"], **common)
    assert (again.exit_code, again.outputs["status"], again.outputs["changed"]) == (0, "unchanged", "false"), again.log

    invoked = step.run(command="invoke", request_file="request.json", target=target)
    assert (invoked.exit_code, invoked.outputs["status"]) == (0, "invoked"), invoked.log
    assert json.loads(json.loads(invoked.outputs["result"])["response"]["body"]) == pytest.approx(
        predict(trained["first"])
    )

    second = step.run(run_id=runs["second"], **common)
    assert (second.exit_code, second.outputs["status"]) == (0, "healthy"), second.log
    assert second.outputs["scoring-uri"] == first.outputs["scoring-uri"], "the address stays"
    changed = step.run(command="invoke", request_file="request.json", target=target)
    assert json.loads(json.loads(changed.outputs["result"])["response"]["body"]) == pytest.approx(
        predict(trained["second"])
    )

    gone = step.run(command="cleanup", target=target)
    assert (gone.exit_code, gone.outputs["status"]) == (0, "deleted"), gone.log
    assert step.run(command="status", target=target).outputs["status"] == "absent"
