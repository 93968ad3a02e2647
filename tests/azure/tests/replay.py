"""Recorded exchanges put to the emulator: the same request, and where its answer departs from the recorded one.

The recordings had their names and api-versions blanked. Names come back from the answers' own ids and messages, the
version from the members an answer has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

from tests.azure import world
from tests.azure.tests.caller import ARM

# Below these a service keeps what its users wrote.
_FREE = {
    *("tags", "traffic", "mirrorTraffic", "flavors", "environmentVariables", "userAssignedIdentities"),
    *("properties/properties", "inferenceConfig", "propertyBag"),
}
# Of the transport, of caches on the way, of one machine: no client reads them.
_UNREAD = {
    *("content-length", "transfer-encoding", "date", "vary", "connection", "x-cache", "x-msedge-ref", "server-timing"),
    *("request-context", "x-aml-cluster", "x-ms-response-type"),
}
_SCOPE = re.compile(
    r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/Microsoft.MachineLearningServices/workspaces/[^/?\"]+",
    re.IGNORECASE,
)
_WIRE_SCOPE = re.compile(r"azureml://subscriptions/[^/]+/resourcegroups/[^/]+/workspaces/[^/]+", re.IGNORECASE)


# Which member of a workspace came with which api-version, the newest first.
_WORKSPACES = (
    ("allowRoleAssignmentOnRG", "2024-07-01-preview"),
    ("ipAllowlist", "2024-01-01-preview"),
    ("managedNetwork", "2023-10-01"),
    ("creationTime", "2023-04-01"),
    ("enableDataIsolation", "2023-02-01-preview"),
    ("softDeleteEnabled", "2022-10-01"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    method: str
    # Without the api-version, below ARM's or another host.
    url: str
    request: Any
    status: int
    headers: dict[str, str]
    body: Any
    origin: str

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.url).path)

    @property
    def query(self) -> str:
        return "&".join(part for part in urlsplit(self.url).query.split("&") if not part.startswith("api-version="))

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def below(self) -> str:
        """The path below the workspace; "" for the workspace itself, and the whole path elsewhere."""
        return _SCOPE.sub("", self.path)


def parsed(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        # Secrets were blanked to three stars, without the quotes.
        return json.loads(text.replace(": ***", ": null"))
    except ValueError:
        return text or None


def samples(wire: Path) -> list[Recorded]:
    return [
        Recorded(
            method=one["method"],
            url=one["uri"],
            request=one["request_body"],
            status=one["status"],
            headers={name.lower(): values[0] for name, values in one["response_headers"].items()},
            body=parsed(one["response_body"]),
            origin=one["from"],
        )
        for one in json.loads((wire / "samples" / "real_exchanges.json").read_text(encoding="utf-8"))
    ]


def cassette(path: Path) -> list[Recorded]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)["interactions"]
    return [
        Recorded(
            method=one["request"]["method"],
            url=one["request"]["uri"],
            request=parsed(_text(one["request"].get("body"))),
            status=one["response"]["status"]["code"],
            headers={name.lower(): values[0] for name, values in one["response"]["headers"].items()},
            body=parsed(one["response"]["body"].get("string")),
            origin=f"{path.stem}#{index}",
        )
        for index, one in enumerate(found)
    ]


def thinned(exchanges: Iterable[Recorded], most: int = 10) -> list[Recorded]:
    """Without the polls that saw the same thing for the eleventh time and more: most of a recording is waiting."""
    seen: dict[str, int] = {}
    kept = []
    for exchange in exchanges:
        if isinstance(exchange.body, dict) and exchange.body.get("status") == "Updating":
            seen[exchange.path] = seen.get(exchange.path, 0) + 1
            if seen[exchange.path] > most:
                continue
        kept.append(exchange)
    return kept


def _text(body: Any) -> Any:
    return body.get("string") if isinstance(body, dict) else body


def here(value: Any) -> Any:
    """A recorded value with its workspace replaced by the default one."""
    text = _SCOPE.sub(world.WORKSPACE_SCOPE, json.dumps(value))
    wire_scope = f"azureml://subscriptions/{world.SUBSCRIPTION_ID}/resourceGroups/{world.RESOURCE_GROUP}/workspaces/{world.WORKSPACE}"
    return json.loads(_WIRE_SCOPE.sub(wire_scope, text))


def true_path(exchange: Recorded) -> str | None:  # noqa: PLR0911  # one for each place a name may stand in
    """The path below the workspace with its names as they were, where the answer tells them."""
    body = exchange.body
    if not isinstance(body, dict):
        return None
    if isinstance(identifier := body.get("id"), str) and _SCOPE.match(identifier):
        suffix = {"POST": "/" + exchange.below.rpartition("/")[2]}.get(exchange.method, "")
        return _SCOPE.sub("", identifier) + suffix
    message = json.dumps(body)
    if told := re.search(r"The Resource 'Microsoft.MachineLearningServices/workspaces/[^/']+(/[^']+)'", message):
        return told[1]
    parts = exchange.below.split("/")
    if told := re.search(r"There is no service with name: (\S+) in", message):
        endpoint = parts[2]
        return f"/onlineEndpoints/{endpoint}/deployments/{told[1].removesuffix(f'-{endpoint}')}"
    if told := re.search(r"Model container with name: (\S+) not found", message):
        return f"/models/{told[1]}/versions"
    listed = body.get("value")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict) and _SCOPE.match(str(listed[0].get("id"))):
        return _SCOPE.sub("", listed[0]["id"]).rpartition("/")[0]
    return None


def version_of(exchange: Recorded) -> str:  # noqa: PLR0911  # a table, read from the top
    """An api-version that has the members this answer has."""
    text = json.dumps(exchange.body) + json.dumps(exchange.request)
    below = exchange.below
    if "Operations" in exchange.path:
        return "2024-04-01"
    if below == "":
        return next((version for member, version in _WORKSPACES if member in text), "2021-10-01")
    if below.startswith("/onlineEndpoints"):
        plain = "/deployments" in below and "privateNetworkConnection" not in text and "instanceType" in text
        return "2023-04-01-preview" if plain else "2022-02-01-preview"
    if below.startswith("/computes"):
        return "2022-10-01-preview"
    if "intellectualProperty" in text:
        return "2023-08-01-preview"
    if below.startswith("/datastores"):
        return "2022-05-01" if "subscriptionId" not in text else "2024-04-01"
    return "2024-04-01" if "provisioningState" in text else "2022-05-01"


def key_paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Every member by its path, lists taken together; what users wrote themselves is left out."""
    if isinstance(value, dict):
        for name, entry in value.items():
            path = f"{prefix}/{name}"
            yield path
            if not any(path.endswith(f"/{free}") for free in _FREE):
                yield from key_paths(entry, path)
    elif isinstance(value, list):
        for entry in value:
            yield from key_paths(entry, f"{prefix}[]")


def _null_paths(value: Any, prefix: str = "") -> Iterator[str]:
    """Members that are null or empty: they say nothing of what could stand below."""
    if isinstance(value, dict):
        for name, entry in value.items():
            if entry is None or entry == {}:
                yield f"{prefix}/{name}/"
            yield from _null_paths(entry, f"{prefix}/{name}")
    elif isinstance(value, list):
        if not value:
            yield f"{prefix}[]"
        for entry in value:
            yield from _null_paths(entry, f"{prefix}[]")


@dataclass(slots=True)
class Difference:
    """How an answer departs from the recorded one; empty when it agrees."""

    status: str = ""
    headers: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.status or self.headers or self.keys)

    def without(self, excused: Iterable[str]) -> Difference:
        gone = set(excused)
        return Difference(
            status="" if "status" in gone else self.status, headers=self.headers - gone, keys=self.keys - gone
        )

    def __str__(self) -> str:
        return "; ".join(filter(None, [self.status, *sorted(self.headers), *sorted(self.keys)]))


def difference(exchange: Recorded, answer: requests.Response, *, bodies: bool = True) -> Difference:
    found = Difference()
    if answer.status_code != exchange.status:
        found.status = f"status {answer.status_code} for {exchange.status}: {answer.text[:200]}"
        return found
    live = {name.lower() for name in answer.headers} - _UNREAD
    recorded = set(exchange.headers) - _UNREAD
    # The allowance is told under another name by each kind of write; none of them is read.
    found.headers = {name for name in live ^ recorded if "ratelimit" not in name}
    if bodies:
        body = parsed(answer.text)
        nulls = {*_null_paths(exchange.body), *_null_paths(body)}
        apart = set(key_paths(exchange.body)) ^ set(key_paths(body))
        found.keys = {path for path in apart if not any(path.startswith(null) for null in nulls)}
    return found


def send(http: requests.Session, token: str, exchange: Recorded, path: str) -> requests.Response:
    """`path`: below the workspace; the recorded absence of a workspace is asked for under another name."""
    workspace = f"{world.WORKSPACE_SCOPE}-none" if not path and exchange.status == 404 else world.WORKSPACE_SCOPE
    query = "&".join(filter(None, [exchange.query, f"api-version={version_of(exchange)}"]))
    body = None if exchange.request is None else here(exchange.request)
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{ARM}{workspace}{path}?{query}"
    return http.request(exchange.method, url, json=body, headers=headers, timeout=60)
