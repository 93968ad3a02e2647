"""Model management v1: models and the assets their files are kept under, over the workspace's one registry."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from tests.azure import mms, regional, registry
from tests.azure.arm.assets import Container, Version
from tests.azure.arm.workspaces import Key, Workspace
from tests.azure.messages import Refusal, Request, Response
from tests.azure.molds import Mold
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

MODELS, ASSETS = mms.BASE + "/models", mms.BASE + "/assets"
_READ, _WRITE, _DELETE = "models/read", "models/write", "models/delete"
_PATCHED = (
    "kvTags",
    "properties",
    "description",
    "sampleInputData",
    "sampleOutputData",
    "resourceRequirements",
    "datasets",
)
# What v1 says of a model and the rest of Azure does not, by its own name.
_OWN = ("framework", "frameworkVersion", "mimeType", "unpack", "experimentName", "datasets", "parentModelId")

_WORDS: Mold = {"description": str, "kvTags": {"*": str}, "properties": {"*": str}}
_MODEL: Mold = {
    **_WORDS,
    **dict.fromkeys(("name", "url", "mimeType", "framework", "frameworkVersion", "experimentName", "runId"), str),
    "parentModelId": str,
    "unpack": bool,
    "datasets": [object],
}
_ASSET: Mold = {
    **_WORDS,
    "name": str,
    "runid": str,
    "artifacts": [{"id": str, "prefix": str}],
    "meta": {"*": object},
}

room = Room("mms-models", host=regional.HOST)


@dataclass(slots=True)
class Assets:
    """By workspace and id: cloud.state(mms_models.Assets)."""

    by_id: dict[tuple[Key, str], dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Details:
    """v1's own members of model versions, by workspace, model and version: cloud.state(mms_models.Details)."""

    by_version: dict[tuple[Key, str, str], dict[str, Any]] = field(default_factory=dict)


def _time(moment: str) -> str:
    return moment.removesuffix("Z").removesuffix("+00:00") + "+00:00"


def _details(cloud: Cloud, workspace: Workspace, container: Container, version: Version) -> dict[str, Any]:
    return cloud.state(Details).by_version.get((workspace.key, container.name.lower(), version.name), {})


def rendered(cloud: Cloud, workspace: Workspace, container: Container, version: Version) -> dict[str, Any]:
    own, properties = _details(cloud, workspace, container, version), version.properties
    return {
        "id": f"{container.name}:{version.name}",
        "name": container.name,
        "version": int(version.name) if version.name.isdigit() else version.order,
        "framework": own.get("framework") or ("MLflow" if properties["flavors"] else "Custom"),
        "frameworkVersion": own.get("frameworkVersion"),
        "datasets": own.get("datasets") or [],
        "url": own.get("url") or f"aml://asset/{_asset_of(cloud, workspace, container, version)}",
        "mimeType": own.get("mimeType") or "application/x-python",
        "description": properties["description"],
        "createdTime": _time(version.system["createdAt"]),
        "modifiedTime": _time(version.system["lastModifiedAt"]),
        "unpack": bool(own.get("unpack")),
        "parentModelId": own.get("parentModelId"),
        "runId": properties["jobName"],
        "experimentName": own.get("experimentName"),
        "kvTags": properties["tags"],
        "properties": properties["properties"],
        # The client reads it, the 2019 file does not name it.
        "createdBy": None,
    }


def _asset_of(cloud: Cloud, workspace: Workspace, container: Container, version: Version) -> str:
    """The asset of a model that was registered by other means than v1: made when v1 is first asked for it."""
    uri = version.properties["modelUri"]
    asset_id = hashlib.md5(uri.encode()).hexdigest()
    prefix = registry.artifact_of(uri)
    cloud.state(Assets).by_id.setdefault(
        (workspace.key, asset_id),
        {
            "id": asset_id,
            "name": container.name,
            "description": None,
            "artifacts": [{"id": None, "prefix": prefix}] if prefix else [],
            "kvTags": {},
            "properties": {},
            "runid": version.properties["jobName"],
            "createdTime": _time(version.system["createdAt"]),
        },
    )
    return asset_id


def find(cloud: Cloud, workspace: Workspace, model_id: str) -> tuple[Container, Version] | None:
    """By `name:version`; by a bare name, the newest."""
    name, _, number = model_id.partition(":")
    container = registry.get(cloud, workspace, name)
    version = (container.versions.get(number) if number else container.latest) if container else None
    return (container, version) if container and version else None


def not_found(found: Visit, model_id: str) -> Refusal:
    text = f"Model with id {model_id} could not be found in the provided workspace."
    return found.refusal(404, "NotFound", "The specified resource was not found.", ("ModelNotFound", text))


def _existing(found: Visit, model_id: str) -> tuple[Container, Version]:
    pair = find(found.cloud, found.workspace, model_id)
    if pair is None:
        raise not_found(found, model_id)
    return pair


def _artifact(found: Visit, url: str) -> str:
    """The artifact that a model's or an image asset's `aml://` URL leads to."""
    if direct := re.fullmatch(r"aml://artifact/(.+)", url):
        return direct[1]
    named = re.fullmatch(r"aml://asset/(.+)", url)
    asset = found.cloud.state(Assets).by_id.get((found.workspace.key, named[1])) if named else None
    prefixes = [entry.get("prefix") or entry.get("id") for entry in (asset or {}).get("artifacts") or ()]
    if not prefixes:
        text = f"The url {url} of the model leads to no asset of the workspace."
        raise found.refusal(400, "BadRequest", "The request is invalid", ("AssetNotFound", text))
    return str(prefixes[0]).strip("/")


@room.post(MODELS)
def create_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, _WRITE)
    asked = found.body(_MODEL)
    missing = [name for name in ("name", "url", "mimeType") if not asked.get(name)]
    if missing or not registry.is_name(asked["name"]):
        text = f"{missing[0]} is required." if missing else f"The model's name {asked['name']!r} is invalid."
        raise found.refusal(400, "BadRequest", "The request is invalid", ("InvalidModel", text))
    artifact = _artifact(found, asked["url"])
    uri = registry.uri_of(found.workspace, artifact)
    container = registry.get(cloud, found.workspace, asked["name"])
    container = container or registry.add_model(cloud, found.workspace, asked["name"], found.caller)
    version = registry.add_version(
        cloud,
        found.workspace,
        container,
        found.caller,
        f"azureml://artifacts/{artifact}",
        uri,
        description=asked.get("description"),
        tags=asked.get("kvTags") or {},
        properties=asked.get("properties") or {},
        jobName=asked.get("runId") or registry.run_of(artifact),
    )
    own = {name: asked[name] for name in _OWN if asked.get(name) is not None}
    cloud.state(Details).by_version[(found.workspace.key, container.name.lower(), version.name)] = {
        **own,
        "url": asked["url"],
    }
    return mms.reply(found, rendered(cloud, found.workspace, container, version))


@room.get(MODELS)
def list_models(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, _READ)
    query = request.query
    listed: list[dict[str, Any]] = []
    seen: set[str] = set()
    for container, version in registry.every_version(cloud, found.workspace):
        if query.get("latestversiononly", "").lower() == "true" and container.name in seen:
            continue
        seen.add(container.name)
        model = rendered(cloud, found.workspace, container, version)
        if _is_asked(found, model):
            listed.append(model)
    if query.get("orderby", "").lower() in {"createdatasc", "updatedatasc"}:
        listed.reverse()
    return mms.reply(found, mms.page(found, listed))


def _is_asked(found: Visit, model: dict[str, Any]) -> bool:
    query = found.request.query
    asked = {
        name: query[name.lower()] for name in ("name", "framework", "description", "runId") if query.get(name.lower())
    }
    return (
        all(str(model[name]) == value for name, value in asked.items())
        and mms.has_pairs(found, "tags", model["kvTags"])
        and mms.has_pairs(found, "properties", model["properties"])
    )


@room.get(MODELS + "/{model}")
def get_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, _READ)
    return mms.reply(found, rendered(cloud, found.workspace, *_existing(found, params["model"])))


@room.patch(MODELS + "/{model}")
def patch_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, _WRITE)
    container, version = _existing(found, params["model"])
    value = mms.patched(found, rendered(cloud, found.workspace, container, version), _PATCHED)
    mms.checked(found, value, _MODEL)
    changed = {
        "tags": value["kvTags"] or {},
        "properties": value["properties"] or {},
        "description": value["description"],
    }
    version.properties |= changed
    registry.touch(cloud, version, found.caller)
    return mms.reply(found, rendered(cloud, found.workspace, container, version))


@room.delete(MODELS + "/{model}")
def delete_model(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, _DELETE)
    pair = find(cloud, found.workspace, params["model"])
    if pair is None:
        return mms.empty(found, 204)
    container, version = pair
    del container.versions[version.name]
    if not container.versions:
        registry.remove(cloud, found.workspace, container.name)
    return mms.empty(found)


@room.post(ASSETS)
def create_asset(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "assets/write")
    asked = found.body(_ASSET)
    if not asked.get("name"):
        raise found.refusal(400, "BadRequest", "The request is invalid", ("InvalidAsset", "name is required."))
    asset_id = cloud.new_id().replace("-", "")
    kept = ("name", "description", "artifacts", "kvTags", "properties", "runid", "meta")
    asset = {"id": asset_id, **{name: asked.get(name) for name in kept}, "createdTime": _time(registry.now(cloud))}
    cloud.state(Assets).by_id[(found.workspace.key, asset_id)] = asset
    return mms.reply(found, asset)


@room.get(ASSETS)
def list_assets(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "assets/read")
    query = request.query
    listed = [
        asset
        for (owner, _), asset in cloud.state(Assets).by_id.items()
        if owner == found.workspace.key
        and query.get("name", asset["name"]) == asset["name"]
        and query.get("runid", asset["runid"]) == asset["runid"]
        and mms.has_pairs(found, "tags", asset["kvTags"])
    ]
    return mms.reply(found, mms.page(found, listed))


@room.get(ASSETS + "/{asset}")
def get_asset(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "assets/read")
    asset = cloud.state(Assets).by_id.get((found.workspace.key, params["asset"]))
    if asset is None:
        text = f"Asset with id {params['asset']} could not be found in the provided workspace."
        raise found.refusal(404, "NotFound", "The specified resource was not found.", ("AssetNotFound", text))
    return mms.reply(found, asset)


@room.delete(ASSETS + "/{asset}")
def delete_asset(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "assets/delete")
    known = cloud.state(Assets).by_id.pop((found.workspace.key, params["asset"]), None)
    return mms.empty(found, 200 if known else 204)
