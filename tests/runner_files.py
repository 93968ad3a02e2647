"""Reads what a step leaves for GitHub's runner as the runner reads it, refusals included.

Stands on actions/runner at 258d6c8: Runner.Worker/FileCommandManager.cs, Runner.Worker/ActionCommandManager.cs,
Runner.Common/ActionCommand.cs. Knows nothing of our writers, so that a round trip through both proves something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

STEP_SUMMARY_LIMIT_BYTES = 1024 * 1024

_DATA_ESCAPES = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY_ESCAPES = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_OLD_STYLE_ESCAPES = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))

# char.IsWhiteSpace; str.strip() alone would also take \x1c to \x1f.
_DOTNET_WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

_DISABLED_COMMANDS = frozenset({"set-env", "add-path"})
_NAMED_COMMANDS = frozenset({"set-output", "save-state"})
_COMMANDS = (
    frozenset(
        "add-mask add-matcher remove-matcher debug warning error notice group endgroup echo stop-commands".split()  # noqa: SIM905
    )
    | _DISABLED_COMMANDS
    | _NAMED_COMMANDS
)


class RefusedByRunner(Exception):
    """The runner fails the step with this text. `applied` is what it had taken before."""

    def __init__(self, text: str, applied: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.applied = dict(applied or {})


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkflowCommand:
    """A line of the step's output that the runner acts on. Property names are case-insensitive there: lower case here."""

    name: str
    properties: Mapping[str, str] = field(default_factory=dict)
    data: str = ""


# --- GITHUB_OUTPUT, GITHUB_ENV, GITHUB_STATE -------------------------------------------------------------------------


def read_file_command(path: Path) -> dict[str, str]:
    """What the runner takes from the file. A missing file is an empty one; bytes that are no UTF-8 become U+FFFD."""
    if not path.exists():
        return {}
    return parse_file_command(path.read_bytes().decode("utf-8-sig", errors="replace"))


def parse_file_command(text: str) -> dict[str, str]:
    """The name → value pairs of a file command; a later pair replaces an earlier one of the same name."""
    pairs: dict[str, str] = {}
    try:
        pairs.update(_pairs(text))  # one by one: what comes before a refusal has been taken
    except RefusedByRunner as refusal:
        raise RefusedByRunner(str(refusal), applied=pairs) from None
    return pairs


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """On Linux the runner splits at LF alone: a CR belongs to the name, the delimiter or the value it stands in."""
    at = 0
    while at < len(text):
        line, _, at = _read_line(text, at)
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if equals >= 0 and (heredoc < 0 or equals < heredoc):
            name, _, value = line.partition("=")
            if not name:
                raise RefusedByRunner("Value cannot be null or empty: name")
            yield name, value
        elif heredoc >= 0:
            name, _, delimiter = line.partition("<<")
            if not name or not delimiter:
                raise RefusedByRunner(
                    f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty"
                )
            value, at = _read_heredoc(text, at, delimiter)
            yield name, value
        else:
            raise RefusedByRunner(f"Invalid format '{line}'")


def _read_heredoc(text: str, start: int, delimiter: str) -> tuple[str, int]:
    """The value runs up to, without, the LF before the delimiter's line. The delimiter's own line needs no LF."""
    end = at = start
    while at < len(text):
        line, has_newline, at = _read_line(text, at)
        if line == delimiter:
            return text[start:end], at
        if not has_newline:
            raise RefusedByRunner("Invalid value. EOF marker missing new line.")
        end = at - 1
    raise RefusedByRunner(f"Invalid value. Matching delimiter not found '{delimiter}'")


def _read_line(text: str, start: int) -> tuple[str, bool, int]:
    end = text.find("\n", start)
    return (text[start:], False, len(text)) if end < 0 else (text[start:end], True, end + 1)


# --- GITHUB_STEP_SUMMARY ---------------------------------------------------------------------------------------------


def read_step_summary(path: Path) -> str:
    """The summary as it is uploaded; a longer one than the runner takes is refused whole."""
    content = path.read_bytes() if path.exists() else b""
    if len(content) > STEP_SUMMARY_LIMIT_BYTES:
        raise RefusedByRunner(
            f"$GITHUB_STEP_SUMMARY supports content up to a size of 1024k, got {len(content) // 1024}k"
        )
    return content.decode("utf-8-sig", errors="replace")


# --- workflow commands in the step's output --------------------------------------------------------------------------


def parse_workflow_commands(output: str) -> list[WorkflowCommand]:
    """The commands the runner carries out while it reads `output`, in order; everything else it prints as it is."""
    commands: list[WorkflowCommand] = []
    resume_token: str | None = None
    for line in split_output_lines(output):
        command = _parse_command(line, also_known=resume_token)
        if command is None:
            continue
        if resume_token is not None:
            if command.name == resume_token:
                resume_token = None
            continue
        _refuse_what_the_runner_refuses(command)
        if command.name == "stop-commands":
            resume_token = command.data.lower()
        commands.append(command)
    return commands


def printed_lines(output: str) -> list[str]:
    """The lines of `output` that reach the log as text, because no command is in them."""
    lines: list[str] = []
    resume_token: str | None = None
    for line in split_output_lines(output):
        command = _parse_command(line, also_known=resume_token)
        if command is None or (resume_token is not None and command.name != resume_token):
            lines.append(line)
        elif resume_token is not None:
            resume_token = None
        elif command.name == "stop-commands":
            resume_token = command.data.lower()
    return lines


def masked_values(commands: list[WorkflowCommand]) -> set[str]:
    """What the runner replaces by *** from then on: each value whole, and each of its lines, trimmed."""
    masks: set[str] = set()
    for command in commands:
        if command.name == "add-mask" and command.data.strip():
            masks.add(command.data)
            masks.update(part.strip() for part in re.split(r"[\r\n]", command.data) if part.strip())
    return masks


def split_output_lines(output: str) -> list[str]:
    r"""Lines as .NET's StreamReader ends them: LF, CR LF, and a lone CR. str.splitlines would also end them at \x0b or \u2028."""
    lines = re.split(r"\r\n|\n|\r", output)
    return lines[:-1] if lines[-1] == "" else lines


def _parse_command(line: str, *, also_known: str | None) -> WorkflowCommand | None:
    known = _COMMANDS if also_known is None else _COMMANDS | {also_known}
    return _parse_new_style(line, known) or _parse_old_style(line, known)


def _parse_new_style(line: str, known: frozenset[str]) -> WorkflowCommand | None:
    line = line.lstrip(_DOTNET_WHITESPACE)
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    return _command(
        line[2:end],
        line[end + 2 :],
        known=known,
        separator=",",
        property_escapes=_PROPERTY_ESCAPES,
        data_escapes=_DATA_ESCAPES,
    )


def _parse_old_style(line: str, known: frozenset[str]) -> WorkflowCommand | None:
    """`##[name key=value;…]data`, found anywhere in the line."""
    start = line.find("##[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    return _command(
        line[start + 3 : end],
        line[end + 1 :],
        known=known,
        separator=";",
        property_escapes=_OLD_STYLE_ESCAPES,
        data_escapes=_OLD_STYLE_ESCAPES,
    )


def _command(
    head: str,
    data: str,
    *,
    known: frozenset[str],
    separator: str,
    property_escapes: tuple[tuple[str, str], ...],
    data_escapes: tuple[tuple[str, str], ...],
) -> WorkflowCommand | None:
    name, _, tail = head.partition(" ")
    if name.lower() not in known:
        return None
    properties: dict[str, str] = {}
    for each in tail.strip(_DOTNET_WHITESPACE).split(separator):
        # Split(…, RemoveEmptyEntries) of .NET skips every "=" before the name and before the value; a part without either is dropped.
        key, _, value = each.lstrip("=").partition("=")
        if key and value.lstrip("="):
            properties[key.lower()] = _unescape(value.lstrip("="), property_escapes)
    return WorkflowCommand(name=name.lower(), properties=properties, data=_unescape(data, data_escapes))


def _unescape(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for escaped, plain in escapes:
        text = text.replace(escaped, plain)
    return text


def _refuse_what_the_runner_refuses(command: WorkflowCommand) -> None:
    if command.name in _DISABLED_COMMANDS:
        raise RefusedByRunner(f"The `{command.name}` command is disabled.")
    if command.name in _NAMED_COMMANDS and not command.properties.get("name"):
        raise RefusedByRunner(f"Required field 'name' is missing in ##[{command.name}] command.")
    if command.name == "stop-commands" and (not command.data or command.data.lower() in _COMMANDS | {"pause-logging"}):
        raise RefusedByRunner(f"Invalid token for stop-commands: '{command.data}'")
    if command.name == "echo" and command.data.strip().lower() not in {"on", "off"}:
        raise RefusedByRunner(f"Invalid echo command value: '{command.data}'")
