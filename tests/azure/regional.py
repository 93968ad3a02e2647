"""The regional hosts' front hall: token, role and workspace, which every data-plane room asks for before its own rules.

Each of those services words its refusals in its own shape; the hall is handed it and knows no service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.azure.access import MACHINE_LEARNING, Caller, Denied, require_token
from tests.azure.arm import workspaces
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Request, Response
from tests.azure.molds import Mold, misfit
from tests.azure.routing import Params
from tests.azure.state import Cloud

HOST = "{region}.api.azureml.ms"
_HEADERS = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
    "x-request-time": "0.028",
}
# A private workspace refuses whoever comes from outside, as the runner does.
_PRIVATE = "User is not authorized to access provided resources due to none of the workspaces/registries are accessible from outside of the designated private link."


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What a service has to say against a request, before it is put into that service's shape."""

    status: int
    code: str
    message: str
    # Codes and messages that stand below the outer one.
    details: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] | None = None


# A service's own form of a fault: the cloud, the region and the fault lead to the body.
Shape = Callable[[Cloud, str, Fault], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A request that came as far as its workspace: the caller is known and may do what they ask."""

    cloud: Cloud
    request: Request
    caller: Caller
    workspace: workspaces.Workspace
    shape: Shape

    @property
    def region(self) -> str:
        return self.workspace.region

    @property
    def now(self) -> str:
        return iso8601(self.cloud.clock)

    @property
    def base(self) -> str:
        return f"https://{self.region}.api.azureml.ms"

    def refusal(self, status: int, code: str, message: str, *details: tuple[str, str]) -> Refusal:
        fault = Fault(status=status, code=code, message=message, details=details)
        return refusal(self.cloud, self.region, self.shape, fault)

    def body(self, mold: Mold) -> Any:
        """The request's JSON, of these types; the service's own 400 for anything else."""
        try:
            value = self.request.json()
        except Refusal as broken:
            raise self.refusal(400, "BadRequest", "The request content is no valid JSON.") from broken
        if path := misfit(value, mold):
            raise self.refusal(
                400, "BadRequest", f"The request content is invalid: {path} is of another type than expected."
            )
        return value


def headers(more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**_HEADERS, **(more or {})}


def reply(value: Any, *, status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    return Response.json(value, status=status, headers=headers(more))


def empty(status: int = 200, more: Mapping[str, str] | None = None) -> Response:
    return Response.empty(status, headers(more))


def refusal(cloud: Cloud, region: str, shape: Shape, fault: Fault) -> Refusal:
    return Refusal(reply(shape(cloud, region, fault), status=fault.status, more=fault.headers))


def user(caller: Caller) -> dict[str, Any]:
    """Who did something, as the data plane tells it."""
    return {
        "userObjectId": caller.object_id,
        "userPuId": None,
        "userIdp": None,
        "userAltSecId": None,
        "userIss": f"https://sts.windows.net/{caller.tenant_id}/",
        "userTenantId": caller.tenant_id,
        "userName": caller.client_id,
        "upn": None,
    }


def user_error(component: str) -> Shape:
    """The envelope of run history and the services around it, as recorded."""

    def shaped(cloud: Cloud, region: str, fault: Fault) -> dict[str, Any]:
        inner = {404: "NotFoundError", 409: "ConflictError", 403: "AuthorizationError", 401: "AuthorizationError"}
        return {
            "error": {
                "code": fault.code,
                "severity": None,
                "message": fault.message,
                "messageFormat": None,
                "messageParameters": None,
                "referenceCode": None,
                "detailsUri": None,
                "target": None,
                "details": [{"code": code, "message": text, "target": None} for code, text in fault.details],
                "innerError": {"code": inner.get(fault.status, "BadArgument"), "innerError": None},
                "debugInfo": None,
                "additionalInfo": None,
            },
            "correlation": {
                "operation": cloud.new_id().replace("-", ""),
                "request": cloud.new_id().replace("-", "")[:16],
            },
            "environment": region,
            "location": region,
            "time": iso8601(cloud.clock)[:-1] + "+00:00",
            "componentName": component,
            "statusCode": fault.status,
        }

    return shaped


def visit(request: Request, params: Params, cloud: Cloud, action: str, shape: Shape) -> Visit:
    """`action` below Microsoft.MachineLearningServices/workspaces."""
    region = params["region"].lower()
    scope = (
        f"/subscriptions/{params['subscription']}/resourceGroups/{params['resource_group']}"
        f"/providers/{workspaces.TYPE}/{params['workspace']}"
    )
    try:
        caller = require_token(
            request, cloud, audience=MACHINE_LEARNING, action=f"{workspaces.TYPE}/{action}", scope=scope
        )
    except Denied as denied:
        challenge = denied.response.headers.get("WWW-Authenticate")
        fault = Fault(
            status=denied.status,
            code="UserError" if denied.status == 403 else denied.code,
            message=denied.message,
            headers={"WWW-Authenticate": challenge} if challenge else None,
        )
        raise refusal(cloud, region, shape, fault) from denied
    found = cloud.state(workspaces.Workspaces).get(
        params["subscription"], params["resource_group"], params["workspace"]
    )
    if found is None or found.region != region:
        message = f"Workspace {params['workspace']} was not found in {region}."
        raise refusal(cloud, region, shape, Fault(status=404, code="UserError", message=message))
    if found.public_network_access != "Enabled":
        raise refusal(cloud, region, shape, Fault(status=403, code="UserError", message=_PRIVATE))
    return Visit(cloud=cloud, request=request, caller=caller, workspace=found, shape=shape)
