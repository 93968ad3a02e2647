"""Uploads to the workspace's storage account: by the signed address that Azure gave, or with the identity's own token."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from mlaz_ci.adapters.azure_wire import Wire
from mlaz_ci.errors import AzureUnreachable, MlazError, StorageAccessDenied
from mlaz_ci.ports import Platform, Progress

_SCOPE: Final = "https://storage.azure.com/.default"
# Of 2021-12-02 all that is used here is known, and bearer tokens need one.
_VERSION: Final = "2021-12-02"
_BLOCK_BYTES: Final = 8 * 1024 * 1024
_NO_KEYS: Final = frozenset({"KeyBasedAuthenticationNotPermitted", "PublicAccessNotPermitted"})


class Place:
    """A folder in a blob container. Its address is told nowhere with its signature."""

    def __init__(self, wire: Wire, platform: Platform, pending: Mapping[str, Any]) -> None:
        """`pending` is the answer of startPendingUpload."""
        reference = pending.get("blobReferenceForConsumption") or {}
        signed = str((reference.get("credential") or {}).get("sasUri") or "")
        self.uri = str(reference.get("blobUri") or signed.partition("?")[0]).rstrip("/")
        parts = urlsplit(self.uri)
        if parts.scheme != "https" or not parts.hostname or ".blob." not in parts.hostname:
            raise AzureUnreachable("Azure's answer names no blob address to upload to.")
        self._signature: str | None = signed.partition("?")[2] or None
        if self._signature:
            platform.mask(self._signature)
            for each in self._signature.split("&"):
                if each.startswith("sig="):
                    platform.mask(each.removeprefix("sig="))
        self._wire = wire

    def upload(self, path: str, chunks: Iterator[bytes], size: int, sent: Callable[[int], None]) -> None:
        """One file, in blocks where it is large. The same again does no harm."""
        if size <= _BLOCK_BYTES:
            content = b"".join(chunks)
            self._put(path, "", content, {"x-ms-blob-type": "BlockBlob"})
            sent(len(content))
            return
        ids: list[str] = []
        for chunk in chunks:
            ids.append(base64.b64encode(f"{len(ids):08d}".encode()).decode())
            self._put(path, f"comp=block&blockid={quote(ids[-1], safe='')}", chunk, {})
            sent(len(chunk))
        listed = "".join(f"<Latest>{each}</Latest>" for each in ids)
        text = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        self._put(path, "comp=blocklist", text.encode(), {"Content-Type": "application/xml"})

    def _put(self, path: str, query: str, content: bytes, headers: Mapping[str, str]) -> None:
        if self._signature is not None:
            try:
                self._send(path, query, content, headers, self._signature)
            except StorageAccessDenied as error:
                # The account takes no signatures of its keys, as many companies' policies have it.
                if error.upstream_code not in _NO_KEYS:
                    raise
                self._signature = None
            else:
                return
        self._send(path, query, content, headers, None)

    def _send(self, path: str, query: str, content: bytes, headers: Mapping[str, str], signature: str | None) -> None:
        joined = "&".join(part for part in (query, signature) if part)
        url = f"{self.uri}/{quote(path)}{f'?{joined}' if joined else ''}"
        try:
            self._wire.ask(
                "PUT",
                url,
                doing=f"upload {path} to the storage account {urlsplit(self.uri).hostname}",
                scope=None if signature else _SCOPE,
                content=content,
                headers={"x-ms-version": _VERSION, "Content-Type": "application/octet-stream", **headers},
            )
        except MlazError as error:
            if signature and any(signature in text or "sig=" in text for text in (error.what, error.log)):
                # A client's own words may quote the address.
                raise AzureUnreachable(
                    f"Azure could not take {path}: no answer from {urlsplit(url).hostname}."
                ) from None
            raise


def upload_folder(place: Place, folder: Path, under: str, progress: Progress) -> None:
    """Every file of `folder`, below `under` in the place."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total, done = sum(path.stat().st_size for path in files), 0

    def sent(count: int) -> None:
        nonlocal done
        done += count
        progress.update(float(done), float(total), "bytes")

    for path in files:
        relative = path.relative_to(folder).as_posix()
        place.upload(f"{under}/{relative}", _chunks(path), path.stat().st_size, sent)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_BLOCK_BYTES):
            yield chunk
