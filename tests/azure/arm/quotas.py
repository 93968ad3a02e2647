"""Machine sizes and how many of their cores a subscription may use in a region."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm import answers, versions
from tests.azure.arm.subscriptions import Subscriptions
from tests.azure.arm.workspaces import authorize
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

_PLACE = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{region}"
# Microsoft's published sizes: cores, memory in GB, GPUs.
_FAMILIES: dict[str, tuple[str, dict[str, tuple[int, float, int]]]] = {
    "standardDSv2Family": (
        "Standard DSv2 Family Cluster Dedicated vCPUs",
        {f"Standard_DS{size}_v2": (2 ** (size - 1), 3.5 * 2 ** (size - 1), 0) for size in range(1, 6)},
    ),
    "standardFSv2Family": (
        "Standard FSv2 Family Cluster Dedicated vCPUs",
        {f"Standard_F{cores}s_v2": (cores, cores * 2.0, 0) for cores in (2, 4, 8, 16, 32, 48, 64, 72)},
    ),
    "standardESv3Family": (
        "Standard ESv3 Family Cluster Dedicated vCPUs",
        {
            f"Standard_E{cores}s_v3": (cores, 432.0 if cores == 64 else cores * 8.0, 0)
            for cores in (2, 4, 8, 16, 32, 48, 64)
        },
    ),
    "standardDASv4Family": (
        "Standard DASv4 Family Cluster Dedicated vCPUs",
        {f"Standard_D{cores}as_v4": (cores, cores * 4.0, 0) for cores in (2, 4, 8, 16, 32, 48, 64, 96)},
    ),
    "standardNCSv3Family": (
        "Standard NCSv3 Family Cluster Dedicated vCPUs",
        {
            "Standard_NC6s_v3": (6, 112.0, 1),
            "Standard_NC12s_v3": (12, 224.0, 2),
            "Standard_NC24s_v3": (24, 448.0, 4),
        },
    ),
    "standardNCASv3_T4Family": (
        "Standard NCASv3_T4 Family Cluster Dedicated vCPUs",
        {
            "Standard_NC4as_T4_v3": (4, 28.0, 1),
            "Standard_NC8as_T4_v3": (8, 56.0, 1),
            "Standard_NC16as_T4_v3": (16, 110.0, 1),
            "Standard_NC64as_T4_v3": (64, 440.0, 4),
        },
    ),
}
_DEFAULT_LIMIT = 100
# A rolling update needs room for a fifth of the instances more; the service sets it aside beforehand.
_RESERVE = 1.2

room = Room("arm-quotas", host=versions.HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    name: str
    family: str
    cores: int


@dataclass(slots=True)
class Quotas:
    """Limits by region and family, in cores: cloud.state(quotas.Quotas).limits["eastus", "standardFSv2Family"] = 6."""

    limits: dict[tuple[str, str], int] = field(default_factory=dict)
    # What each deployment takes, by its id: region, family, cores.
    held: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    # Cores that others in the subscription use.
    used_elsewhere: dict[tuple[str, str], int] = field(default_factory=dict)

    def limit(self, region: str, family: str) -> int:
        return self.limits.get((region, family), _DEFAULT_LIMIT)


def size_named(name: str) -> Size | None:
    for family, (_, sizes) in _FAMILIES.items():
        for known, (cores, _, _) in sizes.items():
            if known.lower() == name.lower():
                return Size(name=known, family=family, cores=cores)
    return None


def cores_needed(size: Size, instances: int) -> int:
    return math.ceil(instances * _RESERVE) * size.cores


def usage(cloud: Cloud, region: str, family: str) -> int:
    quotas = cloud.state(Quotas)
    own = sum(cores for place, kind, cores in quotas.held.values() if (place, kind) == (region, family))
    return own + quotas.used_elsewhere.get((region, family), 0)


def hold(cloud: Cloud, region: str, holder: str, size: Size, instances: int) -> None:
    cloud.state(Quotas).held[holder] = (region, size.family, cores_needed(size, instances))


def shortage(cloud: Cloud, region: str, size: Size, instances: int, *, held: int = 0) -> tuple[int, int, int] | None:
    """Usage, limit and what is needed more, when that does not fit; `held` instances are the deployment's own already."""
    used, limit = usage(cloud, region, size.family), cloud.state(Quotas).limit(region, size.family)
    more = cores_needed(size, instances) - (cores_needed(size, held) if held else 0)
    return (used, limit, more) if more > 0 and used + more > limit else None


def _enter(request: Request, params: Params, cloud: Cloud, action: str) -> str:
    cloud.state(Subscriptions).require(cloud, params["subscription"])
    scope = f"/subscriptions/{params['subscription']}"
    authorize(request, cloud, f"Microsoft.MachineLearningServices/locations/{action}", scope)
    return f"{scope}/providers/Microsoft.MachineLearningServices/locations/{params['region']}"


@room.get(_PLACE + "/usages", api_versions=versions.WORKSPACES)
def list_usages(request: Request, params: Params, cloud: Cloud) -> Response:
    base, region = _enter(request, params, cloud, "usages/read"), params["region"]
    listed = [
        {
            "id": f"{base}/usages/{family}",
            "amlWorkspaceLocation": region,
            "type": "Microsoft.MachineLearningServices/usages",
            "unit": "Count",
            "currentValue": usage(cloud, region, family),
            "limit": cloud.state(Quotas).limit(region, family),
            "name": {"value": family, "localizedValue": label},
        }
        for family, (label, _) in _FAMILIES.items()
    ]
    return answers.reply({"value": listed}, region)


@room.get(_PLACE + "/quotas", api_versions=versions.WORKSPACES)
def list_quotas(request: Request, params: Params, cloud: Cloud) -> Response:
    base, region = _enter(request, params, cloud, "quotas/read"), params["region"]
    listed = [
        {
            "id": f"{base}/quotas/{family}",
            "amlWorkspaceLocation": region,
            "type": "Microsoft.MachineLearningServices/quotas",
            "unit": "Count",
            "limit": cloud.state(Quotas).limit(region, family),
            "name": {"value": family, "localizedValue": label},
        }
        for family, (label, _) in _FAMILIES.items()
    ]
    return answers.reply({"value": listed}, region)


@room.get(_PLACE + "/vmSizes", api_versions=versions.WORKSPACES)
def list_sizes(request: Request, params: Params, cloud: Cloud) -> Response:
    _enter(request, params, cloud, "vmSizes/read")
    listed: list[dict[str, Any]] = [
        {
            "name": name,
            "family": family,
            "vCPUs": cores,
            "gpus": gpus,
            "osVhdSizeMB": 1047552,
            "maxResourceVolumeMB": cores * 8192,
            "memoryGB": memory_gb,
            "lowPriorityCapable": True,
            "premiumIO": True,
            "supportedComputeTypes": ["AmlCompute"],
        }
        for family, (_, sizes) in _FAMILIES.items()
        for name, (cores, memory_gb, gpus) in sizes.items()
    ]
    return answers.reply({"value": listed}, params["region"])
