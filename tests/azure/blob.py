"""Blob storage as clients speak it: containers, block blobs, ranges, block lists, conditions, listings."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from tests.azure import blob_content, blob_listing, storage
from tests.azure.blob_access import Need, Place, refusal, require, standard_headers
from tests.azure.blob_content import BlockLists, Content
from tests.azure.messages import FileSlice, Headers, Refusal, Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

CONTAINER = "/{container}"
BLOB = "/{container}/{blob...}"
# Properties of the content, by the header that sets them in a PUT.
_PROPERTIES = {
    "x-ms-blob-content-encoding": "Content-Encoding",
    "x-ms-blob-content-language": "Content-Language",
    "x-ms-blob-content-disposition": "Content-Disposition",
    "x-ms-blob-cache-control": "Cache-Control",
}
_META = "x-ms-meta-"
_ENCRYPTED = {"x-ms-request-server-encrypted": "true"}

room = Room("blob", host="{account}.blob.core.windows.net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request that may do what it asks; its container is there, its blob perhaps."""

    cloud: Cloud
    request: Request
    account: storage.Account
    container: storage.Container
    name: str = ""

    @property
    def blob(self) -> storage.Blob | None:
        return self.container.blobs.get(self.name)

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.account.name, self.container.name, self.name)

    def refusal(self, status: int, code: str, message: str) -> Refusal:
        return refusal(self.cloud, self.request, status, code, message)

    def reply(self, status: int, headers: dict[str, str]) -> Response:
        return Response.empty(status, {**standard_headers(self.cloud, self.request), **headers})

    def existing(self) -> storage.Blob:
        if self.blob is None:
            raise self.refusal(404, "BlobNotFound", "The specified blob does not exist.")
        return self.blob


def _account(request: Request, params: Params, cloud: Cloud) -> storage.Account:
    found = cloud.state(storage.Accounts).by_name.get(params["account"])
    if found is None:
        # The name of an account that is not there does not resolve: no client would come this far.
        cloud.fail(
            "refused-host", f"https://{request.host} is no storage account of the emulated cloud", request.number
        )
        raise Refusal(Response.text("tests.azure: no such storage account\n", status=502))
    return found


def _name(request: Request) -> str:
    """The blob's name as written: doubled and trailing slashes belong to it."""
    return unquote(request.target.partition("?")[0].split("/", 2)[2])


def _visit(request: Request, params: Params, cloud: Cloud, need: Need) -> Visit:
    account = _account(request, params, cloud)
    name = _name(request) if "blob" in params else ""
    require(cloud, request, Place(account=account, container=params["container"], blob=name), need)
    container = account.containers.get(params["container"])
    if container is None:
        raise refusal(cloud, request, 404, "ContainerNotFound", "The specified container does not exist.")
    return Visit(cloud=cloud, request=request, account=account, container=container, name=name)


def _check_read(visit: Visit, blob: storage.Blob) -> None:
    failed = blob_content.failed_condition(visit.request.headers, blob)
    if failed in {"If-None-Match", "If-Modified-Since"}:
        raise visit.refusal(304, "ConditionNotMet", "")
    if failed:
        raise _not_met(visit)


def _check_write(visit: Visit) -> None:
    failed = blob_content.failed_condition(visit.request.headers, visit.blob)
    if failed == "If-None-Match" and visit.request.headers.get("If-None-Match").strip() == "*":
        raise visit.refusal(409, "BlobAlreadyExists", "The specified blob already exists.")
    if failed:
        raise _not_met(visit)


def _not_met(visit: Visit) -> Refusal:
    return visit.refusal(412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")


def _not_emulated(visit: Visit, what: str) -> Refusal:
    visit.cloud.fail("not-implemented", f"blob storage: {what} is not emulated", visit.request.number)
    return visit.refusal(501, "NotImplemented", f"tests.azure: {what} is not emulated.")


@room.get("/")
def list_containers(request: Request, params: Params, cloud: Cloud) -> Response:
    account = _account(request, params, cloud)
    require(cloud, request, Place(account=account), Need.LIST)
    return blob_listing.containers(cloud, request, account)


@room.put(CONTAINER)
def create_container(request: Request, params: Params, cloud: Cloud) -> Response:
    account = _account(request, params, cloud)
    require(cloud, request, Place(account=account, container=params["container"]), Need.CREATE)
    if params["container"] in account.containers:
        raise refusal(cloud, request, 409, "ContainerAlreadyExists", "The specified container already exists.")
    now_s = cloud.clock.now_s()
    account.containers[params["container"]] = storage.Container(name=params["container"], created_s=now_s)
    headers = {"ETag": blob_content.new_etag(), "Last-Modified": blob_content.http_date(now_s)}
    return Response.empty(201, {**standard_headers(cloud, request), **headers})


@room.get(CONTAINER)
@room.head(CONTAINER)
def get_container(request: Request, params: Params, cloud: Cloud) -> Response:
    is_list = request.query.get("comp") == "list"
    visit = _visit(request, params, cloud, Need.LIST if is_list else Need.READ)
    if is_list:
        return blob_listing.blobs(cloud, request, visit.account, visit.container)
    return visit.reply(
        200,
        {
            "ETag": '"0x8DC000000000000"',
            "Last-Modified": blob_content.http_date(visit.container.created_s),
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
            "x-ms-has-immutability-policy": "false",
            "x-ms-has-legal-hold": "false",
        },
    )


@room.delete(CONTAINER)
def delete_container(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, Need.DELETE)
    del visit.account.containers[visit.container.name]
    return visit.reply(202, {})


@room.put(BLOB)
def put_blob(request: Request, params: Params, cloud: Cloud) -> Response:
    comp = request.query.get("comp", "")
    container = cloud.state(storage.Accounts).container(params["account"], params["container"])
    is_new = container is not None and _name(request) not in container.blobs
    visit = _visit(request, params, cloud, Need.CREATE if is_new else Need.WRITE)
    writes: dict[str, Callable[[Visit], Response]] = {
        "": _put_whole,
        "block": _put_block,
        "blocklist": _put_block_list,
        "metadata": _set_metadata,
        "properties": _set_properties,
    }
    if comp not in writes or "x-ms-copy-source" in request.headers:
        raise _not_emulated(visit, f"PUT with comp={comp!r}" if comp not in writes else "copying a blob")
    return writes[comp](visit)


def _received(visit: Visit) -> Content:
    content = blob_content.write_file(visit.cloud, visit.request.body.chunks())
    said = visit.request.headers.get("Content-MD5")
    if said and said != content.md5:
        blob_content.discard(visit.cloud, content.file)
        raise visit.refusal(
            400,
            "Md5Mismatch",
            "The MD5 value specified in the request did not match with the MD5 value calculated by the server.",
        )
    return content


def _put_whole(visit: Visit) -> Response:
    kind = visit.request.headers.get("x-ms-blob-type")
    if kind != "BlockBlob":
        if kind:
            raise _not_emulated(visit, f"a blob of type {kind}")
        raise visit.refusal(
            400, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified."
        )
    _check_write(visit)
    content = _received(visit)
    blob = _commit(visit, content, md5=content.md5)
    visit.cloud.state(BlockLists).by_blob.pop(visit.key, None)
    return visit.reply(201, {**_version(blob), **_checked(content), **_ENCRYPTED})


def _checked(content: Content) -> dict[str, str]:
    return {"Content-MD5": content.md5} | ({"x-ms-content-crc64": content.crc64} if content.crc64 else {})


def _commit(visit: Visit, content: Content, *, md5: str) -> storage.Blob:
    headers = visit.request.headers
    if visit.blob is not None:
        blob_content.discard(visit.cloud, visit.blob.file)
    blob = storage.Blob(
        file=content.file,
        size=content.size,
        etag=blob_content.new_etag(),
        last_modified_s=visit.cloud.clock.now_s(),
        content_type=headers.get("x-ms-blob-content-type") or "application/octet-stream",
        content_md5=headers.get("x-ms-blob-content-md5") or md5,
        metadata=_metadata(visit.request),
        headers=_set_headers(visit.request),
    )
    visit.container.blobs[visit.name] = blob
    for file in visit.container.blocks.pop(visit.name, {}).values():
        blob_content.discard(visit.cloud, file)
    return blob


def _metadata(request: Request) -> dict[str, str]:
    return {name[len(_META) :]: value for name, value in request.headers if name.lower().startswith(_META)}


def _set_headers(request: Request) -> dict[str, str]:
    return {shown: request.headers.get(set_by) for set_by, shown in _PROPERTIES.items() if request.headers.get(set_by)}


def _version(blob: storage.Blob) -> dict[str, str]:
    return {"ETag": blob.etag, "Last-Modified": blob_content.http_date(blob.last_modified_s)}


def _put_block(visit: Visit) -> Response:
    block_id = visit.request.query.get("blockid", "")
    try:
        is_right = bool(block_id) and len(base64.b64decode(block_id, validate=True)) <= 64
    except binascii.Error:
        is_right = False
    if not is_right:
        raise visit.refusal(
            400,
            "InvalidQueryParameterValue",
            "Value for one of the query parameters specified in the request URI is invalid.",
        )
    content = _received(visit)
    held = visit.container.blocks.setdefault(visit.name, {})
    if block_id in held:
        blob_content.discard(visit.cloud, held[block_id])
    held[block_id] = content.file
    return visit.reply(201, {**_checked(content), **_ENCRYPTED})


def _put_block_list(visit: Visit) -> Response:
    _check_write(visit)
    committed = visit.cloud.state(BlockLists).by_blob
    try:
        content, blocks = blob_content.join_blocks(
            visit.cloud,
            blob_content.parse_block_list(visit.request.body.read()),
            visit.container.blocks.get(visit.name, {}),
            committed.get(visit.key, ()),
            visit.blob.file if visit.blob else None,
        )
    except ET.ParseError as error:
        raise visit.refusal(400, "InvalidXmlDocument", f"XML specified is not syntactically valid: {error}") from error
    except blob_content.UnknownBlock as unknown:
        raise visit.refusal(400, "InvalidBlockList", "The specified block list is invalid.") from unknown
    # Azure computes no digest over a list of blocks: the blob has one only if the client gives it.
    blob = _commit(visit, content, md5="")
    committed[visit.key] = blocks
    return visit.reply(201, {**_version(blob), **_ENCRYPTED})


def _set_metadata(visit: Visit) -> Response:
    blob = visit.existing()
    _check_write(visit)
    blob.metadata = _metadata(visit.request)
    blob.etag, blob.last_modified_s = blob_content.new_etag(), visit.cloud.clock.now_s()
    return visit.reply(200, {**_version(blob), **_ENCRYPTED})


def _set_properties(visit: Visit) -> Response:
    blob = visit.existing()
    _check_write(visit)
    blob.content_type = visit.request.headers.get("x-ms-blob-content-type") or "application/octet-stream"
    blob.content_md5 = visit.request.headers.get("x-ms-blob-content-md5")
    blob.headers = _set_headers(visit.request)
    blob.etag, blob.last_modified_s = blob_content.new_etag(), visit.cloud.clock.now_s()
    return visit.reply(200, _version(blob))


def _described(blob: storage.Blob) -> dict[str, str]:
    return {
        **_version(blob),
        "Content-Type": blob.content_type,
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-creation-time": blob_content.http_date(blob.last_modified_s),
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
        "x-ms-server-encrypted": "true",
        **blob.headers,
        **{f"{_META}{name}": value for name, value in blob.metadata.items()},
    }


@room.head(BLOB)
def get_blob_properties(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, Need.READ)
    blob = visit.existing()
    _check_read(visit, blob)
    headers = {**_described(blob), "Content-Length": str(blob.size)}
    headers |= {"x-ms-access-tier": "Hot", "x-ms-access-tier-inferred": "true"}
    if blob.content_md5:
        headers["Content-MD5"] = blob.content_md5
    return visit.reply(200, headers)


@room.get(BLOB)
def get_blob(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, Need.READ)
    comp = request.query.get("comp", "")
    if comp == "blocklist":
        committed = cloud.state(BlockLists).by_blob.get(visit.key, [])
        return blob_listing.block_list(cloud, request, visit.container, visit.name, committed)
    blob = visit.existing()
    _check_read(visit, blob)
    if comp == "metadata":
        return visit.reply(
            200, {**_version(blob), **{f"{_META}{name}": value for name, value in blob.metadata.items()}}
        )
    if comp:
        raise _not_emulated(visit, f"GET with comp={comp!r}")
    return _content(visit, blob)


def _content(visit: Visit, blob: storage.Blob) -> Response:
    asked = visit.request.headers.get("x-ms-range") or visit.request.headers.get("Range")
    if not blob_content.is_range(asked):
        # HTTP has a Range that cannot be read ignored.
        asked = ""
    span = blob_content.span_of(asked, blob.size)
    if span is None:
        raise visit.refusal(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
    path = storage.file_of(visit.cloud, blob.file)
    headers = {**standard_headers(visit.cloud, visit.request), **_described(blob)}
    if asked:
        last = span.offset + span.length - 1
        headers["Content-Range"] = f"bytes {span.offset}-{last}/{blob.size}"
        if visit.request.headers.get("x-ms-range-get-content-md5").lower() == "true":
            with path.open("rb") as file:
                file.seek(span.offset)
                headers["Content-MD5"] = base64.b64encode(hashlib.md5(file.read(span.length)).digest()).decode()
    if blob.content_md5:
        headers["x-ms-blob-content-md5" if asked else "Content-MD5"] = blob.content_md5
    body = FileSlice(path=path, offset=span.offset, length=span.length)
    return Response(status=206 if asked else 200, headers=Headers(headers), body=body)


@room.delete(BLOB)
def delete_blob(request: Request, params: Params, cloud: Cloud) -> Response:
    visit = _visit(request, params, cloud, Need.DELETE)
    blob = visit.existing()
    _check_write(visit)
    del visit.container.blobs[visit.name]
    cloud.state(BlockLists).by_blob.pop(visit.key, None)
    blob_content.discard(cloud, blob.file)
    return visit.reply(202, {"x-ms-delete-type-permanent": "true"})
