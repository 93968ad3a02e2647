"""What the wire says of an address that carries its own signature."""

from __future__ import annotations

import pytest

from mlaz_ci.adapters.azure_wire import Wire
from mlaz_ci.adapters.azure_wire.door import _facts_of


def test_unanswered__client_that_quotes_the_address__without_its_signature() -> None:
    url = "https://a.blob.core.windows.net/c/b?sv=2021-12-02&sig=c2VjcmV0%3D&se=2030"
    trouble = OSError(f"Max retries exceeded with url: {url.partition('.net')[2]} (Caused by 'x')")
    error = Wire._unanswered("read a file", url, None, trouble, may_repeat=True)
    assert "/c/b?sv=2021-12-02&sig=***&se=2030 (Caused by 'x')" in error.what
    assert "c2VjcmV0" not in str(error)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("azureml://eastus.api.azureml.ms/mlflow/v1.0/subscriptions/x", "https://eastus.api.azureml.ms"),
        (
            "azureml://0603.workspace.eastus2.api.azureml.ms/mlflow/v1.0/x",
            "https://0603.workspace.eastus2.api.azureml.ms",
        ),
        ("https://elsewhere.example/mlflow", ""),
        ("", ""),
    ],
)
def test_workspace__its_tracking_uri__names_the_host_of_mlflow_and_what_stands_beside_it(uri: str, host: str) -> None:
    assert _facts_of({"properties": {"mlFlowTrackingUri": uri}}, "/x").mlflow_host == host
