"""Which package indexes uv asks, from uv's and pip's own variables, with every credential taken out of the environment into a netrc text.

Pure. A package that is built from source sees uv's environment: no variable there is a credential, but it can read the file
that NETRC names, since uv may need it until the build has ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from mlaz_ci.serving.surroundings import mask_user_info

# Where to ask and how: no file of the checkout can set these, and none is a credential by itself.
_SETTINGS: Final = frozenset(
    {
        "UV_CACHE_DIR",
        "UV_CONCURRENT_DOWNLOADS",
        "UV_HTTP_RETRIES",
        "UV_HTTP_TIMEOUT",
        "UV_INDEX_STRATEGY",
        "UV_INSECURE_HOST",
        "UV_KEYRING_PROVIDER",
        "UV_LINK_MODE",
        "UV_NATIVE_TLS",
        "UV_OFFLINE",
        "UV_PYTHON_INSTALL_DIR",
        "UV_PYTHON_INSTALL_MIRROR",
        "UV_SYSTEM_CERTS",
        "SSL_CLIENT_CERT",
    }
)
_URL_LISTS: Final = {
    "UV_DEFAULT_INDEX": " ",
    "UV_INDEX": " ",
    "UV_INDEX_URL": " ",
    "UV_EXTRA_INDEX_URL": " ",
    "UV_FIND_LINKS": ",",
}
# pip's variable, uv's, and what uv understands already said where any of these is set.
_OF_PIP: Final = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
    ("PIP_EXTRA_INDEX_URL", "UV_EXTRA_INDEX_URL", ("UV_INDEX", "UV_EXTRA_INDEX_URL")),
    ("PIP_FIND_LINKS", "UV_FIND_LINKS", ("UV_FIND_LINKS",)),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST", ("UV_INSECURE_HOST",)),
)
_NAMED: Final = re.compile(r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)=)?(?P<url>.+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexes:
    """`variables` for uv's environment, without credentials; `netrc` holds those; `description` names the indexes for people.

    `options` are for uv's command line: what it takes from no variable.
    """

    variables: Mapping[str, str]
    options: tuple[str, ...]
    netrc: str
    description: str


@dataclass(slots=True)
class _Logins:
    """user and password by host: netrc knows no finer place."""

    of_host: dict[str, tuple[str, str]] = field(default_factory=dict)

    def take(self, host: str, user: str, password: str) -> bool:
        """False where netrc cannot hold it: white space, or another login for the same host."""
        if not host or re.search(r"[\s\"'\\#]", user + password) or not user:
            return False
        return self.of_host.setdefault(host, (user, password)) == (user, password)


def read_indexes(environ: Mapping[str, str]) -> Indexes:
    asked = {name: value for name, value in _translated(environ).items() if value}
    logins = _Logins()
    variables = {name: value for name, value in asked.items() if name in _SETTINGS}
    places: list[str] = []
    for name, separator in _URL_LISTS.items():
        entries = [each for each in asked.get(name, "").split(separator) if each.strip()]
        plain = [_without_login(each.strip(), asked, logins) for each in entries]
        if plain:
            variables[name] = separator.join(plain)
            places += [mask_user_info(each) for each in plain]
    # A certificate file that only other clients' variables name is one that uv needs too.
    bundle = next((asked[name] for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT") if name in asked), None)
    if bundle and "SSL_CERT_FILE" not in asked:
        variables["SSL_CERT_FILE"] = bundle
    lines = [f"machine {host} login {user} password {word}\n" for host, (user, word) in logins.of_host.items()]
    options = ("--no-index",) if asked.get("PIP_NO_INDEX", "").lower() in {"1", "true", "yes", "on"} else ()
    if places and not options and not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & asked.keys():
        places.insert(0, "the default package index")
    return Indexes(variables=variables, options=options, netrc="".join(lines), description=", ".join(places))


def _translated(environ: Mapping[str, str]) -> dict[str, str]:
    asked = dict(environ)
    for pip_name, uv_name, said in _OF_PIP:
        value = environ.get(pip_name)
        if value and not any(environ.get(each) for each in said):
            separator = _URL_LISTS.get(uv_name, " ")
            asked[uv_name] = separator.join(value.split())
    return asked


def _without_login(entry: str, asked: Mapping[str, str], logins: _Logins) -> str:
    match = _NAMED.fullmatch(entry)
    if match is None or "://" not in match["url"]:
        return entry
    parts = urlsplit(match["url"])
    host = parts.hostname or ""
    prefix = f"{match['name']}=" if match["name"] else ""
    if parts.username:
        if not logins.take(host, unquote(parts.username), unquote(parts.password or "")):
            return entry
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        return prefix + urlunsplit(bare)
    if match["name"]:
        stem = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", match["name"]).upper()
        logins.take(host, asked.get(f"{stem}_USERNAME", ""), asked.get(f"{stem}_PASSWORD", ""))
    return entry
