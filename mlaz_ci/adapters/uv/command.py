"""Runs uv: found beside this interpreter, in a folder and an environment of its own, and ended with all its children when time is up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlaz_ci.errors import UvNotFound


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """`messages` is what uv wrote for people (stderr); `is_timed_out` where it was ended by us."""

    exit_code: int
    output: str
    messages: str
    is_timed_out: bool = False


def find_uv() -> str:
    """The locked uv that was installed with us; one on PATH only where there is none, since PATH may be anybody's."""
    beside = Path(sys.executable).with_name("uv")
    if beside.is_file():
        return str(beside)
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return str(find_uv_bin())
    on_path = shutil.which("uv")
    if on_path is None:
        raise UvNotFound("uv, which resolves and installs the model's packages, is not installed.")
    return on_path


def run_uv(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    timeout_s: float,
    on_line: Callable[[str], None] = lambda _: None,
) -> Completed:
    """The answer, whatever it is. The lines of its messages go to `on_line` as they come."""
    output_file = folder / "output"
    with output_file.open("w", encoding="utf-8") as output:
        try:
            process = subprocess.Popen(
                [find_uv(), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=dict(environment),
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise UvNotFound(f"uv cannot be started: {error.strerror}.") from error
    lines: list[str] = []
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        _kill_group(process.pid)

    timer = threading.Timer(timeout_s, end)
    timer.start()
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            on_line(line.rstrip("\n"))
        exit_code = process.wait()
    except BaseException:
        _kill_group(process.pid)
        process.wait()
        raise
    finally:
        timer.cancel()
        if process.stderr is not None:
            process.stderr.close()
    return Completed(
        exit_code=exit_code,
        output=output_file.read_text(encoding="utf-8", errors="replace"),
        messages="".join(lines),
        is_timed_out=is_late.is_set(),
    )


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
