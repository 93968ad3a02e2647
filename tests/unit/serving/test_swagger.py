from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlaz_ci.errors import MissingInput
from mlaz_ci.models import ModelSignature, ScoreRequest
from mlaz_ci.serving.swagger import render_swagger, sample_request

COLUMN_TYPES = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
DTYPES = ("bool", "int8", "int64", "uint8", "float32", "float64", "str", "bytes", "object", "datetime64[ns]")


def tensor(dtype: str, shape: list[int], **name: str) -> dict[str, Any]:
    return {**name, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}


COLUMNS = ModelSignature(
    inputs=(
        {"name": "rooms", "type": "long", "required": True},
        {"name": "area", "type": "double", "required": True},
        {"name": "note", "type": "string", "required": False},
    ),
    outputs=(tensor("float64", [-1]),),
    params=({"name": "scale", "type": "double", "default": 2.0, "shape": None},),
)
NESTED = ModelSignature(
    inputs=(
        {"name": "tags", "type": "array", "items": {"type": "string"}, "required": True},
        {"name": "counts", "type": "map", "values": {"type": "long"}, "required": True},
        {"name": "vector", "type": "sparkml vector", "required": True},
        {"name": "free", "type": "any", "required": True},
        {
            "name": "person",
            "type": "object",
            "required": True,
            "properties": {
                "name": {"type": "string", "required": True},
                "weight": {"type": "double", "required": False},
            },
        },
    )
)
SIGNATURES = {
    "columns": COLUMNS,
    "one unnamed column": ModelSignature(inputs=({"type": "string"},)),
    "two unnamed columns": ModelSignature(inputs=({"type": "string"}, {"type": "long"})),
    "nested": NESTED,
    "tensor": ModelSignature(inputs=(tensor("float32", [-1, 2, 3]),), outputs=(tensor("float32", [-1, 4]),)),
    "tensors": ModelSignature(inputs=(tensor("int64", [-1, 2], name="a"), tensor("str", [-1], name="b"))),
    "none": ModelSignature(),
}


def documents(signature: ModelSignature | None, smoke_request: ScoreRequest | None = None) -> tuple[Any, Any]:
    files = render_swagger(signature, "prices", smoke_request)
    return json.loads(files["swagger.json"]), json.loads(files["swagger3.json"])


def input_schema(signature: ModelSignature | None) -> Any:
    return documents(signature)[1]["components"]["schemas"]["ServiceInput"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key == "$ref")
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        (COLUMNS, {"input_data": {"columns": ["rooms", "area", "note"], "index": [0], "data": [[1, 1.0, "text"]]}}),
        (SIGNATURES["one unnamed column"], {"input_data": ["text"]}),
        (SIGNATURES["two unnamed columns"], {"input_data": [["text", 1]]}),
        (SIGNATURES["tensor"], {"input_data": [[[1.0] * 3] * 2]}),
        (SIGNATURES["tensors"], {"input_data": {"a": [[1, 1]], "b": ["text"]}}),
        (
            NESTED,
            {
                "input_data": {
                    "columns": ["tags", "counts", "vector", "free", "person"],
                    "index": [0],
                    "data": [[["text"], {"key": 1}, [1.0], "text", {"name": "text", "weight": 1.0}]],
                }
            },
        ),
        (ModelSignature(), {"input_data": [[1.0]]}),
    ],
    ids=["columns", "one", "two", "tensor", "tensors", "nested", "none"],
)
def test_sample_request__a_signature__is_the_smallest_body_that_fits(signature: ModelSignature, body: Any) -> None:
    assert sample_request(signature) == body


def test_sample_request__more_values_than_can_be_sent__asks_for_an_example() -> None:
    signature = ModelSignature(inputs=(tensor("float32", [-1, 3, 4096, 4096]),))
    with pytest.raises(MissingInput, match="50,331,648 values"):
        sample_request(signature)
    assert "example" not in input_schema(signature)


@pytest.mark.parametrize("name", SIGNATURES)
def test_swagger__a_signature__describes_its_own_sample(name: str) -> None:
    schema = input_schema(SIGNATURES[name])
    jsonschema.Draft4Validator.check_schema(schema)
    jsonschema.validate(sample_request(SIGNATURES[name]), schema, cls=jsonschema.Draft4Validator)


@pytest.mark.parametrize("name", SIGNATURES)
def test_swagger__a_signature__every_reference_leads_somewhere(name: str) -> None:
    for document in documents(SIGNATURES[name]):
        for reference in references(document):
            place = document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]
            assert isinstance(place, dict)


@pytest.mark.parametrize(
    ("body", "is_right"),
    [
        ({"dataframe_records": [{"rooms": 1, "area": 2.5}]}, True),
        ({"dataframe_records": [{"rooms": 1, "area": 2.5}], "params": {"scale": 3.5}}, True),
        ({"columns": ["rooms", "area"], "data": [[1, 2.5]]}, True),
        ({"dataframe_records": [{"rooms": 1}]}, False),
        ({"dataframe_records": [{"rooms": "1", "area": 2.5}]}, False),
        ({"dataframe_records": []}, False),
        ({"dataframe_split": {"columns": ["rooms"]}}, False),
        ({"inputs": [[1, 2.5]], "instances": [[1, 2.5]]}, False),
        ({"inputs": [[1, 2.5]], "parms": {}}, False),
        ({"inputs": [[1, 2.5]], "params": {"scal": 1}}, False),
        ({}, False),
    ],
    ids=repr,
)
def test_swagger__openapi_3__accepts_what_the_contract_accepts(body: Any, is_right: bool) -> None:
    validator = jsonschema.Draft4Validator(input_schema(COLUMNS))
    assert validator.is_valid(body) is is_right


def test_swagger__columns__both_versions_give_types_defaults_and_outputs() -> None:
    version_2, version_3 = documents(COLUMNS)
    assert version_2["swagger"] == "2.0"
    assert version_3["openapi"] == "3.0.3"
    for schemas in (version_2["definitions"], version_3["components"]["schemas"]):
        properties = schemas["ServiceInput"]["properties"]
        assert properties["dataframe_records"]["items"] == {
            "type": "object",
            "properties": {
                "rooms": {"type": "integer", "format": "int64"},
                "area": {"type": "number", "format": "double"},
                "note": {"type": "string"},
            },
            "required": ["rooms", "area"],
        }
        assert properties["params"]["properties"] == {"scale": {"type": "number", "format": "double", "default": 2.0}}
        assert schemas["ServiceOutput"] == {"type": "array", "items": {"type": "number", "format": "double"}}
        assert schemas["ServiceInput"]["example"] == sample_request(COLUMNS)
    assert version_2["info"]["title"] == version_3["info"]["title"] == "prices"


def test_swagger__a_default_that_json_has_no_number_for__is_its_name() -> None:
    signature = ModelSignature(params=({"name": "limit", "type": "double", "default": float("inf")},))
    assert input_schema(signature)["properties"]["params"]["properties"]["limit"]["default"] == "inf"


def test_swagger__a_tensor__has_its_fixed_dimensions() -> None:
    output = documents(SIGNATURES["tensor"])[1]["components"]["schemas"]["ServiceOutput"]
    assert output == {
        "type": "array",
        "items": {
            "type": "array",
            "items": {"type": "number", "format": "double"},
            "minItems": 4,
            "maxItems": 4,
        },
    }


@pytest.mark.parametrize(
    ("body", "example"),
    [
        (b'{"inputs": [[7, 8]]}', {"inputs": [[7, 8]]}),
        (b'{"inputs": [' + b"1," * 20_000 + b"1]}", None),
        (b'{"inputs": [NaN]}', None),
        (b"\xff", None),
        (b"no JSON", None),
    ],
    ids=["short", "long", "no JSON number", "no text", "no JSON"],
)
def test_swagger__the_smoke_request__is_the_example_if_it_can_be_shown(body: bytes, example: Any) -> None:
    request = ScoreRequest(body=body, origin="smoke.json")
    for document in documents(COLUMNS, request):
        schemas = document.get("definitions") or document["components"]["schemas"]
        assert schemas["ServiceInput"].get("example") == example


def test_swagger__no_signature__says_nothing_of_types() -> None:
    version_2, version_3 = documents(None)
    assert version_2["definitions"]["ServiceInput"]["properties"]["dataframe_records"]["items"] == {"type": "object"}
    assert "example" not in version_3["components"]["schemas"]["ServiceInput"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5) | st.sampled_from(COLUMN_TYPES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
hostile_specs = st.lists(
    st.dictionaries(
        st.sampled_from(["name", "type", "required", "tensor-spec", "items", "values", "properties", "shape", "default"]),
        json_values | st.sampled_from(["tensor", "array", "object", "map"]) | st.just({"shape": [-1, 2], "dtype": "int8"}),
    ),
    max_size=3,
)  # fmt: skip


@settings(max_examples=40)
@given(hostile_specs, hostile_specs, hostile_specs)
def test_swagger__whatever_stands_in_an_mlmodel__gives_strict_json(
    inputs: list[Any], outputs: list[Any], params: list[Any]
) -> None:
    signature = ModelSignature(inputs=tuple(inputs), outputs=tuple(outputs), params=tuple(params))
    for text in render_swagger(signature, "prices").values():
        json.loads(text, parse_constant=pytest.fail)


scalar_specs = st.sampled_from(COLUMN_TYPES).map(lambda kind: {"type": kind})
value_specs = st.recursive(
    scalar_specs,
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda values: {"type": "map", "values": values}, inner)
        | st.dictionaries(st.text("abc", min_size=1), inner, min_size=1, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties}
        )
    ),
    max_leaves=4,
)
named_columns = st.dictionaries(st.text("xyz", min_size=1), value_specs, min_size=1, max_size=4).map(
    lambda columns: [{**spec, "name": name, "required": True} for name, spec in columns.items()]
)
tensors = st.builds(tensor, st.sampled_from(DTYPES), st.lists(st.sampled_from([-1, 1, 2]), min_size=1, max_size=3))
signatures = named_columns | scalar_specs.map(lambda spec: [spec]) | tensors.map(lambda spec: [spec])


@settings(max_examples=40)
@given(signatures)
def test_sample_request__any_signature__fits_its_own_page(inputs: list[Any]) -> None:
    signature = ModelSignature(inputs=tuple(inputs))
    jsonschema.validate(sample_request(signature), input_schema(signature), cls=jsonschema.Draft4Validator)
