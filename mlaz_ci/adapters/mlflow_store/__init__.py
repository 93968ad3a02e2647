"""Any MLflow tracking server or store, or a folder, as the port ModelStore.

HTTP servers are spoken to directly by MLflow's REST API; mlflow itself, seconds of import, is loaded for the other stores alone.
"""

from __future__ import annotations

from mlaz_ci.adapters.mlflow_store.store import MlflowStore

__all__ = ["MlflowStore"]
