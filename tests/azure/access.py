"""The check every room makes first: a valid token, for this audience, of someone who may do this."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from tests.azure import jwt
from tests.azure.entra import ISSUER, Directory
from tests.azure.messages import Refusal, Request, Response
from tests.azure.roles import Assignments
from tests.azure.state import Cloud

# Audiences are compared without their trailing slash: azure-identity and azureml-core differ in it, and Azure takes both.
ARM = ("https://management.core.windows.net", "https://management.azure.com")
# The regional hosts (*.api.azureml.ms) take ARM's tokens as well: azureml-core sends them nothing else.
MACHINE_LEARNING = (*ARM, "https://ml.azure.com")
STORAGE = ("https://storage.azure.com",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    object_id: str
    client_id: str
    tenant_id: str


class Denied(Refusal):
    """ARM's refusal; a room whose errors have another shape catches it and says `code` and `message` in its own."""

    def __init__(self, status: int, code: str, message: str, challenge: str = "") -> None:
        headers = {"WWW-Authenticate": challenge} if challenge else {}
        super().__init__(Response.json({"error": {"code": code, "message": message}}, status=status, headers=headers))
        self.status, self.code, self.message = status, code, message


def _unauthenticated(code: str, message: str, description: str, tenant: str = "") -> Denied:
    challenge = (
        f'Bearer authorization_uri="https://login.windows.net/{tenant}", error="invalid_token", '
        f'error_description="{description}"'
    )
    return Denied(401, code, message, challenge)


def require_token(
    request: Request,
    cloud: Cloud,
    *,
    audience: tuple[str, ...] = ARM,
    action: str | None = None,
    scope: str | None = None,
) -> Caller:
    """The caller, or a Denied: 401 for the token itself, 403 when no role allows `action` on `scope`."""
    scheme, _, text = request.headers.get("Authorization").partition(" ")
    if not text:
        raise _unauthenticated(
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is missing.",
            "The authentication failed because of missing 'Authorization' header.",
        )
    if scheme.lower() != "bearer":
        raise _unauthenticated(
            "AuthenticationFailed",
            "Authentication failed. The 'Authorization' header is provided in an invalid format.",
            "The authentication scheme is not supported.",
        )
    caller = _caller(cloud, text.strip(), audience)
    if action is not None:
        assert scope is not None, "an action is allowed on a scope"
        require_role(cloud, caller, action=action, scope=scope)
    return caller


def _caller(cloud: Cloud, text: str, audience: tuple[str, ...]) -> Caller:
    try:
        token = jwt.parse(text)
        jwt.check(token, cloud.keys.of(ISSUER).public)
    except jwt.BadToken:
        raise _unauthenticated(
            "InvalidAuthenticationToken", "The access token is invalid.", "The access token is invalid."
        ) from None
    claims, directory = token.claims, cloud.state(Directory)
    now_s = cloud.clock.now_s()
    if str(claims["aud"]).rstrip("/") not in audience:
        allowed = ",".join(f"'{name}/','{name}'" for name in audience)
        raise _unauthenticated(
            "InvalidAuthenticationTokenAudience",
            f"The access token has been obtained for wrong audience or resource '{claims['aud']}'. It should exactly match with one of the allowed audiences {allowed}.",
            "The access token has been obtained for wrong audience or resource.",
        )
    if now_s >= claims["exp"] or claims["xms_generation"] < directory.generation:
        expired_s = min(float(claims["exp"]), now_s)
        raise _unauthenticated(
            "ExpiredAuthenticationToken",
            f"The access token expiry UTC time '{_american(expired_s)}' is earlier than current UTC time '{_american(now_s)}'.",
            "The access token has expired.",
            tenant=str(claims["tid"]),
        )
    return Caller(object_id=claims["oid"], client_id=claims["appid"], tenant_id=claims["tid"])


def _american(seconds: float) -> str:
    """ARM writes times in this one message as `8/20/2024 4:48:47 PM`."""
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    hour = moment.hour % 12 or 12
    return f"{moment.month}/{moment.day}/{moment.year} {hour}:{moment:%M:%S} {'AM' if moment.hour < 12 else 'PM'}"


def require_role(cloud: Cloud, caller: Caller, *, action: str, scope: str) -> None:
    if cloud.state(Assignments).is_allowed(caller.object_id, action, scope):
        return
    raise Denied(
        403,
        "AuthorizationFailed",
        f"The client '{caller.client_id}' with object id '{caller.object_id}' does not have authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials.",
    )
