"""One real service for each (inference server range, model), started when first asked for and kept for the module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serving.environments import made_by, serving_environment
from tests.serving.served import Served, serve

MODELS_SCRIPT = Path(__file__).with_name("models.py")


@dataclass(frozen=True, kw_only=True)
class Stand:
    """A supported range of the inference server, with a Python and an mlflow that meet it."""

    server: str
    python_version: str
    mlflow_version: str

    @property
    def requirements(self) -> list[str]:
        # mlflow 1.x imports pkg_resources and does not say so.
        setuptools = ["setuptools<81"] if self.mlflow_version.startswith("1.") else []
        # The full mlflow of that time says pandas<3, its skinny half says nothing.
        pandas = "pandas" if self.mlflow_version.startswith("3.") else "pandas<3"
        return [f"mlflow-skinny=={self.mlflow_version}", pandas, "scikit-learn", "cloudpickle", *setuptools]


STANDS = [
    Stand(server="==1.5.*", python_version="3.11", mlflow_version="3.15.0"),
    Stand(server=">=1.4,<1.5", python_version="3.11", mlflow_version="2.22.0"),
    Stand(server=">=1.2,<1.3", python_version="3.8", mlflow_version="1.30.0"),
]
VARIABLES = {"MLAZ_SPEC": "spec-1234"}

ServiceOf = Callable[[str], Served]


@pytest.fixture(scope="module", params=STANDS, ids=lambda stand: f"server {stand.server}")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceOf]:
    stand: Stand = request.param
    python = serving_environment(stand.requirements, stand.python_version, [stand.server])
    models = made_by(python, MODELS_SCRIPT)
    running: dict[str, Served] = {}
    with ExitStack() as stack:

        def service_of(name: str) -> Served:
            if not (models / name).is_dir():
                pytest.skip(f"mlflow {stand.mlflow_version} cannot express the model {name!r}")
            if name not in running:
                home = tmp_path_factory.mktemp(name)
                running[name] = stack.enter_context(serve(python, models / name, home, VARIABLES))
            return running[name]

        yield service_of
