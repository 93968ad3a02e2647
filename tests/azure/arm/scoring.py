"""The scoring hosts: who may call, which deployment answers, and what the caller hears when it cannot.

Real serving is behind a Handle; this room forwards to it over kept connections. Managed and Kubernetes endpoints tell a
model's failure, a load beyond the instances and a time-out by different statuses.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from tests.azure.access import Denied, require_token
from tests.azure.arm.deployment_rules import seconds
from tests.azure.arm.deployments import Deployment, Deployments
from tests.azure.arm.endpoints import Endpoint, Endpoints
from tests.azure.arm.forwarding import Channels
from tests.azure.backends import Lease, Serving
from tests.azure.messages import Body, Refusal, Request, Response, Stream
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

_AUDIENCE = ("https://ml.azure.com",)
_SCORE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
_CHOSEN = "azureml-model-deployment"
# Requests that wait beyond those being served; more than twice the capacity is refused.
_QUEUE_FACTOR = 2

room = Room("scoring", host="{endpoint}.{region}.inference.ml.azure.com")
clusters = Room("scoring-clusters", host="203.0.113.{address}", scheme="http")


@dataclass(slots=True)
class Rotation:
    """Whose turn it is, by weight and without chance: tests can count on exact shares."""

    credits: dict[str, float] = field(default_factory=dict)

    def next(self, weights: dict[str, int]) -> str | None:
        total = sum(weights.values())
        if not total:
            return None
        for name, weight in weights.items():
            self.credits[name] = self.credits.get(name, 0.0) + weight
        chosen = max(weights, key=lambda name: self.credits[name])
        self.credits[chosen] -= total
        return chosen


@dataclass(slots=True)
class Rotations:
    """By endpoint id, for live and for mirrored traffic: cloud.state(scoring.Rotations)."""

    by_id: dict[str, Rotation] = field(default_factory=dict)

    def of(self, key: str) -> Rotation:
        return self.by_id.setdefault(key, Rotation())


class Load:
    """Requests each deployment is working on: cloud.live(scoring.Load)."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def enter(self, key: str, limit: int) -> bool:
        with self._lock:
            if self._open.get(key, 0) >= limit:
                return False
            self._open[key] = self._open.get(key, 0) + 1
            return True

    def under_way(self) -> int:
        with self._lock:
            return sum(self._open.values())

    def leave(self, key: str) -> None:
        with self._lock:
            self._open[key] -= 1


def _said(status: int, text: str, cloud: Cloud, **headers: str) -> Response:
    found = {"server": "azureml-frontdoor", "x-request-id": cloud.new_id(), "x-ms-request-id": cloud.new_id()}
    return Response.text(text, status=status).with_headers({**found, **headers})


def _authorize(request: Request, endpoint: Endpoint, cloud: Cloud) -> None:
    scheme, _, text = request.headers.get("Authorization").partition(" ")
    if endpoint.auth_mode == "AADToken":
        try:
            require_token(request, cloud, audience=_AUDIENCE, action=_SCORE, scope=endpoint.id)
        except Denied as denied:
            raise Refusal(_said(denied.status, denied.message, cloud)) from denied
        return
    what = "key_auth" if endpoint.auth_mode == "Key" else "token_auth"
    if scheme.lower() != "bearer" or not text.strip():
        raise Refusal(_said(401, f"{what}_bad_header_missing", cloud))
    if endpoint.auth_mode == "Key" and text.strip() in endpoint.keys.values():
        return
    expiry_s = endpoint.tokens.get(text.strip())
    if endpoint.auth_mode == "AMLToken" and expiry_s is not None:
        if cloud.clock.now_s() < expiry_s:
            return
        raise Refusal(_said(401, "token_auth_token_expired", cloud))
    raise Refusal(_said(401, f"{what}_access_denied", cloud))


def _chosen(request: Request, endpoint: Endpoint, cloud: Cloud) -> Deployment:
    state = cloud.state(Deployments)
    if name := request.headers.get(_CHOSEN):
        found = state.get(endpoint, name)
        if found is None or not found.has_succeeded:
            text = f"The deployment {name} was not found in endpoint {endpoint.name}, or is not ready."
            raise Refusal(_said(404, text, cloud))
        return found
    ready = {
        name: share
        for name, share in endpoint.traffic.items()
        if (one := state.get(endpoint, name)) is not None and one.has_succeeded
    }
    turn = cloud.state(Rotations).of(f"live {endpoint.id}").next(ready)
    found = state.get(endpoint, turn) if turn else None
    if found is None:
        raise Refusal(
            _said(
                404,
                "No valid deployments to route to. Please check that the endpoint has at least one deployment with positive weight values or use a deployment specific header to route.",
                cloud,
            )
        )
    return found


def _mirrored(endpoint: Endpoint, cloud: Cloud) -> Deployment | None:
    """The deployment that gets a copy of this request, when its share comes round."""
    if not endpoint.mirror_traffic:
        return None
    ((name, share),) = endpoint.mirror_traffic.items()
    turn = cloud.state(Rotations).of(f"mirror {endpoint.id}").next({name: share, "": 100 - share})
    return cloud.state(Deployments).get(endpoint, name) if turn == name else None


def _path(request: Request, endpoint: Endpoint) -> str:
    """The path below the service's own root, with its query."""
    base = "/" + (endpoint.scoring_base or "").partition("://")[2].partition("/")[2]
    target = request.target if request.target.startswith("/") else f"/{request.target}"
    return target[len(base) :] if base != "/" and target.startswith(base) else target


def _limit(deployment: Deployment) -> int:
    each = deployment.properties["requestSettings"]["maxConcurrentRequestsPerInstance"]
    return int(each * deployment.instances * _QUEUE_FACTOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A request on its way to a deployment. The lease is taken with the choice, so that nothing ends between the two."""

    deployment: Deployment
    path: str
    limit: int
    lease: Lease | None

    def done(self, cloud: Cloud) -> None:
        cloud.live(Load).leave(self.deployment.id)
        if self.lease is not None:
            self.lease.release()


def _score(request: Request, endpoint: Endpoint | None, cloud: Cloud) -> Response:
    with cloud.lock:
        if endpoint is not None:
            endpoint.operation.look(cloud)
        if endpoint is None or endpoint.scoring_base is None or endpoint.is_gone(cloud):
            raise Refusal(_said(404, "The endpoint was not found.", cloud))
        if endpoint.public_network_access != "Enabled":
            raise Refusal(
                _said(
                    403,
                    "Public network access is disabled: this endpoint is reached through its private endpoint alone.",
                    cloud,
                )
            )
        _authorize(request, endpoint, cloud)
        for deployment in cloud.state(Deployments).of(endpoint):
            deployment.operation.look(cloud)
        call = _call(_chosen(request, endpoint, cloud), _path(request, endpoint), cloud)
        copy = _mirrored(endpoint, cloud) if request.method == "POST" else None
        lease = cloud.live(Serving).lease(copy.serving) if copy else None
    if lease is not None:
        _send_copy(request, lease, call.path, cloud)
    if not cloud.live(Load).enter(call.deployment.id, call.limit):
        if call.lease is not None:
            call.lease.release()
        return _overloaded(call.deployment, cloud)
    try:
        response = _answer(request, call, cloud)
    except BaseException:
        call.done(cloud)
        raise
    if isinstance(response.body, Stream):
        # It is under way until its last piece is sent.
        response.body.on_close = lambda: call.done(cloud)
    else:
        call.done(cloud)
    return response


def _call(deployment: Deployment, path: str, cloud: Cloud) -> _Call:
    lease = cloud.live(Serving).lease(deployment.serving)
    return _Call(deployment=deployment, path=path, limit=_limit(deployment), lease=lease)


def _overloaded(deployment: Deployment, cloud: Cloud) -> Response:
    text = "too many requests: the deployment's instances carry no more at once"
    if deployment.is_kubernetes:
        return _said(503, text, cloud, **{_CHOSEN: deployment.name})
    reason = {"ms-azureml-model-error-reason": "too_many_requests"}
    return _said(429, text, cloud, **{_CHOSEN: deployment.name, **reason})


def _answer(request: Request, call: _Call, cloud: Cloud) -> Response:
    deployment = call.deployment
    own = {_CHOSEN: deployment.name, "x-request-id": cloud.new_id(), "server": "azureml-frontdoor"}
    if call.lease is None:
        return _echoed(request, deployment, own, cloud)
    timeout_s = seconds(deployment.properties["requestSettings"]) or 5.0
    try:
        response = cloud.live(Channels).forward(call.lease.address, request, call.path, timeout_s=timeout_s)
    except TimeoutError:
        reason = {} if deployment.is_kubernetes else {"ms-azureml-model-error-reason": "model_timeout"}
        return _said(504 if deployment.is_kubernetes else 408, "upstream request timeout", cloud, **own, **reason)
    except (OSError, http.client.HTTPException) as error:
        text = f"upstream connect error: {error}"
        if deployment.is_kubernetes:
            return _said(502, text, cloud, **own)
        told = {"ms-azureml-model-error-reason": "model_error", "ms-azureml-model-error-statuscode": "502"}
        return _said(424, text, cloud, **own, **told)
    return as_router(response, own) if deployment.is_kubernetes else _as_front_door(response, own)


def _echoed(request: Request, deployment: Deployment, own: dict[str, str], cloud: Cloud) -> Response:
    serving = cloud.live(Serving)
    if serving.echoes:
        time.sleep(serving.echo_takes_s)
        told = {**own, "x-ms-run-fn-exec-ms": "0.345", "x-ms-run-function-failed": "False"}
        kind = request.headers.get("Content-Type", "application/json")
        return Response(body=request.body.read()).with_headers({"Content-Type": kind, **told})
    if serving.backend is not None and deployment.serving:
        # After a restart of the emulator, while its services start again.
        return _said(503, "The deployment has no instance that is ready.", cloud, **own)
    text = (
        f"no serving backend runs {deployment.endpoint}/{deployment.name}: set cloud.live(Serving).backend, or .echoes"
    )
    cloud.fail("not-implemented", text, request.number)
    return _said(501, f"tests.azure: {text}", cloud)


def _as_front_door(response: Response, own: dict[str, str]) -> Response:
    """A model's failure is not the endpoint's: 424, with the model's own status in a header."""
    headers: dict[str, str | None] = dict(own)
    if response.status == 200:
        return response.with_headers(headers)
    headers["ms-azureml-model-error-statuscode"] = str(response.status)
    headers["ms-azureml-model-error-reason"] = "model_error"
    return Response(status=424, headers=response.headers, body=response.body).with_headers(headers)


def as_router(response: Response, own: dict[str, str]) -> Response:
    """A cluster's router: what fails in run() is a 502 there, and everything else is passed on."""
    status = 502 if response.status >= 500 else response.status
    return Response(status=status, headers=response.headers, body=response.body).with_headers(dict(own))


def _send_copy(request: Request, lease: Lease, path: str, cloud: Cloud) -> None:
    # The request's own body may be gone before the copy is sent.
    copied = replace(request, body=Body(request.body.read()))

    def send() -> None:
        try:
            with contextlib.suppress(OSError, http.client.HTTPException):
                for _ in cloud.live(Channels).forward(lease.address, copied, path, timeout_s=30.0).chunks():
                    pass
        finally:
            lease.release()

    threading.Thread(target=send, daemon=True).start()


def _by_host(params: Params, cloud: Cloud) -> Endpoint | None:
    with cloud.lock:
        found = cloud.state(Endpoints).by_host(params["region"], params["endpoint"])
    # One on a cluster has its name there alone.
    return None if found is None or found.is_kubernetes else found


def score(request: Request, params: Params, cloud: Cloud) -> Response:
    return _score(request, _by_host(params, cloud), cloud)


def score_on_cluster(request: Request, params: Params, cloud: Cloud) -> Response:
    with cloud.lock:
        found: Any = [
            one
            for one in cloud.state(Endpoints).by_key.values()
            if (one.scoring_base or "").partition("://")[2].lower()
            == f"{request.host}/api/v1/endpoint/{params['endpoint']}".lower()
        ]
    return _score(request, found[0] if found else None, cloud)


for _method in ("GET", "POST"):
    room.route(_method, "/{rest...}", slow=True)(score)
    room.route(_method, "/", slow=True)(score)
    clusters.route(_method, "/api/v1/endpoint/{endpoint}/{rest...}", slow=True)(score_on_cluster)
