"""Which api-versions the rooms answer, and what each of them knows. Versions compare by their date."""

from __future__ import annotations

HOST = "management.azure.com"

# Spoken by azureml-core (2022-05-01), azureml-mlflow (2022-01-01-preview, 2022-02-01-preview) and azure-ai-ml (the rest).
ASSETS = (
    *("2022-05-01", "2022-10-01", "2023-04-01", "2023-10-01", "2024-04-01", "2024-10-01"),
    *("2022-10-01-preview", "2023-02-01-preview", "2023-04-01-preview", "2023-06-01-preview", "2023-08-01-preview"),
    *("2024-01-01-preview", "2024-04-01-preview", "2024-07-01-preview", "2024-10-01-preview", "2025-01-01-preview"),
)
ENDPOINTS = ("2022-02-01-preview", *ASSETS)
WORKSPACES = ("2019-06-01", "2020-03-01", "2020-02-18-preview", "2021-10-01", "2022-01-01-preview", *ENDPOINTS)
COMPUTES = ("2020-02-02", *WORKSPACES)


def is_preview(version: str) -> bool:
    return version.endswith("-preview")


def since(version: str, date: str) -> bool:
    """Whether `version` is of `date` or later."""
    return version[:10] >= date


# Microsoft's files of these are at hand and say what an answer holds. All others answer as recorded, with the members
# that no published file names.
_FILES = {
    *("2019-06-01", "2020-03-01", "2020-02-18-preview", "2020-02-02", "2022-01-01-preview", "2022-02-01-preview"),
    *("2022-05-01", "2024-04-01"),
}


def answers_as_recorded(version: str) -> bool:
    return version not in _FILES
