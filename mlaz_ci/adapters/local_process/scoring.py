"""One scoring request over HTTP to a port of this machine."""

from __future__ import annotations

import http.client
import time

from mlaz_ci.errors import NotReachable
from mlaz_ci.models import ScoreRequest, ScoreResponse


def post(host: str, number: int, request: ScoreRequest, *, timeout_s: float) -> ScoreResponse:
    begun_s = time.perf_counter()
    connection = http.client.HTTPConnection(host, number, timeout=timeout_s)
    try:
        connection.request("POST", "/score", request.body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return ScoreResponse(
            status_code=response.status,
            body=response.read(),
            duration_s=time.perf_counter() - begun_s,
            spec_hash=response.headers.get("x-mlaz-spec"),
        )
    except (OSError, http.client.HTTPException) as error:
        raise NotReachable(
            f"http://{host}:{number}/score does not answer: {str(error) or type(error).__name__}.",
            usually="The process of the deployment ended, or is busy for longer than a request may take.",
            remedy="See `command: status`; to deploy again starts it.",
        ) from error
    finally:
        connection.close()
