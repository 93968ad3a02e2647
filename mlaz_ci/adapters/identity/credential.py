"""The one credential that every client of Azure gets: azure-identity behind a cache that our clock governs.

azure-core's clients take it as a TokenCredential; what it raises is the catalogue's alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mlaz_ci.adapters.identity.clouds import CloudFacts
from mlaz_ci.errors import MlazError
from mlaz_ci.ports import Clock, Platform

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions

_RENEWED_BEFORE: Final = timedelta(minutes=5)
# A token that is still good carries on for a while when its renewal fails, which is then tried again this much later.
_TRIED_AGAIN_AFTER: Final = timedelta(seconds=30)

_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)

_Key = tuple[tuple[str, ...], str | None, bool]


@dataclass(slots=True)
class _Slot:
    """The token of one set of scopes. `client` is who gave it: its own cache would give the same one again."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: AccessTokenInfo | None = None
    client: object = None
    renew_at: datetime = _LONG_AGO
    expires_at: datetime = _LONG_AGO


class Credential:
    """Safe for threads. `label` says who signs in, without any secret; `facts` are those of the cloud."""

    def __init__(
        self,
        *,
        make_client: Callable[[], Any],
        read_refusal: Callable[[Exception], MlazError],
        clock: Clock,
        platform: Platform,
        facts: CloudFacts,
        label: str,
    ) -> None:
        self.facts = facts
        self.label = label
        self._make_client = make_client
        self._read_refusal = read_refusal
        self._clock = clock
        self._platform = platform
        self._client: Any = None
        self._slots: dict[_Key, _Slot] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Credential({self.label})"

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: Any,
    ) -> AccessToken:
        from azure.core.credentials import AccessToken

        info = self._token(scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae)
        return AccessToken(info.token, info.expires_on)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        given: dict[str, Any] = dict(options or {})
        return self._token(
            scopes,
            claims=given.get("claims"),
            tenant_id=given.get("tenant_id"),
            enable_cae=bool(given.get("enable_cae")),
        )

    def renew(self, *, stale: str | None = None) -> None:
        """From now on ask anew: for every token, or only where `stale` is still the one in use."""
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            with slot.lock:
                if slot.token is not None and stale in (None, slot.token.token):
                    slot.token = None

    def _token(
        self, scopes: tuple[str, ...], *, claims: str | None, tenant_id: str | None, enable_cae: bool
    ) -> AccessTokenInfo:
        with self._lock:
            slot = self._slots.setdefault((scopes, tenant_id, enable_cae), _Slot())
        with slot.lock:
            now = self._clock.utc_now()
            held = None if claims else slot.token
            if held is not None and now < slot.renew_at:
                return held
            try:
                return self._ask(slot, scopes, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae)
            except MlazError:
                if held is None or now + _TRIED_AGAIN_AFTER >= slot.expires_at:
                    raise
                slot.renew_at = now + _TRIED_AGAIN_AFTER
                return held

    def _ask(self, slot: _Slot, scopes: tuple[str, ...], **options: Any) -> AccessTokenInfo:
        client = self._client_other_than(slot.client)
        asked_at = self._clock.utc_now()
        given = {name: value for name, value in options.items() if value}
        with self._read(client):
            token: AccessTokenInfo = client.get_token_info(*scopes, options=given)
        self._platform.mask(token.token)
        # azure-identity counts by the machine's clock; what is left of it is what counts here.
        now_s = time.time()
        lifetime = timedelta(seconds=token.expires_on - now_s)
        slot.token, slot.client = token, client
        slot.expires_at = asked_at + lifetime
        slot.renew_at = slot.expires_at - min(_RENEWED_BEFORE, lifetime / 2)
        if token.refresh_on:
            slot.renew_at = min(slot.renew_at, asked_at + timedelta(seconds=token.refresh_on - now_s))
        return token

    def _client_other_than(self, used: object) -> Any:
        with self._lock:
            if self._client is None or self._client is used:
                with self._read(None):
                    self._client = self._make_client()
            return self._client

    @contextmanager
    def _read(self, client: object) -> Iterator[None]:
        """Whatever azure-identity, MSAL or cryptography raise becomes one of ours."""
        try:
            yield
        except Exception as error:
            # MSAL keeps a server's failure for a minute and would answer with it again.
            if client is not None:
                self._drop(client)
            if isinstance(error, MlazError):
                raise
            raise self._read_refusal(error) from error

    def _drop(self, client: object) -> None:
        with self._lock:
            if self._client is client:
                self._client = None
