from __future__ import annotations

from pathlib import Path

import pytest

from mlaz_ci.errors import ConflictingInputs, InvalidInput
from mlaz_ci.inputs.model_source import parse_model_source
from mlaz_ci.models import LoggedModelSource, ModelSource, PathSource, RegistrySource, RunSource, VersionSource

HERE = Path("/checkout")
ID = "0123456789abcdef0123456789abcdef"


def parse(*, run_id: str | None = None, path: str | None = None, uri: str | None = None) -> ModelSource | None:
    return parse_model_source(
        run_id=run_id, model_path=path, model_uri=uri, default_path="model", working_directory=HERE
    )


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        (f"runs:/{ID}/model", RunSource(run_id=ID, path="model")),
        (f"runs:/{ID}/nested/model/", RunSource(run_id=ID, path="nested/model")),
        (f"runs:/{ID}", RunSource(run_id=ID, path="model")),
        ("runs:/plum_head_7x2/m", RunSource(run_id="plum_head_7x2", path="m")),
        ("models:/churn/3", VersionSource(name="churn", version="3")),
        ("models:/churn/007", VersionSource(name="churn", version="7")),
        ("models:/churn/latest", VersionSource(name="churn", version="latest")),
        ("models:/churn/Latest", VersionSource(name="churn", version="latest")),
        ("models:/churn@champion", VersionSource(name="churn", alias="champion")),
        ("models:/main.risk.churn/3", VersionSource(name="main.risk.churn", version="3")),
        ("models:/two words/3", VersionSource(name="two words", version="3")),
        (f"models:/m-{ID}", LoggedModelSource(model_id=f"m-{ID}")),
        (
            "azureml://registries/azureml/models/bert/versions/12",
            RegistrySource(registry="azureml", name="bert", version="12"),
        ),
        ("models/churn", PathSource(path=HERE / "models/churn")),
        ("./models/churn", PathSource(path=HERE / "models/churn")),
        ("/elsewhere/churn", PathSource(path=Path("/elsewhere/churn"))),
        ("odd name: x", PathSource(path=HERE / "odd name: x")),
    ],
)
def test_model_uri__every_form__is_its_source(uri: str, source: ModelSource) -> None:
    assert parse(uri=uri) == source


def test_run_id__with_and_without_path__is_a_run() -> None:
    assert parse(run_id=ID) == RunSource(run_id=ID, path="model")
    assert parse(run_id=ID, path="a/b") == RunSource(run_id=ID, path="a/b")


def test_sources__none_given__is_none() -> None:
    assert parse() is None


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("run:/abc/model", 'Did you mean "runs:/abc/model"?'),
        ("model:/churn/3", 'Did you mean "models:/churn/3"?'),
        ("azurml:x:1", 'Did you mean "azureml:x:1"?'),
        ("s3://bucket/model", "does not name a model."),
        ("https://me:hunter2@host/model", "does not name a model."),
        ("file:///models/churn", "Write the folder's path without `file:`."),
        ("runs:", "It takes `runs:/`, a run id, and the model's path."),
        ("runs:/", "It takes `runs:/`, a run id"),
        (f"runs://{ID}/model", "It takes `runs:/`, a run id"),
        (f"runs:/{ID}/../secret", "is not a path inside a run's artifacts. Did you mean"),
        (f"runs:/{ID}/a//b", "is not a path inside a run's artifacts"),
        ("models:/", "It takes one slash"),
        ("models://churn/3", "It takes one slash"),
        ("models:/churn", "It has no version; `models:/<name>/latest` is the newest."),
        ("models:/churn/0", "does not name a model."),
        ("models:/churn/v3", "does not name a model."),
        (
            "models:/churn/Production",
            'Stages are gone from MLflow; give the version an alias: "models:/churn@production".',
        ),
        (f"models:/{'n' * 100}/Staging", "models://…@staging"),
        ("models:/churn@", "does not name a model."),
        ("azureml:churn:3", 'For a model of the workspace write "models:/churn/3".'),
        ("azureml://registries/azureml/models/bert", "It names no version"),
        ("azureml://registries/azureml/models/bert/labels/latest", "It names no version"),
        ("azureml://jobs/x/outputs/y", "does not name a model."),
        ("runns:/" + "x" * 100, 'Did you mean "runs:/…"?'),
    ],
)
def test_model_uri__not_a_form__says_what_would_do(uri: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(uri=uri)
    assert caught.value.what.startswith("`model-uri`")
    assert told in caught.value.what
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("path", ["/abs", "../up", "a/../b", "a\\b", "a//b", ".", "a/"])
def test_model_path__not_inside_the_run__is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match=r"`model-path` .* is not a path inside a run's artifacts"):
        parse(run_id=ID, path=path)


def test_model_path__nothing_of_it_usable__suggests_nothing() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(run_id=ID, path="../..")
    assert "Did you mean" not in caught.value.what


def test_model_path__the_same_as_in_the_uri__is_no_conflict() -> None:
    assert parse(uri=f"runs:/{ID}/m", path="m") == RunSource(run_id=ID, path="m")
    assert parse(uri=f"runs:/{ID}", path="m") == RunSource(run_id=ID, path="m")


@pytest.mark.parametrize(
    ("run_id", "path", "uri"),
    [
        (ID, None, f"runs:/{ID}/model"),
        (ID, None, "models:/churn/3"),
        (None, "model", None),
        (None, "other", f"runs:/{ID}/model"),
        (None, "model", "models:/churn/3"),
    ],
)
def test_sources__two_that_exclude_each_other__conflict(run_id: str | None, path: str | None, uri: str | None) -> None:
    with pytest.raises(ConflictingInputs):
        parse(run_id=run_id, path=path, uri=uri)
