from __future__ import annotations

import pytest

from mlaz_ci.errors import InvalidInput
from mlaz_ci.inputs.row import Group, Input, Kind
from mlaz_ci.inputs.table import INPUTS, LOCAL_KEYS
from mlaz_ci.inputs.values import clean, parse_value
from mlaz_ci.models import Cloud, Secret, SmokeTest, Target


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "yes", "on", "1"])
def test_boolean__any_word_for_true__is_true(text: str) -> None:
    assert parse_value(INPUTS["wait"], text) is True


@pytest.mark.parametrize("text", ["false", "False", "no", "OFF", "0"])
def test_boolean__any_word_for_false__is_false(text: str) -> None:
    assert parse_value(INPUTS["wait"], text) is False


@pytest.mark.parametrize(
    ("text", "near"),
    [("ture", "true"), ("fals", "false"), ("y", "true"), ("N", "false"), ("2", None), ("${{ inputs.wait }}", None)],
)
def test_boolean__not_a_word_for_either__is_an_error_and_never_false(text: str, near: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_value(INPUTS["wait"], text)
    assert "`wait`" in caught.value.what
    assert (f'Did you mean "{near}"?' in caught.value.what) if near else ("Did you mean" not in caught.value.what)


@pytest.mark.parametrize(
    ("text", "value"), [("30", 30), ("0.5", 0.5), ("1440", 1440), ("2.", 2), (".25", 0.25), ("+5", 5)]
)
def test_number__plain_digits__is_read(text: str, value: float) -> None:
    assert parse_value(INPUTS["deadline-minutes"], text) == value


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("deadline-minutes", "NaN", "not a number of minutes"),
        ("deadline-minutes", "Infinity", "not a number of minutes"),
        ("deadline-minutes", "1e400", "not a number of minutes"),
        ("deadline-minutes", "1e1", 'Did you mean "10"?'),
        ("deadline-minutes", "1,5", 'Did you mean "1.5"?'),
        ("deadline-minutes", "30m", "Leave out the unit; it is minutes."),
        ("deadline-minutes", "2 hours", "Leave out the unit; it is minutes."),
        ("memory-gb", "2 GB", "Leave out the unit; it is GB."),
        ("deadline-minutes", "thirty", "not a number of minutes"),
        ("deadline-minutes", "-5", "the nearest is 0.01"),
        ("deadline-minutes", "0", "the nearest is 0.01"),
        ("deadline-minutes", "100000", "the nearest is 1440"),
        ("deadline-minutes", "٣٠", "not a number of minutes"),
        ("deadline-minutes", "9" * 5000, "(5000 characters)"),
        ("instance-count", "1.5", 'whole number of instances in plain digits. Did you mean "2"?'),
        ("instance-count", "0", "the nearest is 1"),
        ("canary-percent", "100", "the nearest is 99"),
    ],
)
def test_number__not_usable__names_input_and_what_would_do(name: str, text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_value(INPUTS[name], text)
    assert f"`{name}`" in caught.value.what
    assert told in caught.value.what
    assert len(caught.value.what) < 300


def test_number__unit_without_a_name__is_not_told() -> None:
    with pytest.raises(InvalidInput, match=r"is not a whole number in plain digits\.\n"):
        parse_value(LOCAL_KEYS["port"], "80s")


def test_integer__digits__is_an_int() -> None:
    value = parse_value(INPUTS["instance-count"], "3")
    assert value == 3
    assert isinstance(value, int)


@pytest.mark.parametrize("text", ["AzureUSGovernment", "azureusgovernment", "AZUREUSGOVERNMENT"])
def test_choice__cloud_in_any_case__is_the_cloud(text: str) -> None:
    assert parse_value(INPUTS["cloud"], text) is Cloud.US_GOVERNMENT


@pytest.mark.parametrize(
    ("name", "text", "near"),
    [("target", "manged", "managed"), ("target", "Local", "local"), ("smoke-test", "best_effort", "best-effort")],
)
def test_choice__mistyped__lists_the_values_and_the_nearest(name: str, text: str, near: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_value(INPUTS[name], text)
    assert f'Did you mean "{near}"?' in caught.value.what
    assert all(each in caught.value.what for each in INPUTS[name].choices)


def test_choice__exact_word__is_the_enum() -> None:
    assert parse_value(INPUTS["target"], "kubernetes") is Target.KUBERNETES
    assert parse_value(INPUTS["smoke-test"], "off") is SmokeTest.OFF


def test_secret__any_text__hides_itself() -> None:
    value = parse_value(INPUTS["client-secret"], "hunter2hunter2")
    assert isinstance(value, Secret)
    assert "hunter2" not in repr(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run-id", "../../etc"),
        ("run-id", "-x"),
        ("subscription-id", "my subscription"),
        ("deployment-name", "../other"),
        ("deployment-name", "Blue"),
        ("resource-group", "rg/../x"),
        ("workspace-name", "ws?x"),
        ("model-name", "a/b"),
        ("owner", "two words"),
        ("base-image", "image with space"),
        ("client-id", "\uff100000000-0000-0000-0000-000000000000"),
    ],
)
def test_text__not_of_its_form__names_the_form(name: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_value(INPUTS[name], text)
    assert INPUTS[name].form in caught.value.what


def test_clean__white_space_alone__is_not_given() -> None:
    assert clean(INPUTS["run-id"], "  \n\t ") == ""


def test_clean__bytes_in_utf8__are_text() -> None:
    assert clean(INPUTS["description"], "Grüße".encode()) == "Grüße"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"\xff\xfe", "not valid UTF-8"),
        ("caf\udce9", "not valid UTF-8"),
        ("a\x1b[31mred", "a control character"),
        ("a\nb", "a line break"),
        ("a\x85b", "a control character"),
        ("x" * 2_000_000, "2000000 characters long"),
        (7, "is a int; an input is text"),
        (None, "is a NoneType"),
    ],
    ids=["bytes", "surrogate", "escape", "line", "nel", "megabytes", "int", "none"],
)
def test_clean__what_no_input_takes__is_a_short_printable_error(given: object, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        clean(INPUTS["service-name"], given)
    assert "`service-name`" in caught.value.what
    assert told in caught.value.what
    assert len(caught.value.what) < 200
    assert caught.value.what.isprintable()


def test_clean__control_character_in_a_secret__shows_only_where() -> None:
    with pytest.raises(InvalidInput, match="character 8") as caught:
        clean(INPUTS["client-secret"], "hunter2\x00rest")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["tags", "environment-variables", "creds", "description"])
def test_clean__lines_where_lines_belong__stay(name: str) -> None:
    assert clean(INPUTS[name], "a=1\r\nb=2\n") == "a=1\nb=2"


def test_input__every_part_of_its_row__is_in_the_description() -> None:
    row = Input(
        name="x", group=Group.HOW, says="Says.", kind=Kind.CHOICE, values=SmokeTest, default="off", is_built=False
    )
    assert (
        row.description
        == "Says. One of `required`, `best-effort`, `off`. Default: `off`. No other value in this version."
    )
