from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlaz_ci.checks import raise_on_errors
from mlaz_ci.checks.verdict import ERROR_OF
from mlaz_ci.errors import (
    ClusterFailed,
    ComputeNotFound,
    InvalidInput,
    MlazError,
    ModelNotServable,
    PythonNotAvailable,
    QuotaExceeded,
    RequirementsConflict,
    RoleMissing,
    UnsafeIndexUrl,
    WorkspaceInLegacyMode,
)
from mlaz_ci.models import Finding, Severity

ADAPTERS = Path(__file__).parents[3] / "mlaz_ci" / "adapters"


def finding(code: str, what: str = "Something is wrong.") -> Finding:
    return Finding(
        code=code, severity=Severity.ERROR, what=what, usually="Because.", remedy="Mend it.", detail="uv says"
    )


def test_raise_on_errors__warnings_only__returns():
    raise_on_errors(
        [
            Finding(code="x", severity=Severity.WARNING, what="hm"),
            Finding(code="y", severity=Severity.NOTICE, what="so"),
        ]
    )


@pytest.mark.parametrize(("code", "kind"), [
    ("role-missing", RoleMissing),
    ("workspace-legacy-mode", WorkspaceInLegacyMode),
    ("compute-not-found", ComputeNotFound),
    ("compute-not-fit", InvalidInput),
    ("compute-not-ready", ClusterFailed),
    ("quota-short", QuotaExceeded),
    ("index-url-with-credentials", UnsafeIndexUrl),
    ("python-not-supported", PythonNotAvailable),
    ("requirements-conflict", RequirementsConflict),
    ("package-not-found", RequirementsConflict),
    ("package-without-wheel", RequirementsConflict),
    ("no-pyfunc-flavor", ModelNotServable),
    ("model-too-large", ModelNotServable),
])  # fmt: skip
def test_raise_on_errors__one_error__its_words_under_the_fitting_class(code: str, kind: type[MlazError]):
    with pytest.raises(kind) as raised:
        raise_on_errors([finding(code)])
    assert type(raised.value) is kind
    assert str(raised.value) == "Something is wrong.\nBecause.\nMend it."
    assert raised.value.log == "uv says"


def test_raise_on_errors__several__all_are_listed_and_the_gravest_names_the_class():
    with pytest.raises(UnsafeIndexUrl) as raised:
        raise_on_errors([finding("no-pyfunc-flavor", "One."), finding("index-url-with-credentials", "Two.")])
    assert str(raised.value) == "2 checks failed:\n- One. Mend it.\n- Two. Mend it."


def errors_found_on_azure() -> Iterator[str]:
    """The codes of the findings by which an adapter forbids a deploy."""
    for path in (*ADAPTERS.rglob("premises.py"), *ADAPTERS.rglob("room.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                given = {each.arg: ast.unparse(each.value) for each in node.keywords}
                if given["severity"] == "Severity.ERROR":
                    yield ast.literal_eval(given["code"])


def test_error_of__what_azure_lacks__is_never_the_models_fault():
    codes = set(errors_found_on_azure())
    assert "quota-short" in codes
    assert codes <= {code for known, _ in ERROR_OF for code in known}
