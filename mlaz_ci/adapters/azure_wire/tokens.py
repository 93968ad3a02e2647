"""What signs a request."""

from __future__ import annotations

from typing import Any, Protocol


class TokenSource(Protocol):
    """What signs requests: `adapters.identity.Credential`."""

    def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, enable_cae: bool = False
    ) -> Any: ...

    def renew(self, *, stale: str | None = None) -> None: ...
