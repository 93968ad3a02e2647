from __future__ import annotations

import pytest

from mlaz_ci.inputs.table import INPUTS
from mlaz_ci.inputs.wording import did_you_mean, listed, nearest, quote


def test_quote__short_text__stands_in_quotes() -> None:
    assert quote("churn") == '"churn"'


def test_quote__long_text__is_cut_and_counted() -> None:
    assert quote("x" * 61) == f'"{"x" * 60}…" (61 characters)'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\t", '"a\\nb\\r\\t"'),
        ("\x1b[2J", '"\\x1b[2J"'),
        ("\u202eevil", '"\\u202eevil"'),
        ("\udce9", '"\\udce9"'),
    ],
)
def test_quote__what_is_not_printable__is_escaped(text: str, shown: str) -> None:
    assert quote(text) == shown


def test_quote__user_info_of_a_url__is_blotted_out() -> None:
    assert quote("https://me:pa55word@host/x") == '"https://***@host/x"'


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("run_id", "run-id"),
        ("Run Id", "run-id"),
        ("service-nam", "service-name"),
        ("modelpath", "model-path"),
        ("zzz", None),
    ],
)
def test_nearest__mistyped_name__is_found(word: str, right: str | None) -> None:
    assert nearest(word, INPUTS) == right


def test_did_you_mean__nothing_near__says_nothing() -> None:
    assert did_you_mean("qqqqqq", INPUTS) == ""


def test_listed__names__stand_in_backticks() -> None:
    assert listed(["a", "b"]) == "`a`, `b`"
