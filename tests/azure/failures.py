"""Every failure of Azure that was recorded or printed, by its name, and what brings it about: one table for all rooms.

Names are the ids of wire/errors/real_errors.json, and a few of our own for what recordings and the clients hold besides. A test
lays one and does what `meets` says; the rooms' own rules bring most of them about as well, without being told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.azure import aadsts, entra, faults, mlflow_shapes, mms_errors, regional, storage, world
from tests.azure.arm import on_demand, workspaces
from tests.azure.messages import Request, Response
from tests.azure.regional import Fault, Shape
from tests.azure.state import Cloud

_REGIONAL = "*.api.azureml.ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """`lay` readies the cloud, for the service `service` where it befalls one."""

    meets: str
    lay: Callable[[Cloud, str], object]


def _natural(meets: str) -> Failure:
    """The rooms' rules alone bring it about."""
    return Failure(meets=meets, lay=lambda cloud, service: None)


def _answered(
    meets: str, answer: faults.Answer, *, path: str, method: str = "*", host: str = _REGIONAL, times: int | None = 1
) -> Failure:
    return Failure(
        meets=meets,
        lay=lambda cloud, service: cloud.faults.add(answer, host=host, method=method, path=path, times=times),
    )


def _shaped(meets: str, shape: Shape, fault: Fault, *, path: str, method: str = "*") -> Failure:
    """A regional service's own envelope around what it says."""

    def lay(cloud: Cloud, service: str) -> object:
        def answer(request: Request) -> Response:
            return regional.refusal(cloud, world.REGION, shape, fault).response

        return cloud.faults.add(faults.Answer(response=answer), host=_REGIONAL, method=method, path=path)

    return Failure(meets=meets, lay=lay)


def _flat(status: int, code: str, message: str, *details: tuple[str, str]) -> faults.Answer:
    return faults.json_error(status, mms_errors.flat(code, status, message, *details))


def _of_arm(name: str, meets: str) -> Failure:
    return Failure(meets=meets, lay=lambda cloud, service: on_demand.lay(cloud, name))


def _of_a_service(name: str) -> Failure:
    meets = "POST services" if name in mms_errors.REFUSALS else "the operation of POST services"
    return Failure(meets=meets, lay=lambda cloud, service: mms_errors.provoke(cloud, name, service=service))


def _of_entra(code: int) -> Failure:
    return _answered("POST token", aadsts.on_demand(code), path=r"/oauth2/v2\.0/token$", method="POST", host=entra.HOST)


def _close_workspace(cloud: Cloud, service: str) -> None:
    cloud.state(workspaces.Workspaces).default.public_network_access = "Disabled"


def _switch_keys_off(cloud: Cloud, service: str) -> None:
    cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].allows_shared_key = False


def _taken(service: str) -> dict[str, Any]:
    absent = ("id", "description", "tags", "kvTags", "properties", "operationId", "createdBy")
    text = f"Service {service} with the same name already exists, please use a different service name or delete the existing service."
    known = {"name": service, "state": "Transitioning", "createdTime": "2020-08-24T07:20:29.7806277"}
    return dict.fromkeys(absent) | known | {"error": {"message": text}, "computeType": "UNKNOWN"}


def _take_name(cloud: Cloud, service: str) -> object:
    answer = faults.json_error(200, _taken(service))
    return cloud.faults.add(answer, host=_REGIONAL, method="POST", path=f"/services/validate/name/{service}$")


def _take_service(cloud: Cloud, service: str) -> object:
    text = f"Subscription {world.SUBSCRIPTION_ID} already contains an ACI Container Group with name {service}"
    answer = _flat(409, "Conflict", "Conflict", ("ServiceExists", text))
    return cloud.faults.add(answer, host=_REGIONAL, method="POST", path=r"/services$")


_GET_ARM, _ANY_ARM = "GET of ARM", "any request of ARM"
_BROKEN_MODELS = ("ServiceModelConflict", "Exactly one of the ModelIds or Models must be specified for a service.")

TABLE: dict[str, Failure] = {
    **{name: _of_a_service(name) for name in (*mms_errors.FAILURES, *mms_errors.REFUSALS)},
    "mms-service-exists": Failure(meets="POST services", lay=_take_service),
    "mms-model-conflict": _answered(
        "POST services",
        _flat(400, "BadRequest", "The request is invalid", _BROKEN_MODELS),
        path=r"/services$",
        method="POST",
    ),
    "mms-404": _answered(
        "any GET of model management",
        _flat(404, "NotFound", "The specified resource was not found."),
        path="/modelmanagement/",
        method="GET",
    ),
    "mms-429": _answered(
        "POST services", _flat(429, "TooManyRequests", "Too many requests."), path=r"/services$", method="POST"
    ),
    "mms-503": _answered(
        "POST services",
        _flat(503, "ServiceUnavailable", "The service is temporarily unavailable."),
        path=r"/services$",
        method="POST",
    ),
    "validate-name-taken": Failure(meets="POST services/validate/name/{service}", lay=_take_name),
    "validate-resource": _answered(
        "POST services/validate/resource",
        faults.json_error(200, {"error": {"message": "The resources asked for are not to be had."}}),
        path=r"/services/validate/resource$",
        method="POST",
    ),
    "model-not-found-client": _answered(
        "GET models?name=", faults.json_error(200, {"value": []}), path=r"/models$", method="GET"
    ),
    "register-forbidden": _shaped(
        "POST artifacts/batch/metadata",
        regional.user_error("artifact"),
        Fault(status=403, code="UserError", message="The caller may not write artifacts of this workspace."),
        path="/artifacts/batch/metadata",
    ),
    "private-link": Failure(meets="any request of a regional host", lay=_close_workspace),
    "storage-key-off": Failure(meets="any request of blob storage with a SAS", lay=_switch_keys_off),
    "blob-403": _answered(
        "PUT of a blob",
        faults.Answer(
            response=Response(
                status=403,
                body=b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthorizationFailure</Code><Message>This request is not authorized to perform this operation.</Message></Error>',
            ).with_headers({"Content-Type": "application/xml", "x-ms-error-code": "AuthorizationFailure"})
        ),
        path="",
        method="PUT",
        host="*.blob.core.windows.net",
        times=None,
    ),
    "blob-404": _natural("HEAD of a blob that is not there"),
    "aad-bad-secret": _of_entra(7000215),
    "aad-no-app": _of_entra(700016),
    "aad-oidc-subject": _of_entra(70021),
    "aad-oidc-7002138": _of_entra(7002138),
    "aad-assertion-expired": _of_entra(700024),
    "mlflow-logged-models-404": _natural("any request of logged-models"),
    "mlflow-validation": _shaped(
        "any request of MLflow",
        mlflow_shapes.shape,
        Fault(status=400, code="BadRequest", message="The request is invalid."),
        path="/mlflow/",
    ),
    "mlflow-401": _shaped(
        "any request of MLflow",
        mlflow_shapes.shape,
        Fault(status=401, code="UserError", message="The token of this request is not valid here."),
        path="/mlflow/",
    ),
    "mlflow-429": _answered("any request of MLflow", faults.empty_body(429), path="/mlflow/", times=None),
    "run-not-found": _natural("rundata, or GET runs/get, of a run that is not there"),
    "registry-asset-404": _natural("GET of an asset of a registry"),
    "registry-no-storage": _natural("PUT of a registry's tempdatarefs"),
    "arm-401-expired": _of_arm("arm-401-expired", _ANY_ARM),
    "arm-403-workspace": _of_arm("arm-403-workspace", "GET of the workspace"),
    "arm-404": _of_arm("arm-404", _GET_ARM),
    "arm-404-endpoint": _of_arm("arm-404-endpoint", "GET of an endpoint"),
    "arm-404-service": _of_arm("arm-404-service", "GET of a deployment"),
    "arm-404-deployment": _of_arm("arm-404-deployment", "GET of a deployment"),
    "arm-404-model": _of_arm("arm-404-model", "GET of a model"),
    "arm-409": _of_arm("arm-409", _ANY_ARM),
    "arm-429": _of_arm("arm-429", _ANY_ARM),
    "arm-429b": _of_arm("arm-429b", _ANY_ARM),
    "arm-500": _of_arm("arm-500", _ANY_ARM),
    "arm-502": _of_arm("arm-502", _ANY_ARM),
    "arm-504-html": _of_arm("arm-504-html", _ANY_ARM),
    "ws-not-found": _of_arm("ws-not-found", "GET of the workspace"),
    "mir-name-taken": _of_arm("mir-name-taken", "PUT of an endpoint"),
    "mir-quota": _of_arm("mir-quota", "PUT of a deployment"),
    "mir-crash": _of_arm("mir-crash", "the operation of a deployment's PUT"),
    "mir-lro-failed": _of_arm("mir-lro-failed", "the operation of a deployment's DELETE"),
    "aks-name-invalid": _of_arm("aks-name-invalid", "PUT of a compute"),
    "aks-409": _of_arm("aks-409", "PUT of a compute"),
    "aks-quota": _of_arm("aks-quota", "the operation of a compute's PUT"),
    "aks-attach-forbidden": _of_arm("aks-attach-forbidden", "the operation of a compute's PUT with a resourceId"),
}
# A printed row that stands for several.
SEVERAL = {"arm-404-codes": ("arm-404", "arm-404-endpoint", "arm-404-deployment", "arm-404-service", "arm-404-model")}
# By the innermost code of a recorded error of ARM.
RECORDED = {
    "ResourceNotFound": "arm-404",
    "NoSuchEndpoint": "arm-404-endpoint",
    "NoSuchService": "arm-404-service",
    "ModelNotFound": "arm-404-model",
    "BadGatewayConnection": "arm-502",
    "ExpiredAuthenticationToken": "arm-401-expired",
}


def lay(cloud: Cloud, name: str, *, service: str = "churn-svc") -> faults.Rule | None:
    """Lets the next thing that `TABLE[name].meets` names meet this failure; its rule, where it is one (`times = None`: all)."""
    laid = TABLE[name].lay(cloud, service)
    return laid if isinstance(laid, faults.Rule) else None
