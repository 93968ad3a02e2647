"""Findings as an error, where one of them forbids to go on: its class says who must act."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mlaz_ci.checks.conflict import Reason
from mlaz_ci.errors import (
    ClusterFailed,
    ComputeNotFound,
    FileNotFound,
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

# In this order: what must be mended first names the error. What is not named here is the model's own fault.
ERROR_OF: Final[tuple[tuple[frozenset[str], type[MlazError]], ...]] = (
    (frozenset({"role-missing"}), RoleMissing),
    (frozenset({"workspace-legacy-mode"}), WorkspaceInLegacyMode),
    (frozenset({"compute-not-found"}), ComputeNotFound),
    (frozenset({"file-not-found"}), FileNotFound),
    (frozenset({"compute-not-kubernetes", "compute-not-fit", "size-unknown"}), InvalidInput),
    (frozenset({"compute-not-ready"}), ClusterFailed),
    (frozenset({"quota-short", "endpoints-used-up", "deployments-used-up"}), QuotaExceeded),
    (frozenset({"index-url-with-credentials"}), UnsafeIndexUrl),
    (frozenset({"python-not-supported"}), PythonNotAvailable),
    (frozenset(Reason), RequirementsConflict),
)


def raise_on_errors(findings: Iterable[Finding]) -> None:
    """Raise the error that the error findings come to, with every one of them in its message; return where there is none."""
    errors = [each for each in findings if each.severity is Severity.ERROR]
    if not errors:
        return
    codes = {each.code for each in errors}
    kind = next((error for known, error in ERROR_OF if codes & known), ModelNotServable)
    log = "\n\n".join(each.detail for each in errors if each.detail)
    if len(errors) == 1:
        (only,) = errors
        raise kind(only.what, usually=only.usually, remedy=only.remedy, log=log)
    listed = "\n".join(f"- {each.what} {each.remedy}".rstrip() for each in errors)
    raise kind(f"{len(errors)} checks failed:\n{listed}", usually="", remedy="", log=log)
