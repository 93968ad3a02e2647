"""Secrets are found in every form they may take on their way into a text."""

from __future__ import annotations

import base64
import html
import json
import string
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlaz_ci.report.markdown import block, code, prose
from mlaz_ci.report.masking import Masker
from mlaz_ci.report.text import clean, clip, one_line

# Long enough to be told from chance, and with all that encodings change.
SECRETS = st.text(
    alphabet=string.ascii_letters + string.digits + " ~+/=\"'\\<>&|`@#%:*_\n\täß€", min_size=12, max_size=40
).filter(lambda secret: len(secret.strip()) >= 12 and all(len(line.strip()) >= 6 for line in secret.split("\n")))


def masker(*secrets: str) -> Masker:
    masker = Masker()
    for each in secrets:
        masker.add(each)
    return masker


@given(SECRETS, st.text(max_size=5), st.text(max_size=5))
def test_mask__secret_in_a_text__is_gone(secret: str, before: str, after: str) -> None:
    assert secret not in masker(secret).mask(f"{before}{secret}{after}")
    assert masker(secret).mask(f"<{secret}>") == "<***>"


ENCODINGS = {
    "url": lambda secret: quote(secret, safe=""),
    "url path": quote,
    "form": quote_plus,
    "json": json.dumps,
    "json text": lambda secret: json.dumps(secret, ensure_ascii=False),
    "json in json": lambda secret: json.dumps(json.dumps({"a": secret})),
    "html": html.escape,
    "repr": repr,
    "hex": lambda secret: secret.encode().hex(),
    "log command": lambda secret: secret.replace("%", "%25").replace("\n", "%0A"),
    "one line": one_line,
    "clean": clean,
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@given(secret=SECRETS)
def test_mask__encoded_secret__is_gone(encode: object, secret: str) -> None:
    assert callable(encode)
    text = encode(secret)
    core = text.strip("\"'{}\\")
    assert core not in masker(secret).mask(f"<{text}>")


@given(SECRETS, st.binary(max_size=7), st.binary(max_size=7))
def test_mask__base64_of_a_longer_value__shows_no_byte_of_the_secret(secret: str, before: bytes, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret.encode() + after).decode()
        masked = masker(secret).mask(text)
        kept = masked.split("***")
        assert len(kept) == 2
        # What is left holds at most the bits that the first and last byte share with their neighbours.
        assert len(kept[0]) <= (len(before) * 8 + 5) // 6 + 2
        assert len(kept[1]) <= (len(after) * 8 + 5) // 6 + 6


@given(SECRETS, st.text(max_size=10))
@example("p`a`s`s`w`o`r`d", "a `quoted` word and ")
@example("@octocat#12", "")
def test_mask_markup__secret_in_a_summary__can_neither_be_read_nor_seen(secret: str, before: str) -> None:
    text = f"{before} {secret}"
    for markdown in (prose(text), code(text), "\n".join(block(text)), code(secret), prose(f"`{secret}`")):
        masked = masker(secret).mask_markup(markdown)
        seen = html.unescape(
            masked.replace("<code>", "`").replace("</code>", "`").replace("<span>", "").replace("</span>", "")
        )
        for form in {secret, secret.strip(), one_line(secret)}:
            assert form not in masked
            assert form not in seen


@given(SECRETS, st.integers(min_value=4, max_value=39))
def test_mask__secret_cut_in_two__does_not_show_its_beginning(secret: str, kept: int) -> None:
    cut = clip(f"key={secret}", len("key=") + min(kept, len(secret) - 1))
    masked = masker(secret).mask(cut)
    assert masked.startswith("key=***⟨… ") or len(secret[:kept].strip()) < 4


@given(SECRETS)
def test_mask_json__secret_in_any_value__leaves_json(secret: str) -> None:
    text = json.dumps({"a": [secret, {"b": f"x{secret}y"}], secret: 1, "n": 12345678, "t": True, "z": None})
    masked = masker(secret, "12345678").mask_json(text)
    assert json.loads(masked)["a"] == ["***", {"b": "x***y"}]
    assert json.loads(masked)["n"] == "***"
    assert secret not in masked
    assert json.dumps(secret)[1:-1] not in masked


def test_mask_json__secret_that_only_the_escapes_spell__does_not_break_the_json() -> None:
    text = json.dumps({"a": "\n1234567"})
    assert json.loads(masker("n1234567").mask_json(text)) == {"a": "\n1234567"}


def test_mask_json__no_json__is_masked_as_text() -> None:
    assert masker("s3cr3t-word").mask_json("{s3cr3t-word") == "{***"


def test_mask__overlapping_secrets__leave_no_end_of_either() -> None:
    assert masker("abcdefgh", "efghijkl").mask("<abcdefghijkl>") == "<***>"
    assert masker("aaaa").mask("<aaaaaa>") == "<***>"


def test_mask__several_lines__each_is_a_secret_but_a_lone_brace_is_not() -> None:
    secret = '{\n  "clientSecret": "s3cr3t"\n}'
    assert masker(secret).mask('x {\n"clientSecret": "s3cr3t" }') == "x {\n*** }"


def test_mask__nothing_and_very_short_secrets__change_nothing() -> None:
    assert masker("", "  ", "\n", "on", "1").mask("on 1 on") == "on 1 on"


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=40))
def test_mask__any_secrets_and_text__never_fails(secrets: list[str], text: str) -> None:
    built = masker(*secrets)
    built.mask_json(built.mask_markup(built.mask(text)))
