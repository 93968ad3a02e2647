"""Whatever stands in inputs, config file, command line, event or environment: a value or an error of the catalogue, and no other exception."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlaz_ci.errors import ExitCode, MlazError
from mlaz_ci.inputs import (
    HelpAsked,
    Origin,
    given_from_action,
    origin_from_environ,
    parse_command_line,
    parse_config,
    parse_request,
    secrets_of,
)
from mlaz_ci.inputs.mappings import parse_mapping
from mlaz_ci.inputs.model_source import parse_model_source
from mlaz_ci.inputs.row import ConfigUse, Input, Kind
from mlaz_ci.inputs.schema import render_schema
from mlaz_ci.inputs.table import INPUTS, LOCAL_KEYS
from mlaz_ci.models import Request

ORIGIN = Origin(working_directory=Path("/checkout"))
TEXTS = st.text(st.characters(codec=None), max_size=40)
LIKELY = st.sampled_from(
    ["true", "no", "30", "1e400", "NaN", "local", "managed", "deploy", "cleanup", "runs:/a/b", "models:/a@b", "a=1", "{", "a: b", "*a", "&a", "-", "../x", "churn"]
)  # fmt: skip
VALUES = st.one_of(TEXTS, LIKELY, st.binary(max_size=40))
NAMES = st.sampled_from([*INPUTS, "run_id", "targt"])


@contextmanager
def errors_of_the_catalogue(place: str = "") -> Iterator[None]:
    """Lets an error pass that a user can act on; anything else fails the test."""
    try:
        yield
    except MlazError as error:
        texts = (error.what, error.cause_text, error.remedy_text)
        if error.exit_code is not ExitCode.CONFIGURATION or not all(texts) or len(error.what) > 1000:
            pytest.fail(f"not an error for users: {error!r}")
        if not error.what.startswith(place):
            pytest.fail(f"it does not name its place: {error!r}")


@given(st.dictionaries(NAMES, VALUES, max_size=8), st.booleans())
def test_parse_request__any_inputs__is_a_request_or_an_error(inputs: dict[str, str], is_pull_request: bool) -> None:
    origin = Origin(working_directory=Path("/checkout"), is_pull_request=is_pull_request)
    with errors_of_the_catalogue():
        assert isinstance(parse_request(inputs, None, origin).request, Request)


@given(st.one_of(TEXTS, st.text("{}[]:,-?!&*#|>'\"%@` \n\tab1", max_size=60)))
def test_parse_config__any_text__is_a_config_or_an_error(text: str) -> None:
    with errors_of_the_catalogue("c.yml:"):
        parse_config(text, "c.yml")


@given(NAMES.filter(lambda name: name in INPUTS), TEXTS)
def test_parse_config__any_value_of_any_key__is_a_config_or_an_error(name: str, value: str) -> None:
    with errors_of_the_catalogue():
        config = parse_config(f"{name}: {json.dumps(value)}\n", "c.yml")
        parse_request({"run-id": "a", "service-name": "churn"}, config, ORIGIN)


@given(st.lists(st.one_of(TEXTS, LIKELY, NAMES.map(lambda name: f"--{name}")), max_size=6))
def test_parse_command_line__any_words__is_inputs_or_help_or_an_error(words: list[str]) -> None:
    with errors_of_the_catalogue(), suppress(HelpAsked):
        assert set(parse_command_line(words, {})) <= set(INPUTS)


@given(st.dictionaries(st.one_of(TEXTS, NAMES).map(lambda name: f"INPUT_{name.upper()}"), TEXTS, max_size=4))
def test_given_from_action__any_environment__is_inputs_or_an_error(environ: dict[str, str]) -> None:
    with errors_of_the_catalogue():
        assert set(given_from_action(environ)) <= set(INPUTS)


@given(st.dictionaries(NAMES, st.one_of(VALUES, st.none()), max_size=6))
def test_secrets_of__anything__never_fails(inputs: dict[str, str]) -> None:
    assert all(secrets_of(inputs))


JSON = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), TEXTS), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["pull_request", "number", "head", "base", "repo", "sha", "id"]), inner, max_size=4))  # fmt: skip


@given(
    JSON,
    st.dictionaries(st.sampled_from(["GITHUB_SHA", "GITHUB_REF", "GITHUB_REPOSITORY", "GITHUB_ACTOR", "USER"]), TEXTS),
    TEXTS,
)
def test_origin__any_event_and_variables__never_fails_and_has_plain_facts(
    event: object, environ: dict[str, str], host: str
) -> None:
    surroundings = {**environ, "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request"}
    origin = origin_from_environ(surroundings, json.dumps(event), Path("/x"), host=host)
    assert all(value.isprintable() and " " not in value for value in [*origin.facts().values(), origin.default_owner])


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_model_uri__any_text__is_a_source_or_an_error(uri: str) -> None:
    with errors_of_the_catalogue():
        assert parse_model_source(
            run_id=None, model_path=None, model_uri=uri or "x", default_path="model", working_directory=Path("/x")
        )


TAG_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="<>%&\\?/"), min_size=1, max_size=20
)
TAG_VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=30)


@given(
    st.dictionaries(
        TAG_NAMES.filter(lambda name: not name.lower().startswith(("mlaz-", "managed-by"))), TAG_VALUES, max_size=5
    )
)
def test_parse_mapping__tags_written_as_json__come_back(tags: dict[str, str]) -> None:
    for ensure_ascii in (True, False):
        assert parse_mapping(INPUTS["tags"], json.dumps(tags, ensure_ascii=ensure_ascii)) == tags


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True),
        st.from_regex(r"[!-~]([ -~]{0,20}[!-~])?", fullmatch=True),
        min_size=2,
        max_size=5,
    )
)
def test_parse_mapping__variables_written_as_lines__come_back(variables: dict[str, str]) -> None:
    text = "\n".join(f"{name}={value}" for name, value in variables.items())
    assert parse_mapping(INPUTS["environment-variables"], text) == variables


def values_of_schema(row: Input) -> st.SearchStrategy[object]:
    """JSON values that the schema may hold for `row`, right ones and near misses."""
    return st.one_of(
        st.sampled_from([*row.choices, "true", "no", True, False, 0, 1, 2.5, "x", "a=1", "churn", "models:/a/1"]),
        st.floats(min_value=row.minimum or 0, max_value=row.maximum or 1).map(lambda value: round(value, 2)),
        st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", 1, True, None]), max_size=2),
    )


SCHEMA = jsonschema.Draft7Validator(render_schema())
FORMLESS = {"tags", "environment-variables"}  # as a string they have a form of their own that the schema leaves open


@pytest.mark.parametrize(
    "name", [*(row.name for row in INPUTS.values() if row.config is not ConfigUse.NEVER), *LOCAL_KEYS]
)
@settings(max_examples=15)
@given(data=st.data())
def test_schema__what_it_accepts__parse_config_accepts(name: str, data: st.DataObject) -> None:
    value = data.draw(values_of_schema(LOCAL_KEYS.get(name) or INPUTS[name]))
    if name in FORMLESS and isinstance(value, str):
        return
    document = {"local": {name: value}} if name in LOCAL_KEYS else {name: value}
    if SCHEMA.is_valid(document):
        config = parse_config(json.dumps(document), "c.yml")
        assert name in {**config.settings, **config.local}


def test_schema__secrets__are_no_keys() -> None:
    assert not {row.name for row in INPUTS.values() if row.kind is Kind.SECRET} & set(render_schema()["properties"])
