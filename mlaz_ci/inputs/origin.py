"""Where a command comes from: the facts of the CI run or of the person, as one value. It trusts nothing of an event but its form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the surroundings say of this run; empty strings where they say nothing.

    `is_pull_request` is true of every event that a pull request starts, `pull_request_target` included. `is_fork` is true unless the
    event shows that the pull request's branch lives in this repository.
    """

    working_directory: Path
    user: str = "unknown"
    host: str = "localhost"
    is_github: bool = False
    event_name: str = ""
    is_pull_request: bool = False
    is_fork: bool = False
    pull_request: int | None = None
    repository: str = ""
    repository_id: str = ""
    commit: str = ""
    run_id: str = ""
    run_url: str = ""
    actor: str = ""

    @property
    def default_owner(self) -> str:
        """The repository's id, since names change hands; outside GitHub the user on the machine."""
        return self.repository_id or f"user:{self.user}@{self.host}"

    def facts(self) -> Mapping[str, str]:
        """What tags and links are made of; only what is known. `run` is the run's page."""
        facts = {
            "repository": self.repository,
            "commit": self.commit,
            "run": self.run_url,
            "actor": self.actor,
            "event": self.event_name,
            "pull_request": "" if self.pull_request is None else str(self.pull_request),
        }
        return {name: value for name, value in facts.items() if value}


def origin_from_environ(
    environ: Mapping[str, str],
    event_text: str | None,
    working_directory: Path,
    *,
    host: str = "localhost",
    user_id: int | None = None,
) -> Origin:
    """The origin as GitHub's variables and event tell it; total: what has not its proper form counts as absent.

    Without a variable that names the user (cron, containers) the number tells one from another.
    """
    nameless = "unknown" if user_id is None else f"uid-{user_id}"
    user = next((name for key in ("USER", "LOGNAME", "USERNAME") if (name := _word(environ.get(key, "")))), nameless)
    host = _word(host) or "localhost"
    if environ.get("GITHUB_ACTIONS") != "true":
        return Origin(working_directory=working_directory, user=user, host=host)
    event = _parse_event(event_text)
    event_name = _match(r"[a-z_]{1,64}", environ.get("GITHUB_EVENT_NAME", ""))
    is_pull_request = event_name.startswith("pull_request")
    pull_request = _mapping(event.get("pull_request")) if is_pull_request else {}
    repository = _match(r"[\w.-]{1,100}/[\w.-]{1,100}", environ.get("GITHUB_REPOSITORY", ""))
    run_id = _match(r"[0-9]{1,20}", environ.get("GITHUB_RUN_ID", ""))
    return Origin(
        working_directory=working_directory,
        user=user,
        host=host,
        is_github=True,
        event_name=event_name,
        is_pull_request=is_pull_request,
        is_fork=is_pull_request and _is_fork(pull_request),
        pull_request=_number_of(pull_request, environ.get("GITHUB_REF", "")) if is_pull_request else None,
        repository=repository,
        repository_id=_match(r"[0-9]{1,20}", environ.get("GITHUB_REPOSITORY_ID", "")),
        commit=_commit_of(pull_request) or _match(r"[0-9a-f]{40,64}", environ.get("GITHUB_SHA", "")),
        run_id=run_id,
        run_url=_run_url(environ.get("GITHUB_SERVER_URL", ""), repository, run_id),
        actor=_match(r"[\w.-]{1,100}(\[bot\])?", environ.get("GITHUB_ACTOR", "")),
    )


def _parse_event(text: str | None) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(text or "{}"))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _match(pattern: str, text: str) -> str:
    return text if re.fullmatch(pattern, text, re.ASCII) else ""


def _word(text: str) -> str:
    """`text` as one printable word; an owner is compared byte by byte, so it is never cut short of its meaning."""
    return re.sub(r"[^!-~]", "_", text.strip())[:80]


def _is_fork(pull_request: Mapping[str, Any]) -> bool:
    """A branch whose repository is unknown (a deleted fork has none) counts as a fork."""
    head = _mapping(_mapping(pull_request.get("head")).get("repo")).get("id")
    base = _mapping(_mapping(pull_request.get("base")).get("repo")).get("id")
    return head is None or head != base


def _number_of(pull_request: Mapping[str, Any], ref: str) -> int | None:
    number = pull_request.get("number")
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 10**9:
        return number
    match = re.fullmatch(r"refs/pull/([0-9]{1,9})/\w+", ref, re.ASCII)
    return int(match.group(1)) if match else None


def _commit_of(pull_request: Mapping[str, Any]) -> str:
    """The commit that people see: of a pull request its head, not the merge that GitHub makes for the run."""
    sha = _mapping(pull_request.get("head")).get("sha")
    return _match(r"[0-9a-f]{40,64}", sha) if isinstance(sha, str) else ""


def _run_url(server: str, repository: str, run_id: str) -> str:
    if not (re.fullmatch(r"https?://[\w.:-]{1,200}", server, re.ASCII) and repository and run_id):
        return ""
    return f"{server}/{repository}/actions/runs/{run_id}"
