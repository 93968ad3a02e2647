"""What a process that runs other people's code may know of ours: an allow-list, so that no secret of a step reaches it.

Pure: the variables come in as a value. It must not know who is started with them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PLAIN: Final = frozenset({"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"})
_PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})
_CERTIFICATES: Final = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s@]*@")


def scrubbed_environment(environ: Mapping[str, str], *, home: str) -> dict[str, str]:
    """PATH, a HOME of its own, locale, proxy and CA variables; nothing else of `environ`."""
    kept = {name: value for name, value in environ.items() if _is_allowed(name) and value}
    return {**kept, "HOME": home}


def mask_user_info(text: str) -> str:
    """The text with user name and password of every URL replaced by `***`."""
    return _USER_INFO.sub("***@", text)


def _is_allowed(name: str) -> bool:
    # Both spellings of the proxy variables are read in the wild; the others have one.
    return name in _PLAIN or name in _CERTIFICATES or name.upper() in _PROXIES
