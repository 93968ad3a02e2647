"""Markdown from text that may be hostile: whatever is in it, it is shown, and never read as Markdown, HTML or a mention."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Final

from mlaz_ci.report.text import clean, clip, one_line

# A character reference is never structure in CommonMark. The colon makes links and emoji, the dollar mathematics.
_STRUCTURE: Final = re.compile(r"[#$&*:<>@\[\\\]_`|~]|(?<=www)\.", re.IGNORECASE)
# At the beginning of a line these begin lists, headings and rules.
_BEGINNING: Final = re.compile(r"^(?:[-+=]|\d+[.)])")
# GitHub looks for mentions and references in the text of the finished page, outside of code: an element breaks them there.
_REFERENCES: Final = re.compile("&#(?:64|35);")
_CELL_CHARS: Final = 600


def _escape(text: str) -> str:
    return _STRUCTURE.sub(lambda match: f"&#{ord(match[0])};", text)


def prose(text: str) -> str:
    """A sentence of ours with values in it: `quoted` words as code, the rest as plain text, mentions broken."""
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:  # the last backtick quotes nothing
        parts[-2:] = ["`".join(parts[-2:])]
    begun = _BEGINNING.match(parts[0])
    if begun:
        parts[0] = parts[0][begun.end() :]
    start = f"{begun[0][:-1]}&#{ord(begun[0][-1])};" if begun else ""
    return start + "".join(
        f"<code>{_escape(part)}</code>" if at % 2 else _REFERENCES.sub(r"<span>\g<0></span>", _escape(part))
        for at, part in enumerate(parts)
    )


def code(text: str) -> str:
    """A value, to be copied as it is: in a code element no mention and no link is made of it."""
    value = one_line(clip(text, _CELL_CHARS))
    return f"<code>{_escape(value)}</code>" if value else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the cells are Markdown already."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def block(text: str) -> list[str]:
    """Lines shown as they are. Inside `<pre>` Markdown reads nothing, and the escaping leaves no way out of it."""
    return ["<pre>", html.escape(clean(text), quote=False), "</pre>", ""]


def folded(title: str, lines: Sequence[str]) -> list[str]:
    return ["<details>", f"<summary>{prose(title)}</summary>", "", *lines, "</details>", ""]
