"""Reads the text of one input by its row of the table. Total: a value, or InvalidInput that says what is wrong and what would do."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, assert_never

from mlaz_ci.errors import InvalidInput
from mlaz_ci.inputs.mappings import parse_mapping
from mlaz_ci.inputs.row import Input, Kind
from mlaz_ci.inputs.wording import did_you_mean, quote
from mlaz_ci.models import Secret

Value = str | bool | int | float | StrEnum | Secret | Mapping[str, str]

_MAX_LENGTH: Final = 65_536
_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def clean(row: Input, given: object) -> str:
    """The text of an input without the white space around it; "" is not given.

    Raises InvalidInput for what no input takes: too long, not Unicode, control characters.
    """
    text = _decode(row, given).strip()
    if len(text) > _MAX_LENGTH:
        raise InvalidInput(f"`{row.name}` is {len(text)} characters long; an input has at most {_MAX_LENGTH}.")
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise _not_unicode(row)
    if row.may_have_lines:
        text = text.replace("\r\n", "\n")
    wrong = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]" if row.may_have_lines else r"[\x00-\x1f\x7f-\x9f]", text)
    if wrong:
        where = f"character {wrong.start() + 1}" if row.hides_its_value else quote(text)
        name = "a line break" if wrong.group() == "\n" else "a control character"
        raise InvalidInput(
            f"`{row.name}` has {name} in it: {where}.",
            usually="A YAML block scalar (`|`), or text pasted with the value.",
        )
    return text


def _decode(row: Input, given: object) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, bytes):
        try:
            return given.decode()
        except UnicodeDecodeError as error:
            raise _not_unicode(row) from error
    raise InvalidInput(f"`{row.name}` is a {type(given).__name__}; an input is text.")


def _not_unicode(row: Input) -> InvalidInput:
    return InvalidInput(f"`{row.name}` is not valid UTF-8 text.", usually="The value was written in another encoding.")


def parse_value(row: Input, text: str) -> Value:
    """The value that `text`, cleaned and not empty, stands for. Raises InvalidInput."""
    match row.kind:
        case Kind.TEXT | Kind.PATH:
            return _parse_text(row, text)
        case Kind.BOOLEAN:
            return _parse_boolean(row, text)
        case Kind.NUMBER | Kind.INTEGER:
            return _parse_number(row, text)
        case Kind.CHOICE:
            return _parse_choice(row, text)
        case Kind.MAPPING:
            return parse_mapping(row, text)
        case Kind.SECRET:
            return Secret(text)
        case _:
            assert_never(row.kind)


def _parse_text(row: Input, text: str) -> str:
    if row.pattern and not re.fullmatch(row.pattern, text, re.ASCII):
        raise InvalidInput(f"`{row.name}` {quote(text)} is not {row.form}.")
    return text


def _parse_boolean(row: Input, text: str) -> bool:
    """Never false for want of understanding: what is not a known word is an error."""
    value = _BOOLEANS.get(text.lower())
    if value is None:
        words = [*_BOOLEANS, "t", "f", "y", "n"]
        near = {"t": "true", "y": "true", "f": "false", "n": "false"}.get(text.lower())
        hint = f' Did you mean "{near}"?' if near else did_you_mean(text, [each for each in words if len(each) > 1])
        raise InvalidInput(
            f"`{row.name}` {quote(text)} is neither true nor false.{hint}", remedy="Use `true` or `false`."
        )
    return value


def _parse_number(row: Input, text: str) -> float:
    number = (
        r"[+-]?[0-9]{1,18}(\.0{0,18})?"
        if row.kind is Kind.INTEGER
        else r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})"
    )
    if not re.fullmatch(number, text):
        hint = _nearest_number(row, text)
        kind = "a whole number" if row.kind is Kind.INTEGER else "a number"
        of_unit = f" of {row.unit}" if row.unit else ""
        raise InvalidInput(f"`{row.name}` {quote(text)} is not {kind}{of_unit} in plain digits.{hint}")
    value = float(text)
    low, high = row.minimum, row.maximum
    assert low is not None
    assert high is not None
    if not low <= value <= high:
        near = low if value < low else high
        raise InvalidInput(f"`{row.name}` {quote(text)} is not between {low:g} and {high:g}; the nearest is {near:g}.")
    return int(value) if row.kind is Kind.INTEGER else value


def _nearest_number(row: Input, text: str) -> str:
    """For "30m", "2 GB", "1,5" and "1e1": the plain digits that were most likely meant."""
    if re.fullmatch(r"[0-9.,]{1,20}\s*[A-Za-z%]{1,12}", text):
        return f" Leave out the unit; it is {row.unit}." if row.unit else ""
    try:
        value = float(text[:80].replace(",", "."))
    except ValueError:
        return ""
    if not math.isfinite(value):
        return ""
    if row.kind is Kind.INTEGER:
        value = round(value)
    return f' Did you mean "{value:g}"?' if abs(value) < 10**6 else ""


def _parse_choice(row: Input, text: str) -> StrEnum:
    assert row.values is not None
    for each in row.values:
        if text == each.value or (row.ignores_case and text.lower() == each.value.lower()):
            return each
    hint = did_you_mean(text, row.choices)
    raise InvalidInput(f"`{row.name}` {quote(text)} is none of {', '.join(row.choices)}.{hint}")
