"""The packages that serving brings itself and a model may name too: the inference server, its data collector, mlflow.

Users were told to write these into conda.yaml by hand; what they wrote then must not bring back a version that is broken now.
"""

from __future__ import annotations

import re

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from mlaz_ci.models import Finding, ModelFacts, Severity
from mlaz_ci.serving.lock import is_version_in
from mlaz_ci.serving.matrix import MONITORING_PACKAGE, SERVER_PACKAGE, PythonSupport
from mlaz_ci.serving.requirement_files import name_of, replaced


def settle_own_packages(
    requirements: tuple[str, ...], facts: ModelFacts, support: PythonSupport
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """The model's requirements with our say on these packages, and what was decided."""
    lines, findings = _settle_server(requirements, support)
    lines, more = _settle_mlflow(lines, facts)
    named = next((line for line in lines if name_of(line) == MONITORING_PACKAGE), None)
    if named:
        more = (
            *more,
            Finding(
                code="model-names-monitoring",
                severity=Severity.NOTICE,
                what=f"The model requires {named} itself; it is installed, and used only where data is collected.",
                usually="A workaround for Azure's generated scoring script, which imports it unconditionally.",
                remedy="Nothing; the line can go when the model is logged again.",
            ),
        )
    return lines, (*findings, *more)


def _settle_server(
    requirements: tuple[str, ...], support: PythonSupport
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    named = [line for line in requirements if name_of(line) == SERVER_PACKAGE]
    if not named:
        return requirements, ()
    specifiers = [Requirement(line).specifier for line in named]
    if any(all(is_version_in(each.example, one) for one in specifiers) for each in support.ranges):
        finding = Finding(
            code="model-names-server",
            severity=Severity.NOTICE,
            what=f"The model requires {named[0]} itself; that agrees with what is installed anyway.",
            usually="A workaround for Azure's no-code images, which lacked the server.",
            remedy="Nothing; the line can go when the model is logged again.",
        )
        return requirements, (finding,)
    finding = Finding(
        code="server-pin-replaced",
        severity=Severity.WARNING,
        what=f"The model requires {named[0]}, which is not served with; {support.ranges[0].requirement} is used instead.",
        usually="Versions 1.3.* crash at start and older ones are no longer patched; the pin was a workaround for Azure's no-code images.",
        remedy="Drop the line when the model is logged again.",
    )
    return tuple(line for line in requirements if line not in named), (finding,)


def _settle_mlflow(requirements: tuple[str, ...], facts: ModelFacts) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    logged_with = _release(facts.mlflow_version)
    named = [line for line in requirements if name_of(line) == "mlflow"]
    has_skinny = any(name_of(line) == "mlflow-skinny" for line in requirements)
    if not named:
        return _add_mlflow(requirements, logged_with, has_skinny=has_skinny)
    requirement = Requirement(named[0])
    if requirement.url:
        return requirements, ()
    if not requirement.specifier and logged_with:
        finding = Finding(
            code="mlflow-not-pinned",
            severity=Severity.WARNING,
            what=f"The model requires mlflow of any version; mlflow=={logged_with}, which logged it, is used.",
            usually="Left free it becomes the newest at build time: that is how models broke when mlflow 3 came out.",
            remedy=f"Require mlflow=={logged_with} when the model is logged again.",
        )
        extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
        return replaced(requirements, "mlflow", f"mlflow{extras}=={logged_with}"), (finding,)
    return requirements, _compare_majors(named[0], logged_with)


def _add_mlflow(
    requirements: tuple[str, ...], logged_with: str | None, *, has_skinny: bool
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    line = f"mlflow=={logged_with}" if logged_with else "mlflow"
    finding = Finding(
        code="mlflow-not-required",
        severity=Severity.WARNING,
        what=f"The model does not require mlflow{' (only mlflow-skinny)' if has_skinny else ''}, which loads it; {line} is added.",
        usually="The requirements were given by hand when the model was logged.",
        remedy=f"Require {line} when the model is logged again.",
    )
    return (*requirements, line), (finding,)


def _compare_majors(line: str, logged_with: str | None) -> tuple[Finding, ...]:
    pin = re.search(r"(?:==|~=)\s*(\d+)\.", line)
    if pin is None or logged_with is None or pin[1] == logged_with.split(".")[0]:
        return ()
    return (
        Finding(
            code="mlflow-versions-disagree",
            severity=Severity.WARNING,
            what=f"The model was logged by mlflow {logged_with} and requires {line}.",
            usually="The requirements were edited, or given by hand; another major version may not read the model.",
            remedy=f"Require mlflow=={logged_with}, or log the model with the version that it requires.",
        ),
    )


def _release(version: str | None) -> str | None:
    """The version, where it is one that an index can have: no development build."""
    try:
        parsed = Version(version or "")
    except InvalidVersion:
        return None
    return None if parsed.is_devrelease or parsed.local else str(parsed)
