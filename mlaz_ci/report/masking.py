"""Finds secrets in texts, also in the forms that encodings give them. Pure; who writes a text masks it last."""

from __future__ import annotations

import base64
import html
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

from mlaz_ci.report.text import CUT_MARK, clean, one_line

MASK: Final = "***"
# Shorter ones are no credentials, and masking every "on" or "1" would make a text unreadable.
_LEAST_CHARS: Final = 4
_LEAST_ENCODED_CHARS: Final = 8
_SHELL_QUOTE: Final = "'\"'\"'"  # what shlex.quote makes of '
_SHORT_ESCAPE: Final = re.compile(r'\\["\\bfnrt]')
_Interval = tuple[int, int]


class Masker:
    """Holds secrets; `mask` returns a text without any of them. Not safe for threads: its owner locks."""

    def __init__(self) -> None:
        self._forms: frozenset[str] = frozenset()

    def add(self, secret: str) -> None:
        self._forms |= _forms(secret)

    def mask(self, text: str) -> str:
        return _replace(text, self._intervals(text)) if self._forms else text

    def mask_markup(self, text: str) -> str:
        """For Markdown made by markdown.py: also what is a secret only when its references and elements are read."""
        if not self._forms:
            return text
        view = _MarkupView(text)
        found = [(view.start(begin), view.end(end)) for begin, end in self._intervals(view.text)]
        return _replace(text, [*self._intervals(text), *found], "".join(f"&#{ord(each)};" for each in MASK))

    def mask_json(self, text: str) -> str:
        """For a JSON text: inside its values, so that it stays one. What is no JSON, or a secret as a whole, is masked as text."""
        if not self._forms or self.mask(text) == text:
            return text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self.mask(text)
        masked = json.dumps(self._mask_value(value))
        flat = self.mask(masked)
        if _is_json(flat):
            return flat
        # The end of an escape and what follows it may spell a secret: \n and 123 are no "n123".
        spelled = _SHORT_ESCAPE.sub(_spell_out, masked)
        return spelled if self.mask(spelled) == spelled else flat

    def _mask_value(self, value: Any) -> Any:
        match value:
            case str():
                return self.mask(value)
            case list():
                return [self._mask_value(each) for each in value]
            case dict():
                return {self.mask(key): self._mask_value(each) for key, each in value.items()}
            case bool() | None:
                return value
            case _:
                return value if self.mask(str(value)) == str(value) else MASK

    def _intervals(self, text: str) -> list[_Interval]:
        found = [each for form in self._forms for each in _occurrences(form, text)]
        # What was cut off in the middle of a secret is found beside the mark of the cut.
        for cut in CUT_MARK.finditer(text):
            found += [each for form in self._forms for each in _cut_occurrences(form, text, cut)]
        return found


def secret_lines(secret: str) -> list[str]:
    """The secret whole if it is one line, and each of its lines that is long enough to be one."""
    return [line for each in re.split(r"[\r\n]+", secret) if len(line := each.strip()) >= _LEAST_CHARS]


def _forms(secret: str) -> frozenset[str]:
    whole = {secret, secret.strip(), one_line(secret), *secret_lines(secret), *secret_lines(clean(secret))}
    if secret.startswith('"') and secret.endswith('"'):
        whole.add(secret[1:-1])
    whole = {each for each in whole if len(each) >= _LEAST_CHARS}
    encoded = {form for each in whole for encode in _ENCODINGS for form in encode(each)}
    return frozenset(whole | {each for each in encoded if len(each) >= _LEAST_ENCODED_CHARS})


def _json_forms(secret: str) -> Iterator[str]:
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=ascii_only)[1:-1], once.replace("/", "\\/"))
        yield once.replace("'", _SHELL_QUOTE)  # a request's body in a curl line


def _url_forms(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "replace")
    for form in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield from (form, re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), form))


def _base64_forms(secret: str) -> Iterator[str]:
    """Its base64 text wherever it stands in a longer value: what of it does not depend on its neighbours, at each alignment."""
    raw = secret.encode("utf-8", "replace")
    for shift, leading in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(shift) + raw).decode()
        bits = 8 * (shift + len(raw))
        for form in (text[leading:].rstrip("="), text[leading : bits // 6]):
            yield from (form, form.replace("+", "-").replace("/", "_"))


def _escaped_forms(secret: str) -> Iterator[str]:
    yield from (html.escape(secret), html.escape(secret, quote=False), repr(secret)[1:-1])
    yield from (secret.replace('"', '\\"'), secret.replace("'", _SHELL_QUOTE), secret.replace("'", "''"))
    yield secret.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _hex_forms(secret: str) -> Iterator[str]:
    text = secret.encode("utf-8", "replace").hex()
    yield from (text, text.upper())


_ENCODINGS: Final[tuple[Callable[[str], Iterable[str]], ...]] = (
    _json_forms,
    _url_forms,
    _base64_forms,
    _escaped_forms,
    _hex_forms,
)


def _occurrences(form: str, text: str) -> Iterator[_Interval]:
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _cut_occurrences(form: str, text: str, cut: re.Match[str]) -> Iterator[_Interval]:
    for length in range(len(form) - 1, _LEAST_CHARS - 1, -1):
        if text.endswith(form[:length], 0, cut.start()):
            yield cut.start() - length, cut.start()
            return


def _replace(text: str, intervals: Iterable[_Interval], mask: str = MASK) -> str:
    """Overlapping intervals become one mask: no end of a secret stays beside another's."""
    parts: list[str] = []
    done = 0
    until = -1
    for begin, end in sorted(intervals):
        if begin >= until:
            parts += [text[done:begin], mask]
        until = done = max(until, end)
    return "".join([*parts, text[done:]])


def _spell_out(escape: re.Match[str]) -> str:
    character: str = json.loads(f'"{escape[0]}"')
    return f"\\u{ord(character):04x}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class _MarkupView:
    """What a reader sees of Markdown by markdown.py, and where in the source each character of it stands."""

    _TOKEN: Final = re.compile(r"&#(\d+);|&(?:amp|lt|gt);|</?(?:span|code)>")

    def __init__(self, source: str) -> None:
        parts: list[str] = []
        self._begins: list[int] = []
        self._pieces: list[tuple[int, int, bool]] = []
        view_at = source_at = 0
        for token in [*self._TOKEN.finditer(source), None]:
            plain = source[source_at : token.start() if token else len(source)]
            shown = self._shown(token) if token else ""
            for piece, begin, is_token in ((plain, source_at, False), (shown, source_at + len(plain), True)):
                if piece:
                    self._begins.append(view_at)
                    self._pieces.append((begin, token.end() if is_token and token else begin, is_token))
                    parts.append(piece)
                    view_at += len(piece)
            source_at = token.end() if token else len(source)
        self.text = "".join(parts)

    @staticmethod
    def _shown(token: re.Match[str]) -> str:
        if token[0].startswith("<"):
            # prose() makes a code element of a pair of backticks.
            return "`" if "code" in token[0] else ""
        return html.unescape(token[0])

    def start(self, at: int) -> int:
        """The place in the source where the character `at` of the view begins."""
        index = bisect_right(self._begins, at) - 1
        begin, _, is_token = self._pieces[index]
        return begin if is_token else begin + at - self._begins[index]

    def end(self, at: int) -> int:
        """The place in the source after the character before `at`."""
        index = bisect_right(self._begins, at - 1) - 1
        begin, end, is_token = self._pieces[index]
        return end if is_token else begin + at - self._begins[index]
