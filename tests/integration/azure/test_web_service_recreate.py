"""A service that is deleted to be made anew: what comes back when the new one fails, and what the error says when nothing does."""

from __future__ import annotations

from typing import Any

import pytest

from mlaz_ci.errors import ServiceFailed, SmokeTestFailed
from mlaz_ci.models import AuthMode, AzureShape, Command, OnFailure, Status, Target
from tests.azure import faults, mms_errors, webservices, world
from tests.integration.azure.test_web_service_restore import hide_image, image
from tests.integration.azure.web_service import CLUSTER, SERVICE, Scene

BROKEN_ANSWER = faults.json_error(500, {"message": "no"})
SMALL = AzureShape(cpu_cores=0.5, memory_gb=1.0, auth=AuthMode.KEY, raw={"dns_name_label": "churn-label"})
LARGE = AzureShape(cpu_cores=1.0, memory_gb=2.0, auth=AuthMode.KEY, raw={"dns_name_label": "churn-label"})


def keys(scene: Scene) -> dict[str, str]:
    [service] = scene.cloud.state(webservices.Services).by_key.values()
    return dict(service.keys)


def asked_for(scene: Scene) -> dict[str, Any]:
    """What the service was made with, but its image. A region that nobody named is told as the workspace's."""
    left_out = {"environmentImageRequest", "keys"}
    kept = {name: value for name, value in scene.payload.items() if name not in left_out and value}
    return {**kept, "location": kept.get("location", world.REGION)}


def left_behind(scene: Scene, error: Any) -> str:
    assert scene.last
    return "\n".join(scene.last.failure_of(error).left_behind)


@pytest.mark.parametrize("is_told", [True, False], ids=["image-told", "image-hidden"])
def test_recreate__new_one_fails_its_smoke_test__the_old_is_made_anew_with_its_keys_and_label(
    scene: Scene, *, is_told: bool
) -> None:
    first = scene.deploy(shape=SMALL)
    before = (asked_for(scene), image(scene), keys(scene))
    if not is_told:
        hide_image(scene)
    scene.serve("run-2")
    scene.cloud.faults.add(BROKEN_ANSWER, host="*.azurecontainer.io", times=1)
    with pytest.raises(SmokeTestFailed) as raised:
        scene.deploy(shape=LARGE, allow_recreate=True)
    assert (asked_for(scene), image(scene), keys(scene)) == before
    assert f'made anew as it was, with deployment "g1"; it answers at {first.scoring_uri}' in left_behind(
        scene, raised.value
    )
    status = scene.run(Command.STATUS)
    assert (status.status, status.model_version, status.scoring_uri) == (Status.HEALTHY, "1", first.scoring_uri)
    assert not [value for value in before[2].values() if value in scene.platform.text]
    scene.store.model = scene.log_run("run-1")
    assert scene.deploy(shape=SMALL).status is Status.UNCHANGED


def test_recreate__new_one_is_refused__the_old_is_made_anew(scene: Scene) -> None:
    scene.deploy(shape=SMALL)
    scene.cloud.faults.add(
        faults.json_error(400, {"code": "BadRequest", "message": "no"}), method="POST", path=r"/services$", times=1
    )
    with pytest.raises(Exception, match="no"):
        scene.deploy(shape=LARGE, allow_recreate=True)
    assert scene.payload["containerResourceRequirements"]["cpu"] == 0.5
    assert scene.run(Command.STATUS).status is Status.HEALTHY


def test_recreate__answer_to_the_new_beginning_is_lost__it_is_made_once(scene: Scene) -> None:
    scene.deploy(shape=SMALL)
    scene.cloud.faults.add(BROKEN_ANSWER, host="*.azurecontainer.io", times=1)
    lost = faults.Answer(response=faults.json_error(503, {}).response, after_effect=True)
    scene.cloud.faults.add(lost, method="POST", path=r"/services$", times=1, skip=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy(shape=LARGE, allow_recreate=True)
    assert scene.run(Command.STATUS).status is Status.HEALTHY
    assert scene.payload["containerResourceRequirements"]["cpu"] == 0.5


def test_recreate__on_aks__the_old_is_made_anew_at_its_address(scene: Scene) -> None:
    scene.add_cluster()
    scene.add_cluster("aks-other")
    raw = {"autoscale_enabled": True, "autoscale_max_replicas": 3, "namespace": "team-a"}
    at = {"target": Target.AKS, "shape": AzureShape(compute=CLUSTER, cpu_cores=0.5, raw=raw)}
    first = scene.deploy(**at)
    before = (asked_for(scene), image(scene), keys(scene))
    mms_errors.provoke(scene.cloud, "aks-crashloop", service=SERVICE, log="Traceback: boom\n")
    with pytest.raises(ServiceFailed):
        scene.deploy(target=Target.AKS, shape=AzureShape(compute="aks-other"), allow_recreate=True)
    assert (asked_for(scene), image(scene), keys(scene)) == before
    assert scene.run(Command.STATUS, **at).scoring_uri == first.scoring_uri


def test_recreate__the_old_cannot_be_made_anew_either__the_error_says_what_is_gone_and_how_to_get_it_back(
    scene: Scene,
) -> None:
    first = scene.deploy(shape=SMALL)
    refusal = faults.json_error(400, {"code": "BadRequest", "message": "no room"})
    scene.cloud.faults.add(refusal, method="POST", path=r"/services$", times=2)
    with pytest.raises(Exception, match="no room") as raised:
        scene.deploy(shape=LARGE, allow_recreate=True)
    told = left_behind(scene, raised.value)
    assert 'Could not put deployment "g1"' in told
    assert (
        f'Service "{SERVICE}" is gone: it was deleted to be made anew. It served churn/1 at {first.scoring_uri}. '
        "To have it back, deploy `model-uri: models:/churn/1` with what it had (cpu-cores: 0.5, memory-gb: 1.0, location: eastus)"
    ) in told


def test_recreate__on_failure_keep__says_what_is_gone(scene: Scene) -> None:
    scene.deploy(shape=SMALL)
    scene.cloud.faults.add(BROKEN_ANSWER, host="*.azurecontainer.io", times=1)
    with pytest.raises(SmokeTestFailed) as raised:
        scene.deploy(shape=LARGE, allow_recreate=True, on_failure=OnFailure.KEEP)
    assert "It served churn/1 at" in left_behind(scene, raised.value)
    assert scene.payload["containerResourceRequirements"]["cpu"] == 1.0


def test_recreate__planned__says_what_changes_before_anything_does(scene: Scene) -> None:
    scene.deploy(shape=SMALL)
    outcome = scene.deploy(shape=LARGE, allow_recreate=True, dry_run=True)
    assert outcome.status is Status.PLANNED
    assert [each for each in outcome.plan if "anew" in each] == [f'delete service "{SERVICE}", to make it anew']
    [note] = [each for each in outcome.notes if "created anew" in each]
    assert "its URL, IP address and keys change" in note
    assert "If the new one fails, the old one is made anew as it was" in note
