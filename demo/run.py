"""The main job end to end on this machine, the way a workflow step does it: train, deploy by run id, predict, clean up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "demo" / ".work"
SERVICE = "diabetes-demo"


def main() -> int:
    began_s = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    tracking_uri = f"sqlite:///{WORK / 'mlflow.db'}"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

    show("1. Train a model on scikit-learn's diabetes data and log it to MLflow")
    train = [sys.executable, str(ROOT / "demo" / "train.py"), tracking_uri]
    trained = subprocess.run(train, cwd=WORK, check=True, stdout=subprocess.PIPE, text=True)
    run_id = trained.stdout.split()[-1]
    print(f"run id: {run_id}", flush=True)

    show("2. Deploy it by run id, as the action's step does")
    step = {"tracking-uri": tracking_uri, "service-name": SERVICE, "target": "local"}
    outputs = run_step({**step, "command": "deploy", "run-id": run_id})
    for name in ("status", "scoring-uri", "service-name", "model-name", "changed"):
        print(f"{name}={outputs.get(name, '')}", flush=True)

    show("3. Ask the live service for a prediction")
    body = json.dumps({"input_data": {"columns": COLUMNS, "data": [ROW]}}).encode()
    request = urllib.request.Request(outputs["scoring-uri"], body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(f"{answer.status} {answer.read().decode()}", flush=True)

    show("4. Clean up")
    outputs = run_step({**step, "command": "cleanup"})
    print(f"status={outputs['status']}")
    print(f"\nDone in {time.monotonic() - began_s:.0f} s.")
    return 0


COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
ROW = [0.038, 0.051, 0.062, 0.022, -0.044, -0.035, -0.043, -0.003, 0.020, -0.018]


def run_step(inputs: Mapping[str, str]) -> dict[str, str]:
    """Run entrypoint.py with INPUT_* variables and read the outputs it wrote, as GitHub's runner would."""
    output_file, summary_file = WORK / "output", WORK / "summary.md"
    output_file.write_text("")
    variables = {f"INPUT_{name.upper()}": value for name, value in inputs.items()}
    files = {"GITHUB_OUTPUT": str(output_file), "GITHUB_STEP_SUMMARY": str(summary_file)}
    environ = {**os.environ, **variables, **files, "MLAZ_HOME": str(WORK / "home")}
    subprocess.run([sys.executable, str(ROOT / "entrypoint.py")], cwd=WORK, env=environ, check=True)
    pattern = re.compile(r"^(?P<name>[^\n<]+)<<(?P<end>\S+)\n(?P<value>.*?)\n?(?P=end)$", re.MULTILINE | re.DOTALL)
    return {match["name"]: match["value"] for match in pattern.finditer(output_file.read_text())}


def show(title: str) -> None:
    print(f"\n=== {title}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
