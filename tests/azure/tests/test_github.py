from __future__ import annotations

from typing import Any

import pytest
import requests

from tests.azure import github, jwt, world
from tests.azure.server import Emulator
from tests.azure.state import Cloud

REPO = f"https://api.github.com/repos/{world.GITHUB_REPOSITORY}"


@pytest.fixture
def hub(cloud: Cloud) -> github.GitHub:
    return cloud.state(github.GitHub)


@pytest.fixture
def api(http: requests.Session) -> requests.Session:
    http.headers["Authorization"] = f"Bearer {world.GITHUB_TOKEN}"
    return http


def _all(api: requests.Session, url: str) -> tuple[list[dict[str, Any]], int]:
    """Every entry, by following the Link header as a client should; and how many pages it took."""
    entries: list[dict[str, Any]] = []
    pages = 0
    while url:
        answer = api.get(url)
        assert answer.status_code == 200, answer.text
        entries += answer.json()
        pages += 1
        url = answer.links.get("next", {}).get("url", "")
    return entries, pages


def test_comments__more_than_a_page__are_found_by_following_links(
    cloud: Cloud, hub: github.GitHub, api: requests.Session
) -> None:
    hub.add_pull(cloud, 7)
    hub.add_pull(cloud, 8)
    for number in range(65):
        assert api.post(f"{REPO}/issues/7/comments", json={"body": f"comment {number}"}).status_code == 201
    api.post(f"{REPO}/issues/8/comments", json={"body": "of another"})
    comments, pages = _all(api, f"{REPO}/issues/7/comments")
    assert ([comment["body"] for comment in comments], pages) == ([f"comment {number}" for number in range(65)], 3)
    _, pages = _all(api, f"{REPO}/issues/7/comments?per_page=100")
    assert pages == 1
    middle = api.get(f"{REPO}/issues/7/comments", params={"page": 2}).links
    assert {"prev", "next", "last", "first"} == set(middle)
    assert middle["last"]["url"].endswith("page=3")


def test_comment__updated_and_deleted__is_what_was_written(
    cloud: Cloud, hub: github.GitHub, api: requests.Session
) -> None:
    hub.add_pull(cloud, 7)
    comment = api.post(f"{REPO}/issues/7/comments", json={"body": "first"}).json()
    assert api.patch(comment["url"], json={"body": "second"}).json()["body"] == "second"
    assert api.get(comment["url"]).json()["body"] == "second"
    assert api.delete(comment["url"]).status_code == 204
    assert api.get(comment["url"]).status_code == 404


@pytest.mark.parametrize("body", [{}, {"body": ""}, {"body": "x" * 65537}])
def test_comment__without_or_with_too_much_text__is_refused(
    cloud: Cloud, hub: github.GitHub, api: requests.Session, body: dict[str, str]
) -> None:
    hub.add_pull(cloud, 7)
    answer = api.post(f"{REPO}/issues/7/comments", json=body)
    assert (answer.status_code, answer.json()["message"]) == (422, "Validation Failed")


def test_pulls__state_head_and_commit__select(cloud: Cloud, hub: github.GitHub, api: requests.Session) -> None:
    hub.add_pull(cloud, 7, sha="a" * 40)
    hub.add_pull(cloud, 8, state="closed")
    assert [pull["number"] for pull in api.get(f"{REPO}/pulls").json()] == [7]
    assert [pull["number"] for pull in api.get(f"{REPO}/pulls?state=all").json()] == [8, 7]
    assert [pull["number"] for pull in api.get(f"{REPO}/pulls?head=contoso:feature-7").json()] == [7]
    assert [pull["number"] for pull in api.get(f"{REPO}/commits/{'a' * 40}/pulls").json()] == [7]
    assert api.get(f"{REPO}/pulls/8").json()["state"] == "closed"
    assert api.get(f"{REPO}/pulls/9").json()["message"] == "Not Found"


def test_deployment__statuses__end_with_the_latest_and_retire_the_one_before(
    hub: github.GitHub, api: requests.Session
) -> None:
    def deploy() -> dict[str, Any]:
        sent = {"ref": "main", "environment": "preview-7", "auto_merge": False, "required_contexts": []}
        deployment: dict[str, Any] = api.post(f"{REPO}/deployments", json=sent).json()
        for state in ("in_progress", "success"):
            status = {"state": state, "environment_url": "https://x.example/score"}
            assert api.post(deployment["statuses_url"], json=status).status_code == 201
        return deployment

    first, second = deploy(), deploy()
    states = [status["state"] for status in api.get(first["statuses_url"]).json()]
    assert states == ["inactive", "success", "in_progress"]
    assert api.get(second["statuses_url"]).json()[0]["environment_url"] == "https://x.example/score"
    assert [entry["id"] for entry in api.get(f"{REPO}/deployments?environment=preview-7").json()] == [
        second["id"],
        first["id"],
    ]
    assert api.delete(second["url"]).status_code == 422
    assert api.delete(first["url"]).status_code == 204
    assert api.post(second["statuses_url"], json={"state": "done"}).status_code == 422


def test_token__missing_wrong_or_without_permission__is_refused_as_github_does(
    cloud: Cloud, hub: github.GitHub, http: requests.Session
) -> None:
    hub.add_pull(cloud, 7)
    url = f"{REPO}/issues/7/comments"
    assert http.get(url).status_code == 401
    assert http.get(url, headers={"Authorization": "Bearer x"}).json()["message"] == "Bad credentials"
    hub.tokens["read-only"] = {"pull-requests": "read"}
    read_only = {"Authorization": "token read-only"}
    assert http.get(url, headers=read_only).status_code == 200
    refused = http.post(url, headers=read_only, json={"body": "x"})
    assert (refused.status_code, refused.json()["message"]) == (403, "Resource not accessible by integration")
    assert http.get("https://api.github.com/repos/other/repo", headers=read_only).status_code == 404


@pytest.mark.parametrize(
    ("immutable", "context", "subject"),
    [
        (False, "pull_request", "repo:contoso/churn:pull_request"),
        (False, "environment:prod", "repo:contoso/churn:environment:prod"),
        (True, "ref:refs/heads/main", "repo:contoso@123456/churn@456789:ref:refs/heads/main"),
    ],
)
def test_oidc__token__has_the_jobs_subject_in_both_forms(
    azure: Emulator, http: requests.Session, immutable: bool, context: str, subject: str
) -> None:
    hub = azure.cloud.state(github.GitHub)
    hub.repository().immutable_subject = immutable
    hub.jobs[world.OIDC_REQUEST_TOKEN].context = context
    bearer = {"Authorization": f"Bearer {azure.credentials()['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    answer = http.get(
        azure.credentials()["ACTIONS_ID_TOKEN_REQUEST_URL"], params={"audience": "api://x"}, headers=bearer
    )
    token = jwt.parse(answer.json()["value"])
    assert (token.claims["sub"], token.claims["aud"], token.claims["iss"]) == (subject, "api://x", world.OIDC_ISSUER)
    jwks = http.get(f"{world.OIDC_ISSUER}/.well-known/jwks").json()
    assert [key["kid"] for key in jwks["keys"]] == [token.header["kid"]]


def test_oidc__without_the_jobs_bearer__is_refused(azure: Emulator, http: requests.Session) -> None:
    assert http.get(azure.credentials()["ACTIONS_ID_TOKEN_REQUEST_URL"]).status_code == 401


def test_oidc_customization__tells_the_prefix(hub: github.GitHub, api: requests.Session) -> None:
    hub.repository().immutable_subject = True
    answer = api.get(f"{REPO}/actions/oidc/customization/sub").json()
    assert answer["sub_claim_prefix"] == "repo:contoso@123456/churn@456789"
