from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.inputs import Origin, origin_from_environ

HERE = Path("/github/workspace")
SHA, HEAD = "a" * 40, "b" * 40
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_REPOSITORY": "contoso/churn",
    "GITHUB_REPOSITORY_ID": "4711",
    "GITHUB_SHA": SHA,
    "GITHUB_RUN_ID": "99",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_ACTOR": "dependabot[bot]",
    "GITHUB_REF": "refs/heads/main",
}


def pull_request(event_name: str = "pull_request", head_repository: Any = None, **more: Any) -> Origin:
    event = {
        "pull_request": {
            "number": 7,
            "head": {"sha": HEAD, "repo": head_repository},
            "base": {"repo": {"id": 4711}},
            **more,
        }
    }
    return origin_from_environ({**GITHUB, "GITHUB_EVENT_NAME": event_name}, json.dumps(event), HERE)


def test_origin__push_on_github__has_its_facts() -> None:
    origin = origin_from_environ(GITHUB, "{}", HERE)
    assert origin.default_owner == "4711"
    assert not origin.is_pull_request
    assert not origin.is_fork
    assert origin.facts() == {
        "repository": "contoso/churn",
        "commit": SHA,
        "run": "https://github.com/contoso/churn/actions/runs/99",
        "actor": "dependabot[bot]",
        "event": "push",
    }


@pytest.mark.parametrize("event_name", ["pull_request", "pull_request_target", "pull_request_review"])
def test_origin__pull_request_of_the_repository__is_no_fork(event_name: str) -> None:
    origin = pull_request(event_name, {"id": 4711})
    assert origin.is_pull_request
    assert not origin.is_fork
    assert origin.pull_request == 7
    assert origin.commit == HEAD
    assert origin.facts()["pull_request"] == "7"


@pytest.mark.parametrize("repository", [{"id": 1}, None, {}, "contoso/churn"])
def test_origin__pull_request_from_elsewhere_or_nowhere__is_a_fork(repository: Any) -> None:
    assert pull_request(head_repository=repository).is_fork


@pytest.mark.parametrize("event", [None, "", "not json", "[]", "7", '{"pull_request": 3}', "[" * 100_000])
def test_origin__pull_request_with_an_unreadable_event__is_a_fork_by_number_of_its_ref(event: str | None) -> None:
    environ = {**GITHUB, "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/12/merge"}
    origin = origin_from_environ(environ, event, HERE)
    assert origin.is_fork
    assert origin.pull_request == 12
    assert origin.commit == SHA


@pytest.mark.parametrize("number", [True, -1, "7", 10**12, None])
def test_origin__number_that_is_none__is_absent(number: Any) -> None:
    assert pull_request(number=number).pull_request is None


def test_origin__variables_without_their_form__are_absent() -> None:
    hostile = dict.fromkeys(GITHUB, "x\n::error::y") | {"GITHUB_ACTIONS": "true"}
    origin = origin_from_environ(hostile, json.dumps({"pull_request": {"head": {"sha": 5}}}), HERE)
    assert origin.facts() == {}
    assert origin.default_owner == "user:unknown@localhost"


def test_origin__laptop__is_owned_by_the_user() -> None:
    origin = origin_from_environ({"LOGNAME": "ada lovelace", "GITHUB_REPOSITORY_ID": "1"}, None, HERE, host="laptop")
    assert origin.default_owner == "user:ada_lovelace@laptop"
    assert origin.facts() == {}


def test_origin__no_user_and_no_host__still_has_an_owner() -> None:
    assert origin_from_environ({}, None, HERE, host="").default_owner == "user:unknown@localhost"


@pytest.mark.parametrize(
    ("environ", "user_id", "owner"),
    [
        ({"USER": "ada"}, 1000, "user:ada@box"),
        ({"LOGNAME": "ada"}, 1000, "user:ada@box"),
        ({}, 12345, "user:uid-12345@box"),
        ({"USER": " "}, None, "user:unknown@box"),
    ],
)
def test_owner__user_without_a_name__is_told_from_others_by_number(
    environ: dict[str, str], user_id: int | None, owner: str
) -> None:
    assert origin_from_environ(environ, None, HERE, host="box", user_id=user_id).default_owner == owner
