"""Whether Azure's metadata service is there: azure-identity alone would wait most of a minute for it on a machine outside Azure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlaz_ci.errors import ManagedIdentityNotFound

_URL: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
_ATTEMPTS: Final = 2
_CONNECT_S: Final = 2
_READ_S: Final = 5
# Where one of these is set, azure-identity asks another endpoint (App Service, Arc, Azure ML, a workload identity on Kubernetes).
_ELSEWHERE: Final = (
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
)
# The service itself answers a request without its header by 400; these come from what stands between.
_NOT_ITS_OWN: Final = frozenset({403, 407, 502, 504})


def check_metadata_service(environ: Mapping[str, str]) -> None:
    """Raises ManagedIdentityNotFound within seconds where nothing, or only a proxy, answers."""
    if any(environ.get(name) for name in _ELSEWHERE):
        return
    import requests

    seen = ""
    for _ in range(_ATTEMPTS):
        try:
            answer = requests.get(_URL, timeout=(_CONNECT_S, _READ_S), allow_redirects=False)
        except requests.RequestException as error:
            seen = type(error).__name__
        else:
            if answer.status_code not in _NOT_ITS_OWN:
                return
            seen = f"a proxy's answer {answer.status_code}"
    raise ManagedIdentityNotFound(
        f"Azure's metadata service, which gives managed identities their tokens, does not answer here: {seen}."
    )
