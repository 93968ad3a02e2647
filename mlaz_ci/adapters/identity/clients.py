"""Makes azure-identity's credential for a way to sign in. Never DefaultAzureCredential: that ends in a browser or a device code.

azure-identity is imported when the first token is asked for.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, assert_never

from mlaz_ci.adapters.identity.answer import LastAnswer
from mlaz_ci.adapters.identity.assertion import Assertions
from mlaz_ci.adapters.identity.clouds import CloudFacts
from mlaz_ci.adapters.identity.imds import check_metadata_service
from mlaz_ci.adapters.identity.way import ByCertificate, ByClientSecret, ByFederation, ByManagedIdentity, Way
from mlaz_ci.errors import InvalidInput
from mlaz_ci.models import Secret
from mlaz_ci.ports import Clock

_CERTIFICATE_REMEDY: Final = (
    "Pass PEM text with both the certificate and its private key (RSA), a PKCS#12 file in base64, "
    "or the path of such a file; an encrypted key needs its password."
)
_MAX_PATH_CHARS: Final = 4_096


def client_maker(
    way: Way,
    *,
    facts: CloudFacts,
    assertions: Assertions | None,
    environ: Mapping[str, str],
    clock: Clock,
    last_answer: LastAnswer,
) -> Callable[[], Any]:
    """Each call makes a new client with an empty cache; all of them share one transport."""
    kept: dict[str, Any] = {}

    def make() -> Any:
        if not kept:
            from mlaz_ci.adapters.azure_wire.transport import RETRIES, ClockTransport

            _quieten()
            kept.update(transport=ClockTransport(clock), retry_total=RETRIES, retry_status=RETRIES)
        last_answer.take()
        settings = {**kept, "raw_response_hook": last_answer.remember}
        return _client(way, facts, assertions, environ, settings)

    return make


def _quieten() -> None:
    """Without any handler Python prints a library's warnings to standard error, where a runner reads them as commands."""
    for name in ("azure", "msal"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _client(
    way: Way,
    facts: CloudFacts,
    assertions: Assertions | None,
    environ: Mapping[str, str],
    settings: Mapping[str, Any],
) -> Any:
    import azure.identity

    # Entra's hosts are constants here: asking the public cloud which hosts there are would leave a closed cloud.
    known = {"authority": facts.authority_host, "disable_instance_discovery": True, **settings}
    match way:
        case ByClientSecret(client_id=client_id, tenant_id=tenant_id, client_secret=secret):
            return azure.identity.ClientSecretCredential(tenant_id, client_id, secret.reveal(), **known)
        case ByCertificate(client_id=client_id, tenant_id=tenant_id):
            return _certificate_client(way, known)
        case ByFederation(client_id=client_id, tenant_id=tenant_id):
            assert assertions is not None, "an assertion is what vouches here"
            return azure.identity.ClientAssertionCredential(
                tenant_id, client_id, assertions.fresh, authority=facts.authority_host, **settings
            )
        case ByManagedIdentity(client_id=client_id):
            check_metadata_service(environ)
            return azure.identity.ManagedIdentityCredential(client_id=client_id, **settings)
        case _:
            assert_never(way)


def _certificate_client(way: ByCertificate, known: Mapping[str, Any]) -> Any:
    from azure.identity import CertificateCredential

    password = way.password.reveal() if way.password else None
    data = _certificate_bytes(way.certificate)
    try:
        return CertificateCredential(way.tenant_id, way.client_id, certificate_data=data, password=password, **known)
    except (ValueError, TypeError) as error:
        # `from None`: the text of a parser may quote what it was given.
        what = f"The client certificate cannot be read ({type(error).__name__}); it has no usable pair of certificate and key, or the password is not its own."
        raise InvalidInput(what, remedy=_CERTIFICATE_REMEDY) from None


def _certificate_bytes(given: Secret) -> bytes:
    text = given.reveal().strip()
    if "-----BEGIN" in text:
        return text.encode()
    if len(text) <= _MAX_PATH_CHARS and "\n" not in text and "\0" not in text:
        try:
            return Path(text).read_bytes()
        except OSError:
            pass  # no file of that name: then it is the content itself
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        what = "The client certificate is neither PEM text, nor base64, nor the path of a file that can be read."
        raise InvalidInput(what, remedy=_CERTIFICATE_REMEDY) from None
