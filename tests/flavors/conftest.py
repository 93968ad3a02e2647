"""Models trained in environments of their own, kept in the cache under the script and the lock they were made with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flavors.switch import pytest_addoption, pytest_collection_modifyitems
from tests.serving.environments import CACHE, digest, environment, exclusive, first_interpreter, lock

__all__ = ["pytest_addoption", "pytest_collection_modifyitems"]

TRAINING_SCRIPT = Path(__file__).with_name("train.py")


@dataclass(frozen=True, kw_only=True)
class Training:
    """Where models are logged: an mlflow, and Pythons in order of preference. `flavors` share one environment."""

    mlflow: str
    pythons: tuple[str, ...]
    packages: tuple[str, ...]
    flavors: tuple[str, ...]

    def __str__(self) -> str:
        return f"mlflow {self.mlflow}"


_FAST_FLAVORS = ("sklearn", "xgboost", "lightgbm", "code_paths", "params", "onnx", "statsmodels")
# statsmodels 0.15 wants a wrapt that the inference server excludes on Python 3.13; the doctor says so, and to take the one before.
_FAST_PACKAGES = ("scikit-learn", "xgboost-cpu", "lightgbm", "onnx", "onnxruntime", "statsmodels<0.15")
# The store of mlflow 2.22 does not import under SQLAlchemy 2.1; its requirements do not say so.
_MLFLOW_2_22 = ("mlflow==2.22.*", "sqlalchemy<2.1")
# mlflow 3.15 saves scikit-learn models with skops, and does not require it.
_MLFLOW_3_15 = ("mlflow==3.15.*", "skops")

FAST = (
    Training(
        mlflow="2.22",
        pythons=("3.13", "3.12", "3.11"),
        packages=(*_MLFLOW_2_22, *_FAST_PACKAGES),
        flavors=_FAST_FLAVORS,
    ),
    Training(
        mlflow="3.15",
        pythons=("3.12", "3.13", "3.11"),
        packages=(*_MLFLOW_3_15, *_FAST_PACKAGES),
        flavors=_FAST_FLAVORS,
    ),
    # Later setuptools take the place of the distutils that mlflow 1.30 has imported already.
    Training(
        mlflow="1.30",
        pythons=("3.8",),
        packages=("mlflow==1.30.*", "scikit-learn", "setuptools<60"),
        flavors=("sklearn",),
    ),
)
SLOW = tuple(
    Training(mlflow=version, pythons=("3.11",), packages=(*mlflow, "scikit-learn", package), flavors=(flavor,))
    for version, mlflow in (("2.22", _MLFLOW_2_22), ("3.15", _MLFLOW_3_15))
    for flavor, package in (("pytorch", "torch==2.13.*"), ("keras", "tensorflow-cpu"))
)


def trained(training: Training, flavor: str) -> Path:
    """The folder that train.py left for `flavor`: model/ and cases.json."""
    python_version = first_interpreter(training.pythons)
    locked = lock(training.packages, python_version)
    _refuse_gpu_libraries(locked)
    folder = CACHE / "models" / digest(TRAINING_SCRIPT.read_text(), locked, *training.flavors)
    with exclusive(folder):
        if not folder.is_dir():
            python = environment(locked, python_version)
            with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
                _train(python, Path(draft), training.flavors)
                shutil.move(draft, folder)
                Path(draft).mkdir()  # what the context manager removes
    return folder / flavor


def _train(python: Path, folder: Path, flavors: tuple[str, ...]) -> None:
    done = subprocess.run(
        [python, TRAINING_SCRIPT, folder, *flavors],
        check=False, capture_output=True, text=True, timeout=900,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", "GIT_PYTHON_REFRESH": "quiet",
             **{name: value for name, value in os.environ.items() if name.startswith("OPENBLAS")}},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def _refuse_gpu_libraries(locked: str) -> None:
    gpu = sorted(line.split("==")[0] for line in locked.splitlines() if line.startswith(("nvidia-", "triton==")))
    if gpu:
        pytest.skip(
            f"the index here offers PyTorch with {len(gpu)} GPU packages only (gigabytes): point UV_INDEX at PyTorch's own index "
            "for CPUs, or PIP_FIND_LINKS at a folder with its wheel"
        )
