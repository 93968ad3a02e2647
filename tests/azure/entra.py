"""Entra ID: who a caller is. Issues tokens for secrets, certificates and federated assertions, and for IMDS.

What a caller may do is roles.py's; other rooms come here through require_token alone.
"""

from __future__ import annotations

import datetime as dt
import secrets as random_source
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.azure import aadsts, jwt, world
from tests.azure.messages import Refusal, Request, Response
from tests.azure.molds import Mold, misfit, number
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

HOST = "login.microsoftonline.com"
IMDS_HOST = "169.254.169.254"
TOKEN_LIFETIME_S = 3599
# Entra tolerates clocks that differ by this much when it looks at an assertion's times.
CLOCK_SKEW_S = 300
ISSUER = "https://sts.windows.net/{tenant}/"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def _is_audience(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(entry, str) for entry in value))


_CLAIMS: Mold = {"iss": str, "sub": str, "aud": _is_audience, "exp": number, "nbf": number}

room = Room("entra", host=HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    value: str
    expires_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedCredential:
    issuer: str
    subject: str
    audiences: tuple[str, ...] = (world.OIDC_AUDIENCE,)


@dataclass(slots=True, kw_only=True)
class App:
    """An app registration with its service principal."""

    client_id: str
    object_id: str
    name: str
    tenant_id: str = world.TENANT_ID
    enabled: bool = True
    secrets: list[Secret] = field(default_factory=list)
    certificates_pem: list[bytes] = field(default_factory=list)
    federated: list[FederatedCredential] = field(default_factory=list)


def _default_app() -> App:
    return App(
        client_id=world.CLIENT_ID,
        object_id=world.CLIENT_OBJECT_ID,
        name="deployer",
        secrets=[Secret(value=world.CLIENT_SECRET)],
        federated=[
            FederatedCredential(
                issuer=world.OIDC_ISSUER, subject=f"repo:{world.GITHUB_REPOSITORY}:ref:refs/heads/main"
            ),
            FederatedCredential(issuer=world.OIDC_ISSUER, subject=f"repo:{world.GITHUB_REPOSITORY}:pull_request"),
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedIdentity:
    """What IMDS gives tokens for; the first one without a client id in the request is the system-assigned one."""

    client_id: str
    object_id: str
    resource_id: str = ""
    system_assigned: bool = True


@dataclass(slots=True)
class Directory:
    """The room's state: cloud.state(entra.Directory)."""

    tenants: dict[str, str] = field(default_factory=lambda: {world.TENANT_ID: world.TENANT_DOMAIN})
    apps: dict[str, App] = field(default_factory=lambda: {world.CLIENT_ID: _default_app()})
    managed: list[ManagedIdentity] = field(
        default_factory=lambda: [ManagedIdentity(client_id=world.MANAGED_CLIENT_ID, object_id=world.MANAGED_OBJECT_ID)]
    )
    # The resources a token can be asked for, without their trailing slash.
    resources: set[str] = field(
        default_factory=lambda: {
            "https://management.azure.com",
            "https://management.core.windows.net",
            "https://ml.azure.com",
            "https://storage.azure.com",
            "https://graph.microsoft.com",
            "https://vault.azure.net",
        }
    )
    token_lifetime_s: int = TOKEN_LIFETIME_S
    # Tokens of an earlier generation count as expired: see expire_tokens().
    generation: int = 0

    def tenant(self, name: str) -> str | None:
        return next((tid for tid, domain in self.tenants.items() if name.lower() in {tid, domain}), None)


def expire_tokens(cloud: Cloud) -> None:
    """Every token given out so far is from now on refused as expired, whatever its `exp` says."""
    cloud.state(Directory).generation += 1


def issue_token(cloud: Cloud, *, client_id: str, object_id: str, tenant_id: str, audience: str) -> str:
    directory = cloud.state(Directory)
    now_s = cloud.clock.now_s()
    issuer = ISSUER.format(tenant=tenant_id)
    claims = {
        "aud": audience,
        "iss": issuer,
        "iat": int(now_s),
        "nbf": int(now_s),
        "exp": int(now_s) + directory.token_lifetime_s,
        "aio": random_source.token_urlsafe(24),
        "appid": client_id,
        "appidacr": "1",
        "idp": issuer,
        "idtyp": "app",
        "oid": object_id,
        "rh": random_source.token_urlsafe(16),
        "sub": object_id,
        "tid": tenant_id,
        "uti": random_source.token_urlsafe(16),
        "ver": "1.0",
        "xms_generation": directory.generation,
    }
    return cloud.keys.of(ISSUER).sign(claims)


@room.get("/{tenant}/v2.0/.well-known/openid-configuration")
def get_openid_configuration(request: Request, params: Params, cloud: Cloud) -> Response:
    tenant = cloud.state(Directory).tenant(params["tenant"])
    if tenant is None:
        error = aadsts.refusal(90002, cloud.clock, directory=params["tenant"])
        raise Refusal(error)
    base = f"https://{HOST}/{tenant}"
    return Response.json(
        {
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{base}/v2.0",
            "request_uri_parameter_supported": False,
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            "end_session_endpoint": f"{base}/oauth2/v2.0/logout",
            "tenant_region_scope": "NA",
            "cloud_instance_name": "microsoftonline.com",
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": "graph.microsoft.com",
        }
    )


@room.get("/{tenant}/discovery/v2.0/keys")
def get_keys(request: Request, params: Params, cloud: Cloud) -> Response:
    key = cloud.keys.of(ISSUER).jwk()
    return Response.json({"keys": [key | {"issuer": f"https://{HOST}/{params['tenant']}/v2.0"}]})


@room.get("/common/discovery/instance")
def get_instances(request: Request, params: Params, cloud: Cloud) -> Response:
    endpoint = request.query.get("authorization_endpoint", f"https://{HOST}/common/oauth2/v2.0/authorize")
    tenant = endpoint.split("/")[3] if endpoint.count("/") >= 3 else "common"
    aliases = [HOST, "login.windows.net", "login.microsoft.com", "sts.windows.net"]
    return Response.json(
        {
            "tenant_discovery_endpoint": f"https://{HOST}/{tenant}/v2.0/.well-known/openid-configuration",
            "api-version": "1.1",
            "metadata": [
                {"preferred_network": HOST, "preferred_cache": "login.windows.net", "aliases": aliases},
            ],
        }
    )


@room.post("/{tenant}/oauth2/v2.0/token")
@room.post("/{tenant}/oauth2/token")
def post_token(request: Request, params: Params, cloud: Cloud) -> Response:
    directory, form = cloud.state(Directory), request.form()
    tenant = directory.tenant(params["tenant"])
    if tenant is None:
        raise _refused(cloud, 90002, directory=params["tenant"])
    for parameter in ("grant_type", "client_id"):
        if not form.get(parameter):
            raise _refused(cloud, 900144, parameter=parameter)
    if form["grant_type"] != "client_credentials":
        raise _refused(cloud, 70003, grant=form["grant_type"])
    app = directory.apps.get(form["client_id"].lower())
    if app is None or app.tenant_id != tenant:
        raise _refused(cloud, 700016, app=form["client_id"], directory=directory.tenants[tenant])
    if not app.enabled:
        raise _refused(cloud, 7000112, app=app.client_id, name=app.name)
    audience = _audience(cloud, form, tenant)
    _check_credential(cloud, app, form)
    token = issue_token(cloud, client_id=app.client_id, object_id=app.object_id, tenant_id=tenant, audience=audience)
    lifetime_s = directory.token_lifetime_s
    body: dict[str, Any] = {
        "token_type": "Bearer",
        "expires_in": lifetime_s,
        "ext_expires_in": lifetime_s,
        "access_token": token,
    }
    return Response.json(body, headers=dict(aadsts.headers(cloud.new_id())))


def _refused(cloud: Cloud, code: int, **named: str) -> Refusal:
    return Refusal(aadsts.refusal(code, cloud.clock, **named))


def _audience(cloud: Cloud, form: dict[str, str], tenant: str) -> str:
    """The `aud` of the token: the scope without `/.default`, which leaves a resource's own trailing slash standing."""
    scope = form.get("scope", "")
    if not scope and "resource" in form:
        resource = form["resource"]
    elif scope.endswith("/.default"):
        resource = scope.removesuffix("/.default")
    else:
        raise _refused(cloud, 1002012, scope=scope)
    directory = cloud.state(Directory)
    if resource.rstrip("/") not in directory.resources:
        raise _refused(cloud, 500011, resource=resource, directory=directory.tenants[tenant])
    return resource


def _check_credential(cloud: Cloud, app: App, form: dict[str, str]) -> None:
    if "client_secret" in form:
        _check_secret(cloud, app, form["client_secret"])
        return
    if form.get("client_assertion_type") != _ASSERTION_TYPE or not form.get("client_assertion"):
        raise _refused(cloud, 7000216)
    try:
        token = jwt.parse(form["client_assertion"])
    except jwt.BadToken:
        raise _refused(cloud, 50027) from None
    if misfit(token.claims, _CLAIMS) or misfit(token.header, {"x5t": str, "x5t#S256": str, "kid": str}):
        raise _refused(cloud, 50027)
    if token.claims.get("iss") == app.client_id:
        _check_certificate(cloud, app, token)
    else:
        _check_federated(cloud, app, token)


def _check_secret(cloud: Cloud, app: App, value: str) -> None:
    now_s = cloud.clock.now_s()
    known = [secret for secret in app.secrets if secret.value == value]
    if not known:
        raise _refused(cloud, 7000215, app=app.client_id)
    if all(secret.expires_s is not None and secret.expires_s <= now_s for secret in known):
        raise _refused(cloud, 7000222, app=app.client_id)


def _check_times(cloud: Cloud, token: jwt.Token) -> None:
    now_s = cloud.clock.now_s()
    expires_s, valid_from_s = float(token.claims.get("exp") or 0), float(token.claims.get("nbf") or 0)
    if now_s > expires_s + CLOCK_SKEW_S or now_s < valid_from_s - CLOCK_SKEW_S:
        raise _refused(cloud, 700024, now=_moment(now_s), valid_from=_moment(valid_from_s), expires=_moment(expires_s))


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _check_certificate(cloud: Cloud, app: App, token: jwt.Token) -> None:
    presented = _thumbprint(token)
    for pem in app.certificates_pem:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        # A SHA-1 thumbprint is what `x5t` means; it identifies and protects nothing.
        if presented in {certificate.fingerprint(hashes.SHA256()), certificate.fingerprint(hashes.SHA1())}:
            try:
                jwt.check(token, key)
            except jwt.BadToken:
                break
            _check_realm(cloud, app, token)
            now = dt.datetime.fromtimestamp(cloud.clock.now_s(), dt.UTC)
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                raise _refused(cloud, 1000502)
            _check_times(cloud, token)
            return
    raise _refused(cloud, 700027, thumbprint=presented.hex().upper())


def _check_realm(cloud: Cloud, app: App, token: jwt.Token) -> None:
    """The assertion is made for this tenant's token endpoint, or for its issuer: one for another is no use here."""
    audience = str(token.claims.get("aud", ""))
    names = (app.tenant_id, cloud.state(Directory).tenants[app.tenant_id])
    ends = ("v2.0", "oauth2/v2.0/token", "oauth2/token")
    if audience.rstrip("/").lower() not in {f"https://{HOST}/{name}/{end}" for name in names for end in ends}:
        raise _refused(cloud, 700023)


def _thumbprint(token: jwt.Token) -> bytes:
    """MSAL pads what RFC 7515 would have unpadded."""
    try:
        return jwt.decode_part(str(token.header.get("x5t#S256") or token.header.get("x5t", "")).rstrip("="))
    except jwt.BadToken:
        return b""


def _check_federated(cloud: Cloud, app: App, token: jwt.Token) -> None:
    issuer, subject = str(token.claims.get("iss", "")), str(token.claims.get("sub", ""))
    audiences = token.claims.get("aud", "")
    audience = audiences if isinstance(audiences, str) else ",".join(audiences)
    if not app.federated:
        raise _refused(cloud, 70025, app=app.client_id, name=app.name)
    of_issuer = [credential for credential in app.federated if credential.issuer == issuer]
    if not of_issuer:
        raise _refused(cloud, 700211, issuer=issuer)
    of_subject = [credential for credential in of_issuer if credential.subject == subject]
    if not of_subject:
        near = [entry.subject for entry in of_issuer if entry.subject.lower() == subject.lower()]
        if near:
            raise _refused(cloud, 7002138, subject=subject, registered=near[0])
        raise _refused(cloud, 700213, subject=subject)
    if not any(audience in credential.audiences for credential in of_subject):
        raise _refused(cloud, 700212, audience=audience)
    try:
        jwt.check(token, cloud.keys.of(issuer).public)
    except jwt.BadToken:
        raise _refused(cloud, 700027, thumbprint=str(token.header.get("kid", ""))) from None
    _check_times(cloud, token)


@room.route("GET", "/metadata/identity/oauth2/token", host=IMDS_HOST, scheme="http")
def get_managed_token(request: Request, params: Params, cloud: Cloud) -> Response:
    """The instance metadata service. Without its `Metadata` header it refuses, which azure-identity uses as a probe."""
    directory, query = cloud.state(Directory), request.query
    if request.headers.get("Metadata").lower() != "true":
        raise Refusal(_imds_error("invalid_request", "Required metadata header not specified"))
    if not query.get("resource"):
        raise Refusal(_imds_error("invalid_request", "Required query variable 'resource' is missing"))
    identity = _managed_identity(directory, query)
    if identity is None:
        raise Refusal(_imds_error("invalid_request", "Identity not found"))
    if query["resource"].rstrip("/") not in directory.resources:
        raise Refusal(
            _imds_error(
                "invalid_resource",
                f"AADSTS500011: The resource principal named {query['resource']} was not found in the tenant named {world.TENANT_DOMAIN}.",
            )
        )
    token = issue_token(
        cloud,
        client_id=identity.client_id,
        object_id=identity.object_id,
        tenant_id=world.TENANT_ID,
        audience=query["resource"],
    )
    now_s = int(cloud.clock.now_s())
    # All numbers are strings here.
    return Response.json(
        {
            "access_token": token,
            "client_id": identity.client_id,
            "expires_in": str(directory.token_lifetime_s),
            "expires_on": str(now_s + directory.token_lifetime_s),
            "ext_expires_in": str(directory.token_lifetime_s),
            "not_before": str(now_s),
            "resource": query["resource"],
            "token_type": "Bearer",
        }
    )


def _imds_error(code: str, text: str) -> Response:
    return Response.json({"error": code, "error_description": text}, status=400)


def _managed_identity(directory: Directory, query: dict[str, str]) -> ManagedIdentity | None:
    wanted = {
        "client_id": query.get("client_id", ""),
        "object_id": query.get("object_id", "") or query.get("principal_id", ""),
        "resource_id": query.get("msi_res_id", "") or query.get("mi_res_id", ""),
    }
    if not any(wanted.values()):
        return next((entry for entry in directory.managed if entry.system_assigned), None)
    return next(
        (
            entry
            for entry in directory.managed
            if all(not value or getattr(entry, name).lower() == value.lower() for name, value in wanted.items())
        ),
        None,
    )
