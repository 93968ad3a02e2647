"""The door of Azure's MLflow: its paths, who may come in, and what it does not have. Rooms behind it: tracking, registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.azure import mlflow_filter, mlflow_shapes, regional, world
from tests.azure.messages import Request, Response
from tests.azure.mlflow_filter import Value
from tests.azure.molds import Mold, count, needed, numeric, scalar
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

# `protocol` is v2.0, or v1.0 from clients before MLflow 2 and in the workspace's own mlFlowTrackingUri.
PROTOCOL = "/mlflow/{protocol}" + world.WORKSPACE_TEMPLATE
BASE = PROTOCOL + "/api/2.0/mlflow"
_PAGE = 1000

_PAIR = {"key": needed(scalar), "value": scalar}
_METRIC = {"key": needed(str), "value": numeric, "timestamp": count, "step": count}
# MLflow's requests have one name for one thing, so one mold serves them all.
_ASKED: Mold = {
    **dict.fromkeys(("name", "new_name", "experiment_id", "experiment_name", "run_id", "run_uuid", "run_name"), str),
    **dict.fromkeys(("status", "description", "source", "stage", "filter", "run_view_type", "model_json"), str),
    **dict.fromkeys(("key", "metric_key", "user_id"), str),
    **dict.fromkeys(("start_time", "end_time", "timestamp", "step", "max_results"), count),
    "version": scalar,
    "page_token": scalar,
    "value": scalar,
    "archive_existing_versions": scalar,
    "view_type": scalar,
    "tags": [_PAIR],
    "params": [_PAIR],
    "metrics": [_METRIC],
    "experiment_ids": [scalar],
    "order_by": [str],
    "stages": [str],
}

room = Room("mlflow", host=regional.HOST)


def visit(request: Request, params: Params, cloud: Cloud, action: str) -> Visit:
    return regional.visit(request, params, cloud, action, mlflow_shapes.shape)


def asked(found: Visit) -> dict[str, Any]:
    """What the client asks: its query for a GET, its body for all else."""
    if found.request.method == "GET":
        return dict(found.request.query)
    value: dict[str, Any] = found.body(_ASKED) if found.request.body.size else {}
    return value


def required(found: Visit, value: dict[str, Any], *names: str) -> list[str]:
    missing = [name for name in names if value.get(name) in {None, ""}]
    if missing:
        message = f"Missing value for required parameter '{missing[0]}'."
        raise found.refusal(400, "BadRequest", message)
    return [str(value[name]) for name in names]


def matching(found: Visit, text: str | None, look_up: Callable[[str, str, Any], Value]) -> Callable[[Any], bool]:
    try:
        return mlflow_filter.matcher(text or "", look_up)
    except mlflow_filter.BadFilter as bad:
        raise found.refusal(400, "BadRequest", str(bad)) from bad


def page(value: dict[str, Any], entries: list[Any]) -> tuple[list[Any], dict[str, str]]:
    """The entries of the page asked for, and the token of the next one in the form it is answered."""
    said = str(value.get("max_results") or "")
    size = min(int(said), _PAGE) if said.isascii() and said.isdigit() and int(said) else 100
    token = str(value.get("page_token") or "0")
    start = int(token) if token.isascii() and token.isdigit() else 0
    more = {"next_page_token": str(start + size)} if start + size < len(entries) else {}
    return entries[start : start + size], more


def no_logged_models(request: Request, params: Params, cloud: Cloud) -> Response:
    """Azure has no LoggedModel API: MLflow 3's calls meet a 404 with nothing in it."""
    visit(request, params, cloud, "experiments/runs/read")
    return regional.empty(404)


for _method in ("GET", "POST", "PATCH", "DELETE"):
    for _template in ("/logged-models", "/logged-models/{rest...}"):
        room.route(_method, BASE + _template)(no_logged_models)
