"""azureml-core's authentication from our credential: it asks again for each request, so a token is renewed under it."""

from __future__ import annotations

from typing import Any

from mlaz_ci.adapters.identity.credential import Credential


def v1_authentication(credential: Credential) -> Any:
    """An azureml.core.authentication.TokenAuthentication; importing azureml costs over a second."""
    from azureml.core.authentication import TokenAuthentication

    def token_for(audience: str) -> str:
        token: str = credential.get_token(f"{audience}/.default").token
        return token

    return TokenAuthentication(token_for, cloud=str(credential.facts.cloud))
