"""Any MLflow tracking server or store, or a folder, as the port ModelStore.

HTTP servers and Azure ML workspaces are spoken to directly by MLflow's REST API; mlflow itself, seconds of import, is loaded for the other stores alone.
"""

from __future__ import annotations

from mlaz_ci.adapters.mlflow_store.store import MlflowStore
from mlaz_ci.adapters.mlflow_store.workspace import tracking_workspace

__all__ = ["MlflowStore", "tracking_workspace"]
