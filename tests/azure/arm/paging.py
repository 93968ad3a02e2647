"""Lists in pages, as ARM gives them: a nextLink while there is more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tests.azure.arm import answers, versions
from tests.azure.messages import Request
from tests.azure.state import Cloud


@dataclass(slots=True)
class Pages:
    """How much a page holds where the request does not say: cloud.state(paging.Pages).size = 2; 0 is everything."""

    size: int = 0


def size(request: Request, name: str) -> int:
    """What the request says of a page's size by its parameter `name`; 0 when it says nothing."""
    return _number(request, name)


def _number(request: Request, name: str) -> int:
    said = request.query.get(name, "")
    if not said:
        return 0
    if not (said.isascii() and said.isdigit()):
        text = f"The value {said!r} of the query parameter {name} is not a number that is zero or more."
        raise answers.arm_refusal(400, "InvalidQueryParameterValue", text)
    return int(said)


def page(cloud: Cloud, request: Request, listed: list[dict[str, Any]], asked: int = 0) -> dict[str, Any]:
    """The page a request is for; `asked`: how much it shall hold, 0 where the request does not say."""
    held = asked or cloud.state(Pages).size
    start = _number(request, "$skip")
    if not held or start + held >= len(listed):
        return {"value": listed[start:]}
    # A client may have written the parameter's name its own way when it followed the link before.
    kept = [part for part in request.query_string.split("&") if unquote(part).partition("=")[0].lower() != "$skip"]
    path = request.target.partition("?")[0]
    link = f"https://{versions.HOST}{path}?{'&'.join([*kept, f'$skip={start + held}'])}"
    return {"value": listed[start : start + held], "nextLink": link}
