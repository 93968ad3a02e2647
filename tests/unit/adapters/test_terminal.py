"""TerminalPlatform: talk on stderr, outputs on stdout for a program, colour for a person."""

from __future__ import annotations

import io
import threading

import pytest

from mlaz_ci.adapters.terminal import TerminalPlatform
from mlaz_ci.models import Outcome, Severity
from mlaz_ci.report import ANSI, PLAIN, report_failure, report_outcome
from tests.unit.report import scenarios


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Person:
    """Somebody who runs the command line, at a terminal or through a pipe."""

    def __init__(self, *, at_terminal: bool, has_outputs: bool = True, **environ: str) -> None:
        self.stdout, self.stderr = (Terminal(), Terminal()) if at_terminal else (io.StringIO(), io.StringIO())
        self.platform = TerminalPlatform(
            self.stdout, self.stderr, environ, is_terminal=at_terminal, has_outputs=has_outputs
        )


def test_set_output__stdout_is_read_by_a_program__is_a_line_for_each_change() -> None:
    person = Person(at_terminal=False)
    person.platform.info("talk")
    person.platform.set_output("service-name", "churn")
    person.platform.set_output("service-name", "churn")
    person.platform.set_output("studio-url", "")
    person.platform.set_output("status", "a\nb")
    assert person.stdout.getvalue() == "service-name=churn\nstatus=a\\nb\n"
    assert person.stderr.getvalue() == "talk\n"


def test_set_output__at_a_terminal__leaves_it_to_the_text() -> None:
    person = Person(at_terminal=True)
    person.platform.set_output("status", "healthy")
    assert person.stdout.getvalue() == ""


def test_set_output__in_a_run_step__is_no_command_of_the_runner() -> None:
    person = Person(at_terminal=False, GITHUB_ACTIONS="true")
    person.platform.set_output("status", "##[error]x")
    assert "##[" not in person.stdout.getvalue()


@pytest.mark.parametrize(
    ("at_terminal", "environ", "style"),
    [
        (True, {}, ANSI),
        (True, {"NO_COLOR": "1"}, PLAIN),
        (True, {"NO_COLOR": ""}, ANSI),
        (True, {"TERM": "dumb"}, PLAIN),
        (False, {}, PLAIN),
    ],
    ids=["terminal", "NO_COLOR", "empty NO_COLOR", "dumb terminal", "pipe"],
)
def test_style__surroundings__decide_on_colour(at_terminal: bool, environ: dict[str, str], style: object) -> None:
    assert Person(at_terminal=at_terminal, **environ).platform.style is style


def test_info__report_in_colour__reaches_the_terminal_with_it() -> None:
    person = Person(at_terminal=True)
    text = report_outcome(scenarios.HEALTHY, style=person.platform.style).text
    assert text.startswith("\x1b[1m\x1b[32mhealthy\x1b[0m:")
    person.platform.info(text)
    assert person.stderr.getvalue() == f"{text}\n"


def test_info__text_that_moves_the_cursor__is_shown_without() -> None:
    person = Person(at_terminal=True)
    person.platform.info("a\x1b[2Jb\x1b]52;c;eA==\x07c\x07\rd")
    assert person.stderr.getvalue() == "abc\\x07\nd\n"


def test_mask__secret__is_on_neither_stream() -> None:
    person = Person(at_terminal=False, GITHUB_ACTIONS="true")
    person.platform.mask("s3cr3t-word")
    person.platform.info("s3cr3t-word")
    person.platform.annotate(Severity.WARNING, "s3cr3t-word", "s3cr3t-word!")
    person.platform.set_output("status", "s3cr3t-word")
    with person.platform.group("s3cr3t-word"):
        pass
    assert "s3cr3t" not in person.stdout.getvalue() + person.stderr.getvalue()
    assert person.stderr.getvalue().startswith("***\nwarning ***: ***!\n")


def test_annotate__what_the_text_just_said__is_not_said_twice() -> None:
    person = Person(at_terminal=False)
    person.platform.info("It failed.\nUsually: so.")
    person.platform.annotate(Severity.ERROR, "service-failed", "It failed.\nMore.")
    person.platform.annotate(Severity.NOTICE, "other", "Something else.")
    assert person.stderr.getvalue() == "It failed.\nUsually: so.\nnotice other: Something else.\n"


@pytest.mark.parametrize("at_terminal", [True, False])
def test_annotate__after_the_report_it_belongs_to__adds_nothing(at_terminal: bool) -> None:
    for ended in (scenarios.UNHEALTHY, scenarios.SMOKE_TEST_FAILED):
        person = Person(at_terminal=at_terminal)
        style = person.platform.style
        report = (
            report_outcome(ended, style=style) if isinstance(ended, Outcome) else report_failure(ended, style=style)
        )
        person.platform.info(report.text)
        told = person.stderr.getvalue()
        for annotation in report.annotations:
            person.platform.annotate(*annotation)
        assert report.annotations
        assert person.stderr.getvalue() == told


def test_progress__at_a_terminal__is_one_line_that_goes_away() -> None:
    shown = threading.Event()

    class Watched(Terminal):
        def write(self, text: str, /) -> int:
            written = super().write(text)
            if "Building" in text:
                shown.set()
            return written

    stderr = Watched()
    platform = TerminalPlatform(Terminal(), stderr, {}, is_terminal=True, heartbeat_s=(0.001,))
    with platform.progress("Building"):
        assert shown.wait(30)
    platform.info("done")
    assert "\n" not in stderr.getvalue().removesuffix("\r\x1b[Kdone\n")
    assert stderr.getvalue().endswith("\r\x1b[Kdone\n")


def test_streams__none_at_all__are_no_failure() -> None:
    platform = TerminalPlatform(None, None, {}, is_terminal=False)
    platform.info("x")
    platform.set_output("status", "healthy")


def test_answer__read_by_a_program__is_the_body_to_the_byte_and_nothing_else() -> None:
    person = Person(at_terminal=False, has_outputs=False)
    person.platform.info("talk")
    person.platform.set_output("status", "invoked")
    person.platform.answer('{"a":\n ["ä", 1.0]}'.encode())
    assert person.stdout.getvalue() == '{"a":\n ["ä", 1.0]}'
    assert person.stderr.getvalue() == "talk\n"


def test_answer__at_a_terminal__is_readable_and_moves_no_cursor() -> None:
    person = Person(at_terminal=True, has_outputs=False)
    person.platform.answer(b'["\x1b[2Jgone"]')
    assert person.stdout.getvalue() == '["gone"]\n'


def test_answer__holds_a_secret_or_a_command_of_the_runner__neither_is_shown() -> None:
    person = Person(at_terminal=False, has_outputs=False, GITHUB_ACTIONS="true")
    person.platform.mask("hunter2-and-more")
    person.platform.answer(b"::set-output name=x::y\nhunter2-and-more")
    assert person.stdout.getvalue() == "| ::set-output name=x::y\n***"
