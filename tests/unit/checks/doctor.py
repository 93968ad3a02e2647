"""One door for the doctor's tests: a model by what matters of it, in; what the doctor found, out."""

from __future__ import annotations

from typing import Any

from mlaz_ci.checks import Examination, examine
from mlaz_ci.models import Finding, ModelRef, Severity
from tests import samples
from tests.fakes.packages import SHELF
from tests.fakes.resolver import FakeResolver


def model_of(
    *requirements: str, python: str | None = "3.11.7", mlflow: str | None = "2.22.0", **changes: Any
) -> ModelRef:
    files = {"requirements.txt": "\n".join(requirements)}
    facts = samples.facts(**{"requirement_files": files, "python_version": python, "mlflow_version": mlflow, **changes})
    return samples.model(facts=facts)


def shelf(**changes: Any) -> FakeResolver:
    return FakeResolver(**{"packages": SHELF, **changes})


def diagnose(
    *requirements: str,
    python: str | None = "3.11.7",
    mlflow: str | None = "2.22.0",
    resolver: FakeResolver | None = None,
    request: Any = None,
    collects_data: bool = False,
    **changes: Any,
) -> Examination:
    model = model_of(*requirements, python=python, mlflow=mlflow, **changes)
    return examine(model, request or samples.request(), resolver or shelf(), collects_data=collects_data)


def errors(examination: Examination) -> dict[str, Finding]:
    return {each.code: each for each in examination.findings if each.severity is Severity.ERROR}


def codes(examination: Examination) -> set[str]:
    return {each.code for each in examination.findings}


def found(examination: Examination, code: str) -> Finding:
    return next(each for each in examination.findings if each.code == code)
