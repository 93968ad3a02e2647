"""Every route of every room that belongs to somebody asks who calls and what they may, in the action of its own."""

from __future__ import annotations

import re

import pytest
import requests

from tests.azure import roles, world
from tests.azure.arm import workspaces
from tests.azure.roles import Assignments
from tests.azure.rooms import ROOMS
from tests.azure.routing import Route
from tests.azure.server import Emulator
from tests.azure.state import Cloud
from tests.azure.tests.caller import token

_HOSTS = {"management.azure.com", "{region}.api.azureml.ms"}
# Anyone reads what there is; ARM lists to each what they see; an operation is known by its id to who began it.
_OPEN = re.compile(r"/discovery$|^/subscriptions$|/permissions$|OperationsStatus/|mfeOperationResults/|/registries/")
_NAMES = {
    "subscription": world.SUBSCRIPTION_ID,
    "resource_group": world.RESOURCE_GROUP,
    "workspace": world.WORKSPACE,
    "region": world.REGION,
    "protocol": "v2.0",
    "datastore": "workspaceblobstore",
}
# What reads and nothing else, though its method is another.
_READS = re.compile(r"/validate|/search$|/get-latest-versions$|/rundata$|/logged-models")


def _routes() -> list[Route]:
    listed = [route for room in ROOMS for route in room.routes if route.host.template in _HOSTS]
    return [route for route in listed if not _OPEN.search(route.template)]


def _url(route: Route) -> str:
    def value(found: re.Match[str]) -> str:
        return _NAMES.get(found[1], "nope")

    path = re.sub(r"\{(\w+)(?:\.\.\.)?\}", value, route.template)
    host = re.sub(r"\{(\w+)\}", value, route.host.template)
    version = max(route.api_versions) if route.api_versions else ""
    return f"https://{host}{path}" + (f"?api-version={version}" if version else "")


def _asked(http: requests.Session, route: Route, headers: dict[str, str]) -> requests.Response:
    body = "{}" if route.method in {"PUT", "POST", "PATCH"} else None
    headers = {"Content-Type": "application/json", **headers}
    return http.request(route.method, _url(route), data=body, headers=headers, timeout=30)


@pytest.fixture
def signed_in(azure: Emulator, http: requests.Session) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(http)}"}


@pytest.fixture(autouse=True)
def _bodies_are_not_the_matter(azure: Emulator) -> object:
    yield
    azure.cloud.take_failures("contract")


def test_route__without_a_token__is_unauthorized(azure: Emulator, http: requests.Session) -> None:
    routes = _routes()
    assert len(routes) > 150
    for route in routes:
        assert _asked(http, route, {}).status_code == 401, str(route)


def test_route__with_a_token_for_another_service__is_unauthorized(azure: Emulator, http: requests.Session) -> None:
    headers = {"Authorization": f"Bearer {token(http, 'https://vault.azure.net/.default')}"}
    for route in _routes():
        assert _asked(http, route, headers).status_code == 401, str(route)


def test_route__for_one_without_any_role__is_forbidden(
    cloud: Cloud, http: requests.Session, signed_in: dict[str, str]
) -> None:
    cloud.state(Assignments).remove_all(world.CLIENT_OBJECT_ID)
    for route in _routes():
        assert _asked(http, route, signed_in).status_code == 403, str(route)


def test_route__that_writes__is_forbidden_to_a_reader(
    cloud: Cloud, http: requests.Session, signed_in: dict[str, str]
) -> None:
    cloud.state(Assignments).remove_all(world.CLIENT_OBJECT_ID)
    cloud.state(Assignments).assign(world.CLIENT_OBJECT_ID, roles.READER, world.SUBSCRIPTION_SCOPE)
    for route in _routes():
        answer = _asked(http, route, signed_in)
        reads = route.method in {"GET", "HEAD"} or _READS.search(route.template)
        if reads:
            assert answer.status_code != 403 or "/write" in str(route), str(route)
        elif answer.status_code != 403:
            # A service that is not there has no kind yet whose permission could be asked for.
            assert "/services/{service}" in route.template, f"{route}: {answer.status_code} {answer.text}"


def test_workspace__v1_alone__forbids_each_write_of_v2(
    cloud: Cloud, http: requests.Session, signed_in: dict[str, str]
) -> None:
    cloud.state(workspaces.Workspaces).default.v1_legacy_mode = True
    for route in _routes():
        kinds = r"/(onlineEndpoints/\{endpoint\}(/deployments/\{deployment\})?|(models|codes|environments)/.*)$"
        is_v2 = route.room.startswith("arm-") and re.search(kinds, route.template) and route.method in {"PUT", "PATCH"}
        if is_v2:
            answer = _asked(http, route, signed_in)
            assert answer.status_code == 400, str(route)
            assert "V1LegacyMode" in answer.text, str(route)
