"""Putting back what a service served: with and without its image request in Azure's answer, ours and others'."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlaz_ci.errors import NothingToRollBackTo, ServiceBusy, SmokeTestFailed
from mlaz_ci.models import AzureShape, Command, Status
from tests.azure import faults, mms_shapes, webservices
from tests.azure.arm import workspaces
from tests.azure.messages import Request, Response
from tests.azure.transitions import after_seconds
from tests.integration.azure.web_service import SERVICE, Scene

BROKEN_ANSWER = faults.json_error(500, {"message": "no"})


def hide_image(scene: Scene) -> faults.Rule:
    """From now on a service is told without what it runs, as Azure does where the query's `expand` finds nothing."""

    def answer(request: Request) -> Response:
        workspace = scene.cloud.state(workspaces.Workspaces).default
        service = scene.cloud.state(webservices.Services).get(workspace.key, SERVICE)
        if service is None:
            return Response.json({"code": "NotFound", "statusCode": 404, "message": "no"}, status=404)
        webservices.settle(scene.cloud, service)
        return Response.json(mms_shapes.rendered(scene.cloud, workspace, service, expands=False))

    return scene.cloud.faults.add(
        faults.Answer(response=answer), host="*.azureml.ms", method="GET", path=f"/services/{SERVICE}$", times=None
    )


def image(scene: Scene) -> dict[str, Any]:
    """What runs, without what azureml-core sends beside it and what only Azure adds."""
    told = scene.payload["environmentImageRequest"]
    environment = told["environment"]
    docker, python = environment["docker"], environment["python"]
    return {
        **{name: told[name] for name in ("driverProgram", "assets", "modelIds")},
        "name": environment["name"],
        "version": environment["version"],
        "variables": environment["environmentVariables"],
        "base": docker["baseImage"],
        "conda": python["condaDependencies"],
        "stack": environment["inferencingStackVersion"],
    }


@pytest.mark.parametrize("is_told", [True, False], ids=["image-told", "image-hidden"])
def test_restore__of_ours__is_exact(scene: Scene, is_told: bool) -> None:
    scene.deploy()
    before = image(scene)
    if not is_told:
        hide_image(scene)
    scene.serve("run-2")
    scene.cloud.faults.add(BROKEN_ANSWER, host="*.azurecontainer.io", times=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy()
    assert image(scene) == before
    assert scene.run(Command.STATUS).model_version == "1"


@pytest.mark.parametrize("is_told", [True, False], ids=["image-told", "image-hidden"])
def test_rollback__of_ours__is_exact(scene: Scene, is_told: bool) -> None:
    scene.deploy()
    before = image(scene)
    scene.serve("run-2")
    scene.deploy()
    if not is_told:
        hide_image(scene)
    assert scene.run(Command.ROLLBACK).status is Status.ROLLED_BACK
    assert image(scene) == before


@pytest.mark.parametrize("is_told", [True, False], ids=["image-told", "image-hidden"])
def test_rollback__of_a_deployment_with_variables__takes_them_from_the_service_and_never_from_a_copy(
    scene: Scene, *, is_told: bool
) -> None:
    shape = AzureShape(cpu_cores=0.5, memory_gb=1.0, environment_variables={"TOKEN": "s3cret-value"})
    scene.deploy(shape=shape)
    before = image(scene)
    scene.serve("run-2")
    scene.deploy(shape=shape)
    assert "s3cret-value" not in json.dumps([scene.payload["properties"], scene.payload["kvTags"]])
    if is_told:
        assert scene.run(Command.ROLLBACK).status is Status.ROLLED_BACK
        assert image(scene) == before
        return
    hide_image(scene)
    with pytest.raises(NothingToRollBackTo, match="other environment variables"):
        scene.run(Command.ROLLBACK)


def make_foreign(scene: Scene) -> None:
    """As somebody would have made it by hand: no tag and no property of ours."""
    scene.deploy()
    scene.payload["kvTags"], scene.payload["properties"] = {"by": "hand"}, {}
    scene.payload["environmentImageRequest"]["environment"]["environmentVariables"].pop("MLAZ_SPEC")


def test_restore__of_others__is_exact_where_azure_tells_the_image(scene: Scene) -> None:
    make_foreign(scene)
    before = image(scene)
    scene.serve("run-2")
    scene.cloud.faults.add(BROKEN_ANSWER, host="*.azurecontainer.io", times=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy(take_over=SERVICE)
    assert image(scene) == before
    assert scene.payload["kvTags"] == {"by": "hand"}


def test_restore__of_others_without_image__is_refused_and_said_before_the_first_write(scene: Scene) -> None:
    make_foreign(scene)
    hide_image(scene)
    scene.serve("run-2")
    plan = scene.deploy(take_over=SERVICE, dry_run=True)
    assert plan.status is Status.PLANNED
    scene.cloud.faults.add(BROKEN_ANSWER, host="*.azurecontainer.io", times=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy(take_over=SERVICE)
    assert scene.payload["environmentImageRequest"]["modelIds"] == ["churn:2"]


def test_restore__of_a_service_that_another_run_changed_meanwhile__is_left_to_it(scene: Scene) -> None:
    scene.deploy()
    scene.serve("run-2")

    def answer(request: Request) -> Response:
        scene.payload["kvTags"]["mlaz-deployment"] = "g7"
        return Response.json({"message": "no"}, status=500)

    scene.cloud.faults.add(faults.Answer(response=answer), host="*.azurecontainer.io", times=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy()
    assert scene.payload["environmentImageRequest"]["modelIds"] == ["churn:2"]
    assert any("was changed by another run meanwhile" in line for line in scene.platform.lines)


@pytest.mark.parametrize("first", [True, False], ids=["while-created", "while-updated"])
def test_deploy__of_another_model_while_a_run_is_at_it__is_busy_and_harms_nothing(scene: Scene, *, first: bool) -> None:
    if not first:
        scene.deploy()
        scene.serve("run-2")
    kind = "mms-create" if first else "mms-update"
    scene.cloud.scripts.add(kind, after_seconds(300, "Running", "Succeeded"), name=SERVICE)
    scene.deploy(wait=False)
    before = image(scene)
    scene.serve("run-3")
    with pytest.raises(ServiceBusy) as raised:
        scene.deploy()
    assert (raised.value.exit_code, raised.value.retryable) == (5, True)
    assert image(scene) == before
    scene.clock.sleep(600)
    assert scene.run(Command.STATUS).status is Status.HEALTHY
    assert image(scene) == before


def test_rollback__where_nothing_served_before__says_so(scene: Scene) -> None:
    scene.deploy()
    with pytest.raises(NothingToRollBackTo):
        scene.run(Command.ROLLBACK)
