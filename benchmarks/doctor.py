"""What one examination of a scikit-learn model costs with a warm uv cache: our own CPU, uv's CPU, wall time.

The budget is 2 s of our own CPU and 6 s of wall time. "asked" revalidates uv's cache with the index, whose answers take most of the wall
time; "answered" is the same question again within ten minutes. Run from the root of a checkout: `.venv/bin/python -m benchmarks.doctor [runs]`.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ONE_RUN = "--one-run"


def main() -> None:
    if sys.argv[1:2] == [_ONE_RUN]:
        _examine(Path(sys.argv[2]))
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder, "warm"))
        print("index     run  own CPU  uv CPU  wall   (seconds; budget: own CPU 2, wall 6)")
        for number in range(1, runs + 1):
            for name, home in (("asked", Path(folder, str(number))), ("answered", Path(folder, "warm"))):
                own, child, wall = _measure(home)
                print(f"{name:8}  {number:3}  {own:7.2f}  {child:6.2f}  {wall:5.2f}")


def _measure(home: Path) -> tuple[float, float, float]:
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.doctor", _ONE_RUN, str(home)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    wall = time.monotonic() - started
    own, child = (float(each) for each in done.stdout.split())
    return own, child, wall


def _examine(home: Path) -> None:
    from mlaz_ci.adapters.uv import UvResolver
    from mlaz_ci.checks import examine, raise_on_errors
    from tests import samples

    lines = "mlflow==2.22.0\nscikit-learn==1.5.2\npandas==2.2.3\nnumpy==1.26.4\n"
    facts = samples.facts(requirement_files={"requirements.txt": lines}, mlflow_version="2.22.0")
    examination = examine(samples.model(facts=facts), samples.request(), UvResolver(os.environ, home))
    raise_on_errors(examination.findings)
    own, child = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(own.ru_utime + own.ru_stime, child.ru_utime + child.ru_stime)


if __name__ == "__main__":
    main()
