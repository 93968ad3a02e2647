"""The door of model management v1: its paths, headers, flat errors, and lists. Rooms behind it: models, services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from tests.azure import json_patch, regional, world
from tests.azure.messages import Request, Response
from tests.azure.molds import Mold, misfit
from tests.azure.regional import Fault, Visit
from tests.azure.routing import Params
from tests.azure.state import Cloud

BASE = "/modelmanagement/v1.0" + world.WORKSPACE_TEMPLATE
_CODES = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}
_PAGE = 255


def shape(cloud: Cloud, region: str, fault: Fault) -> dict[str, Any]:
    """Flat, without the `error` that ARM wraps around it."""
    details = fault.details if fault.details or fault.status in {401, 404} else ((fault.code, fault.message),)
    return {
        "code": _CODES.get(fault.status, fault.code),
        "statusCode": fault.status,
        "message": fault.message,
        "details": [{"code": code, "message": text} for code, text in details],
    }


def visit(request: Request, params: Params, cloud: Cloud, action: str) -> Visit:
    return regional.visit(request, params, cloud, action, shape)


def _headers(found: Visit) -> dict[str, str]:
    """As azureml-core printed them in a public thread."""
    return {
        "Request-Context": "appId=cid-v1:2d2e8e63-272e-4b3c-8598-4ee570a0e70d",
        "api-supported-versions": "1.0, 2018-03-01-preview, 2018-11-19",
        "x-ms-client-request-id": found.request.headers.get("x-ms-client-request-id")
        or found.cloud.new_id().replace("-", ""),
        "x-ms-client-session-id": "",
        "Strict-Transport-Security": "max-age=15724800; includeSubDomains; preload",
    }


def reply(found: Visit, value: Any, *, status: int = 200, more: dict[str, str] | None = None) -> Response:
    return regional.reply(value, status=status, more={**_headers(found), **(more or {})})


def empty(found: Visit, status: int = 200, more: dict[str, str] | None = None) -> Response:
    return regional.empty(status, {**_headers(found), **(more or {})})


def patched(found: Visit, document: dict[str, Any], allowed: Iterable[str]) -> dict[str, Any]:
    """The document with the request's JSON Patch applied; `allowed` are the members that may change."""
    operations = found.body([object])
    for operation in operations:
        member = str(operation.get("path", "") if isinstance(operation, dict) else "")[1:].partition("/")[0]
        if member not in set(allowed):
            message = (
                f"The path {operation.get('path') if isinstance(operation, dict) else operation!r} cannot be updated."
            )
            raise found.refusal(400, "BadRequest", "The request is invalid", ("InvalidPatchPath", message))
    try:
        return json_patch.applied(document, operations)
    except json_patch.BadPatch as bad:
        raise found.refusal(400, "BadRequest", "The request is invalid", ("InvalidPatch", str(bad))) from bad


def checked(found: Visit, value: Any, mold: Mold) -> Any:
    """What a patch has made of a document, when it still is one."""
    if path := misfit(value, mold):
        raise found.refusal(
            400, "BadRequest", "The request is invalid", ("InvalidPatch", f"{path} is of another type.")
        )
    return value


def page(found: Visit, entries: list[dict[str, Any]]) -> dict[str, Any]:
    query = found.request.query
    said, token = query.get("count", ""), query.get("$skiptoken", "0")
    size = min(int(said), _PAGE) if said.isascii() and said.isdigit() and int(said) else _PAGE
    start = int(token) if token.isascii() and token.isdigit() else 0
    found_page: dict[str, Any] = {"value": entries[start : start + size]}
    # azureml-core follows `nextLink` whenever it is there, also when it is null.
    if start + size < len(entries):
        kept = [
            part for part in found.request.query_string.split("&") if part and not part.lower().startswith("$skiptoken")
        ]
        asked = "&".join([*kept, f"$skipToken={start + size}"])
        found_page["nextLink"] = f"{found.base}{found.request.target.partition('?')[0]}?{asked}"
    return found_page


def has_pairs(found: Visit, name: str, pairs: dict[str, str] | None) -> bool:
    """Whether what `tags` or `properties` asks for is there: `key` or `key=value`, several by commas or repeated."""
    asked = [value for key, value in parse_qsl(found.request.query_string) if key.lower() == name]
    for entry in (part.strip() for value in asked for part in value.split(",") if part.strip()):
        key, is_pair, value = entry.partition("=")
        if key not in (pairs or {}) or (is_pair and (pairs or {})[key] != value):
            return False
    return True
