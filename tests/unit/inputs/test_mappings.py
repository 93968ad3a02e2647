from __future__ import annotations

import json

import pytest

from mlaz_ci.errors import InvalidInput
from mlaz_ci.inputs.mappings import parse_mapping
from mlaz_ci.inputs.table import INPUTS

TAGS = INPUTS["tags"]
VARIABLES = INPUTS["environment-variables"]


@pytest.mark.parametrize(
    "text",
    [
        "team=risk\nstage=test",
        "team = risk\n\n  stage = test  ",
        "team=risk,stage=test",
        "team=risk, stage=test,",
        "team: risk\nstage: test",
        "team: 'risk'\nstage: \"test\"",
        '{"team": "risk", "stage": "test"}',
        '{\n  "team": "risk",\n  "stage": "test"\n}',
        "{team: risk, stage: test}",
    ],
)
def test_parse_mapping__every_form__is_the_same_mapping(text: str) -> None:
    assert parse_mapping(TAGS, text) == {"team": "risk", "stage": "test"}


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("a=b=c", {"a": "b=c"}),
        ("a=x: y", {"a": "x: y"}),
        ("a: x=y", {"a": "x=y"}),
        ("a=1,2\nb=3", {"a": "1,2", "b": "3"}),
        ("a=", {"a": ""}),
        ("a:", {"a": ""}),
        ("a: no\nb: 010\nc: 1e3", {"a": "no", "b": "010", "c": "1e3"}),
        (
            '{"a": 1.50, "b": true, "c": null, "d": 12345678901234567890}',
            {"a": "1.50", "b": "true", "c": "", "d": "12345678901234567890"},
        ),
        ("{}", {}),
    ],
)
def test_parse_mapping__value_at_the_edge__is_kept_as_written(text: str, mapping: dict[str, str]) -> None:
    assert parse_mapping(TAGS, text) == mapping


def test_parse_mapping__json_with_escapes_beyond_16_bits__is_read_as_json() -> None:
    assert parse_mapping(TAGS, json.dumps({"mood": "😀"})) == {"mood": "😀"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("team", '"team" has no `=`'),
        ("a=1,2", '"2" has no `=`'),
        ("a=1\na=2", 'names "a" twice'),
        ('{"a": "1", "a": "2"}', 'names "a" twice'),
        ("a: 1\na: 2", "a key stands twice"),
        ("a: [1, 2]", "a single value is expected, not a list"),
        ('{"a": ["x"]}', "a single value is expected, not a list"),
        ("{a: ", "line 1"),
        ("a: !!python/name:os.system x", "tags (`!…`) have no meaning here"),
        ("=x", "not the name of a tag"),
        ("a/b=1", "not the name of a tag"),
        ("managed-by=me", "a tag of mlaz-ci's own"),
        ("MLAZ-owner=1", "a tag of mlaz-ci's own"),
        (f"a={'x' * 257}", "over 256 characters"),
        ('{"a": "x\\u0000"}', "has a character that no value can have"),
        ('{"a": "\\ud800"}', "has a character that no value can have"),
        ('{"a": "x\\ny"}', "or has line breaks"),
        ("\n".join(f"t{n}=1" for n in range(36)), "has 36 names; at most 35"),
        ('{"a":' * 3000, "`tags`"),
    ],
)
def test_parse_mapping__not_tags__says_what_is_wrong(text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_mapping(TAGS, text)
    assert caught.value.what.startswith("`tags`")
    assert told in caught.value.what


@pytest.mark.parametrize(
    "text",
    [
        "A=1,hunter2hunter2",
        "A=1\nhunter2hunter2",
        "A: [hunter2hunter2]",
        "A: hunter2hunter2: x",
        '{"A": hunter2hunter2',
        "A: &hunter2hunter2 1\nB: *hunter2hunter3",
        '{"A": "hunter2hunter2\\ud800"}',
    ],
)
def test_parse_mapping__environment_variables_not_read__never_shows_a_value(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_mapping(VARIABLES, text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["1A", "A-B", "A B", ""])
def test_parse_mapping__not_a_variable_name__is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not the name of an environment variable"):
        parse_mapping(VARIABLES, f"{name}=1\n")


def test_parse_mapping__environment_variables__may_hold_lines() -> None:
    assert parse_mapping(VARIABLES, "KEY: |\n  a\n  b\nOTHER: 1") == {"KEY": "a\nb\n", "OTHER": "1"}
