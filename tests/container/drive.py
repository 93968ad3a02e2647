"""Runs inside the action's container and drives LocalDocker as the executor does; the answer is the step's output `answer`.

`drive.py deploy DEPLOYMENT MODEL [PORT]`, `drive.py tell`, `drive.py delete`, `drive.py own`; the lock and the models lie in the workspace.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_docker import LocalDocker
from mlaz_ci.adapters.local_docker.engine import connect_engine, find_own_container
from mlaz_ci.models import (
    DeploymentSpec,
    LocalShape,
    Lock,
    ModelFacts,
    ModelRef,
    PathSource,
    ScoreRequest,
    ServiceState,
)
from mlaz_ci.serving.scripts import LAUNCH, SCORE, script_texts

SERVICE = "churn"
REQUEST = ScoreRequest(body=b'{"input_data": {"columns": ["x"], "index": [0], "data": [[1.0]]}}', origin="drive.py")


class Silence:
    def update(self, done: float, total: float | None, unit: str) -> None:
        """Nobody watches."""


def spec_of(deployment: str, model: str, port: int | None) -> DeploymentSpec:
    path = Path("models", model).absolute()
    facts = ModelFacts(
        mlmodel_text="", flavors={}, python_version=None, mlflow_version=None, signature=None, requirement_files={}
    )
    reference = ModelRef(
        source=PathSource(path=path), name=model, version="1", run_id=None, artifact_uri=str(path), facts=facts,
        digest=model, size_bytes=None, logged_at=None, tracking_uri="",
    )  # fmt: skip
    lock = Lock(text=Path("lock.txt").read_text(), python_version="3.11", server_range="==1.5.*", base_image="base")
    return DeploymentSpec(
        service_name=SERVICE, deployment_name=deployment, model=reference, lock=lock, shape=LocalShape(port=port),
        files={**script_texts((SCORE, LAUNCH)), "swagger.json": '{"swagger": "2.0"}'}, tags={"managed-by": "mlaz-ci", "team": "risk"}, owner="1296269",
    )  # fmt: skip


def deploy(serving: LocalDocker, deployment: str, model: str, port: str = "") -> Any:
    before = serving.snapshot(SERVICE).service
    spec = spec_of(deployment, model, int(port) if port else None)
    serving.check_port(SERVICE, int(port) if port else None)
    serving.build_environment(spec.lock, Silence(), deadline_s=time.monotonic() + 900)
    folder = Path("models", model).absolute()
    if os.environ.get("INPUT_OFF-THE-MOUNTS"):
        folder = Path(shutil.copytree(folder, f"/tmp/{model}-elsewhere"))
    serving.stage(spec, folder)
    serving.start(SERVICE, deployment)
    while (seen := serving.observe(SERVICE, deployment)).state is ServiceState.CREATING:
        time.sleep(0.2)
    if seen.state is not ServiceState.HEALTHY:
        return {"state": seen.state, "log": serving.logs(SERVICE, deployment, tail_lines=50)}
    verified = serving.score(SERVICE, deployment, REQUEST)
    serving.shift(SERVICE, deployment)
    if before and before.live:
        serving.retire(SERVICE, before.live, keep_files=True)
    return {
        **tell(serving),
        "verified": json.loads(verified.body),
        "spec_hash_is_ours": verified.spec_hash == spec.spec_hash,
    }


def tell(serving: LocalDocker) -> dict[str, Any]:
    service = serving.snapshot(SERVICE).service
    if service is None:
        return {"service": None, "services": list(serving.services())}
    answer = serving.score(SERVICE, None, REQUEST) if service.state is ServiceState.HEALTHY else None
    return {
        "service": dataclasses.asdict(service),
        "services": list(serving.services()),
        "answer": json.loads(answer.body) if answer else None,
    }


def main() -> None:
    verb, *arguments = sys.argv[1:]
    serving = LocalDocker(dict(os.environ), SystemClock())
    match verb:
        case "deploy":
            answer = deploy(serving, *arguments)
        case "tell":
            answer = tell(serving)
        case "delete":
            answer = {"deleted": serving.delete(SERVICE), **tell(serving)}
        case _:
            answer = dataclasses.asdict(find_own_container(connect_engine()))
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as outputs:
        outputs.write(f"answer<<END\n{json.dumps(answer, default=str)}\nEND\n")


if __name__ == "__main__":
    main()
