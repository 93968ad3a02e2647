"""Tokens that end while a deployment is waited for: renewed in time, by whatever client asks, with a new assertion each time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from azure.core.pipeline import Pipeline
from azure.core.pipeline.policies import BearerTokenCredentialPolicy
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azureml.core import Workspace

from mlaz_ci.adapters.azure_wire.transport import BearerPolicy
from mlaz_ci.adapters.identity import Credential, v1_authentication
from mlaz_ci.errors import AzureUnreachable, ClientSecretExpired, IdTokenRefused, MlazError
from mlaz_ci.models import SignIn
from tests.azure import aadsts, entra, faults, github, jwt, world
from tests.azure.server import Emulator
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure.conftest import FEDERATED, SECRET, SELF_HOSTED, CloudClock, SignInAs

ARM_SCOPE = "https://management.azure.com/.default"
WORKSPACE = f"https://management.azure.com{world.WORKSPACE_SCOPE}?api-version=2024-04-01"
WORKSPACE_PATH = f"/workspaces/{world.WORKSPACE}$"
WAYS = pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])


def _ask_arm(pipeline: Pipeline) -> int:
    status: int = pipeline.run(HttpRequest("GET", WORKSPACE)).http_response.status_code
    return status


def _status(credential: Credential) -> int:
    with Pipeline(RequestsTransport(), policies=[BearerPolicy(credential, ARM_SCOPE)]) as pipeline:
        return _ask_arm(pipeline)


def _token_requests(azure: Emulator) -> list[dict[str, str]]:
    posts = azure.cloud.trace.find(host=entra.HOST, method="POST")
    return [{name: values[0] for name, values in parse_qs(each.request_body.decode()).items()} for each in posts]


@WAYS
@pytest.mark.parametrize(
    ("lifetime_s", "polls", "every_s", "tokens"), [(1200, 40, 60, 3), (3599, 60, 180, 4)], ids=["40-minutes", "3-hours"]
)
def test_wait__longer_than_a_token_lives__goes_on_without_one_401(  # noqa: PLR0917  # a table's columns
    azure: Emulator,
    sign_in_as: SignInAs,
    clock: CloudClock,
    given: SignIn,
    lifetime_s: int,
    polls: int,
    every_s: int,
    tokens: int,
) -> None:
    azure.cloud.state(entra.Directory).token_lifetime_s = lifetime_s
    credential = sign_in_as(given)
    with Pipeline(RequestsTransport(), policies=[BearerPolicy(credential, ARM_SCOPE)]) as pipeline:
        for _ in range(polls + 1):
            assert _ask_arm(pipeline) == 200
            clock.sleep(every_s)
    assert azure.cloud.trace.find(status=401) == []
    asked = _token_requests(azure)
    assert tokens <= len(asked) <= tokens + 1
    if given is FEDERATED:
        assertions = [each["client_assertion"] for each in asked]
        assert len({jwt.parse(each).claims["jti"] for each in assertions}) == len(asked)
        assert len(azure.cloud.trace.find(host=world.OIDC_HOST)) == len(asked)
    assert azure.cloud.trace.hosts() <= {entra.HOST, world.OIDC_HOST, "management.azure.com"}


@WAYS
def test_wait__of_azureml_core__asks_for_a_new_token_when_the_old_one_ends(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, given: SignIn
) -> None:
    authentication = v1_authentication(sign_in_as(given))
    names = (world.WORKSPACE, world.SUBSCRIPTION_ID, world.RESOURCE_GROUP)
    workspace = Workspace.get(names[0], authentication, *names[1:])
    first = authentication.get_authentication_header()
    clock.sleep(2400)
    assert authentication.get_authentication_header() == first
    clock.sleep(1300)
    assert Workspace.get(names[0], authentication, *names[1:]).get_details()["id"] == workspace.get_details()["id"]
    assert authentication.get_authentication_header() != first
    assert azure.cloud.trace.find(status=401) == []
    assert {each["scope"].split()[0] for each in _token_requests(azure)} == {
        "https://management.core.windows.net//.default"
    }
    assert len(_token_requests(azure)) == 2


@WAYS
def test_401__of_a_token_revoked_before_its_time__is_renewed_once(
    azure: Emulator, sign_in_as: SignInAs, given: SignIn
) -> None:
    credential = sign_in_as(given)
    assert _status(credential) == 200
    entra.expire_tokens(azure.cloud)
    assert _status(credential) == 200
    assert [each.status for each in azure.cloud.trace.find(path=WORKSPACE_PATH)] == [200, 401, 200]
    assert len(_token_requests(azure)) == 2


def test_401__that_a_new_token_does_not_mend__is_handed_on(azure: Emulator, sign_in_as: SignInAs) -> None:
    azure.cloud.faults.add(faults.json_error(401, {"error": {"code": "x"}}), path=WORKSPACE_PATH, times=None)
    assert _status(sign_in_as(SECRET)) == 401
    assert len(azure.cloud.trace.find(path=WORKSPACE_PATH)) == 2


def test_401__with_a_claims_challenge__asks_for_these_claims(azure: Emulator, sign_in_as: SignInAs) -> None:
    claims = '{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}'
    challenge = 'Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzAwMDAwMDAwIn19fQ=="'
    azure.cloud.faults.add(faults.json_error(401, {}, headers={"WWW-Authenticate": challenge}), path=WORKSPACE_PATH)
    assert _status(sign_in_as(SECRET)) == 200
    assert json.loads(_token_requests(azure)[1]["claims"]) == json.loads(claims)


def test_azure_cores_own_policy__takes_the_credential(azure: Emulator, sign_in_as: SignInAs) -> None:
    policies: list[Any] = [BearerTokenCredentialPolicy(sign_in_as(SECRET), ARM_SCOPE)]
    with Pipeline(RequestsTransport(), policies=policies) as pipeline:
        for _ in range(2):
            assert pipeline.run(HttpRequest("GET", WORKSPACE)).http_response.status_code == 200
    assert len(_token_requests(azure)) == 1


def test_managed_identity__token_ends__is_asked_for_anew(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    credential = sign_in_as(SignIn(), SELF_HOSTED)
    first = credential.get_token(ARM_SCOPE).token
    assert credential.get_token(ARM_SCOPE).token == first
    clock.sleep(3600)
    assert _status(credential) == 200
    assert credential.get_token(ARM_SCOPE).token != first
    assert azure.cloud.trace.hosts() == {entra.IMDS_HOST, "management.azure.com"}


@WAYS
def test_renewal__fails_while_the_token_is_good__the_wait_goes_on(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, given: SignIn
) -> None:
    """The five minutes before the end are for this: Entra may be away for most of them."""
    credential = sign_in_as(given)
    first = credential.get_token(ARM_SCOPE).token
    clock.sleep(3599 - 290)
    azure.cloud.faults.add(aadsts.on_demand(90033), host=entra.HOST, times=None)
    assert credential.get_token(ARM_SCOPE).token == first
    asked = len(azure.cloud.trace.find(host=entra.HOST))
    assert credential.get_token(ARM_SCOPE).token == first
    assert len(azure.cloud.trace.find(host=entra.HOST)) == asked
    azure.cloud.faults.clear()
    clock.sleep(31)
    assert credential.get_token(ARM_SCOPE).token != first
    assert _status(credential) == 200


def test_renewal__fails_after_the_end__is_told(azure: Emulator, sign_in_as: SignInAs, clock: CloudClock) -> None:
    credential = sign_in_as(SECRET)
    assert credential.get_token(ARM_SCOPE)
    clock.sleep(3600)
    azure.cloud.faults.add(aadsts.on_demand(90033), host=entra.HOST, times=None)
    with pytest.raises(AzureUnreachable):
        credential.get_token(ARM_SCOPE)
    azure.cloud.faults.clear()
    directory = azure.cloud.state(entra.Directory)
    directory.apps[world.CLIENT_ID].secrets = [entra.Secret(value=world.CLIENT_SECRET, expires_s=clock.now_s() - 1)]
    with pytest.raises(ClientSecretExpired):
        credential.get_token(ARM_SCOPE)


def test_renewal__of_oidc_after_the_job_lost_its_right__is_told(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    credential = sign_in_as(FEDERATED)
    assert credential.get_token(ARM_SCOPE)
    azure.cloud.state(github.GitHub).jobs.clear()
    clock.sleep(3600)
    with pytest.raises(IdTokenRefused):
        credential.get_token(ARM_SCOPE)


# --- the cache -------------------------------------------------------------------------------------------------------


def _at_once(count: int, act: Callable[[int], object]) -> list[object]:
    """The results of `count` threads that began together."""
    barrier, results = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = act(number)  # type: ignore[call-overload]
        except MlazError as error:
            results[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results)


@WAYS
def test_cache__many_threads_and_scopes__asks_once_for_each_scope(
    azure: Emulator, sign_in_as: SignInAs, given: SignIn
) -> None:
    credential = sign_in_as(given)
    scopes = [ARM_SCOPE, "https://ml.azure.com/.default", "https://storage.azure.com/.default"]
    tokens = _at_once(24, lambda number: credential.get_token(scopes[number % 3]).token)
    assert len(set(tokens)) == 3
    assert all(isinstance(each, str) for each in tokens)
    assert len(_token_requests(azure)) == 3


def test_cache__a_401_seen_by_many_threads__is_one_renewal(azure: Emulator, sign_in_as: SignInAs) -> None:
    credential = sign_in_as(SECRET)
    assert _status(credential) == 200
    entra.expire_tokens(azure.cloud)
    assert _at_once(12, lambda _: _status(credential)) == [200] * 12
    assert len(_token_requests(azure)) == 2


def test_cache__refused_to_many_threads__each_is_told_its_own(azure: Emulator, sign_in_as: SignInAs) -> None:
    azure.cloud.faults.add(aadsts.on_demand(7000222), host=entra.HOST, method="POST", times=None)
    credential = sign_in_as(SECRET)
    told = _at_once(6, lambda number: credential.get_token(f"https://vault.azure.net/{number}/.default"))
    assert {type(each) for each in told} == {ClientSecretExpired}
    assert len({id(each) for each in told}) == 6


def test_renew__without_a_token__forgets_them_all(azure: Emulator, sign_in_as: SignInAs) -> None:
    credential = sign_in_as(SECRET)
    first = credential.get_token(ARM_SCOPE).token
    credential.renew(stale="another")
    assert credential.get_token(ARM_SCOPE).token == first
    credential.renew()
    assert credential.get_token(ARM_SCOPE).token != first


def test_tokens__given_out__are_masked_and_not_in_a_repr(
    azure: Emulator, sign_in_as: SignInAs, platform: RecordingPlatform
) -> None:
    credential = sign_in_as(SECRET)
    token = credential.get_token(ARM_SCOPE).token
    platform.info(f"Bearer {token}")
    assert platform.lines == ["Bearer ***"]
    told = repr(credential)
    assert world.CLIENT_ID in told
    assert token not in told
    assert world.CLIENT_SECRET not in told
