"""The composition root: reads the surroundings once, builds the adapters, runs the command, and turns what came of it into an exit code.

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
from mlaz_ci.adapters.github import GithubPlatform
from mlaz_ci.adapters.terminal import TerminalPlatform
from mlaz_ci.adapters.uv import hide_our_environment
from mlaz_ci.errors import Bug, Cancelled, ExitCode, FileNotFound, InvalidConfigFile, MlazError
from mlaz_ci.inputs import (
    ConfigFile,
    HelpAsked,
    Origin,
    given_from_action,
    origin_from_environ,
    parse_command_line,
    parse_config,
    parse_request,
    secrets_of,
)
from mlaz_ci.models import Command, Failure, Outcome, Target
from mlaz_ci.operations import Job
from mlaz_ci.ports import Platform
from mlaz_ci.report import PLAIN, Report, Style, report_failure, report_outcome
from mlaz_ci.wiring import connect

_DEFAULT_CONFIG = "mlaz-ci.yml"
_MAX_CONFIG_BYTES = 1_000_000


def run_action() -> int:
    """The container action: inputs from INPUT_*, results into the runner's files."""
    environ = dict(os.environ)
    return _run(lambda: given_from_action(environ), environ, GithubPlatform(environ, sys.stdout))


def run_command_line(argv: Sequence[str] | None = None) -> int:
    """`mlaz-ci COMMAND …`: the same words, results for a person."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    environ = dict(os.environ)
    platform = TerminalPlatform(sys.stdout, sys.stderr, environ, is_terminal=sys.stderr is not None and sys.stderr.isatty())
    return _run(lambda: parse_command_line(arguments, environ), environ, platform, platform.style)


def _run(
    read_given: Callable[[], Mapping[str, str]], environ: Mapping[str, str], platform: Platform, style: Style = PLAIN
) -> int:
    attempt = _Attempt(environ, platform)
    _make_cancellable()
    try:
        report = report_outcome(attempt.run(read_given), style=style, now=SystemClock().utc_now())
    except HelpAsked as asked:
        print(asked.text, end="")
        return ExitCode.DONE
    except MlazError as error:
        report = report_failure(attempt.failure(error), style=style)
    except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a report
        bug = Bug(f"{type(error).__name__}: {error}", log=traceback.format_exc())
        report = report_failure(attempt.failure(bug), style=style)
    _show(report, platform)
    return report.exit_code


class _Attempt:
    """One run of the program, so that a failure at any point can say how far it came."""

    def __init__(self, environ: Mapping[str, str], platform: Platform) -> None:
        self._environ = environ
        self._platform = platform
        self._given: Mapping[str, str] = {}
        self._job: Job | None = None

    def run(self, read_given: Callable[[], Mapping[str, str]]) -> Outcome:
        # The service that this run starts loads a model, which is code: it must not read our secrets from /proc.
        hide_our_environment()
        self._given = read_given()
        # Before anything is parsed or shown: no error text may carry what a step passed as a secret.
        for secret in secrets_of(self._given):
            self._platform.mask(secret)
        origin = origin_from_environ(self._environ, _event_text(self._environ), Path.cwd(), host=machine.node())
        parsed = parse_request(self._given, read_config(self._given, origin), origin)
        self._job = connect(parsed.request, self._environ, self._platform, SystemClock())
        self._job.find(parsed.findings)
        return self._job.run()

    def failure(self, error: MlazError) -> Failure:
        if self._job is not None:
            return self._job.failure_of(error)
        command, target = self._given.get("command", ""), self._given.get("target", "")
        return Failure(
            error=error,
            command=Command(command) if command in set(Command) else Command.DEPLOY,
            target=Target(target) if target in set(Target) else Target.LOCAL,
            service_name=self._given.get("service-name", ""),
        )


def read_config(given: Mapping[str, str], origin: Origin) -> ConfigFile | None:
    """The file named by `config`, else mlaz-ci.yml where there is one."""
    name = given.get("config", "")
    path = origin.working_directory / (name or _DEFAULT_CONFIG)
    if not name and not path.is_file():
        return None
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FileNotFound(f"The config file {path} cannot be read: {error.strerror}.") from error
    if len(raw) > _MAX_CONFIG_BYTES:
        raise InvalidConfigFile(f"{path} is {len(raw)} bytes long; a config file is at most {_MAX_CONFIG_BYTES}.")
    try:
        return parse_config(raw.decode("utf-8-sig"), str(name or _DEFAULT_CONFIG))
    except UnicodeDecodeError as error:
        raise InvalidConfigFile(f"{path} is not UTF-8 text (byte {error.start}).") from error


def _event_text(environ: Mapping[str, str]) -> str | None:
    """The event's JSON as the runner left it, or None."""
    path = environ.get("GITHUB_EVENT_PATH")
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else None
    except OSError:
        return None


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


def _make_cancellable() -> None:
    """SIGTERM and SIGINT become a Cancelled at the line that runs, once: GitHub gives 7.5 s, then 2.5 s more."""

    def cancel(number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise Cancelled(f"The run was cancelled ({signal.Signals(number).name}).")

    signal.signal(signal.SIGTERM, cancel)
    signal.signal(signal.SIGINT, cancel)
