"""The Python door: `deploy()` and `cleanup()` with the words of the action's inputs, in snake_case. Returns an Outcome or raises MlazError."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.terminal import TerminalPlatform
from mlaz_ci.models import Outcome
from mlaz_ci.wiring import prepare

InputValue = str | int | float | bool | Path | Mapping[str, str] | None


def deploy(*, service_name: str, **inputs: InputValue) -> Outcome:
    """Deploy a model and return what came of it.

    `inputs` are the action's inputs in snake_case: `run_id="…"`, `target="local"`, `tags={"team": "risk"}`. None means not given.
    Raises MlazError (mlaz_ci.errors): its class names the failure, `exit_code` says who must act.
    """
    return _run("deploy", {"service_name": service_name, **inputs})


def cleanup(*, service_name: str, **inputs: InputValue) -> Outcome:
    """Delete the service that `deploy` made; absent is success. Raises MlazError."""
    return _run("cleanup", {"service_name": service_name, **inputs})


def _run(command: str, inputs: Mapping[str, InputValue]) -> Outcome:
    environ = dict(os.environ)
    terminal = TerminalPlatform(sys.stderr, sys.stderr, environ, is_terminal=False)
    given = {name.replace("_", "-"): _as_text(value) for name, value in inputs.items() if value is not None}
    job = prepare(
        {**given, "command": command},
        environ,
        terminal,
        SystemClock(),
        working_directory=Path.cwd(),
        host=platform.node(),
    )
    return job.run()


def _as_text(value: InputValue) -> str:
    """A Python value as the action's input would carry it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(dict(value)) if isinstance(value, Mapping) else str(value)
