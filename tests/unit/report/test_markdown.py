"""Hostile text in Markdown, judged by a real Markdown parser: it is shown, and is nothing but text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from mlaz_ci.errors import SmokeTestFailed
from mlaz_ci.models import Finding, Mutation, Severity
from mlaz_ci.report import render_summary
from mlaz_ci.report.markdown import block, code, prose, table
from mlaz_ci.report.text import one_line
from tests.unit.report import scenarios

# Pieces that mean something to Markdown, HTML or GitHub, beside any other text.
PIECES = (
    "<script>alert(1)</script>",
    "</pre>",
    "</code>",
    "</details>",
    "<!--",
    "[x](javascript:alert(1))",
    "![x](http://h/x.png)",
    "http://h/",
    "www.h.de",
    "@octocat",
    "#1",
    ":tada:",
    "`",
    "``",
    "```",
    "|",
    "\\",
    "*",
    "**",
    "__",
    "~~",
    "\n",
    "\n\n",
    "\r",
    "\u2028",
    "- ",
    "1. ",
    "2)",
    "+ ",
    "> ",
    "# ",
    "---",
    "===",
    "    ",
    "\t",
    "&lt;",
    "&#64;",
    "$x$",
    "[^1]",
    "\x00",
    "\x1b[31m",
    "\x1b]8;;http://h\x07",
    "\u202e",
    "\ud800",
)
HOSTILE = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12).map("".join)


class _Page(HTMLParser):
    """The visible text of a page, its elements, and the text outside of code: where GitHub looks for mentions."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.loose: list[str] = []
        self.elements: list[str] = []
        self._open: list[str] = []
        self.feed(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert attrs == []
        self.elements.append(tag)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if not {"code", "pre"} & set(self._open):
            self.loose.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def _without_spaces(text: str) -> str:
    return "".join(text.split())


@given(HOSTILE)
@example("- a list")
@example("1. a list")
@example("12) a list")
@example("=== a rule")
@example("--- ---")
@example("# a heading")
@example("> a quote")
@example("|---|")
def test_prose__any_text__is_a_paragraph_of_it(text: str) -> None:
    page = _Page(prose(text))
    assert set(page.elements) <= {"p", "code", "span"}
    assert page.elements.count("p") <= 1
    assert _without_spaces(page.text).replace("`", "") == _without_spaces(one_line(text)).replace("`", "")
    assert not any(re.search(r"[@#]\w", loose) for loose in page.loose)
    assert not re.search(r"www\.|https?:", prose(text), re.IGNORECASE)


@given(HOSTILE, HOSTILE)
def test_table__any_text_in_cells__has_its_cells_and_no_more(left: str, right: str) -> None:
    page = _Page("\n".join(table(("a", "b"), [(prose(left), code(right))] * 2)))
    assert page.elements.count("tr") == 3
    assert page.elements.count("td") == 4
    assert set(page.elements) <= {"table", "thead", "tbody", "tr", "th", "td", "code", "span"}


@given(HOSTILE)
def test_code__any_text__is_one_code_element_with_it(text: str) -> None:
    page = _Page(f"value: {code(text)}")
    assert page.elements == (["p", "code"] if one_line(text) else ["p"])
    assert _without_spaces(page.text) == "value:" + _without_spaces(one_line(text))


@given(HOSTILE)
def test_block__any_text__stays_in_its_element(text: str) -> None:
    page = _Page("\n".join([*block(text), "after"]))
    assert page.elements == ["pre", "p"]
    assert page.text.rstrip().endswith("after")


@given(HOSTILE)
def test_render_summary__hostile_values_everywhere__has_the_elements_it_has_with_harmless_ones(text: str) -> None:
    assert _summary_elements(f"a{text}z") == _summary_elements("harmless")


def _summary_elements(value: str) -> list[str]:
    finding = Finding(code=value, severity=Severity.WARNING, what=value, usually=value, remedy=value)
    mutation = Mutation(at=scenarios.NOON, what=value, subject=value)
    failure = replace(
        scenarios.SMOKE_TEST_FAILED,
        error=SmokeTestFailed(
            one_line(value), usually=value, remedy=value, log=value, upstream_code=value, correlation_id=value
        ),
        service_name=value,
        findings=(finding,),
        mutations=(mutation,),
        left_behind=(value,),
    )
    outcome = replace(
        scenarios.STATUS,
        service_name=value,
        scoring_uri=value,
        model_label=value,
        notes=(value,),
        plan=(value,),
        findings=(finding,),
        service=replace(scenarios.SERVICE, owner=value),
        response=replace(scenarios.INVOKED.response, body=value.encode("utf-8", "replace")),
    )
    page = _Page(f"{render_summary(failure)}\n{render_summary(outcome)}")
    return [each for each in page.elements if each not in {"span", "code"}]


def test_render_summary__log_of_ten_megabytes__keeps_its_end_within_githubs_limit() -> None:
    log = "".join(f"<line {number}>\n" for number in range(700_000)) + "the last line"
    failure = replace(scenarios.START_FAILED, error=SmokeTestFailed("x", log=log))
    summary = render_summary(failure)
    assert len(summary.encode()) < 1024 * 1024
    assert "the last line\n</pre>" in summary
    assert re.search("⟨… \\d+ lines cut …⟩\n&lt;line ", summary)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_code__nothing__is_nothing(text: str) -> None:
    assert code(text) == ""
