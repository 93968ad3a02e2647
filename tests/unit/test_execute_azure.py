from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mlaz_ci.errors import Conflict, DeployTimedOut, ServiceBusy, ServiceFailed, ServiceStartFailed
from mlaz_ci.execute import Execution, Ports
from mlaz_ci.models import (
    AzureShape,
    Cluster,
    Observation,
    Request,
    ScoreRequest,
    ServiceState,
    Status,
    Strategy,
    Target,
)
from mlaz_ci.plan import DeleteCompute, DeleteModelVersion, DeleteService, EnsureCluster, Plan
from mlaz_ci.targets import aci, managed
from tests import samples
from tests.fakes.clock import FakeClock
from tests.fakes.platform import RecordingPlatform
from tests.fakes.serving import FakeAzure
from tests.fakes.store import FakeStore

SMOKE = ScoreRequest(body=b"{}", origin="the model's input example")
LOCK = samples.lock().hash


class Scene:
    def __init__(self, folder: Path, side: FakeAzure | None = None) -> None:
        self.side = side or FakeAzure()
        self.store = FakeStore()
        clock = FakeClock()
        ports = Ports(
            store=self.store,
            serving=self.side,
            platform=RecordingPlatform(),
            clock=clock,
            models_folder=folder,
            registry=self.side,
            in_place=self.side,
            recreating=self.side,
            endpoints=self.side,
            clusters=self.side,
        )
        self.execution = Execution(ports=ports, deadline_s=clock.now_s() + 600)

    def plan(self, rules: object, name: str, request: Request | None = None, *, in_workspace: bool = True) -> Plan:
        model = replace(self.store.model, is_in_workspace=in_workspace, digest=name)
        spec = samples.spec(deployment_name=name, model=model, shape=AzureShape())
        before = self.side.snapshot("churn")
        if before.service:
            deployments = tuple(replace(each, can_be_restored=True) for each in before.service.deployments)
            before = replace(before, service=replace(before.service, deployments=deployments, target=Target.ACI))
        return rules.plan_deploy(request or samples.request(), spec, before, SMOKE)  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_carry_out__model_in_the_workspace__is_registered_by_reference_and_deployed_by_its_version(
    scene: Scene,
) -> None:
    scene.execution.carry_out(scene.plan(aci, "g1"))
    assert scene.side.calls == ["register churn", f"build {LOCK}", "stage g1", "start g1", "score g1"]
    assert scene.side.uploaded == []
    assert scene.side.specs["g1"].model.version == "1"
    assert [each.what for each in scene.execution.mutations] == ["registered", "created"]


def test_carry_out__model_of_another_store__is_fetched_and_uploaded_once(scene: Scene) -> None:
    scene.execution.carry_out(scene.plan(aci, "g1", in_workspace=False))
    assert len(scene.side.uploaded) == 1


def test_carry_out__changed_in_place_and_failed__puts_back_what_served(scene: Scene) -> None:
    scene.execution.carry_out(scene.plan(aci, "g1"))
    scene.side.live = "g1"
    scene.side.states = [Observation(state=ServiceState.FAILED), Observation(state=ServiceState.HEALTHY)]
    with pytest.raises(ServiceStartFailed):
        scene.execution.carry_out(scene.plan(aci, "g2"))
    assert scene.side.calls[-2:] == ["update g2", "restore g1"]
    assert [each.what for each in scene.execution.mutations][-2:] == ["updated", "put back"]


def test_carry_out__out_of_time__what_is_put_back_is_waited_for_all_the_same(scene: Scene) -> None:
    scene.execution.carry_out(scene.plan(aci, "g1"))
    scene.side.live = "g1"
    scene.side.states = [Observation(state=ServiceState.UPDATING)] * 200 + [Observation(state=ServiceState.HEALTHY)]
    with pytest.raises(DeployTimedOut):
        scene.execution.carry_out(scene.plan(aci, "g2"))
    assert scene.side.states == [Observation(state=ServiceState.HEALTHY)]
    assert scene.execution.left_behind == ['Service "churn" serves deployment "g1" again, as before.']


def test_carry_out__what_is_busy_cannot_be_put_back__says_what_does_it_later(scene: Scene) -> None:
    scene.execution.carry_out(scene.plan(aci, "g1"))
    scene.side.live = "g1"
    scene.side.failing["restore"] = ServiceBusy("It is being changed.")
    scene.side.states = [Observation(state=ServiceState.UPDATING)]
    with pytest.raises(DeployTimedOut):
        scene.execution.carry_out(scene.plan(aci, "g2"))
    assert scene.execution.left_behind[0].endswith(
        "It is being changed. Once Azure is through with it, `command: rollback` does."
    )


def test_carry_out__failed_before_the_service_was_touched__puts_nothing_back(tmp_path: Path) -> None:
    side = FakeAzure()
    Scene(tmp_path, side).execution.carry_out(Scene(tmp_path, side).plan(aci, "g1"))
    side.live = "g1"
    side.failing = {"build": ServiceFailed("no")}
    scene = Scene(tmp_path, side)
    with pytest.raises(ServiceFailed):
        scene.execution.carry_out(scene.plan(aci, "g2"))
    assert side.calls[-1] == f"build {LOCK}"


def test_carry_out__new_endpoint__is_made_while_the_model_is_registered(tmp_path: Path) -> None:
    both = threading.Barrier(4)

    class Meeting(FakeAzure):
        """Each of the four waits for the others: steps in turn would never meet."""

        def _called(self, verb: str, subject: str) -> None:
            super()._called(verb, subject)
            if verb in {"create", "register", "build", "upload"}:
                both.wait(10)

    scene = Scene(tmp_path, Meeting())
    scene.execution.carry_out(scene.plan(managed, "g1"))
    assert sorted(scene.side.calls[:4]) == [f"build {LOCK}", "create churn", "register churn", "upload g1"]
    assert scene.side.calls[4:] == ["stage g1", "start g1", "score g1", "shift g1"]


def test_carry_out__one_of_those_at_once_fails__all_have_ended_before_the_undo(tmp_path: Path) -> None:
    scene = Scene(tmp_path, FakeAzure(failing={"register": ServiceFailed("no")}))
    with pytest.raises(ServiceFailed):
        scene.execution.carry_out(scene.plan(managed, "g1"))
    assert scene.side.calls[-1] == "delete churn"


def test_carry_out__canary__gets_its_share_alone(scene: Scene) -> None:
    scene.execution.carry_out(scene.plan(managed, "g1"))
    request = samples.request(strategy=Strategy.CANARY, canary_percent=20)
    scene.execution.carry_out(scene.plan(managed, "g2", request))
    assert scene.side.calls[-1] == "share 20 g2"
    assert scene.side.live == "g1"


def test_carry_out__what_services_share__is_recorded_and_changes_no_service(scene: Scene) -> None:
    steps = (
        EnsureCluster(cluster=Cluster(name="k8s"), tags={}),
        EnsureCluster(cluster=Cluster(name="own", resource_id="/subscriptions/1"), tags={}),
        DeleteModelVersion(name="churn", version="3", owner="repo:1"),
        DeleteCompute(name="k8s", keeps_resource=True, owner="repo:1"),
        DeleteCompute(name="own", keeps_resource=False, owner="repo:1"),
    )
    scene.execution.carry_out(Plan(steps=steps, done=Status.DELETED))
    assert scene.side.calls == ["ensure k8s", "ensure own", "remove version churn/3", "detach k8s", "delete own"]
    assert [(each.what, each.subject) for each in scene.execution.mutations] == [
        ("created the cluster", "k8s"),
        ("attached the cluster", "own"),
        ("deleted the model version", "churn/3"),
        ("detached the compute", "k8s"),
        ("deleted the compute", "own"),
    ]
    assert not scene.execution.has_changed


def test_carry_out__steps_that_stand_alone__are_all_tried_and_the_first_failure_is_raised(tmp_path: Path) -> None:
    failing = {"delete": ServiceFailed("Azure is down."), "remove version": Conflict("It is in use.")}
    scene = Scene(tmp_path, FakeAzure(failing=dict(failing)))
    steps = (
        DeleteService(service_name="churn"),
        DeleteModelVersion(name="churn", version="3", owner="repo:1"),
        DeleteCompute(name="k8s", keeps_resource=True, owner="repo:1"),
    )
    with pytest.raises(ServiceFailed, match="Azure is down"):
        scene.execution.carry_out(Plan(steps=steps, done=Status.DELETED, carries_on=True))
    assert scene.execution.left_behind == [
        'Could not stop and delete service "churn" with its deployments: Azure is down.',
        'Could not delete version 3 of the registered model "churn", if it is ours: It is in use.',
    ]
    # What was refused was not done; what got no answer may have been.
    assert [each.what for each in scene.execution.mutations] == ["deleted", "detached the compute"]
