"""Where services of model management are called: ACI by a name of its own and plain http, AKS by its cluster's address.

Real serving is behind a Handle; this room checks who calls and forwards.
"""

from __future__ import annotations

import http.client
import time

from tests.azure import webservices
from tests.azure.arm.forwarding import Channels
from tests.azure.arm.scoring import Load, Rotations, as_router
from tests.azure.backends import Lease, Serving
from tests.azure.messages import Refusal, Request, Response, Stream
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud
from tests.azure.webservices import ACI, ENDPOINT, Service, Services

room = Room("aci-scoring", host="{label}.{region}.azurecontainer.io", scheme="http")
clusters = Room("aks-scoring", host="203.0.113.{address}", scheme="http")


def _said(cloud: Cloud, status: int, text: str) -> Response:
    return Response.text(text, status=status).with_headers({"x-ms-request-id": cloud.new_id()})


def _authorize(request: Request, service: Service, cloud: Cloud) -> None:
    takes_tokens = bool(service.request.get("aadAuthEnabled"))
    if not service.is_keyed and not takes_tokens:
        return
    scheme, _, text = request.headers.get("Authorization").partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Refusal(_said(cloud, 401, "Authentication header not found or not in the correct format."))
    is_key = service.is_keyed and text.strip() in service.keys.values()
    if not is_key and not (takes_tokens and service.tokens.get(text.strip(), 0.0) > cloud.clock.now_s()):
        raise Refusal(_said(cloud, 401, "Unauthorized"))


def _is_up(service: Service) -> bool:
    """Whether a container answers; while a service changes, the one of before does."""
    goes_on = service.state == "Transitioning" and service.limit > 0
    return bool(service.serving or service.versions) or service.state == "Healthy" or goes_on


def _version_of(service: Service, cloud: Cloud) -> str:
    """The start of the version whose turn it is, by the versions' shares of the traffic."""
    asked = service.request.get("versions") or {}
    weights = {name: int(asked[name].get("trafficPercentile") or 0) for name in service.versions if name in asked}
    chosen = cloud.state(Rotations).of(f"mms/{service.name}").next(weights)
    return service.versions[chosen][0] if chosen else ""


def _score(request: Request, service: Service | None, path: str, cloud: Cloud) -> Response:
    with cloud.lock:
        if service is not None:
            webservices.settle(cloud, service)
        if service is None or not _is_up(service):
            raise Refusal(_said(cloud, 503, "The service is not there, or has no container that is ready."))
        _authorize(request, service, cloud)
        serving = _version_of(service, cloud) if service.kind == ENDPOINT else service.serving
        timeout_s = (service.request.get("scoringTimeoutMs") or 60000) / 1000
        # Taken with the choice, so that nothing ends between the two.
        lease, limit = cloud.live(Serving).lease(serving), service.limit
    load, key = cloud.live(Load), f"mms/{service.name}"

    def done() -> None:
        load.leave(key)
        if lease is not None:
            lease.release()

    if not load.enter(key, limit):
        if lease is not None:
            lease.release()
        return _said(cloud, 503, "Too many requests for service: its replicas take no more at once. (overloaded)")
    try:
        response = _answer(request, service, lease, path, timeout_s, cloud)
    except BaseException:
        done()
        raise
    if isinstance(response.body, Stream):
        response.body.on_close = done
    else:
        done()
    return response


def _answer(  # noqa: PLR0917  # what a scoring host knows of a request
    request: Request, service: Service, lease: Lease | None, path: str, timeout_s: float, cloud: Cloud
) -> Response:
    serving = cloud.live(Serving)
    if lease is None:
        if serving.echoes:
            time.sleep(serving.echo_takes_s)
            kind = request.headers.get("Content-Type", "application/json")
            return Response(body=request.body.read()).with_headers(
                {"Content-Type": kind, "x-request-id": cloud.new_id()}
            )
        if serving.backend is not None and (service.serving or service.versions):
            return _said(cloud, 503, "The service has no container that is ready.")
        text = f"no serving backend runs the service {service.name}: set cloud.live(Serving).backend, or .echoes"
        cloud.fail("not-implemented", text, request.number)
        return _said(cloud, 501, f"tests.azure: {text}")
    try:
        response = cloud.live(Channels).forward(lease.address, request, path, timeout_s=timeout_s)
    except TimeoutError:
        return _said(cloud, 504, "The request timed out.")
    except (OSError, http.client.HTTPException) as error:
        return _said(cloud, 502, f"Bad Gateway: {error}")
    # On a cluster its router stands before the container; ACI's container answers for itself.
    return response if service.kind == ACI else as_router(response, {})


def score(request: Request, params: Params, cloud: Cloud) -> Response:
    with cloud.lock:
        service = cloud.state(Services).by_host(request.host)
        if service is not None and (request.scheme == "https") is not bool(service.request.get("sslEnabled")):
            # Its container listens at the other port.
            service = None
    return _score(request, service, request.target, cloud)


def score_on_cluster(request: Request, params: Params, cloud: Cloud) -> Response:
    with cloud.lock:
        service = cloud.state(Services).on_cluster(request.host, params["service"])
    path, _, query = request.target.partition("?")
    below = "/" + path.split("/", 5)[5] if path.count("/") >= 5 else "/"
    return _score(request, service, f"{below}?{query}" if query else below, cloud)


for _method in ("GET", "POST", "OPTIONS"):
    for _scheme in ("http", "https"):
        room.route(_method, "/{rest...}", scheme=_scheme, slow=True)(score)
        room.route(_method, "/", scheme=_scheme, slow=True)(score)
    clusters.route(_method, "/api/v1/service/{service}/{rest...}", slow=True)(score_on_cluster)
