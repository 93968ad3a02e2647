"""MLflow's tracking on Azure: experiments, runs, metrics, parameters and tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.azure import mlflow_shapes, regional, runs
from tests.azure.messages import Request, Response
from tests.azure.mlflow_api import BASE, asked, matching, page, required, visit
from tests.azure.mlflow_filter import Value
from tests.azure.molds import numeric
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.runs import Experiment, Metric, Run, Tracking
from tests.azure.state import Cloud

EXPERIMENTS, RUNS = BASE + "/experiments", BASE + "/runs"
_READ, _WRITE = "experiments/runs/read", "experiments/runs/write"
_ENDED = {"FINISHED", "FAILED", "KILLED"}
_MAX_VALUE_CHARACTERS = 500

room = Room("mlflow-tracking", host=regional.HOST)


def _experiment(found: Visit, said: str) -> Experiment:
    default = runs.default_experiment(found.cloud, found.workspace.key)
    if said in {"0", runs.DEFAULT_EXPERIMENT}:
        return default
    experiment = found.cloud.state(Tracking).experiment(found.workspace.key, said)
    if experiment is None:
        raise found.refusal(404, "NotFound", f"Could not find experiment with ID {said}")
    return experiment


def _run(found: Visit, value: dict[str, Any]) -> Run:
    (run_id,) = required(found, {"run_id": value.get("run_id") or value.get("run_uuid")}, "run_id")
    run = found.cloud.state(Tracking).run(found.workspace.key, run_id)
    if run is None:
        raise found.refusal(404, "NotFound", f"Run runId={run_id} was not found")
    return run


def _is_viewed(lifecycle: str, view: str | None) -> bool:
    return view == "ALL" or (lifecycle == "deleted") == (view == "DELETED_ONLY")


@room.post(EXPERIMENTS + "/create")
def create_experiment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "experiments/write")
    value = asked(found)
    (name,) = required(found, value, "name")
    if cloud.state(Tracking).experiment(found.workspace.key, name) is not None:
        raise found.refusal(400, "Conflict", f"Experiment '{name}' already exists.")
    experiment = runs.create_experiment(cloud, found.workspace.key, name)
    experiment.tags |= {tag["key"]: tag.get("value", "") for tag in value.get("tags", ())}
    return regional.reply({"experiment_id": experiment.id})


@room.get(EXPERIMENTS + "/get")
def get_experiment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "experiments/read")
    experiment = _experiment(found, *required(found, asked(found), "experiment_id"))
    return regional.reply({"experiment": mlflow_shapes.experiment(experiment)})


@room.get(EXPERIMENTS + "/get-by-name")
def get_experiment_by_name(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "experiments/read")
    experiment = _experiment(found, *required(found, asked(found), "experiment_name"))
    return regional.reply({"experiment": mlflow_shapes.experiment(experiment)})


@room.post(EXPERIMENTS + "/search")
@room.get(EXPERIMENTS + "/search")
def search_experiments(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "experiments/read")
    value = asked(found)
    runs.default_experiment(cloud, found.workspace.key)

    def look_up(kind: str, name: str, one: Experiment) -> Value:
        attributes: dict[str, Value] = {"name": one.name, "creation_time": float(one.created_ms)}
        return one.tags.get(name) if kind == "tags" else attributes.get(name)

    matches = matching(found, value.get("filter"), look_up)
    listed = [
        one
        for one in cloud.state(Tracking).experiments_of(found.workspace.key)
        if _is_viewed(one.lifecycle, value.get("view_type")) and matches(one)
    ]
    shown, more = page(value, sorted(listed, key=lambda one: one.updated_ms, reverse=True))
    return regional.reply({"experiments": [mlflow_shapes.experiment(one) for one in shown], **more})


@room.post(EXPERIMENTS + "/update")
def update_experiment(request: Request, params: Params, cloud: Cloud) -> Response:
    """A name is for ever: Azure's experiments cannot be renamed."""
    found = visit(request, params, cloud, "experiments/write")
    value = asked(found)
    experiment = _experiment(found, *required(found, value, "experiment_id"))
    if value.get("new_name") not in {None, experiment.name}:
        raise found.refusal(400, "BadRequest", "Updating the name of an experiment is not supported.")
    return regional.reply({})


@room.post(EXPERIMENTS + "/set-experiment-tag")
def set_experiment_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, "experiments/write")
    value = asked(found)
    experiment = _experiment(found, *required(found, value, "experiment_id"))
    experiment.tags[required(found, value, "key")[0]] = str(value.get("value", ""))
    return regional.reply({})


@room.post(EXPERIMENTS + "/delete")
def delete_experiment(request: Request, params: Params, cloud: Cloud) -> Response:
    return _experiment_to(request, params, cloud, "deleted")


@room.post(EXPERIMENTS + "/restore")
def restore_experiment(request: Request, params: Params, cloud: Cloud) -> Response:
    return _experiment_to(request, params, cloud, "active")


def _experiment_to(request: Request, params: Params, cloud: Cloud, lifecycle: str) -> Response:
    found = visit(request, params, cloud, "experiments/write")
    experiment = _experiment(found, *required(found, asked(found), "experiment_id"))
    experiment.lifecycle, experiment.updated_ms = lifecycle, runs.milliseconds(cloud)
    return regional.reply({})


@room.post(RUNS + "/create")
def create_run(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    said = str(value.get("experiment_id") or "0")
    experiment = _experiment(found, said)
    tags = {tag["key"]: tag.get("value", "") for tag in value.get("tags", ())}
    run_id = cloud.new_id()
    protocol, workspace = params["protocol"].lower(), found.workspace
    run = runs.create_run(
        cloud,
        workspace.key,
        experiment,
        run_id=run_id,
        # The experiment as the client named it, as recorded.
        artifact_uri=f"azureml{found.base[5:]}/mlflow/{protocol}{workspace.id}/experiments/{said}/runs/{run_id}/artifacts",
        name=value.get("run_name") or tags.get("mlflow.runName") or f"run_{run_id[:8]}",
        user_id=found.caller.object_id,
        tenant_id=found.caller.tenant_id,
        start_ms=int(value.get("start_time") or runs.milliseconds(cloud)),
        tags=tags,
    )
    return regional.reply({"run": mlflow_shapes.run(run)})


@room.get(RUNS + "/get")
def get_run(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    return regional.reply({"run": mlflow_shapes.run(_run(found, asked(found)))})


@room.post(RUNS + "/update")
def update_run(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    run = _run(found, value)
    run.status = value.get("status") or run.status
    run.name = value.get("run_name") or run.name
    if value.get("end_time") or run.status in _ENDED:
        run.end_ms = int(value.get("end_time") or run.end_ms or runs.milliseconds(cloud))
    run.revision += 1
    return regional.reply({"run_info": mlflow_shapes.run(run)["info"]})


@room.post(RUNS + "/delete")
def delete_run(request: Request, params: Params, cloud: Cloud) -> Response:
    return _run_to(request, params, cloud, "deleted")


@room.post(RUNS + "/restore")
def restore_run(request: Request, params: Params, cloud: Cloud) -> Response:
    return _run_to(request, params, cloud, "active")


def _run_to(request: Request, params: Params, cloud: Cloud, lifecycle: str) -> Response:
    found = visit(request, params, cloud, _WRITE)
    _run(found, asked(found)).lifecycle = lifecycle
    return regional.reply({})


def _look_up(kind: str, name: str, run: Run) -> Value:
    match kind:
        case "metrics":
            return float(run.metrics[name][-1].value) if name in run.metrics else None
        case "params":
            return run.params.get(name)
        case "tags":
            return run.name if name == "mlflow.runName" else run.tags.get(name)
        case _:
            attributes: dict[str, Value] = {
                "run_id": run.id,
                "run_name": run.name,
                "status": run.status,
                "user_id": run.user_id,
                "artifact_uri": run.artifact_uri,
                "start_time": float(run.start_ms),
                "end_time": None if run.end_ms is None else float(run.end_ms),
            }
            return attributes.get({"Created": "start_time"}.get(name, name))


@room.post(RUNS + "/search")
def search_runs(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    value = asked(found)
    wanted = {_experiment(found, str(said)).id for said in value.get("experiment_ids", ())}
    matches = matching(found, value.get("filter"), _look_up)
    listed = [
        run
        for run in cloud.state(Tracking).runs_of(found.workspace.key)
        if run.experiment.id in wanted and _is_viewed(run.lifecycle, value.get("run_view_type")) and matches(run)
    ]
    shown, more = page(value, _ordered(listed, value.get("order_by") or []))
    return regional.reply({"runs": [mlflow_shapes.run(run) for run in shown], **more})


def _ordered(listed: list[Run], order_by: list[str]) -> list[Run]:
    """Newest first where nothing else is asked; runs that lack what they are ordered by come last."""
    listed = sorted(listed, key=lambda run: (-run.start_ms, run.id))
    for clause in reversed(order_by):
        words = clause.split()
        head, _, name = words[0].partition(".")
        kind = {"metric": "metrics", "param": "params", "tag": "tags"}.get(head, head) if name else "attribute"
        kind = kind if kind in {"metrics", "params", "tags"} else "attribute"
        value_of = _sorting(kind, (name or head).strip('`"'))
        known = [run for run in listed if value_of(run) is not None]
        unknown = [run for run in listed if value_of(run) is None]
        listed = (
            sorted(known, key=lambda run: value_of(run) or (0.0, ""), reverse=words[-1].upper() == "DESC") + unknown
        )
    return listed


def _sorting(kind: str, name: str) -> Callable[[Run], tuple[float, str] | None]:
    def value_of(run: Run) -> tuple[float, str] | None:
        found = _look_up(kind, name, run)
        if found is None:
            return None
        return (found, "") if isinstance(found, float) else (0.0, found)

    return value_of


def _log_metric(run: Run, value: dict[str, Any], cloud: Cloud) -> None:
    told = value.get("value", 0.0)
    metric = Metric(
        # MLflow's clients write NaN and Infinity by their names, which Python reads.
        value=float(told),
        timestamp_ms=int(value.get("timestamp") or runs.milliseconds(cloud)),
        step=int(value.get("step") or 0),
    )
    held = run.metrics.setdefault(value["key"], [])
    held.append(metric)
    held.sort(key=lambda one: (one.step, one.timestamp_ms))


def _log_param(found: Visit, run: Run, key: str, value: str) -> None:
    if len(value) > _MAX_VALUE_CHARACTERS:
        raise found.refusal(
            400,
            "BadRequest",
            "The request is invalid.",
            ("", f"Metric/param value length exceeded {_MAX_VALUE_CHARACTERS}"),
        )
    if run.params.get(key, value) != value:
        raise found.refusal(
            400,
            "BadRequest",
            f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{run.params[key]}' for run ID='{run.id}'.",
        )
    run.params[key] = value


@room.post(RUNS + "/log-metric")
def log_metric(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    required(found, value, "key")
    if not numeric(value.get("value", 0.0)):
        raise found.refusal(400, "BadRequest", f"The value of a metric is a number, not {value.get('value')!r}.")
    _log_metric(_run(found, value), value, cloud)
    return regional.reply({})


@room.post(RUNS + "/log-parameter")
def log_parameter(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    (key,) = required(found, value, "key")
    _log_param(found, _run(found, value), key, str(value.get("value", "")))
    return regional.reply({})


@room.post(RUNS + "/set-tag")
def set_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    (key,) = required(found, value, "key")
    _set_tag(_run(found, value), key, str(value.get("value", "")))
    return regional.reply({})


def _set_tag(run: Run, key: str, value: str) -> None:
    run.tags[key] = value
    if key == "mlflow.runName":
        run.name = value


@room.post(RUNS + "/delete-tag")
def delete_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    run, (key,) = _run(found, value), required(found, value, "key")
    if run.tags.pop(key, None) is None:
        raise found.refusal(404, "NotFound", f"No tag with name: {key} in run with id {run.id}")
    return regional.reply({})


@room.post(RUNS + "/log-batch")
def log_batch(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    run = _run(found, value)
    for param in value.get("params", ()):
        _log_param(found, run, param["key"], str(param.get("value", "")))
    for metric in value.get("metrics", ()):
        _log_metric(run, metric, cloud)
    for tag in value.get("tags", ()):
        _set_tag(run, tag["key"], str(tag.get("value", "")))
    return regional.reply({})


@room.post(RUNS + "/log-model")
def log_model(request: Request, params: Params, cloud: Cloud) -> Response:
    """What MLflow 2 tells of a model it logged; Azure keeps it as the run's history of models."""
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    run, (text,) = _run(found, value), required(found, value, "model_json")
    run.tags["mlflow.log-model.history"] = f"[{text}]"
    return regional.reply({})


@room.get(BASE + "/metrics/get-history")
def get_metric_history(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    value = asked(found)
    run, (key,) = _run(found, value), required(found, {"key": value.get("metric_key")}, "key")
    shown, more = page({"max_results": 25000, **value}, run.metrics.get(key, []))
    return regional.reply({"metrics": [mlflow_shapes.metric(key, one) for one in shown], **more})
