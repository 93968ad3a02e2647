"""Files in a blob datastore of the workspace, or in a container that a model's URI names: read from storage itself.

The artifact service does not know them. What a datastore has of secrets opens it; where it has none, our own token does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.mlflow_store.records import ENTRY_LIMIT, Missing, safe_path
from mlaz_ci.adapters.mlflow_store.workspace.blobs import VERSION, Address, Blobs, SignatureRefused, not_taken
from mlaz_ci.adapters.mlflow_store.workspace.places import File
from mlaz_ci.errors import (
    AzureUnreachable,
    ModelNotServable,
    NotFound,
    RefusedByAzure,
    RoleMissing,
    StoreNotSupported,
    WorkspaceNotFound,
)
from mlaz_ci.models import Secret

_LIFETIME: Final = timedelta(hours=1)
# Clocks differ: what is signed is valid from a little before now.
_SLACK: Final = timedelta(minutes=10)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


class BlobContainer:
    """A container of a storage account. `sign` gives the query that opens it, or None for our own token; asked once an hour at most."""

    reads_by_name = False

    def __init__(
        self,
        url: str,
        blobs: Blobs,
        *,
        sign: Callable[[], Secret | None],
        now: Callable[[], datetime],
        label: str,
    ) -> None:
        self.label = label
        self._url = url
        self._blobs = blobs
        self._sign = sign
        self._now = now
        self._lock = threading.Lock()
        self._signed: tuple[datetime, Secret | None] | None = None

    def files(self, prefix: str) -> Mapping[str, File]:
        """One request for 5000 files. The empty blobs that stand for folders are left out."""
        found: dict[str, File] = {}
        for name, size_bytes in self._listed(prefix):
            if prefix and name != prefix and not name.startswith(f"{prefix}/"):
                continue
            found[safe_path(name)] = File(address=self._at(name), size_bytes=size_bytes)
            if len(found) > ENTRY_LIMIT:
                raise ModelNotServable(f"{self.label} holds more than {ENTRY_LIMIT} files below {prefix}.")
        return found

    def address(self, path: str) -> Address:
        """Signed anew: it is asked for where the one that was listed is not taken."""
        with self._lock:
            self._signed = None
        return self._at(path)

    def _at(self, path: str) -> Address:
        return Address(url=f"{self._url}/{quote(path)}", signature=self._signature())

    def read(self, path: str, limit_bytes: int) -> bytes:
        return self._blobs.read(self.address(path), limit_bytes, path=path)

    def write(self, path: str, content: bytes) -> None:  # noqa: ARG002 - the protocol's
        raise StoreNotSupported(f"{path} is not written: nothing is ever changed in {self.label}.")

    def _signature(self) -> Secret | None:
        with self._lock:
            if self._signed is None or self._now() - self._signed[0] > _LIFETIME / 2:
                self._signed = (self._now(), self._sign())
            return self._signed[1]

    def _listed(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        marker = ""
        while True:
            asked = {"restype": "container", "comp": "list", "include": "metadata", "prefix": prefix}
            query = urlencode({**asked, **({"marker": marker} if marker else {})})
            root = _xml(self._ask(query))
            for blob in root.iter("Blob"):
                if (blob.findtext("Metadata/hdi_isfolder") or "").lower() != "true":
                    size = blob.findtext("Properties/Content-Length") or ""
                    yield blob.findtext("Name") or "", int(size) if size.isdigit() else None
            marker = root.findtext("NextMarker") or ""
            if not marker:
                return

    def _ask(self, query: str) -> str:
        path = f"the list of {self.label}"
        try:
            address = Address(url=self._url, signature=self._signature())
            return self._blobs.ask("GET", address, path=path, query=query).text
        except SignatureRefused as error:
            raise not_taken(path, error) from error


def open_datastore(door: WorkspaceDoor, name: str, blobs: Blobs, now: Callable[[], datetime]) -> BlobContainer:
    """Raises Missing where there is no such datastore, StoreNotSupported where it is no container of blobs."""
    below = f"/datastores/{quote(name, safe='')}"
    try:
        told = door.arm("GET", below, doing=f'read the datastore "{name}"').object.get("properties")
    except WorkspaceNotFound:
        raise
    except NotFound as error:
        raise Missing(f'the datastore "{name}" is not there any more: {error.what}', error.upstream_code) from error
    facts = told if isinstance(told, dict) else {}
    account, container = str(facts.get("accountName") or ""), str(facts.get("containerName") or "")
    endpoint = str(facts.get("endpoint") or "core.windows.net")
    if facts.get("datastoreType") != "AzureBlob" or not re.fullmatch(r"[a-z0-9]+", account) or not container:
        raise StoreNotSupported(
            f'The model lies in the datastore "{name}", a {facts.get("datastoreType")}, of which this version reads blobs alone.',
            usually="The model was registered from a data lake or a file share.",
            remedy="Register the model from a run or a blob datastore, or download its folder in an earlier step and pass that as `model-uri`.",
        )

    def sign() -> Secret | None:
        told = _secrets_of(door, below, name)
        if key := told.get("key"):
            blobs.hide(str(key))
            return Secret(sign_container(str(key), account, container, now()))
        token = told.get("sasToken")
        return Secret(str(token).lstrip("?")) if token else None

    url = f"https://{account}.blob.{endpoint}/{quote(container)}"
    return BlobContainer(url, blobs, sign=sign, now=now, label=f'the datastore "{name}"')


def _secrets_of(door: WorkspaceDoor, below: str, name: str) -> Mapping[str, object]:
    """Empty where it has none, or this identity may not have them: its own token may do."""
    try:
        return door.arm("POST", f"{below}/listSecrets", doing=f'open the datastore "{name}"', repeatable=True).object
    except (RefusedByAzure, RoleMissing):
        return {}


def sign_container(key: str, account: str, container: str, now: datetime) -> str:
    """A service SAS to read and list one container for an hour, by Microsoft's rules for versions since 2020-12-06."""
    start, expiry = (now - _SLACK).strftime(_TIME), (now + _LIFETIME).strftime(_TIME)
    signed = ["rl", start, expiry, f"/blob/{account}/{container}", "", "", "https", VERSION, "c", "", "", *[""] * 5]
    try:
        secret = base64.b64decode(key, validate=True)
    except ValueError as error:
        raise AzureUnreachable("Azure gave a key of the storage account that is none.") from error
    digest = base64.b64encode(hmac.new(secret, "\n".join(signed).encode(), hashlib.sha256).digest()).decode()
    fields = {"sv": VERSION, "st": start, "se": expiry, "sr": "c", "sp": "rl", "spr": "https", "sig": digest}
    return urlencode(fields, quote_via=quote)


def _xml(text: str) -> ET.Element:
    try:
        return ET.fromstring(text)  # noqa: S314 - Azure Storage's own answer; expat bounds what entities unfold to
    except ET.ParseError as error:
        raise AzureUnreachable("Azure Storage answered something else than its list of blobs.") from error
