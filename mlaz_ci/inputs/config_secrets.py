"""Finds the secrets in a config file's text before anything of it is read for its meaning or shown. Total: no text makes it fail.

A key in a checkout is no good place for a secret, and people put them there: they are masked all the same, also under a key that is
misspelt, of another target's section, or in a file that is not YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import yaml

from mlaz_ci.inputs.row import Kind
from mlaz_ci.inputs.table import INPUTS
from mlaz_ci.inputs.yaml_text import YamlProblem, compose
from mlaz_ci.targets import TARGETS

_NAMED: Final = frozenset(
    {name for name, row in INPUTS.items() if row.kind is Kind.SECRET}
    | {name for rules in TARGETS.values() if rules.section for name in rules.section.secrets}
)
_WORDS: Final = r"key|secret|password|passwd|pwd|token|creds|credentials?|pem|certificate|sas|connection[-_]?string"
_TELLING: Final = re.compile(
    rf"(?:^|[^A-Za-z])(?:{_WORDS})s?[0-9]*$|(?:primary|secondary|api|access|account|shared|private)keys?[0-9]*$",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# In a text that need not be YAML: a key, then a quoted or plain value, then where a block scalar would begin.
_PAIR: Final = re.compile(
    r"""(?P<key>[A-Za-z][\w.-]{0,79})["']?[ \t]*[:=][ \t]*(?:[!&]\S*[ \t]+)?(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^']|'')*)'|(?P<block>[|>][-+0-9]*[ \t]*$)|["']?(?P<plain>[^\s"'{}\[\],#|>&*!][^,}\]\n]*))""",
    re.MULTILINE,
)
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{1,40}-----(.*?)(?:-----END|\Z)", re.DOTALL)
_URL_PASSWORD: Final = re.compile(r"//[^/\s:@]{0,200}:([^/\s@]{1,500})@")
_PLAIN_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "none", "~"})
_LEAST_CHARS: Final = 4
# Each secret costs a look through every text that is written.
_MOST: Final = 200


def secrets_of_config(text: str) -> tuple[str, ...]:
    """Every text in the config file `text` that must be masked."""
    found = dict.fromkeys(each.strip() for source in (_in_nodes, _in_text, _in_pem) for each in source(text))
    telling = [each for each in found if len(each) >= _LEAST_CHARS and each.lower() not in _PLAIN_WORDS]
    return tuple(telling[:_MOST])


def lines_of_pem(text: str) -> tuple[str, ...]:
    """What is secret of a PEM file: its lines but for the headings, which everyone's has."""
    return tuple(line for line in dict.fromkeys(_in_pem(text)) if len(line) >= _LEAST_CHARS)


def _is_telling(key: str) -> bool:
    return key in _NAMED or _TELLING.search(_CAMEL.sub("_", key[-80:])) is not None


def _in_nodes(text: str) -> Iterator[str]:
    try:
        node = compose(text)
    except YamlProblem:
        return
    if node is not None:
        yield from _below(node, is_secret=False, seen=set())


def _below(node: yaml.Node, *, is_secret: bool, seen: set[tuple[int, bool]]) -> Iterator[str]:
    """The scalars under a telling key. What an alias repeats is looked at once."""
    if (id(node), is_secret) in seen:
        return
    seen.add((id(node), is_secret))
    match node:
        case yaml.ScalarNode() if is_secret:
            yield str(node.value)
        case yaml.SequenceNode():
            for each in node.value:
                yield from _below(each, is_secret=is_secret, seen=seen)
        case yaml.MappingNode():
            for key, value in node.value:
                named = is_secret or (isinstance(key, yaml.ScalarNode) and _is_telling(str(key.value)))
                yield from _below(value, is_secret=named, seen=seen)
        case _:
            return


def _in_text(text: str) -> Iterator[str]:
    for match in _URL_PASSWORD.finditer(text):
        yield match.group(1)
    for match in _PAIR.finditer(text):
        if not _is_telling(match["key"]):
            continue
        if match["block"]:
            yield from _block_after(text, match.end())
        elif plain := match["plain"]:
            # Outside a flow mapping a comma is part of the value.
            rest = text[match.start("plain") :].partition("\n")[0].rstrip(" }],")
            yield from (plain, plain.partition(" #")[0], rest)
        else:
            yield match["double"] or (match["single"] or "").replace("''", "'")


def _block_after(text: str, at: int) -> Iterator[str]:
    """The indented lines that a block scalar is made of."""
    for line in text[at:].split("\n")[1:]:
        if line.strip() and not line[0].isspace():
            return
        yield line


def _in_pem(text: str) -> Iterator[str]:
    for match in _PEM.finditer(text):
        yield from (line.strip() for line in match.group(1).replace("\\n", "\n").split("\n"))
