"""The spellings of a workspace and its places, and the signature that opens a container."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs

import pytest

from mlaz_ci.adapters.mlflow_store.workspace.blobs import Address
from mlaz_ci.adapters.mlflow_store.workspace.datastores import sign_container
from mlaz_ci.adapters.mlflow_store.workspace.places import ArtifactContainer
from mlaz_ci.adapters.mlflow_store.workspace.regional import Regional
from mlaz_ci.adapters.mlflow_store.workspace.uris import (
    ArtifactPlace,
    BlobPlace,
    DatastorePlace,
    Place,
    RunPlace,
    is_same,
    parse_place,
    tracking_workspace,
)
from mlaz_ci.errors import AzureUnreachable, InvalidInput, TrackingServerFailed
from mlaz_ci.models import Cloud, Workspace

WORKSPACE = Workspace(subscription_id="5ub", resource_group="rg-ml", name="ws")
IDS = "/subscriptions/5ub/resourceGroups/rg-ml/providers/Microsoft.MachineLearningServices/workspaces/ws"
SHORT = "subscriptions/5UB/resourcegroups/RG-ML/workspaces/ws"
HERE = f"azureml://eastus.api.azureml.ms/mlflow/v2.0{IDS}"


@pytest.mark.parametrize(
    ("uri", "cloud"),
    [
        (f"azureml://eastus.api.azureml.ms/mlflow/v1.0{IDS}", Cloud.PUBLIC),
        (f"azureml://eastus.api.azureml.ms/mlflow/v2.0{IDS}?", Cloud.PUBLIC),
        (f"azureml://eastus.api.azureml.ms/mlflow/v1.0{IDS}?is-remote=True", Cloud.PUBLIC),
        (f" azureml://usgovvirginia.api.ml.azure.us/mlflow/v1.0{IDS}\n", Cloud.US_GOVERNMENT),
        (f"AZUREML://chinaeast2.api.ml.azure.cn/mlflow/v1.0{IDS}/", Cloud.CHINA),
        (f"azureml://eastus.api.azureml.ms/mlflow/v1.0{IDS.replace('resourceGroups', 'resourcegroups')}", Cloud.PUBLIC),
    ],
)
def test_tracking_uri__in_any_spelling__the_workspace_and_its_cloud(uri: str, cloud: Cloud) -> None:
    found = tracking_workspace(uri)
    assert found == Workspace(subscription_id="5ub", resource_group="rg-ml", name="ws", cloud=cloud)


@pytest.mark.parametrize("uri", ["azureml://registries/azureml", "azureml:churn:1", f"azureml://x{IDS}", f"{HERE}/experiments/e"])  # fmt: skip
def test_tracking_uri__without_a_workspace__is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput):
        tracking_workspace(uri)


@pytest.mark.parametrize("uri", ["", "https://azureml.ms", "sqlite:///azureml.db", "mlruns"])
def test_tracking_uri__of_another_store__is_none(uri: str) -> None:
    assert tracking_workspace(uri) is None


def test_workspaces__in_another_case__are_the_same() -> None:
    other = Workspace(subscription_id="5UB", resource_group="RG-ml", name="Ws", cloud=Cloud.PUBLIC)
    assert is_same(WORKSPACE, other)
    assert not is_same(WORKSPACE, Workspace(subscription_id="5ub", resource_group="rg-ml", name="ws2"))


UPLOAD = ArtifactPlace(origin="LocalUpload", container="1", path="model")
OF_JOB = ArtifactPlace(origin="ExperimentRun", container="dcid.quirky_1", path="outputs/model")
PLACES: dict[str, Place | None] = {
    f"{HERE}/experiments/churn/runs/r/artifacts/a/model": RunPlace(experiment="churn", run_id="r", path="a/model"),
    f"{HERE}/experiments/0/runs/r/artifacts": RunPlace(experiment="0", run_id="r", path=""),
    f"{HERE}/experiments/0/runs/r/artifacts/a?b#c%20d": RunPlace(experiment="0", run_id="r", path="a?b#c%20d"),
    f"{HERE.replace('/ws', '/ws2')}/experiments/0/runs/r/artifacts/model": None,
    "azureml://artifacts/LocalUpload/1/model/": UPLOAD,
    "azureml://artifacts/LocalUpload/1": ArtifactPlace(origin="LocalUpload", container="1", path=""),
    "azureml://jobs/quirky_1/outputs/artifacts/paths/outputs/model/": OF_JOB,
    "azureml://jobs/quirky_1/outputs/artifacts/outputs/model": OF_JOB,
    "azureml://jobs/quirky_1/outputs/artifacts": ArtifactPlace(origin="ExperimentRun", container="dcid.quirky_1", path=""),
    f"azureml://{SHORT}/datastores/workspaceartifactstore/paths/ExperimentRun/dcid.quirky_1/outputs/model": OF_JOB,
    f"azureml://{SHORT}/datastores/workspaceartifactstore/paths/LocalUpload/1/model": UPLOAD,
    f"azureml://{SHORT}/datastores/workspaceblobstore/paths/LocalUpload/1/model": DatastorePlace(name="workspaceblobstore", path="LocalUpload/1/model"),
    "azureml://datastores/mine/paths/": DatastorePlace(name="mine", path=""),
    f"azureml://{SHORT}2/datastores/mine/paths/m": None,
    "https://acc.blob.core.windows.net/box/a/model": BlobPlace(account_url="https://acc.blob.core.windows.net", container="box", path="a/model"),
    "https://acc.blob.core.windows.net/box": BlobPlace(account_url="https://acc.blob.core.windows.net", container="box", path=""),
    "http://acc.blob.core.windows.net/box/m": None,
    "https://acc.blob.core.windows.net.evil.com@x/box/m": None,
    "azureml://registries/azureml/models/bert/versions/1": None,
    "azureml:churn:1": None,
    "s3://bucket/m": None,
    "": None,
}  # fmt: skip


@pytest.mark.parametrize(("uri", "place"), PLACES.items(), ids=list(PLACES))
def test_place__in_every_recorded_spelling__is_found(uri: str, place: Place | None) -> None:
    assert parse_place(uri, WORKSPACE) == place


def test_signature__of_a_container__as_storages_own_client_makes_it() -> None:
    """The signature that azure-storage-blob 12.27 (generate_container_sas) makes of the same key, version, times and permissions."""
    query = sign_container("c2VjcmV0IGtleQ==", "acc", "box", datetime(2024, 5, 1, 12, tzinfo=UTC))
    fields = {name: value for name, [value] in parse_qs(query).items()}
    assert fields.pop("sig") == "Pxx3ida4ZyHVKjS+VHC/CfnGJBqhRfqgtO1toLgKx5A="
    assert fields == {
        "sv": "2021-12-02",
        "st": "2024-05-01T11:50:00Z",
        "se": "2024-05-01T13:00:00Z",
        "sr": "c",
        "sp": "rl",
        "spr": "https",
    }


def test_signature__by_a_key_that_is_none__says_so_without_it() -> None:
    with pytest.raises(AzureUnreachable) as raised:
        sign_container("no base64!", "acc", "box", datetime(2024, 5, 1, tzinfo=UTC))
    assert "no base64!" not in str(raised.value)


def test_address__shown_in_any_way__without_its_signature() -> None:
    address = Address.of("https://acc.blob.core.windows.net/box/m?sv=1&sig=c2VjcmV0")
    assert "c2VjcmV0" not in f"{address} {address!r} {[address]}"
    assert address.url == "https://acc.blob.core.windows.net/box/m"


@pytest.mark.parametrize("uri", ["http://acc.blob.core.windows.net/box/m?sig=x", "file:///etc/passwd", ""])
def test_address__that_is_not_https__is_refused(uri: str) -> None:
    with pytest.raises(AzureUnreachable):
        Address.of(uri)


class TextPrefixes:
    """A service of the workspace that takes a prefix for a beginning of text, and writes its paths with a slash."""

    def members(self, below: str, *, doing: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        for path in ("model/MLmodel", "/model/a/b.bin", "model-2/MLmodel", "model"):
            if path.lstrip("/").startswith(query["path"]):
                yield {"path": path, "contentUri": f"https://acc.blob.core.windows.net/box/{path}?sig=x"}


def test_listing__of_a_folder_by_a_beginning_of_text__is_that_folder_alone() -> None:
    service = cast("Regional", TextPrefixes())
    place = RunPlace(experiment="e", run_id="r", path="")
    assert set(ArtifactContainer(place, service, service).files("model")) == {"model/MLmodel", "model/a/b.bin", "model"}


@pytest.mark.parametrize("path", ["model/../../x", "model/a\\..\\x", "model/\0"])
def test_listing__with_a_name_that_leads_out__is_refused(path: str) -> None:
    class Tampered(TextPrefixes):
        def members(self, below: str, *, doing: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
            yield {"path": path, "contentUri": "https://acc.blob.core.windows.net/box/x?sig=x"}

    service = cast("Regional", Tampered())
    with pytest.raises(TrackingServerFailed, match="leads out"):
        ArtifactContainer(RunPlace(experiment="e", run_id="r", path=""), service, service).files("model")
