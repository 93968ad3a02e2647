"""The routes of models, codes and environments, the same for each kind."""

from __future__ import annotations

import re
from typing import Any

from tests.azure import storage, world
from tests.azure.arm import answers, bodies, datastores, paging, versions
from tests.azure.arm.assets import Assets, Container, Version, rendered_container, rendered_version, version_properties
from tests.azure.arm.workspaces import Visit, created_by, has_pairs, modified_by, visit
from tests.azure.clock import iso8601
from tests.azure.messages import Request, Response
from tests.azure.routing import Handler, Params, Room
from tests.azure.state import Cloud

_KINDS = ("models", "codes", "environments")
_MISSING = {"models": "ModelNotFound", "codes": "CodeNotFound", "environments": "EnvironmentNotFound"}
_SINGULAR = {"models": "Model", "codes": "Code", "environments": "Environment"}
_FIXED = (
    *("modelUri", "modelType", "jobName", "flavors", "codeUri"),
    *("image", "condaFile", "build", "inferenceConfig"),
)
_URI = {"models": "modelUri", "codes": "codeUri", "environments": "image"}
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}")
room = Room("arm-assets", host=versions.HOST)


def _container(found: Visit, kind: str, name: str) -> Container:
    container = found.cloud.state(Assets).get(found.workspace.key, kind, name)
    if container is None:
        text = f"{_SINGULAR[kind]} container with name: {name} not found."
        raise answers.not_found(found.cloud, found.region, _MISSING[kind], text, code="UserError")
    return container


def _version(found: Visit, kind: str, name: str, version: str) -> tuple[Container, Version]:
    container = found.cloud.state(Assets).get(found.workspace.key, kind, name)
    held = container.versions.get(version) if container else None
    if container is None or held is None:
        text = f"{_SINGULAR[kind]} version with name: {name}, version: {version} not found."
        raise answers.not_found(found.cloud, found.region, _MISSING[kind], text, code="UserError")
    return container, held


def _new_container(found: Visit, kind: str, name: str) -> Container:
    properties: dict[str, Any] = {"description": None, "tags": {}, "properties": {}, "isArchived": False}
    container = Container(name=name, properties=properties, system=created_by(found.caller, _now(found)))
    found.cloud.state(Assets).by_key[(found.workspace.key, kind, name.lower())] = container
    return container


def _now(found: Visit) -> str:
    return iso8601(found.cloud.clock)[:-1] + "+00:00"


def _named(found: Visit, name: str) -> str:
    if not _NAME.fullmatch(name):
        text = f"The name {name!r} is invalid: it must match {_NAME.pattern}."
        raise answers.service_refusal(found.cloud, found.region, 400, "UserError", text)
    return name


def put_container(found: Visit, kind: str, params: Params) -> Response:
    asked = bodies.read(found.request, bodies.ASSET).get("properties") or {}
    state = found.cloud.state(Assets)
    container = state.get(found.workspace.key, kind, _named(found, params["name"]))
    # As recorded: an environment's PUT answers 201 each time, a model's 200 when it was there.
    status = 200 if container is not None and kind != "environments" else 201
    container = container or _new_container(found, kind, params["name"])
    container.properties |= {
        "description": asked.get("description", container.properties["description"]),
        "tags": asked.get("tags") or {},
        "properties": asked.get("properties") or {},
        "isArchived": bool(asked.get("isArchived")),
    }
    container.system |= modified_by(found.caller, _now(found))
    return _written(found, rendered_container(found, kind, container), status)


def _written(found: Visit, value: dict[str, Any], status: int) -> Response:
    location = f"https://{versions.HOST}{value['id']}?api-version={found.version}"
    headers = {"Location": location} if status == 201 else {}
    return found.reply(value, status=status, did="write", headers=headers)


def put_version(found: Visit, kind: str, params: Params) -> Response:
    asked = bodies.read(found.request, bodies.ASSET).get("properties") or {}
    cloud, state, name = found.cloud, found.cloud.state(Assets), _named(found, params["name"])
    container = state.get(found.workspace.key, kind, name)
    held = container.versions.get(params["version"]) if container else None
    properties = version_properties(found, kind, asked)
    if held is None:
        if kind != "environments" and not properties.get(_URI[kind]):
            raise answers.service_refusal(cloud, found.region, 400, "UserError", f"{_URI[kind]} is required.")
        container = container or _new_container(found, kind, name)
        state.made += 1
        system = created_by(found.caller, _now(found))
        held = Version(name=params["version"], properties=properties, system=system, order=state.made)
        container.versions[held.name] = held
        return _written(found, rendered_version(found, kind, container, held), 201)
    assert container is not None
    if kind != "environments" and properties.get(_URI[kind]) not in {None, held.properties[_URI[kind]]}:
        raise answers.service_refusal(cloud, found.region, 400, "UserError", "Asset paths cannot be updated.")
    # What a version is made of never changes: only its words, its tags and its stage do.
    kept = {name: held.properties[name] for name in _FIXED if name in held.properties}
    held.properties = {**properties, **kept}
    held.system |= modified_by(found.caller, _now(found))
    status = 201 if kind == "environments" else 200
    return _written(found, rendered_version(found, kind, container, held), status)


def list_containers(found: Visit, kind: str, params: Params) -> Response:
    shown = _visible(found)
    listed = [one for one in found.cloud.state(Assets).of(found.workspace.key, kind) if shown(one.properties)]
    return found.reply(found.page([rendered_container(found, kind, one) for one in listed], _size(found)))


def list_versions(found: Visit, kind: str, params: Params) -> Response:
    query, shown = found.request.query, _visible(found)
    if kind == "codes" and "hash" in query:
        # A code that was uploaded before is found by its content's hash, which its client keeps in `properties`.
        container = found.cloud.state(Assets).get(found.workspace.key, kind, params["name"])
        held = [
            one
            for one in (container.versions.values() if container else ())
            if one.properties["properties"].get("hash_sha256") == query["hash"]
        ]
        return found.reply({"value": [rendered_version(found, kind, container, one) for one in held if container]})
    container = _container(found, kind, params["name"])
    held = [one for one in container.versions.values() if shown(one.properties)]
    if wanted := query.get("version"):
        held = [one for one in held if one.name == wanted]
    for filtered in ("tags", "properties"):
        held = [one for one in held if has_pairs(one.properties[filtered], query.get(filtered, ""))]
    held.sort(key=lambda one: one.order, reverse="asc" not in query.get("$orderby", "createdtime desc").lower())
    return found.reply(
        found.page([rendered_version(found, kind, container, one) for one in held], paging.size(found.request, "$top"))
    )


def _size(found: Visit) -> int:
    return paging.size(found.request, "count") or paging.size(found.request, "$top")


def _visible(found: Visit) -> Any:
    match found.request.query.get("listviewtype", "ActiveOnly"):
        case "ArchivedOnly":
            return lambda properties: properties["isArchived"]
        case "All":
            return lambda properties: True
        case _:
            return lambda properties: not properties["isArchived"]


def delete_container(found: Visit, kind: str, params: Params) -> Response:
    known = found.cloud.state(Assets).by_key.pop((found.workspace.key, kind, params["name"].lower()), None)
    return answers.empty(found.region, status=200 if known else 204, did="delete")


def delete_version(found: Visit, kind: str, params: Params) -> Response:
    container = found.cloud.state(Assets).get(found.workspace.key, kind, params["name"])
    known = container.versions.pop(params["version"], None) if container else None
    return answers.empty(found.region, status=200 if known else 204, did="delete")


@room.post(
    world.WORKSPACE_TEMPLATE + "/codes/{name}/versions/{version}/startPendingUpload", api_versions=versions.ASSETS
)
def start_upload(request: Request, params: Params, cloud: Cloud) -> Response:
    """A place of its own for each upload, and a SAS that may write there."""
    found = visit(request, params, cloud, "codes/versions/write", v2=True)
    container = datastores.container_of(found, datastores.DEFAULT)
    assert container is not None
    account = cloud.state(storage.Accounts).by_name[found.workspace.storage_account]
    folder = f"{cloud.new_id()}"
    account.containers.setdefault(folder, storage.Container(name=folder))
    sas = storage.issue_sas(cloud, account.name, folder, permissions="rcwl")
    blob_uri = f"{account.url}/{folder}"
    cloud.state(Assets).pending[(found.workspace.key, params["name"], params["version"])] = blob_uri
    value = {
        "pendingUploadId": cloud.new_id(),
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": {
            "blobUri": blob_uri,
            "storageAccountArmId": found.workspace.of_group("Microsoft.Storage/storageAccounts", account.name),
            "credential": {"credentialType": "SAS", "sasUri": f"{blob_uri}?{sas}"},
        },
    }
    return found.reply(value, did="write")


def get_container(found: Visit, kind: str, params: Params) -> Response:
    return found.reply(rendered_container(found, kind, _container(found, kind, params["name"])))


def get_version(found: Visit, kind: str, params: Params) -> Response:
    container, version = _version(found, kind, params["name"], params["version"])
    return found.reply(rendered_version(found, kind, container, version))


def _handler(kind: str, action: str, answer: Any) -> Handler:
    def handle(request: Request, params: Params, cloud: Cloud) -> Response:
        response: Response = answer(visit(request, params, cloud, action, v2=True), kind, params)
        return response

    return handle


for _kind in _KINDS:
    _base = f"{world.WORKSPACE_TEMPLATE}/{_kind}"
    _below = f"{_base}/{{name}}/versions"
    for _method, _template, _action, _answer in (
        ("GET", _base, f"{_kind}/read", list_containers),
        ("GET", f"{_base}/{{name}}", f"{_kind}/read", get_container),
        ("PUT", f"{_base}/{{name}}", f"{_kind}/write", put_container),
        ("DELETE", f"{_base}/{{name}}", f"{_kind}/delete", delete_container),
        ("GET", _below, f"{_kind}/versions/read", list_versions),
        ("GET", f"{_below}/{{version}}", f"{_kind}/versions/read", get_version),
        ("PUT", f"{_below}/{{version}}", f"{_kind}/versions/write", put_version),
        ("DELETE", f"{_below}/{{version}}", f"{_kind}/versions/delete", delete_version),
    ):
        room.route(_method, _template, api_versions=versions.ASSETS)(_handler(_kind, _action, _answer))
