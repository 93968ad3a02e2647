from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.checks.mlmodel import (
    InputExample,
    MlmodelDocument,
    assemble_facts,
    digest_facts,
    parse_mlmodel,
    render_example,
)
from mlaz_ci.errors import ModelNotServable

PLACE = "runs:/4dfe50d9/model/MLmodel"

# As mlflow 3.15 writes it for a pyfunc model.
OF_MLFLOW_3 = r"""
artifact_path: mlflow-artifacts:/1/models/m-1db237aff1254dc19efb2d83b18798de/artifacts
flavors:
  python_function:
    cloudpickle_version: 3.1.2
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
    python_version: 3.11.7
mlflow_version: 3.15.0
model_id: m-1db237aff1254dc19efb2d83b18798de
model_size_bytes: 1234
model_uuid: m-1db237aff1254dc19efb2d83b18798de
run_id: 4dfe50d9a74d471cbd58ab2ca25ad704
saved_input_example_info:
  artifact_path: input_example.json
  pandas_orient: split
  serving_input_path: serving_input_example.json
  type: dataframe
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
  params: '[{"name": "alpha", "type": "double", "default": 0.5, "shape": null}]'
utc_time_created: '2026-11-22 21:56:16.123456'
"""

# As mlflow 1.30 writes it.
OF_MLFLOW_1 = """
artifact_path: model
flavors:
  python_function:
    env: conda.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    python_version: 3.8.18
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.0.2
mlflow_version: 1.30.0
model_uuid: 3a1f
saved_input_example_info:
  artifact_path: input_example.json
  format: tf-serving
  type: ndarray
utc_time_created: '2022-11-01 10:11:12.5'
"""


def outcome(content: bytes) -> tuple[MlmodelDocument | None, str]:
    """The document, or what was told. Anything else than these two is a failure of the test."""
    try:
        return parse_mlmodel(content, place=PLACE), ""
    except ModelNotServable as error:
        return None, error.what


def test_parse_mlmodel__of_mlflow_3__all_facts() -> None:
    document = parse_mlmodel(OF_MLFLOW_3.encode(), place=PLACE)

    assert document.python_version == "3.11.7"
    assert document.mlflow_version == "3.15.0"
    assert document.model_uuid == "m-1db237aff1254dc19efb2d83b18798de"
    assert document.size_bytes == 1234
    assert document.created_at == datetime(2026, 11, 22, 21, 56, 16, 123456, UTC)
    assert document.conda_file == "conda.yaml"
    assert document.signature is not None
    assert document.signature.inputs == ({"type": "double", "name": "x", "required": True},)
    assert document.signature.outputs == ({"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}},)
    assert document.signature.params == ({"name": "alpha", "type": "double", "default": 0.5, "shape": None},)
    assert document.example == InputExample(
        serving_file="serving_input_example.json", data_file="input_example.json", kind="dataframe", has_params=False
    )
    facts = assemble_facts(document, {"requirements.txt": "a==1\n"}, input_example=None)
    assert facts.has_pyfunc
    assert facts.mlmodel_text == OF_MLFLOW_3


def test_parse_mlmodel__of_mlflow_1__all_facts() -> None:
    document = parse_mlmodel(OF_MLFLOW_1.encode(), place=PLACE)

    assert sorted(document.flavors) == ["python_function", "sklearn"]
    assert document.python_version == "3.8.18"
    assert document.conda_file == "conda.yaml"
    assert document.signature is None
    assert document.example is not None
    assert document.example.serving_file is None


NEST = "[" * 1200 + "]" * 1200
ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(ord(c) + 1)}: &{chr(ord(c) + 1)} [{','.join(['*' + c] * 10)}]\n" for c in "abcdefgh"
)
MERGE_BOMB = "a: &a {k: 1}\n" + "".join(
    f"{chr(ord(c) + 1)}: &{chr(ord(c) + 1)} {{<<: [{','.join(['*' + c] * 10)}]}}\n" for c in "abcdefghijkl"
)

HOSTILE = {
    "empty": (b"", "the file is missing and must be a mapping"),
    "text": (b"just words", "the file is a str and must be a mapping"),
    "list": (b"- flavors", "the file is a list and must be a mapping"),
    "no flavors": (b"mlflow_version: 3.15.0", "flavors is missing and must be a mapping"),
    "flavors a list": (b"flavors: [python_function]", "flavors is a list and must be a mapping"),
    "flavor a number": (b"flavors: {python_function: 3}", "flavors.python_function is a int and must be a mapping"),
    "not UTF-8": (b"flavors: \xff\xfe", "is not UTF-8 text (byte 9)"),
    "control characters": (b"flavors: \x00\x07", "it is not YAML"),
    "unclosed": (b"flavors: {python_function: {", "line 1, column 29"),
    "tab": (b"flavors:\n\tpython_function: {}", "line 2, column 1"),
    "python tag": (b"flavors: !!python/object/apply:os.system ['true']", "line 1, column 10"),
    "unknown tag": (b"flavors: !thing {}", "line 1, column 10"),
    "impossible date": (b"flavors: {a: {b: 2024-02-31}}", "not what it is tagged as"),
    "huge number": (b"flavors: {a: {b: " + b"9" * 5000 + b"}}", "not what it is tagged as"),
    "number without digits": (b"flavors: {a: {b: !!int ''}}", "not what it is tagged as"),
    "unhashable key": (b"? [a]\n: b", "line 1, column 3"),
    "nested": (NEST.encode(), "nested too deeply"),
    "alias bomb": (ALIAS_BOMB.encode(), "unfolds to more than"),
    "merge bomb": (MERGE_BOMB.encode(), "merge keys are not allowed here"),
    "cycle": (b"flavors: &a {python_function: *a}", "nested too deeply"),
    "too large": (b"#" * (4 * 1024 * 1024 + 1), "larger than 4 MB"),
    "signature a text": (b"flavors: {}\nsignature: none at all", "signature is a str"),
    "signature no JSON": (b"flavors: {}\nsignature: {inputs: '[{'}", "signature.inputs is not JSON"),
    "signature nested": (b"flavors: {}\nsignature: {inputs: '" + NEST.encode() + b"'}", "nested too deeply"),
    "signature no list": (b"flavors: {}\nsignature: {inputs: '{}'}", "signature.inputs must be a list of mappings"),
    "signature of words": (b"flavors: {}\nsignature: {outputs: [a]}", "signature.outputs must be a list of mappings"),
}


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_parse_mlmodel__hostile__told_with_place(content: bytes, said: str) -> None:
    with pytest.raises(ModelNotServable) as caught:
        parse_mlmodel(content, place=PLACE)

    assert said in caught.value.what
    assert PLACE in caught.value.what
    assert caught.value.remedy_text


ODD = {
    "python version a number": ("python_version: 3.11", "3.11"),
    "python version a list": ("python_version: [3]", None),
    "python version empty": ("python_version: ''", None),
    "python version true": ("python_version: true", None),
}


@pytest.mark.parametrize(("line", "expected"), ODD.values(), ids=ODD)
def test_parse_mlmodel__odd_python_version__a_word_or_none(line: str, expected: str | None) -> None:
    document = parse_mlmodel(f"flavors: {{python_function: {{{line}}}}}".encode(), place=PLACE)

    assert document.python_version == expected


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a\\b", "", "3"])
def test_parse_mlmodel__example_outside_the_folder__not_taken(name: str) -> None:
    quoted = json.dumps(name)
    document = parse_mlmodel(
        f"flavors: {{}}\nsaved_input_example_info: {{artifact_path: {quoted}}}".encode(), place=PLACE
    )

    assert document.example is None or document.example.data_file == "3"


def test_parse_mlmodel__conda_file_outside_the_folder__default_name() -> None:
    document = parse_mlmodel(b"flavors: {python_function: {env: {conda: ../secret.yaml}}}", place=PLACE)

    assert document.conda_file == "conda.yaml"


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_parse_mlmodel__any_bytes__document_or_told(content: bytes) -> None:
    document, told = outcome(content)

    assert PLACE in told if document is None else json.dumps(document.flavors)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "flavors",
    "signature",
    "saved_input_example_info",
    "mlflow_version",
    "model_uuid",
    "utc_time_created",
    "model_size_bytes",
]


@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_parse_mlmodel__any_values_under_its_keys__document_or_told(values: dict[str, object]) -> None:
    document, told = outcome(json.dumps({"flavors": {}, **values}).encode())

    assert PLACE in told or document is not None


EXAMPLES = {
    "mlflow 3 serving form": (
        {"dataframe_split": {"columns": ["x"], "data": [[1]]}, "params": {"a": 1}},
        "dataframe",
        False,
        True,
        {"dataframe_split": {"columns": ["x"], "data": [[1]]}, "params": {"a": 1}},
    ),
    "serving form, not an object": ([1], "dataframe", False, True, None),
    "split DataFrame": (
        {"columns": ["x"], "data": [[1]]},
        "dataframe",
        False,
        False,
        {"dataframe_split": {"columns": ["x"], "data": [[1]]}},
    ),
    "DataFrame of records": ([{"x": 1}], "dataframe", False, False, {"dataframe_records": [{"x": 1}]}),
    "TF-serving tensor": ({"inputs": [[1, 2]]}, "ndarray", False, False, {"inputs": [[1, 2]]}),
    "bare tensor": ([[1, 2]], "ndarray", False, False, {"inputs": [[1, 2]]}),
    "bare tensors": ({"a": [1], "b": [2]}, "ndarray", False, False, {"inputs": {"a": [1], "b": [2]}}),
    "object": ({"question": "why"}, "json_object", False, False, {"inputs": {"question": "why"}}),
    "with params": (
        {"inputs": {"columns": ["x"], "data": [[1]]}, "params": {"a": 1}},
        "dataframe",
        True,
        False,
        {"dataframe_split": {"columns": ["x"], "data": [[1]]}, "params": {"a": 1}},
    ),
    "sparse": (
        {"data": [1], "indices": [0], "indptr": [0, 1], "shape": [1, 1]},
        "sparse_matrix_csr",
        False,
        False,
        None,
    ),
}


@pytest.mark.parametrize(("value", "kind", "has_params", "is_serving_form", "body"), EXAMPLES.values(), ids=EXAMPLES)
def test_render_example__each_form__request_body(
    value: object, kind: str, has_params: bool, is_serving_form: bool, body: object
) -> None:
    example = InputExample(serving_file=None, data_file="input_example.json", kind=kind, has_params=has_params)

    rendered = render_example(json.dumps(value).encode(), example, is_serving_form=is_serving_form)

    assert (None if rendered is None else json.loads(rendered)) == body


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", NEST.encode(), b"9" * 5000])
def test_render_example__not_json__none(content: bytes) -> None:
    example = InputExample(serving_file="s", data_file=None, kind="json_object", has_params=False)

    assert render_example(content, example, is_serving_form=True) is None


def test_digest_facts__changes_with_each_file_and_its_name() -> None:
    document = parse_mlmodel(OF_MLFLOW_3.encode(), place=PLACE)
    versions = [
        assemble_facts(document, {}, input_example=None),
        assemble_facts(document, {"requirements.txt": "a"}, input_example=None),
        assemble_facts(document, {"conda.yaml": "a"}, input_example=None),
        assemble_facts(document, {"conda.yaml": "a", "requirements.txt": ""}, input_example=None),
        assemble_facts(parse_mlmodel(OF_MLFLOW_1.encode(), place=PLACE), {}, input_example=None),
    ]

    assert len({digest_facts(each) for each in versions}) == len(versions)
    assert digest_facts(versions[0]) == digest_facts(assemble_facts(document, {}, input_example="{}"))
