"""Words shared by all reports: cleaning, cutting and naming values for people. Knows no format but plain text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

# CSI and OSC sequences are dropped whole: the rest of a colour code says nothing to a reader.
_TERMINAL_SEQUENCES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# C0 and C1 but tab and line feed, line separators, marks that reorder the text around them, halves of a surrogate pair.
_UNPRINTABLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
# No ASCII punctuation in it: the mark reads the same in Markdown, and the masker finds it there (masking.py).
CUT_MARK: Final = re.compile("⟨… \\d+ (?:characters|lines) cut …⟩")


def clean(text: str) -> str:
    """Text that moves no cursor and reorders nothing: line ends become LF, other control characters are spelled out."""
    text = _TERMINAL_SEQUENCES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _UNPRINTABLE.sub(_spell_out, text)


def _spell_out(match: re.Match[str]) -> str:
    number = ord(match[0])
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def one_line(text: str) -> str:
    return " ".join(clean(text).split())


def clip(text: str, limit: int) -> str:
    """At most `limit` characters of the beginning, and how many are missing."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}⟨… {len(text) - limit} characters cut …⟩"


def clip_lines(lines: list[str], limit: int) -> list[str]:
    """At most `limit` lines of the beginning, and how many are missing."""
    return lines if len(lines) <= limit else [*lines[:limit], _lines_cut(len(lines) - limit)]


def clip_log(text: str, limit_bytes: int) -> str:
    """The end of a log, by whole lines: what failed stands there. A last line that is too long keeps its beginning."""
    if len(text.encode("utf-8", "replace")) <= limit_bytes:
        return text
    lines = text.split("\n")
    kept: list[str] = []
    left = limit_bytes - 60
    for line in reversed(lines):
        left -= len(line.encode("utf-8", "replace")) + 1
        if left < 0:
            break
        kept.insert(0, line)
    if not kept:
        return clip(lines[-1], max(0, limit_bytes // 4 - 60))
    return "\n".join([_lines_cut(len(lines) - len(kept)), *kept])


def _lines_cut(count: int) -> str:
    return f"⟨… {count} lines cut …⟩"


def duration(duration_s: float) -> str:
    """0.12 s, 3.4 s, 42 s, 2 min 5 s."""
    if duration_s < 1:
        return f"{duration_s:.2f} s"
    if duration_s < 10:
        return f"{duration_s:.1f} s"
    if duration_s < 60:
        return f"{duration_s:.0f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def age(since: datetime, now: datetime) -> str:
    """How long ago, in its one largest unit: 5 minutes, 1 hour, 12 days."""
    seconds = max(0, int((now - since).total_seconds()))
    for size_s, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size_s:
            count = seconds // size_s
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "0 seconds"
