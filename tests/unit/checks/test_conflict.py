"""Explanations of uv 0.13.9 as it wrote them, and what is made of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.checks.conflict import Reason, is_filtered_by_date, read_conflict

PYTHON_TOO_OLD = """error: No solution found when resolving dependencies
  cause: Because the requested Python version (>=3.10.13) does not satisfy Python>=3.11 and numpy==2.3.0 depends on Python>=3.11, we can conclude that numpy==2.3.0 cannot be used.
         And because you require numpy==2.3.0, we can conclude that your requirements are unsatisfiable.
"""
PYTHON_TOO_OLD_FOR_FILES = """error: No solution found when resolving dependencies
  cause: Because numpy==2.3.0 requires Python >=3.11 and you require numpy==2.3.0, we can conclude that your requirements are unsatisfiable.
"""
GUNICORN = """error: No solution found when resolving dependencies
  cause: Because azureml-inference-server-http>=1.4.0,<=1.4.1 depends on gunicorn{sys_platform != 'win32'}>=23.0.0 and mlflow==2.9.2 depends on gunicorn{sys_platform != 'win32'}<22, we can conclude that azureml-inference-server-http>=1.4.0,<=1.4.1 and mlflow==2.9.2 are incompatible.
         And because you require mlflow==2.9.2 and azureml-inference-server-http>=1.4,<1.5, we can conclude that your requirements are unsatisfiable.
"""
NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because scikit-learn==0.22 has no usable wheels and you require scikit-learn==0.22.0, we can conclude that your requirements are unsatisfiable.

hint: Wheels are required for `scikit-learn` because building from source is disabled for all packages (i.e., with `--no-build`)
"""
NOT_FOUND = """error: No solution found when resolving dependencies
  cause: Because our-own was not found in the package registry and you require our-own==1.0, we can conclude that your requirements are unsatisfiable.
"""
NO_VERSION = """error: No solution found when resolving dependencies
  cause: Because there is no version of scikit-learn==9.9.9 and you require scikit-learn==9.9.9, we can conclude that your requirements are unsatisfiable.
"""
BY_DATE = """error: No solution found when resolving dependencies
  cause: Because there are no versions of absl-py and you require absl-py, we can conclude that your requirements are unsatisfiable.

hint: `absl-py` was filtered by `exclude-newer` to only include packages uploaded before 2027-06-01T00:00:00Z. The latest version satisfying the requirement is v2.5.0.
"""
SERVER_INTERNAL = """error: No solution found when resolving dependencies
  cause: Because azureml-inference-server-http>=1.5.0 depends on opentelemetry-sdk==1.33.0 and opentelemetry-sdk>=1.25.0 depends on opentelemetry-api==1.25.0, we can conclude that azureml-inference-server-http>=1.5.0 depends on opentelemetry-api==1.25.0.
"""


@pytest.mark.parametrize(("text", "requirements", "reason", "suspects", "sentence"), [
    (PYTHON_TOO_OLD, ("mlflow==2.22.0", "numpy==2.3.0"), Reason.OTHER_PYTHON, ("numpy",), "numpy==2.3.0 needs Python >=3.11"),
    (PYTHON_TOO_OLD_FOR_FILES, ("numpy==2.3.0",), Reason.OTHER_PYTHON, ("numpy",), "numpy==2.3.0 needs Python >=3.11"),
    (GUNICORN, ("scikit-learn==1.3.2", "mlflow==2.9.2"), Reason.INCOMPATIBLE, ("mlflow",),
     "mlflow==2.9.2 needs gunicorn<22; azureml-inference-server-http>=1.4.0,<=1.4.1 needs gunicorn>=23.0.0"),
    (NO_WHEEL, ("scikit-learn==0.22.0",), Reason.NO_WHEEL, ("scikit-learn",), "scikit-learn==0.22.0"),
    (NOT_FOUND, ("our-own==1.0",), Reason.NOT_FOUND, ("our-own",), "our-own==1.0"),
    (NOT_FOUND, ("mlflow==2.9.2",), Reason.NOT_FOUND, (), "our-own"),
    (NO_VERSION, ("scikit-learn==9.9.9",), Reason.NO_VERSION, ("scikit-learn",), "scikit-learn==9.9.9"),
    ("error: something new", ("mlflow==2.9.2",), Reason.UNEXPLAINED, (), ""),
], ids=["python", "python, files", "gunicorn", "no wheel", "not found", "not found, transitive", "no version", "unknown wording"])  # fmt: skip
def test_read_conflict__recorded_explanation__reason_suspects_and_sentence(
    text, requirements, reason, suspects, sentence
):
    conflict = read_conflict(text, requirements)
    assert (conflict.reason, conflict.suspects) == (reason, suspects)
    assert conflict.sentence == sentence


def test_read_conflict__only_the_servers_own_needs_clash__nobody_of_the_model_is_suspected():
    conflict = read_conflict(SERVER_INTERNAL, ("mlflow==2.9.2",))
    assert (conflict.reason, conflict.suspects) == (Reason.INCOMPATIBLE, ())
    assert "opentelemetry-sdk>=1.25.0 needs opentelemetry-api==1.25.0" in conflict.sentence


@pytest.mark.parametrize(("text", "is_so"), [(BY_DATE, True), (NO_VERSION, False)], ids=["by date", "none at all"])
def test_is_filtered_by_date__hint__tells(text, is_so):
    assert is_filtered_by_date(text) is is_so


@given(st.text())
def test_read_conflict__any_text__never_fails_and_suspects_only_the_models_own(text):
    conflict = read_conflict(text, ("mlflow==2.9.2", "scikit-learn==1.0"))
    assert set(conflict.suspects) <= {"mlflow", "scikit-learn"}
