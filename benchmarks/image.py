"""The image: its size as a registry keeps it, and how long a step in it takes to its first request, beside the bare process.

Needs the image that `make test-container` builds, podman, and root; says so where they are missing. Run from the root of a checkout:
`.venv/bin/python -m benchmarks.image [runs]`. README.md beside this says how to read it.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.cloud import ROOT, Stand, first_request, stand
from benchmarks.command import number_of_runs
from benchmarks.table import Row, print_table
from tests.container.conftest import IMAGE
from tests.container.engine import GATEWAY, Engine, make_engine, missing_tools
from tests.container.test_image import SIZE_LIMIT_BYTES, compressed_size

_BARE = ROOT / ".venv-azure" / "bin" / "python"


def main() -> None:
    runs = number_of_runs(__doc__)
    why = _missing()
    if why:
        print(f"not measured: {why}")
        return
    with tempfile.TemporaryDirectory(prefix="mlaz-") as settings:
        engine = make_engine(storage=_storage(), settings=Path(settings))
        if not engine.has_image(IMAGE):
            print(f"not measured: there is no image {IMAGE} (make test-container builds it)")
            return
        size = compressed_size(engine, IMAGE, level=6)
        boxed, bare = [], []
        with stand() as here:
            for number in range(runs + 1):
                found = _boxed_s(engine, here), _bare_s(here)
                if number:  # the first round fills the caches
                    boxed.append(found[0])
                    bare.append(found[1])
    print_table(
        f"the image, median of {runs}",
        [
            Row(what="compressed", unit="MB", ours=size / 1e6, budget=SIZE_LIMIT_BYTES / 1e6),
            Row(
                what="`status` to its first request",
                unit="s",
                ours=median(boxed),
                peer=median(bare),
                budget=1.5,
                is_ratio=True,
            ),
        ],
        peer="bare process",
    )


def _missing() -> str:
    missing = missing_tools()
    if not _BARE.exists():
        missing.append(f"{_BARE.parent.parent.name} (make test-azure)")
    return f"needs {', '.join(missing)}" if missing else ""


def _storage() -> Path:
    """Where the container tests keep their images."""
    return Path.home() / ".cache" / "mlaz-ci-tests" / "containers"


def _boxed_s(engine: Engine, here: Stand) -> float:
    home = here.home()
    step = here.step(home, target="managed", command="status") | {"GITHUB_OUTPUT": "/outputs"}

    def start(door: int) -> subprocess.Popen[bytes]:
        proxy = f"http://{GATEWAY}:{door}"
        given = step | dict.fromkeys(("HTTPS_PROXY", "https_proxy"), proxy)
        flags = [each for name, value in given.items() for each in ("--env", f"{name}={value}")]
        with (home / "log").open("wb") as sink:
            return subprocess.Popen(
                ["podman", "run", "--rm", *flags, IMAGE], env=dict(engine.environ), stdout=sink, stderr=sink
            )

    return first_request(start, host="0.0.0.0")[0]  # noqa: S104  # the container comes by its bridge


def _bare_s(here: Stand) -> float:
    home = here.home()
    step = here.step(home, target="managed", command="status")

    def start(door: int) -> subprocess.Popen[bytes]:
        environment = here.environment(home, step, door=f"http://127.0.0.1:{door}")
        with (home / "log").open("wb") as sink:
            command = [str(_BARE), str(ROOT / "entrypoint.py")]
            return subprocess.Popen(command, env=environment, cwd=home, stdout=sink, stderr=sink)

    return first_request(start)[0]


if __name__ == "__main__":
    main()
