"""Entra ID's refusals by AADSTS code, with their OAuth error, HTTP status and body shape."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from tests.azure import faults
from tests.azure.clock import Clock, RealClock, utc
from tests.azure.messages import Headers, Response

_HELP = "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`text` is a template; what a caller leaves unnamed stays as `{name}`."""

    code: int
    error: str
    status: int
    text: str


def _kind(code: int, error: str, status: int, text: str) -> tuple[int, Kind]:
    return code, Kind(code=code, error=error, status=status, text=text)


_NO_RECORD = "No matching federated identity record found for presented assertion"
_CHECK = "Check your federated identity credential Subject, Audience and Issuer against the presented assertion."

KINDS = dict(
    [
        _kind(
            7000215,
            "invalid_client",
            401,
            "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'.",
        ),
        _kind(
            7000222,
            "invalid_client",
            401,
            "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds.",
        ),
        _kind(
            7000216,
            "invalid_client",
            401,
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
        ),
        _kind(
            700016,
            "unauthorized_client",
            400,
            "Application with identifier '{app}' was not found in the directory '{directory}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.",
        ),
        _kind(
            7000112,
            "unauthorized_client",
            400,
            "Application '{app}'({name}) is disabled.",
        ),
        _kind(
            70021,
            "invalid_client",
            401,
            _NO_RECORD
            + ". Assertion Issuer: '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. "
            + _HELP,
        ),
        _kind(700211, "invalid_client", 401, _NO_RECORD + " issuer '{issuer}'. " + _CHECK + " " + _HELP),
        _kind(700212, "invalid_client", 401, _NO_RECORD + " audience '{audience}'. " + _CHECK + " " + _HELP),
        _kind(700213, "invalid_client", 401, _NO_RECORD + " subject '{subject}'. " + _CHECK + " " + _HELP),
        _kind(
            7002138,
            "invalid_client",
            401,
            _NO_RECORD
            + " subject '{subject}'. The subject matches '{registered}' in all but the case of its letters, and matching is case-sensitive. "
            + _HELP,
        ),
        _kind(
            70025, "invalid_client", 401, "The client '{app}'({name}) has no configured federated identity credentials."
        ),
        _kind(
            700024,
            "invalid_client",
            401,
            "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {valid_from}, expiry time of assertion {expires}. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
        ),
        _kind(
            700027,
            "invalid_client",
            401,
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}'].",
        ),
        _kind(
            50027,
            "invalid_request",
            400,
            "JWT token is invalid or malformed.",
        ),
        _kind(
            90002,
            "invalid_request",
            400,
            "Tenant '{directory}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.",
        ),
        _kind(900144, "invalid_request", 400, "The request body must contain the following parameter: '{parameter}'."),
        _kind(
            70003,
            "unsupported_grant_type",
            400,
            "The app requested an unsupported grant type '{grant}'.",
        ),
        _kind(
            1002012,
            "invalid_scope",
            400,
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).",
        ),
        _kind(
            500011,
            "invalid_resource",
            400,
            "The resource principal named {resource} was not found in the tenant named {directory}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.",
        ),
        _kind(
            90033,
            "temporarily_unavailable",
            503,
            "A transient error has occurred. Please try again.",
        ),
    ]
)
# What a certificate's assertion alone can meet; who signs in by secret or OIDC never does.
OF_CERTIFICATES = dict(
    [
        _kind(
            1000502,
            "invalid_client",
            401,
            "The provided certificate is not within its specified validity window.",
        ),
        _kind(
            700023,
            "invalid_client",
            401,
            "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
        ),
    ]
)


class _Named(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "{" + name + "}"


def refusal(code: int, clock: Clock, **named: str) -> Response:
    """The answer of the token endpoint for one of KINDS or OF_CERTIFICATES."""
    kind = KINDS.get(code) or OF_CERTIFICATES[code]
    trace_id, correlation_id = str(uuid.uuid4()), str(uuid.uuid4())
    timestamp = utc(clock).strftime("%Y-%m-%d %H:%M:%SZ")
    text = f"AADSTS{code}: {kind.text.format_map(_Named(named))}"
    body = {
        "error": kind.error,
        "error_description": f"{text} Trace ID: {trace_id} Correlation ID: {correlation_id} Timestamp: {timestamp}",
        "error_codes": [code],
        "timestamp": timestamp,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }
    return Response.json(body, status=kind.status, headers=dict(headers(trace_id)))


def headers(request_id: str) -> Headers:
    return Headers(
        {
            "Cache-Control": "no-store, no-cache",
            "Pragma": "no-cache",
            "Expires": "-1",
            "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
            "X-Content-Type-Options": "nosniff",
            "x-ms-request-id": request_id,
        }
    )


def on_demand(code: int, **named: str) -> faults.Answer:
    """The refusal as a fault: cloud.faults.add(aadsts.on_demand(700024), host=entra.HOST, method="POST")."""
    return faults.Answer(response=lambda _: refusal(code, RealClock(), **named))
