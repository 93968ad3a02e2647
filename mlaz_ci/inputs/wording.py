"""How errors of this room speak: text of users quoted safely and briefly, and the nearest right word."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

_MAX_SHOWN: Final = 60
_MAX_COMPARED: Final = 80


def quote(text: str) -> str:
    """`text` in double quotes, cut, with control characters escaped and the user info of URLs blotted out."""
    # The head is taken first: a megabyte of input must not cost a megabyte of regex.
    head = re.sub(r"//[^/\s]*@", "//***@", text[: _MAX_SHOWN * 4])
    cut = len(text) > _MAX_SHOWN * 4 or len(head) > _MAX_SHOWN
    shown = "".join(each if each.isprintable() else _escape(each) for each in head[:_MAX_SHOWN])
    return f'"{shown}…" ({len(text)} characters)' if cut else f'"{shown}"'


def _escape(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    code = ord(character)
    return known.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of `words` that was most likely meant by `word`, or None."""
    by_key = {_key(each): each for each in words}
    key = _key(word[:_MAX_COMPARED])
    if key in by_key:
        return by_key[key]
    found = difflib.get_close_matches(key, by_key, n=1, cutoff=0.6)
    return by_key[found[0]] if found else None


def _key(word: str) -> str:
    return word.lower().replace("_", "-").replace(" ", "-")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A sentence to append to an error, or nothing."""
    found = nearest(word, words)
    return f' Did you mean "{found}"?' if found else ""


def listed(names: Iterable[str]) -> str:
    """Names of inputs as a sentence lists them: "`a`, `b`"."""
    return ", ".join(f"`{name}`" for name in names)
