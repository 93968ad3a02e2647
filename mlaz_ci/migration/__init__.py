"""From a v1 web service that lives to the config and the workflow of its successor. Pure; it asks nobody and changes nothing."""

from __future__ import annotations

from mlaz_ci.migration.rendering import render_migration
from mlaz_ci.migration.v1_service import V1Service, auth_of, read_v1_service

__all__ = ["V1Service", "auth_of", "read_v1_service", "render_migration"]
