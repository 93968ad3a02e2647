"""One request to Azure and the workspace's door, against the emulator's faults: what is tried again, what is not, and what is told."""

from __future__ import annotations

import socket

import pytest

from mlaz_ci.adapters.azure_wire import EffectUnknown, Wire, WorkspaceDoor
from mlaz_ci.adapters.identity import CLOUDS, check_subscription
from mlaz_ci.errors import (
    AzureThrottled,
    AzureUnreachable,
    NotFound,
    RoleMissing,
    SubscriptionNotVisible,
    WorkspaceNotFound,
    WorkspacePrivate,
)
from mlaz_ci.models import Cloud, Workspace
from tests.azure import entra, failures, faults, world
from tests.azure.arm import workspaces
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.conftest import CloudClock, SignInAs

WORKSPACE = Workspace(subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name=world.WORKSPACE)
DEADLINE_S = 1800.0
LIST = "/onlineEndpoints"


@pytest.fixture
def door(sign_in_as: SignInAs, clock: CloudClock) -> WorkspaceDoor:
    return door_to(WORKSPACE, sign_in_as, clock)


def door_to(workspace: Workspace, sign_in_as: SignInAs, clock: CloudClock) -> WorkspaceDoor:
    credential = sign_in_as()
    wire = Wire(credential, clock, deadline_s=clock.now_s() + DEADLINE_S)
    names = CLOUDS[Cloud.PUBLIC]
    return WorkspaceDoor(
        wire, workspace, names, explain=lambda: _raise_if_hidden(credential, workspace.subscription_id, clock)
    )


def _raise_if_hidden(credential: object, subscription_id: str, clock: CloudClock) -> None:
    check_subscription(credential, subscription_id, clock)  # type: ignore[arg-type]


def requests_of(cloud: CloudState, path: str) -> list[str]:
    return [each.method for each in cloud.trace.find(path=path)]


def test_facts__of_the_workspace__are_read_once(door: WorkspaceDoor, cloud: CloudState) -> None:
    assert (door.facts.location, door.facts.guid) == (world.REGION, world.WORKSPACE_ID)
    assert door.facts.is_public
    assert not door.facts.is_in_legacy_mode
    assert door.host_of("modelmanagement") == door.host_of("history") == f"https://{world.REGION}.api.azureml.ms"
    assert len(cloud.trace.find(path=rf"/workspaces/{world.WORKSPACE}$")) == 1
    assert len(cloud.trace.find(path="/discovery")) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_ask__passing_answer__is_asked_again(door: WorkspaceDoor, cloud: CloudState, status: int) -> None:
    cloud.faults.add(
        faults.html_error(status, "<html><title>trouble</title></html>"), method="GET", path=rf"{LIST}$", times=2
    )
    assert list(door.arm_pages(LIST, doing="list endpoints")) == []
    assert requests_of(cloud, rf"{LIST}$") == ["GET"] * 3


def test_ask__reset_or_half_a_body__is_asked_again(door: WorkspaceDoor, cloud: CloudState) -> None:
    cloud.faults.add(faults.Reset(), method="GET", path=rf"{LIST}$", times=1)
    cloud.faults.add(faults.TruncatedBody(sent_bytes=5), method="GET", path=rf"{LIST}$", times=1)
    assert list(door.arm_pages(LIST, doing="list endpoints")) == []
    assert cloud.faults.unused() == []


def test_ask__throttled_with_a_pause__waits_that_long(
    door: WorkspaceDoor, cloud: CloudState, clock: CloudClock
) -> None:
    answer = faults.json_error(
        429, {"error": {"code": "TooManyRequests", "message": "x"}}, headers={"Retry-After": "36"}
    )
    cloud.faults.add(answer, method="GET", path=rf"{LIST}$", times=1)
    began_s = clock.now_s()
    list(door.arm_pages(LIST, doing="list endpoints"))
    assert 36 <= clock.now_s() - began_s <= 40


def test_ask__pause_beyond_the_deadline__is_not_waited(
    door: WorkspaceDoor, cloud: CloudState, clock: CloudClock
) -> None:
    answer = faults.json_error(
        429, {"error": {"code": "TooManyRequests", "message": "x"}}, headers={"Retry-After": "3600"}
    )
    cloud.faults.add(answer, method="GET", path=rf"{LIST}$", times=None)
    began_s = clock.now_s()
    with pytest.raises(AzureThrottled, match="TooManyRequests"):
        list(door.arm_pages(LIST, doing="list endpoints"))
    assert clock.now_s() - began_s < 5


def test_ask__down_for_good__ends_with_azures_last_words(door: WorkspaceDoor, cloud: CloudState) -> None:
    answer = faults.json_error(503, {"error": {"code": "ServiceUnavailable", "message": "down for repair"}})
    cloud.faults.add(answer, method="GET", path=rf"{LIST}$", times=None)
    with pytest.raises(AzureUnreachable, match="down for repair") as raised:
        list(door.arm_pages(LIST, doing="list endpoints"))
    assert raised.value.upstream_code == "ServiceUnavailable"
    assert len(requests_of(cloud, rf"{LIST}$")) == 8


def test_ask__no_answer_to_what_is_not_repeated__says_that_it_may_have_happened(
    door: WorkspaceDoor, cloud: CloudState
) -> None:
    path = rf"{LIST}/churn/regenerateKeys$"
    cloud.faults.add(faults.Reset(after_effect=True), method="POST", path=path, times=1)
    with pytest.raises(EffectUnknown):
        door.arm("POST", f"{LIST}/churn/regenerateKeys", doing="make a new key", body={"keyType": "Primary"})
    assert requests_of(cloud, path) == ["POST"]


def test_ask__host_that_cannot_be_reached__is_asked_again_whatever_the_method(
    door: WorkspaceDoor, cloud: CloudState, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ = door.facts
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    with pytest.raises(AzureUnreachable, match="no answer from management") as raised:
        door.arm("POST", f"{LIST}/churn/regenerateKeys", doing="make a new key", body={"keyType": "Primary"})
    assert not isinstance(raised.value, EffectUnknown)
    assert requests_of(cloud, "regenerateKeys") == []


def test_ask__repeatable_post__is_asked_again(door: WorkspaceDoor, cloud: CloudState) -> None:
    path = rf"{LIST}/churn/listKeys$"
    cloud.faults.add(faults.Reset(), method="POST", path=path, times=1)
    with pytest.raises(NotFound):
        door.arm("POST", f"{LIST}/churn/listKeys", doing="read the keys", repeatable=True)
    assert requests_of(cloud, path) == ["POST", "POST"]


def test_ask__token_expires_meanwhile__is_renewed(door: WorkspaceDoor, cloud: CloudState) -> None:
    list(door.arm_pages(LIST, doing="list endpoints"))
    entra.expire_tokens(cloud)
    assert list(door.arm_pages(LIST, doing="list endpoints")) == []


def test_answer__success_that_is_no_json__is_not_taken_for_one(door: WorkspaceDoor, cloud: CloudState) -> None:
    cloud.faults.add(faults.html_error(200, "<html>log in</html>"), method="GET", path=rf"{LIST}$", times=1)
    with pytest.raises(AzureUnreachable, match="a proxy may have answered"):
        list(door.arm_pages(LIST, doing="list endpoints"))


def test_arm_url__another_host__gets_no_token(door: WorkspaceDoor) -> None:
    with pytest.raises(AzureUnreachable, match=r"evil\.example"):
        door.arm_url("GET", "https://evil.example/x", doing="read on")


def test_facts__workspace_of_another_name__says_what_to_compare(sign_in_as: SignInAs, clock: CloudClock) -> None:
    other = Workspace(subscription_id=world.SUBSCRIPTION_ID, resource_group=world.RESOURCE_GROUP, name="nowhere")
    with pytest.raises(WorkspaceNotFound, match="nowhere"):
        _ = door_to(other, sign_in_as, clock).facts


def test_facts__subscription_out_of_sight__says_where_it_signed_in(sign_in_as: SignInAs, clock: CloudClock) -> None:
    hidden = Workspace(subscription_id="0" * 8 + "-0000-4000-8000-" + "0" * 12, resource_group="rg", name="ws")
    with pytest.raises(SubscriptionNotVisible, match=world.TENANT_ID):
        _ = door_to(hidden, sign_in_as, clock).facts


def test_facts__no_role_at_all__names_the_action(door: WorkspaceDoor, cloud: CloudState) -> None:
    failures.lay(cloud, "arm-403-workspace", service="churn")
    with pytest.raises(RoleMissing, match="workspaces/read"):
        _ = door.facts


def test_regional__workspace_that_is_closed__is_private(door: WorkspaceDoor, cloud: CloudState) -> None:
    cloud.state(workspaces.Workspaces).default.public_network_access = "Disabled"
    assert not door.facts.is_public
    with pytest.raises(WorkspacePrivate):
        door.regional("GET", "modelmanagement", "/modelmanagement/v1.0", "/services", doing="list services")
