"""Logs runs into a tracking store by the mlflow that runs it (2.22 or 3.15), and prints their ids as JSON.

Run as a script: `log_runs.py <tracking uri> <folder for mlflow's own downloads> <name of the registered model>`.
"""

import json
import sys
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient

WEIGHTS_BYTES = 50 * 1024 * 1024


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["x"].tolist()


def log_model(path, artifacts=None):
    named = {"name": path} if mlflow.__version__ >= "3" else {"artifact_path": path}
    example = pd.DataFrame({"x": [1.0, 2.0]})
    return mlflow.pyfunc.log_model(
        **named,
        python_model=Echo(),
        input_example=example,
        signature=infer_signature(example, [1.0]),
        pip_requirements=["mlflow"],
        artifacts=artifacts,
    )


def main(tracking_uri, downloads, registered):
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("churn / Demo!")
    client = MlflowClient()
    ids = {"mlflow_version": mlflow.__version__, "registered": registered}

    with mlflow.start_run() as run:
        info = log_model("model")
    ids["run"] = run.info.run_id
    ids["model"] = getattr(info, "model_id", None)
    ids["ended_ms"] = client.get_run(run.info.run_id).info.end_time
    mlflow.artifacts.download_artifacts(artifact_uri=f"runs:/{run.info.run_id}/model", dst_path=downloads)

    client.create_registered_model(registered)
    source = f"{run.info.artifact_uri}/model" if ids["model"] is None else f"models:/{ids['model']}"
    client.create_model_version(registered, source, run.info.run_id)
    client.set_registered_model_alias(registered, "champion", "1")
    with mlflow.start_run() as run:
        log_model("first")
        log_model("second")
        saved = Path(downloads) / "saved"
        mlflow.pyfunc.save_model(str(saved), python_model=Echo(), pip_requirements=["mlflow"])
        mlflow.log_artifacts(str(saved), "deep/in/it")
        mlflow.log_text("no model", "notes/readme.txt")
    ids["several"] = run.info.run_id
    client.create_model_version(registered, f"{run.info.artifact_uri}/deep/in/it", run.info.run_id)

    with mlflow.start_run() as run:
        mlflow.log_text("no model", "readme.txt")
    ids["without"] = run.info.run_id

    with mlflow.start_run() as run:
        log_model("model")
    ids["deleted"] = run.info.run_id
    client.delete_run(run.info.run_id)

    weights = Path(downloads) / "weights.bin"
    with weights.open("wb") as file:
        file.truncate(WEIGHTS_BYTES)
    with mlflow.start_run() as run:
        log_model("model", artifacts={"weights": str(weights)})
    ids["heavy"] = run.info.run_id
    weights.unlink()

    print("IDS=" + json.dumps(ids))


main(*sys.argv[1:])
