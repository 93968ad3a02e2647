"""Managed and Kubernetes online endpoints over ARM. It knows no machine-learning package, and of Azure's clients only the wire's."""

from __future__ import annotations

from mlaz_ci.adapters.azure_arm.endpoints import OnlineEndpoints

__all__ = ["OnlineEndpoints"]
