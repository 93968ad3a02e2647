"""Blob storage's XML: listings of containers, blobs and blocks, a page at a time."""

from __future__ import annotations

import base64
from xml.sax.saxutils import escape, quoteattr

from tests.azure import storage
from tests.azure.blob_access import refusal, standard_headers
from tests.azure.blob_content import Block, http_date
from tests.azure.messages import Request, Response
from tests.azure.state import Cloud

_PAGE = 5000


def _xml(cloud: Cloud, request: Request, text: str) -> Response:
    content = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{text}'
    headers: dict[str, str | None] = {**standard_headers(cloud, request)}
    return Response.text(content, content_type="application/xml").with_headers(headers)


def _element(name: str, value: str) -> str:
    return f"<{name}>{escape(value)}</{name}>" if value else f"<{name} />"


def containers(cloud: Cloud, request: Request, account: storage.Account) -> Response:
    prefix = request.query.get("prefix", "")
    listed = "".join(
        f"<Container>{_element('Name', name)}<Properties><Last-Modified>{http_date(container.created_s)}</Last-Modified>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState></Properties></Container>"
        for name, container in sorted(account.containers.items())
        if name.startswith(prefix)
    )
    head = f"<EnumerationResults ServiceEndpoint={quoteattr(account.url + '/')}>"
    return _xml(cloud, request, f"{head}<Containers>{listed}</Containers><NextMarker /></EnumerationResults>")


def blobs(cloud: Cloud, request: Request, account: storage.Account, container: storage.Container) -> Response:
    query = request.query
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    size = _page_size(cloud, request)
    # Entries in the order of their names; a prefix stands for all that begins with it.
    entries: dict[str, storage.Blob | None] = {}
    for name, blob in sorted(container.blobs.items()):
        if name.startswith(prefix):
            below, found, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            entries[f"{prefix}{below}{delimiter}" if found else name] = None if found else blob
    try:
        after = base64.b64decode(query.get("marker", ""), validate=True).decode()
    except ValueError as error:
        message = "Value for one of the query parameters specified in the request URI is invalid."
        raise refusal(cloud, request, 400, "InvalidQueryParameterValue", message) from error
    names = [name for name in sorted(entries) if not after or name >= after]
    page, rest = names[:size], names[size:]
    include = query.get("include", "").split(",")
    listed = "".join(_entry(name, entries[name], "metadata" in include) for name in page)
    marker = base64.b64encode(rest[0].encode()).decode() if rest else ""
    head = (
        f"<EnumerationResults ServiceEndpoint={quoteattr(account.url + '/')} ContainerName={quoteattr(container.name)}>"
    )
    asked = "".join(
        _element(name, query[name.lower()])
        for name in ("Prefix", "Marker", "MaxResults", "Delimiter")
        if query.get(name.lower())
    )
    return _xml(
        cloud, request, f"{head}{asked}<Blobs>{listed}</Blobs>{_element('NextMarker', marker)}</EnumerationResults>"
    )


def _page_size(cloud: Cloud, request: Request) -> int:
    said = request.query.get("maxresults", str(_PAGE))
    if not (said.isascii() and said.isdigit() and int(said)):
        message = "A query parameter specified in the request URI is outside the permissible range."
        raise refusal(cloud, request, 400, "OutOfRangeQueryParameterValue", message)
    return min(int(said), _PAGE)


def _entry(name: str, blob: storage.Blob | None, with_metadata: bool) -> str:
    if blob is None:
        return f"<BlobPrefix>{_element('Name', name)}</BlobPrefix>"
    properties = {
        "Creation-Time": http_date(blob.last_modified_s),
        "Last-Modified": http_date(blob.last_modified_s),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        "Content-Type": blob.content_type,
        "Content-Encoding": blob.headers.get("Content-Encoding", ""),
        "Content-Language": blob.headers.get("Content-Language", ""),
        "Content-CRC64": "",
        "Content-MD5": blob.content_md5,
        "Cache-Control": blob.headers.get("Cache-Control", ""),
        "Content-Disposition": blob.headers.get("Content-Disposition", ""),
        "BlobType": "BlockBlob",
        "AccessTier": "Hot",
        "AccessTierInferred": "true",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }
    told = "".join(_element(key, value) for key, value in properties.items())
    metadata = "".join(_element(key, value) for key, value in blob.metadata.items())
    shown = (f"<Metadata>{metadata}</Metadata>" if metadata else "<Metadata />") if with_metadata else ""
    return f"<Blob>{_element('Name', name)}<Properties>{told}</Properties>{shown}<OrMetadata /></Blob>"


def block_list(
    cloud: Cloud, request: Request, container: storage.Container, name: str, committed: list[Block]
) -> Response:
    held = container.blocks.get(name, {})
    if name not in container.blobs and not held:
        raise refusal(cloud, request, 404, "BlobNotFound", "The specified blob does not exist.")
    kind = request.query.get("blocklisttype", "committed").lower()
    sizes = {block.id: block.size for block in committed}
    pending = {block_id: storage.file_of(cloud, file).stat().st_size for block_id, file in held.items()}
    text = ""
    for title, blocks in (("CommittedBlocks", sizes), ("UncommittedBlocks", pending)):
        if kind in {"all", title.removesuffix("Blocks").lower()}:
            told = "".join(f"<Block>{_element('Name', key)}<Size>{size}</Size></Block>" for key, size in blocks.items())
            text += f"<{title}>{told}</{title}>"
    return _xml(cloud, request, f"<BlockList>{text}</BlockList>")
