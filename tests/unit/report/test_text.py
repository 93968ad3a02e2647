from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.report.text import CUT_MARK, age, clean, clip, clip_log, duration
from tests.unit.report import scenarios


@given(st.text())
def test_clean__any_text__has_no_control_character_but_tab_and_line_feed(text: str) -> None:
    cleaned = clean(text)
    assert not any(ord(each) < 0x20 and each not in "\t\n" for each in cleaned)
    cleaned.encode()
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x\x1b]8;;http://h\x1b\\y", "xy"),
        ("\x1bc\x9b2J", "\\x1bc\\x9b2J"),
        ("a\u202eb\x00", "a\\u202eb\\x00"),
        ("\ud800", "\\ud800"),
    ],
)
def test_clean__terminal_tricks__are_dropped_or_spelled_out(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(), st.integers(min_value=0, max_value=20))
def test_clip__any_limit__keeps_the_beginning_and_says_how_much_is_missing(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    if len(text) <= limit:
        assert clipped == text
    else:
        assert clipped.startswith(text[:limit])
        assert CUT_MARK.fullmatch(clipped[limit:])


@given(st.lists(st.text(alphabet="aü€", max_size=30), max_size=60).map("\n".join), st.integers(200, 400))
def test_clip_log__any_log__fits_and_ends_as_the_log_does(log: str, limit_bytes: int) -> None:
    clipped = clip_log(log, limit_bytes)
    assert len(clipped.encode()) <= limit_bytes
    if clipped != log:
        assert log.endswith(clipped.split("\n", 1)[1])


def test_clip_log__one_endless_line__keeps_its_beginning() -> None:
    clipped = clip_log("ü" * 100_000, 1000)
    assert clipped.startswith("ü" * 50)
    assert len(clipped.encode()) <= 1000


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.034, "0.03 s"), (3.44, "3.4 s"), (42.4, "42 s"), (120, "2 min"), (125.2, "2 min 5 s")],
)
def test_duration__seconds__read_as_people_say_them(duration_s: float, text: str) -> None:
    assert duration(duration_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 seconds"), (0, "0 seconds"), (1, "1 second"), (119, "1 minute"), (7200, "2 hours"), (90_000, "1 day")],
)
def test_age__since_a_moment__is_in_its_largest_unit(seconds: int, text: str) -> None:
    assert age(scenarios.NOON, scenarios.NOON + timedelta(seconds=seconds)) == text
