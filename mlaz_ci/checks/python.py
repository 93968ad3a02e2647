"""The model's Python: is it known, does the inference server support it, is it on this machine."""

from __future__ import annotations

from collections.abc import Iterator

from mlaz_ci.models import Finding, Severity, Target
from mlaz_ci.ports import Resolver
from mlaz_ci.serving.lock import minor_of
from mlaz_ci.serving.matrix import SERVER_PACKAGE, PythonSupport, python_support, supported_pythons

_LOG_AGAIN = "Train and log the model again under a supported Python; 3.10 to 3.12 are the safe choices."


def check_python(python_version: str | None, target: Target, resolver: Resolver) -> Iterator[Finding]:
    if python_version is None:
        yield Finding(
            code="python-unknown",
            severity=Severity.ERROR,
            what="The model does not say which Python it was logged under.",
            usually="Its MLmodel has no python_version, and there is no python_env.yaml and no python in conda.yaml.",
            remedy="Log it again with a current mlflow, or add a python_env.yaml beside the MLmodel file.",
        )
        return
    support = python_support(minor_of(python_version))
    if support is None:
        yield Finding(
            code="python-not-supported",
            severity=Severity.ERROR,
            what=f"The model was logged under Python {python_version}; the inference server can be had for {supported_pythons()}.",
            usually="Azure's own build would end in ImageBuildFailure or a 502 without saying so.",
            remedy=_LOG_AGAIN,
        )
        return
    yield from _check_age(python_version, support)
    if target is Target.LOCAL and resolver.python_path(python_version) is None:
        yield Finding(
            code="python-not-here",
            severity=Severity.WARNING,
            what=f"There is no Python {support.minor} on this machine; it will be downloaded.",
            usually="The model was logged under another Python than this machine has.",
            remedy=f"Where downloads are blocked, install Python {support.minor} before (actions/setup-python, pyenv, `uv python install`).",
        )


def _check_age(python_version: str, support: PythonSupport) -> Iterator[Finding]:
    if not support.is_maintained:
        yield Finding(
            code="python-at-its-end",
            severity=Severity.WARNING,
            what=f"The model was logged under Python {python_version}, which gets no security fixes any more.",
            usually=f"It is served with {SERVER_PACKAGE}{support.ranges[0].specifier}"
            + (", the last that supports this Python." if len(support.ranges) == 1 else "."),
            remedy=_LOG_AGAIN,
        )
    if not support.is_declared:
        yield Finding(
            code="python-not-declared",
            severity=Severity.WARNING,
            what=f"The model was logged under Python {python_version}; {SERVER_PACKAGE} names 3.9 to 3.12 in its metadata.",
            usually="It installs; whether it serves shows in the smoke test.",
            remedy="Nothing if the smoke test passes; " + _LOG_AGAIN[0].lower() + _LOG_AGAIN[1:],
        )
