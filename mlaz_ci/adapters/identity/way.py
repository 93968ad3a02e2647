"""Which way to sign in, decided from what was given and what the runner offers. Pure: nothing is asked, nothing imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlaz_ci.errors import ConflictingInputs, IdTokenPermissionMissing, MissingInput
from mlaz_ci.models import Secret, SignIn

_REQUEST_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
_REQUEST_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


@dataclass(frozen=True, kw_only=True, slots=True)
class ByClientSecret:
    client_id: str
    tenant_id: str
    client_secret: Secret

    @property
    def label(self) -> str:
        return f"application {self.client_id} of tenant {self.tenant_id}, by its client secret"


@dataclass(frozen=True, kw_only=True, slots=True)
class ByCertificate:
    client_id: str
    tenant_id: str
    certificate: Secret
    password: Secret | None

    @property
    def label(self) -> str:
        return f"application {self.client_id} of tenant {self.tenant_id}, by its certificate"


@dataclass(frozen=True, kw_only=True, slots=True)
class ByFederation:
    """OIDC: the runner's token endpoint vouches for the job."""

    client_id: str
    tenant_id: str
    audience: str
    request_url: str
    request_token: Secret

    @property
    def label(self) -> str:
        return f"application {self.client_id} of tenant {self.tenant_id}, by the runner's OIDC token"


@dataclass(frozen=True, kw_only=True, slots=True)
class ByManagedIdentity:
    """`client_id` None: the machine's system-assigned identity, or its only one."""

    client_id: str | None

    @property
    def label(self) -> str:
        return (
            f"the machine's managed identity {self.client_id}" if self.client_id else "the machine's managed identity"
        )


Way = ByClientSecret | ByCertificate | ByFederation | ByManagedIdentity


def choose_way(given: SignIn, environ: Mapping[str, str], *, default_audience: str) -> Way:
    """Raises ConflictingInputs, MissingInput, IdTokenPermissionMissing."""
    if given.client_secret and given.client_certificate:
        raise ConflictingInputs("A client secret and a client certificate were both given to sign in to Azure.")
    if given.client_secret:
        client_id, tenant_id = _application(given, "a client secret")
        return ByClientSecret(client_id=client_id, tenant_id=tenant_id, client_secret=given.client_secret)
    if given.client_certificate:
        client_id, tenant_id = _application(given, "a client certificate")
        return ByCertificate(
            client_id=client_id,
            tenant_id=tenant_id,
            certificate=given.client_certificate,
            password=given.client_certificate_password,
        )
    url, token = environ.get(_REQUEST_URL, ""), environ.get(_REQUEST_TOKEN, "")
    if url and token:
        client_id, tenant_id = _application(given, "the runner's OIDC token")
        return ByFederation(
            client_id=client_id,
            tenant_id=tenant_id,
            audience=given.audience or default_audience,
            request_url=url,
            request_token=Secret(token),
        )
    _check_meant(given, environ)
    return ByManagedIdentity(client_id=given.client_id)


def _application(given: SignIn, by: str) -> tuple[str, str]:
    if given.client_id and given.tenant_id:
        return given.client_id, given.tenant_id
    missing = [
        name for name, value in (("client-id", given.client_id), ("tenant-id", given.tenant_id)) if value is None
    ]
    names = " and ".join(f"`{name}`" for name in missing)
    raise MissingInput(f"Signing in to Azure by {by} needs {names} too.")


def _check_meant(given: SignIn, environ: Mapping[str, str]) -> None:
    """A managed identity knows its own tenant: who names one on a runner means OIDC, and so does who runs on GitHub's own."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return
    if given.tenant_id is None and environ.get("RUNNER_ENVIRONMENT") == "self-hosted":
        return
    raise IdTokenPermissionMissing(
        "No secret was given to sign in to Azure with, and the job cannot ask for an OIDC token: "
        f"{_REQUEST_URL} and {_REQUEST_TOKEN} are not set. The job lacks `permissions: id-token: write`."
    )
