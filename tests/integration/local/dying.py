"""A run that deploys and is killed by SIGKILL at one point: `python -m tests.integration.local.dying POINT DEPLOYMENT MODEL`.

POINT is `call NAME` or `return NAME` of a function, watched from outside: nothing of the product is replaced.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from mlaz_ci.models import Lock
from tests.integration.local.conftest import PYTHON, Machine


def main() -> None:
    point, deployment, model = sys.argv[1:]
    event, name = point.split()
    machine = Machine(
        home=Path(os.environ["MLAZ_TEST_HOME"]),
        lock=Lock(text=os.environ["MLAZ_TEST_LOCK"], python_version=PYTHON, server_range="==1.5.*", base_image="base"),
        models=Path(os.environ["MLAZ_TEST_MODELS"]),
        environ={"PATH": os.environ["PATH"]},
    )

    def watch(frame: FrameType, what: str, _argument: Any) -> None:
        if what == event and frame.f_code.co_qualname == name:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    machine.deploy(deployment, model)
    sys.exit("lived to the end")


if __name__ == "__main__":
    main()
