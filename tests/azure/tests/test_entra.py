"""Entra ID and the token check, with azure-identity as a workflow would run it."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from tests.azure import aadsts, access, entra, github, jwt, roles, rooms, world
from tests.azure.access import require_token
from tests.azure.clock import FakeClock
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.server import Emulator
from tests.azure.state import Cloud

identity = pytest.importorskip("azure.identity", reason="needs requirements/azure-tests.txt")
core_exceptions = pytest.importorskip("azure.core.exceptions")

ARM_SCOPE = "https://management.azure.com/.default"
READ = "Microsoft.MachineLearningServices/workspaces/read"
guarded = Room("guarded", host="guarded.test")


@guarded.get("/arm")
def get_arm(request: Request, params: Params, cloud: Cloud) -> Response:
    caller = require_token(request, cloud, action=READ, scope=world.WORKSPACE_SCOPE)
    return Response.json({"oid": caller.object_id, "appid": caller.client_id, "tid": caller.tenant_id})


@guarded.get("/ml")
def get_ml(request: Request, params: Params, cloud: Cloud) -> Response:
    require_token(request, cloud, audience=access.MACHINE_LEARNING)
    return Response.json({})


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(rooms=[*rooms.ROOMS, guarded]) as azure:
        yield azure


@pytest.fixture
def directory(cloud: Cloud) -> entra.Directory:
    return cloud.state(entra.Directory)


def _secret_credential(secret: str = world.CLIENT_SECRET, **changed: str) -> Any:
    named = {"tenant_id": world.TENANT_ID, "client_id": world.CLIENT_ID} | changed
    return identity.ClientSecretCredential(client_secret=secret, **named)


def _get(http: requests.Session, path: str, token: str) -> requests.Response:
    return http.get(f"https://guarded.test{path}", headers={"Authorization": f"Bearer {token}"})


def _refused(credential: Any, scope: str = ARM_SCOPE) -> str:
    with pytest.raises(core_exceptions.ClientAuthenticationError) as raised:
        credential.get_token(scope)
    return str(raised.value.message)


def test_client_secret__right__gives_a_token_that_arm_takes(azure: Emulator, http: requests.Session) -> None:
    token = _secret_credential().get_token(ARM_SCOPE)
    claims = jwt.parse(token.token).claims
    assert (claims["aud"], claims["tid"]) == ("https://management.azure.com", world.TENANT_ID)
    assert claims["exp"] - claims["iat"] == entra.TOKEN_LIFETIME_S
    answer = _get(http, "/arm", token.token)
    assert answer.json() == {"oid": world.CLIENT_OBJECT_ID, "appid": world.CLIENT_ID, "tid": world.TENANT_ID}
    paths = [exchange.path for exchange in azure.cloud.trace.find(host=entra.HOST)]
    assert paths == [
        f"/{world.TENANT_ID}/v2.0/.well-known/openid-configuration",
        f"/{world.TENANT_ID}/oauth2/v2.0/token",
    ]


def test_environment_credential__from_the_printed_lines__works(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azure.credentials().items():
        monkeypatch.setenv(name, value)
    assert identity.EnvironmentCredential().get_token(ARM_SCOPE).token.count(".") == 2


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        (lambda: _secret_credential("wrong"), "AADSTS7000215"),
        (lambda: _secret_credential(client_id="99999999-9999-4999-8999-999999999999"), "AADSTS700016"),
    ],
)
@pytest.mark.usefixtures("azure")
def test_client_secret__wrong__is_refused_with_its_code(credential: Any, code: str) -> None:
    assert f"Authentication failed: {code}" in _refused(credential())


@pytest.mark.usefixtures("azure")
def test_client_secret__unknown_tenant__is_refused_before_the_token() -> None:
    message = _refused(_secret_credential(tenant_id="99999999-9999-4999-8999-999999999999"))
    assert "Unable to get authority configuration" in message


def test_client_secret__expired__is_refused(cloud: Cloud, directory: entra.Directory) -> None:
    expired = entra.Secret(value="old", expires_s=cloud.clock.now_s() - 1)
    directory.apps[world.CLIENT_ID].secrets.append(expired)
    assert "AADSTS7000222" in _refused(_secret_credential("old"))


def test_client_secret__disabled_app__is_refused(directory: entra.Directory) -> None:
    directory.apps[world.CLIENT_ID].enabled = False
    assert "AADSTS7000112" in _refused(_secret_credential())


@pytest.mark.parametrize(
    ("scope", "code"), [("https://unknown.example/.default", "AADSTS500011"), ("openid", "AADSTS1002012")]
)
@pytest.mark.usefixtures("azure")
def test_client_secret__unknown_scope__is_refused(scope: str, code: str) -> None:
    assert code in _refused(_secret_credential(), scope)


def _certificate() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "deployer")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def test_certificate__expired__is_refused(directory: entra.Directory, fake_clock: FakeClock) -> None:
    public, private = _certificate()
    directory.apps[world.CLIENT_ID].certificates_pem.append(public)
    fake_clock.advance(2 * 24 * 3600)
    assert "AADSTS1000502" in _refused(_certificate_credential(public + private))


@pytest.mark.parametrize(
    ("audience", "code"),
    [
        (f"https://login.microsoftonline.com/{world.TENANT_ID}/v2.0", None),
        (f"https://login.microsoftonline.com/{world.TENANT_DOMAIN}/oauth2/v2.0/token", None),
        ("https://login.microsoftonline.com/common/v2.0", "AADSTS700023"),
        ("https://example.com", "AADSTS700023"),
    ],
)
def test_certificate__assertion_for_another_realm__is_refused(
    directory: entra.Directory, http: requests.Session, audience: str, code: str | None
) -> None:
    public, private = _certificate()
    directory.apps[world.CLIENT_ID].certificates_pem.append(public)
    key = serialization.load_pem_private_key(private, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    thumbprint = x509.load_pem_x509_certificate(public).fingerprint(hashes.SHA256())
    now_s = int(time.time())
    claims = {"iss": world.CLIENT_ID, "sub": world.CLIENT_ID, "aud": audience, "nbf": now_s, "exp": now_s + 300}
    header = {"alg": "RS256", "typ": "JWT", "x5t#S256": jwt.encode_part(thumbprint)}
    signed = ".".join(jwt.encode_part(json.dumps(part).encode()) for part in (header, claims))
    signature = jwt.encode_part(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))
    form = {
        "grant_type": "client_credentials",
        "client_id": world.CLIENT_ID,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": f"{signed}.{signature}",
        "scope": ARM_SCOPE,
    }
    answer = http.post(f"https://{entra.HOST}/{world.TENANT_ID}/oauth2/v2.0/token", data=form, timeout=30)
    if code is None:
        assert answer.status_code == 200, answer.text
    else:
        assert answer.json()["error_description"].startswith(f"{code}:")


def _certificate_credential(pem: bytes) -> Any:
    return identity.CertificateCredential(world.TENANT_ID, world.CLIENT_ID, certificate_data=pem)


def test_certificate__registered__gives_a_token(directory: entra.Directory, http: requests.Session) -> None:
    public, private = _certificate()
    directory.apps[world.CLIENT_ID].certificates_pem.append(public)
    token = _certificate_credential(public + private).get_token(ARM_SCOPE)
    assert _get(http, "/arm", token.token).status_code == 200


def test_certificate__not_registered_or_other_key__is_refused(directory: entra.Directory) -> None:
    public, private = _certificate()
    assert "AADSTS700027" in _refused(_certificate_credential(public + private))
    directory.apps[world.CLIENT_ID].certificates_pem.append(public)
    _, other_private = _certificate()
    assert "AADSTS700027" in _refused(_certificate_credential(public + other_private))


def _assertion_credential(http: requests.Session, audience: str = world.OIDC_AUDIENCE) -> Any:
    """As a workflow does it: the assertion is the job's OIDC token."""

    def assertion() -> str:
        answer = http.get(
            f"{github.OIDC_REQUEST_URL}&audience={audience}",
            headers={"Authorization": f"bearer {world.OIDC_REQUEST_TOKEN}"},
        )
        value: str = answer.json()["value"]
        return value

    return identity.ClientAssertionCredential(world.TENANT_ID, world.CLIENT_ID, assertion)


def test_federated__subject_of_the_main_branch__gives_a_token(azure: Emulator, http: requests.Session) -> None:
    token = _assertion_credential(http).get_token(ARM_SCOPE)
    assert _get(http, "/arm", token.token).status_code == 200


@pytest.mark.parametrize("context", ["ref:refs/heads/other", "environment:production"])
def test_federated__other_subject__is_refused_by_name(cloud: Cloud, http: requests.Session, context: str) -> None:
    cloud.state(github.GitHub).jobs[world.OIDC_REQUEST_TOKEN].context = context
    message = _refused(_assertion_credential(http))
    assert "AADSTS700213" in message
    assert f"'repo:{world.GITHUB_REPOSITORY}:{context}'" in message


def test_federated__immutable_subject__needs_its_own_credential(
    cloud: Cloud, directory: entra.Directory, http: requests.Session
) -> None:
    cloud.state(github.GitHub).repository().immutable_subject = True
    subject = "repo:contoso@123456/churn@456789:ref:refs/heads/main"
    assert f"AADSTS700213: No matching federated identity record found for presented assertion subject '{subject}'" in (
        _refused(_assertion_credential(http))
    )
    directory.apps[world.CLIENT_ID].federated.append(
        entra.FederatedCredential(issuer=world.OIDC_ISSUER, subject=subject)
    )
    assert _assertion_credential(http).get_token(ARM_SCOPE).token


def test_federated__case_differs__is_refused_as_such(cloud: Cloud, http: requests.Session) -> None:
    cloud.state(github.GitHub).repository().name = "Churn"
    assert "AADSTS7002138" in _refused(_assertion_credential(http))


def test_federated__wrong_audience_or_issuer__is_refused(
    cloud: Cloud, directory: entra.Directory, http: requests.Session
) -> None:
    assert "AADSTS700212" in _refused(_assertion_credential(http, "api://other"))
    cloud.state(github.GitHub).jobs[world.OIDC_REQUEST_TOKEN].claims["iss"] = "https://issuer.example"
    assert "AADSTS700211" in _refused(_assertion_credential(http))
    directory.apps[world.CLIENT_ID].federated.clear()
    assert "AADSTS70025" in _refused(_assertion_credential(http))


def test_federated__signed_by_another__is_refused(cloud: Cloud, http: requests.Session) -> None:
    repository = cloud.state(github.GitHub).repository()
    claims = jwt.parse(
        github.issue_oidc_token(cloud, repository, github.Job(repository=repository.full_name), world.OIDC_AUDIENCE)
    ).claims
    forged = jwt.SigningKey().sign(claims)
    credential = identity.ClientAssertionCredential(world.TENANT_ID, world.CLIENT_ID, lambda: forged)
    assert "AADSTS700027" in _refused(credential)


def test_federated__assertion_kept_too_long__is_refused(cloud: Cloud, fake_clock: FakeClock) -> None:
    repository = cloud.state(github.GitHub).repository()
    kept = github.issue_oidc_token(cloud, repository, github.Job(repository=repository.full_name), world.OIDC_AUDIENCE)
    credential = identity.ClientAssertionCredential(world.TENANT_ID, world.CLIENT_ID, lambda: kept)
    fake_clock.advance(github.OIDC_LIFETIME_S + entra.CLOCK_SKEW_S + 1)
    assert "AADSTS700024" in _refused(credential)


def test_managed_identity__system_and_user_assigned__give_tokens(
    directory: entra.Directory, http: requests.Session, azure: Emulator
) -> None:
    token = identity.ManagedIdentityCredential().get_token(ARM_SCOPE)
    assert _get(http, "/arm", token.token).json()["oid"] == world.MANAGED_OBJECT_ID
    directory.managed.append(entra.ManagedIdentity(client_id="user-1", object_id="oid-1", system_assigned=False))
    own = identity.ManagedIdentityCredential(client_id="user-1").get_token(ARM_SCOPE)
    assert jwt.parse(own.token).claims["oid"] == "oid-1"
    [first, _] = azure.cloud.trace.find(host=entra.IMDS_HOST)
    assert first.scheme == "http"


@pytest.mark.usefixtures("azure")
def test_managed_identity__unknown__is_refused() -> None:
    with pytest.raises(identity.CredentialUnavailableError):
        identity.ManagedIdentityCredential(client_id="nobody").get_token(ARM_SCOPE)


def test_default_credential__managed_identity_alone__is_found_by_its_probe(
    azure: Emulator, http: requests.Session
) -> None:
    credential = identity.DefaultAzureCredential(
        exclude_cli_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        exclude_shared_token_cache_credential=True,
    )
    token = credential.get_token(ARM_SCOPE)
    assert _get(http, "/arm", token.token).json()["oid"] == world.MANAGED_OBJECT_ID
    assert azure.cloud.trace.find(host=entra.IMDS_HOST, status=400)


def test_require_token__none_or_broken__is_401_with_a_challenge(azure: Emulator, http: requests.Session) -> None:
    missing = http.get("https://guarded.test/arm")
    assert (missing.status_code, missing.json()["error"]["code"]) == (401, "AuthenticationFailed")
    assert missing.headers["WWW-Authenticate"].startswith("Bearer ")
    token = _secret_credential().get_token(ARM_SCOPE).token
    broken = _get(http, "/arm", token[:-8] + "AAAAAAAA")
    assert (broken.status_code, broken.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")


def test_require_token__audience__decides(azure: Emulator, http: requests.Session) -> None:
    token = _secret_credential().get_token("https://ml.azure.com/.default").token
    refused = _get(http, "/arm", token)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "InvalidAuthenticationTokenAudience")
    assert _get(http, "/ml", token).status_code == 200
    doubled = _secret_credential().get_token("https://management.core.windows.net//.default").token
    assert jwt.parse(doubled).claims["aud"] == "https://management.core.windows.net/"
    assert _get(http, "/arm", doubled).status_code == 200


def test_require_token__past_its_time__is_expired(fake_clock: FakeClock, http: requests.Session) -> None:
    token = _secret_credential().get_token(ARM_SCOPE).token
    fake_clock.advance(entra.TOKEN_LIFETIME_S - 60)
    assert _get(http, "/arm", token).status_code == 200
    fake_clock.advance(120)
    expired = _get(http, "/arm", token)
    assert (expired.status_code, expired.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")


def test_expire_tokens__given_out_so_far__are_refused_and_new_ones_are_not(
    cloud: Cloud, http: requests.Session
) -> None:
    old = _secret_credential().get_token(ARM_SCOPE).token
    entra.expire_tokens(cloud)
    assert _get(http, "/arm", old).json()["error"]["code"] == "ExpiredAuthenticationToken"
    assert _get(http, "/arm", _secret_credential().get_token(ARM_SCOPE).token).status_code == 200


def test_require_token__role__is_asked_per_action_and_scope(cloud: Cloud, http: requests.Session) -> None:
    token = _secret_credential().get_token(ARM_SCOPE).token
    assignments = cloud.state(roles.Assignments)
    assignments.remove_all(world.CLIENT_OBJECT_ID)
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, f"{world.SUBSCRIPTION_SCOPE}/resourceGroups/rg-ml-other")
    refused = _get(http, "/arm", token)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert f"to perform action '{READ}' over scope '{world.WORKSPACE_SCOPE}'" in refused.json()["error"]["message"]
    assignments.assign(world.CLIENT_OBJECT_ID, roles.READER, world.RESOURCE_GROUP_SCOPE.upper())
    assert _get(http, "/arm", token).status_code == 200


@pytest.mark.parametrize(
    ("role", "action", "allowed"),
    [
        (roles.READER, READ, True),
        (roles.READER, "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write", False),
        (roles.DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write", True),
        (roles.DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/computes/read", True),
        (roles.DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/computes/write", False),
        (roles.DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/computes/delete", False),
        (roles.DATA_SCIENTIST, "Microsoft.MachineLearningServices/workspaces/write", False),
        (roles.CONTRIBUTOR, "Microsoft.Authorization/roleAssignments/write", False),
        (roles.OWNER, "Microsoft.Authorization/roleAssignments/write", True),
    ],
)
def test_role__action__is_allowed_as_its_definition_says(role: roles.Role, action: str, allowed: bool) -> None:
    assert role.allows(action) is allowed


def test_aadsts__every_known_row__can_be_produced_on_demand(cloud: Cloud, http: requests.Session, wire: Path) -> None:
    rows = json.loads((wire / "errors" / "real_errors.json").read_text(encoding="utf-8"))["errors"]
    known = [row for row in rows if row["layer"] == "AAD"]
    assert len(known) >= 5
    for row in known:
        [code] = row["payload"]["error_codes"]
        cloud.faults.add(aadsts.on_demand(code), host=entra.HOST, method="POST")
        answer = http.post(f"https://{entra.HOST}/{world.TENANT_ID}/oauth2/v2.0/token")
        assert (row["id"], answer.status_code) == (row["id"], row["http_status"])
        assert answer.json()["error"] == row["payload"]["error"]
        assert answer.json()["error_codes"] == [code]
        assert answer.json()["error_description"].startswith(f"AADSTS{code}: ")
        assert set(row["payload"]) <= set(answer.json())


def test_aadsts__as_a_fault__reaches_the_client_by_its_code(cloud: Cloud) -> None:
    for code, kind in {**aadsts.KINDS, **aadsts.OF_CERTIFICATES}.items():
        if kind.status < 500:
            cloud.faults.add(aadsts.on_demand(code), host=entra.HOST, method="POST")
            assert f"AADSTS{code}: " in _refused(_secret_credential())
