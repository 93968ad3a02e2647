"""What nothing is made from any more: what goes, when, and that nothing goes which a service or another run uses."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_process.home import locked
from mlaz_ci.serving.manifest import FILE_NAME
from tests.integration.local.conftest import SERVICE, CachedBuilder, Machine
from tests.integration.local.test_failures import damaged


@dataclass(frozen=True)
class LaterClock(SystemClock):
    """A clock that is ahead; what it waits for is real."""

    by: timedelta

    def utc_now(self) -> datetime:
        return super().utc_now() + self.by


def test_delete__model_that_never_arrived__goes_when_nobody_can_be_bringing_it_any_more(machine: Machine) -> None:
    models = machine.home / "models"
    models.mkdir(parents=True)
    for name in (".incoming-abc", ".left.part-1"):
        shutil.copytree(machine.models / "v1", models / name)
        os.utime(models / name, (0, 0))  # as an archive of an old folder would have it
    for hours, there in ((23, 2), (25, 0)):
        machine.stage("g1", "v1")
        machine.serving_with(CachedBuilder(), LaterClock(timedelta(hours=hours))).delete(SERVICE)
        assert len(list(models.iterdir())) == there


def test_delete__environment_that_nobody_wants__goes_after_weeks_and_one_that_is_used_stays(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = machine.home / "environments"
    kept = environments / machine.lock.hash

    def delete_other(days: float) -> list[str]:
        for name in ("unused", "half-built"):
            (environments / name / "bin").mkdir(parents=True, exist_ok=True)
        (environments / "unused" / ".complete").touch()
        machine.stage("g1", "v1", service="other")
        machine.serving_with(CachedBuilder(), LaterClock(timedelta(days=days))).delete("other")
        return sorted(each.name for each in environments.iterdir() if not each.name.startswith("."))

    machine.deploy("g1", "v1")
    assert delete_other(13) == sorted(["half-built", "unused", kept.name])
    with locked(environments / ".lock-unused", SystemClock(), "building it"):
        assert delete_other(15) == sorted(["unused", kept.name])
    assert delete_other(15) == [kept.name]
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=100, used=95, free=5))
    assert delete_other(0.9) == sorted(["half-built", "unused", kept.name])
    assert delete_other(1.1) == [kept.name]
    assert machine.answer() == ["v1"]
    with damaged(machine.folder("g1") / FILE_NAME, "{"):
        assert len(delete_other(99)) == 3, "who runs in what is not known"


def test_delete__environment_was_wanted_lately__stays(machine: Machine) -> None:
    machine.build_environment()
    mark = machine.home / "environments" / machine.lock.hash / ".complete"
    os.utime(mark, (0, 0))
    machine.build_environment()
    machine.stage("g1", "v1")
    machine.serving.delete(SERVICE)
    assert mark.exists()
    os.utime(mark, (0, 0))
    machine.stage("g1", "v1")
    machine.serving.delete(SERVICE)
    assert not mark.parent.exists()
