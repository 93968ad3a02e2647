"""Reads the command line: the words of the inputs as options. It prints nothing; help is raised as a text for main to show."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from typing import Final, Never

from mlaz_ci._version import __version__
from mlaz_ci.errors import ConflictingInputs, InvalidInput, MissingInput, UnknownInput
from mlaz_ci.inputs.row import Group, Input, Kind
from mlaz_ci.inputs.table import COMMANDS, INPUTS
from mlaz_ci.inputs.wording import did_you_mean, quote
from mlaz_ci.models import Command

SECRET_VARIABLES: Final[Mapping[str, str]] = {
    name: f"MLAZ_{name.upper().replace('-', '_')}" for name, row in INPUTS.items() if row.kind is Kind.SECRET
}
_OPTIONS: Final = tuple(row for name, row in INPUTS.items() if name != "command" and row.kind is not Kind.SECRET)


class HelpAsked(Exception):
    """The user asked for help or the version: `text` is to be printed, and the exit code is 0."""

    def __init__(self, text: str) -> None:
        super().__init__("help was asked for")
        self.text = text


def parse_command_line(argv: Sequence[str], environ: Mapping[str, str]) -> Mapping[str, str]:
    """What `argv` gives, by the names of inputs. Secrets come from the environment alone (SECRET_VARIABLES).

    Raises HelpAsked, UnknownInput, InvalidInput, MissingInput, ConflictingInputs.
    """
    words = [*argv]
    if not words or words[0] in {"-h", "--help", "help"}:
        raise HelpAsked(render_help(None))
    if words[0] == "--version":
        raise HelpAsked(f"mlaz-ci {__version__}\n")
    command = _parse_command(words.pop(0)) if not words[0].startswith("-") else Command.DEPLOY
    for word in words:
        _check_no_secret(word)
    if command is Command.MIGRATE and words and not words[0].startswith("-"):
        words[0] = f"--service-name={words[0]}"
    parsed, rest = _parser_of(command).parse_known_args(words)
    if parsed.help:
        raise HelpAsked(render_help(command))
    if rest:
        raise _unknown(rest)
    given = {"command": str(command)}
    for row in _OPTIONS:
        values = getattr(parsed, row.name.replace("-", "_"))
        if values:
            given[row.name] = _joined(row, values)
    secrets = {name: environ.get(variable, "") for name, variable in SECRET_VARIABLES.items()}
    return {**given, **{name: value for name, value in secrets.items() if value.strip()}}


def _parse_command(word: str) -> Command:
    if word not in set(Command):
        commands = [str(each) for each in Command]
        raise InvalidInput(
            f"{quote(word)} is not a command.{did_you_mean(word, commands)}",
            usually="The command stands first: `mlaz-ci deploy --run-id …`.",
            remedy=f"Use one of {', '.join(commands)}.",
        )
    return Command(word)


def _check_no_secret(word: str) -> None:
    name = word.partition("=")[0].removeprefix("--")
    if word.startswith("--") and name in SECRET_VARIABLES:
        raise InvalidInput(
            f"`--{name}` is not taken on the command line.",
            usually="Arguments are seen by every process of the machine and kept in the shell's history.",
            remedy=f"Set the environment variable {SECRET_VARIABLES[name]} instead.",
        )


def _unknown(rest: Sequence[str]) -> UnknownInput:
    option = next((word for word in rest if word.startswith("-")), None)
    if option is None:
        return UnknownInput(f"{quote(rest[0])} stands where an option is expected, such as `--run-id`.")
    name = option.partition("=")[0]
    if name == "--command":
        return UnknownInput("`--command` is not an option; the command stands first: `mlaz-ci deploy --run-id …`.")
    return UnknownInput(f"{quote(name)} is not an option.{did_you_mean(name, [f'--{row.name}' for row in _OPTIONS])}")


def _joined(row: Input, values: Sequence[str]) -> str:
    """Mappings may be given option by option; of anything else only one value can be meant."""
    if row.kind is Kind.MAPPING and len(values) > 1:
        return "\n".join(values)
    if len(set(values)) > 1:
        raise ConflictingInputs(f"`--{row.name}` was given {len(values)} times with different values.")
    return values[0]


class _Parser(argparse.ArgumentParser):
    """argparse without its own printing and exiting."""

    def error(self, message: str) -> Never:
        if "expected one argument" in message:
            option = message.removeprefix("argument ").partition(":")[0]
            raise MissingInput(
                f"`{option}` was given without a value.",
                usually="The value is an empty variable, or begins with a dash.",
                remedy=f"Write `{option}=<value>`.",
            )
        raise InvalidInput(f"The command line cannot be read: {quote(message)}.", remedy="See `mlaz-ci --help`.")


class _Formatter(argparse.HelpFormatter):
    """Breaks no name at its hyphens: an input is searched for, and copied, whole."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)


def _parser_of(command: Command) -> _Parser:
    """Takes every option for every command; the help tells those that matter to it."""
    parser = _Parser(
        prog=f"mlaz-ci {command}",
        description=COMMANDS[command].does,
        usage=f"mlaz-ci {command}{' SERVICE' if command is Command.MIGRATE else ''} [--option VALUE …]",
        add_help=False,
        allow_abbrev=False,
        formatter_class=lambda prog: _Formatter(prog, max_help_position=32, width=110),
    )
    groups = {group: parser.add_argument_group(str(group)) for group in Group}
    for row in _OPTIONS:
        text = row.description.replace("%", "%%") if command in row.used_by else argparse.SUPPRESS
        option, name = f"--{row.name}", row.name.replace("-", "_")
        if row.kind is Kind.BOOLEAN:
            groups[row.group].add_argument(
                option, dest=name, help=text, action="append", nargs="?", const="true", metavar="BOOLEAN"
            )
        else:
            groups[row.group].add_argument(option, dest=name, help=text, action="append", metavar=str(row.kind).upper())
    parser.add_argument("-h", "--help", action="store_true", help="show this text")
    return parser


def render_help(command: Command | None) -> str:
    """The help of one command, or the list of them."""
    if command is not None:
        notes = [f"{name}: from the environment variable {variable}" for name, variable in SECRET_VARIABLES.items()]
        missing = "" if COMMANDS[command].is_built else "\nThis command is not in this version.\n"
        return (
            _parser_of(command).format_help()
            + missing
            + "\nNever options, since they are secrets:\n  "
            + "\n  ".join(notes)
            + "\n"
        )
    lines = [
        f"  {row.command:<10} {row.does}{'' if row.is_built else ' Not in this version.'}" for row in COMMANDS.values()
    ]
    return "\n".join(
        [
            "usage: mlaz-ci COMMAND [--option VALUE …]",
            "",
            "From an MLflow run to a verified scoring URI, and safely away again.",
            "",
            *lines,
            "",
            "`mlaz-ci COMMAND --help` tells the options; they are the inputs of the GitHub Action by the same names.",
            "`mlaz-ci --version` tells the version.",
            "",
        ]
    )
