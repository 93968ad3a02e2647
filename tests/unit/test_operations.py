from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.errors import (
    FileNotFound,
    InapplicableInput,
    InvalidInput,
    MissingInput,
    MlazError,
    ModelNotServable,
    NoCanary,
    NothingToRollBackTo,
    NotInThisVersion,
    NotOurs,
    NotReachable,
    ServiceBusy,
    ServiceNotFound,
    ServiceNotRunning,
    ServiceStartFailed,
    SmokeTestFailed,
)
from mlaz_ci.execute import Ports
from mlaz_ci.models import (
    AzureShape,
    Command,
    LocalShape,
    Observation,
    OnFailure,
    Outcome,
    ScoreResponse,
    ServiceState,
    Severity,
    SmokeTest,
    Snapshot,
    Status,
    Target,
)
from mlaz_ci.operations import Job, deploying
from mlaz_ci.plan import Plan
from mlaz_ci.targets import rules_of
from tests import samples
from tests.fakes.clock import FakeClock
from tests.fakes.platform import RecordingPlatform
from tests.fakes.resolver import FakeResolver, Package
from tests.fakes.serving import FakeServing
from tests.fakes.store import FakeStore

PACKAGES = [
    Package(name="mlflow", version="3.15.0"),
    Package(name="scikit-learn", version="1.9.1"),
    Package(name="azureml-inference-server-http", version="1.5.1"),
]


@dataclass
class Scene:
    """A house with nothing real in it; `run` carries out one command and returns what came of it."""

    folder: Path
    serving: FakeServing = field(default_factory=FakeServing)
    store: FakeStore = field(default_factory=FakeStore)
    platform: RecordingPlatform = field(default_factory=RecordingPlatform)
    serves_only_while_running: bool = False
    job: Job | None = None

    def run(self, command: Command = Command.DEPLOY, **changes: Any) -> Outcome:
        ports = Ports(
            store=self.store,
            serving=self.serving,
            platform=self.platform,
            clock=FakeClock(),
            models_folder=self.folder / "models",
        )
        self.job = Job(
            request=samples.request(command=command, **changes),
            ports=ports,
            resolver=FakeResolver(PACKAGES),
            serves_only_while_running=self.serves_only_while_running,
        )
        return self.job.run()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_deploy__first__is_healthy_with_all_facts(scene: Scene) -> None:
    outcome = scene.run()
    assert (outcome.status, outcome.changed, outcome.deployment_name) == (Status.HEALTHY, True, "g1")
    assert outcome.scoring_uri == "http://localhost:5000/score"
    assert outcome.smoke_test is not None
    assert outcome.model_name == "churn"
    assert scene.store.kept == [outcome.lock_hash]
    assert [each.phase for each in outcome.timings][:2] == ["resolve the model", "check"]


def test_deploy__service_name__is_an_output_before_the_first_wait(scene: Scene) -> None:
    scene.serving.states = [Observation(state=ServiceState.FAILED)]
    with pytest.raises(ServiceStartFailed):
        scene.run()
    assert scene.platform.output_order[0] == "service-name"


def test_deploy__twice__is_unchanged(scene: Scene) -> None:
    scene.run()
    outcome = scene.run()
    assert (outcome.status, outcome.changed, outcome.mutations) == (Status.UNCHANGED, False, ())


def test_deploy__another_model__names_the_one_before(scene: Scene) -> None:
    scene.run()
    scene.store.model = samples.model(digest="d2", version="8")
    outcome = scene.run()
    assert (outcome.status, outcome.deployment_name, outcome.model_version) == (Status.HEALTHY, "g2", "8")
    assert outcome.previous_model_version == "file:///models/churn"


def test_deploy__dry_run_of_another_model__tells_that_one_and_the_one_that_serves(scene: Scene) -> None:
    scene.run()
    scene.store.model = samples.model(digest="d2", version="8")
    outcome = scene.run(dry_run=True)
    assert (outcome.model_version, outcome.previous_model_version) == ("8", "file:///models/churn")
    assert outcome.model_label == scene.store.model.label
    assert outcome.lock_hash


def test_deploy__dry_run__plans_and_does_nothing(scene: Scene) -> None:
    outcome = scene.run(dry_run=True)
    assert outcome.status is Status.PLANNED
    assert outcome.plan[-1] == 'give all traffic of service "churn" to deployment "g1"'
    assert scene.serving.calls == []
    scene.run()
    assert scene.run(dry_run=True).plan == ("nothing: the service already serves this",)


def test_deploy__smoke_test_off__is_unverified(scene: Scene) -> None:
    assert scene.run(smoke_test=SmokeTest.OFF).status is Status.UNVERIFIED


def test_deploy__best_effort_fails__is_unverified_and_says_why(scene: Scene) -> None:
    scene.serving.answer = ScoreResponse(status_code=503, body=b"", duration_s=0)
    outcome = scene.run(smoke_test=SmokeTest.BEST_EFFORT)
    assert outcome.status is Status.UNVERIFIED
    assert "HTTP 503" in outcome.notes[0]


def test_deploy__lock_cannot_be_left_with_the_run__is_a_notice(scene: Scene) -> None:
    scene.store.model = samples.model(run_id="r1")
    scene.store.is_writable = False
    findings = scene.run().findings
    assert [(each.code, each.severity) for each in findings if each.code == "lock-not-kept"] == [
        ("lock-not-kept", Severity.NOTICE)
    ]


def test_deploy__container_without_socket__stops_what_it_verified_and_says_so(scene: Scene) -> None:
    scene.serves_only_while_running = True
    outcome = scene.run()
    assert (outcome.status, outcome.scoring_uri, scene.serving.specs) == (Status.HEALTHY, None, {})
    assert "Served, verified and stopped" in outcome.notes[-1]


def test_deploy__error_finding__makes_nothing_and_reports_every_finding(scene: Scene) -> None:
    scene.store.model = samples.model(facts=samples.facts(flavors={"spark": {}}))
    with pytest.raises(ModelNotServable) as raised:
        scene.run()
    assert scene.job is not None
    failure = scene.job.failure_of(raised.value)
    assert scene.serving.calls == []
    assert failure.model_label == "file:///models/churn"
    assert any(each.severity is Severity.ERROR for each in failure.findings)


def test_deploy__nothing_to_smoke_test_with__is_refused_before_anything_is_made(scene: Scene) -> None:
    scene.store.model = samples.model(facts=samples.facts(input_example=None, signature=None))
    with pytest.raises(MissingInput) as raised:
        scene.run()
    assert "smoke-test-file" in raised.value.remedy_text
    assert scene.serving.calls == []


def test_deploy__signature_without_example__is_smoke_tested_with_a_sample(scene: Scene) -> None:
    scene.store.model = samples.model(facts=samples.facts(input_example=None))
    outcome = scene.run()
    assert outcome.smoke_request is not None
    assert outcome.smoke_request.origin == "a sample made from the signature"


def test_deploy__smoke_test_file__is_what_is_sent(scene: Scene) -> None:
    file = scene.folder / "request.json"
    file.write_text('{"inputs": [1]}')
    outcome = scene.run(smoke_test_file=file)
    assert outcome.smoke_request is not None
    assert outcome.smoke_request.body == b'{"inputs": [1]}'
    with pytest.raises(FileNotFound):
        scene.run(smoke_test_file=scene.folder / "absent.json")


def test_deploy__on_failure_keep__says_what_was_left(scene: Scene) -> None:
    scene.serving.states = [Observation(state=ServiceState.FAILED)]
    with pytest.raises(ServiceStartFailed) as raised:
        scene.run(on_failure=OnFailure.KEEP)
    assert scene.job is not None
    left = scene.job.failure_of(raised.value).left_behind
    assert left == ("churn/g1 was kept without traffic (`on-failure: keep`).",)


def test_deploy__no_source__says_which_input_is_missing(scene: Scene) -> None:
    with pytest.raises(MissingInput):
        scene.run(source=None)


def test_deploy__tags__carry_the_users_and_ours(scene: Scene) -> None:
    scene.run(tags={"team": "risk"}, origin={"repository": "acme/churn", "commit": "c0ffee"})
    assert scene.serving.specs["g1"].tags == {
        "team": "risk",
        "managed-by": "mlaz-ci",
        "mlaz-owner": "repo:1",
        "mlaz-repository": "acme/churn",
        "mlaz-commit": "c0ffee",
        "mlaz-model": "churn",
    }


def test_doctor__good_model__passes_and_touches_nothing(scene: Scene) -> None:
    outcome = scene.run(Command.DOCTOR, service_name="")
    assert outcome.status is Status.PASSED
    assert outcome.lock_hash
    assert scene.serving.calls == []
    assert outcome.notes == (
        "3 packages can be installed together for Python 3.11, mlflow 3.15.0 and azureml-inference-server-http 1.5.1 among them.",
        "The smoke test would send the model's input example.",
    )


def test_status__each_state__has_its_word(scene: Scene) -> None:
    assert scene.run(Command.STATUS).status is Status.ABSENT
    scene.run()
    outcome = scene.run(Command.STATUS)
    assert (outcome.status, outcome.deployment_name) == (Status.HEALTHY, "g1")


def test_deploy__without_waiting__ends_as_soon_as_it_is_under_way_and_status_takes_it_to_its_end(scene: Scene) -> None:
    begun = scene.run(wait=False)
    assert (begun.status, scene.serving.calls[-1], scene.serving.live) == (Status.CREATING, "start g1", None)
    assert scene.run(Command.STATUS).changed is False
    ended = scene.run(Command.STATUS, given=("wait",))
    assert (ended.status, ended.changed, scene.serving.live) == (Status.HEALTHY, True, "g1")
    assert scene.serving.calls[-2:] == ["score g1", "shift g1"]
    again = scene.run(Command.STATUS, given=("wait",))
    assert (again.status, again.changed) == (Status.HEALTHY, False)


def test_deploy__changed_without_waiting__leaves_traffic_until_status_has_verified_it(scene: Scene) -> None:
    scene.run()
    scene.run(wait=False, shape=LocalShape(workers=2))
    assert (scene.serving.live, sorted(scene.serving.running)) == ("g1", ["g1", "g2"])
    scene.serving.answer = ScoreResponse(status_code=500, body=b"", duration_s=0.1)
    with pytest.raises(SmokeTestFailed):
        scene.run(Command.STATUS, given=("wait",))
    assert scene.serving.live == "g1"
    scene.serving.answer = None
    assert scene.run(Command.STATUS, given=("wait",)).status is Status.HEALTHY
    assert (scene.serving.live, scene.serving.running) == ("g2", {"g2"})
    assert "g1" in scene.serving.specs, "kept for a rollback"


def test_status__waiting_for_a_deploy_of_another_owner__is_refused(scene: Scene) -> None:
    scene.run(wait=False)
    with pytest.raises(NotOurs):
        scene.run(Command.STATUS, given=("wait",), owner="somebody")


def test_status__waits_and_knows_no_smoke_test__says_what_to_give(scene: Scene) -> None:
    scene.run(wait=False, smoke_test=SmokeTest.OFF)
    spec = scene.serving.specs["g1"]
    scene.serving.specs["g1"] = replace(spec, smoke_request=None)
    with pytest.raises(MissingInput, match="nothing to smoke-test"):
        scene.run(Command.STATUS, given=("wait",), source=None)
    named = scene.run(Command.STATUS, given=("wait",))
    assert named.status is Status.HEALTHY


def test_deploy__without_waiting_where_it_ends_with_the_step__is_refused(scene: Scene) -> None:
    scene.serves_only_while_running = True
    with pytest.raises(InapplicableInput, match="`wait: false`"):
        scene.run(wait=False)
    assert scene.serving.calls == []


def test_deploy__without_waiting_and_nothing_to_change__is_unchanged(scene: Scene) -> None:
    scene.run()
    assert scene.run(wait=False).status is Status.UNCHANGED


def test_invoke__service_is_there__returns_its_answer(scene: Scene) -> None:
    file = scene.folder / "request.json"
    file.write_text("{}")
    with pytest.raises(ServiceNotFound):
        scene.run(Command.INVOKE, request_file=file)
    scene.run()
    outcome = scene.run(Command.INVOKE, request_file=file)
    assert outcome.status is Status.INVOKED
    assert outcome.response is not None
    assert outcome.response.body == b"[1.0]"


@pytest.mark.parametrize(
    ("state", "expected", "exit_code"),
    [
        (ServiceState.FAILED, ServiceNotRunning, 6),
        (ServiceState.STOPPED, ServiceNotRunning, 6),
        (ServiceState.UNHEALTHY, ServiceNotRunning, 6),
        (ServiceState.CREATING, ServiceBusy, 5),
        (ServiceState.HEALTHY, NotReachable, 8),
        (ServiceState.ABSENT, ServiceNotFound, 4),
    ],
)
def test_invoke__no_answer__is_told_by_what_the_service_is_then(
    scene: Scene, state: ServiceState, expected: type[MlazError], exit_code: int
) -> None:
    file = scene.folder / "request.json"
    file.write_text("{}")
    scene.run()
    scene.serving.failing["score"] = NotReachable("http://127.0.0.1:5000/score does not answer.")
    there = scene.serving.snapshot("diabetes").service
    assert there
    after = Snapshot(service=None if state is ServiceState.ABSENT else replace(there, state=state, detail="it ended"))
    seen = iter([Snapshot(service=there), after])
    scene.serving.snapshot = lambda _: next(seen)  # type: ignore[method-assign]
    with pytest.raises(expected) as caught:
        scene.run(Command.INVOKE, request_file=file)
    assert caught.value.exit_code == exit_code


def test_invoke__no_file__says_so(scene: Scene) -> None:
    with pytest.raises(MissingInput):
        scene.run(Command.INVOKE)
    with pytest.raises(FileNotFound):
        scene.run(Command.INVOKE, request_file=scene.folder / "absent.json")


def test_rollback__previous_is_kept__verifies_it_with_what_verified_it_before(scene: Scene) -> None:
    scene.run()
    scene.store.model = samples.model(digest="d2")
    scene.run()
    planned = scene.run(Command.ROLLBACK, dry_run=True)
    assert planned.status is Status.PLANNED
    assert 'smoke-test deployment "g1" with the request that verified it before (required)' in planned.plan
    outcome = scene.run(Command.ROLLBACK)
    assert (outcome.status, outcome.deployment_name) == (Status.ROLLED_BACK, "g1")
    assert outcome.smoke_request is not None
    assert outcome.smoke_request.origin == "the request that verified it before"
    status = scene.run(Command.STATUS)
    assert status.smoke_request == outcome.smoke_request, "a request that can be pasted"


def test_rollback__user_gives_a_file__is_what_is_sent(scene: Scene) -> None:
    file = scene.folder / "request.json"
    file.write_text("{}")
    scene.run()
    with pytest.raises(NothingToRollBackTo):
        scene.run(Command.ROLLBACK, smoke_test_file=file)


def test_cleanup__twice__is_deleted_then_absent(scene: Scene) -> None:
    scene.run()
    assert scene.run(Command.CLEANUP, dry_run=True).plan == ('stop and delete service "churn" with its deployments',)
    assert scene.run(Command.CLEANUP).status is Status.DELETED
    outcome = scene.run(Command.CLEANUP)
    assert (outcome.status, outcome.changed) == (Status.ABSENT, False)
    assert scene.run(Command.CLEANUP, dry_run=True).plan == ("nothing: there is no such service",)


@pytest.mark.parametrize("command", [Command.SWEEP, Command.AUTO])
def test_run__command_of_a_later_version__says_so(scene: Scene, command: Command) -> None:
    with pytest.raises(NotInThisVersion):
        scene.run(command)


@pytest.mark.parametrize("command", [Command.PROMOTE, Command.REJECT])
def test_run__canary_on_a_target_without__says_where_there_are_some(scene: Scene, command: Command) -> None:
    with pytest.raises(NoCanary, match="target local"):
        scene.run(command)


def test_failure_of__nothing_begun__is_empty(scene: Scene) -> None:
    with pytest.raises(NotInThisVersion) as raised:
        scene.run(Command.SWEEP)
    assert scene.job is not None
    failure = scene.job.failure_of(raised.value)
    assert (failure.mutations, failure.left_behind, failure.command) == ((), (), Command.SWEEP)


def test_outcome__canary__tells_of_the_canary_and_what_serves_beside_it(scene: Scene) -> None:
    scene.run()
    assert scene.job is not None
    beside = (samples.deployment("g1", model_version="7"), samples.deployment("g2", model_version="8"))
    snapshot = Snapshot(service=samples.service(live="g1", deployments=beside))
    plan = Plan(steps=(), done=Status.CANARY, deployment_name="g2")
    outcome = scene.job.outcome(plan, None, snapshot)
    assert (outcome.deployment_name, outcome.model_version, outcome.previous_model_version) == ("g2", "8", "7")


def test_deploy__after_an_upgrade_with_another_script__is_another_service(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.run()
    assert scene.run().status is Status.UNCHANGED
    texts = deploying.script_texts(["score.py", "launch.py"])
    for name in texts:
        monkeypatch.setattr(deploying, "script_texts", lambda _, name=name: {**texts, name: f"{texts[name]}# newer\n"})
        assert scene.run().status is Status.HEALTHY
        assert scene.run().status is Status.UNCHANGED


@pytest.mark.parametrize(
    ("target", "raw", "names"),
    [
        (Target.LOCAL, None, ("score.py", "launch.py")),
        (Target.ACI, {}, ("score.py",)),
        (Target.AKS, {}, ("score.py",)),
        (Target.MANAGED, {}, ("score.py",)),
        (Target.KUBERNETES, {}, ("score.py",)),
        (Target.MANAGED, {"serving": "no-code"}, ()),
        (Target.KUBERNETES, {"serving": "no-code"}, ()),
    ],
)
def test_scripts__of_each_target__are_what_it_runs_of_ours(
    target: Target, raw: dict[str, str] | None, names: tuple[str, ...]
) -> None:
    shape = LocalShape() if raw is None else AzureShape(raw=raw)
    assert rules_of(target).scripts(shape) == names
    assert all("def " in text for text in deploying.script_texts(names).values())


@pytest.mark.parametrize("command", [Command.DEPLOY, Command.DOCTOR])
@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        (None, FileNotFound, "cannot be read"),
        ("{\n  x", InvalidInput, "is not JSON at line 2, column 3"),
        ("[" * 99_999, InvalidInput, "is not JSON"),
    ],
    ids=["absent", "no-json", "too-deep"],
)
def test_smoke_test_file__cannot_be_sent__is_told_before_the_model_is_looked_for(
    scene: Scene, command: Command, text: str | None, expected: type[MlazError], said: str
) -> None:
    file = scene.folder / "smoke.json"
    if text is not None:
        file.write_text(text)
    scene.store.resolve = None  # type: ignore[assignment, method-assign]
    with pytest.raises(expected, match=said):
        scene.run(command, smoke_test_file=file)
