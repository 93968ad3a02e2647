"""What of this process's environment a sibling needs to reach the network: an allow-list, with certificate files packed along."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.local_docker.engine import OwnContainer

_PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_CERTIFICATE_FILES: Final = frozenset({"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"})
# uv's and pip's words for where packages come from; what else begins with UV_ or PIP_ may be a token to publish with.
_INDEX: Final = re.compile(
    r"UV_(DEFAULT_INDEX|INDEX\w*|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|OFFLINE|KEYRING_PROVIDER|INSECURE_HOST|LINK_MODE"
    r"|SYSTEM_CERTS|NATIVE_TLS|HTTP_TIMEOUT|CONCURRENT_DOWNLOADS|PYTHON_INSTALL_MIRROR)"
    r"|PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST)"
)


def pack_surroundings(environ: Mapping[str, str], own: OwnContainer, *, with_index: bool) -> Mapping[str, object]:
    """`variables`, and under `files` the bytes of the certificate files that only this container has mounted.

    `with_index` adds the package indexes, credentials included: for a container in which no model runs.
    """
    variables = {name: value for name, value in environ.items() if _is_passed(name, with_index=with_index) and value}
    files: dict[str, bytes] = {}
    for name in _CERTIFICATE_FILES & variables.keys():
        path = Path(variables[name])
        if path.is_file() and own.host_path(path) is not None:
            files[name] = path.read_bytes()
    return {"variables": variables, "files": files}


def _is_passed(name: str, *, with_index: bool) -> bool:
    if name.upper() in _PROXIES or name in _CERTIFICATE_FILES or name == "SSL_CERT_DIR":
        return True
    return with_index and _INDEX.fullmatch(name) is not None
