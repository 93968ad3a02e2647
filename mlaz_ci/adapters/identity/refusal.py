"""Turns what azure-identity raises into the catalogue: by AADSTS code where Entra gave one, by its transport's failures elsewhere.

The one reader of their texts. https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlaz_ci.adapters.identity.answer import LastAnswer
from mlaz_ci.adapters.identity.assertion import Assertions
from mlaz_ci.adapters.identity.clouds import CloudFacts
from mlaz_ci.adapters.identity.subject import advise_credential, explain_mismatch
from mlaz_ci.adapters.identity.way import ByCertificate, ByClientSecret, ByFederation, ByManagedIdentity, Way
from mlaz_ci.errors import (
    ApplicationDisabled,
    ApplicationNotInTenant,
    AssertionExpired,
    AzureApiNotInTenant,
    AzureUnreachable,
    Bug,
    ClientCertificateRefused,
    ClientSecretExpired,
    ClientSecretInvalid,
    ConditionalAccessDenied,
    FederatedCredentialMismatch,
    FederatedCredentialMissing,
    ManagedIdentityNotFound,
    MlazError,
    SignInRefused,
    TenantNotFound,
)
from mlaz_ci.report.text import clip, one_line

_AADSTS: Final = re.compile(r"AADSTS(\d+)")
_CORRELATION: Final = re.compile(r"Correlation ID: ([0-9a-fA-F-]{36})")
_TRANSIENT_STATUS: Final = frozenset({408, 429, *range(500, 600)})
_MESSAGE_CHARS: Final = 1_500
_KEY_UNKNOWN: Final = 700027

_USER = "A person's account was named, and what signs in here is an application or a managed identity."
_USER_REMEDY = "Pass the Application (client) ID and the Directory (tenant) ID from the application's overview page."


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """What one code means: its class, and words of its own where the class is wider than the code."""

    kind: type[MlazError]
    usually: str | None = None
    remedy: str | None = None


def _same(
    kind: type[MlazError], *codes: int, usually: str | None = None, remedy: str | None = None
) -> dict[int, _Reading]:
    return dict.fromkeys(codes, _Reading(kind=kind, usually=usually, remedy=remedy))


_READINGS: Final[Mapping[int, _Reading]] = {
    **_same(ClientSecretInvalid, 7000215),
    **_same(ClientSecretExpired, 7000222),
    **_same(ClientCertificateRefused, _KEY_UNKNOWN, 700030),
    **_same(ApplicationNotInTenant, 700016),
    **_same(
        ApplicationNotInTenant,
        7000229,
        usually="The application exists, and the tenant has no service principal for it.",
        remedy="Run `az ad sp create --id CLIENT-ID` in that tenant, as someone who may, or check `tenant-id`.",
    ),
    **_same(ApplicationDisabled, 7000112),
    **_same(TenantNotFound, 90002, 900023),
    **_same(FederatedCredentialMissing, 70025),
    **_same(FederatedCredentialMismatch, 70021, 700211, 700212, 700213, 7002138),
    **_same(AssertionExpired, 700024),
    **_same(
        SignInRefused,
        50027,
        usually="Entra could not read the assertion as a signed token.",
        remedy="Run the job again; if it stays so, check what stands between the runner and Entra (a proxy that changes requests).",
    ),
    **_same(
        SignInRefused,
        700025,
        usually="The application is registered as a public client, which can have no credential of its own.",
        remedy="Turn off public client flows (App registrations, Authentication), or use an application of its own for deploying.",
    ),
    **_same(SignInRefused, 50020, 50034, 51004, usually=_USER, remedy=_USER_REMEDY),
    **_same(ConditionalAccessDenied, 50076, 50079, 50158, 53000, 53001, 53002, 53003, 53004, 530002, 530003),
    **_same(AzureApiNotInTenant, 500011, 500014),
    **_same(AzureUnreachable, 90006, 90033),
}

_FOREIGN_KEY: Final = _Reading(
    kind=FederatedCredentialMismatch,
    usually="The issuer that the federated credential trusts does not know the key that signed the runner's token.",
    remedy="Check the credential's issuer: for GitHub it is https://token.actions.githubusercontent.com, an enterprise or a GitHub Enterprise Server has its own.",
)


class Refusals:
    """Reads failures of one way to sign in."""

    def __init__(self, way: Way, facts: CloudFacts, assertions: Assertions | None, last_answer: LastAnswer) -> None:
        self._way = way
        self._facts = facts
        self._assertions = assertions
        self._last_answer = last_answer

    def read(self, error: BaseException) -> MlazError:
        """The failure in the catalogue's words, without any secret."""
        chain = list(_chain(error))
        answer = self._last_answer.take()
        texts = [*map(_text, chain), *([answer.text] if answer else [])]
        sentence = next((found for text in texts if (found := _entra_sentence(text))), None)
        is_transient = any(map(_is_transient, chain)) or (answer is not None and answer.status in _TRANSIENT_STATUS)
        if sentence is not None:
            return self._refused(sentence, is_transient=is_transient)
        told = f"HTTP {answer.status} {answer.text}" if answer else texts[0]
        shown = f"({self._way.label}): {self._shown(told)}"
        if is_transient:
            return AzureUnreachable(f"Azure could not be asked for a token {shown}")
        if answer is None and not any(map(_is_foreseen, chain)):
            return Bug(f"Signing in to Azure failed in a way that was not foreseen {shown}")
        if isinstance(self._way, ByManagedIdentity):
            return ManagedIdentityNotFound(f"There is no token to be had {shown}")
        if answer and not answer.is_json:
            return AzureUnreachable(f"What answered a request for a token was not Entra ID {shown}")
        return SignInRefused(f"Signing in did not work {shown}")

    def _refused(self, sentence: str, *, is_transient: bool) -> MlazError:
        found = _AADSTS.search(sentence)
        assert found is not None, "a sentence of Entra's begins with its code"
        code = int(found[1])
        correlation = _CORRELATION.search(sentence)
        reading = self._reading(code, is_transient=is_transient)
        return reading.kind(
            f"Entra ID refused {self._way.label}: {self._shown(sentence)}",
            usually=reading.usually,
            remedy=reading.remedy,
            upstream_code=found[0],
            correlation_id=correlation[1] if correlation else None,
        )

    def _reading(self, code: int, *, is_transient: bool) -> _Reading:
        if is_transient:
            return _Reading(kind=AzureUnreachable)
        if not isinstance(self._way, ByFederation):
            return _READINGS.get(code, _Reading(kind=SignInRefused))
        if code == _KEY_UNKNOWN:
            return _FOREIGN_KEY
        reading = _READINGS.get(code, _Reading(kind=SignInRefused))
        claims = self._assertions.claims if self._assertions else {}
        if not issubclass(reading.kind, (FederatedCredentialMismatch, FederatedCredentialMissing)) or not claims:
            return reading
        remedy = advise_credential(
            code, claims, client_id=self._way.client_id, default_audience=self._facts.oidc_audience
        )
        is_missing = reading.kind is FederatedCredentialMissing
        return _Reading(
            kind=reading.kind, usually=None if is_missing else explain_mismatch(code, claims), remedy=remedy
        )

    def _shown(self, text: str) -> str:
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return clip(one_line(text), _MESSAGE_CHARS)

    def _secrets(self) -> Iterator[str]:
        match self._way:
            case ByClientSecret(client_secret=secret):
                yield secret.reveal()
            case ByCertificate(password=password) if password:
                yield password.reveal()
            case ByFederation(request_token=token):
                yield token.reveal()
            case _:
                pass
        if self._assertions and self._assertions.last:
            yield self._assertions.last


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The failure and what it came from; MSAL hides Entra's own answer in a context, without a cause."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _text(error: BaseException) -> str:
    # azure-core's str() adds the whole body to its message.
    return str(getattr(error, "message", "") or error)


def _entra_sentence(text: str) -> str | None:
    """From the code to the end, out of a client's message or out of Entra's JSON inside one."""
    found = _AADSTS.search(text)
    if found is None:
        return None
    begin = text.find("{", 0, found.start())
    if begin >= 0:
        try:
            body: Any = json.JSONDecoder().raw_decode(text[begin:])[0]
        except (ValueError, RecursionError):
            body = None
        if isinstance(body, dict) and _AADSTS.search(str(body.get("error_description"))):
            return _entra_sentence(str(body["error_description"]))
    return text[found.start() :].strip().rstrip("'")


def _is_transient(error: BaseException) -> bool:
    from azure.core.exceptions import DecodeError, ServiceRequestError, ServiceResponseError

    if isinstance(error, (ServiceRequestError, ServiceResponseError, DecodeError)):
        return True
    return _status_of(error) in _TRANSIENT_STATUS


def _is_foreseen(error: BaseException) -> bool:
    """The clients' own failures, and the ValueError with which they refuse what they are given."""
    from azure.core.exceptions import AzureError

    return isinstance(error, (AzureError, ValueError))


def _status_of(error: BaseException) -> int:
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(error, "status_code", None)
    return status if isinstance(status, int) else 0
