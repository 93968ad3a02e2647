from __future__ import annotations

import pytest

from mlaz_ci.checks import examine
from mlaz_ci.checks.kept_lock import render_kept_lock
from mlaz_ci.errors import (
    PackageIndexUnreachable,
)
from mlaz_ci.models import ModelSignature, Severity, Target
from mlaz_ci.serving.matrix import BASE_IMAGE
from tests import samples
from tests.fakes.packages import SERVER
from tests.unit.checks.doctor import codes, diagnose, errors, found, model_of, shelf

# --- the model itself ---


def test_model__without_pyfunc__error_lists_the_flavors_it_has():
    error = errors(diagnose("mlflow==2.22.0", flavors={"sklearn": {}, "onnx": {}}))["no-pyfunc-flavor"]
    assert error.what == "The model has no python_function flavor; its flavors are: onnx, sklearn."


def test_model__needs_java__warned():
    assert "needs-java" in codes(diagnose("mlflow==2.22.0", flavors={"python_function": {}, "spark": {}}))


def test_model__complete__nothing_to_say():
    assert diagnose("mlflow==2.22.0").findings == ()


def test_model__no_input_example_but_a_signature__notice():
    told = found(diagnose("mlflow==2.22.0", input_example=None), "no-input-example")
    assert told.severity is Severity.NOTICE


@pytest.mark.parametrize("signature", [None, ModelSignature()], ids=["none", "empty"])
def test_model__neither_signature_nor_example__warned_that_nothing_can_be_tested(signature):
    examination = diagnose("mlflow==2.22.0", input_example=None, signature=signature)
    assert found(examination, "no-signature").severity is Severity.NOTICE
    assert found(examination, "no-input-example").severity is Severity.WARNING


@pytest.mark.parametrize(("size_bytes", "target", "is_error"), [
    (2_000_000_001, Target.LOCAL, True),
    (2_000_000_000, Target.LOCAL, False),
    (2_000_000_001, Target.MANAGED, False),
    (None, Target.LOCAL, False),
])  # fmt: skip
def test_size__above_the_limit_where_bytes_pass_through__error_before_any_download(size_bytes, target, is_error):
    model = samples.model(facts=model_of("mlflow==2.22.0").facts, size_bytes=size_bytes)
    examination = examine(model, samples.request(target=target, max_download_mb=2000.0), shelf())
    assert ("model-too-large" in errors(examination)) is is_error


# --- Python ---


@pytest.mark.parametrize("version", ["2.7.18", "3.6.9", "3.7.16", "3.15.0", "4.0"])
def test_python__server_does_not_support_it__error(version):
    assert "python-not-supported" in errors(diagnose("mlflow==2.22.0", python=version))


@pytest.mark.parametrize("version", [None, "", "nonsense", "; rm -rf /", "3"])
def test_python__not_known__error_says_so(version):
    examination = diagnose("mlflow==2.22.0", python=version)
    assert set(errors(examination)) == {"python-unknown"}
    assert examination.lock is None


@pytest.mark.parametrize(("version", "code"), [("3.9.18", "python-at-its-end"), ("3.13.0", "python-not-declared")])
def test_python__old_or_new__warned_and_locked(version, code):
    examination = diagnose("mlflow==2.22.0", python=version)
    assert found(examination, code).severity is Severity.WARNING
    assert examination.lock is not None


@pytest.mark.parametrize(("target", "is_told"), [(Target.LOCAL, True), (Target.MANAGED, False)], ids=str)
def test_python__no_such_interpreter_here__told_where_it_is_needed(target, is_told):
    examination = diagnose("mlflow==2.22.0", resolver=shelf(interpreters=()), request=samples.request(target=target))
    assert ("python-not-here" in codes(examination)) is is_told


# --- conda packages ---

CONDA = "dependencies:\n- python=3.11.7\n- {package}\n- pip:\n  - mlflow==2.22.0\n  - scikit-learn==1.5.2\n"


@pytest.mark.parametrize("package", ["libgomp=13", "conda-forge::pytorch=2.3", "pandas=2.2.3", "r-base"])
def test_conda__package_that_pip_does_not_bring__error_on_local(package):
    examination = diagnose(requirement_files={"conda.yaml": CONDA.format(package=package)})
    assert package in errors(examination)["conda-packages"].what


@pytest.mark.parametrize("package", ["scikit-learn=1.5.2", "conda-forge::scikit-learn"])
def test_conda__package_that_pip_brings_too__notice_on_local(package):
    examination = diagnose(requirement_files={"conda.yaml": CONDA.format(package=package)})
    assert found(examination, "conda-packages-from-pip").severity is Severity.NOTICE
    assert examination.lock is not None
    assert examination.lock.conda_packages == ()


def test_conda__package_on_azure__stays_a_conda_package_of_the_lock():
    examination = diagnose(
        requirement_files={"conda.yaml": CONDA.format(package="libgomp=13")},
        request=samples.request(target=Target.MANAGED),
    )
    assert errors(examination) == {}
    assert examination.lock is not None
    assert examination.lock.conda_packages == ("libgomp=13",)


# --- requirement files ---


def test_requirements__none_at_all__error():
    examination = diagnose(requirement_files={})
    assert "no-requirements" in errors(examination)


def test_requirements__broken_line__index_is_not_asked():
    resolver = shelf()
    examination = diagnose("mlflow==2.22.0", "-e .", resolver=resolver)
    assert set(errors(examination)) == {"requirement-from-local-path"}
    assert resolver.asked == []


def test_mlflow__not_required__added_with_a_warning():
    examination = diagnose("scikit-learn==1.5.2")
    assert found(examination, "mlflow-not-required").severity is Severity.WARNING
    assert examination.lock is not None
    assert examination.lock.version_of("mlflow") == "2.22.0"


def test_mlflow__not_required_and_logged_by_a_development_build__newest_is_taken():
    examination = diagnose("scikit-learn==1.5.2", mlflow="2.23.0.dev0")
    assert examination.lock is not None
    assert examination.lock.version_of("mlflow") == "3.15.0"


def test_server__model_pins_a_supported_version__pin_is_kept():
    examination = diagnose("mlflow==2.22.0", f"{SERVER}==1.4.1")
    assert examination.lock is not None
    assert examination.lock.version_of(SERVER) == "1.4.1"


# --- the kept lock ---


def kept(**changes):
    lock = diagnose("mlflow==2.22.0").lock
    assert lock is not None
    model = model_of(*changes.pop("requirements", ("mlflow==2.22.0",)), **changes)
    return samples.model(facts=model.facts, lock_text=render_kept_lock(lock, model_digest=model.digest)), lock


def test_kept_lock__still_fits__reused_without_asking_the_index():
    model, lock = kept()
    resolver = shelf()
    examination = examine(model, samples.request(), resolver)
    assert examination.lock == lock
    assert resolver.asked == []
    assert examination.findings == ()


def test_kept_lock__relock__resolved_anew_without_a_word():
    model, _ = kept()
    resolver = shelf()
    examination = examine(model, samples.request(relock=True), resolver)
    assert len(resolver.asked) == 1
    assert examination.findings == ()


@pytest.mark.parametrize(("changes", "request_changes", "why"), [
    ({"python": "3.12.1"}, {}, "it is for Python 3.11, the model for 3.12"),
    ({"requirements": ("mlflow==2.16.0",)}, {}, "it has mlflow 2.22.0, the model wants ==2.16.0"),
    ({"requirements": ("mlflow==2.22.0", "scikit-learn==1.5.2")}, {}, "it lacks scikit-learn"),
    ({}, {"base_image": "ours.azurecr.io/base:1"}, f"it is for the base image {BASE_IMAGE}"),
])  # fmt: skip
def test_kept_lock__no_longer_fits__resolved_anew_and_told_why(changes, request_changes, why):
    model, _ = kept(**changes)
    resolver = shelf()
    examination = examine(model, samples.request(**request_changes), resolver)
    assert found(examination, "kept-lock-not-used").what.endswith(f"is not used: {why}.")
    assert len(resolver.asked) == 1


def test_kept_lock__collector_is_wanted_now__resolved_anew():
    model, _ = kept()
    examination = examine(model, samples.request(), shelf(), collects_data=True)
    assert found(examination, "kept-lock-not-used").what.endswith("it lacks azureml-ai-monitoring.")


def test_kept_lock__option_smuggled_in__not_used():
    model, lock = kept()
    evil = type(lock)(
        text="--index-url http://evil.example\n" + lock.text,
        python_version=lock.python_version,
        server_range=lock.server_range,
        base_image=lock.base_image,
    )
    model = samples.model(facts=model.facts, lock_text=render_kept_lock(evil, model_digest=model.digest))
    assert "it holds what no lock holds" in found(examine(model, samples.request(), shelf()), "kept-lock-not-used").what


def test_kept_lock__garbage__resolved_anew():
    model = samples.model(facts=model_of("mlflow==2.22.0").facts, lock_text="\x00 nonsense")
    examination = examine(model, samples.request(), shelf())
    assert examination.lock is not None
    assert "damaged" in found(examination, "kept-lock-not-used").what


def test_examine__index_is_down_and_the_model_is_wrong_too__the_model_is_told_first():
    down = shelf(failure=PackageIndexUnreachable("The package index could not be read (https://feed.example/simple)."))
    examination = diagnose("mlflow==2.22.0", flavors={"sklearn": {}}, resolver=down)
    assert set(errors(examination)) == {"no-pyfunc-flavor"}
    assert examination.lock is None
    assert "could not be read" in found(examination, "requirements-not-resolved").what
    with pytest.raises(PackageIndexUnreachable):
        diagnose("mlflow==2.22.0", resolver=down)
