"""What both platforms write with: a stream that is never the reason of a failure, and a heartbeat for what takes long."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self, TextIO

from mlaz_ci.models import told_size
from mlaz_ci.report import ANSI
from mlaz_ci.report.masking import Masker
from mlaz_ci.report.text import clean, one_line

_OUR_COLOURS: Final = re.compile(
    "(" + "|".join(re.escape(each) for each in (ANSI.bold, ANSI.dim, ANSI.red, ANSI.green, ANSI.yellow, ANSI.off)) + ")"
)
_COLOUR_OR_SPACE: Final = re.compile(rf"(?:\s|[\u00ad\u200b-\u200f\u2060]|{_OUR_COLOURS.pattern})*::")
HEARTBEAT_S: Final = (2.0, 5.0, 10.0, 30.0)


class Secrets:
    """One masker for all that a platform writes, safe for threads."""

    def __init__(self) -> None:
        self._masker = Masker()
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        with self._lock:
            self._masker.add(secret)

    def mask(self, text: str) -> str:
        with self._lock:
            return self._masker.mask(text)

    def mask_markup(self, text: str) -> str:
        with self._lock:
            return self._masker.mask_markup(text)

    def mask_json(self, text: str) -> str:
        with self._lock:
            return self._masker.mask_json(text)

    def printable(self, text: str) -> str:
        """`text` to be shown as lines: without secrets, cursor movements, and anything the runner would take for a command."""
        parts = _OUR_COLOURS.split(self.mask(text))
        cleaned = "".join(part if at % 2 else clean(part) for at, part in enumerate(parts))
        # Once more: dropping an escape sequence may have joined what it kept apart.
        return "\n".join(defuse(line) for line in self.mask(cleaned).split("\n"))


def defuse(line: str) -> str:
    """The line, readable, and no workflow command: `::name::` counts at its beginning, `##[name]` anywhere in it.

    What is put in can be seen: the runner compares by culture, and does not see a zero-width character.
    """
    line = line.replace("##[", "# #[")
    return f"| {line}" if _COLOUR_OR_SPACE.match(line) else line


class Console:
    """Whole lines to a text stream, one writer at a time. A stream that is closed or full is given up, in silence.

    Python's own standard streams are None where the process was started without them.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    @property
    def is_terminal(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def write(self, text: str) -> None:
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(_encodable(text, self._stream.encoding or "utf-8"))
                self._stream.flush()
            except (OSError, ValueError):
                _abandon(self._stream)
                self._stream = None

    def line(self, text: str) -> None:
        self.write(f"{text}\n")


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _abandon(stream: TextIO) -> None:
    """Python flushes the standard streams once more at its end, and an error there would become the exit code."""
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
    except (OSError, ValueError):
        return


class Heartbeat:
    """Calls `beat(line)` when a thing takes over two seconds, then at rising intervals, and once at its end if it was shown before."""

    def __init__(self, title: str, beat: Callable[[str], None], intervals_s: Sequence[float] = HEARTBEAT_S) -> None:
        self._title = one_line(title)
        self._beat = beat
        self._intervals_s = tuple(intervals_s)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._amount = ""
        self._began_s = time.monotonic()
        self._is_shown = False

    def update(self, done: float, total: float | None, unit: str) -> None:
        self._amount = _amount(done, total, one_line(unit))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._is_shown:
            self._beat(f"{self._title}: {'done' if error is None else 'gave up'} after {self._elapsed_s():.0f} s")

    def _run(self) -> None:
        beats = 0
        while not self._ended.wait(self._intervals_s[min(beats, len(self._intervals_s) - 1)]):
            beats += 1
            self._is_shown = True
            amount = f"{self._amount}, " if self._amount else ""
            self._beat(f"{self._title}: {amount}{self._elapsed_s():.0f} s")

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s


def _amount(done: float, total: float | None, unit: str) -> str:
    if unit == "bytes":
        return " of ".join(told_size(each) for each in (done, total) if each is not None)
    shown = [f"{each:g}" for each in (done, total) if each is not None]
    return f"{' of '.join(shown)} {unit}".strip()
