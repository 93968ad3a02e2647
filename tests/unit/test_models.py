from __future__ import annotations

import pytest

from mlaz_ci.models import LoggedModelSource, ModelSource, RunSource, VersionSource, told_size
from mlaz_ci.plan import FetchModel
from tests import samples

RUN = "0" * 32


@pytest.mark.parametrize(
    ("source", "version", "run_id", "artifact_uri", "label"),
    [
        (RunSource(run_id=RUN, path="model"), None, RUN, "s3://bucket/models/m-1/artifacts", f"runs:/{RUN}/model"),
        (VersionSource(name="churn", version="2"), "2", RUN, "s3://bucket/x", "churn/2"),
        (LoggedModelSource(model_id="m-1"), None, RUN, "s3://bucket/m-1", f"s3://bucket/m-1 (run {RUN})"),
        (LoggedModelSource(model_id="m-1"), None, RUN, f"s3://bucket/{RUN}/m-1", f"s3://bucket/{RUN}/m-1"),
        (LoggedModelSource(model_id="m-1"), None, None, "s3://bucket/m-1", "s3://bucket/m-1"),
    ],
)
def test_label__of_a_model__names_version_or_run_where_there_is_one(
    source: ModelSource, version: str | None, run_id: str | None, artifact_uri: str, label: str
) -> None:
    model = samples.model(source=source, name="churn", version=version, run_id=run_id, artifact_uri=artifact_uri)
    assert model.label == label


@pytest.mark.parametrize(
    ("size_bytes", "told"),
    [
        (0, "0 kB"),
        (1, "1 kB"),
        (4_321, "5 kB"),
        (999_000, "999 kB"),
        (1_000_000, "1.0 MB"),
        (2_000_000_000, "2000.0 MB"),
    ],
)
def test_told_size__of_something__is_never_nothing(size_bytes: int, told: str) -> None:
    assert told_size(size_bytes) == told
    assert FetchModel(model=samples.model(size_bytes=size_bytes)).describe().endswith(f", {told}")
