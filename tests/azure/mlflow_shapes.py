"""MLflow's words on Azure: how runs, experiments and model versions are written, and how refusals are wrapped."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.azure import regional, registry
from tests.azure.arm.assets import Container, Version
from tests.azure.regional import Fault, Visit
from tests.azure.runs import Experiment, Metric, Run
from tests.azure.state import Cloud

# Azure's model stages and MLflow's: what nobody has put to a stage is in Development there and in None here.
STAGES = {"Development": "None", "Staging": "Staging", "Production": "Production", "Archived": "Archived"}
_envelope = regional.user_error("mlflow")


def shape(cloud: Cloud, region: str, fault: Fault) -> dict[str, Any]:
    """MLflow's envelope around Azure's, which is written out as Python would; a fault of the door has Azure's alone."""
    code = {"NotFound": "RESOURCE_DOES_NOT_EXIST", "Conflict": "RESOURCE_ALREADY_EXISTS"}
    inner = _envelope(cloud, region, fault)
    if fault.status in {401, 403} or fault.code == "UserError":
        return inner
    said = code.get(fault.code, "INVALID_PARAMETER_VALUE")
    inner["error"]["code"] = "ValidationError" if said == "INVALID_PARAMETER_VALUE" else "UserError"
    told = _capitalized(inner) | {"error_code": said}
    return {"error_code": said, "message": f"Response: {told}"}


def _capitalized(value: Any) -> Any:
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: _capitalized(entry) for name, entry in value.items()}
    return [_capitalized(entry) for entry in value] if isinstance(value, list) else value


def _pairs(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def experiment(found: Experiment) -> dict[str, Any]:
    return {
        "experiment_id": found.id,
        "name": found.name,
        "artifact_location": "",
        "lifecycle_stage": found.lifecycle,
        "last_update_time": str(found.updated_ms),
        "creation_time": str(found.created_ms),
        "tags": _pairs(found.tags),
    }


def run(found: Run) -> dict[str, Any]:
    info = {
        "run_uuid": found.id,
        "experiment_id": found.experiment.id,
        "run_name": found.name,
        "user_id": found.user_id,
        "status": found.status,
        "start_time": str(found.start_ms),
        "artifact_uri": found.artifact_uri,
        "lifecycle_stage": found.lifecycle,
        "run_id": found.id,
    }
    if found.end_ms is not None:
        info["end_time"] = str(found.end_ms)
    data: dict[str, Any] = {}
    if found.metrics:
        data["metrics"] = [metric(name, values[-1]) for name, values in found.metrics.items()]
    if found.params:
        data["params"] = _pairs(found.params)
    own = {"mlflow.rootRunId": found.id, "mlflow.runName": found.name}
    data["tags"] = _pairs({**found.tags, **own})
    return {"info": info, "data": data, "inputs": {}}


def metric(name: str, found: Metric) -> dict[str, Any]:
    return {"key": name, "value": found.value, "timestamp": str(found.timestamp_ms), "step": str(found.step)}


def milliseconds(moment: str) -> str:
    """Azure's time as MLflow's; its seven digits are one more than Python reads."""
    whole, _, fraction = moment.removesuffix("+00:00").removesuffix("Z").partition(".")
    at = dt.datetime.fromisoformat(whole).replace(tzinfo=dt.UTC)
    return str(int(at.timestamp()) * 1000 + int((fraction + "000")[:3]))


def model_version(visit: Visit, container: Container, version: Version) -> dict[str, Any]:
    properties = version.properties
    found: dict[str, Any] = {
        "name": container.name,
        "version": version.name,
        "creation_timestamp": milliseconds(version.system["createdAt"]),
        "last_updated_timestamp": milliseconds(version.system["lastModifiedAt"]),
        "user_id": "",
        "current_stage": STAGES.get(properties["stage"], "None"),
        "description": properties["description"] or "",
        "source": registry.source_of(visit.cloud, visit.workspace, container.name, version),
        "run_id": properties["jobName"] or "",
        "status": "READY",
        "tags": _pairs(properties["tags"]),
        "run_link": "",
    }
    return found


def registered_model(visit: Visit, container: Container) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": container.name,
        "creation_timestamp": milliseconds(container.system["createdAt"]),
        "last_updated_timestamp": milliseconds(container.system["lastModifiedAt"]),
        "user_id": "",
        "description": container.properties["description"] or "",
        "tags": _pairs(container.properties["tags"]),
    }
    if latest := latest_versions(container):
        found["latest_versions"] = [model_version(visit, container, one) for one in latest]
    return found


def latest_versions(container: Container, stages: list[str] | None = None) -> list[Version]:
    """The newest of each stage."""
    newest: dict[str, Version] = {}
    for version in sorted(container.versions.values(), key=lambda one: one.order):
        newest[STAGES.get(version.properties["stage"], "None")] = version
    wanted = {stage.lower() for stage in stages or []}
    return [version for stage, version in newest.items() if not wanted or stage.lower() in wanted]
