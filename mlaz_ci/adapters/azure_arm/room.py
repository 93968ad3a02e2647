"""Whether there is leave and room for a change, looked for before it is made: roles, cores, places. It only reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mlaz_ci.adapters.azure_arm.permissions import missing_actions
from mlaz_ci.adapters.azure_arm.seen import Deployment
from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import MlazError
from mlaz_ci.models import AzureShape, Command, Finding, Request, Severity, Strategy, Target
from mlaz_ci.targets.managed import DEFAULT_INSTANCE_TYPE

_AUTHORIZATION_VERSION: Final = "2022-04-01"
# "Manage and increase quotas": a fifth more cores than the instances have are set aside for upgrades, on most sizes.
_RESERVE: Final = 1.2
# The same page: online endpoints of a subscription in a region. Only this workspace's can be counted.
_MOST_ENDPOINTS: Final = 100
# The same page: deployments of an endpoint.
_MOST_DEPLOYMENTS: Final = 20
# (quota family, cores) of the sizes that `cpu-cores` and `memory-gb` become, so that the region need not be asked for all of its own.
_KNOWN_SIZES: Final = {
    "standard_ds1_v2": ("standardDSv2Family", 1),
    "standard_ds2_v2": ("standardDSv2Family", 2),
    "standard_ds3_v2": ("standardDSv2Family", 4),
    "standard_f2s_v2": ("standardFSv2Family", 2),
    "standard_f4s_v2": ("standardFSv2Family", 4),
    "standard_e2s_v3": ("standardESv3Family", 2),
    "standard_e4s_v3": ("standardESv3Family", 4),
}


class RoomInspection:
    """`deployments` are those of the endpoint now, `live` the one of them that serves."""

    def __init__(
        self, door: WorkspaceDoor, request: Request, deployments: Sequence[Deployment], live: Deployment | None
    ) -> None:
        self._door = door
        self._request = request
        assert isinstance(request.shape, AzureShape)
        self._shape = request.shape
        self._deployments = deployments
        self._live = live

    def findings(self) -> tuple[Finding, ...]:
        is_kubernetes = self._request.target is Target.KUBERNETES
        return (
            *self._roles(),
            *(() if is_kubernetes else self._quota()),
            *self._endpoints(),
            *self._places(),
        )

    def _size(self) -> str:
        """A new deployment takes over the size of the one that serves."""
        of_live = self._live.properties.get("instanceType") if self._live else None
        return self._shape.instance_type or of_live or DEFAULT_INSTANCE_TYPE

    def _instances(self) -> int:
        """How many more there will be than now, while both deployments are there."""
        now = self._live.capacity if self._live else 0
        if self._live is not None and self._request.strategy in {Strategy.IN_PLACE, Strategy.RECREATE}:
            return max(0, (self._shape.instance_count or now) - now)
        return max(self._shape.instance_count or 1, now)

    def _roles(self) -> Iterator[Finding]:
        """The workspace's own permissions interface tells what this identity may, groups included."""
        try:
            answer = self._door.arm(
                "GET",
                "/providers/Microsoft.Authorization/permissions",
                doing="read what this identity may do in the workspace",
                api_version=_AUTHORIZATION_VERSION,
            )
        except MlazError as error:
            yield Finding(code="roles-unknown", severity=Severity.NOTICE, what=error.what, remedy=error.remedy_text)
            return
        missing = missing_actions(answer.object.get("value") or ())
        if missing:
            listed = ", ".join(missing)
            yield Finding(
                code="role-missing",
                severity=Severity.ERROR,
                what=f"This identity may not do what a deploy needs: {listed}.",
                usually="It has no role in the workspace that allows this, or was given it minutes ago and it does not show yet.",
                remedy=(
                    "Have the role AzureML Data Scientist assigned to it: "
                    f'`az role assignment create --role "AzureML Data Scientist" --assignee OBJECT-ID --scope {self._door.path}`.'
                ),
            )

    def _quota(self) -> Iterator[Finding]:
        size = self._size()
        if known := _KNOWN_SIZES.get(size.lower()):
            yield from self._cores(size, *known)
            return
        found = self._size_of_region(size)
        if found is None:
            return
        if not found:
            yield Finding(
                code="size-unknown",
                severity=Severity.ERROR,
                what=f"The region {self._door.facts.location} has no VM size {size}.",
                usually="It is mistyped, or not offered in this region.",
                remedy="Give `instance-type` another size; `az ml compute list-sizes` tells the region's.",
            )
            return
        yield from self._cores(size, str(found.get("family") or ""), int(found.get("vCPUs") or 0))

    def _size_of_region(self, name: str) -> Mapping[str, Any] | None:
        """What the region says of a size; {} where it has none of that name, None where it does not tell."""
        sizes = self._location("vmSizes", "read the region's VM sizes")
        if not sizes:
            return None
        return next((each for each in sizes if str(each.get("name")).lower() == name.lower()), {})

    def _cores(self, size: str, family: str, cores: int) -> Iterator[Finding]:
        instances = self._instances()
        if not instances:
            return
        needed = math.ceil(instances * _RESERVE) * cores
        for usage in self._location("usages", "read the subscription's quota"):
            name = usage.get("name") or {}
            used, limit = int(usage.get("currentValue") or 0), int(usage.get("limit") or 0)
            value = str(name.get("value") or "")
            if value.lower() == family.lower() and limit >= 0 and used + needed > limit:
                yield Finding(
                    code="quota-short",
                    severity=Severity.ERROR,
                    what=(
                        f"{name.get('localizedValue') or family} in {self._door.facts.location}: {used} of {limit} cores are used, and "
                        f"{instances} of {size} need {needed}, the fifth included that Azure sets aside for upgrades."
                    ),
                    usually="A new version runs beside the old one until it has the traffic, so both need room.",
                    remedy="Ask for more quota (Azure portal, Quotas), use `strategy: in-place`, or choose another `instance-type`.",
                )
            if "endpoint" in value.lower() and 0 < limit <= used:
                yield Finding(
                    code="endpoints-used-up",
                    severity=Severity.WARNING,
                    what=f"{name.get('localizedValue') or value} in {self._door.facts.location}: {used} of {limit} are used.",
                    remedy="Delete endpoints that are no longer used, or ask for more quota.",
                )

    def _location(self, what: str, doing: str) -> tuple[Mapping[str, Any], ...]:
        """A list that the region keeps; nothing where it may not be read: a guess is no ground to refuse a deploy."""
        path = (
            f"/subscriptions/{self._door.workspace.subscription_id}/providers/Microsoft.MachineLearningServices"
            f"/locations/{self._door.facts.location}/{what}"
        )
        try:
            answer = self._door.arm_at("GET", path, doing=doing, api_version="2024-04-01")
        except MlazError:
            return ()
        return tuple(each for each in answer.object.get("value") or () if isinstance(each, dict))

    def _endpoints(self) -> Iterator[Finding]:
        """Counted by the doctor alone: a deploy to an endpoint that is there needs no room for another."""
        if self._request.command is not Command.DOCTOR:
            return
        names = {str(each.get("name")) for each in self._door.arm_pages("/onlineEndpoints", doing="list the endpoints")}
        if len(names) >= _MOST_ENDPOINTS and self._request.service_name not in names:
            yield Finding(
                code="endpoints-used-up",
                severity=Severity.ERROR,
                what=f"The workspace has {len(names)} online endpoints; {_MOST_ENDPOINTS} are the most of a subscription in a region.",
                remedy="Delete endpoints that are no longer used, or ask for more quota.",
            )

    def _places(self) -> Iterator[Finding]:
        is_beside = self._request.strategy in {Strategy.REPLACE, Strategy.CANARY}
        if is_beside and len(self._deployments) >= _MOST_DEPLOYMENTS:
            yield Finding(
                code="deployments-used-up",
                severity=Severity.ERROR,
                what=f"The endpoint holds {len(self._deployments)} deployments; {_MOST_DEPLOYMENTS} are the most.",
                usually="Deployments that were kept, or that others made, were never deleted.",
                remedy="Delete those that are no longer used, or use `strategy: in-place`.",
            )
