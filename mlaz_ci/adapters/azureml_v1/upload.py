"""Files into the workspace's artifact store, under a name made of their content: what is there whole is not sent again.

The artifact service (Microsoft's artifact.json) gives each file an address to write to, signed with the storage account's key; where
the account refuses such keys, our own token is used instead.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from mlaz_ci.adapters.azure_wire import Answer, WorkspaceDoor
from mlaz_ci.errors import AzureUnreachable, ModelPathNotFound, StorageAccessDenied
from mlaz_ci.ports import Platform

ORIGIN: Final = "LocalUpload"
# The audience of Azure Storage is the same in all clouds.
_STORAGE_SCOPE: Final = "https://storage.azure.com/.default"
_STORAGE_VERSION: Final = "2021-08-06"
_BLOCK_BYTES: Final = 16 * 1024 * 1024
_PATHS_PER_REQUEST: Final = 500
_AT_ONCE: Final = 4

Send = Callable[[int], None]
"""Told how many bytes went on their way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """A file to be: `content` is its bytes, or where they lie. `path` is relative to the container, with slashes."""

    path: str
    content: bytes | Path

    @property
    def size_bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


class Artifacts:
    def __init__(self, door: WorkspaceDoor, platform: Platform) -> None:
        self._door = door
        self._platform = platform
        self._lock = threading.Lock()
        self._uses_token = False

    def put(self, container: str, parcels: Sequence[Parcel], *, sent: Send = lambda _: None) -> None:
        """All of them, in `LocalUpload/<container>`; those that are there in full length are left. Raises StorageAccessDenied, …"""
        addresses: dict[str, str] = {}
        for start in range(0, len(parcels), _PATHS_PER_REQUEST):
            addresses |= self._announce(container, [each.path for each in parcels[start : start + _PATHS_PER_REQUEST]])
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            jobs = [pool.submit(self._put_one, container, each, addresses.get(each.path), sent) for each in parcels]
        for job in jobs:
            job.result()

    def run_prefix(self, run_id: str, path: str) -> str:
        """The artifacts' prefix of a run's model folder, made sure of. Raises ModelPathNotFound.

        `dcid.<run id>` is the container in every recording; where the model is not in it, run history is asked.
        """
        for container in (f"dcid.{run_id}", None):
            name = container or self._container_of(run_id)
            below = f"/artifacts/ExperimentRun/{quote(name)}/metadata?path={quote(f'{path}/MLmodel', safe='')}"
            answer = self._ask("GET", below, doing=f"look for the model of run {run_id}", allowed={404})
            if answer.status != 404:
                return f"ExperimentRun/{name}/{path}"
        raise ModelPathNotFound(f"Run {run_id} has no MLmodel file in {path}, so there is no model to register.")

    def _container_of(self, run_id: str) -> str:
        doing = f"read the run {run_id}"
        answer = self._door.regional("GET", "history", "/history/v1.0", f"/runs/{quote(run_id)}", doing=doing)
        return str(answer.object.get("dataContainerId") or f"dcid.{run_id}")

    def _ask(self, method: str, below: str, *, doing: str, **options: Any) -> Answer:
        return self._door.regional(method, "history", "/artifact/v2.0", below, doing=doing, **options)

    def _announce(self, container: str, paths: Sequence[str]) -> Mapping[str, str]:
        """Where to write each file; none for those that were announced before."""
        below = f"/artifacts/batch/metadata/{ORIGIN}/{quote(container)}"
        body = {"paths": [{"path": path} for path in paths]}
        answer = self._ask("POST", below, doing="announce files to the artifact store", body=body, repeatable=True)
        told = answer.object.get("artifactContentInformation")
        told = told if isinstance(told, dict) else {}
        return {path: self._masked(each["contentUri"]) for path, each in told.items() if each.get("contentUri")}

    def _masked(self, uri: str) -> str:
        """An address that whoever has it may write to: it is a secret."""
        query = urlsplit(uri).query
        if query:
            self._platform.mask(query)
        return uri

    def _put_one(self, container: str, parcel: Parcel, address: str | None, sent: Send) -> None:
        if address is None and self._is_there(container, parcel):
            sent(parcel.size_bytes)
            return
        self._write(address or self._address(container, parcel.path, "write"), parcel, sent)

    def _address(self, container: str, path: str, verb: str) -> str:
        below = f"/artifacts/{ORIGIN}/{quote(container)}/{verb}?path={quote(path, safe='')}"
        answer = self._ask("GET", below, doing=f"get the address of {path} in the artifact store")
        return self._masked(str(answer.object.get("contentUri") or ""))

    def _is_there(self, container: str, parcel: Parcel) -> bool:
        """A run that died may have announced a file and not written it, or half of it."""
        answer = self._blob("HEAD", self._address(container, parcel.path, "contentinfo"), parcel.path, allowed={404})
        return answer.status == 200 and answer.headers.get("content-length") == str(parcel.size_bytes)

    def _write(self, address: str, parcel: Parcel, sent: Send) -> None:
        if parcel.size_bytes <= _BLOCK_BYTES:
            content = parcel.content if isinstance(parcel.content, bytes) else parcel.content.read_bytes()
            self._blob("PUT", address, parcel.path, content=content, headers={"x-ms-blob-type": "BlockBlob"})
            sent(len(content))
            return
        assert isinstance(parcel.content, Path), "what is built in memory is small"
        blocks: list[str] = []
        with parcel.content.open("rb") as file:
            while chunk := file.read(_BLOCK_BYTES):
                blocks.append(base64.b64encode(f"{len(blocks):08d}".encode()).decode())
                block = f"{address}&comp=block&blockid={quote(blocks[-1], safe='')}"
                self._blob("PUT", block, parcel.path, content=chunk)
                sent(len(chunk))
        listed = "".join(f"<Latest>{each}</Latest>" for each in blocks)
        xml = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{listed}</BlockList>'
        self._blob("PUT", f"{address}&comp=blocklist", parcel.path, content=xml.encode())

    def _blob(self, method: str, address: str, path: str, **options: Any) -> Answer:
        doing = f"{'look for' if method == 'HEAD' else 'upload'} {path} in the workspace's storage"
        if not address.startswith("https://"):
            raise AzureUnreachable(f"Azure could not {doing}: it gave no address.")
        if not self._uses_token:
            try:
                return self._door.wire.ask(method, address, doing=doing, scope=None, **options)
            except StorageAccessDenied as error:
                if error.upstream_code != "KeyBasedAuthenticationNotPermitted":
                    raise
                return self._blob_by_token(method, address, doing, error, **options)
        return self._by_token(method, address, doing, **options)

    def _blob_by_token(
        self, method: str, address: str, doing: str, refused: StorageAccessDenied, **options: Any
    ) -> Answer:
        try:
            answer = self._by_token(method, address, doing, **options)
        except StorageAccessDenied as error:
            # The first refusal is the cause, and its remedy (a role) is the right one.
            refused.log = refused.log or error.what
            raise refused from error
        with self._lock:
            self._uses_token = True
        return answer

    def _by_token(self, method: str, address: str, doing: str, **options: Any) -> Answer:
        """The same without the signature. Our token goes to blob storage alone, whatever an answer says."""
        there = urlsplit(address)
        if ".blob." not in f".{there.hostname or ''}":
            raise AzureUnreachable(f"Azure could not {doing}: {there.hostname} is no blob storage.")
        kept = "&".join(part for part in there.query.split("&") if part.startswith(("comp=", "blockid=")))
        url = f"https://{there.netloc}{there.path}{f'?{kept}' if kept else ''}"
        headers = {**options.pop("headers", {}), "x-ms-version": _STORAGE_VERSION}
        return self._door.wire.ask(method, url, doing=doing, scope=_STORAGE_SCOPE, headers=headers, **options)
