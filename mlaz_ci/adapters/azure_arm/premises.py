"""What Azure would refuse late, looked for before anything is made: switches, roles, quota, the cluster. It only reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_arm.permissions import missing_actions
from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import MlazError
from mlaz_ci.models import AzureShape, Command, Finding, Request, Severity, Target
from mlaz_ci.targets.managed import DEFAULT_INSTANCE_TYPE
from mlaz_ci.targets.online_section import read_section

_AUTHORIZATION_VERSION: Final = "2022-04-01"
# "Manage and increase quotas": a fifth more cores than the instances have are set aside for upgrades, on most sizes.
_RESERVE: Final = 1.2
# The same page: online endpoints of a subscription in a region. Only this workspace's can be counted.
_MOST_ENDPOINTS: Final = 100
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


class Inspection:
    def __init__(self, door: WorkspaceDoor, request: Request) -> None:
        self._door = door
        self._request = request
        assert isinstance(request.shape, AzureShape)
        self._shape = request.shape

    def findings(self) -> tuple[Finding, ...]:
        """Raises what stands in the way of everything: WorkspaceNotFound, RoleMissing, SignInRefused."""
        is_kubernetes = self._request.target is Target.KUBERNETES
        return (*self._switches(), *self._shown_size(), *(self._cluster() if is_kubernetes else ()), *self._serving())

    def room(self) -> tuple[Finding, ...]:
        """What a change needs: roles, cores, a place for the endpoint."""
        is_kubernetes = self._request.target is Target.KUBERNETES
        return (*self._roles(), *(() if is_kubernetes else self._quota()), *self._endpoints())

    # --- the workspace ---------------------------------------------------------------------------------------------

    def _switches(self) -> Iterator[Finding]:
        facts = self._door.facts
        name = self._door.workspace.name
        if facts.is_in_legacy_mode:
            yield Finding(
                code="workspace-legacy-mode",
                severity=Severity.ERROR,
                what=f'The workspace "{name}" has `v1LegacyMode` on.',
                usually="It switches off everything that goes through ARM: endpoints, models, environments.",
                remedy="Have an administrator set `v1_legacy_mode` to false on the workspace, or use target aci or aks.",
            )
        if not facts.is_public:
            yield Finding(
                code="workspace-private",
                severity=Severity.NOTICE,
                what=f'The workspace "{name}" takes no requests from public networks.',
                usually="Uploads, logs and the smoke test may then be out of this machine's reach; ARM is not.",
                remedy="Run on a runner in its network, or set `smoke-test: best-effort`.",
            )
        if facts.network_isolation == "AllowOnlyApprovedOutbound":
            yield Finding(
                code="workspace-outbound-closed",
                severity=Severity.NOTICE,
                what=f'The managed network of "{name}" lets out approved traffic alone.',
                usually="Azure builds the environment's image inside of it, and asks the package index from there.",
                remedy="Approve the package index and the image registry, or give `azureml-environment`.",
            )

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

    # --- managed: machines -----------------------------------------------------------------------------------------

    def _shown_size(self) -> Iterator[Finding]:
        size = self._shape.instance_type or DEFAULT_INSTANCE_TYPE
        if self._request.target is Target.KUBERNETES:
            return
        if self._shape.cpu_cores is not None or self._shape.memory_gb is not None:
            yield Finding(
                code="size-chosen",
                severity=Severity.NOTICE,
                what=f"`cpu-cores` {self._shape.cpu_cores or 'any'} and `memory-gb` {self._shape.memory_gb or 'any'} become the VM size {size}.",
                remedy="Give `instance-type` for another.",
            )

    def _quota(self) -> Iterator[Finding]:
        size = self._shape.instance_type or DEFAULT_INSTANCE_TYPE
        if known := _KNOWN_SIZES.get(size.lower()):
            yield from self._room(size, *known)
            return
        found = self._size(size)
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
        yield from self._room(size, str(found.get("family") or ""), int(found.get("vCPUs") or 0))

    def _size(self, name: str) -> Mapping[str, Any] | None:
        """What the region says of a size; {} where it has none of that name, None where it does not tell."""
        sizes = self._location("vmSizes", "read the region's VM sizes")
        if not sizes:
            return None
        return next((each for each in sizes if str(each.get("name")).lower() == name.lower()), {})

    def _room(self, size: str, family: str, cores: int) -> Iterator[Finding]:
        instances = self._shape.instance_count or 1
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
                remedy="Delete endpoints that are no longer used (`command: sweep`), or ask for more quota.",
            )

    # --- Kubernetes: the cluster -----------------------------------------------------------------------------------

    def _cluster(self) -> Iterator[Finding]:
        name = (self._shape.compute or "").rpartition("/")[2]
        if not name:
            return
        answer = self._door.arm(
            "GET", f"/computes/{quote(name, safe='')}", doing=f'read the compute "{name}"', allowed={404}
        )
        if answer.status == 404:
            yield Finding(
                code="compute-not-found",
                severity=Severity.ERROR,
                what=f'There is no compute "{name}" in the workspace.',
                usually="The name in `compute` is mistyped, or the cluster was never attached to this workspace.",
                remedy="Attach it (`az ml compute attach --type Kubernetes`), or name one of `az ml compute list`.",
            )
            return
        properties = answer.object.get("properties") or {}
        kind, state = str(properties.get("computeType") or ""), str(properties.get("provisioningState") or "")
        if kind != "Kubernetes":
            yield Finding(
                code="compute-not-kubernetes",
                severity=Severity.ERROR,
                what=f'The compute "{name}" is of type {kind}, not Kubernetes.',
                usually="An AKS cluster of v1 (AksCompute) cannot carry online endpoints.",
                remedy="Install Azure Machine Learning's extension in the cluster and attach it as Kubernetes compute.",
            )
        elif state.lower() != "succeeded":
            yield Finding(
                code="compute-not-ready",
                severity=Severity.ERROR,
                what=f'The compute "{name}" is {state}.',
                remedy="Wait until it has Succeeded, or detach it and attach it again.",
            )

    # --- how it serves ---------------------------------------------------------------------------------------------

    def _serving(self) -> Iterator[Finding]:
        if read_section(self._shape.raw, self._request.target).is_no_code:
            yield Finding(
                code="serving-no-code",
                severity=Severity.WARNING,
                what="`serving: no-code`: Azure's own generated script and image serve the model.",
                usually=(
                    "They take `input_data` alone, install the model's packages when the container starts, and change without notice; "
                    "nothing was checked together with the inference server."
                ),
                remedy="Leave `serving` out to have the script and the lock that every other target has.",
            )
