"""The line to paste: run by a real shell, its body still a valid request."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.models import AuthMode, ScoreRequest
from mlaz_ci.report.curl import curl_line, shorten_body
from tests import samples
from tests.unit.report import scenarios


@given(st.text(min_size=1), st.binary())
def test_curl_line__any_uri_and_body__is_one_command_on_one_line(uri: str, body: bytes) -> None:
    outcome = replace(scenarios.HEALTHY, scoring_uri=uri, smoke_request=ScoreRequest(body=body, origin="a file"))
    line = curl_line(outcome)
    assert line is not None
    assert line.splitlines() == [line]
    words = shlex.split(line)
    assert words[:2] == ["curl", "-sS"]
    assert words[3:6] == ["-H", "Content-Type: application/json", "-d"]
    assert len(words) == 7


def test_curl_line__nothing_to_call__is_absent() -> None:
    assert curl_line(replace(scenarios.HEALTHY, scoring_uri=None)) is None


@pytest.mark.parametrize("auth", [AuthMode.KEY, AuthMode.TOKEN, AuthMode.ENTRA])
def test_curl_line__service_that_asks_for_a_key__shows_where_it_goes_and_never_which(auth: AuthMode) -> None:
    service = replace(samples.service(), auth=auth)
    line = curl_line(replace(scenarios.HEALTHY, service=service))
    assert line
    assert """ -H 'Content-Type: application/json' -H "Authorization: Bearer $KEY" -d """ in line
    open_to_all = curl_line(replace(scenarios.HEALTHY, service=replace(service, auth=AuthMode.NONE)))
    assert open_to_all
    assert "Authorization" not in open_to_all


ROWS = [[0.1] * 10] * 500


@pytest.mark.parametrize(
    ("request_body", "shortened"),
    [
        pytest.param(
            {"input_data": {"columns": ["a"], "index": [*range(500)], "data": ROWS}, "params": {"t": 1}},
            {"input_data": {"columns": ["a"], "index": [0], "data": ROWS[:1]}, "params": {"t": 1}},
            id="split under input_data",
        ),
        pytest.param(
            {"columns": ["a"], "index": [*range(500)], "data": ROWS},
            {"columns": ["a"], "index": [0], "data": ROWS[:1]},
            id="bare split",
        ),
        pytest.param({"instances": ROWS}, {"instances": ROWS[:1]}, id="rows"),
        pytest.param({"inputs": {"x": ROWS, "y": ROWS}}, {"inputs": {"x": ROWS[:1], "y": ROWS[:1]}}, id="tensors"),
        pytest.param({"dataframe_records": [{"a": 1}] * 500}, {"dataframe_records": [{"a": 1}]}, id="records"),
        pytest.param({"inputs": ["text"]}, {"inputs": ["text"]}, id="short enough"),
    ],
)
def test_shorten_body__a_request__is_the_same_for_its_first_row(request_body: object, shortened: object) -> None:
    text = shorten_body(json.dumps(request_body).encode())
    assert text is not None
    assert json.loads(text) == shortened


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b"[" * 100_000, json.dumps({"inputs": "x" * 1000}).encode(), json.dumps([1] * 500).encode()],
    ids=["empty", "cut", "no text", "deep", "one long row", "no table"],
)
def test_shorten_body__no_short_json__is_left_to_a_file(body: bytes) -> None:
    assert shorten_body(body) is None
