from __future__ import annotations

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from mlaz_ci.serving.lock import locked_packages, make_lock, render_conda, why_lock_does_not_fit
from mlaz_ci.serving.matrix import BASE_IMAGE, PYTHONS, SERVER_PACKAGE

HASH = "--hash=sha256:" + "a" * 64
TEXT = f"""azureml-inference-server-http==1.5.1 \\
    {HASH} \\
    --hash=sha256:{"b" * 64}
mlflow==2.22.0 \\
    {HASH}
"""


def lock(text: str = TEXT, **changes):
    values = {"python_version": "3.11.7", "server_range": "==1.5.*", "base_image": BASE_IMAGE}
    return make_lock(text, **{**values, **changes})


def test_make_lock__full_python_version__kept_to_the_minor():
    assert lock().python_version == "3.11"


def test_make_lock__index_options__stand_first():
    text = lock(index_options=("--extra-index-url https://x.example/cpu",)).text
    assert text == "--extra-index-url https://x.example/cpu\n" + TEXT


@pytest.mark.parametrize("change", [
    {"text": TEXT.replace("2.22.0", "2.22.1")},
    {"python_version": "3.12.1"},
    {"base_image": "ours.azurecr.io/base:1"},
    {"conda_packages": ("libgomp",)},
    {"index_options": ("--extra-index-url https://x.example/cpu",)},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_hash__anything_that_changes_the_environment__another_hash(change):
    assert lock(**change).hash != lock().hash


def test_hash__order_of_conda_packages__is_not_part_of_it():
    assert lock(conda_packages=("b", "a")).hash == lock(conda_packages=("a", "b")).hash


def test_locked_packages__uvs_form__names_versions_hashes():
    server, mlflow = locked_packages(TEXT)
    assert (server.name, server.version, len(server.hashes)) == ("azureml-inference-server-http", "1.5.1", 2)
    assert (mlflow.text, mlflow.hashes) == ("mlflow==2.22.0", (HASH,))


def test_locked_packages__wheel_by_url__kept_by_its_url():
    (package,) = locked_packages(
        f"en-core-web-sm @ https://x.example/en_core_web_sm-3.7.1-py3-none-any.whl \\\n    {HASH}\n"
    )
    assert (package.version, package.url) == (None, "https://x.example/en_core_web_sm-3.7.1-py3-none-any.whl")


@pytest.mark.parametrize("line", [
    "--index-url http://evil.example/simple",
    "--index-url https://user:word@x.example/simple",
    "--trusted-host evil.example",
    "-e .",
    "-r other.txt",
    "./local.whl",
    "git+https://x.example/a.git",
    "name @ https://user:word@x.example/a.whl",
    "flask>=3",
    "flask",
    "flask==3.1.0 --hash=md5:" + "a" * 32,
    "flask==3.1.0 --hash=sha256:short",
    "flask==3.1.0 --global-option=x",
    "Flask==3.1.0; os.system('x')",
])  # fmt: skip
def test_locked_packages__what_no_lock_holds__refused(line):
    with pytest.raises(ValueError, match="not a locked package"):
        locked_packages(TEXT + line + "\n")


def test_render_conda__lock_with_hashes__is_yaml_whose_pip_lines_pip_reads():
    text = render_conda(lock(conda_packages=("libgomp=13", "conda-forge::r-base>=4,<5")))
    root = yaml.safe_load(text)
    *packages, pip = root["dependencies"]
    assert packages == ["python=3.11", "pip", "conda-forge::r-base>=4,<5", "libgomp=13"]
    assert pip["pip"] == [
        f"azureml-inference-server-http==1.5.1 {HASH} --hash=sha256:{'b' * 64}",
        f"mlflow==2.22.0 {HASH}",
    ]
    assert root["channels"] == ["conda-forge"]


def test_render_conda__index_of_the_model__travels_with_the_lock():
    text = render_conda(lock(index_options=("--extra-index-url https://x.example/cpu",)))
    assert yaml.safe_load(text)["dependencies"][-1]["pip"][0] == "--extra-index-url https://x.example/cpu"


def why(text: str = TEXT, requirements: tuple[str, ...] = ("mlflow==2.22.0",), **changes):
    return why_lock_does_not_fit(
        lock(text), python_version="3.11.9", requirements=requirements, base_image=BASE_IMAGE, **changes
    )


def test_why_lock_does_not_fit__it_fits__none():
    assert why() is None


def test_why_lock_does_not_fit__requirement_for_another_machine__is_not_missed():
    assert why(requirements=("mlflow", "pywin32 ; sys_platform == 'win32'", "tomli ; python_version < '3.11'")) is None


@pytest.mark.parametrize(("text", "changes", "expected"), [
    (TEXT, {"requirements": ("mlflow>=3",)}, "it has mlflow 2.22.0, the model wants >=3"),
    (TEXT, {"requirements": ("numpy",)}, "it lacks numpy"),
    (TEXT, {"requirements": ("mlflow @ https://x.example/mlflow-2.22.0-py3-none-any.whl",)}, "mlflow comes from another place"),
    (TEXT, {"requirements": ("!!",)}, "the model's requirement !! cannot be read"),
    (TEXT, {"collects_data": True}, "it lacks azureml-ai-monitoring"),
    (TEXT, {"conda_packages": ("libgomp",)}, "its conda packages are not the model's"),
    (TEXT + "flask==3.1.0\n", {}, "a package in it has no hash"),
    (TEXT.replace("1.5.1", "1.3.4"), {}, "it has azureml-inference-server-http 1.3.4, the model wants ==1.5.*"),
    (f"mlflow==2.22.0 \\\n    {HASH}\n", {}, "it lacks azureml-inference-server-http"),
], ids=str)  # fmt: skip
def test_why_lock_does_not_fit__something_differs__says_what(text, changes, expected):
    assert why(text, **changes) == expected


def test_why_lock_does_not_fit__range_that_is_supported_no_more__says_so():
    old = lock(TEXT.replace("1.5.1", "1.2.2"), server_range=">=1.2,<1.3")
    reason = why_lock_does_not_fit(old, python_version="3.11.7", requirements=(), base_image=BASE_IMAGE)
    assert reason == "its inference server range >=1.2,<1.3 is not supported any more"


@pytest.mark.parametrize("support", PYTHONS, ids=lambda each: each.minor)
def test_matrix__every_range__holds_its_example_and_nothing_broken(support):
    assert support.patch.startswith(support.minor + ".")
    assert support.ranges
    for each in support.ranges:
        requirement = Requirement(each.requirement)
        assert requirement.name == SERVER_PACKAGE
        assert each.example in requirement.specifier
        for broken in ("0.7.7", "1.0.0", "1.1.0", "1.3.0", "1.3.2", "1.3.3", "1.3.4"):
            assert Version(broken) not in requirement.specifier
