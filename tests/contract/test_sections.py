"""The sections of the config file: schema and parser are made of the same tables, and refuse and take the same."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlaz_ci.errors import InapplicableInput, InvalidConfigFile, UnknownConfigKey
from mlaz_ci.inputs import parse_config
from mlaz_ci.inputs.config import KEYS
from mlaz_ci.inputs.schema import render_schema
from mlaz_ci.targets import TARGETS
from mlaz_ci.targets.v1_keys import ACI, AKS, Form, Keys

ROOT = Path(__file__).resolve().parents[2]
SCHEMA: Mapping[str, Any] = render_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
SECTIONS = [str(target) for target, rules in TARGETS.items() if rules.section]
AKS_ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shared"
Schema = Mapping[str, Any]


# --- every document of ours that holds a config file -----------------------------------------------------------------


def config_files() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.glob("examples/**/mlaz-ci.yml")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]:
        for number, block in enumerate(re.findall(r"```ya?ml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)):
            read = yaml.safe_load(block)
            if block.startswith("# mlaz-ci.yml") or (isinstance(read, dict) and set(read) <= set(KEYS)):
                yield f"{path.relative_to(ROOT)} {number}", block


CONFIG_FILES = dict(config_files())


def test_config_files__of_the_documents__are_found_and_show_sections_of_both_kinds() -> None:
    assert any(name.startswith("README.md") for name in CONFIG_FILES)
    shown = {key for text in CONFIG_FILES.values() for key in yaml.safe_load(text)}
    assert shown & {"aci", "aks"}
    assert shown & {"managed", "kubernetes"}


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_config_file__of_the_documents__is_what_schema_and_parser_take(name: str) -> None:
    VALIDATOR.validate(yaml.safe_load(CONFIG_FILES[name]))
    parse_config(CONFIG_FILES[name], name)


# --- what is drawn from the schema is taken by the parser, and with one mistake by neither ----------------------------


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    """JSON values that the schema describes, with no more of JSON schema than ours uses."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "pattern" in schema:
        texts = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z", alphabet=st.characters(codec="ascii"))
        return texts.filter(lambda text: len(text) >= schema.get("minLength", 0))
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    return st.one_of([_of_kind(kind, schema) for kind in kinds if kind != "null"])


def _of_kind(kind: str, schema: Schema) -> st.SearchStrategy[Any]:
    match kind:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", -9), schema.get("maximum", 999))
        case "number":
            return st.sampled_from([1, 0.5, 90])
        case "string":
            return st.sampled_from(["a", "true", "/x.y", "3"])
        case "array":
            return st.lists(values_of(schema["items"]), min_size=schema.get("minItems", 0), max_size=2)
        case "object":
            return _mappings(schema)
    raise AssertionError(kind)


def _mappings(schema: Schema) -> st.SearchStrategy[Any]:
    named = {name: values_of(each) for name, each in schema.get("properties", {}).items()}
    required = {name: named.pop(name) for name in schema.get("required", ())}
    # A key of a group comes with its group.
    grouped = [name for name in named if name in schema.get("dependencies", {})]
    free = schema.get("additionalProperties")
    if isinstance(free, Mapping):
        return st.dictionaries(st.sampled_from(["a", "/b.c"]), values_of(free), max_size=2)
    alone = st.fixed_dictionaries(required, optional={key: each for key, each in named.items() if key not in grouped})
    if not grouped:
        return alone
    group = st.sampled_from(sorted({tuple(sorted([key, *schema["dependencies"][key]])) for key in grouped}))
    whole = group.flatmap(lambda keys: st.fixed_dictionaries({key: named[key] for key in keys}))
    return st.tuples(alone, st.one_of(st.just({}), whole)).map(lambda both: {**both[0], **both[1]})


def as_config(document: Any) -> str:
    return json.dumps(document, indent=2)


@pytest.mark.parametrize("section", SECTIONS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_section__what_the_schema_describes__is_taken_by_schema_and_parser(section: str, data: st.DataObject) -> None:
    value = data.draw(values_of(SCHEMA["properties"][section]))
    assert VALIDATOR.is_valid({section: value})
    # One limit is Azure's own sum over a duration's parts, which a schema cannot tell.
    (value.get("deployment") or {}).get("requestSettings", {}).pop("requestTimeout", None)
    assert parse_config(as_config({section: value}), "mlaz-ci.yml").sections == {section: value}


def keys_in(schema: Schema, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key that the schema names, at any depth."""
    for name, each in schema.get("properties", {}).items():
        yield (*path, name)
        yield from keys_in(each, (*path, name))
    free = schema.get("additionalProperties")
    if isinstance(free, Mapping):
        yield from keys_in(free, (*path, "any"))


NAMED = [(section, *path) for section in SECTIONS for path in keys_in(SCHEMA["properties"][section])]


def document_at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    document: Any = value
    for name in reversed(path):
        document = {name: document}
    if path[1:2] == ("autoscale",) and isinstance(document[path[0]]["autoscale"], dict):
        document[path[0]]["autoscale"].setdefault("profiles", [{}])
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("path", NAMED, ids=".".join)
def test_section__typo_in_any_key__is_refused_by_schema_and_parser_with_its_place(path: tuple[str, ...]) -> None:
    typo = (*path[:-1], f"{path[-1]}z")
    document = document_at(typo, {})
    assert not VALIDATOR.is_valid(document)
    text = as_config(document)
    line = next(number for number, each in enumerate(text.splitlines(), start=1) if f'"{typo[-1]}"' in each)
    column = text.splitlines()[line - 1].index('"') + 1
    with pytest.raises(UnknownConfigKey) as caught:
        parse_config(text, "mlaz-ci.yml")
    assert caught.value.what.startswith(f"mlaz-ci.yml:{line}:{column}: ")
    assert f"{path[-1]}`" in caught.value.what, "it names the nearest right key"


@pytest.mark.parametrize("path", NAMED, ids=".".join)
def test_section__list_of_lists_for_any_key__is_refused_by_schema_and_parser(path: tuple[str, ...]) -> None:
    document = document_at(path, [["x"]])
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(InvalidConfigFile) as caught:
        parse_config(as_config(document), "mlaz-ci.yml")
    assert re.match(r"mlaz-ci\.yml:\d+:\d+: ", caught.value.what)


@pytest.mark.parametrize("keys", [ACI, AKS], ids=lambda keys: keys.section)
def test_schema__keys_of_v1__are_azureml_cores_own(keys: Keys) -> None:
    schema = SCHEMA["properties"][keys.section]
    assert set(schema["properties"]) == set(keys.forms)
    assert all(
        schema["properties"][name]["type"] == "boolean" for name, form in keys.forms.items() if form is Form.SWITCH
    )


@pytest.mark.parametrize("key", ["autoscale", "mirror-percent"])
def test_schema__kubernetes__has_neither_autoscale_nor_mirror(key: str) -> None:
    assert key in SCHEMA["properties"]["managed"]["properties"]
    document = {"kubernetes": {key: {"profiles": [{}]} if key == "autoscale" else 5}}
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(InapplicableInput):
        parse_config(as_config(document), "mlaz-ci.yml")


# --- the cluster ------------------------------------------------------------------------------------------------------

MADE = {"name": "aks-ml", "create": True, "vm_size": "Standard_D3_v2", "agent_count": 3}
ATTACHED = {"name": "aks-ml", "attach": AKS_ID, "cluster_purpose": "DevTest"}


@pytest.mark.parametrize("compute", ["aks-ml", {"name": "aks-ml"}, {"name": "aks-ml", "create": False}, MADE, ATTACHED])
def test_compute__each_form__is_taken_by_schema_and_parser(compute: Any) -> None:
    VALIDATOR.validate({"compute": compute})
    assert parse_config(as_config({"compute": compute}), "mlaz-ci.yml").settings["compute"].value == "aks-ml"


@pytest.mark.parametrize(
    "change",
    [
        {"creat": True},
        {"vm-size": "x"},
        {"agent_count": "3"},
        {"attach": AKS_ID},
        {"name": ""},
        {"vnet_name": "n"},
        {"create": False},
        {"create": "maybe"},
    ],
    ids=str,
)
def test_compute__one_mistake__is_refused_by_schema_and_parser_with_its_place(change: dict[str, Any]) -> None:
    compute = {**copy.deepcopy(MADE), **change}
    assert not VALIDATOR.is_valid({"compute": compute})
    with pytest.raises((InvalidConfigFile, UnknownConfigKey)) as caught:
        parse_config(as_config({"compute": compute}), "mlaz-ci.yml")
    assert re.match(r"mlaz-ci\.yml:\d+:\d+: ", caught.value.what)
