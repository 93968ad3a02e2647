"""Calls a web service as its users do, with its own key or token: outside of Azure's REST, and with no token of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from mlaz_ci.adapters.azureml_v1.mms import ModelManagement, Payload
from mlaz_ci.errors import NotReachable
from mlaz_ci.models import ScoreRequest, ScoreResponse, Severity
from mlaz_ci.ports import Clock, Platform

_CONNECT_S: Final = 10.0
# AKS answers after its scoringTimeoutMs, a minute by default; a first prediction may load more.
_READ_S: Final = 120.0
# A new name takes a while to be known, and a container that Azure calls healthy a moment to listen.
_PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_NOT_YET: Final = frozenset({502, 503, 504})


class Caller:
    def __init__(self, mms: ModelManagement, clock: Clock, platform: Platform) -> None:
        self._mms = mms
        self._clock = clock
        self._platform = platform
        self._credentials: dict[str, str] = {}
        self._warned = False

    def forget(self, service_name: str) -> None:
        """Another deployment may ask for another credential."""
        self._credentials.pop(service_name, None)

    def keys(self, service_name: str) -> Mapping[str, str]:
        """`primaryKey` and `secondaryKey`, masked."""
        keys = self._mms.keys(service_name)
        for value in keys.values():
            self._platform.mask(value)
        return keys

    def call(self, service: Payload, request: ScoreRequest, *, wanted_spec: str | None) -> ScoreResponse:
        """The answer, of `wanted_spec` where that is given and it comes in time. Raises NotReachable."""
        name, uri = str(service.get("name")), str(service.get("scoringUri") or "")
        if urlsplit(uri).scheme not in {"http", "https"}:
            raise NotReachable(
                f'The service "{name}" has no address yet; Azure says it is {service.get("state")}.',
                usually="It is still being made, or it failed before it served.",
                remedy="See `command: status`.",
            )
        headers = {"Content-Type": "application/json", **self._authorization(service, name, uri)}
        for number, pause_s in enumerate((*_PAUSES_S, 0.0)):
            is_last = number == len(_PAUSES_S)
            try:
                answer = self._post(uri, request, headers)
            except NotReachable:
                if is_last:
                    raise
            else:
                is_other = wanted_spec is not None and answer.spec_hash not in {None, wanted_spec}
                if is_last or not (answer.status_code in _NOT_YET or is_other):
                    return answer
            self._clock.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _post(self, uri: str, request: ScoreRequest, headers: Mapping[str, str]) -> ScoreResponse:
        import requests

        began_s = self._clock.now_s()
        try:
            # No redirect: the key is for this address.
            answer = requests.post(
                uri, data=request.body, headers=headers, timeout=(_CONNECT_S, _READ_S), allow_redirects=False
            )
        except (requests.RequestException, OSError) as error:
            raise NotReachable(
                f"{uri} does not answer: {type(error).__name__}.",
                usually="The service is in a private network or behind a firewall, or its name is not known yet.",
            ) from error
        return ScoreResponse(
            status_code=answer.status_code,
            body=answer.content,
            duration_s=self._clock.now_s() - began_s,
            spec_hash=answer.headers.get("x-mlaz-spec"),
        )

    def _authorization(self, service: Payload, name: str, uri: str) -> Mapping[str, str]:
        if name not in self._credentials:
            self._credentials[name] = self._credential(service, name)
        credential = self._credentials[name]
        if not credential:
            return {}
        if urlsplit(uri).scheme == "http" and not self._warned:
            self._warned = True
            self._platform.annotate(
                Severity.WARNING,
                "key-in-clear",
                f"{uri} is plain http: every caller's key or token travels in clear. TLS (`ssl_cname` with its certificate in the "
                "config file, or on AKS the cluster's) or `target: managed` encrypts it.",
            )
        return {"Authorization": f"Bearer {credential}"}

    def _credential(self, service: Payload, name: str) -> str:
        """The service's key or a token for it; "" where it asks for neither."""
        if service.get("aadAuthEnabled"):
            token = self._mms.token(name)
            self._platform.mask(token)
            return token
        if not service.get("authEnabled"):
            return ""
        keys = self.keys(name)
        return keys.get("primaryKey") or keys.get("secondaryKey") or ""
