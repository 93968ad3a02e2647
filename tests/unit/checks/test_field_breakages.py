"""What broke for others when they deployed MLflow models to Azure ML: one test per report that a check can catch.

| report | what broke | check | test |
|---|---|---|---|
| microsoft/azureml-inference-server#112 | MLflow models cannot be deployed without a scoring script | `requirements`: the lock always has the server | `…server_112…` |
| Azure/azureml-examples#4008 | the generated script imports azureml.ai.monitoring unconditionally | `requirements`: the collector is locked when data is collected, and only then | `…examples_4008…` |
| Azure/azureml-examples#3904, #3923, #4031 | the same; cured by hand in conda.yaml | `own_packages`: that line still resolves, with a notice | `…examples_3904…` |
| Azure/azureml-examples#4004 | the image has server 1.3.4, which crashes at start | `own_packages`, `environment`: 1.3.* is never locked nor reused | `…examples_4004…` |
| Azure/azureml-examples#4009, #4012 | server 1.4 and later dropped Python 3.8 | `requirements`: Python 3.8 gets >=1.2,<1.3 | `…examples_4009…` |
| Azure/azureml-examples#4051 | unpinned mlflow became 3.x | `own_packages`: pinned to what logged the model | `…examples_4051…` |
| Azure/azureml-examples#3873, #3875 | a model of one mlflow major served by another | `own_packages`: warned | `…examples_3873…` |
| Azure/azureml-examples#3902 | no-code packages pinned by hand | `own_packages`: resolve together, with notices | `…examples_3902…` |
| MicrosoftLearning/mslearn-mlops#60 | Python 3.7 model: ImageBuildFailure and 502, no reason | `python`: refused with the reason | `…mslearn_mlops_60…` |
| MicrosoftLearning/mslearn-aml-cli#5 | 502 until the server was added to conda.yaml | `requirements`: a conda.yaml without it gets it | `…mslearn_aml_cli_5…` |

Not caught by a check of the model: Azure/azure-cli-extensions#5583 (no-code image without egress). Our deployments bring their own script and
environment, so its error cannot arise; whether the workspace can build an image without egress is a fact of the workspace, not of the model.
"""

from __future__ import annotations

import pytest

from mlaz_ci.checks import examine, raise_on_errors
from mlaz_ci.checks.kept_lock import render_kept_lock
from mlaz_ci.errors import PythonNotAvailable
from mlaz_ci.models import Severity
from mlaz_ci.serving.matrix import BASE_IMAGE
from tests import samples
from tests.fakes.packages import SERVER
from tests.fakes.resolver import locked_entry
from tests.unit.checks.doctor import codes, diagnose, errors, found, model_of, shelf

COLLECTOR = "azureml-ai-monitoring"

CONDA = """
name: mlflow-env
channels: [conda-forge]
dependencies:
- python={python}
- pip<=24.0
- pip:
  - mlflow=={mlflow}
  - scikit-learn=={sklearn}
"""


def test_inference_server_112__plain_sklearn_model__lock_holds_the_server():
    lock = diagnose("mlflow==2.22.0", "scikit-learn==1.5.2").lock
    assert lock is not None
    assert lock.version_of(SERVER) == "1.5.1"


def test_azureml_examples_4008__data_is_collected__collector_is_locked_and_otherwise_not():
    with_data, without = (diagnose("mlflow==2.22.0", collects_data=each).lock for each in (True, False))
    assert with_data is not None
    assert without is not None
    assert (with_data.version_of(COLLECTOR), without.version_of(COLLECTOR)) == ("1.0.0", None)


@pytest.mark.parametrize("report", ["3904", "3923", "4031"])
def test_azureml_examples_3904_3923_4031__collector_in_the_models_requirements__kept_with_a_notice(report):
    del report
    examination = diagnose("mlflow==2.22.0", COLLECTOR)
    assert errors(examination) == {}
    assert found(examination, "model-names-monitoring").severity is Severity.NOTICE


@pytest.mark.parametrize("pin", ["==1.3.4", "==1.3.0", "<1.3", ">=1.3,<1.4"])
def test_azureml_examples_4004__model_pins_a_broken_server__replaced_and_told(pin):
    examination = diagnose("mlflow==2.22.0", f"{SERVER}{pin}")
    assert examination.lock is not None
    assert examination.lock.version_of(SERVER) == "1.5.1"
    assert found(examination, "server-pin-replaced").severity is Severity.WARNING


def test_azureml_examples_4004__kept_lock_has_a_broken_server__resolved_anew():
    model = model_of("mlflow==2.22.0")
    text = locked_entry(SERVER, "1.3.4") + locked_entry("mlflow", "2.22.0")
    kept = samples.lock(text)
    examination = examine(
        samples.model(facts=model.facts, lock_text=render_kept_lock(kept, model_digest=model.digest)),
        samples.request(base_image=kept.base_image),
        shelf(),
    )
    assert found(examination, "kept-lock-not-used").what.endswith(
        "it has azureml-inference-server-http 1.3.4, the model wants ==1.5.*."
    )
    assert examination.lock is not None
    assert examination.lock.version_of(SERVER) == "1.5.1"


@pytest.mark.parametrize("report", ["4009", "4012"])
def test_azureml_examples_4009_4012__python_3_8__gets_the_last_server_for_it(report):
    del report
    examination = diagnose("mlflow==1.30.0", "scikit-learn==1.0.2", python="3.8.18", mlflow="1.30.0")
    assert examination.lock is not None
    assert examination.lock.server_range == ">=1.2,<1.3"
    assert examination.lock.version_of(SERVER) == "1.2.2"
    assert "python-at-its-end" in codes(examination)


def test_azureml_examples_4051__mlflow_is_not_pinned__version_that_logged_the_model_is_locked():
    examination = diagnose("mlflow", "scikit-learn==1.5.2", mlflow="2.22.0")
    assert examination.lock is not None
    assert examination.lock.version_of("mlflow") == "2.22.0"
    assert found(examination, "mlflow-not-pinned").severity is Severity.WARNING


@pytest.mark.parametrize("report", ["3873", "3875"])
def test_azureml_examples_3873_3875__mlflow_of_another_major_than_logged_it__warned(report):
    del report
    finding = found(diagnose("mlflow==3.15.0", mlflow="2.22.0"), "mlflow-versions-disagree")
    assert finding.severity is Severity.WARNING
    assert "Require mlflow==2.22.0" in finding.remedy


def test_azureml_examples_3902__no_code_packages_by_hand__resolve_together():
    examination = diagnose("mlflow==2.16.0", SERVER, COLLECTOR, mlflow="2.16.0")
    assert examination.lock is not None
    assert examination.lock.version_of(SERVER) == "1.5.1"
    assert {"model-names-server", "model-names-monitoring"} <= codes(examination)
    assert errors(examination) == {}


def test_mslearn_mlops_60__python_3_7__refused_with_the_reason_and_without_asking_the_index():
    resolver = shelf()
    examination = diagnose("mlflow==1.30.0", python="3.7.16", mlflow="1.30.0", resolver=resolver)
    with pytest.raises(PythonNotAvailable, match=r"logged under Python 3\.7\.16") as raised:
        raise_on_errors(examination.findings)
    assert "3.8 to 3.14" in raised.value.what
    assert resolver.asked == []


def test_mslearn_aml_cli_5__conda_file_without_the_server__lock_holds_it():
    text = CONDA.format(python="3.11.7", mlflow="2.22.0", sklearn="1.5.2")
    examination = diagnose(python=None, requirement_files={"conda.yaml": text})
    assert examination.lock is not None
    assert examination.lock.version_of(SERVER) == "1.5.1"
    assert examination.lock.base_image == BASE_IMAGE
