"""action.yml, the table, the README, the command line and the JSON schema say the same; each promise of the contract is one test."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from mlaz_ci import errors
from mlaz_ci.errors import ExitCode, MlazError
from mlaz_ci.inputs import HelpAsked, Origin, given_from_action, parse_command_line, parse_request
from mlaz_ci.inputs.command_line import SECRET_VARIABLES
from mlaz_ci.inputs.row import ConfigUse, Input, Kind
from mlaz_ci.inputs.schema import render_schema
from mlaz_ci.inputs.table import COMMANDS, INPUTS, LOCAL_KEYS, OUTPUTS
from mlaz_ci.inputs.values import parse_value
from mlaz_ci.models import STATUSES, Command, Status
from mlaz_ci.report import OUTPUT_NAMES, exit_code_of_status
from mlaz_ci.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRACT = (ROOT / "docs/contract.md").read_text(encoding="utf-8")
ROWS = [*INPUTS.values(), *LOCAL_KEYS.values()]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts/generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = load_generator()


def between(name: str) -> str:
    return README.partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]


def help_of(command: Command) -> str:
    with pytest.raises(HelpAsked) as caught:
        parse_command_line([command, "--help"], {})
    return " ".join(caught.value.text.split())


# --- the same inputs everywhere ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", GENERATE.render_files(), ids=lambda path: path.name)
def test_generated_file__compared_with_the_code__is_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATE.render_files()[path], "run `make docs`"


def test_action_yml__inputs_and_outputs__are_those_of_the_table() -> None:
    assert {name: each["description"] for name, each in ACTION["inputs"].items()} == {
        name: row.description for name, row in INPUTS.items()
    }
    assert {name: each["description"] for name, each in ACTION["outputs"].items()} == {
        name: row.description for name, row in OUTPUTS.items()
    }


def test_action_yml__defaults__are_none_but_the_token() -> None:
    defaults = {name: each["default"] for name, each in ACTION["inputs"].items() if "default" in each}
    assert defaults == {"github-token": "${{ github.token }}"}
    assert not [name for name, each in ACTION["inputs"].items() if "required" in each]


def test_action_yml__is_a_docker_action_with_plain_outputs() -> None:
    assert ACTION["runs"] == {"using": "docker", "image": "Dockerfile"}
    assert all(set(each) == {"description"} for each in ACTION["outputs"].values())
    assert {"name", "description", "author", "branding"} <= set(ACTION)


def test_action_yml__every_input_as_the_runner_passes_it__is_understood() -> None:
    environ = {f"INPUT_{name.upper()}": "x" for name in ACTION["inputs"]}
    assert set(given_from_action(environ)) == set(INPUTS)


def test_readme__tables__name_every_input_and_output() -> None:
    assert re.findall(r"^\| `([^`]+)`", between("inputs"), re.MULTILINE) == [row.name for row in ROWS]
    assert re.findall(r"^\| `([^`]+)`", between("outputs"), re.MULTILINE) == list(OUTPUTS)


def test_outputs__of_the_report__are_those_of_the_table() -> None:
    assert tuple(OUTPUTS) == OUTPUT_NAMES


@pytest.mark.parametrize("row", INPUTS.values(), ids=lambda row: row.name)
def test_help__of_each_command_that_uses_an_input__tells_it_in_the_same_words(row: Input) -> None:
    if row.name == "command":
        return
    assert row.used_by
    for command in row.used_by:
        text = help_of(command)
        if row.kind is Kind.SECRET:
            assert f"{row.name}: from the environment variable {SECRET_VARIABLES[row.name]}" in text
        else:
            assert f"--{row.name} " in text
            assert row.description in text


def test_help__of_all__tells_every_command_in_the_same_words() -> None:
    with pytest.raises(HelpAsked) as caught:
        parse_command_line(["--help"], {})
    assert all(f"{row.command} " in caught.value.text and row.does in caught.value.text for row in COMMANDS.values())


def test_command_line__every_option__gives_the_input_of_its_name() -> None:
    names = [name for name, row in INPUTS.items() if name != "command" and row.kind is not Kind.SECRET]
    argv = [word for name in names for word in (f"--{name}", "x")]
    environ = dict.fromkeys(SECRET_VARIABLES.values(), "x")
    assert set(parse_command_line(["deploy", *argv], environ)) == set(INPUTS)


def test_schema__keys__are_the_inputs_that_a_config_file_may_hold() -> None:
    schema = render_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    allowed = {name for name, row in INPUTS.items() if row.config is not ConfigUse.NEVER}
    assert set(schema["properties"]) == allowed | {str(each) for each in TARGETS}
    assert set(schema["properties"]["local"]["properties"]) == set(LOCAL_KEYS)
    for name in allowed:
        assert schema["properties"][name]["description"] == INPUTS[name].description


# --- the table itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row__default__parses_and_is_printed(row: Input) -> None:
    if row.default is None:
        assert "Default:" not in row.description
    else:
        parse_value(row, row.default)
        assert f"Default: `{row.default}`." in row.description


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row__description__is_a_sentence_with_every_value(row: Input) -> None:
    assert all(f"`{value}`" in row.description for value in row.choices)
    assert row.says[0].isupper()
    assert row.says.endswith(".")
    assert "\n" not in row.description
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", row.name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row__what_its_kind_needs__is_there(row: Input) -> None:
    assert (row.kind is Kind.CHOICE) == (row.values is not None)
    assert (row.kind in {Kind.NUMBER, Kind.INTEGER}) == (row.minimum is not None and row.maximum is not None)
    assert bool(row.pattern) == bool(row.form)


@pytest.mark.parametrize("row", [row for row in INPUTS.values() if not row.is_built], ids=lambda row: row.name)
def test_row__not_built__says_so_and_is_never_passed_over(row: Input) -> None:
    """Given with a value that asks for something, it is an error or a warning, on every target that is built."""
    assert row.description.endswith((" Not in this version.", " No other value in this version."))
    value = ASKING.get(row.name) or ASKING[row.kind]
    for target in TARGETS:
        given = {"target": str(target), "run-id": "abc", "service-name": "churn", row.name: value}
        try:
            parsed = parse_request(given, None, Origin(working_directory=Path("/checkout")))
        except errors.ConfigurationError as error:
            told = error.what
        else:
            told = " ".join(finding.what for finding in parsed.findings)
        assert f"`{row.name}`" in told


GUID = "00000000-0000-0000-0000-00000000000a"
ASKING: Mapping[str, str] = {
    Kind.BOOLEAN: "true",
    Kind.NUMBER: "2",
    Kind.INTEGER: "2",
    Kind.TEXT: "abc",
    Kind.SECRET: "abc",
    "wait": "false",
    "endpoint": "existing",
    "subscription-id": GUID,
    "client-id": GUID,
    "tenant-id": GUID,
    "cloud": "AzureChinaCloud",
    "auth": "entra",
    "strategy": "canary",
}


def test_targets__input_uses__name_inputs_of_the_table() -> None:
    for rules in TARGETS.values():
        assert set(rules.input_uses()) <= set(INPUTS)


def test_commands__needs__are_inputs_told_in_their_help() -> None:
    assert set(COMMANDS) == set(Command)
    for row in COMMANDS.values():
        for name in row.needs:
            assert row.command in INPUTS[name].used_by


# --- documents that use the contract ---------------------------------------------------------------------------------


def workflows() -> Iterator[tuple[str, str]]:
    for number, block in enumerate(re.findall(r"```ya?ml\n(.*?)```", README, re.DOTALL), start=1):
        yield f"README block {number}", block
    for path in sorted([*ROOT.glob("examples/**/*.yml"), *ROOT.glob(".github/workflows/*.yml")]):
        yield path.name, path.read_text(encoding="utf-8")


def steps_that_use_us(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if re.match(r"\./?$|mlaz-ci/mlaz-ci(@|$)", str(node.get("uses", ""))):
            yield node
        for each in node.values():
            yield from steps_that_use_us(each)
    elif isinstance(node, list):
        for each in node:
            yield from steps_that_use_us(each)


def as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


WORKFLOWS = dict(workflows())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow__what_it_passes_to_the_action__parses(name: str) -> None:
    for step in steps_that_use_us(yaml.safe_load(WORKFLOWS[name])):
        given = {key: as_text(value) for key, value in step.get("with", {}).items()}
        assert set(given) <= set(INPUTS)
        # What an expression will be is not known here; that its input exists is.
        if not any("${{" in value for value in given.values()):
            parse_request(given, None, Origin(working_directory=ROOT))


def test_readme__first_workflow__uses_the_action() -> None:
    assert list(steps_that_use_us(yaml.safe_load(WORKFLOWS["README block 1"])))


# --- statuses, exit codes, failures ----------------------------------------------------------------------------------

CATALOGUE = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, MlazError) and value is not MlazError
]
FAILURES = list(GENERATE.failures())


def test_catalogue__every_class__is_raised_or_a_base_of_what_is() -> None:
    bases = {base for each in FAILURES for base in each.__mro__}
    assert set(CATALOGUE) <= set(FAILURES) | bases


def test_catalogue__kinds__are_unique() -> None:
    kinds = [each.kind() for each in CATALOGUE]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: error.kind())
def test_catalogue__every_failure__has_cause_remedy_code_and_row(error: type[MlazError]) -> None:
    assert error.usually.endswith(".")
    assert error.remedy.rstrip(".").strip()
    assert error.exit_code is not ExitCode.DONE
    assert error.exit_code is not ExitCode.BUG or error is errors.Bug
    assert f"| `{error.kind()}` | {int(error.exit_code)} |" in CONTRACT


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: error.kind())
def test_catalogue__inputs_named_in_a_remedy__exist(error: type[MlazError]) -> None:
    words = re.findall(r"`([a-z]+(?:-[a-z]+)+)(?::[^`]*)?`", f"{error.usually} {error.remedy}")
    assert set(words) - {"mlaz-ci"} <= set(INPUTS)


def test_statuses__of_all_commands__are_all_the_statuses() -> None:
    assert set(STATUSES) == set(Command)
    assert {status for each in STATUSES.values() for status in each} == set(Status)
    assert all(len(set(each)) == len(each) for each in STATUSES.values())


@pytest.mark.parametrize("command", Command)
def test_contract__each_end_of_a_command__has_a_row_with_its_code(command: Command) -> None:
    for status in STATUSES[command]:
        code = int(exit_code_of_status(command, status))
        row = re.search(rf"^\| `{command}` \| `{status}` \| (.+) \|$", CONTRACT, re.MULTILINE)
        assert row
        if status is Status.FAILED:
            assert "by the failure" in row.group(1)
        elif status is not Status.UNVERIFIED:
            assert re.match(rf"{code}\b", row.group(1))


def test_contract__exit_codes__are_all_told() -> None:
    assert re.findall(r"^\| (\d+) \|", CONTRACT, re.MULTILINE) == [str(int(code)) for code in sorted(ExitCode)]


def test_contract__green_statuses__are_those_that_answer_or_were_asked_for() -> None:
    red = {
        (command, status) for command in Command for status in STATUSES[command] if exit_code_of_status(command, status)
    }
    assert {status for _, status in red} == {
        Status.FAILED,
        Status.UNHEALTHY,
        Status.TIMED_OUT,
        Status.CANCELLED,
        Status.ABSENT,
    }
    assert (Command.CLEANUP, Status.ABSENT) not in red
