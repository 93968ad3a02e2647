"""Remembers which questions the index answered minutes ago, so that the same question can be answered from uv's cache alone.

Public indexes allow a client ten minutes of that; mirrors often forget to say so, and hundreds of revalidations take seconds.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FRESH_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Question:
    """One question as a mark in `folder`: an empty file named by its hash, whose age is the answer's."""

    mark: Path

    @classmethod
    def of(cls, parts: Sequence[str], folder: Path) -> Question:
        return cls(folder / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32])

    def was_answered_just_now(self) -> bool:
        with suppress(OSError):
            return 0.0 <= time.time() - self.mark.stat().st_mtime < _FRESH_S
        return False

    def remember(self) -> None:
        """Best effort: without the mark the index is only asked again."""
        with suppress(OSError):
            self.mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for each in self.mark.parent.iterdir():
                if time.time() - each.stat().st_mtime >= _FRESH_S:
                    each.unlink(missing_ok=True)
            self.mark.touch()
