from __future__ import annotations

import pytest

from mlaz_ci.errors import ConflictingInputs, InvalidInput, UnknownInput
from mlaz_ci.inputs import given_from_action


def test_given_from_action__dashes_and_underscores__are_the_same_input() -> None:
    environ = {"INPUT_RUN-ID": "abc", "INPUT_SERVICE_NAME": "churn", "PATH": "/bin", "GITHUB_SHA": "x"}
    assert given_from_action(environ) == {"run-id": "abc", "service-name": "churn"}


def test_given_from_action__empty_value__is_not_given() -> None:
    assert given_from_action({"INPUT_RUN-ID": "", "INPUT_TAGS": " \n"}) == {}


def test_given_from_action__both_forms_alike__is_one() -> None:
    assert given_from_action({"INPUT_RUN-ID": "a", "INPUT_RUN_ID": "a"}) == {"run-id": "a"}
    assert given_from_action({"INPUT_RUN-ID": "", "INPUT_RUN_ID": "a"}) == {"run-id": "a"}


def test_given_from_action__both_forms_differ__conflict() -> None:
    with pytest.raises(ConflictingInputs, match="`run-id` was given twice"):
        given_from_action({"INPUT_RUN-ID": "a", "INPUT_RUN_ID": "b"})


def test_given_from_action__the_runners_own_words__are_passed_over() -> None:
    assert given_from_action({"INPUT_ENTRYPOINT": "/x", "INPUT_ARGS": "y"}) == {}


def test_given_from_action__unknown_name__is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownInput) as caught:
        given_from_action({"INPUT_SERVICENAME": "", "INPUT_CLIENT-SECRE": "hunter2"})
    assert '"servicename" is not an input. Did you mean "service-name"?' in caught.value.what
    assert 'Did you mean "client-secret"?' in caught.value.what
    assert "hunter2" not in str(caught.value)


def test_given_from_action__many_unknown_names__are_cut() -> None:
    with pytest.raises(UnknownInput, match=r"\(and 95 more\)"):
        given_from_action({f"INPUT_{n}\x1b": "x" for n in range(100)})


def test_given_from_action__migrate__is_of_the_command_line_alone() -> None:
    with pytest.raises(InvalidInput, match="`command: migrate` is of the command line alone"):
        given_from_action({"INPUT_COMMAND": "migrate", "INPUT_SERVICE-NAME": "churn"})
