"""A person's terminal as a platform: talk goes to stderr; stdout gets what a program reads: the outputs as `name=value` lines,
or the bare answer of `invoke`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, TextIO

from mlaz_ci.adapters.console import HEARTBEAT_S, Console, Heartbeat, Secrets, defuse
from mlaz_ci.models import Severity
from mlaz_ci.ports import Progress
from mlaz_ci.report.terminal import ANSI, PLAIN
from mlaz_ci.report.text import clean, one_line

_ERASE_LINE: Final = "\r\x1b[K"
_MOVING_LINE_CHARS: Final = 79


class TerminalPlatform:
    """`ports.Platform` for the command line. Colour and a moving line only where `is_terminal` (stderr's) and without NO_COLOR.

    Without `has_outputs` stdout is kept for an answer.
    """

    def __init__(
        self,
        stdout: TextIO | None,
        stderr: TextIO | None,
        environ: Mapping[str, str],
        *,
        is_terminal: bool,
        has_outputs: bool = True,
        heartbeat_s: Sequence[float] | None = None,
    ) -> None:
        self._environ = environ
        self._out = Console(stdout)
        self._err = Console(stderr)
        # On a terminal the outputs would say a second time what the text says.
        self._shows_outputs = has_outputs and not self._out.is_terminal
        self._is_terminal = is_terminal and environ.get("TERM") != "dumb"
        self.style = ANSI if self._is_terminal and not environ.get("NO_COLOR") else PLAIN
        self._heartbeat_s = heartbeat_s or ((2.0, 0.5) if self._is_terminal else HEARTBEAT_S)
        self._secrets = Secrets()
        self._lock = threading.RLock()
        self._has_moving_line = False
        self._told = ""
        self._outputs: dict[str, str] = {}

    @property
    def is_pull_request(self) -> bool:
        return self._environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request")

    def mask(self, secret: str) -> None:
        self._secrets.add(secret)

    def info(self, text: str) -> None:
        with self._lock:
            self._erase()
            shown = self._secrets.printable(text)
            self._told = clean(shown)  # without its colours
            self._err.line(shown)

    def annotate(self, severity: Severity, title: str, text: str) -> None:
        shown = self._secrets.printable(text)
        if shown.partition("\n")[0] in self._told:
            return  # the text just above has said it
        style = self.style
        colours = {Severity.ERROR: style.red, Severity.WARNING: style.yellow, Severity.NOTICE: style.dim}
        self.info(f"{colours[severity]}{severity}{style.off} {one_line(title)}: {shown}")

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        self.info(f"{self.style.bold}{one_line(title)}{self.style.off}")
        yield
        self.info("")

    def set_output(self, name: str, value: str) -> None:
        """A later line of the same name counts; an empty value that was never another is left out."""
        if not self._shows_outputs or self._outputs.get(name, "") == value:
            return
        self._outputs[name] = value
        masked = self._secrets.mask_json(value).replace("\r", "\\r").replace("\n", "\\n")
        line = f"{name}={masked}"
        # In a `run:` step the runner reads this stream, too.
        self._out.line(defuse(line) if self._environ.get("GITHUB_ACTIONS") == "true" else line)

    def answer(self, body: bytes) -> None:
        """What a service answered: as it came for a program, readable and on lines of its own for a person.

        A secret stays one even here, and in a `run:` step the runner reads this stream, too.
        """
        text = body.decode("utf-8", "replace")
        if self._out.is_terminal:
            self._out.line(self._secrets.printable(text).rstrip("\n"))
            return
        text = self._secrets.mask_json(text)
        is_read_by_runner = self._environ.get("GITHUB_ACTIONS") == "true"
        self._out.write("\n".join(map(defuse, text.split("\n"))) if is_read_by_runner else text)

    def append_summary(self, markdown: str) -> None:
        """Nothing: the text told to `info` has the same content."""

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        return Heartbeat(title, self._show_progress, self._heartbeat_s)

    def _show_progress(self, line: str) -> None:
        with self._lock:
            if not self._is_terminal:
                self._err.line(self._secrets.printable(line))
                return
            # A line that wraps could not be erased.
            self._err.write(f"{_ERASE_LINE}{one_line(self._secrets.printable(line))[:_MOVING_LINE_CHARS]}")
            self._has_moving_line = True

    def _erase(self) -> None:
        if self._has_moving_line:
            self._err.write(_ERASE_LINE)
            self._has_moving_line = False
