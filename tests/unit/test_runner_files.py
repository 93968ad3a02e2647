"""The reader that stands in for GitHub's runner: the cases its own sources decide, so that other tests may lean on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner_files import (
    RefusedByRunner,
    WorkflowCommand,
    masked_values,
    parse_file_command,
    parse_workflow_commands,
    printed_lines,
    read_file_command,
    read_step_summary,
)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        pytest.param("", {}, id="empty file"),
        pytest.param("\n\n", {}, id="empty lines"),
        pytest.param("a=b=c<<d\n", {"a": "b=c<<d"}, id="equals before heredoc"),
        pytest.param("a=\n", {"a": ""}, id="empty value"),
        pytest.param("a=1", {"a": "1"}, id="no final newline"),
        pytest.param("a=1\na=2\n", {"a": "2"}, id="the last one counts"),
        pytest.param("a<<E\nE\n", {"a": ""}, id="empty heredoc"),
        pytest.param("a<<E\nx=1\n\ny\nE\nb=2\n", {"a": "x=1\n\ny", "b": "2"}, id="heredoc with lines"),
        pytest.param("a<<E\nx\r\nE\n", {"a": "x\r"}, id="a CR stays in the value"),
        pytest.param("a<<E\nx\nE", {"a": "x"}, id="delimiter ends the file"),
        pytest.param("a<<E=F\nx\nE=F\n", {"a": "x"}, id="equals in the delimiter"),
        pytest.param("a<<E\n E\nE \nE\n", {"a": " E\nE "}, id="only the exact delimiter ends it"),
    ],
)
def test_parse_file_command__what_the_runner_takes__gives_the_pairs(text: str, pairs: dict[str, str]) -> None:
    assert parse_file_command(text) == pairs


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("plain\n", "Invalid format 'plain'", id="neither form"),
        pytest.param("<<E\nx\nE\n", "Name must not be empty", id="heredoc without a name"),
        pytest.param("a<<\nx\n", "delimiter must not be empty", id="heredoc without a delimiter"),
        pytest.param("a<<E\nx\n", "Matching delimiter not found 'E'", id="heredoc without an end"),
        pytest.param("a<<E\nx", "EOF marker missing new line", id="heredoc cut off in a line"),
        pytest.param("=x\n", "null or empty: name", id="no name"),
    ],
)
def test_parse_file_command__what_the_runner_refuses__is_refused(text: str, reason: str) -> None:
    with pytest.raises(RefusedByRunner, match=reason):
        parse_file_command(text)


def test_parse_file_command__a_refusal_late_in_the_file__tells_what_was_taken_before() -> None:
    with pytest.raises(RefusedByRunner) as refusal:
        parse_file_command("a=1\nplain\nb=2\n")
    assert refusal.value.applied == {"a": "1"}


def test_read_file_command__no_file__is_empty(tmp_path: Path) -> None:
    assert read_file_command(tmp_path / "absent") == {}


def test_read_step_summary__one_byte_over_the_limit__is_refused(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"x" * 1024 * 1024)
    assert len(read_step_summary(path)) == 1024 * 1024
    path.write_bytes(b"x" * (1024 * 1024 + 1))
    with pytest.raises(RefusedByRunner):
        read_step_summary(path)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        pytest.param("::debug::x", WorkflowCommand(name="debug", data="x"), id="plain"),
        pytest.param("  ::Error::x", WorkflowCommand(name="error", data="x"), id="leading space, any case"),
        pytest.param(
            "::error title=a%3Ab%2Cc,FILE=d%25::e%0Af%0Dg%25h%3A",
            WorkflowCommand(name="error", properties={"title": "a:b,c", "file": "d%"}, data="e\nf\rg%h%3A"),
            id="escapes of properties and of data",
        ),
        pytest.param("::debug::%250A", WorkflowCommand(name="debug", data="%0A"), id="percent is unescaped last"),
        pytest.param(
            "::error title==x,=y,z=,w::d",
            WorkflowCommand(name="error", properties={"title": "x"}, data="d"),
            id="odd =s",
        ),
        pytest.param("::group::a::b", WorkflowCommand(name="group", data="a::b"), id="data holds ::"),
        pytest.param("before ##[group]after", WorkflowCommand(name="group", data="after"), id="old style anywhere"),
    ],
)
def test_parse_workflow_commands__a_command__is_read(line: str, command: WorkflowCommand) -> None:
    assert parse_workflow_commands(line + "\n") == [command]
    assert printed_lines(line + "\n") == []


@pytest.mark.parametrize("line", ["x ::error::y", "::unknown::x", ":: error::x", "::error:x", "::error", ""])
def test_parse_workflow_commands__no_command__is_printed(line: str) -> None:
    assert parse_workflow_commands(line + "\n") == []
    assert printed_lines(line + "\n") == [line]


def test_parse_workflow_commands__a_lone_cr__begins_a_new_line() -> None:
    assert parse_workflow_commands("progress\r::error::smuggled\n") == [WorkflowCommand(name="error", data="smuggled")]


def test_parse_workflow_commands__between_stop_and_its_token__nothing_is_carried_out() -> None:
    output = "::stop-commands::Token\n::error::quoted\n::token::\n::notice::again\n"
    assert [each.name for each in parse_workflow_commands(output)] == ["stop-commands", "notice"]
    assert printed_lines(output) == ["::error::quoted"]


@pytest.mark.parametrize(
    "line", ["::set-env name=a::b", "::add-path::/x", "::set-output::x", "::stop-commands::debug", "::echo::maybe"]
)
def test_parse_workflow_commands__what_the_runner_fails_the_step_for__is_refused(line: str) -> None:
    with pytest.raises(RefusedByRunner):
        parse_workflow_commands(line)


def test_masked_values__several_lines__mask_each_line_too() -> None:
    assert masked_values(parse_workflow_commands("::add-mask::one%0A two%0D%0A\n::add-mask:: \n")) == {
        "one\n two\r\n",
        "one",
        "two",
    }
