"""MLflow's model registry on Azure, over the one registry of the workspace."""

from __future__ import annotations

from typing import Any

from tests.azure import mlflow_shapes, regional, registry
from tests.azure.arm.assets import Container, Version
from tests.azure.messages import Request, Response
from tests.azure.mlflow_api import BASE, asked, matching, page, required, visit
from tests.azure.mlflow_filter import Value
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

MODELS, VERSIONS = BASE + "/registered-models", BASE + "/model-versions"
_READ, _WRITE, _DELETE = "models/read", "models/write", "models/delete"
_STAGES = {mlflow.lower(): azure for azure, mlflow in mlflow_shapes.STAGES.items()}

room = Room("mlflow-registry", host=regional.HOST)


def _model(found: Visit, value: dict[str, Any]) -> Container:
    (name,) = required(found, value, "name")
    container = registry.get(found.cloud, found.workspace, name)
    if container is None:
        raise found.refusal(404, "NotFound", f"Registered Model with name={name} not found")
    return container


def _version(found: Visit, value: dict[str, Any]) -> tuple[Container, Version]:
    name, number = required(found, value, "name", "version")
    container = registry.get(found.cloud, found.workspace, name)
    version = container.versions.get(number) if container else None
    if container is None or version is None:
        raise found.refusal(404, "NotFound", f"Model Version (name={name}, version={number}) not found")
    return container, version


def _tags(value: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: str(tag.get("value", "")) for tag in value.get("tags", ())}


def _told_model(found: Visit, container: Container) -> Response:
    return regional.reply({"registered_model": mlflow_shapes.registered_model(found, container)})


def _told_version(found: Visit, container: Container, version: Version) -> Response:
    return regional.reply({"model_version": mlflow_shapes.model_version(found, container, version)})


@room.post(MODELS + "/create")
def create_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    (name,) = required(found, value, "name")
    if not registry.is_name(name):
        raise found.refusal(
            400,
            "BadRequest",
            f"Invalid model name: '{name}'. It may hold letters, digits, '-', '_' and '.', begins with a letter or a digit and has at most 255 characters.",
        )
    if registry.get(cloud, found.workspace, name) is not None:
        raise found.refusal(400, "Conflict", f"Registered Model (name={name}) already exists.")
    more = {"description": value.get("description"), "tags": _tags(value)}
    return _told_model(found, registry.add_model(cloud, found.workspace, name, found.caller, **more))


@room.get(MODELS + "/get")
def get_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    return _told_model(found, _model(found, asked(found)))


def _look_up_model(kind: str, name: str, container: Container) -> Value:
    found: Value = container.properties["tags"].get(name) if kind == "tags" else {"name": container.name}.get(name)
    return found


@room.get(MODELS + "/search")
def search_models(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    value = asked(found)
    matches = matching(found, value.get("filter"), _look_up_model)
    shown, more = page(value, [one for one in registry.every(cloud, found.workspace) if matches(one)])
    told = [mlflow_shapes.registered_model(found, one) for one in shown]
    return regional.reply({"registered_models": told, **more})


@room.patch(MODELS + "/update")
def update_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    container = _model(found, value)
    container.properties["description"] = value.get("description")
    registry.touch(cloud, container, found.caller)
    return _told_model(found, container)


@room.delete(MODELS + "/delete")
def delete_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _DELETE)
    registry.remove(cloud, found.workspace, _model(found, asked(found)).name)
    return regional.reply({})


@room.post(MODELS + "/set-tag")
def set_model_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    container, (key,) = _model(found, value), required(found, value, "key")
    container.properties["tags"][key] = str(value.get("value", ""))
    registry.touch(cloud, container, found.caller)
    return regional.reply({})


@room.delete(MODELS + "/delete-tag")
def delete_model_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    container, (key,) = _model(found, value), required(found, value, "key")
    container.properties["tags"].pop(key, None)
    return regional.reply({})


@room.post(MODELS + "/get-latest-versions")
@room.get(MODELS + "/get-latest-versions")
def get_latest_versions(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    value = asked(found)
    container = _model(found, value)
    stages = value.get("stages") or []
    latest = mlflow_shapes.latest_versions(container, [stages] if isinstance(stages, str) else stages)
    return regional.reply({"model_versions": [mlflow_shapes.model_version(found, container, one) for one in latest]})


@room.post(VERSIONS + "/create")
def create_version(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    container = _model(found, value)
    (source,) = required(found, value, "source")
    artifact = registry.artifact_of(source)
    uri = registry.uri_of(found.workspace, artifact) if artifact else source
    if not registry.has_files(cloud, found.workspace, uri):
        raise found.refusal(400, "BadRequest", f"No artifacts were found at the source of the model version: {source}")
    more = {"description": value.get("description"), "tags": _tags(value)}
    if value.get("run_id"):
        more["jobName"] = value["run_id"]
    version = registry.add_version(cloud, found.workspace, container, found.caller, source, uri, **more)
    return _told_version(found, container, version)


@room.get(VERSIONS + "/get")
def get_version(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    return _told_version(found, *_version(found, asked(found)))


@room.get(VERSIONS + "/get-download-uri")
def get_download_uri(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    container, version = _version(found, asked(found))
    return regional.reply({"artifact_uri": registry.source_of(cloud, found.workspace, container.name, version)})


def _look_up_version(kind: str, name: str, pair: tuple[Container, Version]) -> Value:
    container, version = pair
    if kind == "tags":
        tag: Value = version.properties["tags"].get(name)
        return tag
    attributes: dict[str, Value] = {
        "name": container.name,
        "run_id": version.properties["jobName"] or "",
        "version_number": float(version.name) if version.name.isdigit() else None,
    }
    return attributes.get(name)


@room.get(VERSIONS + "/search")
def search_versions(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _READ)
    value = asked(found)
    matches = matching(found, value.get("filter"), _look_up_version)
    shown, more = page(value, [pair for pair in registry.every_version(cloud, found.workspace) if matches(pair)])
    return regional.reply({"model_versions": [mlflow_shapes.model_version(found, *pair) for pair in shown], **more})


@room.patch(VERSIONS + "/update")
def update_version(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    container, version = _version(found, value)
    version.properties["description"] = value.get("description")
    registry.touch(cloud, version, found.caller)
    return _told_version(found, container, version)


@room.delete(VERSIONS + "/delete")
def delete_version(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _DELETE)
    container, version = _version(found, asked(found))
    del container.versions[version.name]
    return regional.reply({})


@room.post(VERSIONS + "/transition-stage")
def transition_stage(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    container, version = _version(found, value)
    (stage,) = required(found, value, "stage")
    if stage.lower() not in _STAGES:
        raise found.refusal(
            400,
            "BadRequest",
            f"Invalid Model Version stage: {stage}. Value must be one of None, Staging, Production, Archived.",
        )
    if str(value.get("archive_existing_versions", "")).lower() == "true":
        for other in container.versions.values():
            if other is not version and other.properties["stage"] == _STAGES[stage.lower()]:
                other.properties["stage"] = "Archived"
    version.properties["stage"] = _STAGES[stage.lower()]
    registry.touch(cloud, version, found.caller)
    return _told_version(found, container, version)


@room.post(VERSIONS + "/set-tag")
def set_version_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    (_, version), (key,) = _version(found, value), required(found, value, "key")
    version.properties["tags"][key] = str(value.get("value", ""))
    registry.touch(cloud, version, found.caller)
    return regional.reply({})


@room.delete(VERSIONS + "/delete-tag")
def delete_version_tag(request: Request, params: Params, cloud: Cloud) -> Response:
    found = visit(request, params, cloud, _WRITE)
    value = asked(found)
    (_, version), (key,) = _version(found, value), required(found, value, "key")
    version.properties["tags"].pop(key, None)
    return regional.reply({})
