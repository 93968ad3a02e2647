"""A blob's bytes: how they are written, put together from blocks, cut into ranges and guarded by conditions.

Knows neither who asks nor how answers are worded.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from tests.azure import storage
from tests.azure.messages import Headers
from tests.azure.state import Cloud

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_CHUNK_BYTES = 1 << 20
# Azure Storage's CRC-64, reflected. Python is slow at it: larger contents go without.
_CRC64_POLYNOMIAL = 0x9A6C9329AC4BC9B5
_CRC64_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    file: str
    size: int
    md5: str
    # Empty where it is not computed.
    crc64: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A committed block: where it lies within the blob's file."""

    id: str
    offset: int
    size: int


@dataclass(slots=True)
class BlockLists:
    """The committed blocks of blobs that were put together from some: cloud.state(blob_content.BlockLists)."""

    by_blob: dict[tuple[str, str, str], list[Block]] = field(default_factory=dict)


def _crc64_table() -> tuple[int, ...]:
    table = list(range(256))
    for _ in range(8):
        table = [(entry >> 1) ^ _CRC64_POLYNOMIAL if entry & 1 else entry >> 1 for entry in table]
    return tuple(table)


_CRC64_TABLE = _crc64_table()


def crc64(content: bytes) -> str:
    """The checksum in the form of `x-ms-content-crc64`."""
    value = ~0 & 0xFFFFFFFFFFFFFFFF
    for byte in content:
        value = _CRC64_TABLE[(value ^ byte) & 0xFF] ^ (value >> 8)
    return base64.b64encode((value ^ 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")).decode()


def write_file(cloud: Cloud, chunks: Iterable[bytes]) -> Content:
    file, path = storage.new_file(cloud)
    digest, size = hashlib.md5(), 0
    with path.open("wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    checksum = crc64(path.read_bytes()) if size <= _CRC64_MAX_BYTES else ""
    return Content(file=file, size=size, md5=base64.b64encode(digest.digest()).decode(), crc64=checksum)


def discard(cloud: Cloud, file: str) -> None:
    storage.file_of(cloud, file).unlink(missing_ok=True)


def new_etag() -> str:
    return f'"0x{uuid.uuid4().hex[:15].upper()}"'


def http_date(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    offset: int
    length: int


def is_range(header: str) -> bool:
    return _RANGE.fullmatch(header.strip()) is not None


def span_of(header: str, size: int) -> Span | None:
    """The part of a blob a Range header means; None for one that begins behind its end. No header: all of it."""
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        return Span(offset=0, length=size)
    first = int(found[1])
    last = min(int(found[2]) if found[2] else size - 1, size - 1)
    return Span(offset=first, length=last - first + 1) if first < size and first <= last else None


class UnknownBlock(Exception):
    """A block list names a block that was never uploaded."""


def parse_block_list(content: bytes) -> list[tuple[str, str]]:
    """Pairs of where to look (Latest, Committed, Uncommitted) and the block's id."""
    return [(entry.tag, entry.text or "") for entry in ET.fromstring(content)]


def join_blocks(
    cloud: Cloud,
    wanted: Sequence[tuple[str, str]],
    uncommitted: dict[str, str],
    committed: Sequence[Block],
    committed_file: str | None,
) -> tuple[Content, list[Block]]:
    """The blob that a block list describes, as a file of its own."""
    by_id = {block.id: block for block in committed}
    pieces: list[tuple[str, str, int, int]] = []
    for where, block_id in wanted:
        if where in {"Latest", "Uncommitted"} and block_id in uncommitted:
            file = uncommitted[block_id]
            pieces.append((block_id, file, 0, storage.file_of(cloud, file).stat().st_size))
        elif where in {"Latest", "Committed"} and block_id in by_id and committed_file is not None:
            pieces.append((block_id, committed_file, by_id[block_id].offset, by_id[block_id].size))
        else:
            raise UnknownBlock(block_id)
    blocks: list[Block] = []
    for block_id, _, _, size in pieces:
        offset = blocks[-1].offset + blocks[-1].size if blocks else 0
        blocks.append(Block(id=block_id, offset=offset, size=size))
    return write_file(cloud, (chunk for piece in pieces for chunk in _read(cloud, *piece[1:]))), blocks


def _read(cloud: Cloud, file: str, offset: int, size: int) -> Iterable[bytes]:
    with storage.file_of(cloud, file).open("rb") as stream:
        stream.seek(offset)
        while size > 0 and (chunk := stream.read(min(_CHUNK_BYTES, size))):
            size -= len(chunk)
            yield chunk


def failed_condition(headers: Headers, blob: storage.Blob | None) -> str:
    """The name of the condition header that does not hold, or ""."""
    match, none_match = headers.get("If-Match"), headers.get("If-None-Match")
    if match and (blob is None or not _names(match, blob.etag)):
        return "If-Match"
    if none_match and blob is not None and _names(none_match, blob.etag):
        return "If-None-Match"
    if blob is None:
        return ""
    modified_s = int(blob.last_modified_s)
    since, unmodified = _seconds(headers.get("If-Modified-Since")), _seconds(headers.get("If-Unmodified-Since"))
    if since is not None and modified_s <= since:
        return "If-Modified-Since"
    if unmodified is not None and modified_s > unmodified:
        return "If-Unmodified-Since"
    return ""


def _names(said: str, etag: str) -> bool:
    return said.strip() == "*" or etag.strip('"') in {
        part.strip().removeprefix("W/").strip('"') for part in said.split(",")
    }


def _seconds(date: str) -> float | None:
    """None for what is no date: HTTP has such a condition ignored."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
