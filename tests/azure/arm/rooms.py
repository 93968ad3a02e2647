"""The list of this package's rooms; in a file of its own, so that the package itself imports nothing."""

from __future__ import annotations

from tests.azure.arm import (
    assets,
    authorization,
    autoscale,
    computes,
    datastores,
    deployments,
    endpoints,
    operations,
    quotas,
    scoring,
    subscriptions,
    workspaces,
)
from tests.azure.routing import Room

ROOMS: tuple[Room, ...] = (
    subscriptions.room,
    authorization.room,
    workspaces.room,
    operations.room,
    computes.room,
    computes.regional,
    datastores.room,
    assets.room,
    endpoints.room,
    deployments.room,
    quotas.room,
    autoscale.room,
    scoring.room,
    scoring.clusters,
)
