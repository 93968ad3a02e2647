"""azure-core's pipeline as we need it: pauses by our clock, and a 401 that renews the token once.

Imported only where a request is about to be made: azure-core costs a tenth of a second.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.pipeline.transport import RequestsTransport

from mlaz_ci.adapters.azure_wire.tokens import TokenSource
from mlaz_ci.ports import Clock

CONNECT_S: Final = 10
READ_S: Final = 30
# Up to 24 s of pauses (0, 1.6, 3.2, 6.4, 12.8); azure-core's own ten retries would be minutes.
RETRIES: Final = 5
_MAX_PAUSE_S: Final = 60.0
_CLAIMS: Final = re.compile(r'\bclaims="([A-Za-z0-9+/_=-]+)"')


class ClockTransport(RequestsTransport):  # type: ignore[misc]  # azure-core is not installed where mypy runs
    """requests, whose pauses between attempts are the clock's, and never the hour that a Retry-After may ask for."""

    def __init__(self, clock: Clock, *, connect_s: float = CONNECT_S) -> None:
        super().__init__(connection_timeout=connect_s, read_timeout=READ_S)
        self._clock = clock

    def sleep(self, duration: float) -> None:
        self._clock.sleep(min(duration, _MAX_PAUSE_S))


class BearerPolicy(HTTPPolicy):  # type: ignore[misc]  # as above
    """Signs each request with the credential's own token of the moment, so that there is one cache and one clock.

    A 401 makes that token stale: it is renewed, and the request sent once more.
    """

    def __init__(self, credential: TokenSource, scope: str) -> None:
        super().__init__()
        self._credential = credential
        self._scope = scope

    def send(self, request: PipelineRequest) -> PipelineResponse:
        if not request.http_request.url.lower().startswith("https://"):
            raise ServiceRequestError("A token is sent over https alone.")
        token = self._credential.get_token(self._scope).token
        request.http_request.headers["Authorization"] = f"Bearer {token}"
        response = self.next.send(request)
        if response.http_response.status_code != 401 or hasattr(request.http_request.body, "read"):
            return response
        self._credential.renew(stale=token)
        claims = demanded_claims(response.http_response.headers)
        renewed = self._credential.get_token(self._scope, claims=claims).token
        if renewed == token:
            return response
        request.http_request.headers["Authorization"] = f"Bearer {renewed}"
        return self.next.send(request)


def demanded_claims(headers: Mapping[str, Any]) -> str | None:
    """The claims that a challenge of Continuous Access Evaluation asks a new token for, as JSON; None without one."""
    found = _CLAIMS.search(str(headers.get("WWW-Authenticate", "")))
    if found is None:
        return None
    text = found[1].rstrip("=")
    try:
        return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return None
