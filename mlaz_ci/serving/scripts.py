"""Our programs that run inside a service, as texts: what a deployment is made with, and so a part of what tells two apart."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Mapping
from typing import Final

SCORE: Final = "score.py"
LAUNCH: Final = "launch.py"


def script_texts(names: Iterable[str]) -> Mapping[str, str]:
    """The texts of these of our programs, by file name."""
    folder = importlib.resources.files("mlaz_ci.serving")
    return {name: folder.joinpath(name).read_text(encoding="utf-8") for name in names}
