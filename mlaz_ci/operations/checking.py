"""`doctor`: every check of a deploy, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mlaz_ci.models import Command, Lock, Outcome, ScoreRequest, Status
from mlaz_ci.operations.course import Course
from mlaz_ci.serving.lock import locked_packages
from mlaz_ci.serving.matrix import SERVER_PACKAGE

_TOLD_PACKAGES: Final = ("mlflow", SERVER_PACKAGE)


def doctor(job: Course) -> Outcome:
    if job.request.service_name:
        job.rules.check_service_name(job.request.service_name)
    job.inspect_room()
    model, lock = job.resolve_and_check()
    smoke_request = job.smoke_request(model)
    return Outcome(
        command=Command.DOCTOR,
        status=Status.PASSED,
        target=job.request.target,
        service_name=job.request.service_name,
        model_name=model.name,
        model_version=model.version,
        model_label=model.label,
        lock_hash=lock.hash,
        smoke_request=smoke_request,
        findings=tuple(job.findings),
        timings=tuple(job.timings),
        notes=tuple(_what_passed(lock, smoke_request)),
    )


def _what_passed(lock: Lock, smoke_request: ScoreRequest | None) -> Iterator[str]:
    """What a deploy would build and send."""
    told = [f"{name} {version}" for name in _TOLD_PACKAGES if (version := lock.version_of(name))]
    which = f", {' and '.join(told)} among them" if told else ""
    count = len(locked_packages(lock.text))
    yield f"{count} packages can be installed together for Python {lock.python_version}{which}."
    if smoke_request:
        yield f"The smoke test would send {smoke_request.origin}."
