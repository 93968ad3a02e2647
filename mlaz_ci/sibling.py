"""What a sibling container runs: one call of the Serving port, read from a file, answered as JSON lines.

The composition root of that side. It is reached by `docker exec` from adapters/local_docker alone, and holds no secret.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_docker.envelope import decode, encode_error, render_line
from mlaz_ci.adapters.local_process import LocalProcess
from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.errors import Bug, DiskFull, MlazError

_CALLS = frozenset({"snapshot", "build_environment", "stage", "start", "observe", "shift", "retire", "delete", "logs"})
_REMEDY_FULL_ENGINE = (
    "Free the disk of the container engine (`docker system df` shows what fills it). Models and environments are in the volume "
    "mlaz-ci: run `command: cleanup` for the services on it, then `docker volume rm mlaz-ci`; the next deploy builds them again."
)


class _LineProgress:
    """Progress that travels as lines, and is shown at the other end."""

    def __init__(self, answers: IO[str]) -> None:
        self._answers = answers

    def update(self, done: float, total: float | None, unit: str) -> None:
        print(render_line("progress", [done, total, unit]), file=self._answers, flush=True)


class _Models:
    """The models of this volume, which deployments are made from. A model is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has_model(self, name: str) -> bool:
        return (self._folder / name / "MLmodel").is_file()

    def adopt_model(self, name: str, source: Path) -> None:
        """Copy `source`, or move it if it is in this folder already."""
        if source.parent != self._folder:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            incoming = self._folder / f".incoming-{name}-{os.getpid()}"
            shutil.copytree(source, incoming, dirs_exist_ok=True)
            source = incoming
        if self.has_model(name):
            shutil.rmtree(source)
        else:
            source.rename(self._folder / name)


def main() -> int:
    # Only answers go to the real standard output: whatever prints, here or in a child, prints to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        request_file = Path(sys.argv[1])
        request = json.loads(request_file.read_text(encoding="utf-8"))
        request_file.unlink()
        environ = _unpack_surroundings(dict(os.environ), decode(request["surroundings"]))  # noqa: TID251
        line = render_line("answer", _answer(request["call"], decode(request["arguments"]), environ, answers))
    except OSError as error:
        line = render_line("error", encode_error(_as_seen_outside(_os_failure(error))))
    except MlazError as error:
        line = render_line("error", encode_error(_as_seen_outside(error)))
    except Exception as error:  # noqa: BLE001 - told to the step, which reports it as the defect it is
        line = render_line("error", encode_error(Bug(f"{type(error).__name__}: {error}", log=traceback.format_exc())))
    print(line, file=answers, flush=True)
    return 0


def _answer(method: str, arguments: Mapping[str, Any], environ: Mapping[str, str], answers: IO[str]) -> Any:
    home = Path(environ["MLAZ_HOME"])
    if method == "adopt_model":
        return _Models(home / "models").adopt_model(**arguments)
    if method not in _CALLS:
        raise Bug(f"A sibling container has no call named {method}.")
    clock = SystemClock()
    if method == "build_environment":
        # The step's clock is not this one: what travels is the time that is left.
        deadline_s = clock.now_s() + arguments["left_s"]
        arguments = {"lock": arguments["lock"], "progress": _LineProgress(answers), "deadline_s": deadline_s}
    builder = UvResolver(environ, home / "uv")
    # All addresses, because the published port leads to the container's bridge address; the host publishes it to 127.0.0.1 alone.
    serving = LocalProcess(home, environ, clock, builder, host="0.0.0.0")  # noqa: S104
    if method == "stage":
        serving.snapshot(arguments["spec"].service_name)  # from here on no other call removes a model
        if not _Models(home / "models").has_model(arguments["model_folder"].name):
            return False
        serving.stage(**arguments)
        return True
    return getattr(serving, method)(**arguments)


def _os_failure(error: OSError) -> MlazError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"The disk of the container engine is full: {error}.")
    return Bug(f"{type(error).__name__}: {error}", log=traceback.format_exc())


def _as_seen_outside(error: MlazError) -> MlazError:
    """MLAZ_HOME is a volume in here, which no step can point elsewhere; it is on the engine's disk."""
    if isinstance(error, DiskFull):
        error.remedy_text = _REMEDY_FULL_ENGINE
    return error


def _unpack_surroundings(own: Mapping[str, str], surroundings: Mapping[str, Any]) -> Mapping[str, str]:
    """The container's own environment with the step's variables; certificate files are written where they can be read."""
    environ = {**own, **surroundings["variables"]}
    folder = Path(environ["MLAZ_HOME"]) / "certificates"
    for name, content in surroundings["files"].items():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{hashlib.sha256(content).hexdigest()[:16]}.pem"
        path.write_bytes(content)
        environ[name] = str(path)
    return environ


if __name__ == "__main__":
    sys.exit(main())
