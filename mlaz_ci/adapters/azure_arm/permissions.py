"""Whether a list of Azure permissions covers what a deploy does. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, Final

_WORKSPACE: Final = "Microsoft.MachineLearningServices/workspaces"
# By the operations of this room: what is read, made and deleted, and the keys that the smoke test calls with.
NEEDED: Final = tuple(
    f"{_WORKSPACE}/{each}"
    for each in (
        "models/versions/write",
        "environments/versions/write",
        "codes/versions/write",
        "onlineEndpoints/write",
        "onlineEndpoints/delete",
        "onlineEndpoints/listKeys/action",
        "onlineEndpoints/deployments/write",
        "onlineEndpoints/deployments/delete",
        "onlineEndpoints/deployments/getLogs/action",
    )
)


def missing_actions(permissions: Sequence[Mapping[str, Any]], needed: Sequence[str] = NEEDED) -> tuple[str, ...]:
    """Those that no entry allows. An entry is one role's: its notActions take from that role alone."""
    return tuple(each for each in needed if not any(_allows(entry, each) for entry in permissions))


def _allows(entry: Mapping[str, Any], action: str) -> bool:
    return _matches(entry.get("actions"), action) and not _matches(entry.get("notActions"), action)


def _matches(patterns: Any, action: str) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), str(each).lower()) for each in patterns or ())
