"""A program that calls us as a platform: everything goes to Python's logging, under the name `mlaz_ci`, and nowhere else.

A library prints nothing: without a handler of the program's own, nothing is seen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from mlaz_ci.adapters.console import Secrets
from mlaz_ci.models import Severity
from mlaz_ci.ports import Progress

LOGGER: Final = logging.getLogger("mlaz_ci")
# Python would else write warnings that nobody asked for to stderr.
LOGGER.addHandler(logging.NullHandler())

_LEVELS: Final = {
    Severity.ERROR: logging.ERROR,
    Severity.WARNING: logging.WARNING,
    Severity.NOTICE: logging.INFO,
}


class LoggingPlatform:
    """`ports.Platform` for the Python door. Outputs and summary are in the Outcome that the caller gets."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._secrets = Secrets()

    @property
    def is_pull_request(self) -> bool:
        return self._environ.get("GITHUB_EVENT_NAME", "").startswith("pull_request")

    def mask(self, secret: str) -> None:
        self._secrets.add(secret)

    def info(self, text: str) -> None:
        self._log(logging.INFO, text)

    def annotate(self, severity: Severity, title: str, text: str) -> None:
        self._log(_LEVELS[severity], f"{title}: {text}")

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        self._log(logging.INFO, title)
        yield

    def set_output(self, name: str, value: str) -> None:
        """Nothing: the Outcome has it."""

    def append_summary(self, markdown: str) -> None:
        """Nothing: the Outcome has what it would be made of."""

    @contextmanager
    def progress(self, title: str) -> Iterator[Progress]:
        self._log(logging.DEBUG, title)
        yield _Amount()

    def _log(self, level: int, text: str) -> None:
        LOGGER.log(level, "%s", self._secrets.printable(text))


class _Amount:
    def update(self, done: float, total: float | None, unit: str) -> None:
        """Nothing: a log is no place for what moves."""
