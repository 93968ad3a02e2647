"""GitHub as a workflow sees it: pulls, issue comments, deployments with statuses, and the OIDC token endpoint.

Knows nothing of Azure; Entra checks the assertions it issues by its key alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.azure import world
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Request, Response
from tests.azure.routing import Handler, Params, Room
from tests.azure.state import Cloud

API_HOST = "api.github.com"
OIDC_HOSTS = "{shard}.actions.githubusercontent.com"
OIDC_LIFETIME_S = 300
_DEPLOYMENT_STATES = {"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}
_MAX_BODY_CHARACTERS = 65536

room = Room("github", host=API_HOST)
oidc = Room("github-oidc", host=OIDC_HOSTS)


@dataclass(slots=True, kw_only=True)
class Repository:
    owner: str
    name: str
    owner_id: int
    id: int
    private: bool = True
    # Whether tokens name owner and repository with their ids, the default for repositories made since July 2026.
    immutable_subject: bool = False
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[int, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def subject_prefix(self) -> str:
        if self.immutable_subject:
            return f"repo:{self.owner}@{self.owner_id}/{self.name}@{self.id}"
        return f"repo:{self.full_name}"


@dataclass(slots=True, kw_only=True)
class Job:
    """A running job that may ask for an OIDC token: its bearer, and what its subject ends with."""

    repository: str
    # `pull_request`, `ref:refs/heads/main`, `environment:production`.
    context: str = "ref:refs/heads/main"
    claims: dict[str, Any] = field(default_factory=dict)


def _default_repository() -> Repository:
    return Repository(
        owner=world.GITHUB_OWNER,
        name=world.GITHUB_REPOSITORY_NAME,
        owner_id=world.GITHUB_OWNER_ID,
        id=world.GITHUB_REPOSITORY_ID,
    )


@dataclass(slots=True)
class GitHub:
    """The room's state: cloud.state(github.GitHub)."""

    repositories: dict[str, Repository] = field(
        default_factory=lambda: {world.GITHUB_REPOSITORY: _default_repository()}
    )
    # A token and its permissions, as in a workflow's `permissions:`; what is missing is `none`.
    tokens: dict[str, dict[str, str]] = field(
        default_factory=lambda: {
            world.GITHUB_TOKEN: {
                "pull-requests": "write",
                "issues": "write",
                "deployments": "write",
                "contents": "read",
            }
        }
    )
    jobs: dict[str, Job] = field(
        default_factory=lambda: {world.OIDC_REQUEST_TOKEN: Job(repository=world.GITHUB_REPOSITORY)}
    )
    next_id: int = 1000001

    def new_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def repository(self, full_name: str = world.GITHUB_REPOSITORY) -> Repository:
        return next(repo for repo in self.repositories.values() if repo.full_name.lower() == full_name.lower())

    def add_pull(
        self, cloud: Cloud, number: int, *, full_name: str = world.GITHUB_REPOSITORY, sha: str = "", state: str = "open"
    ) -> dict[str, Any]:
        """A pull request, for a test's beginning; the value is the one later answers show."""
        repository, now = self.repository(full_name), iso8601(cloud.clock, 0)
        url = f"https://github.com/{repository.full_name}/pull/{number}"
        described = _repository_json(repository)
        pull = {
            "id": self.new_id(),
            "number": number,
            "state": state,
            "locked": False,
            "draft": False,
            "merged": False,
            "title": f"Pull request {number}",
            "body": None,
            "user": _BOT,
            "url": _api_url(repository, f"pulls/{number}"),
            "html_url": url,
            "issue_url": _api_url(repository, f"issues/{number}"),
            "comments_url": _api_url(repository, f"issues/{number}/comments"),
            "created_at": now,
            "updated_at": now,
            "closed_at": None if state == "open" else now,
            "merged_at": None,
            "head": {"ref": f"feature-{number}", "sha": sha or f"{number:040x}", "repo": described},
            "base": {"ref": "main", "sha": "0" * 40, "repo": described},
        }
        repository.pulls[number] = pull
        return pull


_BOT = {"login": "github-actions[bot]", "id": 41898282, "type": "Bot", "site_admin": False}


def _api_url(repository: Repository, path: str = "") -> str:
    return f"https://{API_HOST}/repos/{repository.full_name}" + (f"/{path}" if path else "")


def _repository_json(repository: Repository) -> dict[str, Any]:
    return {
        "id": repository.id,
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
        "owner": {"login": repository.owner, "id": repository.owner_id, "type": "Organization", "site_admin": False},
        "html_url": f"https://github.com/{repository.full_name}",
        "url": _api_url(repository),
        "default_branch": "main",
    }


def _refused(status: int, message: str, **more: Any) -> Refusal:
    body = {"message": message, **more, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    return Refusal(Response.json(body, status=status))


def _entered(request: Request, params: Params, cloud: Cloud, permission: str, access: str) -> Repository:
    """The repository, for a token that may do this there.

    A token that is none gets 401, one without the permission 403 for its own repository, and 404 for what it cannot see.
    """
    hub = cloud.state(GitHub)
    scheme, _, token = request.headers.get("Authorization").partition(" ")
    if scheme.lower() not in {"bearer", "token"} or token not in hub.tokens:
        raise _refused(401, "Bad credentials" if token else "Requires authentication")
    if "repository_id" in params:
        repositories = [repo for repo in hub.repositories.values() if str(repo.id) == params["repository_id"]]
    else:
        wanted = f"{params['owner']}/{params['repo']}".lower()
        repositories = [repo for repo in hub.repositories.values() if repo.full_name.lower() == wanted]
    if not repositories:
        raise _refused(404, "Not Found")
    granted = hub.tokens[token].get(permission, "none")
    if granted == "none" or (access == "write" and granted != "write"):
        raise _refused(403, "Resource not accessible by integration")
    return repositories[0]


def _either(method: str, template: str) -> Callable[[Handler], Handler]:
    """Registers under a repository's name and under its id: the next page's address carries the id."""

    def register(handler: Handler) -> Handler:
        room.route(method, "/repos/{owner}/{repo}" + template)(handler)
        return room.route(method, "/repositories/{repository_id}" + template)(handler)

    return register


def _page(request: Request, repository: Repository, path: str, entries: Sequence[Any]) -> Response:
    """The page asked for, with GitHub's Link header when there are others."""
    query = request.query
    per_page = _number(query.get("per_page"), 30, 100)
    page = _number(query.get("page"), 1, 1 << 30)
    last = max(1, math.ceil(len(entries) / per_page))
    links = []
    if page > 1:
        links += [("prev", min(page - 1, last))]
    if page < last:
        links += [("next", page + 1), ("last", last)]
    if page > 1:
        links += [("first", 1)]
    kept = "".join(f"{name}={value}&" for name, value in query.items() if name != "page")
    base = f"https://{API_HOST}/repositories/{repository.id}/{path}"
    link = ", ".join(f'<{base}?{kept}page={number}>; rel="{rel}"' for rel, number in links)
    start = (page - 1) * per_page
    return _answer(entries[start : start + per_page], headers={"Link": link} if link else {})


def _number(text: str | None, default: int, most: int) -> int:
    return min(int(text), most) if text and text.isdigit() and int(text) > 0 else default


def _answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response.json(
        value,
        status=status,
        headers={
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Api-Version-Selected": "2022-11-28",
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": "4999",
            **(headers or {}),
        },
    )


def _found(entries: dict[int, dict[str, Any]], text: str) -> dict[str, Any]:
    if not text.isdigit() or int(text) not in entries:
        raise _refused(404, "Not Found")
    return entries[int(text)]


@_either("GET", "")
def get_repository(request: Request, params: Params, cloud: Cloud) -> Response:
    return _answer(_repository_json(_entered(request, params, cloud, "contents", "read")))


@_either("GET", "/pulls")
def list_pulls(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "pull-requests", "read")
    query = request.query
    state, head, base = query.get("state", "open"), query.get("head", ""), query.get("base", "")
    pulls = [
        pull
        for _, pull in sorted(repository.pulls.items(), reverse=True)
        if state in {"all", pull["state"]}
        and (not head or head in {pull["head"]["ref"], f"{repository.owner}:{pull['head']['ref']}"})
        and (not base or base == pull["base"]["ref"])
    ]
    return _page(request, repository, "pulls", pulls)


@_either("GET", "/pulls/{number}")
def get_pull(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "pull-requests", "read")
    return _answer(_found(repository.pulls, params["number"]))


@_either("GET", "/commits/{sha}/pulls")
def list_pulls_of_commit(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "pull-requests", "read")
    pulls = [pull for pull in repository.pulls.values() if pull["head"]["sha"] == params["sha"]]
    return _page(request, repository, f"commits/{params['sha']}/pulls", pulls)


def _may_comment(request: Request, params: Params, cloud: Cloud, access: str) -> Repository:
    """Comments of a pull request need either permission, `issues` or `pull-requests`."""
    try:
        return _entered(request, params, cloud, "issues", access)
    except Refusal as refusal:
        if refusal.response.status != 403:
            raise
        return _entered(request, params, cloud, "pull-requests", access)


def _comment_text(request: Request) -> str:
    sent = request.json()
    text = sent.get("body") if isinstance(sent, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise _refused(
            422, "Validation Failed", errors=[{"resource": "IssueComment", "code": "missing_field", "field": "body"}]
        )
    if len(text) > _MAX_BODY_CHARACTERS:
        raise _refused(
            422,
            "Validation Failed",
            errors=[
                {
                    "resource": "IssueComment",
                    "code": "unprocessable",
                    "field": "data",
                    "message": f"Body is too long (maximum is {_MAX_BODY_CHARACTERS} characters)",
                }
            ],
        )
    return text


@_either("GET", "/issues/{number}/comments")
def list_comments(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _may_comment(request, params, cloud, "read")
    _found(repository.pulls, params["number"])
    issue = _api_url(repository, f"issues/{params['number']}")
    comments = [comment for _, comment in sorted(repository.comments.items()) if comment["issue_url"] == issue]
    return _page(request, repository, f"issues/{params['number']}/comments", comments)


@_either("POST", "/issues/{number}/comments")
def create_comment(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _may_comment(request, params, cloud, "write")
    pull = _found(repository.pulls, params["number"])
    comment_id, now = cloud.state(GitHub).new_id(), iso8601(cloud.clock, 0)
    comment = {
        "id": comment_id,
        "url": _api_url(repository, f"issues/comments/{comment_id}"),
        "html_url": f"{pull['html_url']}#issuecomment-{comment_id}",
        "issue_url": pull["issue_url"],
        "user": _BOT,
        "author_association": "NONE",
        "body": _comment_text(request),
        "created_at": now,
        "updated_at": now,
    }
    repository.comments[comment_id] = comment
    return _answer(comment, 201, {"Location": comment["url"]})


@_either("GET", "/issues/comments/{comment_id}")
def get_comment(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _may_comment(request, params, cloud, "read")
    return _answer(_found(repository.comments, params["comment_id"]))


@_either("PATCH", "/issues/comments/{comment_id}")
def update_comment(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _may_comment(request, params, cloud, "write")
    comment = _found(repository.comments, params["comment_id"])
    comment["body"], comment["updated_at"] = _comment_text(request), iso8601(cloud.clock, 0)
    return _answer(comment)


@_either("DELETE", "/issues/comments/{comment_id}")
def delete_comment(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _may_comment(request, params, cloud, "write")
    del repository.comments[_found(repository.comments, params["comment_id"])["id"]]
    return Response.empty(204)


@_either("GET", "/deployments")
def list_deployments(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "deployments", "read")
    asked = {name: value for name, value in request.query.items() if name in {"sha", "ref", "task", "environment"}}
    deployments = [
        deployment
        for _, deployment in sorted(repository.deployments.items(), reverse=True)
        if all(deployment[name] == value for name, value in asked.items())
    ]
    return _page(request, repository, "deployments", deployments)


@_either("POST", "/deployments")
def create_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "deployments", "write")
    sent = request.json()
    if not isinstance(sent, dict) or not sent.get("ref"):
        raise _refused(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
    deployment_id, now = cloud.state(GitHub).new_id(), iso8601(cloud.clock, 0)
    url = _api_url(repository, f"deployments/{deployment_id}")
    environment = sent.get("environment", "production")
    deployment = {
        "id": deployment_id,
        "url": url,
        "sha": _sha_of(repository, sent["ref"]),
        "ref": sent["ref"],
        "task": sent.get("task", "deploy"),
        "payload": sent.get("payload", {}),
        "original_environment": environment,
        "environment": environment,
        "description": sent.get("description"),
        "creator": _BOT,
        "created_at": now,
        "updated_at": now,
        "statuses_url": f"{url}/statuses",
        "repository_url": _api_url(repository),
        "transient_environment": sent.get("transient_environment", False),
        "production_environment": sent.get("production_environment", environment == "production"),
    }
    repository.deployments[deployment_id] = deployment
    repository.statuses[deployment_id] = []
    return _answer(deployment, 201, {"Location": url})


def _sha_of(repository: Repository, ref: str) -> str:
    heads = {pull["head"]["ref"]: pull["head"]["sha"] for pull in repository.pulls.values()}
    return str(heads.get(ref.removeprefix("refs/heads/"), ref if len(ref) == 40 else "0" * 40))


@_either("GET", "/deployments/{deployment_id}")
def get_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "deployments", "read")
    return _answer(_found(repository.deployments, params["deployment_id"]))


@_either("DELETE", "/deployments/{deployment_id}")
def delete_deployment(request: Request, params: Params, cloud: Cloud) -> Response:
    """Only an inactive deployment can be deleted, or the only one the repository has."""
    repository = _entered(request, params, cloud, "deployments", "write")
    deployment = _found(repository.deployments, params["deployment_id"])
    statuses = repository.statuses[deployment["id"]]
    is_inactive = bool(statuses) and statuses[-1]["state"] in {"inactive", "failure", "error"}
    if len(repository.deployments) > 1 and not is_inactive:
        raise _refused(
            422,
            "Validation Failed",
            errors=["We cannot delete an active deployment unless it is the only deployment in a given environment."],
        )
    del repository.deployments[deployment["id"]], repository.statuses[deployment["id"]]
    return Response.empty(204)


@_either("GET", "/deployments/{deployment_id}/statuses")
def list_statuses(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "deployments", "read")
    deployment = _found(repository.deployments, params["deployment_id"])
    statuses = repository.statuses[deployment["id"]][::-1]
    return _page(request, repository, f"deployments/{deployment['id']}/statuses", statuses)


@_either("POST", "/deployments/{deployment_id}/statuses")
def create_status(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "deployments", "write")
    deployment = _found(repository.deployments, params["deployment_id"])
    sent = request.json()
    if not isinstance(sent, dict) or sent.get("state") not in _DEPLOYMENT_STATES:
        raise _refused(
            422, "Validation Failed", errors=[{"resource": "DeploymentStatus", "code": "custom", "field": "state"}]
        )
    status_id, now = cloud.state(GitHub).new_id(), iso8601(cloud.clock, 0)
    log_url = sent.get("log_url") or sent.get("target_url") or ""
    status = {
        "id": status_id,
        "url": f"{deployment['statuses_url']}/{status_id}",
        "state": sent["state"],
        "description": sent.get("description", ""),
        "environment": sent.get("environment", deployment["environment"]),
        "environment_url": sent.get("environment_url", ""),
        "log_url": log_url,
        "target_url": log_url,
        "creator": _BOT,
        "created_at": now,
        "updated_at": now,
        "deployment_url": deployment["url"],
        "repository_url": deployment["repository_url"],
    }
    if sent["state"] == "success" and sent.get("auto_inactive", True):
        _make_others_inactive(cloud, repository, deployment)
    repository.statuses[deployment["id"]].append(status)
    return _answer(status, 201, {"Location": status["url"]})


def _make_others_inactive(cloud: Cloud, repository: Repository, newest: dict[str, Any]) -> None:
    """GitHub's `auto_inactive`: earlier, successful, not-transient, not-production ones of the same environment."""
    for deployment_id, statuses in repository.statuses.items():
        other = repository.deployments[deployment_id]
        is_candidate = (
            other is not newest
            and other["environment"] == newest["environment"]
            and not other["transient_environment"]
            and not other["production_environment"]
        )
        if is_candidate and statuses and statuses[-1]["state"] == "success":
            statuses.append({**statuses[-1], "id": cloud.state(GitHub).new_id(), "state": "inactive"})


@_either("GET", "/actions/oidc/customization/sub")
def get_subject_customization(request: Request, params: Params, cloud: Cloud) -> Response:
    repository = _entered(request, params, cloud, "contents", "read")
    return _answer(
        {
            "use_default": True,
            "use_immutable_subject": repository.immutable_subject,
            "sub_claim_prefix": repository.subject_prefix,
        }
    )


OIDC_REQUEST_URL = f"https://{world.OIDC_HOST}/118/idtoken/run/job?api-version=2.0"


@oidc.get("/{tenant}/idtoken/{run}/{job}")
def get_oidc_token(request: Request, params: Params, cloud: Cloud) -> Response:
    """What ACTIONS_ID_TOKEN_REQUEST_URL answers: `{count, value}` with the job's token."""
    hub = cloud.state(GitHub)
    scheme, _, bearer = request.headers.get("Authorization").partition(" ")
    job = hub.jobs.get(bearer)
    if scheme.lower() != "bearer" or job is None:
        raise _refused(401, "Bad credentials")
    repository = hub.repository(job.repository)
    audience = request.query.get("audience", f"https://github.com/{repository.owner}")
    token = issue_oidc_token(cloud, repository, job, audience)
    return Response.json({"count": len(token), "value": token})


def issue_oidc_token(cloud: Cloud, repository: Repository, job: Job, audience: str) -> str:
    now_s = int(cloud.clock.now_s())
    kind, _, value = job.context.partition(":")
    ref = value if kind == "ref" else "refs/heads/main"
    claims: dict[str, Any] = {
        "jti": cloud.new_id(),
        "sub": f"{repository.subject_prefix}:{job.context}",
        "aud": audience,
        "iss": world.OIDC_ISSUER,
        "iat": now_s,
        "nbf": now_s - OIDC_LIFETIME_S,
        "exp": now_s + OIDC_LIFETIME_S,
        "ref": ref,
        "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
        "repository": repository.full_name,
        "repository_id": str(repository.id),
        "repository_owner": repository.owner,
        "repository_owner_id": str(repository.owner_id),
        "repository_visibility": "private" if repository.private else "public",
        "event_name": "pull_request" if job.context == "pull_request" else "push",
        "run_id": "1",
        "run_number": "1",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
    }
    if kind == "environment":
        claims["environment"] = value
    return cloud.keys.of(world.OIDC_ISSUER).sign(claims | job.claims)


@oidc.get("/.well-known/openid-configuration")
def get_oidc_configuration(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response.json(
        {
            "issuer": world.OIDC_ISSUER,
            "jwks_uri": f"{world.OIDC_ISSUER}/.well-known/jwks",
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        }
    )


@oidc.get("/.well-known/jwks")
def get_oidc_keys(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response.json({"keys": [cloud.keys.of(world.OIDC_ISSUER).jwk()]})
