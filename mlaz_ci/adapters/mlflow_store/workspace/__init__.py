"""An Azure ML workspace as a store of models: its MLflow records, and its artifacts, asked for by REST through the workspace's door.

Neither mlflow nor a client of Azure is imported: what is read is a few JSON answers and blobs.
"""

from __future__ import annotations

from mlaz_ci.adapters.mlflow_store.workspace.artifacts import WorkspaceArtifacts
from mlaz_ci.adapters.mlflow_store.workspace.connection import WorkspaceConnection
from mlaz_ci.adapters.mlflow_store.workspace.uris import is_same, tracking_workspace

__all__ = ["WorkspaceArtifacts", "WorkspaceConnection", "is_same", "tracking_workspace"]
