"""What Entra and the runner refuse, through the real azure-identity: class, exit code, their own words, remedy, and no secret anywhere."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from mlaz_ci import errors
from mlaz_ci.adapters.identity import sign_in
from mlaz_ci.errors import MlazError
from mlaz_ci.models import Cloud, Secret, SignIn
from tests.azure import aadsts, entra, faults, github, jwt, world
from tests.azure.clock import RealClock
from tests.azure.server import Emulator
from tests.azure.state import Cloud as CloudState
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure import sovereign
from tests.integration.azure.conftest import FEDERATED, HOSTED, SECRET, SELF_HOSTED, CloudClock, SignInAs

ARM_SCOPE = "https://management.azure.com/.default"
TOKEN_PATH = r"/oauth2/v2\.0/token$"
HTML = "<html><head><title>error</title></head><body>Bad gateway</body></html>"
NOBODY = "99999999-9999-4999-8999-999999999999"

BY_CODE: dict[int, type[MlazError]] = {
    7000215: errors.ClientSecretInvalid,
    7000222: errors.ClientSecretExpired,
    7000216: errors.SignInRefused,
    700016: errors.ApplicationNotInTenant,
    7000112: errors.ApplicationDisabled,
    70021: errors.FederatedCredentialMismatch,
    700211: errors.FederatedCredentialMismatch,
    700212: errors.FederatedCredentialMismatch,
    700213: errors.FederatedCredentialMismatch,
    7002138: errors.FederatedCredentialMismatch,
    70025: errors.FederatedCredentialMissing,
    700024: errors.AssertionExpired,
    700027: errors.ClientCertificateRefused,
    50027: errors.SignInRefused,
    90002: errors.TenantNotFound,
    900144: errors.SignInRefused,
    70003: errors.SignInRefused,
    1002012: errors.SignInRefused,
    500011: errors.AzureApiNotInTenant,
    90033: errors.AzureUnreachable,
}
# Codes that the emulator does not give by itself, in Entra's shape.
FURTHER: dict[int, type[MlazError]] = {
    900023: errors.TenantNotFound,
    7000229: errors.ApplicationNotInTenant,
    700025: errors.SignInRefused,
    700030: errors.ClientCertificateRefused,
    500014: errors.AzureApiNotInTenant,
    50020: errors.SignInRefused,
    50034: errors.SignInRefused,
    50076: errors.ConditionalAccessDenied,
    53003: errors.ConditionalAccessDenied,
    530003: errors.ConditionalAccessDenied,
    7999999: errors.SignInRefused,
}
# Those whose words are their own, beside or instead of the class's.
OWN_WORDS = {50027, 50020, 50034, 700025, 7000229}


def _refused(sign_in_as: SignInAs, given: SignIn = SECRET) -> MlazError:
    with pytest.raises(MlazError) as raised:
        sign_in_as(given).get_token(ARM_SCOPE)
    return raised.value


def _assert_silent(error: MlazError, azure: Emulator, log: pytest.LogCaptureFixture) -> None:
    """No secret, no assertion and no token in the error, all that it came from, or any library's log."""
    told = "\n".join([repr(error), str(error), *traceback.format_exception(error), log.text])
    sent = [
        json.loads(each.response_body)["value"] for each in azure.cloud.trace.find(host=world.OIDC_HOST, status=200)
    ]
    for secret in [world.CLIENT_SECRET, world.OIDC_REQUEST_TOKEN, *sent]:
        assert secret not in told


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
@pytest.mark.parametrize("code", sorted(aadsts.KINDS))
def test_entra_refuses__each_code_of_the_emulator__is_a_class_with_azures_words_and_a_remedy(
    azure: Emulator, sign_in_as: SignInAs, caplog: pytest.LogCaptureFixture, given: SignIn, code: int
) -> None:
    caplog.set_level(logging.DEBUG)
    azure.cloud.faults.add(aadsts.on_demand(code), host=entra.HOST, method="POST", path=TOKEN_PATH, times=None)
    error = _refused(sign_in_as, given)
    is_foreign_key = given is FEDERATED and code == 700027
    assert type(error) is (errors.FederatedCredentialMismatch if is_foreign_key else BY_CODE[code])
    assert error.exit_code == (6 if code == 90033 else 3)
    assert error.upstream_code == f"AADSTS{code}"
    [*_, answer] = azure.cloud.trace.find(host=entra.HOST, method="POST")
    body = json.loads(answer.response_body)
    assert " ".join(body["error_description"].split()) in error.what
    assert error.correlation_id == body["correlation_id"]
    assert error.cause_text.endswith(".")
    assert error.remedy_text.endswith(".")
    _assert_silent(error, azure, caplog)


def test_entra_refuses__the_table_above__covers_the_emulators_codes() -> None:
    assert set(BY_CODE) == set(aadsts.KINDS)


@pytest.mark.parametrize(("code", "kind"), FURTHER.items(), ids=map(str, FURTHER))
def test_entra_refuses__further_and_unknown_codes__keep_azures_words_whole(
    azure: Emulator, sign_in_as: SignInAs, code: int, kind: type[MlazError]
) -> None:
    trace, correlation = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"
    words = f"AADSTS{code}: A sentence of Azure's, with 'quotes' and {{braces}}.\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: 2026-08-01 10:00:00Z"
    payload = {
        "error": "invalid_client",
        "error_description": words,
        "error_codes": [code],
        "correlation_id": correlation,
    }
    azure.cloud.faults.add(faults.json_error(401, payload), host=entra.HOST, method="POST", path=TOKEN_PATH)
    error = _refused(sign_in_as)
    assert type(error) is kind
    assert (error.exit_code, error.upstream_code, error.correlation_id) == (3, f"AADSTS{code}", correlation)
    assert error.what.endswith(" ".join(words.split()))
    assert (error.remedy_text != kind.remedy) == (code in OWN_WORDS)


def test_real_rows__of_entra__end_in_their_class(azure: Emulator, sign_in_as: SignInAs, wire: Path) -> None:
    rows = json.loads((wire / "errors" / "real_errors.json").read_text())["errors"]
    ours = {row["id"]: row for row in rows if row["layer"] == "AAD"}
    kinds = {
        "aad-bad-secret": errors.ClientSecretInvalid,
        "aad-no-app": errors.ApplicationNotInTenant,
        "aad-oidc-subject": errors.FederatedCredentialMismatch,
        "aad-oidc-7002138": errors.FederatedCredentialMismatch,
        "aad-assertion-expired": errors.AssertionExpired,
    }
    assert set(ours) == set(kinds)
    for name, row in ours.items():
        rule = faults.json_error(row["http_status"], row["payload"])
        azure.cloud.faults.add(rule, host=entra.HOST, method="POST", path=TOKEN_PATH)
        error = _refused(sign_in_as, FEDERATED if "oidc" in name else SECRET)
        assert type(error) is kinds[name]
        assert error.exit_code == 3
        assert " ".join(row["payload"]["error_description"].split()) in error.what
        assert error.upstream_code == f"AADSTS{row['payload']['error_codes'][0]}"


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_unknown_tenant__each_way__is_tenant_not_found(azure: Emulator, sign_in_as: SignInAs, given: SignIn) -> None:
    error = _refused(sign_in_as, SignIn(client_id=given.client_id, tenant_id=NOBODY, client_secret=given.client_secret))
    assert type(error) is errors.TenantNotFound
    assert error.upstream_code == "AADSTS90002"
    assert f"AADSTS90002: Tenant '{NOBODY}' not found." in error.what
    assert error.correlation_id in error.what


def test_wrong_secret__of_the_default_application__says_value_not_id(
    azure: Emulator, sign_in_as: SignInAs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = SignIn(client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID, client_secret=Secret("canary~secret"))
    error = _refused(sign_in_as, given)
    assert type(error) is errors.ClientSecretInvalid
    assert "not its id" in error.remedy_text
    assert "canary" not in "\n".join([*traceback.format_exception(error), repr(error), caplog.text])


# --- the subject that GitHub sent ------------------------------------------------------------------------------------

NAMED = "repo:contoso/churn:environment:production"
WITH_IDS = "repo:contoso@123456/churn@456789:environment:production"


@pytest.mark.parametrize("is_immutable", [False, True], ids=["name-form", "id-form"])
def test_subject_mismatch__either_form__prints_both_and_the_credential_to_make(
    cloud: CloudState, sign_in_as: SignInAs, is_immutable: bool
) -> None:
    hub = cloud.state(github.GitHub)
    hub.repository().immutable_subject = is_immutable
    hub.jobs[world.OIDC_REQUEST_TOKEN].context = "environment:production"
    error = _refused(sign_in_as, FEDERATED)
    assert type(error) is errors.FederatedCredentialMismatch
    assert error.upstream_code == "AADSTS700213"
    sent = WITH_IDS if is_immutable else NAMED
    assert f"GitHub sent the subject `{sent}`" in error.cause_text
    assert f"In the name form it is `{NAMED}`, in the immutable-id form `{WITH_IDS}`" in error.cause_text
    fields = f"issuer `{world.OIDC_ISSUER}`, subject `{sent}`, audience `{world.OIDC_AUDIENCE}`"
    assert fields in error.remedy_text
    [command] = re.findall(r"`(az ad app federated-credential .*?)`", error.remedy_text)
    *words, parameters = shlex.split(command)
    assert words == ["az", "ad", "app", "federated-credential", "create", "--id", world.CLIENT_ID, "--parameters"]
    made = json.loads(parameters)
    assert re.fullmatch(r"[A-Za-z0-9-]{3,120}", made.pop("name"))
    assert made == {"issuer": world.OIDC_ISSUER, "subject": sent, "audiences": [world.OIDC_AUDIENCE]}


def test_subject_mismatch__credential_made_as_printed__signs_in(cloud: CloudState, sign_in_as: SignInAs) -> None:
    """The remedy is right: what it says to set is what Entra then takes."""
    cloud.state(github.GitHub).jobs[world.OIDC_REQUEST_TOKEN].context = "ref:refs/heads/o'neil & sons"
    error = _refused(sign_in_as, FEDERATED)
    [command] = re.findall(r"`(az ad app federated-credential .*?)`", error.remedy_text)
    made = json.loads(shlex.split(command)[-1])
    app = cloud.state(entra.Directory).apps[world.CLIENT_ID]
    app.federated.append(
        entra.FederatedCredential(issuer=made["issuer"], subject=made["subject"], audiences=tuple(made["audiences"]))
    )
    assert sign_in_as(FEDERATED).get_token(ARM_SCOPE).token


def test_subject_mismatch__template_of_the_repositorys_own__says_so(cloud: CloudState, sign_in_as: SignInAs) -> None:
    subject = "repository_owner_id:123456:repository_id:456789:pull_request"
    cloud.state(github.GitHub).jobs[world.OIDC_REQUEST_TOKEN].claims["sub"] = subject
    error = _refused(sign_in_as, FEDERATED)
    assert f"GitHub sent the subject `{subject}`" in error.cause_text
    assert "template of its own" in error.cause_text
    assert "immutable-id form" not in error.cause_text


def test_subject_case__differs_alone__is_told_as_such(cloud: CloudState, sign_in_as: SignInAs) -> None:
    cloud.state(github.GitHub).repository().name = "Churn"
    error = _refused(sign_in_as, FEDERATED)
    assert error.upstream_code == "AADSTS7002138"
    assert "capital letters" in error.cause_text
    assert "subject `repo:contoso/Churn:ref:refs/heads/main`" in error.remedy_text


def test_issuer_and_audience__differ__are_told_with_what_was_sent(cloud: CloudState, sign_in_as: SignInAs) -> None:
    given = SignIn(client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID, audience="api://other")
    error = _refused(sign_in_as, given)
    assert error.upstream_code == "AADSTS700212"
    assert "audience `api://other`" in error.cause_text
    assert f"Leave `audience` out, so that `{world.OIDC_AUDIENCE}` is sent" in error.remedy_text
    cloud.state(github.GitHub).jobs[world.OIDC_REQUEST_TOKEN].claims["iss"] = "https://token.example/acme"
    error = _refused(sign_in_as, FEDERATED)
    assert error.upstream_code == "AADSTS700211"
    assert "names this issuer" in error.cause_text
    assert "issuer `https://token.example/acme`" in error.remedy_text


def test_no_federated_credential__at_all__prints_the_one_to_make(cloud: CloudState, sign_in_as: SignInAs) -> None:
    cloud.state(entra.Directory).apps[world.CLIENT_ID].federated.clear()
    error = _refused(sign_in_as, FEDERATED)
    assert type(error) is errors.FederatedCredentialMissing
    assert "az ad app federated-credential create" in error.remedy_text
    assert "repo:contoso/churn:ref:refs/heads/main" in error.remedy_text


def test_claims__hostile__are_printed_as_plain_text(cloud: CloudState, sign_in_as: SignInAs) -> None:
    cloud.state(github.GitHub).jobs[world.OIDC_REQUEST_TOKEN].claims |= {
        "sub": "repo:contoso/churn:ref:refs/heads/`a`\n::error::\x1b[2J$(id)",
        "repository": ["no", "text"],
    }
    error = _refused(sign_in_as, FEDERATED)
    told = f"{error.cause_text}{error.remedy_text}"
    assert "\n" not in told
    assert "\x1b" not in told


# --- what is no answer of Entra's ------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.html_error(502, HTML),
        faults.json_error(503, {"error": "temporarily_unavailable"}),
        faults.json_error(429, {}, headers={"Retry-After": "86400"}),
        faults.html_error(200, HTML),
        faults.empty_body(500),
        faults.Reset(),
    ],
    ids=["html-502", "503", "429-for-a-day", "html-200", "empty-500", "reset"],
)
def test_entra_down__in_every_manner__is_azure_unreachable_within_a_minute(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, given: SignIn, fault: faults.Fault
) -> None:
    azure.cloud.faults.add(fault, host=entra.HOST, times=None)
    began_s = clock.now_s()
    error = _refused(sign_in_as, given)
    assert type(error) is errors.AzureUnreachable
    assert (error.exit_code, error.retryable) == (6, True)
    assert clock.now_s() - began_s <= 6 * 60


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_entra_down__for_a_moment__is_asked_again(azure: Emulator, sign_in_as: SignInAs, given: SignIn) -> None:
    azure.cloud.faults.add(aadsts.on_demand(90033), host=entra.HOST, method="POST", times=2)
    azure.cloud.faults.add(faults.Reset(), host=entra.HOST, method="POST", skip=2)
    assert sign_in_as(given).get_token(ARM_SCOPE).token
    assert not azure.cloud.faults.unused()


def test_entra_down__then_up_again__is_not_answered_from_a_cache_of_failures(
    azure: Emulator, sign_in_as: SignInAs
) -> None:
    rule = azure.cloud.faults.add(faults.html_error(503, HTML), host=entra.HOST, method="POST", times=None)
    credential = sign_in_as(SECRET)
    with pytest.raises(errors.AzureUnreachable):
        credential.get_token(ARM_SCOPE)
    assert rule.hits
    azure.cloud.faults.clear()
    assert credential.get_token(ARM_SCOPE).token


# --- the runner's token endpoint -------------------------------------------------------------------------------------


def test_runner__without_the_permission__says_the_line_and_forks(azure: Emulator, sign_in_as: SignInAs) -> None:
    for environ in (HOSTED, SELF_HOSTED, {"GITHUB_ACTIONS": "true"}):
        with pytest.raises(errors.IdTokenPermissionMissing) as raised:
            sign_in_as(FEDERATED, environ)
        assert "`permissions: id-token: write`" in raised.value.what
        assert "fork" in raised.value.cause_text
        assert raised.value.exit_code == 3
    assert len(azure.cloud.trace) == 0


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (SignIn(), "`client-id` and `tenant-id`"),
        (SignIn(client_id=world.CLIENT_ID), "`tenant-id`"),
        (SignIn(client_secret=Secret("canary")), "`client-id` and `tenant-id`"),
        (SignIn(tenant_id=world.TENANT_ID, client_certificate=Secret("canary")), "`client-id`"),
    ],
)
def test_parts__missing__are_named(sign_in_as: SignInAs, given: SignIn, missing: str) -> None:
    with pytest.raises(errors.MissingInput, match=f"needs {missing} too"):
        sign_in_as(given)


def test_secret_and_certificate__both__conflict(sign_in_as: SignInAs) -> None:
    with pytest.raises(errors.ConflictingInputs):
        sign_in_as(SignIn(client_secret=Secret("a"), client_certificate=Secret("b")))


def test_runner__refuses_the_job__is_told_with_its_words_and_asked_once(
    azure: Emulator, sign_in_as: SignInAs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    azure.cloud.state(github.GitHub).jobs.clear()
    error = _refused(sign_in_as, FEDERATED)
    assert type(error) is errors.IdTokenRefused
    assert "401" in error.what
    assert "Bad credentials" in error.what
    assert len(azure.cloud.trace) == 1
    _assert_silent(error, azure, caplog)


@pytest.mark.parametrize(
    "fault",
    [
        faults.html_error(503, HTML),
        faults.Reset(),
        faults.TruncatedBody(sent_bytes=20),
        faults.json_error(200, {"count": 0}),
    ],
    ids=["503", "reset", "truncated", "no-value"],
)
def test_runner__down__is_id_token_unavailable(
    azure: Emulator, sign_in_as: SignInAs, caplog: pytest.LogCaptureFixture, fault: faults.Fault
) -> None:
    caplog.set_level(logging.DEBUG)
    azure.cloud.faults.add(fault, host=world.OIDC_HOST, times=None)
    error = _refused(sign_in_as, FEDERATED)
    assert type(error) is errors.IdTokenUnavailable
    assert (error.exit_code, error.retryable) == (6, True)
    assert world.OIDC_REQUEST_TOKEN not in "\n".join([*traceback.format_exception(error), caplog.text])
    assert azure.cloud.trace.hosts() == {world.OIDC_HOST}


@pytest.mark.parametrize("redirect", ["https://elsewhere.example/token", "http://run-actions.example/"])
def test_runner__redirects__is_not_followed(azure: Emulator, sign_in_as: SignInAs, redirect: str) -> None:
    azure.cloud.faults.add(faults.json_error(302, {}, headers={"Location": redirect}), host=world.OIDC_HOST)
    assert type(_refused(sign_in_as, FEDERATED)) is errors.IdTokenRefused
    assert azure.cloud.trace.hosts() == {world.OIDC_HOST}


def test_runner__plain_http_address__gets_no_token_of_the_job(azure: Emulator, sign_in_as: SignInAs) -> None:
    environ = azure.credentials() | {"ACTIONS_ID_TOKEN_REQUEST_URL": f"http://{world.OIDC_HOST}/118/idtoken/run/job"}
    with pytest.raises(errors.IdTokenRefused, match="no https address"):
        sign_in_as(FEDERATED, environ).get_token(ARM_SCOPE)
    assert len(azure.cloud.trace) == 0


# --- nothing is shown behind our back --------------------------------------------------------------------------------


_PROGRAM = """
import os
from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.identity import sign_in
from mlaz_ci.errors import MlazError
from mlaz_ci.models import Cloud, Secret, SignIn
from tests.fakes.platform import RecordingPlatform

given = SignIn(client_id=os.environ["ID"], tenant_id=os.environ["TENANT"], client_secret=Secret("wrong"))
try:
    sign_in(given, {}, Cloud.PUBLIC, SystemClock(), RecordingPlatform()).get_token("https://management.azure.com/.default")
except MlazError as error:
    print(error.kind())
"""


def test_standard_error__after_a_refusal__has_no_line_of_a_library(azure: Emulator) -> None:
    """In a process of its own: pytest's log handlers would hide what Python prints where there are none."""
    words = "AADSTS7000215: Invalid.\n::error::injected"
    fault = faults.json_error(401, {"error": "invalid_client", "error_description": words, "error_codes": [7000215]})
    azure.cloud.faults.add(fault, host=entra.HOST, method="POST", path=TOKEN_PATH)
    named = {"ID": world.CLIENT_ID, "TENANT": world.TENANT_ID, "PYTHONPATH": str(Path(__file__).parents[3])}
    told = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env={**os.environ, **named}, capture_output=True, text=True, check=True
    )
    assert (told.stdout, told.stderr) == ("client-secret-invalid\n", "")


def test_refusal__in_another_cloud__asks_no_host_of_the_public_one(azure: Emulator, sign_in_as: SignInAs) -> None:
    """Only when it is refused does MSAL look up which hosts there are, at login.microsoftonline.com unless told not to."""
    facts = sovereign.US_GOVERNMENT
    sovereign.open_to(azure.cloud, facts)
    given = SignIn(client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID, client_secret=Secret("wrong"))
    with pytest.raises(errors.ClientSecretInvalid):
        sign_in_as(given, cloud=facts.name).get_token(f"https://{facts.arm}/.default")
    assert azure.cloud.trace.hosts() == {facts.authority}


def test_forged_assertion__signed_by_a_stranger__names_the_issuer(cloud: CloudState, sign_in_as: SignInAs) -> None:
    repository = cloud.state(github.GitHub).repository()
    job = github.Job(repository=repository.full_name)
    claims = jwt.parse(github.issue_oidc_token(cloud, repository, job, world.OIDC_AUDIENCE)).claims
    forged = faults.json_error(200, {"count": 1, "value": jwt.SigningKey().sign(claims)})
    cloud.faults.add(forged, host=world.OIDC_HOST)
    error = _refused(sign_in_as, FEDERATED)
    assert (type(error), error.upstream_code) == (errors.FederatedCredentialMismatch, "AADSTS700027")
    assert "issuer" in error.remedy_text


def test_refusal__as_the_emulator_writes_it__is_what_entra_writes() -> None:
    """The fault above goes through the same words as a refusal of the emulator's own."""
    body = json.loads(aadsts.refusal(7000222, RealClock(), app="x").body)
    assert body["error_description"].startswith("AADSTS7000222: ")


def test_failure__of_our_own_making__is_a_bug_and_no_refusal(azure: Emulator, clock: CloudClock) -> None:
    """Who reads "Entra refused" looks for the fault in the wrong place."""

    class BrokenPlatform(RecordingPlatform):
        def mask(self, secret: str) -> None:
            if secret.count(".") == 2:
                raise IndexError("list index out of range")

    credential = sign_in(FEDERATED, azure.credentials(), Cloud.PUBLIC, clock, BrokenPlatform())
    with pytest.raises(errors.Bug, match="list index out of range"):
        credential.get_token(ARM_SCOPE)


@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_refused__of_a_whole_deploy__opens_no_browser_and_shows_no_code(
    azure: Emulator, given: SignIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As on a desk, where a client that fell back on a person would open a window and wait."""
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(opened))}\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("DISPLAY", ":0")
    azure.cloud.faults.add(aadsts.on_demand(700016), host=entra.HOST, method="POST", path=TOKEN_PATH, times=None)
    secret = {"INPUT_CLIENT-SECRET": world.CLIENT_SECRET} if given is SECRET else {}
    run = {
        "INPUT_TARGET": "aci",
        "INPUT_RUN-ID": "a-run",
        "INPUT_SERVICE-NAME": "churn",
        "INPUT_SUBSCRIPTION-ID": world.SUBSCRIPTION_ID,
        "INPUT_RESOURCE-GROUP": world.RESOURCE_GROUP,
        "INPUT_WORKSPACE-NAME": world.WORKSPACE,
        "INPUT_CLIENT-ID": world.CLIENT_ID,
        "INPUT_TENANT-ID": world.TENANT_ID,
        **secret,
    }
    done = subprocess.run(
        [sys.executable, "-c", "from mlaz_ci.main import run_action; raise SystemExit(run_action())"],
        env={**os.environ, **HOSTED, **azure.credentials(), **run, "PYTHONPATH": str(Path(__file__).parents[3])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "AADSTS700016" in done.stdout + done.stderr
    assert not opened.exists()
    asked = {each.path for each in azure.cloud.trace.find(host=entra.HOST)}
    assert not [path for path in asked if "devicecode" in path or "authorize" in path]
