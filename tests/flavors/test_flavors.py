"""Every flavor, end to end: the doctor's own lock, an environment built from it, score.py in Microsoft's server, the same predictions.

The model is trained and logged elsewhere, in an environment that knows nothing of the server.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.adapters.mlflow_store import MlflowStore
from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.checks import examine, raise_on_errors
from mlaz_ci.models import Command, Lock, PathSource, Request
from mlaz_ci.serving.matrix import SERVER_PACKAGE
from mlaz_ci.serving.swagger import render_swagger, sample_request
from tests.fakes.platform import RecordingPlatform
from tests.flavors.conftest import FAST, SLOW, Training, trained
from tests.serving.environments import CACHE, exclusive, lend_bytecode
from tests.serving.served import Served, serve


class _Silence:
    def update(self, done: float, total: float | None, unit: str) -> None:
        pass


def _cases(trainings: tuple[Training, ...]) -> list[Any]:
    """`-n 2 --dist loadgroup` trains for one mlflow while it serves for the other."""
    return [
        pytest.param(training, flavor, id=f"{flavor} {training}", marks=pytest.mark.xdist_group(str(training)))
        for training in trainings
        for flavor in training.flavors
    ]


@pytest.mark.parametrize(("training", "flavor"), _cases(FAST))
def test_flavor__served_from_its_lock__predicts_as_where_it_was_trained(
    training: Training, flavor: str, tmp_path: Path
) -> None:
    _serve_and_compare(trained(training, flavor), tmp_path)


@pytest.mark.slow_flavor
@pytest.mark.parametrize(("training", "flavor"), _cases(SLOW))
def test_slow_flavor__served_from_its_lock__predicts_as_where_it_was_trained(
    training: Training, flavor: str, tmp_path: Path
) -> None:
    _serve_and_compare(trained(training, flavor), tmp_path)


def _serve_and_compare(folder: Path, tmp_path: Path) -> None:
    store = MlflowStore(None, {}, RecordingPlatform())
    model = store.resolve(PathSource(path=folder / "model"), name=None)
    resolver = UvResolver(os.environ, CACHE / "uv")
    examination = examine(model, Request(command=Command.DEPLOY), resolver)
    raise_on_errors(examination.findings)
    assert examination.lock is not None
    assert examination.lock.version_of(SERVER_PACKAGE)
    python = _built(examination.lock, resolver)
    signature = model.facts.signature
    assert signature is not None
    files = render_swagger(signature, "flavors")
    cases = json.loads((folder / "cases.json").read_text())
    with serve(python, folder / "model", tmp_path / "service", files=files) as served:
        _compare(served, cases)
        assert served.score(sample_request(signature)).status == 200
        for version, text in (("2", files["swagger.json"]), ("3", files["swagger3.json"])):
            assert served.ask("GET", f"/swagger.json?version={version}").json == json.loads(text)


def _compare(served: Served, cases: list[dict[str, Any]]) -> None:
    assert len(cases) >= 3
    for case in cases:
        answer = served.score(case["body"])
        assert answer.status == 200, f"{case['form']}: {answer.text[:500]}\n{served.log}"
        assert answer.json == case["expected"], case["form"]


def _built(lock: Lock, resolver: UvResolver) -> Path:
    folder = CACHE / "environments" / f"lock-{lock.hash}"
    with exclusive(folder):
        if not (folder / ".complete").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            resolver.build(lock, folder, _Silence())
            lend_bytecode(folder)
            (folder / ".complete").touch()
    return folder / "bin" / "python"
