"""The fake resolver of the unit tests against uv itself, asked about the very same packages as files. No network."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.checks import Examination, examine
from mlaz_ci.serving.lock import locked_packages
from tests import samples
from tests.fakes.packages import SHELF
from tests.fakes.resolver import FakeResolver, write_packages
from tests.integration.uv_surroundings import surroundings
from tests.unit.checks.doctor import model_of

CASES = {
    "fits": (("mlflow==2.22.0", "scikit-learn==1.5.2"), "3.11.7"),
    "server before": (("mlflow==2.22.0", "flask==3.0.3"), "3.11.7"),
    "Python 3.8": (("mlflow==1.30.0", "scikit-learn==1.0.2"), "3.8.18"),
    "mlflow not pinned": (("mlflow", "scikit-learn==1.5.2"), "3.11.7"),
    "mlflow 2.9": (("mlflow==2.9.2", "scikit-learn==1.5.2"), "3.11.7"),
    "flask too old": (("mlflow==2.22.0", "flask==2.2.5"), "3.11.7"),
    "own conflict": (("mlflow==2.22.0", "pandas==2.2.3", "numpy==1.21.0"), "3.11.7"),
    "no wheel": (("mlflow==2.22.0", "scikit-learn==0.22.0"), "3.9.18"),
    "never a wheel": (("mlflow==2.22.0", "homegrown==1.0"), "3.11.7"),
    "unknown package": (("mlflow==2.22.0", "ourpackage==1"), "3.11.7"),
    "local version": (("mlflow==2.22.0", "torch==2.3.0+cu121"), "3.11.7"),
    "other Python": (("mlflow==2.22.0", "numpy==2.3.0"), "3.10.13"),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    write_packages(SHELF, folder)
    return folder


def story(examination: Examination) -> tuple[object, ...]:
    """What a user is told and gets, without uv's own wording and the name of the index."""
    errors = [(each.code, each.remedy) for each in examination.findings if each.code != "python-not-here"]
    lock = examination.lock
    versions = {each.name: each.version for each in locked_packages(lock.text)} if lock else None
    return errors, lock.server_range if lock else None, versions


@pytest.mark.parametrize(("requirements", "python"), CASES.values(), ids=CASES.keys())
def test_doctor__same_packages__fake_and_uv_tell_the_same_story(requirements, python, packages, tmp_path):
    model = model_of(*requirements, python=python)
    environ = surroundings(tmp_path, PIP_NO_INDEX="1", UV_FIND_LINKS=str(packages))
    with_fake = examine(model, samples.request(), FakeResolver(packages=SHELF))
    with_uv = examine(model, samples.request(), UvResolver(environ, tmp_path / "uv"))
    assert story(with_uv) == story(with_fake)
