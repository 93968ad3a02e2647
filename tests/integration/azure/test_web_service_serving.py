"""Services that really run: Microsoft's inference server with our script and lock, and a scikit-learn model, on the emulator's ACI and AKS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.mlflow_store import MlflowStore
from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.errors import ContainerCrashed
from mlaz_ci.models import AuthMode, AzureShape, Command, ModelRef, PathSource, RunSource, Status, Target
from tests.azure.backends import Serving
from tests.azure.inference import InferenceServer
from tests.azure.server import Emulator
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.conftest import HOSTED, SECRET
from tests.integration.azure.web_service import CLUSTER, RunStore, Scene
from tests.integration.uv_surroundings import surroundings

# Before a test points this process at the emulator: uv asks the machine's own index.
_HOME = Path(os.environ.get("MLAZ_TEST_CACHE") or Path.home() / ".cache" / "mlaz-ci-tests")
_OUTSIDE = surroundings(_HOME)
ROWS = [[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models that predict differently, and one that cannot be loaded."""
    mlflow = pytest.importorskip("mlflow")
    import numpy as np
    import sklearn
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    found = {}
    for name, answers in (("first", [3.0, 8.0, 8.5]), ("second", [30.0, 80.0, 85.0])):
        folder = tmp_path_factory.mktemp("trained") / name
        model = LinearRegression().fit(ROWS, answers)
        signature = infer_signature(np.array(ROWS), np.array(answers))
        needs = [f"mlflow=={mlflow.__version__}", f"scikit-learn=={sklearn.__version__}", f"numpy=={np.__version__}"]
        mlflow.sklearn.save_model(
            model, folder, signature=signature, input_example=np.array(ROWS[:1]), pip_requirements=needs
        )
        found[name] = folder
    broken = tmp_path_factory.mktemp("trained") / "broken"
    for file in found["first"].rglob("*"):
        if file.is_file():
            target = broken / file.relative_to(found["first"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"no model" if file.suffix in {".pkl", ".skops"} else file.read_bytes())
    return {**found, "broken": broken}


def predict(folder: Path) -> list[float]:
    import mlflow
    import numpy as np

    return [float(each) for each in mlflow.pyfunc.load_model(str(folder)).predict(np.array(ROWS))]


@pytest.fixture
def real(azure: Emulator, platform: RecordingPlatform, tmp_path: Path) -> Iterator[Scene]:
    """A scene in real time: what serves takes seconds to start."""
    from mlaz_ci.adapters.identity import sign_in
    from mlaz_ci.models import Cloud

    clock: Any = SystemClock()
    azure.cloud.live(Serving).backend = InferenceServer()
    credential = sign_in(SECRET, {**HOSTED, **azure.credentials()}, Cloud.PUBLIC, clock, platform)
    scene = Scene(azure, clock, platform, credential, tmp_path)
    scene.resolver = UvResolver(_OUTSIDE, _HOME / "uv")
    yield scene
    azure.cloud.live(Serving).close()


def log(scene: Scene, run_id: str, folder: Path) -> None:
    """The model as a run of the workspace logged it: its facts are read as the product reads them, its bytes lie in Azure."""
    resolved: ModelRef = MlflowStore(None, {}, scene.platform).resolve(PathSource(path=folder), name="churn")
    files = {
        each.relative_to(folder).as_posix(): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()
    }
    in_run = scene.log_run(run_id, files)
    model = replace(
        resolved,
        source=RunSource(run_id=run_id, path="model"),
        run_id=run_id,
        artifact_uri=in_run.artifact_uri,
        logged_at=None,
        is_in_workspace=True,
    )
    scene.store = RunStore(model)


def invoke(scene: Scene, file: Path) -> list[float]:
    file.write_text(json.dumps({"input_data": ROWS}))
    outcome = scene.run(Command.INVOKE, request_file=file)
    assert outcome.response
    assert outcome.response.is_success, outcome.response.body
    return [float(each) for each in json.loads(outcome.response.body)]


def test_aci__a_whole_life__predicts_what_the_model_predicts(
    real: Scene, trained: dict[str, Path], tmp_path: Path
) -> None:
    shape = AzureShape(cpu_cores=0.5, memory_gb=1.0, auth=AuthMode.KEY)
    real.request = replace(real.request, shape=shape)
    rows = tmp_path / "rows.json"
    log(real, "run-first", trained["first"])
    first = real.deploy()
    assert first.status is Status.HEALTHY
    assert first.smoke_test
    assert first.smoke_test.spec_hash == real.payload["kvTags"]["mlaz-spec"]
    assert invoke(real, rows) == pytest.approx(predict(trained["first"]))
    assert real.deploy().status is Status.UNCHANGED

    log(real, "run-broken", trained["broken"])
    with pytest.raises(ContainerCrashed) as raised:
        real.deploy()
    assert "Traceback" in raised.value.log
    assert invoke(real, rows) == pytest.approx(predict(trained["first"]))

    log(real, "run-second", trained["second"])
    second = real.deploy()
    assert (second.status, second.scoring_uri) == (Status.HEALTHY, first.scoring_uri)
    assert invoke(real, rows) == pytest.approx(predict(trained["second"]))

    assert real.run(Command.ROLLBACK).status is Status.ROLLED_BACK
    assert invoke(real, rows) == pytest.approx(predict(trained["first"]))
    assert real.run(Command.CLEANUP).status is Status.DELETED


def test_aks__by_token__predicts_what_the_model_predicts(real: Scene, trained: dict[str, Path], tmp_path: Path) -> None:
    shape = AzureShape(compute=CLUSTER, auth=AuthMode.TOKEN)
    real.request = replace(real.request, target=Target.AKS, shape=shape)
    real.add_cluster()
    log(real, "run-first", trained["first"])
    assert real.deploy().status is Status.HEALTHY
    assert invoke(real, tmp_path / "rows.json") == pytest.approx(predict(trained["first"]))
