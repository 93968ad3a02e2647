"""Answers that were lost after the effect, runs that died, waits that outlive a token: a rerun, or this very run, comes to the same end."""

from __future__ import annotations

import pytest

from mlaz_ci.errors import DeployTimedOut
from mlaz_ci.models import Command, SignIn, Status
from tests.azure import entra, faults, registry, webservices, world
from tests.azure.arm import workspaces
from tests.azure.transitions import after_polls, after_seconds
from tests.integration.azure.conftest import FEDERATED, SECRET, SignInAs
from tests.integration.azure.web_service import SERVICE, Scene

# (method, path) of every request of a first deploy and of an update that changes anything.
CREATING = [
    ("POST", r"/assets$"),
    ("POST", r"/models$"),
    ("PUT", r"/environments/mlaz-ci-"),
    ("POST", r"/batch/metadata"),
    ("PUT", r"/azureml/LocalUpload/.*/main\.py$"),
    ("PUT", r"/azureml/LocalUpload/.*/source\.tar\.gz$"),
    ("POST", r"/services$"),
]
UPDATING = [("POST", r"/models$"), ("PATCH", rf"/services/{SERVICE}$")]
LOST = {
    "reset": faults.Reset(after_effect=True),
    "504": faults.html_error(504, "<html><title>504 Gateway Time-out</title></html>", after_effect=True),
}


def state_of(scene: Scene) -> tuple[list[str], list[str], str]:
    """(services, versions of the model, what is served)."""
    key = scene.cloud.state(workspaces.Workspaces).default.key
    services = [each.name for each in scene.cloud.state(webservices.Services).of(key)]
    container = registry.get(scene.cloud, scene.cloud.state(workspaces.Workspaces).default, "churn")
    versions = list(container.versions) if container else []
    return services, versions, scene.payload["environmentImageRequest"]["modelIds"][0]


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize(("method", "path"), CREATING, ids=[path for _, path in CREATING])
def test_create__answer_lost_after_the_effect__comes_to_the_same_end(
    scene: Scene, method: str, path: str, how: str
) -> None:
    scene.cloud.faults.add(LOST[how], host="*", method=method, path=path, times=1)
    assert scene.deploy().status is Status.HEALTHY
    assert state_of(scene) == ([SERVICE], ["1"], "churn:1")
    assert not scene.cloud.faults.unused()
    assert scene.deploy().status is Status.UNCHANGED


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize(("method", "path"), UPDATING, ids=[path for _, path in UPDATING])
def test_update__answer_lost_after_the_effect__comes_to_the_same_end(
    scene: Scene, method: str, path: str, how: str
) -> None:
    scene.deploy()
    scene.serve("run-2")
    scene.cloud.faults.add(LOST[how], host="*", method=method, path=path, times=1)
    assert scene.deploy().status is Status.HEALTHY
    assert state_of(scene) == ([SERVICE], ["1", "2"], "churn:2")
    assert not scene.cloud.faults.unused()


def test_cleanup__answer_lost_after_the_effect__is_deleted(scene: Scene) -> None:
    scene.deploy()
    scene.cloud.faults.add(faults.Reset(after_effect=True), host="*", method="DELETE", path="/services/", times=1)
    assert scene.run(Command.CLEANUP).status is Status.DELETED
    assert scene.run(Command.STATUS).status is Status.ABSENT


@pytest.mark.parametrize("polls", [1, 5], ids=["soon", "later"])
def test_rerun__of_a_run_that_died_while_it_waited__takes_up_what_was_begun(scene: Scene, polls: int) -> None:
    scene.cloud.scripts.add("mms-create", after_polls(polls, "Running", "Succeeded"), name=SERVICE)
    scene.deploy(wait=False)
    scene.cloud.trace.clear()
    outcome = scene.deploy()
    assert outcome.status is Status.HEALTHY
    assert scene.cloud.trace.find(method="POST", path=r"/services$") == []
    assert state_of(scene) == ([SERVICE], ["1"], "churn:1")


def test_status__of_a_deploy_that_was_not_waited_for__takes_it_to_its_end(scene: Scene) -> None:
    assert scene.deploy(wait=False).status is Status.CREATING
    assert scene.run(Command.STATUS, wait=True, given=("wait",)).status is Status.HEALTHY


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_wait__of_40_minutes__outlives_its_tokens(scene: Scene, sign_in_as: SignInAs, given: SignIn) -> None:
    scene.credential = sign_in_as(given)
    scene.cloud.state(entra.Directory).token_lifetime_s = 900
    scene.cloud.scripts.add("mms-create", after_seconds(2400, "Running", "Succeeded"), name=SERVICE)
    began_s = scene.clock.now_s()
    assert scene.deploy(deadline_s=3600.0).status is Status.HEALTHY
    assert scene.clock.now_s() - began_s > 2400
    assert scene.cloud.trace.find(status=401) == []
    tokens = len(scene.cloud.trace.find(host=entra.HOST, method="POST"))
    assert tokens >= 4
    assert scene.cloud.trace.hosts() <= {
        *(entra.HOST, world.OIDC_HOST, "management.azure.com", f"{world.REGION}.api.azureml.ms"),
        f"{world.STORAGE_ACCOUNT}.blob.core.windows.net",
        *(host for host in scene.cloud.trace.hosts() if host.endswith(".azurecontainer.io")),
    }


def test_wait__longer_than_the_deadline__is_timed_out_and_never_a_success(scene: Scene) -> None:
    scene.cloud.scripts.add("mms-create", after_seconds(9000, "Running", "Succeeded"), name=SERVICE)
    with pytest.raises(DeployTimedOut) as raised:
        scene.deploy()
    assert raised.value.exit_code == 7
    assert "DeployService: Running" in raised.value.what
    assert "Registering the environment." in raised.value.log


def test_wait__of_an_update_longer_than_the_deadline__says_what_puts_it_back_and_that_does(scene: Scene) -> None:
    scene.deploy()
    scene.serve("run-2")
    scene.cloud.scripts.add("mms-update", after_seconds(9000, "Running", "Succeeded"), name=SERVICE)
    with pytest.raises(DeployTimedOut) as raised:
        scene.deploy()
    assert scene.last
    [left] = [each for each in scene.last.failure_of(raised.value).left_behind if each.startswith("Could not put")]
    print(left)
    assert left.endswith("Once Azure is through with it, `command: rollback` does.")
    scene.clock.sleep(9000)
    assert scene.run(Command.STATUS).model_version == "2"
    assert scene.run(Command.ROLLBACK).status is Status.ROLLED_BACK
    assert scene.run(Command.STATUS).model_version == "1"
