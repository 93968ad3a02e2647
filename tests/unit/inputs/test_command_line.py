from __future__ import annotations

import pytest

from mlaz_ci import __version__
from mlaz_ci.errors import ConflictingInputs, InvalidInput, MissingInput, UnknownInput
from mlaz_ci.inputs import HelpAsked, parse_command_line
from mlaz_ci.models import Command


def test_command_line__options__are_the_inputs_of_their_names() -> None:
    argv = ["deploy", "--run-id", "abc", "--service-name=churn", "--deadline-minutes", "5"]
    assert parse_command_line(argv, {}) == {
        "command": "deploy",
        "run-id": "abc",
        "service-name": "churn",
        "deadline-minutes": "5",
    }


def test_command_line__no_command__is_deploy() -> None:
    assert parse_command_line(["--run-id", "a"], {}) == {"command": "deploy", "run-id": "a"}


@pytest.mark.parametrize(
    ("argv", "value"), [(["--dry-run"], "true"), (["--dry-run", "false"], "false"), (["--dry-run=no"], "no")]
)
def test_command_line__boolean__may_stand_alone(argv: list[str], value: str) -> None:
    assert parse_command_line(["deploy", *argv], {})["dry-run"] == value


def test_command_line__tags_option_by_option__are_joined() -> None:
    assert parse_command_line(["deploy", "--tags", "a=1", "--tags", "b=2"], {})["tags"] == "a=1\nb=2"


def test_command_line__option_twice__conflicts_unless_alike() -> None:
    assert parse_command_line(["deploy", "--run-id", "a", "--run-id", "a"], {})["run-id"] == "a"
    with pytest.raises(ConflictingInputs, match="`--run-id` was given 2 times"):
        parse_command_line(["deploy", "--run-id", "a", "--run-id", "b"], {})


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["deploy", "--run_id", "x"], '"--run_id" is not an option. Did you mean "--run-id"?'),
        (["deploy", "--servicename=x"], 'Did you mean "--service-name"?'),
        (["deploy", "--run", "x"], '"--run" is not an option.'),
        (["deploy", "-x"], '"-x" is not an option.'),
        (["deploy", "stray"], '"stray" stands where an option is expected'),
        (["deploy", "--", "stray"], '"--" is not an option.'),
        (["cleanup", "--command", "deploy"], "the command stands first"),
    ],
)
def test_command_line__unknown_option__names_the_nearest(argv: list[str], told: str) -> None:
    with pytest.raises(UnknownInput) as caught:
        parse_command_line(argv, {})
    assert told in caught.value.what
    assert caught.value.exit_code == 2


def test_command_line__unknown_command__names_the_nearest() -> None:
    with pytest.raises(InvalidInput, match=r'"deplyo" is not a command. Did you mean "deploy"\?'):
        parse_command_line(["deplyo"], {})


@pytest.mark.parametrize("argv", [["--run-id"], ["--run-id", "--service-name", "x"], ["--run-id", "-x"]])
def test_command_line__option_without_value__says_so(argv: list[str]) -> None:
    with pytest.raises(MissingInput, match="`--run-id` was given without a value"):
        parse_command_line(["deploy", *argv], {})


def test_command_line__value_for_help__cannot_be_read() -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        parse_command_line(["deploy", "--help=x"], {})


@pytest.mark.parametrize("argv", [["--client-secret", "hunter2"], ["--creds=hunter2"], ["--github-token=hunter2"]])
def test_command_line__secret_as_option__is_refused_and_not_shown(argv: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_command_line(["deploy", *argv], {})
    assert "MLAZ_" in caught.value.remedy_text
    assert "hunter2" not in str(caught.value)


def test_command_line__secrets__come_from_variables() -> None:
    environ = {"MLAZ_CLIENT_SECRET": "s", "MLAZ_CREDS": " ", "MLAZ_GITHUB_TOKEN": "t", "INPUT_CREDS": "no"}
    assert parse_command_line(["status"], environ) == {"command": "status", "client-secret": "s", "github-token": "t"}


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_command_line__help__lists_every_command(argv: list[str]) -> None:
    with pytest.raises(HelpAsked) as caught:
        parse_command_line(argv, {})
    assert all(f"\n  {command} " in caught.value.text for command in Command)


def test_command_line__help_of_a_command__tells_its_options_alone() -> None:
    with pytest.raises(HelpAsked) as caught:
        parse_command_line(["cleanup", "--service-name", "x", "--help"], {})
    assert "--service-name" in caught.value.text
    assert "--smoke-test" not in caught.value.text
    assert "MLAZ_CLIENT_SECRET" in caught.value.text


def test_command_line__help_of_what_is_not_built__says_so() -> None:
    with pytest.raises(HelpAsked) as caught:
        parse_command_line(["sweep", "-h"], {})
    assert "This command is not in this version." in caught.value.text


def test_command_line__migrate__takes_the_service_as_a_word() -> None:
    given = {"command": "migrate", "service-name": "churn", "resource-group": "rg"}
    assert parse_command_line(["migrate", "churn", "--resource-group", "rg"], {}) == given
    assert parse_command_line(["migrate", "--resource-group", "rg", "--service-name", "churn"], {}) == given


def test_command_line__version__is_told() -> None:
    with pytest.raises(HelpAsked) as caught:
        parse_command_line(["--version"], {})
    assert caught.value.text == f"mlaz-ci {__version__}\n"
