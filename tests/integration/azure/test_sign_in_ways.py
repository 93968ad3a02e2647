"""Each way to sign in, with the real azure-identity: who signs in, what is asked, and which hosts are met."""

from __future__ import annotations

import base64
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from mlaz_ci.adapters.identity import check_subscription, v1_authentication
from mlaz_ci.errors import InvalidInput, ManagedIdentityNotFound
from mlaz_ci.models import Secret, SignIn
from tests.azure import entra, faults, github, jwt, world
from tests.azure.server import Emulator
from tests.azure.state import Cloud as AzureState
from tests.fakes.platform import RecordingPlatform
from tests.integration.azure import sovereign
from tests.integration.azure.conftest import FEDERATED, SECRET, SELF_HOSTED, CloudClock, SignInAs

ARM_SCOPE = "https://management.azure.com/.default"


def _claims(token: str) -> dict[str, object]:
    return jwt.parse(token).claims


def test_client_secret__right__gives_a_token_that_arm_takes(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock
) -> None:
    credential = sign_in_as(SECRET)
    assert check_subscription(credential, world.SUBSCRIPTION_ID, clock).name == "Contoso"
    assert _claims(credential.get_token(ARM_SCOPE).token)["appid"] == world.CLIENT_ID
    assert azure.cloud.trace.hosts() == {entra.HOST, "management.azure.com"}
    assert [each.path for each in azure.cloud.trace.find(host=entra.HOST)] == [
        f"/{world.TENANT_ID}/v2.0/.well-known/openid-configuration",
        f"/{world.TENANT_ID}/oauth2/v2.0/token",
    ]


def test_oidc__subject_of_the_main_branch__gives_a_token_that_arm_takes(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, platform: RecordingPlatform
) -> None:
    credential = sign_in_as(FEDERATED)
    assert check_subscription(credential, world.SUBSCRIPTION_ID, clock).id == world.SUBSCRIPTION_ID
    assert azure.cloud.trace.hosts() == {world.OIDC_HOST, entra.HOST, "management.azure.com"}
    [asked] = azure.cloud.trace.find(host=world.OIDC_HOST)
    assert asked.query == {"api-version": "2.0", "audience": world.OIDC_AUDIENCE}
    value = json.loads(asked.response_body)["value"]
    [sent] = azure.cloud.trace.find(host=entra.HOST, method="POST")
    assert parse_qs(sent.request_body.decode())["client_assertion"] == [value]
    platform.info(f"{value} {world.OIDC_REQUEST_TOKEN} {credential.get_token(ARM_SCOPE).token}")
    assert platform.lines == ["*** *** ***"]


def test_oidc__audience_given__is_the_one_asked_for(azure: Emulator, cloud: AzureState, sign_in_as: SignInAs) -> None:
    audience = "api://contoso deploys/ü&x=1"
    app = cloud.state(entra.Directory).apps[world.CLIENT_ID]
    subject = f"repo:{world.GITHUB_REPOSITORY}:ref:refs/heads/main"
    app.federated = [entra.FederatedCredential(issuer=world.OIDC_ISSUER, subject=subject, audiences=(audience,))]
    given = SignIn(client_id=world.CLIENT_ID, tenant_id=world.TENANT_ID, audience=audience)
    assert sign_in_as(given).get_token(ARM_SCOPE).token
    [asked] = azure.cloud.trace.find(host=world.OIDC_HOST)
    assert asked.query["audience"] == audience


def test_oidc__immutable_subject_with_its_own_credential__gives_a_token(
    cloud: AzureState, sign_in_as: SignInAs
) -> None:
    cloud.state(github.GitHub).repository().immutable_subject = True
    cloud.state(entra.Directory).apps[world.CLIENT_ID].federated.append(
        entra.FederatedCredential(
            issuer=world.OIDC_ISSUER, subject="repo:contoso@123456/churn@456789:ref:refs/heads/main"
        )
    )
    assert sign_in_as(FEDERATED).get_token(ARM_SCOPE).token


@pytest.mark.parametrize(
    "fault",
    [
        faults.html_error(502, "<html><body>Bad gateway: error</body></html>"),
        faults.Reset(),
        faults.json_error(429, {}, headers={"Retry-After": "7"}),
    ],
    ids=["html-502", "reset", "429"],
)
def test_oidc__token_endpoint_fails_twice__is_asked_again_after_a_pause(
    cloud: AzureState, sign_in_as: SignInAs, clock: CloudClock, fault: faults.Fault
) -> None:
    cloud.faults.add(fault, host=world.OIDC_HOST, times=2)
    began_s = clock.now_s()
    assert sign_in_as(FEDERATED).get_token(ARM_SCOPE).token
    assert not cloud.faults.unused()
    assert 1.5 <= clock.now_s() - began_s <= 14


def _certificate() -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
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
    return certificate, key


def _pem(certificate: x509.Certificate, key: rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return certificate.public_bytes(serialization.Encoding.PEM) + private


@pytest.mark.parametrize("form", ["pem", "pem-path", "encrypted-pem", "pfx-base64", "pfx-path"])
def test_certificate__registered__gives_a_token(
    cloud: AzureState, sign_in_as: SignInAs, tmp_path: Path, form: str
) -> None:
    certificate, key = _certificate()
    app = cloud.state(entra.Directory).apps[world.CLIENT_ID]
    app.certificates_pem.append(certificate.public_bytes(serialization.Encoding.PEM))
    password = b"pass" if form in {"encrypted-pem", "pfx-base64"} else None
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pfx = pkcs12.serialize_key_and_certificates(b"deployer", key, certificate, None, encryption)
    content = pfx if form.startswith("pfx") else _pem(certificate, key, password)
    path = tmp_path / "certificate"
    path.write_bytes(content)
    texts = {"pem-path": str(path), "pfx-path": str(path), "pfx-base64": base64.b64encode(content).decode()}
    given = SignIn(
        client_id=world.CLIENT_ID,
        tenant_id=world.TENANT_ID,
        client_certificate=Secret(texts.get(form) or content.decode()),
        client_certificate_password=Secret(password.decode()) if password else None,
    )
    assert _claims(sign_in_as(given).get_token(ARM_SCOPE).token)["oid"] == world.CLIENT_OBJECT_ID


@pytest.mark.parametrize("form", ["words", "no-key", "wrong-password", "no-such-path", "base64-of-words"])
def test_certificate__unreadable__is_told_without_a_byte_of_it(
    azure: Emulator, sign_in_as: SignInAs, form: str
) -> None:
    certificate, key = _certificate()
    text = {
        "words": "canary certificate words",
        "no-key": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "wrong-password": _pem(certificate, key, b"right").decode(),
        "no-such-path": "/canary/none.pem",
        "base64-of-words": base64.b64encode(b"canary certificate words").decode(),
    }[form]
    given = SignIn(
        client_id=world.CLIENT_ID,
        tenant_id=world.TENANT_ID,
        client_certificate=Secret(text),
        client_certificate_password=Secret("canary-password") if form == "wrong-password" else None,
    )
    with pytest.raises(InvalidInput) as raised:
        sign_in_as(given).get_token(ARM_SCOPE)
    assert "certificate" in raised.value.what
    told = f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert not any(piece in told for piece in ["canary", text[:40], text[-100:-40] or text])
    assert len(azure.cloud.trace) == 0


def test_managed_identity__self_hosted_without_oidc__system_and_user_assigned(
    azure: Emulator, cloud: AzureState, sign_in_as: SignInAs
) -> None:
    own = sign_in_as(SignIn(), SELF_HOSTED).get_token(ARM_SCOPE)
    assert _claims(own.token)["oid"] == world.MANAGED_OBJECT_ID
    client_id = "88888888-8888-4888-8888-888888888888"
    cloud.state(entra.Directory).managed.append(
        entra.ManagedIdentity(client_id=client_id, object_id="oid-1", system_assigned=False)
    )
    named = sign_in_as(SignIn(client_id=client_id), SELF_HOSTED).get_token(ARM_SCOPE)
    assert _claims(named.token)["oid"] == "oid-1"
    assert azure.cloud.trace.hosts() == {entra.IMDS_HOST}


def test_managed_identity__not_assigned_here__is_told(sign_in_as: SignInAs) -> None:
    client_id = "99999999-9999-4999-8999-999999999999"
    with pytest.raises(ManagedIdentityNotFound) as raised:
        sign_in_as(SignIn(client_id=client_id), SELF_HOSTED).get_token(ARM_SCOPE)
    assert client_id in raised.value.what
    assert "Identity not found" in raised.value.what
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    "fault",
    [faults.Reset(), faults.html_error(502, "<html><body>Bad gateway: error</body></html>")],
    ids=["reset", "proxy"],
)
def test_managed_identity__metadata_service_is_not_there__fails_after_two_requests(
    azure: Emulator, cloud: AzureState, sign_in_as: SignInAs, fault: faults.Fault
) -> None:
    cloud.faults.add(fault, host=entra.IMDS_HOST, times=None)
    with pytest.raises(ManagedIdentityNotFound, match="does not answer here") as raised:
        sign_in_as(SignIn(), {}).get_token(ARM_SCOPE)
    assert "`permissions: id-token: write`" in raised.value.remedy_text
    assert len(azure.cloud.trace) == 2


@pytest.mark.parametrize("facts", [sovereign.US_GOVERNMENT, sovereign.CHINA], ids=lambda facts: facts.name)
@pytest.mark.parametrize("given", [SECRET, FEDERATED], ids=["secret", "oidc"])
def test_other_clouds__each_way__meets_the_hosts_and_audiences_of_that_cloud_alone(
    azure: Emulator, sign_in_as: SignInAs, clock: CloudClock, facts: sovereign.Sovereign, given: SignIn
) -> None:
    sovereign.open_to(azure.cloud, facts)
    credential = sign_in_as(given, cloud=facts.name)
    assert check_subscription(credential, world.SUBSCRIPTION_ID, clock).tenant_id == world.TENANT_ID
    assert credential.facts.v1_scope == f"https://{facts.v1}//.default"
    header = v1_authentication(credential).get_authentication_header()["Authorization"]
    assert _claims(header.removeprefix("Bearer "))["aud"] == f"https://{facts.v1}/"
    runner = {world.OIDC_HOST} if given is FEDERATED else set()
    assert azure.cloud.trace.hosts() == {facts.authority, facts.arm} | runner


def test_import__of_the_room__brings_no_client_of_azure() -> None:
    program = (
        "import sys; import mlaz_ci.adapters.identity; "
        "print([name for name in sys.modules if name.split('.')[0] in {'azure', 'azureml', 'msal', 'requests', 'cryptography'}])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert told.stdout.strip() == "[]"
