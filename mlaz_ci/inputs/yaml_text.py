"""YAML text as nodes with their places, safely: nothing is constructed, and size, depth and aliases are bounded before anything is built."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import yaml

_MAX_LENGTH: Final = 65_536
_MAX_DEPTH: Final = 12  # an autoscale rule's dimensions, the deepest of Azure's own fields, stand ten deep
_MAX_ALIASES: Final = 32
_PLAIN_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value")
)
_NUMBERS_AND_BOOLEANS: Final = frozenset(f"tag:yaml.org,2002:{each}" for each in ("int", "float", "bool"))
_NULL_TAG: Final = "tag:yaml.org,2002:null"
_MAP_TAG: Final = "tag:yaml.org,2002:map"
_NO_TAGS: Final = "tags (`!…`) have no meaning here"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Counted from 1, as editors do."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


_START: Final = Place(line=1, column=1)


class _Mark(Protocol):
    """PyYAML's marks, which count from 0."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


class YamlProblem(Exception):
    """What is wrong with a YAML text, and where; its reader turns it into an error of the catalogue."""

    def __init__(self, what: str, place: Place) -> None:
        super().__init__(what)
        self.what = what
        self.place = place


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One key of a mapping with its node; `key_place` is where the key stands."""

    key: str
    key_place: Place
    node: yaml.Node

    @property
    def place(self) -> Place:
        return place_of(self.node)


def place_of(node: yaml.Node) -> Place:
    return _place(node.start_mark)


def _place(mark: _Mark | None) -> Place:
    return Place(line=mark.line + 1, column=mark.column + 1) if mark else _START


def compose(text: str) -> yaml.Node | None:
    """The one document of `text`, or None where it is empty. Raises YamlProblem."""
    if len(text) > _MAX_LENGTH:
        raise YamlProblem(f"it is {len(text)} characters long; at most {_MAX_LENGTH} are read", _START)
    try:
        _check_bounds(text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(line=before.count("\n") + 1, column=len(before) - (before.rfind("\n") + 1) + 1)
        raise YamlProblem("it has a character that YAML does not allow", place) from error
    except yaml.MarkedYAMLError as error:
        # Of a quote that is never closed the beginning tells more than the end of the file.
        is_open = "quoted scalar" in str(error.context) and "end of stream" in str(error.problem)
        mark = error.context_mark if is_open else error.problem_mark
        raise YamlProblem(_problem(error), _place(mark or error.context_mark)) from error
    except (ValueError, IndexError, OverflowError) as error:
        # HACK: PyYAML lets some escapes and directives out as its own int() and chr() errors.
        raise YamlProblem("it is not YAML", _START) from error


# By PyYAML's words: what they mean to who wrote the file.
_MEANT: Final = {
    "mapping values are not allowed here": "a line is indented too far, or a value with `: ` in it needs quotes",
    "found unexpected end of stream": "a quote is not closed",
    "found character '\\t'": "a tab stands where YAML takes spaces alone",
    "could not find expected ':'": "a line has no `: ` behind its key",
    "expected ',' or": "a brace or bracket is not closed",
    "expected <block end>": "a line is not indented as those above it",
}


def _problem(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's words in ours, or cut: they can quote the text."""
    told = str(error.problem or "")
    for words, meant in _MEANT.items():
        if told.startswith(words):
            return meant
    words = "".join(each if each.isprintable() else "?" for each in str(error.problem or "it is not YAML")[:120])
    return words.replace("'\\t'", "a tab")


def _check_bounds(text: str) -> None:
    """Reads the events one by one, so that a bomb is found before a tree of it is built."""
    open_anchors: list[str | None] = []
    aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            open_anchors.pop()
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if event.anchor in open_anchors:
                raise YamlProblem("an alias stands inside what it names", _place(event.start_mark))
        if len(open_anchors) > _MAX_DEPTH or aliases > _MAX_ALIASES:
            is_deep = len(open_anchors) > _MAX_DEPTH
            what = f"it is nested deeper than {_MAX_DEPTH}" if is_deep else f"it has over {_MAX_ALIASES} aliases"
            raise YamlProblem(what, _place(event.start_mark))


def entries_of(node: yaml.Node) -> list[Entry]:
    """The entries of a mapping, each key once. Raises YamlProblem for what is no mapping of plain words."""
    if isinstance(node, yaml.MappingNode) and node.tag != _MAP_TAG:
        raise YamlProblem(_NO_TAGS, place_of(node))
    if not isinstance(node, yaml.MappingNode):
        is_joined = isinstance(node, yaml.ScalarNode) and re.match(r"[\w-]{1,60}:\S", str(node.value))
        hint = "; a space is missing behind the colon" if is_joined else ""
        raise YamlProblem(f"a mapping (`key: value` lines) is expected, not {kind_of(node)}{hint}", place_of(node))
    entries: list[Entry] = []
    seen: dict[str, Place] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise YamlProblem(f"a key is a plain word, not {kind_of(key)}", place_of(key))
        if key.value in seen:
            raise YamlProblem(f"a key stands twice, first in line {seen[key.value].line}", place_of(key))
        seen[key.value] = place_of(key)
        entries.append(Entry(key=key.value, key_place=place_of(key), node=value))
    return entries


def text_of(node: yaml.Node) -> str:
    """The text of a scalar as it was written (`no` stays "no"); null is "". Raises YamlProblem for anything else."""
    if not isinstance(node, yaml.ScalarNode):
        raise YamlProblem(f"a single value is expected, not {kind_of(node)}", place_of(node))
    if node.tag not in _PLAIN_TAGS:
        raise YamlProblem(_NO_TAGS, place_of(node))
    return "" if node.tag == _NULL_TAG else str(node.value)


def kind_of(node: yaml.Node) -> str:
    match node:
        case yaml.MappingNode():
            return "a mapping"
        case yaml.SequenceNode():
            return "a list"
        case _:
            return "a single value"


def plain_value(node: yaml.Node) -> Any:
    """What the node says as JSON would: mappings, lists, texts, numbers, booleans and null. Raises YamlProblem for anything else."""
    match node:
        case yaml.MappingNode():
            return {each.key: plain_value(each.node) for each in entries_of(node)}
        case yaml.SequenceNode():
            return [plain_value(each) for each in node.value]
        case _:
            text = text_of(node)
    if node.tag not in _NUMBERS_AND_BOOLEANS:
        return None if node.tag == _NULL_TAG else text
    try:
        value = yaml.safe_load(text)
    except (ValueError, OverflowError) as error:
        raise YamlProblem("it is not a number", place_of(node)) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise YamlProblem("it is not a number that can be sent", place_of(node))
    return value


def places_of(node: yaml.Node, at: str) -> Iterator[tuple[str, Place]]:
    """Where each key below the mapping `node` stands, by its path from `at` with dots. Raises YamlProblem."""
    if isinstance(node, yaml.MappingNode):
        for each in entries_of(node):
            yield f"{at}.{each.key}", each.key_place
            yield from places_of(each.node, f"{at}.{each.key}")
