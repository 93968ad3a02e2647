from __future__ import annotations

import pytest

from mlaz_ci.models import Severity, Target
from mlaz_ci.serving.matrix import SERVER_CLOSURE
from tests import samples
from tests.fakes.packages import SERVER
from tests.unit.checks.doctor import codes, diagnose, errors, found, shelf


def test_lock__model_that_fits_the_current_server__first_range_is_locked():
    examination = diagnose("mlflow==2.22.0", "scikit-learn==1.5.2")
    assert errors(examination) == {}
    assert examination.lock is not None
    assert examination.lock.server_range == "==1.5.*"
    assert examination.lock.version_of(SERVER) == "1.5.1"
    assert examination.lock.version_of("scikit-learn") == "1.5.2"
    assert examination.lock.python_version == "3.11"


def test_lock__pin_that_only_the_server_before_takes__second_range_is_locked():
    examination = diagnose("mlflow==2.22.0", "flask==3.0.3")
    assert examination.lock is not None
    assert examination.lock.server_range == ">=1.4,<1.5"
    assert examination.lock.version_of(SERVER) == "1.4.1"


def test_conflict__mlflow_2_9_against_gunicorn__says_both_sides_and_the_change_that_was_tried():
    resolver = shelf()
    examination = diagnose("mlflow==2.9.2", "scikit-learn==1.5.2", resolver=resolver, mlflow="2.9.2")
    finding = errors(examination)["requirements-conflict"]
    assert examination.lock is None
    assert finding.what == (
        "The model's requirements cannot be installed beside the inference server: "
        f"mlflow==2.9.2 needs gunicorn<22; {SERVER}==1.5.1 needs gunicorn>=23.0.0."
    )
    assert "Require mlflow==2.16.0 instead of mlflow==2.9.2 (tried: it resolves" in finding.remedy
    assert any("mlflow<3,>=2.9.2,<=2.22.0" in asked for asked in resolver.asked), "named without having been tried"
    assert finding.detail.startswith("error: No solution found")


def test_conflict__pin_of_a_package_the_server_needs__that_pin_is_named():
    finding = errors(diagnose("mlflow==2.22.0", "flask==2.2.5"))["requirements-conflict"]
    assert "the model requires flask==2.2.5" in finding.what
    assert f"{SERVER}==1.5.1 needs flask<3.2,>=3.1.0" in finding.what
    assert finding.remedy.startswith("Require flask==3.1.0 instead of flask==2.2.5 (tried")


def test_conflict__own_requirements_exclude_each_other__server_is_not_blamed():
    finding = errors(diagnose("mlflow==2.22.0", "pandas==2.2.3", "numpy==1.21.0"))["requirements-conflict"]
    assert finding.what.startswith("The model's own requirements exclude each other:")
    assert "pandas==2.2.3 needs numpy>=1.23.2" in finding.what
    assert "Require numpy==1.23.2 instead of numpy==1.21.0" in finding.remedy


def test_conflict__no_single_change_helps__remedy_does_not_invent_one():
    shelf_without_newer_mlflow = tuple(
        each for each in shelf().packages if each.name != "mlflow" or each.version in {"2.9.2", "1.30.0"}
    )
    finding = errors(diagnose("mlflow==2.9.2", resolver=shelf(packages=shelf_without_newer_mlflow), mlflow="2.9.2"))[
        "requirements-conflict"
    ]
    assert "tried" not in finding.remedy
    assert finding.remedy.startswith("No change of a single requirement was found")


def test_wheel__package_has_only_a_source_archive__remedy_is_build_from_source_and_the_nearest_wheel():
    finding = errors(diagnose("mlflow==2.22.0", "scikit-learn==0.22.0", python="3.9.18"))["package-without-wheel"]
    assert finding.what == "scikit-learn==0.22.0 has no wheel for Python 3.9.18 on linux x86_64."
    assert "Require scikit-learn==1.0.2 instead of scikit-learn==0.22.0" in finding.remedy
    assert "`build-from-source: true`" in finding.remedy


def test_wheel__never_had_one__remedy_is_build_from_source_alone():
    finding = errors(diagnose("mlflow==2.22.0", "homegrown==1.0"))["package-without-wheel"]
    assert finding.remedy == (
        "`build-from-source: true` builds it; its code can then read the package index's login, and no other secret."
    )


def test_wheel__build_from_source_asked_for__resolves():
    request = samples.request(build_from_source=True)
    assert diagnose("mlflow==2.22.0", "homegrown==1.0", request=request).lock is not None


def test_package__nobody_has_it__error_names_it_and_the_index_asked():
    finding = errors(diagnose("mlflow==2.22.0", "ourpackage==1", resolver=shelf(index="https://feed.example/simple")))[
        "package-not-found"
    ]
    assert finding.what == "The package ourpackage==1 is not in https://feed.example/simple."


def test_package__local_build_of_a_released_version__released_version_is_tried():
    finding = errors(diagnose("mlflow==2.22.0", "torch==2.3.0+cu121"))["version-not-found"]
    assert finding.remedy.startswith("Require torch==2.3.0 instead of torch==2.3.0+cu121 (tried")


def test_package__made_for_a_later_python__lower_version_is_tried():
    finding = errors(diagnose("mlflow==2.22.0", "numpy==2.3.0", python="3.10.13"))["package-for-other-python"]
    assert finding.what == "numpy==2.3.0 needs Python >=3.11; the model was logged under Python 3.10.13."
    assert finding.remedy.startswith("Require numpy==1.26.4 instead of numpy==2.3.0")


def test_package__yanked_version_is_pinned__warned_with_uvs_reason():
    resolver = shelf(warnings=('`flask==3.1.3` is yanked (reason: "broken")', "something else"))
    finding = found(diagnose("mlflow==2.22.0", resolver=resolver), "package-yanked")
    assert finding.severity is Severity.WARNING
    assert '(reason: "broken")' in finding.what


def test_time__index_without_upload_times__resolved_as_of_today_with_a_notice():
    examination = diagnose("mlflow==2.22.0", resolver=shelf(knows_upload_times=False))
    assert examination.lock is not None
    assert found(examination, "resolved-as-of-today").severity is Severity.NOTICE


def test_time__what_the_server_brings__is_exempt_unless_the_model_names_it():
    resolver = shelf()
    diagnose("mlflow==2.22.0", "flask==3.1.0", resolver=resolver)
    assert set(SERVER_CLOSURE) - set(resolver.exempted[0]) == {"flask"}


def test_data_collection__on__collector_is_locked():
    collecting = diagnose("mlflow==2.22.0", collects_data=True)
    assert collecting.lock is not None
    assert collecting.lock.version_of("azureml-ai-monitoring") == "1.0.0"


def test_data_collection__off__collector_is_not_locked():
    lock = diagnose("mlflow==2.22.0").lock
    assert lock is not None
    assert lock.version_of("azureml-ai-monitoring") is None


@pytest.mark.parametrize(("target", "is_told"), [(Target.LOCAL, False), (Target.MANAGED, True)], ids=str)
def test_index__private_one_was_asked__told_where_another_may_be_asked_later(target, is_told):
    resolver = shelf(index="https://feed.example/simple")
    examination = diagnose("mlflow==2.22.0", resolver=resolver, request=samples.request(target=target))
    assert ("index-of-this-machine" in codes(examination)) is is_told


def test_index__named_by_the_model__asked_and_locked():
    resolver = shelf()
    line = "--extra-index-url https://download.example/cpu"
    examination = diagnose(line, "mlflow==2.22.0", resolver=resolver)
    assert resolver.asked[0][0] == line
    assert examination.lock is not None
    assert examination.lock.text.startswith(line + "\n")
    assert found(examination, "model-names-an-index").severity is Severity.NOTICE


def test_lock__same_model_twice__same_hash():
    first, second = (diagnose("mlflow==2.22.0", "scikit-learn==1.5.2").lock for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.hash == second.hash


def test_lock__patch_version_of_python_differs__same_hash():
    hashes = {lock.hash for python in ("3.11.7", "3.11.9") if (lock := diagnose("mlflow==2.22.0", python=python).lock)}
    assert len(hashes) == 1
