"""A deployment's log: its end, and the one line in it that says why the deployment failed."""

from __future__ import annotations

import os
import re
from pathlib import Path

_READ_BYTES = 512 * 1024
# The line that ends a traceback: the class, then the message. Log lines begin with a date and never look like this.
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::.*)?")
# The server's wrapper around what the scoring script raised; the script's own exception stands before it.
_WRAPPER = re.compile(r"azureml_inference_server_http\.|UserScript")


def tail(path: Path, lines: int) -> str:
    """The last lines, decoded whatever the bytes; empty where there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _READ_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""


def last_exception(text: str) -> str:
    """`ImportError: No module named 'x'`: what the log's last traceback ended with, or nothing."""
    found = ""
    is_traceback = False
    for line in text.splitlines():
        if line.endswith("Traceback (most recent call last):"):
            is_traceback = True
        elif is_traceback and line and not line[0].isspace():
            is_traceback = False
            if _EXCEPTION.fullmatch(line) and not _WRAPPER.match(line):
                found = line
    return found[:300]
