"""The scoring script's own decisions, without a server; the contract with a real one is tests/serving."""

from __future__ import annotations

import ast
import datetime as dt
import decimal
import enum
import json
import math
import runpy
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from mlaz_ci.adapters.azure_arm.assets import score_script
from mlaz_ci.models import ModelSignature
from mlaz_ci.serving import score
from mlaz_ci.serving.scripts import SCORE, script_texts
from mlaz_ci.serving.swagger import sample_request
from tests.unit.serving.test_swagger import NESTED, SIGNATURES, signatures

SOURCE = Path(score.__file__).read_text()
HAS_NANOSECONDS = np.array(["2024-01-02T03:04:05.123456789", "NaT"], dtype="datetime64[ns]")

ServiceOf = Callable[..., None]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> ServiceOf:
    """As after init() with a model of this signature."""

    def load(inputs: Any = None, **options: Any) -> None:
        monkeypatch.setattr(score, "service", score.Service(None, inputs, **options), raising=False)

    return load


def refusal_of(body: Any) -> score.BadRequest | None:
    try:
        score.read_request(json.dumps(body))
    except score.BadRequest as refusal:
        return refusal
    return None


class Colour(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: float
    y: float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (1.5, 1.5),
        (math.nan, None),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (np.float32(0.5), 0.5),
        (np.float64(math.nan), None),
        (np.int64(2**60), 2**60),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.bytes_(b"\0\1"), "AAE="),
        (b"\0\1", "AAE="),
        (bytearray(b"\0\1"), "AAE="),
        (np.array([[1.0, math.nan], [math.inf, 2.0]]), [[1.0, None], ["Infinity", 2.0]]),
        (np.array(7), 7),
        (np.array("2024-01-02", dtype="datetime64[ns]"), "2024-01-02T00:00:00"),
        (np.array(["a", None], dtype=object), ["a", None]),
        (np.array([b"\0\1"]), ["AAE="]),
        (HAS_NANOSECONDS, ["2024-01-02T03:04:05.123456789", None]),
        (np.datetime64("2024-01-02"), "2024-01-02T00:00:00"),
        (np.timedelta64(90, "s"), "P0DT0H1M30S"),
        (dt.timedelta(seconds=90), "P0DT0H1M30S"),
        (dt.datetime(2024, 1, 2, 3, 4, 5), "2024-01-02T03:04:05"),  # noqa: DTZ001
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (pd.Timestamp("2024-01-02T03:04:05Z"), "2024-01-02T03:04:05+00:00"),
        (pd.NaT, None),
        (pd.NA, None),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Colour.RED, "red"),
        ((1, [2, {"a": np.int8(3)}]), [1, [2, {"a": 3}]]),
        ({1: "one", "b": math.nan}, {"1": "one", "b": None}),
        ({3}, [3]),
        (pd.Series([1.0, None], name="y"), [{"y": 1.0}, {"y": None}]),
        (pd.Series([1]), [{"0": 1}]),
        (pd.DataFrame({"a": [1, 2], 7: ["x", None]}), [{"a": 1, "7": "x"}, {"a": 2, "7": None}]),
        (pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), [{"a": 1}, {"a": None}]),
        (pd.DataFrame({"a": pd.Categorical(["x", "y"])}), [{"a": "x"}, {"a": "y"}]),
        (pd.DataFrame({"a": HAS_NANOSECONDS}), [{"a": "2024-01-02T03:04:05.123456789"}, {"a": None}]),
        (pd.DataFrame({"a": [np.array([1.0, math.nan])]}), [{"a": [1.0, None]}]),
        (pd.DataFrame(), []),
        (scipy.sparse.csr_matrix([[0.0, 1.0]]), [[0.0, 1.0]]),
        (Point(x=1, y=math.nan), {"x": 1.0, "y": None}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_to_json__a_prediction__has_its_one_form(value: Any, expected: Any) -> None:
    text = json.dumps(score.to_json(value), allow_nan=False)
    assert json.loads(text) == expected
    assert text == json.dumps(expected)


def test_to_json__a_thing_without_a_form__is_an_error_that_names_its_class() -> None:
    with pytest.raises(RuntimeError, match="a Colours, which"):
        score.to_json([type("Colours", (), {})()])


@given(st.lists(st.floats(width=32)))
def test_to_json__any_floats__is_strict_json(values: list[float]) -> None:
    for value in (values, np.array(values, dtype="float32"), pd.DataFrame({"x": values})):
        json.dumps(score.to_json(value), allow_nan=False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["AA==", "NaN"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rooms", "area", "note", "a", "b", "columns", "index", "data"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
bodies = st.dictionaries(st.sampled_from([*score.FORMS, "params", "columns", "data"]), json_values, max_size=3)


@pytest.mark.parametrize("name", SIGNATURES)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_read_request__whatever_is_sent__is_data_or_a_bad_request(loaded: ServiceOf, name: str, body: Any) -> None:
    signature = SIGNATURES[name]
    loaded(list(signature.inputs) or None, params=list(signature.params))
    refusal = refusal_of(body)
    assert refusal is None or (refusal.field and refusal.message)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inputs=signatures)
def test_read_request__the_sample_of_any_signature__is_accepted(loaded: ServiceOf, inputs: list[Any]) -> None:
    loaded(inputs)
    data, params = score.read_request(json.dumps(sample_request(ModelSignature(inputs=tuple(inputs)))))
    assert len(data)
    assert params == {}


def test_read_request__a_row_of_everything_nested__keeps_python_types(loaded: ServiceOf) -> None:
    loaded(list(NESTED.inputs))
    body = {"tags": [], "counts": {"a": 2.0}, "vector": [1], "free": {"x": [None]}, "person": {"name": "Ada"}}
    data, _ = score.read_request(json.dumps({"dataframe_records": [body]}))
    assert data.iloc[0].to_dict() == {**body, "counts": {"a": 2}, "vector": [1.0]}
    assert type(data.iloc[0]["counts"]["a"]) is int


def test_read_request__an_optional_column_without_values__is_left_out(loaded: ServiceOf) -> None:
    loaded([{"name": "a", "type": "long", "required": True}, {"name": "b", "type": "long", "required": False}])
    for rows in ([{"a": 1}], [{"a": 1, "b": None}]):
        assert list(score.read_request(json.dumps({"dataframe_records": rows}))[0].columns) == ["a"]
    data, _ = score.read_request('{"dataframe_records": [{"a": 1, "b": 2}]}')
    assert data.to_dict("list") == {"a": [1], "b": [2]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"inputs": {"a": [1], "b": 5}}, "inputs.b"),
        ({"dataframe_split": {"columns": ["a"], "index": [{}], "data": [[1]]}}, "dataframe_split.index"),
        ({"dataframe_split": {"columns": [["a"], ["a"]], "data": [[1, 2]]}}, "dataframe_split.columns"),
        ({"input_data": {"index": [0], "data": [[1]]}}, "input_data[0]"),
    ],
    ids=repr,
)
def test_read_request__a_part_of_another_kind__is_named(loaded: ServiceOf, body: Any, field: str) -> None:
    loaded([{"name": "a", "type": "long", "required": True}, {"name": "b", "type": "long", "required": False}])
    refusal = refusal_of(body)
    assert refusal is not None
    assert refusal.field == field


def test_read_request__a_datetime_parameter__is_a_timestamp(loaded: ServiceOf) -> None:
    loaded(
        [{"name": "a", "type": "long"}], params=[{"name": "day", "type": "datetime", "default": None, "shape": None}]
    )
    body = {"inputs": [1], "params": {"day": "2024-01-02T03:00:00+03:00"}}
    assert score.read_request(json.dumps(body))[1] == {"day": pd.Timestamp("2024-01-02")}


def test_read_request__optional_columns_alone_and_none_given__is_refused(loaded: ServiceOf) -> None:
    loaded([{"name": "a", "type": "long", "required": False}])
    for body in ({"inputs": {"a": [None]}}, {"dataframe_split": {"columns": ["x"], "index": [1], "data": [[1]]}}):
        refusal = refusal_of(body)
        assert refusal is not None
        assert refusal.message == "Give at least one column of a."


def test_read_request__an_index__is_kept(loaded: ServiceOf) -> None:
    loaded([{"name": "a", "type": "long"}])
    data, _ = score.read_request('{"dataframe_split": {"columns": ["a"], "index": ["x", 7], "data": [[1], [2]]}}')
    assert data.to_dict() == {"a": {"x": 1, 7: 2}}


def test_read_request__without_signature__tables_have_pandas_own_types(loaded: ServiceOf) -> None:
    loaded()
    data, _ = score.read_request('{"dataframe_records": [{"a": 1, "b": null}, {"a": 2, "b": 0.5}]}')
    assert [str(dtype) for dtype in data.dtypes] == ["int64", "float64"]
    data, _ = score.read_request('{"inputs": {"a": [1, 2], "b": [0.5, null]}}')
    assert {name: (array.dtype.kind, array.shape) for name, array in data.items()} == {
        "a": ("i", (2,)),
        "b": ("f", (2,)),
    }
    assert score.read_request('{"inputs": "text"}')[0] == "text"
    assert score.read_request('{"inputs": [[1], [2, 3]]}')[0] == [[1], [2, 3]]
    assert set(score.read_request('{"instances": [{"a": 1}, {"a": 2}]}')[0]) == {"a"}


def test_read_request__ragged_lists__are_for_tensors_of_objects_only(loaded: ServiceOf) -> None:
    body = '{"inputs": [["a"], ["b", "c"]]}'
    loaded([{"type": "tensor", "tensor-spec": {"dtype": "object", "shape": [-1]}}])
    assert score.read_request(body)[0].tolist() == [["a"], ["b", "c"]]
    loaded([{"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1, 2]}}])
    with pytest.raises(score.BadRequest, match="differ in length"):
        score.read_request(body)


TABLE = [{"name": "a", "type": "double"}]
FIXED = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]
FREE = [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, -1]}}]


@pytest.mark.parametrize(
    ("inputs", "error", "is_about_input"),
    [
        (None, ValueError("X has 3 features, but 4 are expected"), True),
        (None, TypeError("float() argument"), True),
        (None, KeyError("age"), True),
        (None, IndexError("out of bounds"), True),
        (None, RuntimeError("mat1 and mat2 shapes cannot be multiplied (1x3 and 4x1)"), True),
        (None, type("InvalidArgument", (Exception,), {})("Got invalid dimensions for input"), True),
        (None, type("LightGBMError", (Exception,), {})("The number of features in data (3) is not the same"), True),
        (None, RuntimeError("the disk is full"), False),
        (None, AttributeError("'NoneType' object has no attribute 'predict'"), False),
        (TABLE, ValueError("anything"), False),
        (FIXED, ValueError("anything"), False),
        (FREE, ValueError("X has 3 features, but 4 are expected"), True),
        (FREE, RuntimeError("the disk is full"), False),
    ],
    ids=repr,
)
def test_is_about_input__an_error_of_predict__counts_where_the_signature_leaves_it_open(
    loaded: ServiceOf, inputs: Any, error: Exception, is_about_input: bool
) -> None:
    loaded(inputs)
    assert score.is_about_input(error) is is_about_input


def test_is_about_input__mlflow_calls_a_parameter_invalid__is_the_callers(loaded: ServiceOf) -> None:
    loaded(TABLE)
    error = type("MlflowException", (Exception,), {"error_code": "INVALID_PARAMETER_VALUE"})("Failed to enforce schema")
    assert score.is_about_input(error)


@pytest.mark.parametrize("layout", ["", "model", "7/model", "prices/7/model"])
def test_find_model__one_of_azures_layouts__is_the_nearest_mlmodel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, layout: str
) -> None:
    folder = tmp_path / layout
    (folder / "artifacts" / "inner").mkdir(parents=True)
    for each in (folder, folder / "artifacts" / "inner"):
        (each / "MLmodel").touch()
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    assert score.find_model() == str(folder)


def test_find_model__none_or_several__says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    with pytest.raises(RuntimeError, match="No MLmodel file in or below"):
        score.find_model()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "MLmodel").touch()
    with pytest.raises(RuntimeError, match="More than one MLmodel"):
        score.find_model()


def test_publish_swagger__the_app_root_cannot_be_written__is_no_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AML_APP_ROOT", str(tmp_path / "file" / "folder"))
    score.publish_swagger()


def test_script__as_a_file__is_python_3_8_and_imports_nothing_of_ours() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    imports = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    imports += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in imports if name.startswith("mlaz_ci")]
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not {"mlflow", "numpy", "pandas"} & {alias.name for node in top for alias in node.names}


def test_swagger__in_the_script_itself__is_written_where_the_server_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = {"swagger.json": '{"a": "\'\\n\u00e9"}', "swagger3.json": "{}"}
    script = tmp_path / "code" / "score.py"
    script.parent.mkdir()
    script.write_text(score_script({**script_texts([SCORE]), **beside}), encoding="utf-8")
    monkeypatch.setenv("AML_APP_ROOT", str(tmp_path))
    runpy.run_path(str(script))["publish_swagger"]()
    published = {each.name: each.read_text(encoding="utf-8") for each in tmp_path.iterdir() if each.is_file()}
    assert published == beside
