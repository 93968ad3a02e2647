"""GithubPlatform against a reader that behaves like GitHub's runner."""

from __future__ import annotations

import html
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlaz_ci.adapters.github import GithubPlatform
from mlaz_ci.errors import SmokeTestFailed
from mlaz_ci.models import Finding, Mutation, Severity
from mlaz_ci.report import ANSI, OUTPUT_NAMES, Report, report_failure, report_outcome
from tests.runner_files import (
    STEP_SUMMARY_LIMIT_BYTES,
    WorkflowCommand,
    masked_values,
    parse_workflow_commands,
    printed_lines,
    read_file_command,
    read_step_summary,
)
from tests.unit.report import scenarios

ROOT = Path(__file__).parents[3]
COMMAND_PIECES = (
    "::error::x",
    "::add-mask::",
    "::stop-commands::t",
    "::set-output name=a::b",
    "##[error]x",
    "##[group",
    "]",
    "##",
    "#",
    "[",
    "::",
    ":",
    "\n",
    "\r",
    "\r\n",
    " ",
    "\u200b",
    "\u00a0",
    "\u2028",
    "\x85",
    "\x00",
    "\x1b[31m",
    "\x1b]0;",
    "\x07",
    "%0A",
    "%",
    ANSI.red,
    "\ud800",
)
HOSTILE = st.lists(st.one_of(st.sampled_from(COMMAND_PIECES), st.text(max_size=4)), max_size=10).map("".join)
VALUES = st.one_of(HOSTILE, st.text(), st.text(alphabet="\n\r<=E", max_size=8))


class Step:
    """A step's surroundings: the runner's files and what it reads of the output."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.output_file, self.summary_file = folder / "output", folder / "summary"
        self.output_file.unlink(missing_ok=True)
        self.summary_file.unlink(missing_ok=True)
        self.stdout = io.StringIO()
        self.environ = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(self.output_file),
            "GITHUB_STEP_SUMMARY": str(self.summary_file),
            **environ,
        }
        self.platform = GithubPlatform(self.environ, self.stdout)

    @property
    def text(self) -> str:
        return self.stdout.getvalue()

    @property
    def commands(self) -> list[WorkflowCommand]:
        return parse_workflow_commands(self.text)

    @property
    def log(self) -> list[str]:
        return printed_lines(self.text)

    @property
    def outputs(self) -> dict[str, str]:
        return read_file_command(self.output_file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("step")


# --- outputs ---------------------------------------------------------------------------------------------------------


@given(values=st.dictionaries(st.sampled_from(OUTPUT_NAMES), st.text(), max_size=5))
@example(values={"status": "x\nresult<<mlaz_\ny", "result": ""})
@example(values={"status": "\r\n", "result": "a=b"})
def test_set_output__any_values__are_what_the_runner_reads(folder: Path, values: dict[str, str]) -> None:
    step = Step(folder)
    for name, value in values.items():
        step.platform.set_output(name, value)
    assert step.outputs == values
    assert step.text == ""


def test_set_output__half_a_surrogate_pair__is_spelled_out(folder: Path) -> None:
    step = Step(folder)
    step.platform.set_output("status", "a\ud800b")
    assert step.outputs == {"status": "a\\ud800b"}


def test_set_output__value_that_holds_the_delimiter__gets_another(folder: Path) -> None:
    step = Step(folder)
    delimiters: Iterator[str] = iter(["D1", "D2", "D3"])
    platform = GithubPlatform(step.environ, step.stdout, new_delimiter=lambda: next(delimiters))
    platform.set_output("status", "x\nD1\nchanged=true\nD2\n")
    assert step.outputs == {"status": "x\nD1\nchanged=true\nD2\n"}
    assert "status<<D3\n" in step.output_file.read_text()


def test_set_output__two_steps_of_the_same_value__have_other_delimiters(folder: Path) -> None:
    step = Step(folder)
    step.platform.set_output("status", "x")
    step.platform.set_output("status", "x")
    first, second = [line for line in step.output_file.read_text().splitlines() if "<<" in line]
    assert first != second


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a<<b", "a=b", "Status", "-a"])
def test_set_output__no_output_name__is_a_defect(folder: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no output name"):
        Step(folder).platform.set_output(name, "x")


@pytest.mark.parametrize("path", ["", "/nonexistent/folder/file", "/", "/dev/full", "a\0b"])
def test_set_output__file_that_cannot_be_written__warns_once_and_tells_the_value(folder: Path, path: str) -> None:
    step = Step(folder, GITHUB_OUTPUT=path, GITHUB_STEP_SUMMARY=path)
    step.platform.set_output("status", "healthy")
    step.platform.set_output("changed", "x\n::error::no")
    step.platform.append_summary("# x")
    assert [each.name for each in step.commands] == ["warning", "warning"]
    assert step.commands[0].properties == {"title": "GITHUB_OUTPUT"}
    assert step.log == ["status=healthy", "changed=x", "| ::error::no"]


# --- the log ---------------------------------------------------------------------------------------------------------


@given(text=HOSTILE)
@example(text="\x1b[0m\x1b]0;x\x07::error::y")
@example(text="#\x1b[1K#[error]x")
def test_info__any_text__is_no_command(folder: Path, text: str) -> None:
    step = Step(folder)
    step.platform.info(text)
    assert step.commands == []
    assert not any("##[" in line for line in step.log)
    assert not any(line.lstrip(" \t\u00a0\u200b").startswith("::") for line in step.log)


def test_info__plain_text__is_not_changed(folder: Path) -> None:
    step = Step(folder)
    step.platform.info("a: b\n  c::d [#1] \u00e9 \u2713\n\nend")
    assert step.text == "a: b\n  c::d [#1] \u00e9 \u2713\n\nend\n"


def test_info__escape_sequence_within_a_secret__hides_it_from_no_mask(folder: Path) -> None:
    step = Step(folder)
    step.platform.mask("s3cr3t-word")
    step.platform.info("the s3cr\x1b[0K3t-word")
    step.platform.annotate(Severity.ERROR, "s3c\x1b[0Kr3t-word", "s3c\x1b[0Kr3t-word")
    assert "s3c" not in "".join(step.log)
    assert step.commands[-1] == WorkflowCommand(name="error", properties={"title": "***"}, data="***")


@given(severity=st.sampled_from(Severity), title=VALUES, text=VALUES)
@example(severity=Severity.ERROR, title="a,b:c=d%", text="e%0A\nf::g")
@example(severity=Severity.ERROR, title="==", text="")
def test_annotate__any_title_and_text__is_one_command_with_them(
    folder: Path, severity: Severity, title: str, text: str
) -> None:
    step = Step(folder)
    step.platform.annotate(severity, title, text)
    (command,) = step.commands
    assert step.log == []
    assert command.name == severity.value
    if title.isprintable() and len(title) <= 200:
        assert command.properties.get("title", "").strip() == " ".join(title.split())
    if all(each.isprintable() or each in "\n\t" for each in text) and "\x1b" not in text and len(text) <= 4000:
        assert command.data == text


@given(title=VALUES, inner=VALUES)
def test_group__any_titles_and_a_group_in_it__opens_and_closes_one(folder: Path, title: str, inner: str) -> None:
    step = Step(folder)
    with step.platform.group(title), step.platform.group(inner):
        step.platform.info("within")
    assert [each.name for each in step.commands] == ["group", "endgroup"]
    assert step.text.endswith("within\n::endgroup::\n")


def test_group__failure_in_it__is_closed(folder: Path) -> None:
    step = Step(folder)
    with pytest.raises(RuntimeError), step.platform.group("Log"):
        raise RuntimeError
    assert [each.name for each in step.commands] == ["group", "endgroup"]


# --- secrets ---------------------------------------------------------------------------------------------------------


@given(secret=st.text())
def test_mask__any_secret__each_of_its_lines_is_masked_by_the_runner_too(folder: Path, secret: str) -> None:
    step = Step(folder)
    step.platform.mask(secret)
    lines = {line.strip() for line in secret.replace("\r", "\n").split("\n") if len(line.strip()) >= 4}
    assert masked_values(step.commands) == lines
    assert step.log == []


def test_mask__not_on_a_runner__prints_no_secret(folder: Path) -> None:
    step = Step(folder, GITHUB_ACTIONS="")
    step.platform.mask("s3cr3t-word")
    step.platform.info("the s3cr3t-word")
    assert step.text == "the ***\n"


CANARIES = (
    "canary-1234-plain",
    "c4n`ary~with|<all>&\"of'it\\%2F@x#1",
    "-----BEGIN KEY-----\nbWxhei1jYW5hcnktbXVsdGlsaW5l\n-----END KEY-----",
    '{"clientSecret": "json~canary_8Q", "x": 1}',
    "c\u00e4n\u00e4ry \u20ac with  two spaces",
)


def _everywhere(canary: str) -> Iterator[Report]:
    answer = replace(scenarios.INVOKED.response, body=canary.encode())
    finding = Finding(code=canary, severity=Severity.ERROR, what=canary, usually=canary, remedy=f"x{canary}y")
    mutation = Mutation(at=scenarios.NOON, what=canary, subject=canary)
    service = replace(scenarios.SERVICE, owner=canary, detail=canary, live=canary, previous=canary)
    outcome = replace(
        scenarios.HEALTHY,
        service_name=canary,
        deployment_name=canary,
        scoring_uri=f"https://{canary}@host/score",
        swagger_uri=canary,
        model_name=canary,
        model_version=canary,
        model_label=canary,
        previous_model_version=f"before {canary}",
        studio_url=canary,
        findings=(finding,),
        mutations=(mutation,),
        plan=(canary,),
        smoke_test=answer,
        smoke_request=replace(
            scenarios.HEALTHY.smoke_request, body=json.dumps({"inputs": canary}).encode(), origin=canary
        ),
        response=answer,
        service=service,
        notes=(f"see `{canary}`",),
    )
    yield report_outcome(outcome)
    error = SmokeTestFailed(
        f"{'x' * 1990}{canary}",
        usually=canary,
        remedy=f"`{canary}`",
        log=f"line\n{canary}\n{canary * 3}",
        upstream_code=canary,
        correlation_id=canary,
    )
    yield report_failure(
        replace(
            scenarios.SMOKE_TEST_FAILED,
            error=error,
            service_name=canary,
            model_label=canary,
            findings=(finding,),
            left_behind=(canary,),
        )
    )


def _show(report: Report, platform: GithubPlatform) -> None:
    with platform.group(report.log):
        platform.info(report.log)
    platform.info(report.text)
    for severity, title, text in report.annotations:
        platform.annotate(severity, title, text)
    for name, value in report.outputs.items():
        platform.set_output(name, value)
    platform.append_summary(report.summary)
    with platform.progress(report.log) as progress:
        progress.update(1, 2, report.log)


@pytest.mark.parametrize("canary", CANARIES)
def test_platform__canary_in_every_value__is_in_nothing_that_is_written(folder: Path, canary: str) -> None:
    step = Step(folder)
    step.platform.mask(canary)
    spoken = len(step.text)
    for report in _everywhere(canary):
        _show(report, step.platform)
    written = [step.text[spoken:], step.output_file.read_text(), step.summary_file.read_text()]
    # What a reader of the page sees, too.
    seen = html.unescape(re.sub("</?(?:span|code)>", "", step.summary_file.read_text()))
    written.append(seen)
    forms = {canary, canary[:16], *canary.split("\n"), json.dumps(canary)[1:-1]}
    assert [form for form in forms if len(form) >= 6 and any(form in text for text in written)] == []
    assert all("***" in text or "&#42;&#42;&#42;" in text for text in written)
    json.loads(step.outputs["result"])


def test_platform__canary_never_masked__would_be_found(folder: Path) -> None:
    step = Step(folder)
    for report in _everywhere(CANARIES[0]):
        _show(report, step.platform)
    assert all(CANARIES[0] in text for text in (step.text, step.output_file.read_text(), step.summary_file.read_text()))


# --- the summary -----------------------------------------------------------------------------------------------------


def test_append_summary__more_than_github_takes__is_cut_at_a_line_with_a_word_about_it(folder: Path) -> None:
    step = Step(folder)
    for _ in range(3):
        step.platform.append_summary("| a line | of a table |\n" * 20_000)
    summary = read_step_summary(step.summary_file)
    assert len(summary.encode()) <= STEP_SUMMARY_LIMIT_BYTES
    assert "| a line | of a table |\n\n\nThe rest was cut: GitHub takes no job summary over 1 MiB.\n" in summary


def test_append_whole__disk_is_full_in_the_middle__leaves_the_file_as_it_was(folder: Path) -> None:
    resource = pytest.importorskip("resource")
    step = Step(folder)
    step.platform.set_output("status", "healthy")
    code = (
        "import resource, signal, sys, io\n"
        "from mlaz_ci.adapters.github import GithubPlatform\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "GithubPlatform({'GITHUB_OUTPUT': sys.argv[1]}, io.StringIO()).set_output('result', 'x' * 5000)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    subprocess.run([sys.executable, "-c", code, str(step.output_file)], check=True, cwd=ROOT, timeout=60)
    assert step.outputs == {"status": "healthy"}


# --- streams, threads, time ------------------------------------------------------------------------------------------


def test_info__reader_of_stdout_is_gone__keeps_the_exit_code() -> None:
    code = (
        "import sys\n"
        "from mlaz_ci.adapters.github import GithubPlatform\n"
        "platform = GithubPlatform({}, sys.stdout)\n"
        "for _ in range(1000):\n"
        "    platform.info('x' * 1000)\n"
        "sys.exit(6)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    # Unbuffered, Python would have nothing to flush at its end.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    try:
        ended = subprocess.run(
            command, check=False, cwd=ROOT, env=environ, stdout=writing, stderr=subprocess.PIPE, timeout=60
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (6, b"")


def test_info__no_stdout_at_all__is_silent() -> None:
    GithubPlatform({}, None).info("x")


def test_info__stream_of_another_encoding__spells_out_what_it_lacks() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    GithubPlatform({}, stream).info("caf\u00e9 \u27e8")
    assert raw.getvalue() == b"caf\\xe9 \\u27e8\n"


def test_info__many_threads__never_mix_their_lines(folder: Path) -> None:
    step = Step(folder)

    def tell(name: str) -> None:
        for _ in range(200):
            step.platform.info(name * 50)

    threads = [threading.Thread(target=tell, args=(name,)) for name in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(step.log) == sorted(name * 50 for name in "abcd" for _ in range(200))


class _Lines(io.StringIO):
    """A stream that tells when a text was written to it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self._awaited = awaited
        self.is_reached = threading.Event()

    def write(self, text: str, /) -> int:
        written = super().write(text)
        if self._awaited in self.getvalue():
            self.is_reached.set()
        return written


def test_progress__something_long__is_told_at_intervals_and_at_its_end() -> None:
    stream = _Lines(awaited="Fetching the model: 1.5 MB of 3.0 MB, ")
    platform = GithubPlatform({}, stream, heartbeat_s=(0.001, 0.002))
    with platform.progress("Fetching the model") as progress:
        progress.update(1_500_000, 3_000_000, "bytes")
        assert stream.is_reached.wait(30)
    lines = printed_lines(stream.getvalue())
    assert lines[-1].startswith("Fetching the model: done after ")


def test_progress__something_quick__says_nothing(folder: Path) -> None:
    step = Step(folder)
    with step.platform.progress("Fetching") as progress:
        progress.update(1, None, "files")
    assert step.text == ""


def test_progress__failure__is_passed_on_and_leaves_no_thread(folder: Path) -> None:
    step = Step(folder)
    with pytest.raises(RuntimeError), step.platform.progress("Fetching"):
        raise RuntimeError
    assert not any(each.name == "heartbeat" for each in threading.enumerate())


@pytest.mark.parametrize(
    ("event", "is_pull_request"),
    [("pull_request", True), ("pull_request_target", True), ("push", False), ("", False), ("workflow_dispatch", False)],
)
def test_is_pull_request__event__is_the_runners(folder: Path, event: str, is_pull_request: bool) -> None:
    assert Step(folder, GITHUB_EVENT_NAME=event).platform.is_pull_request is is_pull_request
