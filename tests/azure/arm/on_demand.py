"""Azure's failures by name: what a test lays down to see one, whatever the rules would bring about by themselves.

Codes, statuses and causes are recorded facts, from recordings and from what users printed; wordings are close to them.
Each is either an answer (a fault rule) or the error an operation ends with (a script).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.azure import world
from tests.azure.arm import answers, operations, versions
from tests.azure.faults import Answer, Rule, html_error
from tests.azure.messages import Request, Response
from tests.azure.state import Cloud
from tests.azure.transitions import after_polls

_GATEWAY = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}


Make = Callable[[Request, Cloud], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An answer in place of the room's; `path` and `method` say to what."""

    path: str
    method: str
    make: Make

    def lay(self, cloud: Cloud, *, times: int | None = 1) -> Rule:
        return cloud.faults.add(
            Answer(response=lambda request: self.make(request, cloud)),
            host=versions.HOST,
            method=self.method,
            path=self.path,
            times=times,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The error the next operation of a kind ends with."""

    kind: str
    error: dict[str, Any]

    def lay(self, cloud: Cloud, *, times: int | None = 1) -> None:
        cloud.scripts.add(self.kind, after_polls(1, "Updating", "Failed", error=self.error), times=times)


def _arm(status: int, code: str, message: str, **headers: str) -> Make:
    """ARM itself answers."""
    value = {"error": {"code": code, "message": message}}
    told = {
        **_GATEWAY,
        "x-ms-failure-cause": "gateway",
        **{name.replace("_", "-"): text for name, text in headers.items()},
    }
    return lambda request, cloud: Response.json(value, status=status, headers=told)


def _missing(request: Request, cloud: Cloud) -> Response:
    parts = request.path.partition("/Microsoft.MachineLearningServices/")[2]
    group = request.path.split("/")[4] if request.path.count("/") > 4 else world.RESOURCE_GROUP
    return answers.resource_not_found(parts.rpartition("/")[0], parts.rpartition("/")[2], group).response


def _service(status: int, code: str, message: str, *details: tuple[str, str]) -> Make:
    """The machine learning service behind ARM answers."""

    def make(request: Request, cloud: Cloud) -> Response:
        return answers.service_refusal(cloud, world.REGION, status, code, message, *details).response

    return make


def _not_found(code: str, text: str, *, outer: str = "NotFound") -> Make:
    return _service(404, outer, "The specified resource was not found.", (code, text))


def _plain(status: int, code: str, message: str) -> Make:
    headers = answers.service_headers(world.REGION, did="error", kind="error")
    return lambda request, cloud: Response.json(
        {"error": {"code": code, "message": message}}, status=status, headers=headers
    )


def _expired(request: Request, cloud: Cloud) -> Response:
    text = "The access token expiry UTC time '8/20/2024 4:48:47 PM' is earlier than current UTC time '8/20/2024 4:48:47 PM'."
    challenge = 'Bearer authorization_uri="https://login.windows.net/", error="invalid_token", error_description="The access token has expired."'
    return _arm(401, "ExpiredAuthenticationToken", text, WWW_Authenticate=challenge)(request, cloud)


def _forbidden(request: Request, cloud: Cloud) -> Response:
    scope = request.path
    text = f"The client '{world.CLIENT_ID}' with object id '{world.CLIENT_OBJECT_ID}' does not have authorization to perform action 'Microsoft.MachineLearningServices/workspaces/read' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    return _arm(403, "AuthorizationFailed", text)(request, cloud)


_WORKSPACE = r"/workspaces/[^/]+$"
_ENDPOINT = r"/onlineEndpoints/[^/]+$"
_DEPLOYMENT = r"/deployments/[^/]+$"
_COMPUTE = r"/computes/[^/]+$"
_QUOTA = answers.inferencing_errors(
    "VmSize",
    f"Not enough quota available for Standard_F4s_v2 in SubscriptionId {world.SUBSCRIPTION_ID}. Current usage/limit: 0/6. Additional needed: 8",
)
_TRAFFIC = '"Can\'t delete deployment [blue] with non-zero traffic weight, Current traffic [100]. Remove the traffic for this deployment on endpoint [churn] and try again"'
_PULL_SECRET = "Retries exceeded in deploying image pull secret acrkey, exceptions occurred are: Operation returned an invalid status code 'Forbidden'"

CATALOGUE: dict[str, Refused | Ended] = {
    "arm-401-expired": Refused(path="", method="*", make=_expired),
    "arm-403-workspace": Refused(path=_WORKSPACE, method="GET", make=_forbidden),
    "arm-404": Refused(path="", method="GET", make=_missing),
    "arm-404-endpoint": Refused(
        path=_ENDPOINT, method="GET", make=_not_found("NoSuchEndpoint", "There is no endpoint with this name.")
    ),
    "arm-404-service": Refused(
        path=_DEPLOYMENT, method="GET", make=_not_found("NoSuchService", "There is no service with this name.")
    ),
    "arm-404-deployment": Refused(
        path=_DEPLOYMENT, method="GET", make=_not_found("NoSuchDeployment", "There is no deployment with this name.")
    ),
    "arm-404-model": Refused(
        path=r"/models/",
        method="GET",
        make=_not_found("ModelNotFound", "Model container not found.", outer="UserError"),
    ),
    "arm-409": Refused(
        path="", method="*", make=_plain(409, "Conflict", "Another operation on this resource is in progress.")
    ),
    "arm-429": Refused(
        path="",
        method="*",
        make=_arm(
            429,
            "ResourceRequestsThrottled",
            "Number of requests for action exceeded the limit of '50' for time interval '00:05:00'. Please try again after '372' seconds.",
            Retry_After="372",
        ),
    ),
    "arm-429b": Refused(
        path="", method="*", make=_arm(429, "TooManyRequests", "The request is being throttled.", Retry_After="36")
    ),
    "arm-500": Refused(
        path="",
        method="*",
        make=_plain(
            500,
            "InternalServerError",
            "An internal server error occurred. Please try again. If the problem persists, contact support",
        ),
    ),
    "arm-502": Refused(
        path="",
        method="*",
        make=_arm(
            502,
            "BadGatewayConnection",
            "The network connectivity issue encountered for 'Microsoft.MachineLearningServices'; cannot fulfill the request.",
        ),
    ),
    "arm-504-html": Refused(path="", method="*", make=lambda request, cloud: _html()),
    "ws-not-found": Refused(path=_WORKSPACE, method="GET", make=_missing),
    "mir-name-taken": Refused(
        path=_ENDPOINT,
        method="PUT",
        make=_service(
            400,
            "BadRequest",
            "The request is invalid.",
            (
                "InferencingClientCallFailed",
                "There is already an endpoint with this name, Endpoint name needs to be unique within a region. Try some other name.",
            ),
        ),
    ),
    "mir-quota": Refused(
        path=_DEPLOYMENT,
        method="PUT",
        make=_service(
            400, "BadRequest", "The request is invalid.", ("InferencingClientCreateDeploymentFailed", _QUOTA)
        ),
    ),
    "mir-crash": Ended(kind="online-deployment-create", error=dict(operations.CRASHED)),
    "mir-lro-failed": Ended(
        kind="online-deployment-delete",
        error={"code": "InferencingClientCallFailed", "message": _TRAFFIC, "details": []},
    ),
    "aks-name-invalid": Refused(
        path=_COMPUTE,
        method="PUT",
        make=_plain(
            400,
            "BadArgument",
            "Compute name is invalid. It can include letters, digits and dashes. It must start with a letter, end with a letter or digit, and be between 2 and 16 characters in length",
        ),
    ),
    "aks-409": Refused(path=_COMPUTE, method="PUT", make=_plain(409, "Conflict", "ResourceDeploymentFailure")),
    "aks-quota": Ended(
        kind="compute-create",
        error={
            "code": "BadArgument",
            "message": "InvalidTemplateDeployment: Details: Error code: 'InvalidTemplateDeployment'. Target: ''. Message: 'The template deployment is not valid according to the validation procedure.'",
        },
    ),
    "aks-attach-forbidden": Ended(
        kind="compute-attach",
        error={
            "code": "InternalServerError",
            "statusCode": 500,
            "message": "An internal server error occurred. Please try again. If the problem persists, contact support",
            "details": [{"code": "InternalError", "message": _PULL_SECRET}],
        },
    ),
}


def _html() -> Response:
    fault = html_error(
        504,
        "<html>\n<head><title>504 Gateway Time-out</title></head>\n<body><center><h1>504 Gateway Time-out</h1></center><hr></body>\n</html>",
    )
    assert isinstance(fault.response, Response)
    return fault.response


def lay(cloud: Cloud, name: str, *, times: int | None = 1) -> Rule | None:
    """Lays the failure `name` before the next request or operation it can befall; its rule, where it is one."""
    return CATALOGUE[name].lay(cloud, times=times)
