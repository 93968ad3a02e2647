"""Runs and registered models put into the emulated workspace, without the seconds that a client takes to log them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.azure import registry, runs, storage, world
from tests.azure.access import Caller
from tests.azure.arm import workspaces
from tests.azure.state import Cloud

MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.sklearn
    model_path: model.pkl
    python_version: 3.11.7
mlflow_version: 2.22.0
model_size_bytes: 1234
model_uuid: 0f3a
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  serving_input_path: serving_input_example.json
  type: dataframe
utc_time_created: '2024-05-01 10:11:12.123456'
"""
EXAMPLE = {"dataframe_split": {"columns": ["x"], "data": [[1.5]]}}
FILES: Mapping[str, bytes] = {
    "MLmodel": MLMODEL.encode(),
    "requirements.txt": b"mlflow==2.22.0\nscikit-learn==1.5.0\n",
    "conda.yaml": b"channels: [conda-forge]\ndependencies: [python=3.11.7, pip, {pip: [mlflow==2.22.0]}]\n",
    "python_env.yaml": b"python: 3.11.7\n",
    "serving_input_example.json": json.dumps(EXAMPLE).encode(),
    "input_example.json": json.dumps(EXAMPLE["dataframe_split"]).encode(),
    "model.pkl": b"pickle" * 100,
}
OTHER = "ws-other"


@dataclass
class Shelf:
    cloud: Cloud
    name: str = world.WORKSPACE

    @property
    def workspace(self) -> workspaces.Workspace:
        found = self.cloud.state(workspaces.Workspaces).get(world.SUBSCRIPTION_ID, world.RESOURCE_GROUP, self.name)
        assert found is not None
        return found

    @property
    def tracking_uri(self) -> str:
        scope = world.WORKSPACE_SCOPE.removesuffix(world.WORKSPACE) + self.name
        return f"azureml://{world.REGION}.api.azureml.ms/mlflow/v1.0{scope}"

    @property
    def caller(self) -> Caller:
        return Caller(object_id=world.CLIENT_OBJECT_ID, client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID)

    def log_run(self, *, experiment: str = "churn", **more: Any) -> runs.Run:
        """A run that has ended, without a file."""
        key = self.workspace.key
        known = self.cloud.state(runs.Tracking).experiment(key, experiment)
        found = known or runs.create_experiment(self.cloud, key, experiment)
        run_id = str(uuid.uuid4())
        uri = self.tracking_uri.replace("/v1.0/", "/v2.0/")
        said = "0" if experiment == runs.DEFAULT_EXPERIMENT else found.id
        return runs.create_run(
            self.cloud,
            key,
            found,
            run_id=run_id,
            artifact_uri=f"{uri}/experiments/{said}/runs/{run_id}/artifacts",
            name="first",
            user_id=world.CLIENT_OBJECT_ID,
            tenant_id=world.TENANT_ID,
            start_ms=1_714_550_000_000,
            end_ms=1_714_560_000_000,
            status="FINISHED",
            **more,
        )

    def log_model(
        self, path: str = "model", *, files: Mapping[str, bytes] = FILES, run: runs.Run | None = None, **more: Any
    ) -> runs.Run:
        run = run or self.log_run(**more)
        self.put(f"ExperimentRun/{run.container}/{path}", files)
        return run

    def put(self, prefix: str, files: Mapping[str, bytes], container: str = storage.ARTIFACT_CONTAINER) -> None:
        for name, content in files.items():
            place = f"{prefix}/{name}" if prefix else name
            storage.write(self.cloud, self.workspace.storage_account, container, place, content)

    def register(self, name: str, source: str, *, uri: str = "", run_id: str | None = None) -> str:
        """The version's number. `source` is what MLflow tells, `uri` what ARM keeps."""
        container = registry.get(self.cloud, self.workspace, name) or registry.add_model(
            self.cloud, self.workspace, name, self.caller
        )
        more = {"jobName": run_id} if run_id else {}
        version = registry.add_version(
            self.cloud, self.workspace, container, self.caller, source, uri or source, **more
        )
        return version.name
