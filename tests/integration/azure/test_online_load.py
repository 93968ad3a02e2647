"""Rollouts under continuous load: no request fails, whatever becomes of the new version."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.identity import Credential, sign_in
from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.errors import SmokeTestFailed
from mlaz_ci.models import (
    AzureShape,
    Cloud,
    Command,
    ModelRef,
    ModelSource,
    Request,
    RunSource,
    ScoreRequest,
    SignIn,
    Status,
    Strategy,
)
from mlaz_ci.operations import Job
from tests import samples
from tests.azure import conda, storage, world
from tests.azure.arm import deployments as deployed
from tests.azure.arm import operations
from tests.azure.backends import Serving
from tests.azure.clock import RealClock
from tests.azure.inference import InferenceServer, Running
from tests.azure.messages import Delivery
from tests.azure.messages import Request as Asked
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.callers import Callers
from tests.integration.azure.conftest import HOSTED, SECRET
from tests.integration.azure.online import House, RunStore, Stage

REQUESTS = 2_000
EXAMPLE = {"input_data": {"columns": ["x"], "index": [0], "data": [[1.0]]}}


def key_of(stage: Stage) -> str:
    return str(stage.arm("POST", "/onlineEndpoints/churn/listKeys")["primaryKey"])


# --- a service that needs four instances ------------------------------------------------------------------------------


def test_rollouts__of_a_service_that_needs_four_instances__refuse_nobody_and_share_as_planned(
    stage: Stage, azure: Emulator, cloud: CloudState
) -> None:
    """Each instance takes two requests at a time, and six callers never rest: one instance would answer 429."""
    house = House.opened_in(cloud)
    house.takes_s = 0.05
    house.statuses["broken"] = 500
    for each in ("v1", "v2", "broken", "v3", "v4"):
        stage.place(each, marker=each)
    stage.run("v1", shape=AzureShape(instance_count=4))
    with Callers(azure, key_of(stage), b"{}", clients=6, pace_s=0.0) as callers:
        assert_shares_as_planned(callers, stage.run, {each: json.dumps({"model": each}) for each in VERSIONS})
        callers.wait_for(REQUESTS)
    print(f"\n{callers.total} requests of six callers, {len(callers.failed)} failed")
    assert callers.failed == []
    assert callers.total >= REQUESTS


def test_replace__by_one_that_is_too_small__is_refused_by_callers(
    stage: Stage, azure: Emulator, cloud: CloudState
) -> None:
    """What the test above rests on: that four instances are needed."""
    house = House.opened_in(cloud)
    house.takes_s = 0.05
    stage.place("v1", marker="v1")
    stage.run("v1")
    with Callers(azure, key_of(stage), b"{}", clients=6, pace_s=0.0) as callers:
        callers.wait_for(100)
    assert any(each.startswith("429") for each in callers.failed)


VERSIONS = ("v1", "v2", "v3", "v4")


def assert_shares_as_planned(callers: Callers, run: Callable[..., Any], answers: dict[str, str]) -> None:
    """replace, a failed replace, canary and promote, canary and reject; who answers in and after each, to the percent."""
    v1, v2, v3, v4 = (answers[each] for each in VERSIONS)
    assert callers.next(100) == {v1: 1.0}
    assert run("v2").status is Status.HEALTHY
    assert callers.next(100) == {v2: 1.0}
    before = callers.models.copy()
    with pytest.raises(SmokeTestFailed):
        run("broken")
    assert set(callers.models - before) == {v2}, "a replace that fails never has a share"
    assert callers.next(100) == {v2: 1.0}
    assert run("v3", strategy=Strategy.CANARY, canary_percent=20).status is Status.CANARY
    assert callers.next(300) == {v2: pytest.approx(0.8, abs=0.02), v3: pytest.approx(0.2, abs=0.02)}
    assert run("v3", Command.PROMOTE).status is Status.PROMOTED
    assert callers.next(100) == {v3: 1.0}
    assert run("v4", strategy=Strategy.CANARY, canary_percent=10).status is Status.CANARY
    assert callers.next(300) == {v3: pytest.approx(0.9, abs=0.02), v4: pytest.approx(0.1, abs=0.02)}
    assert run("v4", Command.REJECT).status is Status.REJECTED
    assert callers.next(100) == {v3: 1.0}
    assert set(callers.models) == {v1, v2, v3, v4}


# --- real models -------------------------------------------------------------------------------------------------------


class ModelStore(RunStore):
    """Runs whose models are real: the files of each lie among its artifacts."""

    requirements: str = ""

    def resolve(self, source: ModelSource, *, name: str | None) -> ModelRef:
        assert isinstance(source, RunSource)
        facts = samples.facts(
            requirement_files={"requirements.txt": self.requirements}, input_example=json.dumps(EXAMPLE), signature=None
        )
        return samples.model(
            source=source,
            name="churn",
            run_id=source.run_id,
            artifact_uri=f"runs:/{source.run_id}/model",
            digest=source.run_id,
            facts=facts,
            is_in_workspace=True,
        )


def save_models(folder: Path) -> dict[str, Path]:
    """Five versions that answer with their own number; "broken" was fitted on three columns and refuses the example."""
    mlflow = pytest.importorskip("mlflow")
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import LinearRegression

    needs = [f"{each}=={metadata.version(each)}" for each in ("mlflow", "scikit-learn", "numpy", "pandas")]
    made = {}
    for number in range(1, 5):
        made[f"v{number}"] = DummyRegressor(strategy="constant", constant=float(number)).fit([[0.0], [1.0]], [0.0, 1.0])
    made["broken"] = LinearRegression().fit([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]], [1.0, 2.0])
    for name, model in made.items():
        # Named, since mlflow takes seconds to find them out.
        mlflow.sklearn.save_model(model, folder / name, pip_requirements=needs)
    return {name: folder / name for name in made}


@pytest.fixture
def real(azure: Emulator, cloud: CloudState, tmp_path: Path) -> Iterator[Stage]:
    """Services in Microsoft's inference server, in real seconds."""
    cloud.clock = RealClock()
    cloud.live(Serving).backend = InferenceServer()
    cloud.state(operations.Operations).retry_after_s = 0.1
    platform, clock = RecordingPlatform(), SystemClock()

    def sign(given: SignIn = SECRET, *_: Any) -> Credential:
        return sign_in(given, {**HOSTED, **azure.credentials()}, Cloud.PUBLIC, clock, platform)

    store = ModelStore()
    stage = Stage(cloud=cloud, sign_in_as=sign, clock=clock, folder=tmp_path, platform=platform, store=store)  # type: ignore[arg-type]
    stage.base = {
        "shape": AzureShape(raw={"deployment": {"requestSettings": {"maxConcurrentRequestsPerInstance": 10}}})
    }
    for name, folder in save_models(tmp_path / "saved").items():
        store.requirements = (folder / "requirements.txt").read_text()
        for path in folder.rglob("*"):
            if path.is_file():
                blob = f"ExperimentRun/dcid.{name}/model/{path.relative_to(folder).as_posix()}"
                storage.write(cloud, world.STORAGE_ACCOUNT, storage.ARTIFACT_CONTAINER, blob, path.read_bytes())
    yield stage
    cloud.live(Serving).close()


def run(stage: Stage, run_id: str, command: Command = Command.DEPLOY, **changes: Any) -> Any:
    request: Request = stage.request(run_id, command, **changes)
    job = stage.job(request)
    resolver = UvResolver(conda._OUTSIDE, stage.folder / "uv")
    return Job(request=request, ports=job.ports, resolver=resolver).run()


def test_rollouts__real_serving_under_load__not_one_request_fails(real: Stage, azure: Emulator) -> None:
    first = run(real, "v1")
    assert first.status is Status.HEALTHY
    assert first.smoke_test.spec_hash
    with Callers(azure, key_of(real), json.dumps(EXAMPLE).encode()) as callers:
        assert_shares_as_planned(callers, partial(run, real), {f"v{each}": f"[{each}.0]" for each in range(1, 5)})
        callers.wait_for(REQUESTS)
    print(f"\n{callers.total} requests under load, {len(callers.failed)} failed; by model: {dict(callers.models)}")
    assert callers.failed == []
    assert callers.total >= REQUESTS
    answer = real.side(real.request("v3")).score(
        "churn", None, ScoreRequest(body=json.dumps(EXAMPLE).encode(), origin="")
    )
    assert json.loads(answer.body) == [3.0]


# --- the container of the new version is killed ------------------------------------------------------------------------


def kill_newest(cloud: CloudState) -> str:
    """SIGKILL to the process that serves the deployment made last; the deployment's name."""
    with cloud.lock:
        newest = max(cloud.state(deployed.Deployments).by_key.values(), key=lambda each: each.name)
        key = newest.serving
    start = cloud.live(Serving).start_of(key or "")
    assert start is not None
    assert isinstance(start.handle, Running)
    os.killpg(start.handle._process.pid, signal.SIGKILL)
    return newest.name


@dataclass
class Killer:
    """Kills the container of the newest deployment once, right after the first answer for which `is_time`."""

    cloud: CloudState
    answer: Callable[[Asked], Delivery]
    is_time: Callable[[Asked, Delivery], bool]
    killed: str | None = None

    def __call__(self, request: Asked) -> Delivery:
        delivery = self.answer(request)
        if self.killed is None and self.is_time(request, delivery):
            self.killed = kill_newest(self.cloud)
        return delivery


def _told(delivery: Delivery) -> dict[str, Any]:
    body = delivery.response.body  # type: ignore[union-attr]
    return dict(json.loads(body)["properties"]) if isinstance(body, bytes) and body else {}


def _is_ready(request: Asked, delivery: Delivery) -> bool:
    """The deployment was just seen healthy, and has answered nobody."""
    is_look = request.method == "GET" and re.search(r"/deployments/g2-[^/]+$", request.path)
    return bool(is_look) and _told(delivery).get("provisioningState") == "Succeeded"


def _is_shifting(request: Asked, delivery: Delivery) -> bool:
    return request.method == "PUT" and request.path.endswith("/onlineEndpoints/churn")


def _has_shifted(request: Asked, delivery: Delivery) -> bool:
    """The look after the write, which shows that the new one has all of the traffic."""
    if request.method != "GET" or not request.path.endswith("/onlineEndpoints/churn"):
        return False
    return any(name.startswith("g") and int(name[1]) > 1 for name in _told(delivery).get("traffic", {}))


@pytest.mark.parametrize(
    "is_time", [_is_ready, _is_shifting, _has_shifted], ids=["before-the-shift", "during-the-shift", "after-the-shift"]
)
def test_container__of_the_new_version_is_killed__the_old_one_answers_and_a_rerun_converges(
    real: Stage, azure: Emulator, cloud: CloudState, monkeypatch: pytest.MonkeyPatch, is_time: Any
) -> None:
    old = run(real, "v1").deployment_name
    door = azure._door
    killer = Killer(cloud, door.answer, is_time)
    with Callers(azure, key_of(real), json.dumps(EXAMPLE).encode()) as callers:
        callers.next(50)
        with monkeypatch.context() as patch:
            patch.setattr(door, "answer", killer, raising=False)
            with pytest.raises(SmokeTestFailed):
                run(real, "v2")
        assert killer.killed not in {None, old}
        assert real.traffic == {old: 100}
        assert list(real.deployments()) == [old]
        failed = len(callers.failed)
        assert callers.next(100) == {"[1.0]": 1.0}
        assert run(real, "v2").status is Status.HEALTHY
        assert callers.next(100) == {"[2.0]": 1.0}
    [new] = real.deployments()
    assert real.traffic == {new: 100}
    print(f"\n{callers.total} requests, {failed} failed, all of them sent to the killed container")
    # Whoever was sent to the old version was answered; nobody failed once the traffic was back.
    assert set(callers.refused) <= {killer.killed}
    assert len(callers.failed) == failed == callers.refused.total()
    assert (failed == 0) is (is_time is _is_ready)
