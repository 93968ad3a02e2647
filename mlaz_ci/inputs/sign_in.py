"""Reads who signs in to Azure and where: `creds` or its parts, and the workspace. No secret reaches an error text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlaz_ci.errors import ConflictingInputs, InvalidInput, MissingInput
from mlaz_ci.inputs.row import Kind
from mlaz_ci.inputs.table import INPUTS
from mlaz_ci.inputs.values import parse_value
from mlaz_ci.inputs.wording import listed, nearest, quote
from mlaz_ci.models import Cloud, Secret, SignIn, Workspace

_CREDS_REMEDY: Final = 'Make it with `az ad sp create-for-rbac --json-auth`: {"clientId": …, "clientSecret": …, "subscriptionId": …, "tenantId": …}.'
# What azure/login's JSON has, and what `az ad sp create-for-rbac` prints without --json-auth.
_CREDS_KEYS: Final = frozenset(
    {
        *("clientId", "clientSecret", "tenantId", "subscriptionId", "appId", "password", "tenant", "displayName"),
        *("activeDirectoryEndpointUrl", "activeDirectoryGraphResourceId", "resourceManagerEndpointUrl"),
        *("sqlManagementEndpointUrl", "galleryEndpointUrl", "managementEndpointUrl"),
    }
)
_NEEDED: Final = ("clientId", "clientSecret", "tenantId")
WORKSPACE_INPUTS: Final = ("subscription-id", "resource-group", "workspace-name")
_PARTS: Final = ("client-id", "tenant-id", "client-secret")


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What `creds` holds."""

    client_id: str
    client_secret: Secret
    tenant_id: str
    subscription_id: str | None


def parse_credentials(text: str) -> Credentials:
    """The AZURE_CREDENTIALS JSON of azure/login. Raises InvalidInput, which tells keys and places and never a value."""
    try:
        read = json.loads(text)
    except json.JSONDecodeError as error:
        usually = "The secret was pasted without its braces or quotes, or is not the JSON of azure/login."
        what = f"`creds` is not JSON at line {error.lineno}, column {error.colno}."
        # `from None`: the JSON error carries the whole text.
        raise InvalidInput(what, usually=usually, remedy=_CREDS_REMEDY) from None
    except (ValueError, RecursionError):
        raise InvalidInput("`creds` is not JSON that can be read.", remedy=_CREDS_REMEDY) from None
    if not isinstance(read, dict):
        raise InvalidInput("`creds` is JSON and not an object in braces.", remedy=_CREDS_REMEDY)
    missing = [key for key in _NEEDED if not _text(read, key)]
    if missing:
        near = [f'"{key}" stands where "{right}" belongs' for key, right in _mistaken(read, missing)]
        hint = f" {'; '.join(near)}." if near else ""
        raise InvalidInput(f"`creds` has no text for {', '.join(missing)}.{hint}", remedy=_CREDS_REMEDY)
    return Credentials(
        client_id=_checked("client-id", read, "clientId"),
        client_secret=Secret(_text(read, "clientSecret")),
        tenant_id=_checked("tenant-id", read, "tenantId"),
        subscription_id=_checked("subscription-id", read, "subscriptionId") if _text(read, "subscriptionId") else None,
    )


def _text(read: Mapping[str, Any], key: str) -> str:
    value = read.get(key)
    return value.strip() if isinstance(value, str) else ""


def _mistaken(read: Mapping[str, Any], missing: list[str]) -> list[tuple[str, str]]:
    """Keys that were meant as one of the missing: known misspellings only, so that no pasted secret is repeated as a key."""
    plain = {re.sub(r"[^a-z]", "", str(key).lower()[:40]): str(key) for key in read if str(key) not in _NEEDED}
    other = {"appid": "clientId", "password": "clientSecret", "tenant": "tenantId"}
    found = [(plain[name], right) for name, right in other.items() if name in plain and right in missing]
    return found + [(plain[key.lower()], key) for key in missing if key.lower() in plain]


def _checked(name: str, read: Mapping[str, Any], key: str) -> str:
    """The value in the form of the input of that name; what has another form may be a secret in the wrong place."""
    row, text = INPUTS[name], _text(read, key)
    try:
        return str(parse_value(row, text))
    except InvalidInput:
        raise InvalidInput(f"`creds`: {key} is not {row.form}.", remedy=_CREDS_REMEDY) from None


def parse_sign_in(
    *,
    client_id: str | None,
    tenant_id: str | None,
    client_secret: Secret | None,
    credentials: Credentials | None,
    audience: str | None,
    client_certificate: Secret | None = None,
    client_certificate_password: Secret | None = None,
) -> SignIn | None:
    """How to sign in, or None where nothing was given. Raises ConflictingInputs, MissingInput."""
    certified = client_certificate is not None
    if certified and (client_secret is not None or credentials):
        beside = "creds" if credentials else "client-secret"
        raise ConflictingInputs(f"`client-certificate` was given beside {listed([beside])}.")
    if client_certificate_password is not None and not certified:
        raise MissingInput("`client-certificate-password` was given without `client-certificate`.")
    if certified and (client_id is None or tenant_id is None):
        missing = [name for name, value in (("client-id", client_id), ("tenant-id", tenant_id)) if value is None]
        raise MissingInput(f"`client-certificate` was given without {listed(missing)}.")
    parts = dict(zip(_PARTS, (client_id, tenant_id, client_secret), strict=True))
    given = [name for name, value in parts.items() if value is not None]
    if credentials:
        if given:
            raise ConflictingInputs(f"`creds` was given beside {listed(given)}.")
        client_id, tenant_id, client_secret = credentials.client_id, credentials.tenant_id, credentials.client_secret
    elif client_secret is not None and len(given) < len(_PARTS):
        missing = [name for name in _PARTS if name not in given]
        raise MissingInput(f"`client-secret` was given without {listed(missing)}.")
    if not given and not credentials and audience is None:
        return None
    return SignIn(
        client_id=client_id,
        tenant_id=tenant_id,
        client_secret=client_secret,
        audience=audience,
        client_certificate=client_certificate,
        client_certificate_password=client_certificate_password,
    )


def parse_workspace(
    *, subscription_id: str | None, resource_group: str | None, workspace_name: str | None, cloud: Cloud
) -> Workspace | None:
    """The workspace, or None where nothing of it was given. Raises MissingInput for a part of one."""
    parts = dict(zip(WORKSPACE_INPUTS, (subscription_id, resource_group, workspace_name), strict=True))
    missing = [name for name, value in parts.items() if value is None]
    if len(missing) == len(parts):
        return None
    if subscription_id is None or resource_group is None or workspace_name is None:
        present = [name for name in parts if name not in missing]
        raise MissingInput(f"{listed(missing)} must be given with {listed(present)}: the three name one workspace.")
    return Workspace(subscription_id=subscription_id, resource_group=resource_group, name=workspace_name, cloud=cloud)


def check_tracking_uri(uri: str) -> None:
    """Raises InvalidInput for a scheme that MLflow has no store for."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    if match is None or uri[:80] in _TRACKING_WORDS:
        return
    scheme = match.group(1).lower().partition("+")[0]
    if scheme in _TRACKING_SCHEMES:
        return
    near = nearest(scheme, _TRACKING_SCHEMES)
    hint = f' Did you mean "{near}:…"?' if near else ""
    raise InvalidInput(
        f"`tracking-uri` {quote(uri)} is not the address of an MLflow store.{hint}",
        remedy=f"Use a path or one of {', '.join(f'{each}:' for each in _TRACKING_SCHEMES)}.",
    )


_TRACKING_WORDS: Final = ("databricks", "databricks-uc", "uc")
_TRACKING_SCHEMES: Final = (
    "https", "http", "file", "sqlite", "postgresql", "mysql", "mssql", "azureml", "databricks", "databricks-uc", "uc",
)  # fmt: skip


def secrets_of(given: Mapping[str, object]) -> tuple[str, ...]:
    """Every text in `given` that must be masked, found without trusting any of it; asked before anything is parsed or shown."""
    found: list[str] = []
    for name, row in INPUTS.items():
        value = given.get(name, "")
        if not isinstance(value, str) or not value.strip():
            continue
        if row.kind is Kind.SECRET:
            found += [value.strip(), *_strings_in(value)] if name == "creds" else [value.strip()]
        elif name == "tracking-uri" and (match := re.search(r"//[^/\s:@]*:([^/\s]+)@", value[:4096])):
            found.append(match.group(1))
    return tuple(dict.fromkeys(found))


def _strings_in(creds: str) -> list[str]:
    """What may be the client secret: the text of that key, else every text and every long word."""
    words = re.findall(r"[^\s\"'{}\[\]:,]{8,}", creds[:65_536])
    try:
        read = json.loads(creds)
    except (ValueError, RecursionError):
        return words
    texts = [each.strip() for each in read.values() if isinstance(each, str)] if isinstance(read, dict) else []
    if not (isinstance(read, dict) and _text(read, "clientSecret")):
        texts += words
    # Keys, ids and URLs are no secrets, and masking them would blot out the report.
    return [each for each in texts if each and not _is_public(each)]


def _is_public(text: str) -> bool:
    return (
        text in _CREDS_KEYS
        or text.startswith("https://")
        or bool(re.fullmatch(INPUTS["client-id"].pattern or "", text))
    )
