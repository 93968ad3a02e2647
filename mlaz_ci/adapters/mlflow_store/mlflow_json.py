"""Records out of the JSON of MLflow's REST API, which a tracking server and an Azure ML workspace both speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlaz_ci.adapters.mlflow_store.records import LoggedModelRecord, RunRecord, VersionRecord, moment
from mlaz_ci.errors import TrackingServerFailed


def run_of(answer: Mapping[str, Any], run_id: str) -> RunRecord:
    """From the answer of runs/get."""
    run = part_of(answer, "run")
    info = part_of(run, "info")
    return RunRecord(
        run_id=str(info.get("run_id") or run_id),
        experiment_id=str(info.get("experiment_id", "")),
        artifact_uri=str(info.get("artifact_uri", "")),
        ended_at=moment(info.get("end_time")),
        is_deleted=info.get("lifecycle_stage") == "deleted",
        tags={str(tag.get("key")): str(tag.get("value", "")) for tag in members_of(run.get("data"), "tags")},
    )


def version_of(answer: Mapping[str, Any]) -> VersionRecord:
    """From the answer of model-versions/get."""
    version = part_of(answer, "model_version")
    return VersionRecord(
        name=str(version.get("name", "")),
        version=str(version.get("version", "")),
        run_id=str(version["run_id"]) if version.get("run_id") else None,
        model_id=str(version["model_id"]) if version.get("model_id") else None,
    )


def logged_model_of(answer: Mapping[str, Any]) -> LoggedModelRecord:
    """From the answer of logged-models/<id>."""
    info = part_of(part_of(answer, "model"), "info")
    return LoggedModelRecord(
        model_id=str(info.get("model_id", "")),
        name=str(info.get("name", "")),
        artifact_uri=str(info.get("artifact_uri", "")),
        run_id=str(info["source_run_id"]) if info.get("source_run_id") else None,
        created_at=moment(info.get("creation_timestamp_ms")),
    )


def part_of(answer: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = answer.get(key)
    if not isinstance(value, dict):
        raise TrackingServerFailed(
            f'The tracking server answered JSON without "{key}", which MLflow\'s REST API has there.',
            usually="Something else than an MLflow server answers at that address.",
            remedy="Check `tracking-uri` and its path prefix.",
        )
    return value


def members_of(answer: Any, key: str) -> list[dict[str, Any]]:
    values = answer.get(key) if isinstance(answer, Mapping) else None
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []
