"""Calls an endpoint's URI as its callers do: with its key, its token or an Entra token, to one deployment by header or to whoever has traffic."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.adapters.azure_arm.seen import Endpoint
from mlaz_ci.adapters.azure_wire import Answer
from mlaz_ci.errors import AzureUnreachable, NotReachable, ServiceBusy, ServiceNotFound
from mlaz_ci.models import AuthMode, Cloud, ScoreRequest, ScoreResponse, Severity

# The audience of an endpoint's Entra tokens ("Authenticate clients for online endpoints").
_SCOPES: Final = {
    Cloud.PUBLIC: "https://ml.azure.com/.default",
    Cloud.US_GOVERNMENT: "https://ml.azure.us/.default",
    Cloud.CHINA: "https://ml.azure.cn/.default",
}
_BUSY: Final = frozenset({429, 502, 503, 504})
_TRIES: Final = 6
# By the service's own URI: the deployment has answered by then, and whoever calls the service meets what this meets.
_SHARED_TRIES: Final = 3
_DEAF_TRIES: Final = 3
_EVERY: Final = range(200, 600)


class Scoring:
    """Keys and tokens are masked as they are read, and asked for once."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._secrets: dict[str, str] = {}
        self._lock = threading.Lock()

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        """As ports.Serving has it. Raises NotReachable, ServiceNotFound, ServiceBusy, RoleMissing."""
        endpoint = self._endpoint(service_name)
        uri = endpoint.scoring_uri
        if uri is None:
            raise ServiceNotFound(f'The endpoint "{service_name}" has no scoring URI; it is {endpoint.word}.')
        headers = {"Content-Type": "application/json"}
        if deployment_name:
            headers["azureml-model-deployment"] = deployment_name
        answer, duration_s = self._call(endpoint, uri, headers, request.body)
        if answer.status == 404 and deployment_name and self._gateway.deployment(service_name, deployment_name) is None:
            raise ServiceBusy(
                f'Deployment "{deployment_name}" of "{service_name}" was deleted by another run, which came later.'
            )
        if answer.status == 403 and not endpoint.is_public:
            raise NotReachable(
                f'The endpoint "{service_name}" is healthy and takes requests through its private endpoint alone: HTTP 403 here.'
            )
        return ScoreResponse(
            status_code=answer.status,
            body=answer.content,
            duration_s=duration_s,
            spec_hash=answer.headers.get("x-mlaz-spec"),
        )

    def _call(self, endpoint: Endpoint, uri: str, headers: Mapping[str, str], body: bytes) -> tuple[Answer, float]:
        """The first answer that is the model's own, or the last of several; and the seconds it took."""
        clock = self._gateway.clock
        is_direct = "azureml-model-deployment" in headers
        tries = _TRIES if is_direct else _SHARED_TRIES
        for attempt in range(tries):
            is_last = attempt + 1 == tries
            began_s = clock.now_s()
            try:
                answer = self._send(endpoint, uri, headers, body)
            except AzureUnreachable as error:
                if attempt + 1 < _DEAF_TRIES:
                    clock.sleep(0.5 * 2**attempt)
                    continue
                raise NotReachable(
                    f'The endpoint "{endpoint.name}" is healthy, and {urlsplit(uri).hostname} does not answer here.'
                ) from error
            # What a front door answers while it learns of a deployment, or of too many at once: it passes. A key may have changed.
            is_unknown_yet = answer.status == 404 and is_direct
            if is_last or not (answer.status in _BUSY or is_unknown_yet or (answer.status == 401 and attempt == 0)):
                return answer, clock.now_s() - began_s
            clock.sleep(min(0.5 * 2**attempt, max(0.0, self._gateway.deadline_s - clock.now_s())))
        raise AssertionError("the last attempt returns or raises")

    def _endpoint(self, name: str) -> Endpoint:
        found = self._gateway.known_endpoint(name)
        if found is None:
            raise ServiceNotFound(f'There is no endpoint "{name}" in the workspace.')
        return found

    def _send(self, endpoint: Endpoint, uri: str, headers: Mapping[str, str], body: bytes) -> Answer:
        sent = dict(headers)
        scope = None
        if endpoint.auth is AuthMode.ENTRA:
            scope = _SCOPES[self._gateway.door.workspace.cloud]
        else:
            sent["Authorization"] = f"Bearer {self._secret(endpoint)}"
        answer = self._gateway.door.wire.ask(
            "POST",
            uri,
            doing=f'call the endpoint "{endpoint.name}"',
            scope=scope,
            content=body,
            headers=sent,
            repeatable=False,
            allowed=_EVERY,
        )
        if answer.status == 401 and scope is None:
            # A key that was regenerated, or a token that ran out, since it was read.
            with self._lock:
                self._secrets.pop(endpoint.name, None)
        return answer

    def _secret(self, endpoint: Endpoint) -> str:
        with self._lock:
            held = self._secrets.get(endpoint.name)
        if held:
            return held
        is_key = endpoint.auth is not AuthMode.TOKEN
        below = f"/onlineEndpoints/{quote(endpoint.name, safe='')}/{'listKeys' if is_key else 'token'}"
        doing = f'get the {"key" if is_key else "token"} of the endpoint "{endpoint.name}"'
        told = self._gateway.door.arm("POST", below, doing=doing, repeatable=True).object
        for name in ("primaryKey", "secondaryKey", "accessToken"):
            if told.get(name):
                self._gateway.platform.mask(str(told[name]))
        secret = str(told.get("primaryKey" if is_key else "accessToken") or "")
        if endpoint.scoring_uri and endpoint.scoring_uri.startswith("http://"):
            self._gateway.platform.annotate(
                Severity.WARNING,
                "key-in-clear",
                f'The endpoint "{endpoint.name}" is called by plain http, so its key travels in clear. '
                "Give the cluster's extension a certificate (sslSecret) to have https.",
            )
        with self._lock:
            self._secrets[endpoint.name] = secret
        return secret
