"""From a service's log to the likely cause of its failed start. Pure; the list grows with what users meet."""

from __future__ import annotations

import re
from typing import Final

_CAUSES: Final = (
    (
        r"(?:ModuleNotFoundError|ImportError): (?:No module named )?'?(?P<name>[\w.]+)",
        "The model needs the module {name}, which is not in its requirements.",
        "Log the model again with it in `extra_pip_requirements` (a package) or `code_paths` (your own code).",
    ),
    (
        r"ImportError: (?P<name>lib[\w.+-]+\.so[\w.]*)",
        "A package needs the system library {name}, which the serving image does not have.",
        "Use a wheel that bundles it (for OpenCV: opencv-python-headless), or a `base-image` that has it.",
    ),
    (
        (
            r"(?P<name>(?:_pickle\.|pickle\.)?UnpicklingError|ValueError: unsupported pickle protocol: \d+|"
            r"AttributeError: Can't get attribute '[^']+')"
        ),
        "The pickled model cannot be loaded here ({name}): it was saved under other versions, or refers to code that is not with it.",
        "Pin the training versions in the model's requirements, and log your own classes with `code_paths`.",
    ),
    (
        r"(?P<name>InconsistentVersionWarning|incompatible dtype|numpy\.dtype size changed)",
        "A package has another version than at training ({name}).",
        "Pin the training versions in the model's requirements and log the model again.",
    ),
    (
        r"(?P<name>MemoryError|Cannot allocate memory|Worker .* was sent SIGKILL! Perhaps out of memory)",
        "The model does not fit in memory ({name}).",
        "Use a machine with more memory, or a smaller model.",
    ),
    (
        r"(?P<name>No space left on device)",
        "The disk is full ({name}).",
        "Free space, or point MLAZ_HOME at a larger disk.",
    ),
    (
        r"(?P<name>Address already in use)",
        "Another program took the port ({name}).",
        "Stop that program, or choose another port in the config file (`local: {{port: …}}`).",
    ),
)


def explain_start_failure(log: str) -> tuple[str | None, str | None]:
    """(what it usually means, what to do) for the last known pattern in `log`, or (None, None) for the general texts."""
    best: tuple[int, str, str] | None = None
    for pattern, usually, remedy in _CAUSES:
        for match in re.finditer(pattern, log):
            if best is None or match.start() >= best[0]:
                name = match.group("name")[:120]
                best = (match.start(), usually.format(name=name), remedy.format(name=name))
    return (best[1], best[2]) if best else (None, None)
