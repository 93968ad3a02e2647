"""What a cluster that is made or attached may be told, in azureml-core's keys. Pure."""

from __future__ import annotations

from dataclasses import replace

from mlaz_ci.models import Cluster
from mlaz_ci.targets.v1_keys import ATTACHED_CLUSTER, NEW_CLUSTER


def checked_cluster(cluster: Cluster | None) -> Cluster | None:
    """The cluster with its settings of the right form. Raises InvalidConfigFile, UnknownConfigKey."""
    if cluster is None:
        return None
    keys = ATTACHED_CLUSTER if cluster.resource_id else NEW_CLUSTER
    return replace(cluster, settings=keys.read(cluster.settings))
