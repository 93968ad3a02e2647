"""The guard on the subscription, and ARM's own refusals of the question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlaz_ci.adapters.identity import check_subscription, list_subscriptions
from mlaz_ci.errors import AzureUnreachable, MlazError, RoleMissing, SignInRefused, SubscriptionNotVisible
from tests.azure import entra, faults, roles, world
from tests.azure.arm import subscriptions
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.integration.azure.conftest import FEDERATED, SECRET, CloudClock, SignInAs

OTHER = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa"


def _add(cloud: CloudState, number: int, *, tenant_id: str = world.TENANT_ID) -> str:
    subscription_id = f"bbbbbbbb-bbbb-4bbb-8bbb-{number:012d}"
    cloud.state(subscriptions.Subscriptions).add(
        subscriptions.Subscription(id=subscription_id, display_name=f"Team {number}", tenant_id=tenant_id)
    )
    cloud.state(roles.Assignments).assign(world.CLIENT_OBJECT_ID, roles.READER, f"/subscriptions/{subscription_id}")
    return subscription_id


def test_visible__in_another_case__is_given_with_one_request(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    wanted = _add(azure.cloud, 1)
    found = check_subscription(sign_in_as(SECRET), wanted.upper(), clock)
    assert (found.id, found.name, found.state, found.tenant_id) == (wanted, "Team 1", "Enabled", world.TENANT_ID)
    assert len(azure.cloud.trace.find(host="management.azure.com")) == 1


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_not_visible__tells_tenant_and_what_is_seen(sign_in_as: SignInAs, clock: CloudClock, given: object) -> None:
    with pytest.raises(SubscriptionNotVisible) as raised:
        check_subscription(sign_in_as(given), OTHER, clock)
    error = raised.value
    assert error.exit_code == 3
    assert f"The subscription {OTHER} is not visible to application {world.CLIENT_ID}" in error.what
    assert f"to tenant {world.TENANT_ID}; it sees Contoso ({world.SUBSCRIPTION_ID})." in error.what
    assert f"--assignee-object-id {world.CLIENT_OBJECT_ID}" in error.remedy_text
    assert f"--scope /subscriptions/{OTHER}/resourceGroups/RESOURCE-GROUP`" in error.remedy_text


def test_not_visible__no_role_anywhere__says_none_at_all(
    cloud: CloudState, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    cloud.state(roles.Assignments).assigned.clear()
    with pytest.raises(SubscriptionNotVisible, match="it sees no subscription at all"):
        check_subscription(sign_in_as(SECRET), world.SUBSCRIPTION_ID, clock)


def test_not_visible__of_another_tenant__is_not_seen(
    cloud: CloudState, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    theirs = _add(cloud, 7, tenant_id="cccccccc-cccc-4ccc-8ccc-cccccccccccc")
    with pytest.raises(SubscriptionNotVisible, match=f"to tenant {world.TENANT_ID}"):
        check_subscription(sign_in_as(SECRET), theirs, clock)


def test_not_visible__among_many__lists_ten_and_counts_the_rest(
    cloud: CloudState, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    for number in range(14):
        _add(cloud, number)
    with pytest.raises(SubscriptionNotVisible, match=r"Team 8 \([0-9b-]+\) and 5 more\."):
        check_subscription(sign_in_as(SECRET), OTHER, clock)


def test_pages__are_followed_on_arm_alone(azure: Emulator, sign_in_as: SignInAs, clock: CloudClock) -> None:
    def page(name: str, after: str) -> faults.Answer:
        entry = {"subscriptionId": OTHER, "displayName": name, "state": "Enabled", "tenantId": world.TENANT_ID}
        return faults.json_error(200, {"value": [entry], "nextLink": after})

    again = "https://management.azure.com:443/subscriptions?api-version=2022-12-01&$skiptoken=2"
    azure.cloud.faults.add(page("one", again), host="management.azure.com")
    azure.cloud.faults.add(page("two", "https://elsewhere.example/subscriptions"), host="management.azure.com", skip=1)
    assert [each.name for each in list_subscriptions(sign_in_as(SECRET), clock)] == ["one", "two"]
    assert azure.cloud.trace.hosts() == {entra.HOST, "management.azure.com"}


def test_arm__refuses_by_role_as_recorded__is_role_missing(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, wire: Path
) -> None:
    rows = json.loads((wire / "errors" / "real_errors.json").read_text())["errors"]
    [row] = [each for each in rows if each["id"] == "arm-403-workspace"]
    azure.cloud.faults.add(faults.json_error(row["http_status"], row["payload"]), host="management.azure.com")
    with pytest.raises(RoleMissing) as raised:
        check_subscription(sign_in_as(SECRET), world.SUBSCRIPTION_ID, clock)
    assert raised.value.upstream_code == "AuthorizationFailed"
    assert row["payload"]["error"]["message"] in raised.value.what
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.html_error(502, "<html>Bad gateway</html>"), AzureUnreachable),
        (faults.html_error(200, "<html>Welcome to the guest network</html>"), AzureUnreachable),
        (faults.json_error(503, {"error": {"code": "ServerBusy", "message": "Busy."}}), AzureUnreachable),
        (faults.json_error(200, ["no", "object"]), AzureUnreachable),
        (faults.Reset(), AzureUnreachable),
        (faults.TruncatedBody(sent_bytes=10), AzureUnreachable),
        (faults.json_error(401, {"error": {"code": "InvalidAuthenticationToken", "message": "No."}}), SignInRefused),
    ],
    ids=["html-502", "html-200", "503", "list", "reset", "truncated", "401"],
)
def test_arm__does_not_answer_as_arm__is_one_of_ours(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, fault: faults.Fault, kind: type[MlazError]
) -> None:
    azure.cloud.faults.add(fault, host="management.azure.com", times=None)
    with pytest.raises(MlazError) as raised:
        check_subscription(sign_in_as(SECRET), world.SUBSCRIPTION_ID, clock)
    assert type(raised.value) is kind


def test_arm__down_for_a_moment__is_asked_again(azure: Emulator, sign_in_as: SignInAs, clock: CloudClock) -> None:
    azure.cloud.faults.add(faults.json_error(503, {}), host="management.azure.com", times=2)
    azure.cloud.faults.add(faults.Reset(), host="management.azure.com", skip=2)
    assert check_subscription(sign_in_as(SECRET), world.SUBSCRIPTION_ID, clock).state == "Enabled"
    assert not azure.cloud.faults.unused()
