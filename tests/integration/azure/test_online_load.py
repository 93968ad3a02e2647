"""Rollouts under continuous load: no request fails, whatever becomes of the new version."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from tests.azure.arm import operations
from tests.azure.backends import Serving
from tests.azure.clock import RealClock
from tests.azure.inference import InferenceServer
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


def test_replace__of_a_service_that_needs_four_instances__refuses_nobody(
    stage: Stage, azure: Emulator, cloud: CloudState
) -> None:
    """Each instance takes two requests at a time, and six callers never rest: one instance would answer 429."""
    house = House.opened_in(cloud)
    house.takes_s = 0.05
    for each in ("blue", "green"):
        stage.place(each, marker=each)
    stage.run("blue", shape=AzureShape(instance_count=4))
    with Callers(azure, key_of(stage), b"{}", clients=6, pace_s=0.0) as callers:
        callers.wait_for(150)
        outcome = stage.run("green")
        callers.wait_for(callers.total + 150)
    print(f"\n{callers.total} requests of six callers, {len(callers.failed)} failed")
    assert outcome.status is Status.HEALTHY
    assert callers.failed == []
    assert len(callers.served) == 2


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
        run(real, "v2")
        with pytest.raises(SmokeTestFailed):
            run(real, "broken")
        assert run(real, "v3", strategy=Strategy.CANARY, canary_percent=20).status is Status.CANARY
        before = callers.models.copy()
        callers.wait_for(callers.total + 200)
        shared = callers.models - before
        run(real, "v3", Command.PROMOTE)
        run(real, "v4", strategy=Strategy.CANARY, canary_percent=10)
        run(real, "v4", Command.REJECT)
        callers.wait_for(REQUESTS)
    print(f"\n{callers.total} requests under load, {len(callers.failed)} failed; by model: {dict(callers.models)}")
    assert callers.failed == []
    assert callers.total >= REQUESTS
    assert set(callers.models) == {"[1.0]", "[2.0]", "[3.0]", "[4.0]"}
    assert shared["[3.0]"] / shared.total() == pytest.approx(0.2, abs=0.05)
    answer = real.side(real.request("v3")).score(
        "churn", None, ScoreRequest(body=json.dumps(EXAMPLE).encode(), origin="")
    )
    assert json.loads(answer.body) == [3.0]
