"""The workspace's MLflow records: runs, experiments and the registry, by MLflow's own REST API on the regional host.

Azure has no LoggedModels (404 without a word) and no aliases that anything tells of: those are refused here, with what to give instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mlaz_ci.adapters.mlflow_store.mlflow_json import members_of, part_of, run_of, version_of
from mlaz_ci.adapters.mlflow_store.records import LoggedModelRecord, RunRecord, VersionRecord, newest
from mlaz_ci.adapters.mlflow_store.workspace.regional import Regional
from mlaz_ci.adapters.mlflow_store.workspace.uris import RunPlace, parse_place
from mlaz_ci.errors import InvalidInput
from mlaz_ci.models import Workspace

_API: Final = "/api/2.0/mlflow"
_DEFAULT_EXPERIMENT: Final = "0"


class WorkspaceTracking:
    """`records.Tracking` of a workspace."""

    is_writable = True

    def __init__(self, mlflow: Regional, workspace: Workspace) -> None:
        self._mlflow = mlflow
        self._workspace = workspace

    def run(self, run_id: str) -> RunRecord:
        query = {"run_id": run_id, "run_uuid": run_id}
        run = run_of(self._get("runs/get", query, doing=f"read run {run_id}"), run_id)
        place = parse_place(run.artifact_uri, self._workspace)
        if isinstance(place, RunPlace) and place.experiment == _DEFAULT_EXPERIMENT:
            # The run tells the default experiment's own id, which says less than MLflow's word for it.
            return RunRecord(
                run_id=run.run_id,
                experiment_id=_DEFAULT_EXPERIMENT,
                artifact_uri=run.artifact_uri,
                ended_at=run.ended_at,
                is_deleted=run.is_deleted,
                tags=run.tags,
            )
        return run

    def logged_model(self, model_id: str) -> LoggedModelRecord:
        raise InvalidInput(
            f"`model-uri` models:/{model_id} names a LoggedModel of mlflow 3, which Azure Machine Learning does not have.",
            usually="The model was logged to another tracking server, or the id was copied from one.",
            remedy="Give `run-id` and `model-path`, or a registered model (`models:/<name>/<version>`); for a model on another server, "
            "its address as `tracking-uri`.",
        )

    def logged_models(self, run: RunRecord) -> Sequence[LoggedModelRecord]:  # noqa: ARG002 - the port's
        return ()

    def version(self, name: str, version: str) -> VersionRecord:
        query = {"name": name, "version": version}
        return version_of(self._get("model-versions/get", query, doing=f"read version {version} of the model {name}"))

    def version_by_alias(self, name: str, alias: str) -> VersionRecord:
        raise InvalidInput(
            f"`model-uri` models:/{name}@{alias} names an alias, and the registry of Azure Machine Learning has none.",
            usually="The workflow was written for another registry, where models have aliases.",
            remedy=f"Give the version (`models:/{name}/3`), or `models:/{name}/latest` for the newest.",
        )

    def latest_version(self, name: str) -> VersionRecord:
        doing = f"read the newest version of the model {name}"
        answer = self._mlflow.ask(
            "POST", f"{_API}/registered-models/get-latest-versions", doing=doing, body={"name": name}
        )
        return newest([version_of({"model_version": each}) for each in members_of(answer.object, "model_versions")])

    def version_location(self, version: VersionRecord) -> str:
        query = {"name": version.name, "version": version.version}
        doing = f"tell where version {version.version} of the model {version.name} lies"
        return str(self._get("model-versions/get-download-uri", query, doing=doing).get("artifact_uri") or "")

    def experiment_name(self, experiment_id: str) -> str:
        answer = self._get("experiments/get", {"experiment_id": experiment_id}, doing="read the run's experiment")
        return str(part_of(answer, "experiment").get("name", ""))

    def set_run_tag(self, run_id: str, key: str, value: str) -> None:
        body = {"run_id": run_id, "run_uuid": run_id, "key": key, "value": value}
        self._mlflow.ask("POST", f"{_API}/runs/set-tag", doing=f"tag run {run_id}", body=body)

    def _get(self, call: str, query: dict[str, str], *, doing: str) -> dict[str, Any]:
        return dict(self._mlflow.ask("GET", f"{_API}/{call}", doing=doing, query=query).object)
