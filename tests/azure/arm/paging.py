"""Lists in pages, as ARM gives them: a nextLink while there is more."""

from __future__ import annotations

import re
from typing import Any

from tests.azure.arm import versions
from tests.azure.messages import Request


def page(request: Request, listed: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """`size` 0: everything at once."""
    start = int(request.query.get("$skip", "0") or 0)
    if not size or start + size >= len(listed):
        return {"value": listed[start:]}
    bare = re.sub(r"&\$skip=[^&]*", "", request.target)
    link = f"https://{versions.HOST}{bare}&$skip={start + size}"
    return {"value": listed[start : start + size], "nextLink": link}
