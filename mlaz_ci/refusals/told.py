"""Reads Azure's own code and words out of what carries them: JSON of five shapes, XML, HTML, or the text of a client's exception.

Total: any text gives a Told; what has no known shape is its own message. The shapes are in AZURE's recordings and in public threads:
`{"error": {code, message, details, additionalInfo}}` (ARM), `{code, statusCode, message, details}` (model management),
`{"error_code", "message"}` (MLflow), `{"error", "error_description"}` (Entra), `<Error><Code>` (blobs).
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlaz_ci.report.text import clip, one_line

_SHOWN_CHARS: Final = 2_000
_MAX_CHARS: Final = 200_000
_MAX_DEPTH: Final = 8
_MAX_CODE_CHARS: Final = 200
_CORRELATION_HEADERS: Final = ("x-ms-correlation-request-id", "x-ms-request-id", "x-request-id", "request-id")
_BYTES: Final = re.compile(r"Content: (b'(?:[^'\\]|\\.)*'|b\"(?:[^\"\\]|\\.)*\")", re.DOTALL)
_STATUS: Final = re.compile(r"Response Code: (\d{3})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """`parts` are (code, message) from the outermost in; a code may be "". `status` is HTTP's, or None where there was none."""

    parts: tuple[tuple[str, str], ...]
    status: int | None = None
    correlation_id: str | None = None

    @property
    def code(self) -> str:
        """The code to report: the innermost is the one that says what is wrong."""
        return next((code for code, _ in reversed(self.parts) if code), "")

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(code for code, _ in self.parts if code)

    @property
    def words(self) -> str:
        """Every message, whole, for looking for words in it."""
        return "\n".join(message for _, message in self.parts)

    @property
    def sentence(self) -> str:
        """For people: every code and message once, on one line."""
        told: list[str] = []
        for code, message in self.parts:
            line = one_line(message)
            if code and not any(code in each for each in told) and code not in line:
                is_new = line and not any(line in each for each in told)
                told.append(f"{code}: {line}" if is_new else code)
            elif line and not any(line in each for each in told):
                told.append(line)
        if not told:
            return f"HTTP {self.status} without a word" if self.status else "no word of why"
        return clip(" · ".join(told), _SHOWN_CHARS)


def read_told(text: str, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> Told:
    """`text` is a body, or the text of a client's exception that quotes one."""
    text = text[:_MAX_CHARS].strip().removeprefix("\ufeff")
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    found = [lower[name] for name in _CORRELATION_HEADERS if lower.get(name)]
    value = _json_in(text)
    if status is None and (quoted := _STATUS.search(text)):
        status = int(quoted[1])
    said = _parts_of_text(text) if value is None else _parts(value, _MAX_DEPTH)
    parts = tuple(dict.fromkeys((one_line(code)[:_MAX_CODE_CHARS], message) for code, message in said))
    if value is not None and (told := _correlation(value)):
        found.append(told)
    if not parts and (code := lower.get("x-ms-error-code")):
        parts = ((code, ""),)
    return Told(parts=parts, status=status, correlation_id=one_line(found[0])[:200] if found else None)


def _json_in(text: str) -> Any:
    """The JSON that the text is, or that a client quotes in it; None where there is none."""
    if text.startswith(("{", "[")) and (whole := _load(text)) is not None:
        return whole
    if quoted := _BYTES.search(text):
        try:
            inner = ast.literal_eval(quoted[1]).decode("utf-8", "replace")
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            inner = ""
        if inner:
            return _json_in(inner.strip()) or inner
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = json.JSONDecoder().raw_decode(text[start:])
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        if isinstance(value, dict) and any(_parts(value, _MAX_DEPTH)):
            return value
        start = text.find("{", start + 1)
    return None


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parts(value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """(code, message) of each level that says anything, from the outermost in."""
    if isinstance(value, str):
        yield from _parts_of_text(value)
        return
    if not isinstance(value, dict) or depth <= 0:
        return
    low = {str(key).lower(): each for key, each in value.items()}
    if isinstance(low.get("error_description"), str):
        description = low["error_description"]
        stated = re.match(r"AADSTS\d+", description)
        yield (stated[0] if stated else str(low.get("error", "")), description)
        return
    code = _word(low.get("code")) or _word(low.get("error_code"))
    message = low.get("message")
    message = message if isinstance(message, str) else ""
    if code or message:
        yield (code, message)
    for key in ("error", "error_details", "innererror"):
        if key in low:
            yield from _parts(low[key], depth - 1)
    for each in _list(low.get("details")):
        yield from _parts(each, depth - 1)
    for each in _list(low.get("additionalinfo")):
        # Model management's own operation stands whole in what an online endpoint's says.
        if isinstance(each, dict) and isinstance(each.get("info"), dict) and "Operation" in str(each.get("type", "")):
            yield from _parts(each["info"], depth - 1)


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parts_of_text(text: str) -> Iterator[tuple[str, str]]:
    text = text.strip()
    if not text:
        return
    if re.search(r"<(?:\?xml|Error)\b", text[:200]) and (code := re.search(r"<Code>([^<]{1,200})</Code>", text)):
        said = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
        yield (html.unescape(code[1]), html.unescape(said[1]) if said else "")
        return
    if re.match(r"<!doctype html|<html|<head", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        plain = title[1] if title else re.sub(r"<[^>]*>", " ", text)
        yield ("", html.unescape(" ".join(plain.split()))[:_SHOWN_CHARS])
        return
    # azure-core's own form: "(Code) message".
    stated = re.match(r"\((?P<code>[A-Za-z][\w.-]{2,80})\)\s+(?P<message>.*)", text, re.DOTALL)
    if stated:
        yield (stated["code"], stated["message"])
    else:
        yield ("", text)


def _correlation(value: Any) -> str | None:
    """Where a data-plane service tells its request's id in the body."""
    if not isinstance(value, dict):
        return None
    told = value.get("correlation")
    if isinstance(told, dict) and told.get("operation"):
        return str(told["operation"])
    if value.get("correlation_id"):
        return str(value["correlation_id"])
    inner = value.get("error")
    for each in _list(inner.get("additionalInfo")) if isinstance(inner, dict) else []:
        if isinstance(each, dict) and each.get("type") == "Correlation":
            info = each.get("info")
            operation = info.get("value", {}).get("operation") if isinstance(info, dict) else None
            return operation if isinstance(operation, str) else None
    return None
