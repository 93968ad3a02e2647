"""What of the model's environment is not pip's: conda packages, and the places that packages come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from packaging.utils import canonicalize_name

from mlaz_ci.models import Finding, Severity, Target
from mlaz_ci.serving.requirement_files import Requirements, name_of

# conda's name for a package whose pip name differs; what is in neither column has the same name in both, or is not Python.
_PIP_NAME: Final = {"pytorch": "torch", "py-xgboost": "xgboost", "py-lightgbm": "lightgbm", "pytables": "tables"}
_SAME_NAME: Final = frozenset(
    {
        "catboost",
        "cloudpickle",
        "joblib",
        "lightgbm",
        "matplotlib",
        "mlflow",
        "numpy",
        "onnx",
        "onnxruntime",
        "pandas",
        "pyarrow",
        "scikit-learn",
        "scipy",
        "statsmodels",
        "tensorflow",
        "xgboost",
    }
)


def check_conda_packages(requirements: Requirements, target: Target) -> Iterator[Finding]:
    """On Azure conda packages are installed by conda. Here there is no conda: only what pip brings as well can be left out."""
    if target is not Target.LOCAL or not requirements.conda_packages:
        return
    of_pip = {name_of(line) for line in requirements.pip}
    missing = [each for each in requirements.conda_packages if _pip_name(each) not in of_pip]
    covered = [each for each in requirements.conda_packages if each not in missing]
    if missing:
        known = [each for each in missing if _pip_name(each)]
        hint = f" pip has the same for {_listed(known)}." if known else ""
        yield Finding(
            code="conda-packages",
            severity=Severity.ERROR,
            what=f"conda.yaml of the model asks conda for {_listed(missing)}; a local service is made by pip alone.",
            usually="The model was logged with a conda environment of its own (`conda_env=…`)." + hint,
            remedy="Require the pip packages of the same name (`pip_requirements=…`), or choose an Azure target, which has conda.",
        )
    if covered:
        yield Finding(
            code="conda-packages-from-pip",
            severity=Severity.NOTICE,
            what=f"conda.yaml asks conda for {_listed(covered)}; here pip's package of the same name is used.",
            usually="The model requires both.",
            remedy="Nothing, if the versions agree.",
        )


def check_index(index: str, target: Target) -> Iterator[Finding]:
    if index and target is not Target.LOCAL:
        yield Finding(
            code="index-of-this-machine",
            severity=Severity.NOTICE,
            what=f"The packages were looked up here: {index}. Azure's image build asks the index that its workspace is set up with.",
            usually="UV_ or PIP_ variables of this machine name a private index or a folder.",
            remedy="Make sure that the workspace can reach the same packages (a private feed connection, or a `base-image` that has them).",
        )


def _pip_name(conda_package: str) -> str | None:
    match = re.match(r"(?:[^\s:]+::)?([A-Za-z0-9_.-]+)", conda_package)
    name = canonicalize_name(match[1]) if match else ""
    return _PIP_NAME.get(name, name if name in _SAME_NAME else None)


def _listed(packages: list[str]) -> str:
    shown = ", ".join(packages[:8])
    return shown + (f" and {len(packages) - 8} more" if len(packages) > 8 else "")
