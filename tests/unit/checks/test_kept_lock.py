from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.checks.kept_lock import read_kept_lock, render_kept_lock
from mlaz_ci.models import Lock

DIGEST = "20865dd4932b73847a9bb8aa5f57c467"
LOCK = Lock(
    text="mlflow-skinny==3.15.0 \\\n    --hash=sha256:00ff\n",
    python_version="3.11",
    server_range="==1.5.*",
    base_image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
    conda_packages=("libgomp",),
)


def test_read_kept_lock__as_rendered__the_same_lock() -> None:
    assert read_kept_lock(render_kept_lock(LOCK, model_digest=DIGEST), model_digest=DIGEST) == LOCK


def test_render_kept_lock__is_a_requirements_file() -> None:
    first, *rest = render_kept_lock(LOCK, model_digest=DIGEST).splitlines(keepends=True)

    assert first.startswith("# ")
    assert "".join(rest) == LOCK.text


CHANGES = {
    "package": ("3.15.0", "3.15.1"),
    "python": ('"3.11"', '"3.12"'),
    "base image": ("ubuntu22.04", "ubuntu24.04"),
    "conda package": ("libgomp", "libfoo"),
    "types": ('"3.11"', "3.11"),
    "conda packages a word": ('["libgomp"]', '"libgomp"'),
    "cut off": ("    --hash=sha256:00ff\n", ""),
    "no header": ("# mlaz-ci-lock ", "# "),
    "header no JSON": ("{", "{{"),
    "header a list": ("# mlaz-ci-lock {", "# mlaz-ci-lock []{"),
}


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES)
def test_read_kept_lock__changed__none(old: str, new: str) -> None:
    text = render_kept_lock(LOCK, model_digest=DIGEST)
    assert old in text

    assert read_kept_lock(text.replace(old, new, 1), model_digest=DIGEST) is None


def test_read_kept_lock__of_another_model__none() -> None:
    assert read_kept_lock(render_kept_lock(LOCK, model_digest=DIGEST), model_digest="0" * 32) is None


@given(st.text())
def test_read_kept_lock__any_text__none(text: str) -> None:
    assert read_kept_lock(text, model_digest=DIGEST) is None
    assert read_kept_lock(f"# mlaz-ci-lock {text}", model_digest=DIGEST) is None
