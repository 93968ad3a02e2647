from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from mlaz_ci.models import Severity
from mlaz_ci.serving.requirement_files import read_requirements
from tests import samples

CANARY = "s3cr3t-canary"
CONDA = """
channels: [conda-forge]
dependencies:
- python=3.9.18
- pip<=24.0
- conda-forge::scikit-learn=1.0
- libgomp
- pip:
  - mlflow==2.9.2
  - numpy==1.26.4
"""


def read(text: str | None = None, *, python: str | None = "3.11.7", **files: str):
    named = {f"{name}.yaml": each for name, each in files.items()}
    if text is not None:
        named["requirements.txt"] = text
    return read_requirements(samples.facts(requirement_files=named, python_version=python))


def test_read__requirements_and_conda__pip_from_requirements_and_conda_packages_apart():
    found = read("mlflow==2.22.0\n", conda=CONDA, python=None)
    assert found.pip == ("mlflow==2.22.0",)
    assert found.conda_packages == ("conda-forge::scikit-learn=1.0", "libgomp")
    assert found.python_version == "3.9.18"
    assert found.file_name == "requirements.txt"


def test_read__conda_alone__pip_section():
    found = read(conda=CONDA)
    assert found.pip == ("mlflow==2.9.2", "numpy==1.26.4")
    assert found.file_name == "conda.yaml"


@pytest.mark.parametrize(("line", "expected"), [
    ("Scikit_Learn==1.5.2", "scikit-learn==1.5.2"),
    ("mlflow[extras] >= 2.9 , <3  # why", "mlflow[extras]<3,>=2.9"),
    ("pywin32; sys_platform == 'win32'", 'pywin32; sys_platform == "win32"'),
    ("flask==3.1.0 --hash=sha256:abc --hash=sha256:def", "flask==3.1.0"),
    ("flask==3.1.0 \\\n    --hash=sha256:abc", "flask==3.1.0"),
    ("https://x.example/a_b-1.0-py3-none-any.whl", "a-b@ https://x.example/a_b-1.0-py3-none-any.whl"),
    ("a-b @ https://x.example/a_b-1.0-py3-none-any.whl", "a-b@ https://x.example/a_b-1.0-py3-none-any.whl"),
    ("torch==2.3.0+cpu", "torch==2.3.0+cpu"),
])  # fmt: skip
def test_read__line__normalised(line, expected):
    found = read(line)
    assert [each.replace(" @", "@") for each in found.pip] == [expected]
    assert found.findings == ()


@pytest.mark.parametrize(("line", "code"), [
    ("-e .", "requirement-from-local-path"),
    ("--editable ./src", "requirement-from-local-path"),
    ("./wheels/a-1.0-py3-none-any.whl", "requirement-from-local-path"),
    ("/home/ada/a", "requirement-from-local-path"),
    ("a-1.0.tar.gz", "requirement-from-local-path"),
    ("C:\\wheels\\a.whl", "requirement-from-local-path"),
    ("file:///croot/numpy", "requirement-from-local-path"),
    ("file:numpy", "requirement-from-local-path"),
    ("numpy @ file:///croot/numpy", "requirement-from-local-path"),
    ("-f /mnt/wheels", "requirement-from-local-path"),
    ("git+https://x.example/a.git", "requirement-from-version-control"),
    ("a @ git+ssh://git@x.example/a.git@main", "requirement-from-version-control"),
    ("git@x.example:a/b.git", "requirement-from-version-control"),
    ("--index-url http://x.example/simple", "requirement-not-understood"),
    ("a @ http://x.example/a-1.0-py3-none-any.whl", "requirement-not-understood"),
    ("--trusted-host x.example", "requirement-not-understood"),
    ("-r other.txt", "requirement-not-understood"),
    ("flask==${VERSION}", "requirement-not-understood"),
    ("--index-url https://x.example/${UV_INDEX_X_PASSWORD}/simple", "requirement-not-understood"),
    ("flask==not a version", "requirement-not-understood"),
    ("flask = 3", "requirement-not-understood"),
])  # fmt: skip
def test_read__line_that_no_other_machine_can_follow__error_with_a_remedy(line, code):
    found = read(f"mlflow==2.22.0\n{line}\n")
    (finding,) = found.findings
    assert (finding.code, finding.severity) == (code, Severity.ERROR)
    assert finding.remedy
    assert found.pip == ("mlflow==2.22.0",)
    assert found.index_options == ()


@pytest.mark.parametrize("line", [
    f"--index-url https://ada:{CANARY}@x.example/simple",
    f"--extra-index-url=https://{CANARY}@x.example/simple",
    f"-f https://ada:{CANARY}@x.example/wheels",
    f"a @ https://ada:{CANARY}@x.example/a-1.0-py3-none-any.whl",
])  # fmt: skip
def test_read__url_with_credentials__refused_without_showing_them(line):
    found = read(f"mlflow==2.22.0\n{line}\n")
    refused = next(each for each in found.findings if each.code == "index-url-with-credentials")
    assert refused.severity is Severity.ERROR
    assert "x.example" in refused.what
    assert CANARY not in repr(found.findings)
    assert CANARY not in repr(found.index_options)


def test_read__channel_with_credentials__refused():
    text = CONDA.replace("[conda-forge]", f"['https://ada:{CANARY}@conda.example/x']")
    found = read("mlflow==2.22.0", conda=text)
    assert [each.code for each in found.findings if each.severity is Severity.ERROR] == ["index-url-with-credentials"]
    assert CANARY not in repr(found.findings)


@pytest.mark.parametrize(("line", "expected"), [
    ("-i https://x.example/simple", "--index-url https://x.example/simple"),
    ("--extra-index-url=https://x.example/cpu", "--extra-index-url https://x.example/cpu"),
    ("--find-links https://x.example/wheels", "--find-links https://x.example/wheels"),
])  # fmt: skip
def test_read__index_of_the_model__kept_with_a_notice(line, expected):
    found = read(line)
    assert found.index_options == (expected,)
    assert [each.severity for each in found.findings] == [Severity.NOTICE]


def test_read__constraints_file__warned():
    assert [each.code for each in read("-c constraints.txt\nmlflow==2.22.0").findings] == ["constraints-not-read"]


@pytest.mark.parametrize(("flavor", "env", "expected"), [
    ("3.11.7", "python: 3.11.7\n", "3.11.7"),
    (None, "python: 3.10.13\nbuild_dependencies:\n- pip\n", "3.10.13"),
    (None, "python: '3.10'\n", "3.10"),
    (None, "", "3.9.18"),
])  # fmt: skip
def test_read__python__flavor_then_env_then_conda(flavor, env, expected):
    assert read("mlflow", python=flavor, python_env=env, conda=CONDA).python_version == expected


def test_read__files_disagree_about_python__warned():
    found = read("mlflow==2.22.0", python="3.8.20", conda=CONDA)
    assert found.python_version == "3.8.20"
    assert [each.code for each in found.findings] == ["python-versions-disagree"]


@pytest.mark.parametrize(
    "text", ["[", "a: b", "dependencies: 3", "- 1", "!!python/object:os.system x", "[" * 5000, "\x00"]
)
def test_read__conda_file_that_is_none__error_not_a_crash(text):
    found = read("mlflow==2.22.0", conda=text)
    assert [each.code for each in found.findings] == ["requirement-not-understood"]


def test_read__name_that_no_package_can_have__is_not_understood():
    found = read("0_==1.0\n")
    assert (found.pip, [each.code for each in found.findings]) == ((), ["requirement-not-understood"])


@given(st.text(max_size=300), st.text(max_size=300))
def test_read__any_text__lines_that_parse_or_findings(requirements, conda):
    found = read(requirements, conda=conda)
    for line in found.pip:
        Requirement(line)
    assert all("\n" not in line for line in (*found.pip, *found.index_options))


@given(
    st.lists(
        st.sampled_from(
            ["-", "-e", "git+", "https://", "@", "a", "==", "1", ";", "[", "file:", "\\", " ", "#", "'", "$", "{"]
        ),
        max_size=12,
    )
)
def test_read__shapes_of_requirement_lines__never_fails(parts):
    for line in read("".join(parts)).pip:
        Requirement(line)
