"""JSON Patch (RFC 6902), as far as Azure's clients write it. Knows no resource."""

from __future__ import annotations

import copy
from typing import Any


class BadPatch(Exception):
    """An operation that cannot be applied."""


def applied(document: dict[str, Any], operations: list[Any]) -> dict[str, Any]:
    """A patched copy; the document itself stays as it is, also when an operation fails."""
    found = copy.deepcopy(document)
    for operation in operations:
        if not isinstance(operation, dict) or not str(operation.get("path", "")).startswith("/"):
            raise BadPatch(f"{operation!r} is no operation on a path")
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"][1:].split("/"))
        target = _parent(found, parents, operation["path"])
        match str(operation.get("op", "")).lower():
            case "add" | "replace":
                target[last] = copy.deepcopy(operation.get("value"))
            case "remove":
                if last not in target:
                    raise BadPatch(f"{operation['path']} is not there to be removed")
                del target[last]
            case "test":
                if target.get(last) != operation.get("value"):
                    raise BadPatch(f"{operation['path']} is not what the test says")
            case other:
                raise BadPatch(f"the operation {other!r} is not supported")
    return found


def _parent(document: dict[str, Any], parents: list[str], path: str) -> dict[str, Any]:
    target: Any = document
    for name in parents:
        # A service sends null for an object it has no value for; clients write below it all the same.
        if isinstance(target, dict) and target.get(name) is None:
            target[name] = {}
        target = target.get(name) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        raise BadPatch(f"{path} lies below something that is no object")
    return target
