"""Faults and ends of processes at every request: a rerun comes to the same end, and nothing is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.adapters.azure_arm import OnlineEndpoints
from mlaz_ci.adapters.azure_wire import Wire, WorkspaceDoor
from mlaz_ci.adapters.identity import CLOUDS
from mlaz_ci.errors import DeployTimedOut, MlazError, NotReachable, SmokeTestFailed
from mlaz_ci.execute import Ports
from mlaz_ci.models import Cloud, Command, OnFailure, Request, SmokeTest, Status
from mlaz_ci.operations import Job
from tests.azure import entra, faults, world
from tests.azure.arm import assets, endpoints, workspaces
from tests.azure.messages import Delivery
from tests.azure.messages import Request as Asked
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.azure.transitions import after_polls
from tests.fakes.resolver import FakeResolver
from tests.integration.azure.conftest import CloudClock
from tests.integration.azure.mortal import Killed, MortalCredential
from tests.integration.azure.online import EP, PACKAGES, WORKSPACE, House, Stage, asked, last

HTML = "<html><head><title>502 Bad Gateway</title></head></html>"


def mortal_job(stage: Stage, request: Request, lives: int) -> tuple[Job, MortalCredential]:
    credential = MortalCredential(stage.sign_in_as(), lives)
    wire = Wire(credential, stage.clock, deadline_s=stage.clock.now_s() + request.deadline_s)
    side = OnlineEndpoints(WorkspaceDoor(wire, WORKSPACE, CLOUDS[Cloud.PUBLIC]), stage.clock, stage.platform, request)
    ports = Ports(
        store=stage.store,
        serving=side,
        platform=stage.platform,
        clock=stage.clock,
        models_folder=stage.folder / "models",
        registry=side,
        in_place=side,
        endpoints=side,
        premises=side,
        room=side,
    )
    return Job(request=request, ports=ports, resolver=FakeResolver(PACKAGES)), credential


def assert_one_serves(stage: Stage, *, model: str) -> None:
    """One endpoint, one deployment with all the traffic, of this model version, and no other."""
    for name in stage.deployments():
        # What is being deleted goes by itself.
        while (seen := stage.arm("GET", f"{EP}/deployments/{name}")) and seen["properties"][
            "provisioningState"
        ] == "Deleting":
            stage.clock.sleep(1)
    [(name, made)] = stage.deployments().items()
    assert stage.traffic == {name: 100}
    assert made["properties"]["provisioningState"] == "Succeeded"
    assert made["properties"]["model"].endswith(f"/versions/{model}")


def lives_of(stage: Stage, request: Request) -> int:
    job, credential = mortal_job(stage, request, 10_000)
    job.run()
    return credential.signed


def kill_at_each(stage: Stage, prepare: Any, request: Request, model: str) -> int:
    """The whole course, killed before its n-th request for every n, and run again; how many courses that were."""
    stage.place(request.source.run_id)  # type: ignore[union-attr]
    prepare()
    total = lives_of(stage, request)
    for lives in range(total):
        stage.arm("DELETE", EP)
        stage.cloud.state(assets.Assets).by_key.clear()
        prepare()
        job, credential = mortal_job(stage, request, lives)
        with pytest.raises(Killed):
            job.run()
        assert credential.signed == lives
        if stage.endpoint():
            assert set(stage.traffic) <= set(stage.deployments()), lives
        outcome = stage.job(request).run()
        assert outcome.status in {Status.HEALTHY, Status.UNCHANGED}, lives
        assert_one_serves(stage, model=model)
    return total


def test_kill__at_each_request_of_a_first_deploy__rerun_converges(stage: Stage) -> None:
    total = kill_at_each(stage, lambda: None, stage.request("blue"), "1")
    print(f"\nkilled at each of {total} requests of a first deploy")


def test_kill__at_each_request_of_a_replace__rerun_converges(stage: Stage) -> None:
    def prepare() -> None:
        stage.deploy("blue")

    total = kill_at_each(stage, prepare, stage.request("green"), "2")
    print(f"\nkilled at each of {total} requests of a replace")


def test_kill__at_each_request_of_a_cleanup__rerun_leaves_nothing(stage: Stage) -> None:
    stage.deploy("blue")
    request = stage.request("blue", Command.CLEANUP)
    total = lives_of(stage, request)
    for lives in range(total):
        stage.deploy("blue")
        job, _ = mortal_job(stage, request, lives)
        with pytest.raises(Killed):
            job.run()
        assert stage.job(request).run().status in {Status.DELETED, Status.ABSENT}
        assert stage.endpoint() is None


# --- another run is at work --------------------------------------------------------------------------------------------


@dataclass
class OtherRun:
    """`stage`'s clock, on which something happens when so much time has gone by: another run goes on while this one waits."""

    inner: CloudClock
    after_s: float
    act: Callable[[], object]
    slept_s: float = 0.0

    def now_s(self) -> float:
        return self.inner.now_s()

    def utc_now(self) -> datetime:
        return self.inner.utc_now()

    def sleep(self, duration_s: float) -> None:
        self.inner.sleep(duration_s)
        self.slept_s += duration_s
        if self.slept_s >= self.after_s:
            self.after_s = float("inf")
            self.act()


def begin(stage: Stage, run_id: str, settles_after: int = 20) -> str:
    """A deploy that is killed when its deployment is on its way; the deployment's name."""
    pattern = "churn/g2-.*"
    stage.cloud.scripts.add(
        "online-deployment-create", after_polls(settles_after, "Updating", "Succeeded"), name=pattern
    )
    stage.place(run_id)
    before = set(stage.deployments())
    for lives in range(5, 60):
        job, _ = mortal_job(stage, stage.request(run_id), lives)
        with pytest.raises(Killed):
            job.run()
        if new := set(stage.deployments()) - before:
            return new.pop()
    raise AssertionError("no deployment was begun")


WAITING = 'Another run is deploying to "churn": green'


def test_lease__of_another_run__is_waited_for_until_it_has_the_traffic(stage: Stage) -> None:
    stage.deploy("blue")
    green = begin(stage, "green")

    def finish() -> None:
        assert stage.job(stage.request("green")).run().status is Status.HEALTHY

    stage.place("red")
    clock = OtherRun(stage.clock, 30.0, finish)
    outcome = stage.job(stage.request("red"), clock=clock).run()
    assert any(each.startswith(WAITING) for each in stage.platform.lines)
    assert [each.title for each in stage.platform.progresses if each.updates and each.updates[0][2] == "s"] == [
        "Wait for another run"
    ]
    assert (outcome.status, outcome.previous_model_version) == (Status.HEALTHY, "2")
    assert 30.0 <= clock.slept_s < 60.0
    assert green not in stage.deployments()
    assert_one_serves(stage, model="3")


def test_lease__of_a_run_that_died__holds_nobody_up_for_long(stage: Stage) -> None:
    stage.deploy("blue")
    begin(stage, "green")
    began_s = stage.clock.now_s()
    assert stage.deploy("red").status is Status.HEALTHY
    assert any(each.startswith(WAITING) for each in stage.platform.lines)
    assert stage.clock.now_s() - began_s < 300
    assert_one_serves(stage, model="3")


def test_lease__of_a_run_that_goes_on_and_on__is_waited_for_half_of_the_time(stage: Stage) -> None:
    stage.deploy("blue")
    begin(stage, "green", settles_after=10_000)
    began_s = stage.clock.now_s()
    assert stage.deploy("red", deadline_s=600.0).status is Status.HEALTHY
    assert 300 <= stage.clock.now_s() - began_s < 400
    assert any("is at work still" in each for each in stage.platform.lines)


def test_lease__whose_time_is_up_or_of_this_very_run__is_no_reason_to_wait(stage: Stage) -> None:
    stage.deploy("blue")
    begin(stage, "green", settles_after=3)
    assert stage.run("green").status is Status.HEALTHY
    begin(stage, "red", settles_after=10_000)
    stage.clock.sleep(1801)
    assert stage.deploy("grey").status is Status.HEALTHY
    assert not any(each.startswith("Another run") for each in stage.platform.lines)


@pytest.mark.parametrize("how", ["on-failure: keep", "unreachable", "wait: false"])
def test_lease__of_a_run_that_leaves_its_deployment_without_traffic__is_taken_off(
    stage: Stage, cloud: CloudState, how: str
) -> None:
    house = House.opened_in(cloud)
    for name in ("blue", "green", "red"):
        stage.place(name, marker=name)
    stage.run("blue")
    if how == "wait: false":
        stage.run("green", wait=False)
    elif how == "unreachable":
        unreachable(cloud, "no-route")
        with pytest.raises(NotReachable):
            stage.run("green")
        cloud.faults.clear()
    else:
        house.statuses["green"] = 500
        with pytest.raises(SmokeTestFailed):
            stage.run("green", on_failure=OnFailure.KEEP)
    assert len(stage.deployments()) == 2
    assert stage.run("red").status is Status.HEALTHY
    assert not any(each.startswith("Another run") for each in stage.platform.lines)


MUTATIONS = [
    ("PUT", r"/onlineEndpoints/churn$"),
    ("PUT", r"/models/churn/versions/\d+$"),
    ("PUT", r"/environments/[^/]+/versions/1$"),
    ("POST", r"/startPendingUpload$"),
    ("PUT", r"/score\.py$"),
    ("PUT", r"/codes/[^/]+/versions/1$"),
    ("PUT", r"/deployments/[^/]+$"),
    ("POST", r"/listKeys$"),
    ("POST", r"^/score$"),
    ("DELETE", r"/deployments/[^/]+$"),
]
FAULTS: dict[str, Any] = {
    "429": faults.json_error(
        429, {"error": {"code": "TooManyRequests", "message": "Slow."}}, headers={"Retry-After": "7"}
    ),
    "502-html": faults.html_error(502, HTML),
    "lost-answer": faults.Reset(after_effect=True),
    "lost-to-a-gateway": faults.Answer(response=faults.html_error(504, HTML).response, after_effect=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize(("method", "path"), MUTATIONS, ids=[f"{method} {path}" for method, path in MUTATIONS])
def test_fault__at_a_request_that_changes_something__ends_well(
    stage: Stage, cloud: CloudState, method: str, path: str, fault: faults.Fault
) -> None:
    if method == "DELETE":
        stage.deploy("blue")
    cloud.faults.add(fault, method=method, path=path)
    outcome = stage.deploy("green")
    assert not cloud.faults.unused()
    assert outcome.status is Status.HEALTHY
    assert_one_serves(stage, model="2" if method == "DELETE" else "1")
    assert len(stage.model_versions()) == (2 if method == "DELETE" else 1)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_fault__at_the_deletion_of_an_endpoint__is_deleted(
    stage: Stage, cloud: CloudState, fault: faults.Fault
) -> None:
    stage.deploy("blue")
    cloud.faults.add(fault, method="DELETE", path=r"/onlineEndpoints/churn$")
    assert stage.run(command=Command.CLEANUP).status is Status.DELETED
    assert not cloud.faults.unused()
    assert stage.endpoint() is None


def test_wait__longer_than_the_deadline__is_timed_out_and_taken_back(stage: Stage, cloud: CloudState) -> None:
    old = stage.deploy("blue").deployment_name
    cloud.scripts.add("online-deployment-create", after_polls(400, "Updating", "Succeeded"), name="churn/g2-.*")
    with pytest.raises(DeployTimedOut):
        stage.deploy("green", deadline_s=300.0)
    assert stage.traffic == {old: 100}


def test_token__expires_in_a_long_wait__the_wait_goes_on(stage: Stage, cloud: CloudState) -> None:
    cloud.state(entra.Directory).token_lifetime_s = 600
    cloud.scripts.add("online-deployment-create", after_polls(300, "Updating", "Succeeded"), name="churn/g1-.*")
    began_s = stage.clock.now_s()
    assert stage.deploy("blue", deadline_s=3600.0).status is Status.HEALTHY
    assert stage.clock.now_s() - began_s > 1800
    assert len(cloud.trace.find(host=entra.HOST, method="POST")) >= 3


def unreachable(cloud: CloudState, how: str) -> None:
    if how == "private":
        cloud.state(endpoints.Endpoints).by_host(world.REGION, "churn").public_network_access = "Disabled"  # type: ignore[union-attr]
    else:
        cloud.faults.add(faults.Unreachable(), host="churn.eastus.inference.ml.azure.com", times=None)


@pytest.mark.parametrize("how", ["private", "no-route"])
def test_unreachable__smoke_test_required__is_red_and_never_rolled_back_as_wrong(
    stage: Stage, cloud: CloudState, how: str
) -> None:
    old = stage.deploy("blue").deployment_name
    unreachable(cloud, how)
    stage.place("green")
    job = stage.job(stage.request("green"))
    with pytest.raises(NotReachable) as raised:
        job.run()
    assert raised.value.exit_code == 8
    assert stage.traffic == {old: 100}
    [new] = [name for name in stage.deployments() if name != old]
    assert stage.deployments()[new]["properties"]["provisioningState"] == "Succeeded"
    assert "kept without traffic" in job.failure_of(raised.value).left_behind[0]
    outcome = stage.run("green", smoke_test=SmokeTest.BEST_EFFORT)
    assert (outcome.status, outcome.deployment_name) == (Status.UNVERIFIED, new)
    assert stage.traffic == {new: 100}


def test_private_workspace__is_told_before_anything(stage: Stage, cloud: CloudState) -> None:
    cloud.state(workspaces.Workspaces).default.public_network_access = "Disabled"
    stage.deploy("blue")
    assert any(title == "workspace-private" for _, title, _ in stage.platform.annotations)


def test_endpoint__creation_fails__tells_azures_reason_and_the_rerun_makes_it_anew(
    stage: Stage, cloud: CloudState
) -> None:
    error = {"code": "OutOfQuota", "message": "Not enough role assignments."}
    cloud.scripts.add("online-endpoint-create", after_polls(1, "Creating", "Failed", error=error), name="churn")
    with pytest.raises(MlazError, match="OutOfQuota") as raised:
        stage.deploy("blue")
    assert raised.value.exit_code == 6
    assert stage.deploy("blue").status is Status.HEALTHY


def test_service_name__is_told_before_the_first_request_that_changes_anything(stage: Stage, cloud: CloudState) -> None:
    since = last(cloud)
    cloud.faults.add(
        faults.json_error(403, {"error": {"code": "AuthorizationFailed", "message": "No."}}), method="PUT", times=None
    )
    with pytest.raises(MlazError):
        stage.deploy("blue")
    assert stage.platform.outputs["service-name"] == "churn"
    assert asked(cloud, since)


def test_secrets__of_a_deploy__stand_in_nothing_that_is_shown(stage: Stage, cloud: CloudState, tmp_path: Path) -> None:
    cloud.faults.add(faults.Unreachable(), host="wsmlstorage.blob.core.windows.net", times=None)
    with pytest.raises(MlazError) as raised:
        stage.deploy("blue")
    text, error = "", raised.value
    told: BaseException | None = error
    while told is not None:
        text += f"{told} {told!r}"
        told = told.__cause__
    shown = "\n".join([text, error.log, *stage.platform.lines, *(each for _, _, each in stage.platform.annotations)])
    assert "sig=" not in shown
    assert "wsmlstorage" in shown


# --- the container of the new version dies ---------------------------------------------------------------------------


MOMENTS = {
    "before": ("GET", r"/deployments/g2-[^/]+$"),
    "during": ("PUT", r"/onlineEndpoints/churn$"),
    "after": ("GET", r"/onlineEndpoints/churn$"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_container__of_the_new_version_dies__the_old_one_has_the_traffic_and_a_rerun_converges(
    stage: Stage, azure: Emulator, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    house = House.opened_in(stage.cloud)
    for name in ("blue", "green"):
        stage.place(name, marker=name)
    old = stage.run("blue").deployment_name
    door = azure._door
    answer = door.answer
    method, path = MOMENTS[moment]
    state = {"shifted": moment != "after"}

    def answer_and_kill(request: Asked) -> Delivery:
        delivery = answer(request)
        if request.method == "PUT" and request.path.endswith("/onlineEndpoints/churn"):
            state["shifted"] = True
        if state["shifted"] and request.method == method and re.search(path, request.path):
            house.statuses["green"] = 503
        return delivery

    with monkeypatch.context() as patch:
        patch.setattr(door, "answer", answer_and_kill, raising=False)
        with pytest.raises(SmokeTestFailed):
            stage.run("green")
    assert stage.traffic == {old: 100}
    assert list(stage.deployments()) == [old]
    house.statuses.clear()
    assert stage.run("green").status is Status.HEALTHY
    assert_one_serves(stage, model="2")
