"""ACI from the first deploy to its cleanup: what is made, what stays, what it costs."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.errors import (
    ContainerCrashed,
    ModelPathNotFound,
    NotOurs,
    RecreateNotAllowed,
    ServiceFailed,
    SmokeTestFailed,
)
from mlaz_ci.models import (
    AuthMode,
    AzureShape,
    Command,
    ComputeName,
    ModelVersionName,
    OnFailure,
    Secret,
    ServiceState,
    SmokeTest,
    Status,
)
from mlaz_ci.ports import Resolution
from tests.azure import environments, faults, mms_errors, registry, webservices, world
from tests.azure.arm import workspaces
from tests.azure.transitions import after_polls
from tests.fakes.packages import SHELF
from tests.fakes.resolver import FakeResolver
from tests.integration.azure.web_service import SERVICE, Scene

SCORING_HOST = "*.azurecontainer.io"
BROKEN_ANSWER = faults.json_error(500, {"message": "no"})


def versions_of(scene: Scene, name: str = "churn") -> list[str]:
    container = registry.get(scene.cloud, scene.cloud.state(workspaces.Workspaces).default, name)
    return list(container.versions) if container else []


def told(scene: Scene) -> dict[str, Any]:
    """The service without what Azure keeps for ever (properties), and without what it takes and never tells."""
    kept = copy.deepcopy({name: value for name, value in scene.payload.items() if name != "properties"})
    for member in ("databricks", "assetId"):
        kept["environmentImageRequest"]["environment"].pop(member, None)
    return kept


def fail_update(scene: Scene) -> None:
    stages = after_polls(1, "Running", "Failed", error=mms_errors.crash("ACI", SERVICE))
    scene.cloud.scripts.add("mms-update", stages, name=SERVICE, extra={"log": "Traceback: no module named numpy\n"})


def test_deploy__first__is_made_by_reference_within_its_requests_and_bytes(scene: Scene) -> None:
    outcome = scene.deploy()
    assert (outcome.status, outcome.model_version, outcome.changed) == (Status.HEALTHY, "1", True)
    assert outcome.service
    assert outcome.service.state is ServiceState.HEALTHY
    assert outcome.scoring_uri
    assert outcome.scoring_uri.endswith(".eastus.azurecontainer.io/score")
    assert outcome.studio_url == (
        f"https://ml.azure.com/endpoints/realtime/{SERVICE}/detail?wsid={world.WORKSPACE_SCOPE}&tid={world.TENANT_ID}"
    )
    sent = scene.sent()
    moved = sum(each.request_bytes + each.response_bytes for each in sent)
    print(f"first deploy: {len(sent)} requests, {moved} bytes")
    assert len(sent) <= 40
    assert moved <= 1_000_000
    assert not [each for each in sent if each.method == "PUT" and "model.pkl" in each.path]


class LongLocks(FakeResolver):
    """Locks of 200 KB, as those of scikit-learn and the inference server are: a hash for every file of every package."""

    def resolve(self, requirements: Sequence[str], **options: Any) -> Resolution:
        resolution = super().resolve(requirements, **options)
        if resolution.text is None:
            return resolution
        hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2_400)]
        more = "".join(f" \\\n    --hash=sha256:{each}" for each in hashes)
        return replace(resolution, text=resolution.text.removesuffix("\n") + more + "\n")


def test_deploy__model_of_200_mb_in_the_workspace__none_of_it_passes_through_here(scene: Scene) -> None:
    files = {"MLmodel": b"flavors: {}", "model.pkl": bytes(200_000_000)}
    scene.store.model = scene.log_run("run-large", files)
    scene.resolver = LongLocks(SHELF)
    scene.deploy()
    moved = sum(each.request_bytes + each.response_bytes for each in scene.cloud.trace.find())
    print(f"200 MB in the workspace: {len(scene.sent())} requests, {moved} bytes")
    # The lock goes out as an environment, which Azure tells again, and with the service. As an artifact of the run it goes once more.
    assert 500_000 <= moved <= 1_000_000 - 210_000


def test_deploy__again_unchanged__asks_little_and_writes_nothing(scene: Scene) -> None:
    scene.deploy()
    scene.cloud.trace.clear()
    outcome = scene.deploy()
    assert (outcome.status, outcome.changed, outcome.mutations) == (Status.UNCHANGED, False, ())
    print(f"unchanged: {len(scene.sent())} requests")
    assert len(scene.cloud.trace.find()) <= 24
    assert {each.method for each in scene.sent() if "login" not in each.host} == {"GET"}


def test_deploy__another_model__is_changed_in_place_and_keeps_its_uri(scene: Scene) -> None:
    before = scene.deploy()
    scene.serve("run-2")
    outcome = scene.deploy()
    assert outcome.status is Status.HEALTHY
    assert (outcome.model_version, outcome.previous_model_version) == ("2", "1")
    assert outcome.scoring_uri == before.scoring_uri
    assert outcome.deployment_name == "g2"
    assert scene.payload["environmentImageRequest"]["modelIds"] == ["churn:2"]
    assert scene.payload["kvTags"]["team"] == "growth"
    assert scene.payload["kvTags"]["mlaz-model-version"] == "2"


def test_deploy__foreign_tags_and_properties__stay(scene: Scene) -> None:
    scene.deploy()
    scene.payload["kvTags"]["cost-center"] = "42"
    scene.payload["properties"]["hasInferenceSchema"] = "False"
    scene.serve("run-2")
    scene.deploy()
    assert scene.payload["kvTags"]["cost-center"] == "42"
    assert scene.payload["properties"]["hasInferenceSchema"] == "False"


def test_deploy__update_fails__what_served_is_put_back_exactly(scene: Scene) -> None:
    scene.deploy()
    before = told(scene)
    scene.serve("run-2")
    fail_update(scene)
    with pytest.raises(ServiceFailed) as raised:
        scene.deploy()
    assert raised.value.upstream_code == "CrashLoopBackOff"
    assert "Traceback: no module named numpy" in raised.value.log
    assert told(scene) == before
    assert scene.run(Command.STATUS).model_version == "1"
    scene.store.model = scene.log_run("run-1")
    assert scene.deploy().status is Status.UNCHANGED


def test_deploy__smoke_test_fails_after_an_update__what_served_is_put_back(scene: Scene) -> None:
    scene.deploy()
    scene.serve("run-2")
    scene.cloud.faults.add(BROKEN_ANSWER, host=SCORING_HOST, times=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy()
    status = scene.run(Command.STATUS)
    assert (status.status, status.model_version) == (Status.HEALTHY, "1")


def test_deploy__smoke_test_fails_at_first__nothing_is_left_but_the_model(scene: Scene) -> None:
    scene.cloud.faults.add(BROKEN_ANSWER, host=SCORING_HOST, times=1)
    with pytest.raises(SmokeTestFailed):
        scene.deploy()
    assert scene.run(Command.STATUS).status is Status.ABSENT
    assert versions_of(scene) == ["1"]


def test_deploy__creation_fails__is_deleted_with_its_log_told(scene: Scene) -> None:
    log = "Traceback: boom\nModuleNotFoundError: No module named 'churn_features'\n"
    mms_errors.provoke(scene.cloud, "aci-crashloop", service=SERVICE, log=log)
    with pytest.raises(ContainerCrashed) as raised:
        scene.deploy()
    assert "Traceback: boom" in raised.value.log
    assert raised.value.cause_text == "The model needs the module churn_features, which is not in its requirements."
    assert "extra_pip_requirements" in raised.value.remedy_text
    assert raised.value.what.count("Your container application crashed.") == 1
    assert raised.value.what.endswith("· CrashLoopBackOff")
    assert scene.run(Command.STATUS).status is Status.ABSENT
    assert scene.deploy().status is Status.HEALTHY


def test_deploy__on_failure_keep__leaves_the_failed_service(scene: Scene) -> None:
    mms_errors.provoke(scene.cloud, "aci-crashloop", service=SERVICE)
    with pytest.raises(ServiceFailed):
        scene.deploy(on_failure=OnFailure.KEEP)
    assert scene.run(Command.STATUS).status is Status.FAILED
    scene.run(Command.CLEANUP)
    scene.cloud.faults.add(BROKEN_ANSWER, host=SCORING_HOST, times=1)
    with pytest.raises(SmokeTestFailed) as raised:
        scene.deploy(on_failure=OnFailure.KEEP)
    assert "traffic stays" not in raised.value.remedy_text
    assert scene.last
    left = scene.last.failure_of(raised.value).left_behind
    assert left == (f"{SERVICE}/g1 was kept (`on-failure: keep`): it is all that the service's callers reach.",)
    mms_errors.provoke(scene.cloud, "aci-crashloop", service=SERVICE)
    scene.run(Command.CLEANUP)
    with pytest.raises(ServiceFailed):
        scene.deploy(on_failure=OnFailure.KEEP)
    # What never served is made anew by the next deploy.
    assert scene.deploy().status is Status.HEALTHY


def test_deploy__build_fails__tells_the_log_of_the_build_and_shows_no_signature(scene: Scene) -> None:
    mms_errors.provoke(scene.cloud, "env-build-failed", service=SERVICE, log="ERROR: no matching distribution\n")
    with pytest.raises(ServiceFailed) as raised:
        scene.deploy()
    assert "ERROR: no matching distribution" in raised.value.log
    assert "sig=" not in scene.platform.text + raised.value.log + str(raised.value)


def test_deploy__azures_own_log__stands_in_a_folded_group_alone(scene: Scene) -> None:
    scene.deploy()
    assert f"Azure's own log of {SERVICE}" in scene.platform.groups
    assert any("Submitting deployment to compute." in line for line in scene.platform.lines)
    assert not any("Submitting" in text for _, _, text in scene.platform.annotations)


def test_deploy__service_of_others__is_refused_until_it_is_taken_over(scene: Scene) -> None:
    scene.deploy(owner="somebody-else")
    with pytest.raises(NotOurs):
        scene.deploy()
    with pytest.raises(NotOurs):
        scene.run(Command.CLEANUP)
    assert scene.deploy(take_over=SERVICE).status is Status.HEALTHY
    assert scene.payload["kvTags"]["mlaz-owner"] == "repo:1"
    assert scene.deploy().status is Status.UNCHANGED


def test_deploy__tags_dropped_by_another_tool__the_service_is_still_ours(scene: Scene) -> None:
    scene.deploy()
    scene.payload["kvTags"] = {}
    assert scene.deploy().status is Status.UNCHANGED


def test_deploy__image_changed_by_others__is_not_taken_for_unchanged(scene: Scene) -> None:
    scene.deploy()
    scene.payload["environmentImageRequest"]["environment"]["environmentVariables"].pop("MLAZ_SPEC")
    assert scene.deploy().status is Status.HEALTHY


@pytest.mark.parametrize(
    ("shape", "clause"),
    [
        (AzureShape(cpu_cores=1.0, memory_gb=1.0), "its `cpu-cores` is 0.5, not 1.0"),
        (AzureShape(cpu_cores=0.5, memory_gb=1.0, location="westeurope"), "its `location` is eastus, not westeurope"),
        (AzureShape(cpu_cores=0.5, raw={"dns_name_label": "churn-label"}), "`dns_name_label`"),
    ],
    ids=["cpu", "location", "dns"],
)
def test_deploy__what_azure_never_changes__needs_consent(scene: Scene, shape: AzureShape, clause: str) -> None:
    before = scene.deploy()
    scene.cloud.trace.clear()
    with pytest.raises(RecreateNotAllowed) as raised:
        scene.deploy(shape=shape)
    assert raised.value.exit_code == 5
    assert clause in raised.value.what
    assert before.scoring_uri
    assert before.scoring_uri in raised.value.what
    assert {each.method for each in scene.sent() if "login" not in each.host} == {"GET"}
    outcome = scene.deploy(shape=shape, allow_recreate=True)
    assert (outcome.status, outcome.scoring_uri == before.scoring_uri) == (Status.HEALTHY, False)


def test_rollback__to_the_model_before__and_back_again(scene: Scene) -> None:
    first = scene.deploy()
    scene.serve("run-2")
    scene.deploy()
    outcome = scene.run(Command.ROLLBACK)
    assert (outcome.status, outcome.scoring_uri) == (Status.ROLLED_BACK, first.scoring_uri)
    assert scene.payload["environmentImageRequest"]["modelIds"] == ["churn:1"]
    assert scene.payload["environmentImageRequest"]["environment"]["name"].startswith("mlaz-ci-")
    assert scene.run(Command.STATUS).model_version == "1"
    assert scene.run(Command.ROLLBACK).status is Status.ROLLED_BACK
    assert scene.run(Command.STATUS).model_version == "2"


def test_rollback__after_a_failure_that_was_kept__goes_back_past_it(scene: Scene) -> None:
    scene.deploy()
    scene.serve("run-2")
    fail_update(scene)
    with pytest.raises(ServiceFailed):
        scene.deploy(on_failure=OnFailure.KEEP)
    assert scene.run(Command.STATUS).status is Status.FAILED
    scene.serve("run-3")
    scene.cloud.trace.clear()
    assert scene.deploy().model_version == "3"
    # It served before, so that making it anew would take an address from its callers without their consent.
    assert scene.cloud.trace.find(method="DELETE") == []
    assert scene.run(Command.ROLLBACK).status is Status.ROLLED_BACK
    assert scene.run(Command.STATUS).model_version == "1"


def test_cleanup__leaves_nothing_but_what_services_share(scene: Scene) -> None:
    scene.deploy()
    outcome = scene.run(Command.CLEANUP)
    assert (outcome.status, [each.what for each in outcome.mutations]) == (Status.DELETED, ["deleted"])
    assert list(scene.cloud.state(webservices.Services).by_key) == []
    assert versions_of(scene) == ["1"]
    assert len(scene.cloud.state(environments.Environments).by_name) == 1
    assert scene.run(Command.CLEANUP).status is Status.ABSENT


def test_cleanup__model_version_asked_for_by_name__goes_too(scene: Scene) -> None:
    scene.deploy()
    also = (ModelVersionName(name="churn", version="1"), ComputeName(name="no-such", keeps_resource=True))
    outcome = scene.run(Command.CLEANUP, also_delete=also)
    assert versions_of(scene) == []
    assert "There was no compute no-such." in outcome.notes


def test_cleanup__model_version_of_others__is_left_with_exit_5_and_deleted_where_it_is_named(scene: Scene) -> None:
    scene.deploy()
    also = (ModelVersionName(name="churn", version="1"),)
    with pytest.raises(NotOurs, match="Version 1 of the model churn belongs to") as raised:
        scene.run(Command.CLEANUP, also_delete=also, owner="repo:2", take_over=SERVICE)
    assert "take-over: models:/churn/1" in raised.value.remedy_text
    assert versions_of(scene) == ["1"]
    scene.run(Command.CLEANUP, also_delete=also, owner="repo:2", take_over="models:/churn/1")
    assert versions_of(scene) == []
    assert scene.run(Command.CLEANUP, also_delete=also).status is Status.ABSENT


def test_deploy__same_run_again__is_registered_once(scene: Scene) -> None:
    scene.deploy()
    scene.run(Command.CLEANUP)
    scene.cloud.trace.clear()
    outcome = scene.deploy()
    assert (outcome.model_version, versions_of(scene)) == ("1", ["1"])
    assert scene.cloud.trace.find(method="POST", path=r"/models$") == []
    assert [each.what for each in outcome.mutations] == ["created"]
    assert "The model was registered before, as churn/1; that version is reused." in outcome.notes


def test_deploy__other_tags_of_the_user__land_on_service_and_reused_model_beside_those_of_others(scene: Scene) -> None:
    scene.deploy()
    scene.run(Command.CLEANUP)
    container = registry.get(scene.cloud, scene.cloud.state(workspaces.Workspaces).default, "churn")
    assert container
    tags = container.versions["1"].properties["tags"]
    tags["approved-by"] = "risk"
    scene.deploy(tags={"team": "retention", "tier": "gold"})
    told = container.versions["1"].properties["tags"]
    assert (told["team"], told["tier"], told["approved-by"]) == ("retention", "gold", "risk")
    assert (scene.payload["kvTags"]["team"], scene.payload["kvTags"]["tier"]) == ("retention", "gold")


def test_deploy__model_that_others_registered__is_reused_and_left_as_it_is(scene: Scene) -> None:
    scene.deploy(owner="somebody-else")
    scene.run(Command.CLEANUP, owner="somebody-else")
    scene.cloud.trace.clear()
    outcome = scene.deploy(tags={"team": "retention"})
    assert (outcome.model_version, versions_of(scene)) == ("1", ["1"])
    assert scene.cloud.trace.find(method="PATCH", path=r"/models/") == []
    assert any("registered by others" in line for line in scene.platform.lines)


def test_deploy__model_says_where_it_came_from(scene: Scene) -> None:
    scene.deploy()
    [model] = scene.bodies("POST", r"/models$")
    assert model["runId"] == "run-1"
    assert model["kvTags"] == {
        "managed-by": "mlaz-ci",
        "mlaz-model": "churn",
        "mlaz-owner": "repo:1",
        "team": "growth",
    }
    assert model["properties"] == {"mlaz-source": "runs:/run-1/model", "mlaz-digest": "digest of run-1"}
    [asset] = scene.bodies("POST", r"/assets$")
    assert asset["artifacts"] == [{"prefix": "ExperimentRun/dcid.run-1/model"}]


def test_deploy__run_without_the_model__registers_nothing(scene: Scene) -> None:
    scene.store.model = replace(scene.store.model, artifact_uri="runs:/run-1/other")
    with pytest.raises(ModelPathNotFound):
        scene.deploy()
    assert versions_of(scene) == []


def test_deploy__registered_version__is_used_by_its_name(scene: Scene) -> None:
    scene.deploy()
    scene.run(Command.CLEANUP)
    scene.cloud.trace.clear()
    scene.store.model = replace(scene.store.model, version="1", artifact_uri="models:/churn/1", run_id=None)
    assert scene.deploy().model_version == "1"
    assert scene.cloud.trace.find(method="POST", path=r"/(models|assets)$") == []


def test_deploy__keys_from_the_section__are_set_and_never_shown(scene: Scene) -> None:
    raw = {"primary_key": Secret("first-key-of-many"), "secondary_key": Secret("second-key-of-many")}
    shape = AzureShape(cpu_cores=0.5, memory_gb=1.0, auth=AuthMode.KEY, raw=raw)
    assert scene.deploy(shape=shape).status is Status.HEALTHY
    service = next(iter(scene.cloud.state(webservices.Services).by_key.values()))
    assert service.keys == {"primaryKey": "first-key-of-many", "secondaryKey": "second-key-of-many"}
    changed = replace(shape, raw={**raw, "primary_key": Secret("another-key-of-many")})
    assert scene.deploy(shape=changed).status is Status.HEALTHY
    assert service.keys["primaryKey"] == "another-key-of-many"
    assert "key-of-many" not in scene.platform.text
    # Keys are the service's, not a deployment's: a rollback needs no copy of them, and there is none.
    assert scene.run(Command.ROLLBACK).status is Status.ROLLED_BACK
    assert service.keys["primaryKey"] == "another-key-of-many"
    assert not [name for name, value in scene.payload.items() if name != "keys" and "key-of-many" in json.dumps(value)]
    assert [title for _, title, _ in scene.platform.annotations].count("key-in-clear") == 3


def test_invoke__of_a_service_with_keys__uses_the_key_and_tells_it_to_nobody(scene: Scene, tmp_path: Path) -> None:
    scene.deploy(shape=AzureShape(cpu_cores=0.5, memory_gb=1.0, auth=AuthMode.KEY))
    file = tmp_path / "rows.json"
    file.write_text('{"input_data": [[1]]}')
    scene.cloud.trace.clear()
    outcome = scene.run(Command.INVOKE, request_file=file)
    assert outcome.response
    assert outcome.response.body == b'{"input_data": [[1]]}'
    service = next(iter(scene.cloud.state(webservices.Services).by_key.values()))
    [call] = scene.cloud.trace.find(host="azurecontainer")
    assert call.request_headers.get("Authorization") == f"Bearer {service.keys['primaryKey']}"
    assert service.keys["primaryKey"] not in scene.platform.text


def test_deploy__service_that_cannot_be_reached__is_unverified_where_that_is_allowed(scene: Scene) -> None:
    scene.cloud.faults.add(faults.Unreachable(), host=SCORING_HOST, times=None)
    outcome = scene.deploy(smoke_test=SmokeTest.BEST_EFFORT)
    assert outcome.status is Status.UNVERIFIED


def test_deploy__environment_variables_and_spec__reach_the_container(scene: Scene) -> None:
    scene.deploy(shape=AzureShape(cpu_cores=0.5, memory_gb=1.0, environment_variables={"MODE": "fast"}))
    variables = scene.payload["environmentImageRequest"]["environment"]["environmentVariables"]
    assert variables == {
        "MODE": "fast",
        "MLAZ_SPEC": scene.payload["kvTags"]["mlaz-spec"],
        "AZUREML_ENTRY_SCRIPT": "mlaz/score.py",
        "AZUREML_SOURCE_DIRECTORY": "mlaz",
    }


def test_hosts__of_a_whole_life__are_azures_own(scene: Scene) -> None:
    scene.deploy()
    scene.serve("run-2")
    scene.deploy()
    scene.run(Command.CLEANUP)
    named = {host for host in scene.cloud.trace.hosts() if not host.endswith("azurecontainer.io")}
    assert named == {
        "login.microsoftonline.com",
        "management.azure.com",
        f"{world.REGION}.api.azureml.ms",
        f"{world.STORAGE_ACCOUNT}.blob.core.windows.net",
    }
