"""Reads inputs that map names to texts: `name=value` lines, or a YAML or JSON mapping. Values of private inputs never reach an error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from mlaz_ci.errors import InvalidInput
from mlaz_ci.inputs.row import Input
from mlaz_ci.inputs.wording import quote
from mlaz_ci.inputs.yaml_text import YamlProblem, compose, entries_of, text_of

# Azure's limits for tags (50 on a resource, of which we set up to 15), held on every target alike.
_MAX_TAGS: Final = 35
_MAX_TAG_NAME: Final = 512
_MAX_TAG_VALUE: Final = 256
_MAX_VARIABLES: Final = 200


def parse_mapping(row: Input, text: str) -> Mapping[str, str]:
    """The mapping that `text` stands for, in its order, each name and value checked. Raises InvalidInput."""
    pairs = _parse_json(text)
    if pairs is None:
        pairs = list(_parse_yaml(row, text) if _looks_like_yaml(text) else _parse_lines(row, text))
    return check_mapping(row, pairs)


def _parse_json(text: str) -> list[tuple[str, str]] | None:
    """A JSON object of plain values, each as it was written; None for anything else, which YAML's reader explains.

    Not left to YAML, which JSON is nearly a part of: the two differ in how they escape what lies beyond 16 bits.
    """
    if not text.startswith("{"):
        return None
    try:
        read = json.loads(text, object_pairs_hook=list, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    words = {True: "true", False: "false", None: ""}
    if any(isinstance(value, list) for _, value in read):
        return None
    return [(name, value if isinstance(value, str) else words[value]) for name, value in read]


def _looks_like_yaml(text: str) -> bool:
    """JSON and flow mappings start with a brace; else what stands first in the first line decides, `=` or a colon."""
    if text.startswith("{"):
        return True
    mark = re.search(r"=|:(?=\s|$)", text.partition("\n")[0])
    return mark is not None and mark.group() == ":"


def _parse_yaml(row: Input, text: str) -> Iterable[tuple[str, str]]:
    try:
        node = compose(text)
        return [] if node is None else [(each.key, text_of(each.node)) for each in entries_of(node)]
    except YamlProblem as problem:
        # The problem can quote the text, which may be private; the place is enough to find it.
        what = "" if row.is_private else f": {problem.what}"
        raise InvalidInput(
            f"`{row.name}` is not a mapping of names to texts at line {problem.place.line}, column {problem.place.column}{what}."
        ) from problem


def _parse_lines(row: Input, text: str) -> Iterable[tuple[str, str]]:
    lines = text.split("\n")
    parts = text.split(",") if len(lines) == 1 else lines
    for number, part in enumerate(parts, start=1):
        if not part.strip():
            continue
        name, sign, value = part.partition("=")
        if not sign:
            where = f"part {number}" if row.is_private else f"{quote(part.strip())}"
            raise InvalidInput(
                f"`{row.name}`: {where} has no `=`.",
                usually="A value with a comma on a single line, or a value over several lines.",
                remedy="Write one `name=value` a line, or a YAML mapping with the value in quotes.",
            )
        yield name.strip(), value.strip()


def check_mapping(row: Input, pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """`pairs` as a mapping. Raises InvalidInput for a name that is twice there or that Azure or a shell would refuse."""
    mapping: dict[str, str] = {}
    for name, value in pairs:
        _check_pair(row, name, value)
        if name in mapping:
            raise InvalidInput(f"`{row.name}` names {quote(name)} twice.")
        mapping[name] = value
    limit = _MAX_VARIABLES if row.is_private else _MAX_TAGS
    if len(mapping) > limit:
        raise InvalidInput(f"`{row.name}` has {len(mapping)} names; at most {limit} are taken.")
    return mapping


def _check_pair(row: Input, name: str, value: str) -> None:
    if "\x00" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise InvalidInput(f"`{row.name}`: the value of {quote(name)} has a character that no value can have.")
    if row.is_private:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,254}", name):
            raise InvalidInput(
                f"`{row.name}`: {quote(name)} is not the name of an environment variable.",
                remedy="Use letters, digits and underscores, not starting with a digit.",
            )
        return
    if not name or len(name) > _MAX_TAG_NAME or re.search(r"[<>%&\\?/\x00-\x1f\x7f-\x9f\ud800-\udfff]", name):
        raise InvalidInput(
            f"`{row.name}`: {quote(name)} is not the name of a tag.",
            remedy=f"Use 1 to {_MAX_TAG_NAME} characters without < > % & \\ ? / and line breaks.",
        )
    if name.lower() == "managed-by" or name.lower().startswith("mlaz-"):
        raise InvalidInput(
            f"`{row.name}`: {quote(name)} is a tag of mlaz-ci's own.",
            usually="Ownership is read from `managed-by` and `mlaz-…`, so nobody else sets them.",
            remedy="Use another name.",
        )
    if len(value) > _MAX_TAG_VALUE or re.search(r"[\x00-\x1f\x7f-\x9f]", value):
        raise InvalidInput(
            f"`{row.name}`: the value of {quote(name)} is over {_MAX_TAG_VALUE} characters, or has line breaks."
        )
