"""What a cluster that is made or attached may be told, in azureml-core's keys. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlaz_ci.models import Cluster
from mlaz_ci.targets.section import Schema, schema_of_keys
from mlaz_ci.targets.v1_keys import ATTACHED_CLUSTER, NEW_CLUSTER

# What stands beside azureml-core's own keys: which cluster, and whether it is made or attached.
NAMING_KEYS = ("name", "create", "attach")
CLUSTER_KEYS = (*NAMING_KEYS, *sorted({*NEW_CLUSTER.forms, *ATTACHED_CLUSTER.forms}))


def checked_cluster(cluster: Cluster | None) -> Cluster | None:
    """The cluster with its settings of the right form. Raises InvalidConfigFile, UnknownConfigKey."""
    if cluster is None:
        return None
    keys = ATTACHED_CLUSTER if cluster.resource_id else NEW_CLUSTER
    return replace(cluster, settings=keys.read(cluster.settings))


def cluster_schema() -> Schema:
    """Of the mapping `{name, create: true, …}` or `{name, attach: <ARM id>, …}`; a bare name is a schema of its own."""
    made, attached = schema_of_keys(NEW_CLUSTER), schema_of_keys(ATTACHED_CLUSTER)
    naming: dict[str, Any] = {
        "name": {"description": "The name of the cluster in the workspace.", "type": "string", "minLength": 1},
        "create": {"description": "Make the cluster if it is not there: 20 to 25 minutes.", "type": "boolean"},
        "attach": {
            "description": "Attach this cluster if it is not there: the resource id of an AKS cluster.",
            "type": "string",
            "pattern": "^/subscriptions/[^/\\s]+/resourceGroups/[^/\\s]+/providers/[^/\\s]+/[^/\\s]+/[^/\\s]+$",
        },
    }
    is_made = {"required": ["create"], "properties": {"create": {"const": True}}}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**naming, **attached["properties"], **made["properties"]},
        "required": ["name"],
        "dependencies": made["dependencies"],
        "if": is_made,
        "then": {"not": {"required": ["attach"]}, "propertyNames": {"enum": ["name", "create", *made["properties"]]}},
        "else": {
            "if": {"required": ["attach"]},
            "then": {"propertyNames": {"enum": [*naming, *attached["properties"]]}},
            "else": {"propertyNames": {"enum": ["name", "create"]}},
        },
    }
