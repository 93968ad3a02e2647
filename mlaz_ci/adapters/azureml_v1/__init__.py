"""ACI and AKS web services of Azure Machine Learning v1: made through azureml-core, read and taken away through REST.

Importing this room imports no client of Azure; azureml-core is imported when something is about to be made, in a thread of its own.
"""

from __future__ import annotations

from mlaz_ci.adapters.azureml_v1.services import WebServices

__all__ = ["WebServices"]
