"""The kinds of serving side there are. Pure."""

from __future__ import annotations

from enum import StrEnum


class Side(StrEnum):
    LOCAL = "local"
    WEB_SERVICES = "web-services"
    """v1's, driven through azureml-core."""
    ONLINE_ENDPOINTS = "online-endpoints"
    """Driven through ARM."""

    @property
    def needs_workspace(self) -> bool:
        return self is not Side.LOCAL
