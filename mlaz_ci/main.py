"""The composition root: reads the surroundings once, runs the command, and turns what came of it into an exit code.

The one broad `except` of the program stands here.
"""

from __future__ import annotations

import os
import platform as machine
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.console import Console
from mlaz_ci.adapters.github import GithubPlatform
from mlaz_ci.adapters.terminal import TerminalPlatform
from mlaz_ci.adapters.uv import hide_our_environment
from mlaz_ci.errors import Bug, Cancelled, ExitCode, MlazError
from mlaz_ci.inputs import HelpAsked, given_from_action, parse_command_line, secrets_of
from mlaz_ci.models import Command, Failure, Outcome, Target
from mlaz_ci.operations import Job
from mlaz_ci.ports import Platform
from mlaz_ci.report import PLAIN, Report, Style, report_failure, report_outcome
from mlaz_ci.wiring import prepare


def run_action() -> int:
    """The container action: inputs from INPUT_*, results into the runner's files."""
    environ = dict(os.environ)
    raw = {name[6:].lower(): value for name, value in environ.items() if name.startswith("INPUT_")}
    attempt = _Attempt(environ, GithubPlatform(environ, sys.stdout), raw)
    return _run(attempt, lambda: given_from_action(environ))


def run_command_line(argv: Sequence[str] | None = None) -> int:
    """`mlaz-ci COMMAND …`: the same words, results for a person."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    environ = dict(os.environ)
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    command = next(iter(arguments), "")
    # What these two print on stdout is a body that a program reads, so no outputs stand beside it.
    has_body = command in {Command.INVOKE, Command.MIGRATE}
    platform = TerminalPlatform(sys.stdout, sys.stderr, environ, is_terminal=is_terminal, has_outputs=not has_body)
    attempt = _Attempt(environ, platform, {"command": command})
    show_body = platform.answer if has_body else None
    return _run(attempt, lambda: parse_command_line(arguments, environ), platform.style, show_body=show_body)


class _Attempt:
    """One run of the program, so that a failure at any point can say how far it came. `given` is first what was typed, unread."""

    def __init__(self, environ: Mapping[str, str], platform: Platform, given: Mapping[str, str]) -> None:
        self.platform = platform
        self._environ = environ
        self._given = given
        self._job: Job | None = None

    def run(self, read_given: Callable[[], Mapping[str, str]]) -> Outcome:
        # The service that this run starts loads a model, which is code: it must not read our secrets from /proc.
        hide_our_environment()
        for secret in secrets_of(self._given):
            self.platform.mask(secret)
        self._given = read_given()
        self._job = prepare(
            self._given,
            self._environ,
            self.platform,
            SystemClock(),
            working_directory=Path.cwd(),
            host=machine.node(),
            user_id=os.getuid() if hasattr(os, "getuid") else None,
        )
        return self._job.run()

    def failure(self, error: MlazError) -> Failure:
        if self._job is not None:
            return self._job.failure_of(error)
        command, target = (self._given.get(name, "").strip() for name in ("command", "target"))
        return Failure(
            error=error,
            command=Command(command or Command.DEPLOY) if command in {*Command, ""} else None,
            target=Target(target) if target in set(Target) else None,
            service_name=self._given.get("service-name", ""),
        )


def _run(
    attempt: _Attempt,
    read_given: Callable[[], Mapping[str, str]],
    style: Style = PLAIN,
    *,
    show_body: Callable[[bytes], None] | None = None,
) -> int:
    """`show_body` takes what a service answered, where that is not to stand in the text."""
    try:
        try:
            _let_signals(_interrupt)
            outcome = attempt.run(read_given)
            report = report_outcome(outcome, style=style, now=SystemClock().utc_now(), with_body=show_body is None)
        finally:
            _let_signals(signal.SIG_IGN)  # what follows tells how it ended, and must come to its end
    except HelpAsked as asked:
        Console(sys.stdout).line(asked.text.rstrip("\n"))
        return ExitCode.DONE
    except MlazError as error:
        report = report_failure(attempt.failure(error), style=style)
    except KeyboardInterrupt as interrupt:
        cancelled = Cancelled(f"The run was cancelled ({interrupt}).")
        report = report_failure(attempt.failure(cancelled), style=style)
    except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a report
        bug = Bug(f"{type(error).__name__}: {error}", log=traceback.format_exc())
        report = report_failure(attempt.failure(bug), style=style)
    _show(report, attempt.platform)
    if show_body and report.body is not None:
        show_body(report.body)
    return report.exit_code


def _show(report: Report, platform: Platform) -> None:
    if report.log:
        with platform.group("Log"):
            platform.info(report.log)
    platform.info(report.text)
    for severity, title, text in report.annotations:
        platform.annotate(severity, title, text)
    for name, value in report.outputs.items():
        platform.set_output(name, value)
    platform.append_summary(report.summary)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Once, at the line that runs: GitHub gives 7.5 s, then 2.5 s more, and undoing must not be interrupted again.

    A KeyboardInterrupt, because a library's `except Exception` would swallow an error of ours.
    """
    _let_signals(signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(number).name)


def _let_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
