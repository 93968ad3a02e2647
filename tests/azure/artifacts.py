"""The artifact service: names for uploaded files, the blobs they lie in, and the URIs that let a client at them."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.azure import regional, storage, world
from tests.azure.arm import datastores
from tests.azure.arm.workspaces import Key
from tests.azure.messages import FileSlice, Refusal, Request, Response
from tests.azure.molds import Mold
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

BASE = "/artifact/v2.0" + world.WORKSPACE_TEMPLATE + "/artifacts"
ONE = BASE + "/{origin}/{container}"
_READ, _WRITE, _DELETE = (f"metadata/artifacts/{word}" for word in ("read", "write", "delete"))
_PAGE = 500
_PATHS: Mold = {"paths": [{"path": str}]}
_REGISTERED: Mold = {
    **dict.fromkeys(("origin", "container", "path"), str),
    "dataPath": {"dataStoreName": str, "relativePath": str},
}
shape = regional.user_error("artifact")

room = Room("artifacts", host=regional.HOST)


@dataclass(slots=True, kw_only=True)
class Artifact:
    origin: str
    container: str
    path: str
    etag: str
    created: str
    # Where the content lies, when it is not the artifact store: a datastore and the path in it.
    data_store: str = ""
    relative_path: str = ""

    @property
    def id(self) -> str:
        return f"{self.origin}/{self.container}/{self.path}"

    @property
    def blob(self) -> str:
        return self.relative_path or self.id


@dataclass(slots=True)
class Artifacts:
    """What was announced or registered, by workspace and id: cloud.state(artifacts.Artifacts)."""

    by_id: dict[tuple[Key, str], Artifact] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A container of artifacts, as one visitor sees it: a run's, or that of an upload."""

    visit: Visit
    origin: str
    name: str

    @property
    def _key(self) -> Key:
        return self.visit.workspace.key

    def get(self, path: str) -> Artifact | None:
        return next((one for one in self.all() if one.path == path), None)

    def all(self, prefix: str = "") -> list[Artifact]:
        """Those announced, and blobs that came there by another way: a job writes its outputs straight to storage."""
        cloud, start = self.visit.cloud, f"{self.origin}/{self.name}/"
        found = {
            one.path: one
            for (owner, _), one in cloud.state(Artifacts).by_id.items()
            if owner == self._key and (one.origin, one.container) == (self.origin, self.name)
        }
        held = cloud.state(storage.Accounts).container(self.visit.workspace.storage_account, storage.ARTIFACT_CONTAINER)
        for name, blob in (held.blobs if held else {}).items():
            if name.startswith(start) and name[len(start) :] not in found:
                path = name[len(start) :]
                found[path] = Artifact(
                    origin=self.origin, container=self.name, path=path, etag=blob.etag, created=self.visit.now
                )
        return [one for _, one in sorted(found.items()) if _is_within(one.path, prefix)]

    def add(self, path: str, data_store: str = "", relative_path: str = "") -> Artifact:
        artifact = Artifact(
            origin=self.origin,
            container=self.name,
            path=path,
            etag=f'"{self.visit.cloud.new_id()}"',
            created=self.visit.now,
            data_store=data_store,
            relative_path=relative_path,
        )
        self.visit.cloud.state(Artifacts).by_id[(self._key, artifact.id)] = artifact
        return artifact

    def remove(self, artifact: Artifact) -> None:
        self.visit.cloud.state(Artifacts).by_id.pop((self._key, artifact.id), None)
        account, container, blob = _place(self.visit, artifact)
        held = self.visit.cloud.state(storage.Accounts).container(account, container)
        if held is not None:
            held.blobs.pop(blob, None)


def _is_within(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix.rstrip('/')}/")


def _place(visit: Visit, artifact: Artifact) -> tuple[str, str, str]:
    container = storage.ARTIFACT_CONTAINER
    if artifact.data_store == datastores.DEFAULT:
        container = f"azureml-blobstore-{visit.workspace.workspace_id}"
    return visit.workspace.storage_account, container, artifact.blob


def rendered(artifact: Artifact) -> dict[str, Any]:
    found: dict[str, Any] = {
        "artifactId": artifact.id,
        "origin": artifact.origin,
        "container": artifact.container,
        "path": artifact.path,
        "etag": artifact.etag,
        "createdTime": artifact.created[:-1] + "+00:00" if artifact.created.endswith("Z") else artifact.created,
        "dataPath": None,
    }
    if artifact.data_store:
        found["dataPath"] = {"dataStoreName": artifact.data_store, "relativePath": artifact.relative_path}
    return found


def content_of(visit: Visit, artifact: Artifact, permissions: str = "r") -> dict[str, Any]:
    account, container, blob = _place(visit, artifact)
    sas = storage.issue_sas(visit.cloud, account, container, blob=blob, permissions=permissions)
    url = visit.cloud.state(storage.Accounts).by_name[account].url
    return {
        "contentUri": f"{url}/{container}/{quote(blob)}?{sas}",
        "origin": artifact.origin,
        "container": artifact.container,
        "path": artifact.path,
    }


def announce(folder: Folder, paths: Iterable[str]) -> dict[str, Any]:
    """Empty artifacts for paths that have none, each with a URI to write it to; an error for every other."""
    made: dict[str, Artifact] = {}
    errors: dict[str, Any] = {}
    for path in paths:
        if folder.get(path) is None:
            made[path] = folder.add(path)
        else:
            fault = regional.Fault(
                status=409,
                code="UserError",
                message=f"Resource Conflict: ArtifactId {folder.origin}/{folder.name}/{path} already exists.",
            )
            errors[path] = shape(folder.visit.cloud, folder.visit.region, fault)
    return {
        "artifacts": {path: rendered(one) for path, one in made.items()},
        "artifactContentInformation": {path: content_of(folder.visit, one, "rcw") for path, one in made.items()},
        "errors": errors,
    }


def paths_of(visit: Visit) -> list[str]:
    """The paths of an ArtifactPathList, without the leading slash and the dots that clients let stand."""
    paths = [entry.get("path") for entry in visit.body(_PATHS).get("paths") or ()]
    if not paths or not all(paths):
        raise visit.refusal(400, "UserError", "The paths of the artifacts are missing.")
    return [_clean(path) for path in paths]


def _clean(path: str) -> str:
    return posixpath.normpath(path).lstrip("/") if path else ""


def asked_path(request: Request, params: Params) -> str:
    return _clean(params.get("path") or request.query.get("path", ""))


def existing(folder: Folder, path: str) -> Artifact:
    found = folder.get(path)
    if found is None:
        raise not_found(folder, path)
    return found


def not_found(folder: Folder, path: str) -> Refusal:
    return folder.visit.refusal(404, "UserError", f"ArtifactId {folder.origin}/{folder.name}/{path} was not found.")


def page(visit: Visit, entries: list[dict[str, Any]]) -> dict[str, Any]:
    said = visit.request.query.get("continuationtoken", "0")
    start = int(said) if said.isdigit() else 0
    rest = entries[start + _PAGE :]
    token = str(start + _PAGE) if rest else None
    separator = "&" if visit.request.query_string else "?"
    link = (
        f"{visit.request.url.partition('&continuationToken=')[0]}{separator}continuationToken={token}"
        if token
        else None
    )
    return {"value": entries[start : start + _PAGE], "continuationToken": token, "nextLink": link}


def _folder(request: Request, params: Params, cloud: Cloud, action: str) -> Folder:
    visit = regional.visit(request, params, cloud, action, shape)
    return Folder(visit=visit, origin=params["origin"], name=params["container"])


@room.post(ONE + "/batch/metadata")
@room.post(BASE + "/batch/metadata/{origin}/{container}")
def create_empty(request: Request, params: Params, cloud: Cloud) -> Response:
    """azureml-mlflow writes the words after the names, azureml-core before them."""
    folder = _folder(request, params, cloud, _WRITE)
    return regional.reply(announce(folder, paths_of(folder.visit)))


@room.get(ONE)
def list_artifacts(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    listed = [rendered(one) for one in folder.all(asked_path(request, params))]
    return regional.reply(page(folder.visit, listed))


@room.get(ONE + "/metadata")
@room.get(BASE + "/metadata/{origin}/{container}/{path...}")
def get_artifact(request: Request, params: Params, cloud: Cloud) -> Response:
    return regional.reply(rendered(existing(_folder(request, params, cloud, _READ), asked_path(request, params))))


@room.delete(ONE + "/metadata")
def delete_artifact(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _DELETE)
    folder.remove(existing(folder, asked_path(request, params)))
    return regional.empty()


@room.get(ONE + "/contentinfo")
@room.get(BASE + "/contentinfo/{origin}/{container}/{path...}")
def get_content_info(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    return regional.reply(content_of(folder.visit, existing(folder, asked_path(request, params))))


@room.get(ONE + "/prefix/contentinfo")
@room.get(BASE + "/prefix/contentinfo/{origin}/{container}")
@room.get(BASE + "/prefix/contentinfo/{origin}/{container}/{path...}")
def list_content_info(request: Request, params: Params, cloud: Cloud) -> Response:
    folder = _folder(request, params, cloud, _READ)
    path = asked_path(request, params)
    found = folder.all(path)
    if not found:
        raise not_found(folder, path)
    return regional.reply(page(folder.visit, [content_of(folder.visit, one) for one in found]))


@room.get(ONE + "/write")
def get_write_uri(request: Request, params: Params, cloud: Cloud) -> Response:
    folder, path = _folder(request, params, cloud, _WRITE), asked_path(request, params)
    return regional.reply(content_of(folder.visit, folder.get(path) or folder.add(path), "rcw"))


@room.get(ONE + "/content")
def get_content(request: Request, params: Params, cloud: Cloud) -> Response:
    folder, path = _folder(request, params, cloud, _READ), asked_path(request, params)
    account, container, name = _place(folder.visit, existing(folder, path))
    held = cloud.state(storage.Accounts).container(account, container)
    blob = held.blobs.get(name) if held else None
    if blob is None:
        raise not_found(folder, path)
    body = FileSlice(path=storage.file_of(cloud, blob.file), length=blob.size)
    return Response(body=body).with_headers({**regional.headers(), "Content-Type": blob.content_type})


@room.post(ONE + "/content")
def put_content(request: Request, params: Params, cloud: Cloud) -> Response:
    folder, path = _folder(request, params, cloud, _WRITE), asked_path(request, params)
    known = folder.get(path)
    if known is not None and request.query.get("allowoverwrite", "").lower() != "true":
        message = f"Resource Conflict: ArtifactId {known.id} already exists."
        raise folder.visit.refusal(409, "UserError", message)
    artifact = known or folder.add(path)
    storage.write(cloud, *_place(folder.visit, artifact), request.body.read())
    return regional.reply(rendered(artifact))


@room.post(BASE + "/register")
@room.post(BASE + "/metadata")
def register(request: Request, params: Params, cloud: Cloud) -> Response:
    """An artifact whose content a client has written to a datastore itself."""
    visit = regional.visit(request, params, cloud, _WRITE, shape)
    asked = visit.body(_REGISTERED)
    if not all(asked.get(name) for name in ("origin", "container", "path")):
        raise visit.refusal(400, "UserError", "An artifact needs its origin, its container and its path.")
    folder = Folder(visit=visit, origin=asked["origin"], name=asked["container"])
    if known := folder.get(asked["path"]):
        raise visit.refusal(409, "UserError", f"Resource Conflict: ArtifactId {known.id} already exists.")
    place = asked.get("dataPath") or {}
    artifact = folder.add(asked["path"], place.get("dataStoreName") or "", place.get("relativePath") or "")
    return regional.reply(rendered(artifact) | {"tags": {}})
