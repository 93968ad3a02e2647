"""What one examination of a scikit-learn model costs with a warm uv cache: our own CPU, uv's CPU, wall time.

The budget is 2 s of our own CPU and 6 s of wall time. "relock" has the index confirm every page of the cache; "uv" is bare
`uv pip compile` with the same requirements. Run from the root of a checkout: `.venv/bin/python -m benchmarks.doctor [runs]`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlaz_ci.adapters.uv.command import find_uv

_ONE_RUN = "--one-run"
_OURS = [sys.executable, "-m", "benchmarks.doctor", _ONE_RUN]
_REQUIREMENTS = "mlflow==2.22.0\nscikit-learn==1.5.2\npandas==2.2.3\nnumpy==1.26.4\n"


def main() -> None:
    if sys.argv[1:2] == [_ONE_RUN]:
        _examine(Path(sys.argv[2]), relock=sys.argv[3:] == ["relock"])
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        _run([*_OURS, str(Path(folder, "first"))])
        print("         run  own CPU  uv CPU  wall   (seconds; budget: own CPU 2, wall 6)")
        for number in range(1, runs + 1):
            home = str(Path(folder, str(number)))
            for name, command in (
                ("doctor", [*_OURS, home]),
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


def _bare(folder: str) -> list[str]:
    requirements = Path(folder, "requirements.in")
    requirements.write_text(f"{_REQUIREMENTS}azureml-inference-server-http==1.5.*\n", encoding="utf-8")
    return [find_uv(), "pip", "compile", str(requirements), "--no-config", "--no-build", "--python-version", "3.11"]


def _examine(home: Path, *, relock: bool) -> None:
    from mlaz_ci.adapters.uv import UvResolver
    from mlaz_ci.checks import examine, raise_on_errors
    from tests import samples

    facts = samples.facts(requirement_files={"requirements.txt": _REQUIREMENTS}, mlflow_version="2.22.0")
    resolver = UvResolver(os.environ, home, always_asks=relock)
    examination = examine(samples.model(facts=facts), samples.request(), resolver)
    raise_on_errors(examination.findings)
    own, child = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"{own.ru_utime + own.ru_stime:.2f} {child.ru_utime + child.ru_stime:.2f}")


if __name__ == "__main__":
    main()
