"""Services on this machine: detached process groups that run Microsoft's inference server. Knows no container and no resolver."""

from __future__ import annotations

from mlaz_ci.adapters.local_process.environments import EnvironmentBuilder
from mlaz_ci.adapters.local_process.serving import LocalProcess

__all__ = ["EnvironmentBuilder", "LocalProcess"]
