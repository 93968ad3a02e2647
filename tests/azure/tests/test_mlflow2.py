"""MLflow 2.22 with the same plugin, in its own environment: it completes the flows that MLflow 3 completes, and two it does not."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.azure.server import UNWANTED_VARIABLES

_ROOT = Path(__file__).resolve().parents[3]
_PYTHON = _ROOT / ".venv-azure-mlflow2" / "bin" / "python"
_TIMEOUT_S = 600


@pytest.mark.skipif(not _PYTHON.exists(), reason="needs requirements/azure-tests-mlflow2.txt in .venv-azure-mlflow2")
@pytest.mark.parametrize(("module", "fewest"), [("test_mlflow", 13), ("test_mlflow_deploy", 6)])
def test_mlflow_2__on_the_flows_of_this_module__completes_them(module: str, fewest: int, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    place = Path(__file__).with_name(f"{module}.py")
    command = [str(_PYTHON), "-m", "pytest", "-c", str(place.parents[1] / "pytest.ini"), "-q", str(place)]
    # Without cached bytecode each import of MLflow takes seconds.
    unwanted = {*UNWANTED_VARIABLES, "PYTHONDONTWRITEBYTECODE"}
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--junitxml={report}"],
        cwd=_ROOT,
        env={**environment, "PYTEST_ADDOPTS": "", "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    suite = next(ET.parse(report).iter("testsuite"))
    ran = int(suite.attrib["tests"]) - int(suite.attrib["skipped"])
    assert ran >= fewest, done.stdout
    sys.stdout.write(done.stdout)
