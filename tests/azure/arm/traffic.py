"""The rules of traffic: shares that sum to nothing or to everything, between deployments that exist."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tests.azure.arm.workspaces import Visit

_MOST_MIRRORED = 50


def check(found: Visit, properties: dict[str, Any], deployments: Collection[str], *, kubernetes: bool) -> None:
    """Refuses what Azure refuses of `traffic` and `mirrorTraffic`; absent or null means unchanged."""
    known = {name.lower() for name in deployments}
    live = properties.get("traffic") or {}
    mirror = {name: share for name, share in (properties.get("mirrorTraffic") or {}).items() if share}
    for name, share in {**live, **mirror}.items():
        if not isinstance(share, int) or isinstance(share, bool) or not 0 <= share <= 100:
            raise _refused(found, f"Traffic of deployment {name} must be a whole number from 0 to 100, not {share!r}.")
        if share and name.lower() not in known:
            raise _refused(found, f"Deployment {name} does not exist on this endpoint: traffic cannot be sent to it.")
    if sum(live.values()) not in {0, 100}:
        raise _refused(found, f"The sum of traffic must be 0 or 100, not {sum(live.values())}.")
    if not mirror:
        return
    if kubernetes:
        raise _refused(found, "Mirror traffic is not supported by Kubernetes online endpoints.")
    (name, share), *others = mirror.items()
    if others or share > _MOST_MIRRORED:
        raise _refused(found, f"Traffic can be mirrored to one deployment alone, by {_MOST_MIRRORED} percent at most.")
    if live.get(name):
        raise _refused(found, f"Deployment {name} takes live traffic: it cannot take mirrored traffic too.")


def _refused(found: Visit, text: str) -> Exception:
    return found.bad_request(("InferencingClientCallFailed", text))
