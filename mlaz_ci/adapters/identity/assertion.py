"""The runner's token endpoint: a new OIDC token for every time that one is needed, since each lives for minutes.

Knows nothing of Entra but the audience it asks for.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.identity.way import ByFederation
from mlaz_ci.errors import IdTokenRefused, IdTokenUnavailable
from mlaz_ci.ports import Clock, Platform
from mlaz_ci.report.text import clip, one_line

if TYPE_CHECKING:
    import requests

_ATTEMPTS: Final = 5
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_PAUSE_S: Final = 30.0
_CONNECT_S: Final = 10
_READ_S: Final = 30
_JITTER: Final = random.SystemRandom()


class Assertions:
    """`fresh` is what azure-identity calls for each token request; `claims` are those of the last one, unverified."""

    def __init__(self, way: ByFederation, clock: Clock, platform: Platform) -> None:
        self._way = way
        self._clock = clock
        self._platform = platform
        self.claims: Mapping[str, Any] = {}
        self.last = ""

    def fresh(self) -> str:
        """Raises IdTokenRefused, IdTokenUnavailable."""
        answer = self._answer()
        try:
            value = answer.json()["value"]
        except (ValueError, KeyError, TypeError):
            value = None
        if not isinstance(value, str) or not value:
            raise IdTokenUnavailable(f"The runner's token endpoint answered {answer.status_code} without a token.")
        self._platform.mask(value)
        self.last, self.claims = value, read_claims(value)
        return value

    def _answer(self) -> requests.Response:
        import requests

        url = self._way.request_url
        if not url.startswith("https://"):
            raise IdTokenRefused("ACTIONS_ID_TOKEN_REQUEST_URL is no https address; the job's token is not sent there.")
        url += f"{'&' if '?' in url else '?'}audience={quote(self._way.audience, safe='')}"
        headers = {"Authorization": f"bearer {self._way.request_token.reveal()}", "Accept": "application/json"}
        seen = ""
        for attempt in range(_ATTEMPTS):
            pause_s = 2.0**attempt * _JITTER.uniform(0.5, 1.0)
            try:
                # Without redirects: they would carry the job's token to another host.
                answer = requests.get(url, headers=headers, timeout=(_CONNECT_S, _READ_S), allow_redirects=False)
            except requests.RequestException as error:
                # Its text may quote the address and a proxy's password.
                seen = type(error).__name__
            else:
                if answer.status_code == requests.codes.ok:
                    return answer
                seen = f"{answer.status_code} {one_line(clip(answer.text, 300))}".strip()
                if answer.status_code not in _TRANSIENT:
                    raise IdTokenRefused(f"The runner's token endpoint refused to give an OIDC token: {seen}.")
                pause_s = _retry_after_s(answer) or pause_s
            if attempt + 1 < _ATTEMPTS:
                self._clock.sleep(min(pause_s, _MAX_PAUSE_S))
        raise IdTokenUnavailable(f"The runner's token endpoint gave no OIDC token in {_ATTEMPTS} attempts: {seen}.")


def _retry_after_s(answer: requests.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def read_claims(token: str) -> Mapping[str, Any]:
    """What a JSON Web Token says, its signature unchecked: for messages only. Empty for what is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
