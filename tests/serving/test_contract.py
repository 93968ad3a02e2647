"""docs/serving.md against Microsoft's real inference server, once for each range of it that we support."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.serving.conftest import ServiceOf

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"
EXAMPLES = re.compile(r"```json (request|answer|refusal) (\w+)\n(.*?)\n```", re.DOTALL)

ROWS = [[3, 72.5, "Oslo"], [2, 40.0, "Bergen"]]
COLUMNS = ["rooms", "area", "city"]
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
BY_COLUMN = {name: [row[place] for row in ROWS] for place, name in enumerate(COLUMNS)}
SPLIT = {"columns": COLUMNS, "index": [0, 1], "data": ROWS}
PRICES = [222.5, 140.0]
KINDS_RECORD = {
    "flag": True,
    "small": 1,
    "large": 2**53 + 1,
    "single": 0.5,
    "real": 0.1,
    "text": "a",
    "raw": "AAE=",
    "moment": "2024-05-06T07:08:09.123456",
}


def examples() -> list[tuple[str, Any, str, Any]]:
    """The worked examples of the document: (model, request, "answer" or "refusal", response), in its order."""
    found = EXAMPLES.findall(DOCUMENT.read_text())
    pairs = zip(found[::2], found[1::2], strict=True)
    return [(model, json.loads(body), kind, json.loads(response)) for (_, model, body), (kind, _, response) in pairs]


@pytest.mark.parametrize(
    ("model", "body", "kind", "response"),
    examples(),
    ids=[f"{number} {model} {kind}" for number, (model, _, kind, _) in enumerate(examples(), 1)],
)
def test_document__each_worked_example__is_what_the_server_answers(
    service: ServiceOf, model: str, body: Any, kind: str, response: Any
) -> None:
    answer = service(model).score(body)
    assert answer.status == (200 if kind == "answer" else 400), answer.text
    if kind == "refusal":
        assert answer.json.pop("correlation_id")
        assert {name: answer.json[name] for name in ("field", "message")} == response
    else:
        assert answer.json == response


@pytest.mark.parametrize(
    "body",
    [
        {"input_data": SPLIT},
        {"input_data": {"columns": COLUMNS, "data": ROWS}},
        {"input_data": ROWS},
        {"input_data": RECORDS},
        {"input_data": BY_COLUMN},
        {"dataframe_split": {**SPLIT, "index": ["b", "a"]}},
        {"dataframe_split": {"columns": COLUMNS[::-1], "data": [row[::-1] for row in ROWS]}},
        {"dataframe_split": {"columns": [*COLUMNS, "owner"], "data": [[*row, "me"] for row in ROWS]}},
        {"dataframe_records": RECORDS},
        {"inputs": BY_COLUMN},
        {"inputs": ROWS},
        {"instances": RECORDS},
        {"instances": ROWS},
        SPLIT,
        {**SPLIT, "params": {}},
        {"dataframe_records": RECORDS, "params": None},
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_score__every_form_of_a_table__gives_the_same_predictions(service: ServiceOf, body: Any) -> None:
    answer = service("table").score(body)
    assert (answer.status, answer.text) == (200, json.dumps(PRICES))
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b"", "Content-Type", "application/json"),
        (b"   ", "Content-Type", "application/json"),
        (b"{", "body", "line 1, column 2"),
        (b"[" * 100_000, "body", "nested too deeply"),
        (b"[1]", "body", "not a list"),
        (b"null", "body", "not null"),
        (b"{}", "body", "exactly one of"),
        ({"input_data": ROWS, "inputs": ROWS}, "body", "exactly one of"),
        ({"input_dat": ROWS}, "input_dat", "Did you mean input_data?"),
        ({"input_data": ROWS, "parms": {}}, "parms", "Did you mean params?"),
        ({"input_data": ROWS, "params": {"scale": 2}}, "params.scale", "declares none"),
        ({"input_data": ROWS, "params": [1]}, "params", "not a list"),
        ({"dataframe_records": [{"rooms": 1, "area": 2.0}]}, "dataframe_records.city", "Missing: city"),
        ({"dataframe_records": [{"rooms": 1, "aera": 2.0, "city": ""}]}, "dataframe_records.area", "mean aera?"),
        ({"dataframe_records": []}, "dataframe_records", "at least one"),
        ({"dataframe_split": ROWS}, "dataframe_split", "Give an object"),
        ({"dataframe_split": {"columns": COLUMNS, "data": []}}, "dataframe_split.data", "at least one"),
        ({"dataframe_split": {"columns": COLUMNS, "data": [[1]]}}, "dataframe_split.data[0]", "1 values for 3"),
        ({"dataframe_split": {**SPLIT, "index": [1]}}, "dataframe_split.index", "as long as"),
        ({"dataframe_split": {**SPLIT, "columns": ["a", "a", "b"]}}, "dataframe_split.columns", "each once"),
        ({"inputs": {**BY_COLUMN, "area": [1.0]}}, "inputs", "differ in length"),
        ({"inputs": {**BY_COLUMN, "area": 1.0}}, "inputs.area", "Give a list"),
        ({"inputs": [[1, 2.0]]}, "inputs[0]", "3 values (rooms, area, city), not 2 values"),
        ({"inputs": []}, "inputs", "at least one"),
        ({"inputs": 7}, "inputs[0]", "3 values"),
        ({"inputs": [["3", 1.0, "a"]]}, "inputs.rooms[0]", "an integer, not a string"),
        ({"inputs": [[3, "1.0", "a"]]}, "inputs.area[0]", "a number, not a string"),
        ({"inputs": [[3, True, "a"]]}, "inputs.area[0]", "a number, not a boolean"),
        ({"inputs": [[3.5, 1.0, "a"]]}, "inputs.rooms[0]", "an integer, not a fraction"),
        ({"inputs": [[None, 1.0, "a"]]}, "inputs.rooms[0]", "an integer, not null"),
        ({"inputs": [[2**70, 1.0, "a"]]}, "inputs.rooms", "beyond the range"),
        ({"inputs": [[3, 10**400, "a"]]}, "inputs.area", "beyond the range"),
        ({"inputs": [[3, 1.0, 5]]}, "inputs.city[0]", "a string, not a number"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_score__a_body_that_does_not_fit__is_400_with_the_field_named(
    service: ServiceOf, body: Any, field: str, words: str
) -> None:
    served = service("table")
    answer = served.score(body)
    assert answer.status == 400, answer.text
    assert answer.json["field"] == field
    assert words in answer.json["message"]
    assert answer.json["correlation_id"] == answer.headers["x-request-id"]
    assert served.score({"input_data": SPLIT}).status == 200


def test_score__a_form_content_type__is_400_that_names_the_header(service: ServiceOf) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # what curl -d sends
    answer = service("table").score({"input_data": SPLIT}, headers)
    assert (answer.status, answer.json["field"]) == (400, "Content-Type")
    assert "Content-Type: application/json" in answer.json["message"]


def test_score__text_plain__is_read_all_the_same(service: ServiceOf) -> None:
    assert service("table").score({"input_data": SPLIT}, {"Content-Type": "text/plain"}).json == PRICES


def test_score__get__is_400(service: ServiceOf) -> None:
    assert service("table").ask("GET", "/score").status == 400


def test_score__bytes_that_are_no_utf8__are_400(service: ServiceOf) -> None:
    assert service("table").score(b'{"inputs": "\xff"}').status == 400


def test_score__any_answer__says_which_deployment_gave_it(service: ServiceOf) -> None:
    served = service("kinds")
    bodies = [{"dataframe_records": [{**KINDS_RECORD, "text": text}]} for text in ("a", 1, "raise")]
    answers = [served.score(body) for body in bodies]
    assert [answer.status for answer in answers] == [200, 400, 500]
    assert {answer.headers["x-mlaz-spec"] for answer in answers} == {"spec-1234"}


def test_score__every_type__comes_back_in_its_one_form(service: ServiceOf) -> None:
    answer = service("kinds").score({"dataframe_records": [KINDS_RECORD, KINDS_RECORD]})
    assert answer.json == [KINDS_RECORD, KINDS_RECORD]


@pytest.mark.parametrize(
    ("column", "given", "back"),
    [
        ("real", None, None),
        ("real", "NaN", None),
        ("real", "Infinity", "Infinity"),
        ("real", "-Infinity", "-Infinity"),
        ("real", 3, 3.0),
        ("single", None, None),
        ("large", 3.0, 3),
        ("text", None, None),
        ("raw", None, None),
        ("raw", "", ""),
        ("moment", None, None),
        ("moment", "2024-05-06", "2024-05-06T00:00:00"),
        ("moment", "2024-05-06T07:08:09+02:00", "2024-05-06T05:08:09"),
        ("moment", "2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456789"),
    ],
    ids=repr,
)
def test_score__missing_and_unusual_values__have_one_form_each(
    service: ServiceOf, column: str, given: Any, back: Any
) -> None:
    answer = service("kinds").score({"dataframe_records": [KINDS_RECORD, {**KINDS_RECORD, column: given}]})
    assert answer.status == 200, answer.text
    assert answer.json == [KINDS_RECORD, {**KINDS_RECORD, column: back}]


def test_score__pythons_nan_tokens__are_read_as_the_strings_are(service: ServiceOf) -> None:
    body = json.dumps({"dataframe_records": [{**KINDS_RECORD, "real": float("nan"), "single": float("-inf")}]})
    assert "NaN" in body
    assert service("kinds").score(body).json == [{**KINDS_RECORD, "real": None, "single": "-Infinity"}]


@pytest.mark.parametrize(
    ("column", "given"),
    [
        ("raw", "no base64!"),
        ("moment", "yesterday, late"),
        ("moment", 5),
        ("moment", "9999-01-01"),
        ("flag", 1),
        ("small", 2**31),
    ],
    ids=repr,
)
def test_score__a_value_of_another_form__is_400_at_its_column(service: ServiceOf, column: str, given: Any) -> None:
    answer = service("kinds").score({"dataframe_records": [{**KINDS_RECORD, column: given}]})
    assert answer.status == 400, answer.text
    assert answer.json["field"].startswith(f"dataframe_records.{column}")


@pytest.mark.parametrize("text", ["raise", "value", "strange"])
def test_score__the_model_fails__is_500_with_a_correlation_id_and_no_detail(service: ServiceOf, text: str) -> None:
    served = service("kinds")
    canary = "Q0FOQVJZLTEyMw=="
    answer = served.score({"dataframe_records": [{**KINDS_RECORD, "text": text, "raw": canary}]})
    assert answer.status == 500
    assert answer.json["correlation_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json["correlation_id"] in served.log
    assert served.score({"dataframe_records": [KINDS_RECORD]}).status == 200


def test_log__whatever_was_sent__holds_no_value_of_it(service: ServiceOf) -> None:
    served = service("kinds")
    for record in (
        {**KINDS_RECORD, "text": "CANARY-ok"},
        {**KINDS_RECORD, "text": "raise", "raw": "Q0FOQVJZLTEyMw=="},  # CANARY-123 inside the exception's text
        {**KINDS_RECORD, "small": "CANARY-wrong-type"},
        {"CANARY-key": 1},
        {**KINDS_RECORD, "CANARY-column": 1},
    ):
        served.score({"dataframe_records": [record]})
    served.score(b'{"CANARY-malformed')
    served.score({"CANARY-field": 1})
    assert "CANARY" not in served.log
    assert "POST /score" in served.log


def test_score__a_request_id_is_sent__it_is_the_correlation_id(service: ServiceOf) -> None:
    headers = {"Content-Type": "application/json", "x-request-id": "from-the-caller"}
    answer = service("table").score({}, headers)
    assert answer.json["correlation_id"] == "from-the-caller"


@pytest.mark.parametrize("form", ["input_data", "inputs", "instances"])
@pytest.mark.parametrize(
    ("value", "back"),
    [([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], [10.0, 26.0]), ([[[0.5, None], [0, 0]]], [None])],
    ids=["two", "missing"],
)
def test_score__an_unnamed_tensor__is_taken_in_every_form(service: ServiceOf, form: str, value: Any, back: Any) -> None:
    answer = service("matrix").score({form: value})
    assert (answer.status, answer.json) == (200, back)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([[1, 2], [3, 4]], "The shape is [2, 2]; the signature says [-1, 2, 2]"),
        ([[[1, 2], [3]]], "differ in length"),
        ([[[1, 2], 3]], "differ in length"),
        ([[["a", "b"], ["c", "d"]]], "a number, not a string"),
        ({"x": [1]}, "a number, not an object"),
    ],
    ids=repr,
)
def test_score__a_tensor_of_another_shape_or_type__is_400(service: ServiceOf, value: Any, words: str) -> None:
    answer = service("matrix").score({"inputs": value})
    assert answer.status == 400, answer.text
    assert words in answer.json["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"input_data": {"left": [[1, 2]], "right": [[3, 4.0]]}},
        {"inputs": {"left": [[1, 2]], "right": [[3, 4]], "further": [1]}},
        {"instances": [{"left": [1, 2], "right": [3, 4]}]},
        {"dataframe_records": [{"left": [1, 2], "right": [3, 4]}]},
        {"dataframe_split": {"columns": ["right", "left"], "data": [[[3, 4], [1, 2]]]}},
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_score__named_tensors__are_taken_in_every_form(service: ServiceOf, body: Any) -> None:
    answer = service("tensors").score(body)
    assert (answer.status, answer.json) == (200, {"product": [[3.0, 8.0]], "dot": [11.0]})


def test_score__a_named_tensor_is_missing__is_400(service: ServiceOf) -> None:
    answer = service("tensors").score({"inputs": {"left": [[1, 2]]}})
    assert (answer.status, answer.json["field"]) == (400, "inputs.right")


@pytest.mark.parametrize(
    "body", [{"inputs": "ab"}, {"inputs": ["ab"]}, {"input_data": ["ab"]}, {"instances": ["ab"]},
             {"input_data": [["ab"]]}, {"dataframe_split": {"data": [["ab"]]}}, {"dataframe_records": [{"any": "ab"}]}], ids=repr
)  # fmt: skip
def test_score__strings__are_taken_in_every_form(service: ServiceOf, body: Any) -> None:
    answer = service("text").score(body)
    assert (answer.status, answer.json) == (200, ["AB"])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"scale": "2"}, "params.scale"),
        ({"scal": 2}, "params.scal"),
        ({"labels": "low"}, "params.labels"),
        ({"labels": [1]}, "params.labels[0]"),
    ],
    ids=repr,
)
def test_score__params_that_do_not_fit__are_400(service: ServiceOf, params: Any, field: str) -> None:
    answer = service("params").score({"dataframe_records": [{"value": 1.0}], "params": params})
    assert (answer.status, answer.json["field"]) == (400, field)


def test_score__params__reach_the_model_with_defaults_for_the_rest(service: ServiceOf) -> None:
    body = {"dataframe_records": [{"value": 1.0}]}
    assert service("params").score({**body, "params": {"scale": 3}}).json == [{"value": 3.0, "label": "high"}]
    assert service("params").score(body).json == [{"value": 1.0, "label": "low"}]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[1, 2], [0, 1]]},
        {"input_data": [[1, 2], [0, 1]]},
        {"instances": [[1.0, 2.0], [0.0, 1.0]]},
        {"dataframe_split": {"data": [[1, 2], [0, 1]]}},
        {"dataframe_records": [{"a": 1, "b": 2}, {"a": 0, "b": 1}]},
    ],
    ids=repr,
)
def test_score__a_model_without_signature__takes_arrays_and_tables(service: ServiceOf, body: Any) -> None:
    assert service("bare").score(body).json == pytest.approx([8.0, 3.0])


@pytest.mark.parametrize(
    "body", [{"inputs": [[1, 2, 3]]}, {"inputs": [["a", "b"]]}, {"inputs": [[1, 2], [3]]}, {"inputs": 5}], ids=repr
)
def test_score__without_signature_the_model_refuses_the_shape__is_400(service: ServiceOf, body: Any) -> None:
    answer = service("bare").score(body)
    assert (answer.status, answer.json["field"]) == (400, "body"), answer.text
    assert "does not accept this input" in answer.json["message"]


def test_score__objects_arrays_and_maps__are_checked_and_kept(service: ServiceOf) -> None:
    record = {"person": {"name": "Ada", "weight": 60}, "scores": [1, 2.5], "counts": {"a": 1}}
    expected = [{**record, "person": {"name": "Ada", "weight": 60.0}, "scores": [1.0, 2.5]}]
    assert service("nested").score({"dataframe_records": [record]}).json == expected
    assert service("nested").score({"inputs": record}).json == expected
    assert service("nested").score({"dataframe_records": [{**record, "note": "n"}]}).json == [
        {**expected[0], "note": "n"}
    ]
    for field, wrong in {
        "person[0].name": {"person": {}},
        "person[0].age": {"person": {"name": "Ada", "age": 1}},
        "scores[0][1]": {"scores": [1, "2"]},
        "counts[0].a": {"counts": {"a": "1"}},
    }.items():
        answer = service("nested").score({"dataframe_records": [{**record, **wrong}]})
        assert answer.status == 400, answer.text
        assert answer.json["field"].startswith(f"dataframe_records.{field}")


def test_score__a_model_typed_by_hints__gets_the_plain_list(service: ServiceOf) -> None:
    served = service("hints")
    for body in ({"inputs": [{"a": "x", "b": "w"}]}, {"dataframe_records": [{"a": "x", "b": "w"}]}):
        assert served.score(body).json == [["w", "x"]]
    answer = served.score({"inputs": [{"a": 1}]})
    assert answer.status == 400, answer.text


def test_health__a_running_service__is_healthy(service: ServiceOf) -> None:
    answer = service("table").ask("GET", "/")
    assert (answer.status, answer.text) == (200, "Healthy")
