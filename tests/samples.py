"""Values that many tests start from; each takes what the test is about and fills in the rest."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.models import (
    Command,
    DeploymentFacts,
    DeploymentSpec,
    LocalShape,
    Lock,
    ModelFacts,
    ModelRef,
    ModelSignature,
    PathSource,
    Request,
    ServiceFacts,
    ServiceState,
    Target,
)

NOON = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
EXAMPLE = '{"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}'


def facts(**changes: Any) -> ModelFacts:
    values: dict[str, Any] = {
        "mlmodel_text": "flavors: {python_function: {}}",
        "flavors": {"python_function": {"loader_module": "mlflow.sklearn"}},
        "python_version": "3.11.7",
        "mlflow_version": "3.15.0",
        "signature": ModelSignature(inputs=({"type": "double", "name": "x", "required": True},)),
        "requirement_files": {"requirements.txt": "mlflow==3.15.0\nscikit-learn==1.9.1\n"},
        "input_example": EXAMPLE,
    }
    return ModelFacts(**{**values, **changes})


def model(**changes: Any) -> ModelRef:
    values: dict[str, Any] = {
        "source": PathSource(path=Path("models/churn")),
        "name": "churn",
        "version": None,
        "run_id": None,
        "artifact_uri": "file:///models/churn",
        "facts": facts(),
        "digest": "d1",
        "size_bytes": 2_000_000,
        "logged_at": NOON,
        "tracking_uri": "",
    }
    return ModelRef(**{**values, **changes})


def lock(text: str = "mlflow==3.15.0 \\\n    --hash=sha256:00\n") -> Lock:
    return Lock(text=text, python_version="3.11", server_range="==1.5.*", base_image="base")


def request(**changes: Any) -> Request:
    values: dict[str, Any] = {
        "command": Command.DEPLOY,
        "target": Target.LOCAL,
        "source": PathSource(path=Path("models/churn")),
        "service_name": "churn",
        "owner": "repo:1",
    }
    return Request(**{**values, **changes})


def spec(**changes: Any) -> DeploymentSpec:
    values: dict[str, Any] = {
        "service_name": "churn",
        "deployment_name": "g1",
        "model": model(),
        "lock": lock(),
        "shape": LocalShape(),
        "files": {},
        "tags": {},
        "owner": "repo:1",
    }
    return DeploymentSpec(**{**values, **changes})


def deployment(name: str = "g1", **changes: Any) -> DeploymentFacts:
    values: dict[str, Any] = {
        "name": name,
        "state": ServiceState.HEALTHY,
        "spec_hash": f"spec-{name}",
        "lock_hash": "lock",
        "model_label": f"churn/{name}",
        "model_version": None,
        "created_at": NOON,
        "port": 5000,
    }
    return DeploymentFacts(**{**values, **changes})


def service(**changes: Any) -> ServiceFacts:
    values: dict[str, Any] = {
        "name": "churn",
        "target": Target.LOCAL,
        "state": ServiceState.HEALTHY,
        "owner": "repo:1",
        "scoring_uri": "http://localhost:5000/score",
        "swagger_uri": "http://localhost:5000/swagger.json",
        "port": 5000,
        "live": "g1",
        "previous": None,
        "deployments": (deployment("g1"),),
        "tags": {},
        "created_at": NOON,
    }
    return ServiceFacts(**{**values, **changes})


def wire_folder() -> Path:
    """Microsoft's files and the recordings, beside the checkout or where MLAZ_WIRE says; the test is skipped without them."""
    folder = Path(os.environ.get("MLAZ_WIRE") or Path(__file__).resolve().parents[2] / "shared" / "wire")
    if not folder.is_dir():
        pytest.skip("needs Microsoft's files: set MLAZ_WIRE")
    return folder
