"""Who may touch a blob: SAS, account key or Entra token, as Azure Storage checks them; and its refusals, in its XML.

Knows no operation on blobs: a room names the permission it needs.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.azure import storage
from tests.azure.access import STORAGE, Denied, require_token
from tests.azure.arm.workspaces import Workspaces
from tests.azure.clock import iso8601
from tests.azure.messages import Headers, Refusal, Request, Response
from tests.azure.roles import Assignments
from tests.azure.state import Cloud

_SERVER = "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_SIGNED_HEADERS = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type", "date"),
    *("if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)
_FAILED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
    "including the signature."
)


class Need(StrEnum):
    """What an operation does; the value is its letter in a SAS."""

    READ = "r"
    WRITE = "w"
    CREATE = "c"
    DELETE = "d"
    LIST = "l"


_ACTIONS = {
    Need.READ: f"{_BLOBS}/read",
    Need.LIST: f"{_BLOBS}/read",
    Need.WRITE: f"{_BLOBS}/write",
    Need.CREATE: f"{_BLOBS}/write",
    Need.DELETE: f"{_BLOBS}/delete",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a request is about; `blob` is "" for a container as a whole, and `container` for the account."""

    account: storage.Account
    container: str = ""
    blob: str = ""


def standard_headers(cloud: Cloud, request: Request) -> dict[str, str]:
    found = {
        "Server": _SERVER,
        "x-ms-request-id": cloud.new_id(),
        "x-ms-version": request.headers.get("x-ms-version") or request.query.get("sv", storage.SAS_VERSION),
    }
    if said := request.headers.get("x-ms-client-request-id"):
        found["x-ms-client-request-id"] = said
    if request.method in {"GET", "HEAD"}:
        found["Vary"] = "Origin"
    return found


def refusal(
    cloud: Cloud, request: Request, status: int, code: str, message: str, *, more: dict[str, str] | None = None
) -> Refusal:
    headers = {**standard_headers(cloud, request), "x-ms-error-code": code, **(more or {})}
    if request.method == "HEAD" or status == 304:
        return Refusal(Response(status=status, headers=Headers(headers)))
    told = f"{message}\nRequestId:{headers['x-ms-request-id']}\nTime:{iso8601(cloud.clock)}"
    text = f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{escape(told)}</Message></Error>'
    return Refusal(Response.text(text, status=status, content_type="application/xml").with_headers(dict(headers)))


def require(cloud: Cloud, request: Request, place: Place, need: Need) -> None:
    """Lets the request pass, or raises Azure's refusal."""
    account = place.account
    if not account.allows_public_network:
        raise refusal(
            cloud, request, 403, "AuthorizationFailure", "This request is not authorized to perform this operation."
        )
    scheme, _, said = request.headers.get("Authorization").partition(" ")
    if "sig" in request.query:
        _require_sas(cloud, request, place, need)
    elif scheme.lower() == "bearer":
        _require_role(cloud, request, account, need)
    elif scheme.lower() == "sharedkey":
        _require_key(cloud, request, account, said)
    else:
        raise refusal(
            cloud, request, 409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account."
        )


def _require_sas(cloud: Cloud, request: Request, place: Place, need: Need) -> None:
    # Whoever may write may create as well; the letter c alone is for what is not there yet.
    wanted = Need.WRITE if need is Need.CREATE and "w" in request.query.get("sp", "") else need
    why = storage.sas_refusal(cloud, place.account.name, place.container, place.blob, request.query_string, wanted)
    if why == "KeyBasedAuthenticationNotPermitted":
        raise _no_keys(cloud, request)
    if why.startswith("the token's permissions"):
        raise _mismatch(cloud, request)
    if why:
        detail = {"x-ms-auth-detail": why}
        raise refusal(cloud, request, 403, "AuthenticationFailed", f"{_FAILED} {why[0].upper()}{why[1:]}.", more=detail)


def _no_keys(cloud: Cloud, request: Request) -> Refusal:
    message = "Key based authentication is not permitted on this storage account."
    return refusal(cloud, request, 403, "KeyBasedAuthenticationNotPermitted", message)


def _mismatch(cloud: Cloud, request: Request) -> Refusal:
    message = "This request is not authorized to perform this operation using this permission."
    return refusal(cloud, request, 403, "AuthorizationPermissionMismatch", message)


def _scope(cloud: Cloud, account: str) -> str:
    """The account's resource id, through the workspace it belongs to."""
    for workspace in cloud.state(Workspaces).by_key.values():
        if workspace.storage_account == account:
            return workspace.of_group("Microsoft.Storage/storageAccounts", account)
    return f"/storageAccounts/{account}"


def _require_role(cloud: Cloud, request: Request, account: storage.Account, need: Need) -> None:
    """Data actions alone count here: an owner of the account may still read no blob by token."""
    try:
        caller = require_token(request, cloud, audience=(*STORAGE, account.url))
    except Denied as denied:
        message = (
            "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
        )
        challenge = {
            "WWW-Authenticate": "Bearer authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize "
            "resource_id=https://storage.azure.com"
        }
        raise refusal(cloud, request, 401, "InvalidAuthenticationInfo", message, more=challenge) from denied
    held = cloud.state(Assignments).roles(caller.object_id, _scope(cloud, account.name))
    granted = [pattern for role in held for pattern in role.data_actions]
    if not any(fnmatch.fnmatchcase(_ACTIONS[need].lower(), pattern.lower()) for pattern in granted):
        raise _mismatch(cloud, request)


def _require_key(cloud: Cloud, request: Request, account: storage.Account, said: str) -> None:
    if not account.allows_shared_key:
        raise _no_keys(cloud, request)
    name, _, signature = said.strip().partition(":")
    right = base64.b64encode(
        hmac.new(base64.b64decode(account.key), string_to_sign(request, account.name).encode(), hashlib.sha256).digest()
    ).decode()
    if name != account.name or not hmac.compare_digest(signature.encode(), right.encode()):
        raise refusal(cloud, request, 403, "AuthenticationFailed", _FAILED)


def string_to_sign(request: Request, account: str) -> str:
    """What SharedKey signs, by the rules for versions since 2015-02-21."""
    plain = [request.headers.get(name) for name in _SIGNED_HEADERS]
    if plain[2] == "0":
        plain[2] = ""
    named = sorted((name.lower(), value) for name, value in request.headers if name.lower().startswith("x-ms-"))
    if any(name == "x-ms-date" for name, _ in named):
        plain[5] = ""
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query_string, keep_blank_values=True):
        query.setdefault(name.lower(), []).append(value)
    return "\n".join(
        [
            request.method,
            *plain,
            *(f"{name}:{value}" for name, value in named),
            f"/{account}{request.target.partition('?')[0]}",
            *(f"{name}:{','.join(sorted(values))}" for name, values in sorted(query.items())),
        ]
    )
