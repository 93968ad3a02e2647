"""Storage accounts as data: what uploads land in and deployments are served from. Knows no HTTP.

The blob room speaks Azure Storage's protocol over this; other rooms issue SAS tokens and read what was uploaded.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

from tests.azure import world
from tests.azure.state import Cloud

SAS_VERSION = "2021-12-02"
ARTIFACT_CONTAINER = "azureml"
BLOB_CONTAINER = f"azureml-blobstore-{world.WORKSPACE_ID}"
_SAS_TIME = "%Y-%m-%dT%H:%M:%SZ"
# The response headers a service SAS may fix, in the order they are signed.
_OVERRIDES = ("rscc", "rscd", "rsce", "rscl", "rsct")


@dataclass(slots=True, kw_only=True)
class Blob:
    """A committed blob; its content lies in `file`, below the room's folder."""

    file: str
    size: int
    etag: str
    last_modified_s: float
    content_type: str = "application/octet-stream"
    content_md5: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    # Content-Encoding and the like, as the client set them.
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Container:
    name: str
    blobs: dict[str, Blob] = field(default_factory=dict)
    # By blob, the blocks that are uploaded and not yet committed: block id to file.
    blocks: dict[str, dict[str, str]] = field(default_factory=dict)
    created_s: float = 0.0


def _key(text: str) -> str:
    """64 bytes, as Azure's account keys are; the same in every cloud, so that tests may know it."""
    return base64.b64encode(hashlib.sha512(text.encode()).digest()).decode()


@dataclass(slots=True, kw_only=True)
class Account:
    name: str
    containers: dict[str, Container] = field(default_factory=dict)
    # Switched off by policy in many companies: then only Entra tokens and user delegation SAS are taken.
    allows_shared_key: bool = True
    allows_public_network: bool = True

    @property
    def key(self) -> str:
        return _key(f"{self.name}/key1")

    @property
    def url(self) -> str:
        return f"https://{self.name}.blob.core.windows.net"


def _default_account() -> Account:
    names = (BLOB_CONTAINER, ARTIFACT_CONTAINER)
    return Account(name=world.STORAGE_ACCOUNT, containers={name: Container(name=name) for name in names})


@dataclass(slots=True)
class Accounts:
    """Every storage account: cloud.state(storage.Accounts)."""

    by_name: dict[str, Account] = field(default_factory=lambda: {world.STORAGE_ACCOUNT: _default_account()})

    def container(self, account: str, name: str) -> Container | None:
        found = self.by_name.get(account)
        return found.containers.get(name) if found else None


def file_of(cloud: Cloud, file: str) -> Path:
    """Where a `Blob.file` lies."""
    return cloud.room_folder("blob") / file


def new_file(cloud: Cloud) -> tuple[str, Path]:
    """A fresh name for content, and where to write it."""
    name = uuid.uuid4().hex
    return name, file_of(cloud, name)


def write(cloud: Cloud, account: str, container: str, name: str, content: bytes) -> Blob:
    """Puts a blob there, container included: how a room or a test places what a client would have uploaded."""
    file, path = new_file(cloud)
    path.write_bytes(content)
    blob = Blob(
        file=file, size=len(content), etag=f'"0x{uuid.uuid4().hex[:15].upper()}"', last_modified_s=cloud.clock.now_s()
    )
    blob.content_md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    held = cloud.state(Accounts).by_name.setdefault(account, Account(name=account))
    held.containers.setdefault(container, Container(name=container)).blobs[name] = blob
    return blob


def under(cloud: Cloud, account: str, container: str, prefix: str) -> Iterator[tuple[str, Path]]:
    """The blobs at `prefix` or in the folder of that name: their path below it ("" for a lone blob) and their file.

    Without a prefix it is the container itself that is meant.
    """
    held = cloud.state(Accounts).container(account, container)
    folder = f"{prefix.rstrip('/')}/" if prefix else ""
    for name, blob in sorted((held.blobs if held else {}).items()):
        if name == prefix:
            yield "", file_of(cloud, blob.file)
        elif name.startswith(folder):
            yield name[len(folder) :], file_of(cloud, blob.file)


def issue_sas(
    cloud: Cloud, account: str, container: str, *, blob: str = "", permissions: str = "rl", lifetime_s: float = 3600.0
) -> str:
    """A service SAS for a container, or for one blob of it, signed with the account's key."""
    now = dt.datetime.fromtimestamp(cloud.clock.now_s(), dt.UTC)
    fields = {
        "sv": SAS_VERSION,
        # As the portal does: clients whose clock runs a little behind are let in.
        "st": (now - dt.timedelta(minutes=10)).strftime(_SAS_TIME),
        "se": (now + dt.timedelta(seconds=lifetime_s)).strftime(_SAS_TIME),
        "sr": "b" if blob else "c",
        "sp": permissions,
    }
    held = cloud.state(Accounts).by_name[account]
    fields["sig"] = sign_sas(held, container, blob, fields)
    return urlencode(fields, quote_via=quote)


def sign_sas(account: Account, container: str, blob: str, fields: dict[str, str]) -> str:
    """The signature of a service SAS (sr=b or c), by the rules for sv=2020-12-06 and later."""
    resource = f"/blob/{account.name}/{container}" + (f"/{blob}" if fields["sr"] == "b" else "")
    signed = [
        *(fields.get(name, "") for name in ("sp", "st", "se")),
        resource,
        *(fields.get(name, "") for name in ("si", "sip", "spr", "sv", "sr")),
        "",
        fields.get("ses", ""),
        *(fields.get(name, "") for name in _OVERRIDES),
    ]
    digest = hmac.new(base64.b64decode(account.key), "\n".join(signed).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def sas_refusal(  # noqa: PLR0917  # the request's own parts, in the order they are checked
    cloud: Cloud, account: str, container: str, blob: str, query: str, permission: str
) -> str:
    """Why a service SAS does not allow `permission` (one letter of `sp`) on this blob; "" when it does."""
    fields = dict(parse_qsl(query, keep_blank_values=True))
    held = cloud.state(Accounts).by_name.get(account)
    if held is None or not {"sv", "sr", "sig", "se", "sp"} <= fields.keys():
        return "the token is incomplete"
    if not held.allows_shared_key and "skoid" not in fields:
        return "KeyBasedAuthenticationNotPermitted"
    if not hmac.compare_digest(sign_sas(held, container, blob, fields).encode(), fields["sig"].encode()):
        return "the signature does not match"
    now_s = cloud.clock.now_s()
    try:
        is_valid = _seconds(fields.get("st", "1970-01-01T00:00:00Z")) <= now_s < _seconds(fields["se"])
    except ValueError:
        return "the token's times are not in their format"
    if not is_valid:
        return "the token is not valid at this time"
    return "" if permission in fields["sp"] else f"the token's permissions ({fields['sp']}) lack {permission}"


def _seconds(text: str) -> float:
    moment = dt.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
