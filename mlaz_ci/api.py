"""The Python door: `deploy()` and `cleanup()` with the words of the action's inputs, in snake_case. Returns an Outcome or raises MlazError.

Nothing is printed: what the action would show goes to the logger `mlaz_ci`, or to the `platform` that is given.
"""

from __future__ import annotations

import json
import os
import platform as machine
from collections.abc import Mapping
from pathlib import Path

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.logging_platform import LoggingPlatform
from mlaz_ci.models import Outcome
from mlaz_ci.ports import Platform
from mlaz_ci.wiring import prepare

InputValue = str | int | float | bool | Path | Mapping[str, str] | None


def deploy(*, service_name: str, platform: Platform | None = None, **inputs: InputValue) -> Outcome:
    """Deploy a model and return what came of it.

    `inputs` are the action's inputs in snake_case: `run_id="…"`, `target="local"`, `tags={"team": "risk"}`. None means not given.
    Raises MlazError (mlaz_ci.errors): its class names the failure, `exit_code` says who must act.
    """
    return _run("deploy", {"service_name": service_name, **inputs}, platform)


def cleanup(*, service_name: str, platform: Platform | None = None, **inputs: InputValue) -> Outcome:
    """Delete the service that `deploy` made; absent is success. Raises MlazError."""
    return _run("cleanup", {"service_name": service_name, **inputs}, platform)


def _run(command: str, inputs: Mapping[str, InputValue], platform: Platform | None) -> Outcome:
    environ = dict(os.environ)
    given = {name.replace("_", "-"): _as_text(value) for name, value in inputs.items() if value is not None}
    job = prepare(
        {**given, "command": command},
        environ,
        platform or LoggingPlatform(environ),
        SystemClock(),
        working_directory=Path.cwd(),
        host=machine.node(),
        user_id=os.getuid() if hasattr(os, "getuid") else None,
    )
    return job.run()


def _as_text(value: InputValue) -> str:
    """A Python value as the action's input would carry it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(dict(value)) if isinstance(value, Mapping) else str(value)
