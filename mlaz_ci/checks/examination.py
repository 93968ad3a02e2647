"""The doctor: every check of a model in one pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mlaz_ci.checks.environment import check_conda_packages, check_index
from mlaz_ci.checks.kept_lock import read_kept_lock
from mlaz_ci.checks.model import check_model
from mlaz_ci.checks.own_packages import settle_own_packages
from mlaz_ci.checks.python import check_python
from mlaz_ci.checks.requirements import Resolving
from mlaz_ci.checks.size import check_size
from mlaz_ci.errors import MlazError
from mlaz_ci.models import Finding, Lock, ModelRef, Request, Severity, Target
from mlaz_ci.ports import Resolver
from mlaz_ci.serving.lock import minor_of, why_lock_does_not_fit
from mlaz_ci.serving.matrix import BASE_IMAGE, python_support
from mlaz_ci.serving.requirement_files import Requirements, read_requirements


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """`lock` is None exactly where a finding is an error that forbids one."""

    findings: tuple[Finding, ...]
    lock: Lock | None


def examine(model: ModelRef, request: Request, resolver: Resolver, *, collects_data: bool = False) -> Examination:
    """Touches nothing. Raises what is not the model's fault, where that is all there is: PackageIndexUnreachable, …"""
    requirements = read_requirements(model.facts)
    findings = [
        *check_model(model.facts),
        *check_size(model, request),
        *requirements.findings,
        *_check_presence(requirements),
    ]
    python_findings = tuple(check_python(requirements.python_version, request.target, resolver))
    findings += [*python_findings, *check_conda_packages(requirements, request.target)]
    support = python_support(minor_of(requirements.python_version or ""))
    blocking = (*requirements.findings, *python_findings)
    if support is None or any(each.severity is Severity.ERROR for each in blocking):
        return Examination(findings=tuple(findings), lock=None)
    lines, more = settle_own_packages(requirements.pip, model.facts, support)
    findings += more
    resolving = Resolving(
        resolver=resolver,
        requirements=replace(requirements, pip=lines),
        support=support,
        logged_at=model.logged_at,
        base_image=request.base_image or BASE_IMAGE,
        build_from_source=request.build_from_source,
        collects_data=collects_data,
        conda_packages=() if request.target is Target.LOCAL else requirements.conda_packages,
    )
    try:
        lock = _kept_lock(model, request, resolving) or resolving.lock()
    except MlazError as error:
        # What is wrong with the model stays wrong when the index is back: it is said now.
        if not any(each.severity is Severity.ERROR for each in findings):
            raise
        return Examination(findings=(*findings, _not_resolved(error)), lock=None)
    findings += [*resolving.findings, *check_index(resolving.index, request.target)]
    return Examination(findings=tuple(findings), lock=lock)


def _check_presence(requirements: Requirements) -> Iterable[Finding]:
    if not requirements.file_name:
        yield Finding(
            code="no-requirements",
            severity=Severity.ERROR,
            what="The model has neither a requirements.txt nor a conda.yaml with a pip section.",
            usually="The files were left out when the model was copied, or it was logged by a very old mlflow.",
            remedy="Log the model again with a current mlflow, or put its requirements.txt beside the MLmodel file.",
        )


def _not_resolved(error: MlazError) -> Finding:
    return Finding(
        code="requirements-not-resolved",
        severity=Severity.WARNING,
        what=f"Whether the requirements can be installed is not known: {error.what}",
        usually=error.cause_text,
        remedy=error.remedy_text,
        detail=error.log,
    )


def _kept_lock(model: ModelRef, request: Request, resolving: Resolving) -> Lock | None:
    """The lock an earlier deploy left with the model, if it still fits; never after `relock`."""
    if model.lock_text is None or request.relock:
        return None
    lock = read_kept_lock(model.lock_text, model_digest=model.digest)
    why: str | None
    if lock is None:
        why = "it is damaged, or belongs to another model"
    else:
        why = why_lock_does_not_fit(
            lock,
            python_version=resolving.requirements.python_version or resolving.support.patch,
            requirements=resolving.requirements.pip,
            base_image=resolving.base_image,
            conda_packages=resolving.conda_packages,
            collects_data=resolving.collects_data,
        )
    if why is None:
        return lock
    resolving.findings.append(
        Finding(
            code="kept-lock-not-used",
            severity=Severity.NOTICE,
            what=f"The lock that an earlier deploy left with the model is not used: {why}.",
            usually="The model's files, the target or mlaz-ci changed since then.",
            remedy="Nothing; the requirements were resolved anew.",
        )
    )
    return None
