"""Blobs by addresses that carry their own signature (SAS), or by our own token where the account takes no signatures.

An address is a secret: it is held as one, and masked before it is used, so that no text of a client can show it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from mlaz_ci.adapters.azure_wire import Answer, Wire
from mlaz_ci.adapters.mlflow_store.records import Missing, TooLarge
from mlaz_ci.errors import AzureUnreachable, StorageAccessDenied, TrackingServerFailed
from mlaz_ci.models import Secret
from mlaz_ci.refusals import read_told, refusal_of

# One audience for storage accounts in all of Azure's clouds.
_SCOPE: Final = "https://storage.azure.com/.default"
# The first version that takes Entra's tokens is 2017-11-09; this one is also what a service SAS of ours is signed for.
VERSION: Final = "2021-12-02"
_CHUNK_BYTES: Final = 8 * 1024 * 1024
_TOKEN_HOSTS: Final = re.compile(
    r"[a-z0-9-]+\.blob\.core\.(?:windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)", re.IGNORECASE
)
_TOLD: Final = frozenset({400, 401, 403, 404, 409, 412, 416})


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where one blob is. `url` has no query; `signature` is the query with the SAS, or None: then our own token is sent."""

    url: str
    signature: Secret | None

    @classmethod
    def of(cls, uri: str) -> Address:
        """From a content URI as Azure's services hand it out. Raises AzureUnreachable for anything but https."""
        url, _, query = uri.partition("?")
        if not url.lower().startswith("https://"):
            raise AzureUnreachable("Azure gave an address for a file that is no https address.")
        return cls(url=url, signature=Secret(query) if query else None)


class SignatureRefused(Exception):
    """Storage does not take an address's signature, most often because its time is over. Never leaves this package."""


def not_taken(path: str, error: SignatureRefused) -> StorageAccessDenied:
    """What it is when a fresh address is refused as well."""
    return StorageAccessDenied(
        f"Azure Storage does not take the address that the workspace has just given for {path}: {error}",
        usually="The clock of this machine is wrong, or the keys of the storage account were renewed and the workspace does not know yet.",
        remedy="Set the clock; after a change of keys run `az ml workspace sync-keys`.",
    )


class Blobs:
    """Safe for threads."""

    def __init__(self, wire: Wire, mask: Callable[[str], None]) -> None:
        self._wire = wire
        self._mask = mask
        self._masked: set[str] = set()
        self._lock = threading.Lock()

    def hide(self, secret: str) -> None:
        with self._lock:
            if secret and secret not in self._masked:
                self._masked.add(secret)
                self._mask(secret)

    def read(self, address: Address, limit_bytes: int, *, path: str) -> bytes:
        """The whole blob. Raises TooLarge where it is larger, having read no more than that."""
        answer = self.ask("GET", address, path=path, headers={"Range": f"bytes=0-{limit_bytes}"})
        if answer.status == 416:
            return b""  # an empty blob has no first byte
        if len(answer.content) > limit_bytes:
            raise TooLarge(path)
        return answer.content

    def size_bytes(self, address: Address, *, path: str) -> int:
        return int(self.ask("HEAD", address, path=path).headers.get("content-length") or 0)

    def download(
        self,
        address: Address,
        target: Path,
        advance: Callable[[int], None],
        *,
        path: str,
        renew: Callable[[], Address],
    ) -> None:
        """By pieces, so that a broken connection costs one of them; all of them are of the same state of the blob.

        `renew` gives another address when the time of the first is over.
        """
        done, total, etag = 0, 1, ""
        was_renewed = False
        with target.open("wb") as file:
            while done < total:
                headers = {"Range": f"bytes={done}-{done + _CHUNK_BYTES - 1}", **({"If-Match": etag} if etag else {})}
                try:
                    answer = self.ask("GET", address, path=path, headers=headers)
                except SignatureRefused:
                    if was_renewed:
                        raise
                    address, was_renewed = renew(), True
                    continue
                if answer.status == 416:
                    return  # an empty blob has no first byte
                file.write(answer.content)
                done += len(answer.content)
                advance(len(answer.content))
                total = _total_bytes(answer) if answer.status == 206 else done
                etag, was_renewed = answer.headers.get("etag", ""), False

    def ask(
        self,
        method: str,
        address: Address,
        *,
        path: str,
        headers: Mapping[str, str] | None = None,
        query: str = "",
        content: bytes | None = None,
    ) -> Answer:
        """`path` is what people call the blob; `query` an operation's own parameters, encoded.

        Raises Missing, SignatureRefused, StorageAccessDenied, and what Wire.ask raises.
        """
        doing = f"read {path} in the workspace's storage"
        url, scope = self._signed(address, query)
        answer = self._wire.ask(
            method,
            url,
            doing=doing,
            scope=scope,
            content=content,
            headers={"x-ms-version": VERSION, **(headers or {})},
            allowed=_TOLD,
        )
        if answer.status < 300 or (answer.status == 416 and method == "GET"):
            return answer
        told = read_told(answer.text, status=answer.status, headers=answer.headers)
        if address.signature is not None and "KeyBasedAuthenticationNotPermitted" in told.codes:
            if _TOKEN_HOSTS.fullmatch(urlsplit(address.url).hostname or ""):
                unsigned = replace(address, signature=None)
                return self.ask(method, unsigned, path=path, headers=headers, query=query, content=content)
        elif address.signature is not None and "AuthenticationFailed" in told.codes:
            raise SignatureRefused(told.sentence)
        if answer.status == 404:
            raise Missing(f"{path}: {told.sentence}", told.code or None)
        if answer.status == 412:
            raise TrackingServerFailed(
                f"{path} of the model changed while it was downloaded.",
                usually="Somebody logs or edits this model right now.",
                remedy="Run again.",
            )
        raise refusal_of(told, doing=doing)

    def _signed(self, address: Address, query: str) -> tuple[str, str | None]:
        """The URL to ask, and the scope of the token to sign it with."""
        if address.signature is None:
            if not _TOKEN_HOSTS.fullmatch(urlsplit(address.url).hostname or ""):
                # A token for storage opens every account this identity may read: it goes to Azure Storage and nowhere else.
                raise StorageAccessDenied(f"{address.url} is no address of Azure Storage to which a token may be sent.")
            return f"{address.url}?{query}" if query else address.url, _SCOPE
        signature = address.signature.reveal()
        self.hide(signature)
        for each in parse_qs(signature).get("sig", []):
            self.hide(each)
        for written in re.findall(r"(?:^|&)sig=([^&]+)", signature):
            self.hide(written)
            self.hide(unquote(written))
        return f"{address.url}?{query}&{signature}" if query else f"{address.url}?{signature}", None


def _total_bytes(answer: Answer) -> int:
    """From "bytes 0-99/1234"."""
    total = answer.headers.get("content-range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else 0
