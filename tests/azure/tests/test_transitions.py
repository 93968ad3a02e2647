from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.azure.clock import FakeClock, iso8601
from tests.azure.entra import Directory
from tests.azure.state import Cloud
from tests.azure.transitions import Progress, Scripts, Stage, after_polls, after_seconds


def test_progress__stage_of_three_polls__is_seen_by_three() -> None:
    clock = FakeClock()
    progress = Progress(after_polls(3, "Creating", "Failed", error={"code": "Crash"}), clock.now_s())
    assert [progress.poll(clock).state for _ in range(5)] == ["Creating"] * 3 + ["Failed"] * 2
    assert progress.poll(clock).error == {"code": "Crash"}


def test_progress__peek__counts_no_poll() -> None:
    clock = FakeClock()
    progress = Progress(after_polls(1, "Creating", "Succeeded"), clock.now_s())
    assert [progress.peek(clock).state for _ in range(3)] == ["Creating"] * 3
    assert not progress.is_done(clock)
    assert [progress.poll(clock).state for _ in range(2)] == ["Creating", "Succeeded"]
    assert progress.is_done(clock)


def test_progress__stages_of_seconds__follow_the_clouds_clock() -> None:
    clock = FakeClock()
    progress = Progress(after_seconds(10, "Queued", "Running", "Succeeded"), clock.now_s())
    clock.advance(9.9)
    assert progress.poll(clock).state == "Queued"
    clock.advance(0.2)
    assert progress.poll(clock).state == "Running"
    clock.advance(100)
    assert progress.poll(clock).state == "Succeeded"


def test_progress__seconds_passed_in_one_leap__are_given_to_each_stage() -> None:
    clock = FakeClock()
    progress = Progress(after_seconds(10, "Queued", "Running", "Succeeded"), clock.now_s())
    clock.advance(15)
    assert progress.peek(clock).state == "Running"


@pytest.mark.parametrize("stages", [(), (Stage(state="A", polls=1),), (Stage(state="A"), Stage(state="B"))])
def test_progress__course_without_one_end__is_refused(stages: tuple[Stage, ...]) -> None:
    with pytest.raises(ValueError, match="last stage"):
        Progress(stages, 0.0)


def test_scripts__laid_for_a_name__is_taken_once_by_it() -> None:
    scripts = Scripts()
    scripts.add("aci.create", after_polls(1, "Running", "Failed"), name="svc-.*", extra={"log": "boom"})
    assert scripts.take("aci.create", "other") is None
    assert scripts.take("aks.create", "svc-1") is None
    script = scripts.take("aci.create", "svc-1")
    assert script is not None
    assert script.extra == {"log": "boom"}
    assert scripts.take("aci.create", "svc-1") is None


def test_iso8601__digits__are_as_asked() -> None:
    clock = FakeClock(1715285944.123456)
    assert [iso8601(clock, digits) for digits in (0, 3, 7)] == [
        "2024-05-09T20:19:04Z",
        "2024-05-09T20:19:04.123Z",
        "2024-05-09T20:19:04.1234560Z",
    ]


def test_cloud__saved_and_loaded__has_its_rooms_state_and_keys(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    cloud.state(Directory).token_lifetime_s = 7
    key_id = cloud.keys.of("issuer").key_id
    cloud.save()
    later = Cloud(tmp_path)
    assert later.load()
    assert later.state(Directory).token_lifetime_s == 7
    assert later.keys.of("issuer").key_id == key_id


def test_cloud__nothing_saved__says_so(tmp_path: Path) -> None:
    assert not Cloud(tmp_path).load()


def test_cloud__saved_by_another_version__is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "state.pickle").write_bytes(pickle.dumps({"states": {}, "keys": {}}))
    with pytest.raises(ValueError, match="another version of the emulator"):
        Cloud(tmp_path).load()


def test_cloud__reset__closes_what_lives(tmp_path: Path) -> None:
    class Process:
        closed = 0

        def close(self) -> None:
            Process.closed += 1

    cloud = Cloud(tmp_path)
    assert cloud.live(Process) is cloud.live(Process)
    file = cloud.room_folder("blob") / "content"
    file.write_bytes(b"x")
    cloud.reset()
    assert Process.closed == 1
    assert not file.exists()
