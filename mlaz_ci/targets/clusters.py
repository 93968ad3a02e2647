"""Reads the object form of `compute` in the config file: a cluster that is made or attached where it is not there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlaz_ci.errors import ConflictingInputs, InvalidConfigFile
from mlaz_ci.models import Cluster
from mlaz_ci.targets.v1_keys import ATTACHED_CLUSTER, NEW_CLUSTER


def read_cluster(given: Mapping[str, Any]) -> tuple[str, Cluster | None]:
    """The compute's name, and how to have it: `{name, create: true, …}` makes it, `{name, resource-id, …}` attaches it, `{name}` neither.

    What else stands there is azureml-core's: `agent_count`, `vm_size`, `cluster_purpose`, … Raises InvalidConfigFile, UnknownConfigKey.
    """
    rest = dict(given)
    name, is_created, resource_id = rest.pop("name", None), rest.pop("create", False), rest.pop("resource-id", None)
    if not isinstance(name, str) or not name:
        raise InvalidConfigFile("`compute` is a mapping without a `name`.")
    if not isinstance(is_created, bool):
        raise InvalidConfigFile("`compute: create` takes true or false.")
    if resource_id is not None and not (isinstance(resource_id, str) and resource_id.startswith("/subscriptions/")):
        raise InvalidConfigFile(
            "`compute: resource-id` takes the id of an AKS cluster: /subscriptions/…/resourceGroups/…/providers/"
            "Microsoft.ContainerService/managedClusters/…",
            remedy="`az aks show --query id` prints it.",
        )
    if is_created and resource_id:
        raise ConflictingInputs(
            "`compute` has both `create` and `resource-id`: a cluster is either made or attached.",
            remedy="Keep one of them.",
        )
    if resource_id:
        return name, Cluster(name=name, resource_id=resource_id, settings=ATTACHED_CLUSTER.read(rest))
    settings = NEW_CLUSTER.read(rest)
    if settings and not is_created:
        raise InvalidConfigFile(
            f"`compute: {next(iter(settings))}` says how a cluster is made, and `create: true` is missing.",
            remedy="Add `create: true`, or name the cluster alone.",
        )
    return name, Cluster(name=name, settings=settings) if is_created else None
