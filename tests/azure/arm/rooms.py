"""The list of this package's rooms; in a file of its own, so that the package itself imports nothing."""

from __future__ import annotations

from tests.azure.arm import (
    asset_routes,
    authorization,
    autoscale,
    compute_routes,
    datastores,
    deployment_routes,
    diagnostics,
    endpoint_routes,
    operations,
    quotas,
    scoring,
    subscriptions,
    workspace_routes,
)
from tests.azure.routing import Room

ROOMS: tuple[Room, ...] = (
    subscriptions.room,
    authorization.room,
    workspace_routes.room,
    operations.room,
    compute_routes.room,
    compute_routes.regional,
    datastores.room,
    asset_routes.room,
    endpoint_routes.room,
    deployment_routes.room,
    quotas.room,
    autoscale.room,
    diagnostics.room,
    scoring.room,
    scoring.clusters,
)
