"""MLflow's search language: `metrics.rmse < 1 and tags.team = 'ml'`. Knows no run: it is handed what a name means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<op><=|>=|!=|=|<|>)|(?P<paren>[(),])"""
    r"""|(?P<name>[A-Za-z_][\w]*(?:\.(?:`[^`]*`|"[^"]*"|[\w.\-/]+))?)|(?P<number>-?\d+(?:\.\d+)?))"""
)
_OPERATORS = {"LIKE", "ILIKE", "IN"}
Value = str | float | None


class BadFilter(Exception):
    """The text is none of MLflow's search language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    # "attribute", "metrics", "params", "tags" and the name below it.
    kind: str
    name: str
    operator: str
    value: str | float | tuple[str, ...]

    def holds(self, found: Value) -> bool:
        if found is None:
            # MLflow 3 asks in every search of models for those not tagged as prompts: what lacks the tag is none.
            return self.kind == "tags" and self.operator == "!="
        match self.operator:
            case "LIKE" | "ILIKE":
                pattern = re.escape(str(self.value)).replace("%", ".*").replace("_", ".")
                flags = re.IGNORECASE | re.DOTALL if self.operator == "ILIKE" else re.DOTALL
                return re.fullmatch(pattern, str(found), flags) is not None
            case "IN":
                return isinstance(self.value, tuple) and str(found) in self.value
            case "=":
                return self._pair(found)[0] == self._pair(found)[1]
            case "!=":
                return self._pair(found)[0] != self._pair(found)[1]
            case _:
                return self._ordered(*self._pair(found))

    def _pair(self, found: str | float) -> tuple[str, str] | tuple[float, float]:
        if isinstance(found, float) and not isinstance(self.value, tuple):
            return found, float(self.value)
        return str(found), str(self.value)

    def _ordered(self, found: str | float, value: str | float) -> bool:
        # Both are of one type: _pair saw to it.
        first, second = (found, value) if isinstance(found, str) else (float(found), float(value))
        compare: dict[str, bool] = {
            "<": first < second,  # type: ignore[operator]
            ">": first > second,  # type: ignore[operator]
            "<=": first <= second,  # type: ignore[operator]
            ">=": first >= second,  # type: ignore[operator]
        }
        return compare[self.operator]


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            raise BadFilter(f"Invalid clause(s) in filter string: {text[place:].strip()!r}")
        place = found.end()
        yield found[0].strip()


def parse(text: str) -> list[Comparison]:
    """The comparisons of a filter, all of which must hold: MLflow has no OR."""
    tokens = list(_tokens(text))
    found: list[Comparison] = []
    while tokens:
        if found and tokens.pop(0).upper() != "AND":
            raise BadFilter(f"Comparisons are joined by AND alone: {text!r}")
        if len(tokens) < 3:
            raise BadFilter(f"Invalid filter string: {text!r}")
        kind, name = _identifier(tokens.pop(0))
        operator = tokens.pop(0).upper()
        if operator not in _OPERATORS and operator not in {"=", "!=", "<", ">", "<=", ">="}:
            raise BadFilter(f"Invalid comparison operator {operator!r} in filter string")
        value = _list(tokens) if operator == "IN" else _value(tokens.pop(0))
        found.append(Comparison(kind=kind, name=name, operator=operator, value=value))
    return found


def _identifier(text: str) -> tuple[str, str]:
    head, _, rest = text.partition(".")
    if not rest:
        return "attribute", head
    singular = {"metric": "metrics", "param": "params", "parameter": "params", "parameters": "params", "tag": "tags"}
    kind = singular.get(head, head)
    if kind in {"attr", "attributes", "run"}:
        kind = "attribute"
    if kind not in {"attribute", "metrics", "params", "tags"}:
        raise BadFilter(f"Invalid entity type {head!r}. Valid values are ['metric', 'parameter', 'tag', 'attribute']")
    return kind, rest.strip('`"')


def _value(token: str) -> str | float:
    if token[0] in "'\"":
        return token[1:-1]
    try:
        return float(token)
    except ValueError as error:
        raise BadFilter(f"Expected a quoted string or a number, got {token!r}") from error


def _list(tokens: list[str]) -> tuple[str, ...]:
    if tokens.pop(0) != "(":
        raise BadFilter("IN needs a list in parentheses")
    values: list[str] = []
    while tokens and (token := tokens.pop(0)) != ")":
        if token != ",":
            values.append(str(_value(token)))
    return tuple(values)


def matcher(text: str, look_up: Callable[[str, str, object], Value]) -> Callable[[object], bool]:
    """`look_up(kind, name, thing)` tells what a comparison's name means of a thing."""
    comparisons = parse(text)
    return lambda thing: all(one.holds(look_up(one.kind, one.name, thing)) for one in comparisons)
