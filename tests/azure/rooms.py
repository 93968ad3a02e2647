"""The rooms of the emulated cloud: a new one is its own module and one line here."""

from __future__ import annotations

from tests.azure import arm, entra, github
from tests.azure.routing import Room

ROOMS: tuple[Room, ...] = (
    entra.room,
    github.room,
    github.oidc,
    *arm.ROOMS,
)
