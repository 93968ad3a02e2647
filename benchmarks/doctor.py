"""What one examination of a scikit-learn model costs with a warm uv cache: our own CPU, uv's CPU, wall time.

The budget is 2 s of our own CPU, Python's start included, and 6 s of wall time. "sqlite" and "files" find the model by its run in a local store
first; "relock" has the index confirm every page of the cache; "uv" is bare `uv pip compile` with the same requirements. Run from the root of a checkout: `.venv/bin/python -m benchmarks.doctor [runs]`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.command import number_of_runs
from mlaz_ci.adapters.uv.command import find_uv
from mlaz_ci.models import ModelRef, RunSource

_ONE_RUN = "--one-run"
_OURS = [sys.executable, "-m", "benchmarks.doctor", _ONE_RUN]
# Run by mlflow: a model in the store, and the id of its run on stdout.
_LOG = """
import sys, mlflow
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run() as run:
    mlflow.pyfunc.log_model(name="model", python_model=Echo(), pip_requirements=sys.argv[2].split())
print(run.info.run_id)
"""
_REQUIREMENTS = "mlflow==2.22.0\nscikit-learn==1.5.2\npandas==2.2.3\nnumpy==1.26.4\n"


def main() -> None:
    if sys.argv[1:2] == [_ONE_RUN]:
        home, kind, *source = sys.argv[2:]
        _examine(Path(home), relock=kind == "relock", source=source)
        return
    runs = number_of_runs(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        stores = {kind: _logged(Path(folder, kind), kind) for kind in ("sqlite", "files")}
        _run([*_OURS, str(Path(folder, "first")), "sqlite", *stores["sqlite"]])
        _run([*_OURS, str(Path(folder, "first")), "doctor"])
        print("         run  own CPU  uv CPU  wall   (seconds; budget: own CPU 2, wall 6)")
        for number in range(1, runs + 1):
            home = str(Path(folder, str(number)))
            for name, command in (
                ("doctor", [*_OURS, home, "doctor"]),
                *((kind, [*_OURS, home, kind, *source]) for kind, source in stores.items()),
                ("relock", [*_OURS, home, "relock"]),
                ("uv", _bare(folder)),
            ):
                own, child, wall = _run(command)
                print(f"{name:8} {number:3}  {own:7}  {child:6}  {wall:5.2f}")


def _run(command: list[str]) -> tuple[str, str, float]:
    started = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wall = time.monotonic() - started
    own, child = done.stdout.split() if _ONE_RUN in command else ("", "")
    return own, child, wall


def _logged(folder: Path, kind: str) -> tuple[str, str]:
    """The address of a store of that kind, made by mlflow with a model in it, and the run's id."""
    folder.mkdir()
    uri = f"sqlite:///{folder}/mlflow.db" if kind == "sqlite" else (folder / "mlruns").as_uri()
    environ = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-W", "ignore", "-c", _LOG, uri, _REQUIREMENTS]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder, env=environ
    )
    return uri, done.stdout.split()[-1]


def _bare(folder: str) -> list[str]:
    requirements = Path(folder, "requirements.in")
    requirements.write_text(f"{_REQUIREMENTS}azureml-inference-server-http==1.5.*\n", encoding="utf-8")
    return [find_uv(), "pip", "compile", str(requirements), "--no-config", "--no-build", "--python-version", "3.11"]


def _examine(home: Path, *, relock: bool, source: list[str]) -> None:
    from mlaz_ci.adapters.uv import UvResolver
    from mlaz_ci.checks import examine, raise_on_errors
    from tests import samples

    if source:
        model = _found(*source)
    else:
        facts = samples.facts(requirement_files={"requirements.txt": _REQUIREMENTS}, mlflow_version="2.22.0")
        model = samples.model(facts=facts)
    examination = examine(model, samples.request(), UvResolver(os.environ, home, always_asks=relock))
    raise_on_errors(examination.findings)
    own, child = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{own.ru_utime + own.ru_stime:.2f} {child.ru_utime + child.ru_stime:.2f}")


def _found(tracking_uri: str, run_id: str) -> ModelRef:
    from mlaz_ci.adapters.mlflow_store import MlflowStore
    from tests.fakes.platform import RecordingPlatform

    return MlflowStore(tracking_uri, {}, RecordingPlatform()).resolve(RunSource(run_id=run_id, path="model"), name=None)


if __name__ == "__main__":
    main()
