"""GitHub's runner as a platform: log commands on stdout, outputs and summary in its files. Everything it writes is masked and inert.

The encodings are those of actions/toolkit; what the runner does with them is in actions/runner (ActionCommand, FileCommandManager).
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TextIO

from mlaz_ci.adapters.console import HEARTBEAT_S, Console, Heartbeat, Secrets
from mlaz_ci.models import Severity
from mlaz_ci.ports import Progress
from mlaz_ci.report.masking import secret_lines
from mlaz_ci.report.summary import SUMMARY_LIMIT_BYTES
from mlaz_ci.report.terminal import PLAIN
from mlaz_ci.report.text import clean, clip, one_line

_OUTPUT_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_TITLE_CHARS: Final = 200
_TEXT_CHARS: Final = 4_000
_CUT_NOTICE: Final = "\n\nThe rest was cut: GitHub takes no job summary over 1 MiB.\n"


class GithubPlatform:
    """`ports.Platform` for a step of a GitHub workflow."""

    style = PLAIN

    def __init__(
        self,
        environ: Mapping[str, str],
        stdout: TextIO | None,
        *,
        new_delimiter: Callable[[], str] = lambda: f"mlaz_{secrets.token_hex(16)}",
        heartbeat_s: Sequence[float] = HEARTBEAT_S,
    ) -> None:
        self._environ = environ
        self._console = Console(stdout)
        self._secrets = Secrets()
        self._new_delimiter = new_delimiter
        self._heartbeat_s = heartbeat_s
        self._open_groups = 0
        self._refused_files: set[str] = set()

    @property
    def is_pull_request(self) -> bool:
        return self._environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request")

    def mask(self, secret: str) -> None:
        self._secrets.add(secret)
        if self._environ.get("GITHUB_ACTIONS") != "true":
            return  # nobody would read the command, but many the secret in it
        for line in secret_lines(secret):
            self._console.line(_command("add-mask", line))

    def info(self, text: str) -> None:
        self._console.line(self._secrets.printable(text))

    def annotate(self, severity: Severity, title: str, text: str) -> None:
        name = one_line(self._secrets.mask(clip(title, _TITLE_CHARS)))
        # The runner drops every "=" a value begins with.
        name = f" {name}" if name.startswith("=") else name
        message = self._secrets.mask(clean(self._secrets.mask(clip(text, _TEXT_CHARS))))
        self._console.line(_command(severity.value, message, title=self._secrets.mask(name)))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Groups do not nest in GitHub's log: an inner one is told by its title alone."""
        self._open_groups += 1
        name = self._secrets.mask(one_line(self._secrets.mask(title)))
        if self._open_groups == 1:
            self._console.line(_command("group", name))
        else:
            self.info(name)
        try:
            yield
        finally:
            self._open_groups -= 1
            if self._open_groups == 0:
                self._console.line(_command("endgroup", ""))

    def set_output(self, name: str, value: str) -> None:
        if not _OUTPUT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no output name")
        masked = self._secrets.mask_json(value)
        delimiter = self._new_delimiter()
        while delimiter in masked:
            delimiter = self._new_delimiter()
        if not self._append("GITHUB_OUTPUT", f"{name}<<{delimiter}\n{masked}\n{delimiter}\n"):
            self.info(f"{name}={masked}")

    def append_summary(self, markdown: str) -> None:
        self._append("GITHUB_STEP_SUMMARY", f"{self._secrets.mask_markup(markdown)}\n", SUMMARY_LIMIT_BYTES)

    def progress(self, title: str) -> AbstractContextManager[Progress]:
        return Heartbeat(title, self.info, self._heartbeat_s)

    def _append(self, variable: str, text: str, limit_bytes: int | None = None) -> bool:
        """Add `text` to the runner's file; False, with one warning, where that cannot be."""
        path = self._environ.get(variable)
        raw = text.encode("utf-8", "backslashreplace")
        try:
            if not path:
                raise FileNotFoundError(f"{variable} is not set")
            _append_whole(Path(path), raw, limit_bytes)
        except (OSError, ValueError) as error:
            if variable not in self._refused_files:
                self._refused_files.add(variable)
                reason = getattr(error, "strerror", None) or error
                self.annotate(Severity.WARNING, variable, f"{variable} cannot be written ({reason}).")
            return False
        return True


def _append_whole(path: Path, raw: bytes, limit_bytes: int | None) -> None:
    """All or nothing: half a value would spoil what stands in the file before it."""
    size = None
    try:
        with path.open("ab") as file:
            size = file.tell()
            file.write(_fitting(raw, None if limit_bytes is None else limit_bytes - size))
    except OSError:
        if size is not None and path.is_file():
            os.truncate(path, size)
        raise


def _fitting(raw: bytes, room_bytes: int | None) -> bytes:
    """As many whole lines as there is room for, and a word about the rest."""
    if room_bytes is None or len(raw) <= room_bytes:
        return raw
    notice = _CUT_NOTICE.encode()
    if room_bytes < len(notice):
        return b""
    return raw[: raw.rfind(b"\n", 0, room_bytes - len(notice)) + 1] + notice


def _command(name: str, data: str, *, title: str = "") -> str:
    properties = f" title={_escape_property(title)}" if title.strip() else ""
    return f"::{name}{properties}::{_escape_data(data)}"


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
