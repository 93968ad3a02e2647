"""One scoring request over HTTP to a sibling's own address."""

from __future__ import annotations

import http.client

from mlaz_ci.errors import NotReachable
from mlaz_ci.models import ScoreRequest, ScoreResponse
from mlaz_ci.ports import Clock


def post(address: str, port: int, request: ScoreRequest, clock: Clock, *, timeout_s: float) -> ScoreResponse:
    begun_s = clock.now_s()
    connection = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        _connect(connection)
        connection.request("POST", "/score", body=request.body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        return ScoreResponse(
            status_code=answer.status,
            body=answer.read(),
            duration_s=clock.now_s() - begun_s,
            spec_hash=answer.getheader("x-mlaz-spec"),
        )
    except (OSError, http.client.HTTPException) as error:
        raise NotReachable(
            f"http://{address}:{port}/score does not answer: {str(error) or type(error).__name__}.",
            usually="The process of the deployment ended, or is busy for longer than a request may take.",
            remedy="See `command: status`; to deploy again starts it.",
        ) from error
    finally:
        connection.close()


def _connect(connection: http.client.HTTPConnection) -> None:
    """No way leads there: that is another failure than a service that refuses, breaks off or does not answer."""
    try:
        connection.connect()
    except ConnectionRefusedError:
        raise
    except OSError as error:
        raise NotReachable(
            f"http://{connection.host}:{connection.port}/score could not be reached: {error}.",
            usually="No network leads from this container to the sibling's (a firewall between networks of the engine).",
        ) from error
