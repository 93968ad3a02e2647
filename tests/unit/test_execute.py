from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlaz_ci.errors import (
    Cancelled,
    DeployTimedOut,
    DiskFull,
    MlazError,
    NotReachable,
    ServiceBusy,
    ServiceFailed,
    ServiceStartFailed,
    SmokeTestFailed,
)
from mlaz_ci.execute import Execution, Ports, model_folder
from mlaz_ci.models import (
    Observation,
    OnFailure,
    Request,
    ScoreRequest,
    ScoreResponse,
    ServiceState,
    SmokeTest,
    Snapshot,
)
from mlaz_ci.plan import Plan
from mlaz_ci.targets import local
from tests import samples
from tests.fakes.clock import FakeClock
from tests.fakes.platform import RecordingPlatform
from tests.fakes.serving import FakeServing
from tests.fakes.store import FakeStore

SMOKE = ScoreRequest(body=b"{}", origin="the model's input example")
LOCK = samples.lock().hash


@dataclass
class Scene:
    folder: Path
    serving: FakeServing = field(default_factory=FakeServing)
    store: FakeStore = field(default_factory=FakeStore)

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        ports = Ports(
            store=self.store,
            serving=self.serving,
            platform=RecordingPlatform(),
            clock=self.clock,
            models_folder=self.folder,
        )
        self.execution = Execution(ports=ports, deadline_s=self.clock.now_s() + 600)

    def plan(self, request: Request | None = None, name: str = "g1") -> Plan:
        request = request or samples.request()
        spec = samples.spec(deployment_name=name, model=self.store.model)
        return local.plan_deploy(request, spec, self.serving.snapshot("churn"), SMOKE)

    def deploy(self, request: Request | None = None) -> Execution:
        self.execution.carry_out(self.plan(request))
        return self.execution


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_carry_out__first_deploy__calls_in_the_order_of_the_plan(scene: Scene) -> None:
    done = scene.deploy()
    assert scene.serving.calls == [f"build {LOCK}", "stage g1", "start g1", "score g1", "shift g1"]
    assert [(each.what, each.subject) for each in done.mutations] == [
        ("created", "churn/g1"),
        ("gave all traffic to", "churn/g1"),
    ]
    assert done.smoke_test is not None
    assert done.smoke_test.is_success
    phases = [each.phase for each in done.timings]
    assert phases[-3:] == ["stage the deployment", "start the service", "smoke test"], "whatever may take long is told"
    assert (model_folder(scene.folder, scene.store.model) / "MLmodel").is_file()


def test_carry_out__model_is_there__is_not_fetched_again(scene: Scene) -> None:
    scene.deploy()
    scene.store.fetch_error = AssertionError("fetched twice")
    scene.serving.delete("churn")
    scene.deploy()
    assert scene.serving.live == "g1"


@pytest.mark.parametrize("state", [ServiceState.FAILED, ServiceState.UNHEALTHY, ServiceState.STOPPED])
def test_carry_out__start_fails__withdraws_the_new_deployment_and_tells_why(scene: Scene, state: ServiceState) -> None:
    scene.serving.states = [Observation(state=state, detail="init() raised")]
    scene.serving.log = "ModuleNotFoundError: No module named 'xgboost'"
    with pytest.raises(ServiceStartFailed) as raised:
        scene.deploy()
    assert "init() raised" in raised.value.what
    assert raised.value.cause_text == "The model needs the module xgboost, which is not in its requirements."
    assert raised.value.log == scene.serving.log
    assert scene.serving.calls[-1] == "retire g1"
    assert scene.serving.specs == {}


def test_carry_out__nothing_could_be_staged__deletes_nothing_since_another_run_may_have_made_it(scene: Scene) -> None:
    busy = ServiceBusy('Deployment "g1" of service "churn" serves already.')
    scene.serving.failing["stage"] = busy
    with pytest.raises(ServiceBusy):
        scene.deploy()
    assert scene.serving.calls[-1] == "stage g1"
    assert scene.execution.mutations == []


@pytest.mark.parametrize("is_ours_there", [True, False])
def test_carry_out__start_fails_and_another_run_has_put_its_deployment_in__that_one_stays(
    scene: Scene, *, is_ours_there: bool
) -> None:
    plan = scene.plan()
    scene.serving.states = [Observation(state=ServiceState.FAILED)]
    scene.serving.specs["g2"] = samples.spec(deployment_name="g2")
    if not is_ours_there:
        scene.serving.stage = lambda spec, folder: None  # type: ignore[method-assign]
    with pytest.raises(ServiceStartFailed):
        scene.execution.carry_out(plan)
    assert list(scene.serving.specs) == ["g2"]
    assert not any(call.startswith("delete") for call in scene.serving.calls)


def test_carry_out__deployment_vanishes_while_it_starts__blames_another_run_not_the_model(scene: Scene) -> None:
    scene.serving.states = [Observation(state=ServiceState.ABSENT, detail="it was never staged, or was removed")]
    with pytest.raises(ServiceBusy, match="was removed while it started"):
        scene.deploy()


def test_carry_out__start_fails_beside_a_live_one__leaves_the_live_one(scene: Scene) -> None:
    scene.deploy()
    scene.store.model = samples.model(digest="d2")
    scene.serving.states = [Observation(state=ServiceState.FAILED)]
    plan = scene.plan(name="g2")
    with pytest.raises(ServiceStartFailed):
        Execution(ports=scene.execution.ports, deadline_s=600).carry_out(plan)
    assert (scene.serving.live, list(scene.serving.specs)) == ("g1", ["g1"])


def test_carry_out__on_failure_keep__leaves_what_failed(scene: Scene) -> None:
    scene.serving.states = [Observation(state=ServiceState.FAILED)]
    with pytest.raises(ServiceStartFailed):
        scene.deploy(samples.request(on_failure=OnFailure.KEEP))
    assert list(scene.serving.specs) == ["g1"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ScoreResponse(status_code=400, body=b'{"error": "no x"}', duration_s=0), "was answered with HTTP 400"),
        (ScoreResponse(status_code=200, body=b"[1]", duration_s=0, spec_hash="old"), "by another deployment (old"),
    ],
    ids=["not-2xx", "another-version"],
)
def test_carry_out__smoke_test_fails__traffic_stays(scene: Scene, answer: ScoreResponse, said: str) -> None:
    scene.serving.answer = answer
    with pytest.raises(SmokeTestFailed) as raised:
        scene.deploy()
    assert said in raised.value.what
    assert answer.body.decode() in raised.value.log
    assert not any(call.startswith("shift") for call in scene.serving.calls)


def test_carry_out__smoke_test_fails_best_effort__passes_unverified(scene: Scene) -> None:
    scene.serving.answer = ScoreResponse(status_code=500, body=b"", duration_s=0)
    done = scene.deploy(samples.request(smoke_test=SmokeTest.BEST_EFFORT))
    assert done.is_unverified
    assert scene.serving.live == "g1"
    assert "HTTP 500" in done.notes[0]


def test_carry_out__not_reachable__is_the_users_choice(scene: Scene) -> None:
    scene.serving.failing["score"] = NotReachable("no route")
    with pytest.raises(NotReachable):
        scene.deploy()
    done = Scene(scene.folder, FakeServing(failing={"score": NotReachable("no route")})).deploy(
        samples.request(smoke_test=SmokeTest.BEST_EFFORT)
    )
    assert done.is_unverified


def test_carry_out__never_settles__times_out_with_the_log(scene: Scene) -> None:
    scene.serving.states = [Observation(state=ServiceState.CREATING)]
    with pytest.raises(DeployTimedOut) as raised:
        scene.deploy()
    assert raised.value.log == "the log"


def test_carry_out__log_cannot_be_read__first_failure_is_told(scene: Scene) -> None:
    scene.serving.states = [Observation(state=ServiceState.FAILED)]
    scene.serving.failing["logs"] = ServiceFailed("gone")
    with pytest.raises(ServiceStartFailed) as raised:
        scene.deploy()
    assert raised.value.log == "(the log could not be read: gone)"


def test_carry_out__model_cannot_be_fetched__nothing_is_made(scene: Scene) -> None:
    scene.store.fetch_error = DiskFull("no room")
    with pytest.raises(DiskFull):
        scene.deploy()
    assert scene.serving.calls == [f"build {LOCK}"]
    assert scene.execution.mutations == []


def test_carry_out__undo_fails_too__first_failure_and_the_rest_are_told(scene: Scene) -> None:
    scene.serving.failing = {"shift": ServiceFailed("shift broke"), "retire": ServiceFailed("retire broke")}
    with pytest.raises(MlazError) as raised:
        scene.deploy()
    assert raised.value.what == "shift broke"
    assert scene.execution.left_behind == ['Could not drain and stop deployment "g1", remove its files: retire broke']


def test_carry_out__cancelled_in_a_wait__undoes_and_raises(scene: Scene) -> None:
    scene.serving.failing["score"] = Cancelled("SIGTERM")
    with pytest.raises(Cancelled):
        scene.deploy()
    assert scene.serving.calls[-1] == "retire g1"


def test_carry_out__fetching__overlaps_with_building(scene: Scene) -> None:
    building = threading.Event()

    class Overlapping(FakeStore):
        def fetch(self, *arguments: object) -> None:
            assert building.wait(10)
            super().fetch(*arguments)  # type: ignore[arg-type]

    class Builder(FakeServing):
        def build_environment(self, *arguments: object, **named: object) -> None:
            building.set()

    assert Scene(scene.folder, Builder(), Overlapping()).deploy().mutations


def test_carry_out__cleanup__deletes(scene: Scene) -> None:
    scene.deploy()
    plan = local.plan_cleanup(samples.request(), Snapshot(service=samples.service()))
    execution = Execution(ports=scene.execution.ports, deadline_s=0)
    execution.carry_out(plan)
    assert scene.serving.specs == {}
    assert [each.what for each in execution.mutations] == ["deleted"]
