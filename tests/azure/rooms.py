"""The rooms of the emulated cloud: a new one is its own module and one line here."""

from __future__ import annotations

from tests.azure import (
    artifacts,
    blob,
    discovery,
    entra,
    environments,
    github,
    history,
    mlflow_api,
    mlflow_registry,
    mlflow_tracking,
    mms_models,
    mms_services,
    registries,
    webservice_scoring,
)
from tests.azure.arm import rooms as arm
from tests.azure.routing import Room

ROOMS: tuple[Room, ...] = (
    entra.room,
    github.room,
    github.oidc,
    *arm.ROOMS,
    discovery.room,
    blob.room,
    artifacts.room,
    history.room,
    mlflow_api.room,
    mlflow_tracking.room,
    mlflow_registry.room,
    environments.room,
    mms_models.room,
    mms_services.room,
    registries.room,
    registries.storage,
    webservice_scoring.room,
    webservice_scoring.clusters,
)
