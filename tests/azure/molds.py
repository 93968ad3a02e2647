"""What types the members of a request's body have, as far as a room reads them. What does not fit is refused, not met by chance.

A mold is a type, a test, `object` for anything, `{name: mold}` for the members of an object that are read (`"*"`: every other
one), or `[mold]` for a list. Null and absent fit a member; an entry of a map or a list must be there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Mold = Any


def scalar(value: Any) -> bool:
    """What a service reads as text, whatever a client made of it."""
    return isinstance(value, str | int | float)


def whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def numeric(value: Any) -> bool:
    """A number, or text that is one: MLflow's clients write both, and NaN by its name."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False
        return True
    return number(value)


def count(value: Any) -> bool:
    """A whole number, or text that is one."""
    return whole(value) or (isinstance(value, str) and value.isascii() and value.lstrip("-").isdigit())


def needed(mold: Mold) -> Mold:
    """Of an object's members: one that must be there."""
    return _Needed(mold)


class _Needed:
    def __init__(self, mold: Mold) -> None:
        self.mold = mold


def misfit(value: Any, mold: Mold, path: str = "") -> str:
    """The path of what is of another type than the mold; "" when all fits."""
    if isinstance(mold, _Needed):
        return misfit(value, mold.mold, path)
    if isinstance(mold, dict):
        return _in_object(value, mold, path)
    if isinstance(mold, list):
        return _in_list(value, mold[0], path)
    if isinstance(mold, type):
        fits = isinstance(value, mold) and not (mold is not bool and mold is not object and isinstance(value, bool))
    else:
        test: Callable[[Any], bool] = mold
        fits = test(value)
    return "" if fits else path or "the body"


def _in_object(value: Any, mold: dict[str, Mold], path: str) -> str:
    if not isinstance(value, dict):
        return path or "the body"
    for name, entry in mold.items():
        if isinstance(entry, _Needed) and value.get(name) is None:
            return f"{path}.{name}" if path else name
    for name, entry in value.items():
        if name not in mold and "*" not in mold:
            continue
        if entry is None and name in mold:
            continue
        if found := misfit(entry, mold.get(name, mold.get("*")), f"{path}.{name}" if path else name):
            return found
    return ""


def _in_list(value: Any, mold: Mold, path: str) -> str:
    if not isinstance(value, list):
        return path or "the body"
    found = (misfit(entry, mold, f"{path}[{place}]") for place, entry in enumerate(value))
    return next(filter(None, found), "")
