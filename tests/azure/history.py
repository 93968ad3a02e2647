"""Run history: runs as Azure tells them, and the artifacts of a run."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.azure import artifacts, regional, runs, world
from tests.azure.access import Caller
from tests.azure.artifacts import Folder
from tests.azure.messages import Refusal, Request, Response
from tests.azure.molds import Mold, scalar
from tests.azure.regional import Visit
from tests.azure.routing import Handler, Params, Room
from tests.azure.runs import Experiment, Run, Tracking
from tests.azure.state import Cloud

BASE = "/history/v1.0" + world.WORKSPACE_TEMPLATE
_READ, _WRITE = "experiments/runs/read", "experiments/runs/write"
# MLflow's words and run history's.
_STATUS = {
    "RUNNING": "Running",
    "SCHEDULED": "Queued",
    "FINISHED": "Completed",
    "FAILED": "Failed",
    "KILLED": "Canceled",
}
_PATCH: Mold = {"properties": {"*": scalar}, "tags": {"*": scalar}, "displayName": str}
shape = regional.user_error("run-history")

room = Room("history", host=regional.HOST)


def _visit(request: Request, params: Params, cloud: Cloud, action: str) -> Visit:
    return regional.visit(request, params, cloud, action, shape)


def run_not_found(visit: Visit, run_id: str) -> Refusal:
    said = f"runId={run_id}"
    fault = regional.Fault(status=404, code="UserError", message=f"Run {said} was not found")
    body = shape(visit.cloud, visit.region, fault)
    body["error"] |= {"messageFormat": "Run {runId} was not found", "messageParameters": {"runId": said}}
    return Refusal(regional.reply(body, status=404))


def _run(visit: Visit, run_id: str) -> Run:
    found = visit.cloud.state(Tracking).run(visit.workspace.key, run_id)
    if found is None:
        raise run_not_found(visit, run_id)
    return found


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).isoformat(timespec="microseconds")


def _user(run: Run) -> dict[str, Any]:
    caller = Caller(object_id=run.user_id, client_id=run.tags.get("mlflow.user", run.user_id), tenant_id=run.tenant_id)
    return regional.user(caller)


def rendered(visit: Visit, run: Run) -> dict[str, Any]:
    duration = f"{dt.timedelta(milliseconds=run.end_ms - run.start_ms)}" if run.end_ms else None
    # In their order and with their nulls, as recorded.
    return {
        "runNumber": run.number,
        "rootRunId": run.id,
        "createdUtc": run.created,
        "createdBy": _user(run),
        "userId": run.user_id,
        "token": None,
        "tokenExpiryTimeUtc": None,
        "error": None,
        "warnings": None,
        "revision": run.revision,
        "statusRevision": 0,
        "runUuid": run.id,
        "parentRunUuid": None,
        "rootRunUuid": run.id,
        "lastStartTimeUtc": None,
        "currentComputeTime": None if run.end_ms else "00:00:00",
        "computeDuration": duration,
        "effectiveStartTimeUtc": None,
        "lastModifiedBy": _user(run),
        "lastModifiedUtc": visit.now[:-1] + "+00:00",
        "duration": duration,
        "cancelationReason": None,
        "currentAttemptId": 1,
        "runId": run.id,
        "parentRunId": run.tags.get("mlflow.parentRunId"),
        "experimentId": run.experiment.id,
        "status": _STATUS.get(run.status, run.status),
        "startTimeUtc": _time(run.start_ms),
        "endTimeUtc": _time(run.end_ms),
        "scheduleId": None,
        "displayName": run.name,
        "name": None,
        "dataContainerId": run.container,
        "description": run.tags.get("mlflow.note.content"),
        "hidden": run.lifecycle != "active",
        "runType": None,
        "runTypeV2": {"orchestrator": None, "traits": ["mlflow"], "attribution": None, "computeType": None},
        "properties": {"mlflow.artifactUri": run.artifact_uri, **run.properties},
        "parameters": {},
        "actionUris": {},
        "scriptName": None,
        "target": None,
        "uniqueChildRunComputeTargets": [],
        "tags": run.tags,
        "settings": {},
        "services": {},
        "inputDatasets": [],
        "outputDatasets": [],
        "runDefinition": None,
        "jobSpecification": None,
        "primaryMetricName": None,
        "createdFrom": None,
        "cancelUri": None,
        "completeUri": None,
        "diagnosticsUri": None,
        "computeRequest": None,
        "compute": None,
        "retainForLifetimeOfWorkspace": False,
        "queueingInfo": None,
        "inputs": None,
        "outputs": None,
    }


@room.post(BASE + "/rundata")
def get_run_data(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, _READ)
    run = _run(visit, str(visit.body({"runId": str}).get("runId") or ""))
    return regional.reply(
        {"runMetadata": rendered(visit, run), "runDefinition": None, "jobSpecification": None, "systemSettings": None}
    )


@room.get(BASE + "/experiments/{experiment}/runs/{run}")
@room.get(BASE + "/experimentids/{experiment}/runs/{run}")
@room.get(BASE + "/runs/{run}")
def get_run(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, _READ)
    return regional.reply(rendered(visit, _run(visit, params["run"])))


@room.patch(BASE + "/experiments/{experiment}/runs/{run}")
@room.patch(BASE + "/experimentids/{experiment}/runs/{run}")
def patch_run(request: Request, params: Params, cloud: Cloud) -> Response:
    """Adds to properties and tags; properties never change once they are set."""
    visit = _visit(request, params, cloud, _WRITE)
    run, asked = _run(visit, params["run"]), visit.body(_PATCH)
    for name, value in (asked.get("properties") or {}).items():
        if run.properties.get(name, str(value)) != str(value):
            raise visit.refusal(400, "UserError", f"The property {name} of the run is set and cannot be changed.")
        run.properties[name] = str(value)
    run.tags |= {name: str(value) for name, value in (asked.get("tags") or {}).items()}
    run.name = asked.get("displayName") or run.name
    run.revision += 1
    return regional.reply(rendered(visit, run))


def _experiment(visit: Visit, said: str) -> Experiment:
    if said in {"0", runs.DEFAULT_EXPERIMENT}:
        return runs.default_experiment(visit.cloud, visit.workspace.key)
    found = visit.cloud.state(Tracking).experiment(visit.workspace.key, said)
    if found is None:
        raise visit.refusal(404, "UserError", f"Experiment {said} was not found")
    return found


@room.get(BASE + "/experiments/{experiment}")
@room.get(BASE + "/experimentids/{experiment}")
def get_experiment(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, "experiments/read")
    found = _experiment(visit, params["experiment"])
    return regional.reply(
        {
            "experimentId": found.id,
            "name": found.name,
            "description": None,
            "createdUtc": _time(found.created_ms),
            "tags": found.tags,
            "archivedTime": None if found.lifecycle == "active" else _time(found.updated_ms),
        }
    )


def _folder(request: Request, params: Params, cloud: Cloud, action: str) -> Folder:
    visit = _visit(request, params, cloud, action)
    return Folder(visit=visit, origin=runs.ORIGIN, name=_run(visit, params["run"]).container)


def list_artifacts(request: Request, params: Params, cloud: Cloud) -> Response:
    """All of the run's, whatever `path` a client adds: it is the route below that lists by path."""
    folder = _folder(request, params, cloud, _READ)
    return regional.reply(artifacts.page(folder.visit, [artifacts.rendered(one) for one in folder.all()]))


def list_by_path(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    listed = [artifacts.rendered(one) for one in folder.all(artifacts.asked_path(request, params))]
    return regional.reply(artifacts.page(folder.visit, listed))


def get_artifact(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    return regional.reply(artifacts.rendered(artifacts.existing(folder, artifacts.asked_path(request, params))))


def get_content_info(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    found = artifacts.existing(folder, artifacts.asked_path(request, params))
    return regional.reply(artifacts.content_of(folder.visit, found))


def list_content_info(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    listed = [artifacts.content_of(folder.visit, one) for one in folder.all(artifacts.asked_path(request, params))]
    return regional.reply(artifacts.page(folder.visit, listed))


def create_empty(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _WRITE)
    return regional.reply(artifacts.announce(folder, artifacts.paths_of(folder.visit)))


_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "", list_artifacts),
    ("GET", "/path", list_by_path),
    ("GET", "/metadata", get_artifact),
    ("GET", "/contentinfo", get_content_info),
    ("GET", "/prefix/contentinfo", list_content_info),
    ("POST", "/batch/metadata", create_empty),
)
for _by in ("experiments", "experimentids"):
    for _method, _below, _handler in _ROUTES:
        room.route(_method, f"{BASE}/{_by}/{{experiment}}/runs/{{run}}/artifacts{_below}")(_handler)
