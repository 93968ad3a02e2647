"""Model management v1: services on ACI and AKS, from their validation to their deletion, and their operations."""

from __future__ import annotations

import re
import secrets
from typing import Any

from tests.azure import mms, mms_errors, mms_models, mms_starting, regional, webservices
from tests.azure.arm import operations as arm_operations
from tests.azure.arm.computes import Computes
from tests.azure.backends import Serving, StartFailed
from tests.azure.messages import Refusal, Request, Response
from tests.azure.mms_shapes import SERVICE, completed, rendered, service_operation
from tests.azure.molds import scalar
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud
from tests.azure.transitions import after_polls
from tests.azure.webservices import ACI, AKS, ENDPOINT, Operation, Service, Services

SERVICES = mms.BASE + "/services"
ONE = SERVICES + "/{service}"
_NAME = re.compile(r"[a-z]([a-z0-9-]{1,30})[a-z0-9]")
_TOKEN_LIFETIME_S = 12 * 3600
# What a PATCH may change. All but the words about it takes a new container.
_WORDS = ("kvTags", "properties", "description")
_PATCHED = {
    ACI: (
        *_WORDS,
        *("environmentImageRequest", "imageId", "authEnabled", "appInsightsEnabled"),
        *("sslEnabled", "sslCertificate", "sslKey", "cname"),
    ),
    AKS: (
        *(
            *_WORDS,
            "environmentImageRequest",
            "imageId",
            "authEnabled",
            "aadAuthEnabled",
            "appInsightsEnabled",
            "autoScaler",
        ),
        *("dataCollection", "containerResourceRequirements", "scoringTimeoutMs", "maxConcurrentRequestsPerContainer"),
        *("maxQueueWaitMs", "numReplicas", "livenessProbeRequirements", "namespace"),
        *("isDefault", "trafficPercentile", "type"),
    ),
    ENDPOINT: (*_WORDS, "authEnabled", "aadAuthEnabled", "appInsightsEnabled", "versions", "namespace"),
}

room = Room("mms-services", host=regional.HOST)


def _action(kind: str, verb: str) -> str:
    return f"services/{'aci' if kind == ACI else 'aks'}/{verb}"


def _service(found: Visit, name: str) -> Service:
    service = found.cloud.state(Services).get(found.workspace.key, name)
    if service is not None:
        webservices.settle(found.cloud, service)
        # A deletion that time has brought to its end takes the service away.
        service = found.cloud.state(Services).get(found.workspace.key, name)
    if service is None:
        text = f"Service with name {name} could not be found in provided workspace."
        raise found.refusal(404, "NotFound", "The specified resource was not found.", ("NoSuchService", text))
    return service


def _visit(request: Request, params: Params, cloud: Cloud, verb: str) -> tuple[Visit, Service]:
    """To a service; the permission is that of its kind, so it is looked for first."""
    found = mms.visit(request, params, cloud, "services/read")
    service = _service(found, params["service"])
    if verb != "read":
        mms.visit(request, params, cloud, _action(service.kind, verb))
    return found, service


def _accepted(found: Visit, operation: Operation, status: int = 202) -> Response:
    location = f"{found.base}/modelmanagement/v1.0{found.workspace.id}/operations/{operation.id}"
    return mms.empty(found, status, {"Operation-Location": location, **arm_operations.retry_after(found.cloud)})


def _invalid(found: Visit, code: str, text: str) -> Refusal:
    return found.refusal(400, "BadRequest", "The request is invalid", (code, text))


def _validated(name: str, text: str | None) -> dict[str, Any]:
    """What the validations answer, always with 200: a service nobody knows, with an error in it or none."""
    absent = dict.fromkeys(("id", "description", "tags", "kvTags", "properties", "operationId", "createdBy"))
    # azureml-core looks into `error` whenever it is there, also when it is null.
    error = {"error": {"message": text}} if text else {}
    return {**absent, "name": name, "state": "Transitioning", "createdTime": None, **error, "computeType": "UNKNOWN"}


def _name_taken(found: Visit, name: str) -> str | None:
    if found.cloud.state(Services).get(found.workspace.key, name) is None:
        return None
    return f"Service {name} with the same name already exists, please use a different service name or delete the existing service."


@room.post(SERVICES + "/validate/name/{service}")
def validate_name(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    return mms.reply(found, _validated(params["service"], _name_taken(found, params["service"])))


@room.post(SERVICES + "/validate")
def validate(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    asked = found.body({"type": str, "serviceName": str, "createRequest": {"overwrite": bool}})
    name, text = str(asked.get("serviceName") or ""), None
    if asked.get("type") == "Create":
        create = asked.get("createRequest") or {}
        text = None if create.get("overwrite") else _name_taken(found, name)
    elif cloud.state(Services).get(found.workspace.key, name) is None:
        text = f"Service {name} does not exist."
    return mms.reply(found, _validated(name, text))


@room.post(SERVICES + "/validate/resource")
def validate_resource(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    asked = found.body(SERVICE)
    error = _short_of_cores(found, asked) if asked.get("computeType") == ACI else None
    return mms.reply(found, _validated(str(asked.get("name") or ""), error["message"] if error else None))


def _short_of_cores(found: Visit, asked: dict[str, Any]) -> dict[str, Any] | None:
    state, region = found.cloud.state(Services), asked.get("location") or found.region
    wanted = float((asked.get("containerResourceRequirements") or {}).get("cpu") or 0.1)
    known = state.get(found.workspace.key, str(asked.get("name") or ""))
    own = float(known.request["containerResourceRequirements"]["cpu"]) if known is not None and known.kind == ACI else 0
    used = state.aci_cores(region) - own
    if state.aci_core_limit is None or used + wanted <= state.aci_core_limit:
        return None
    return mms_errors.quota(region, state.aci_core_limit, used, wanted)


def _check_image(found: Visit, asked: dict[str, Any]) -> None:
    image = asked.get("environmentImageRequest")
    if image is None:
        if not asked.get("imageId"):
            raise _invalid(found, "MissingImage", "Either environmentImageRequest or imageId must be specified.")
        return
    if (image.get("modelIds") is None) == (image.get("models") is None):
        text = "Exactly one of the ModelIds or Models must be specified for a service."
        raise _invalid(found, "ServiceModelConflict", text)
    for model_id in image.get("modelIds") or ():
        if mms_models.find(found.cloud, found.workspace, str(model_id)) is None:
            raise mms_models.not_found(found, str(model_id))


def _check_create(found: Visit, asked: dict[str, Any]) -> None:
    kind, name = asked.get("computeType"), str(asked.get("name") or "")
    if kind not in {ACI, AKS, ENDPOINT}:
        raise _invalid(found, "InvalidComputeType", f"computeType {kind!r} is not supported.")
    if not _NAME.fullmatch(name):
        text = f"Service name {name!r} is invalid: it begins with a letter, holds lower-case letters, digits and dashes, and is 3 to 32 characters long."
        raise _invalid(found, "InvalidServiceName", text)
    if kind != ENDPOINT:
        _check_image(found, asked)
    for version in (asked.get("versions") or {}).values():
        _check_image(found, version)
    if kind != ACI:
        _check_cluster(found, str(asked.get("computeName") or ""))


def _check_cluster(found: Visit, name: str) -> None:
    compute = found.cloud.state(Computes).get(found.workspace.key, name)
    if compute is None or compute.kind != AKS:
        text = f"The compute target {name} could not be found in the provided workspace."
        raise found.refusal(404, "NotFound", "The specified resource was not found.", ("ComputeNotFound", text))
    compute.operation.look(found.cloud)
    if compute.provisioning_state != "Succeeded":
        text = f"The compute target {name} is not ready: its provisioning state is {compute.provisioning_state}."
        raise _invalid(found, "ComputeNotReady", text)


def _refuse_taken(found: Visit, known: Service, *, is_overwrite: bool) -> None:
    if not is_overwrite or known.kind == ENDPOINT:
        text = f"Subscription {found.workspace.subscription} already contains an ACI Container Group with name {known.name}"
        if known.kind != ACI:
            text = f"Service with name {known.name} already exists in workspace {found.workspace.name}"
        raise found.refusal(409, "Conflict", "Conflict", ("ServiceExists", text))
    _refuse_busy(found, known)


def _refuse_busy(found: Visit, service: Service) -> None:
    operation = found.cloud.state(Services).operations.get((service.workspace, service.operation))
    if operation is not None and not operation.is_over:
        text = f"Service {service.name} is being changed by operation {operation.id}: wait until it is over."
        raise found.refusal(409, "Conflict", "Conflict", ("OperationInProgress", text))


@room.post(SERVICES)
def create_service(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    asked = found.body(SERVICE)
    mms.visit(request, params, cloud, _action(str(asked.get("computeType")), "write"))
    _check_create(found, asked)
    state = cloud.state(Services)
    known = state.get(found.workspace.key, asked["name"])
    if known is not None:
        webservices.settle(cloud, known)
        known = state.get(found.workspace.key, asked["name"])
    if known is not None:
        _refuse_taken(found, known, is_overwrite=bool(asked.get("overwrite")))
    short = _short_of_cores(found, asked) if asked["computeType"] == ACI else None
    service = _made(found, asked, known)
    state.by_key[(found.workspace.key, service.name.lower())] = service
    stages = after_polls(1, "Running", "Failed", error=short) if short else None
    return _accepted(found, webservices.begin(cloud, service, "mms-create", starts=True, stages=stages))


def _made(found: Visit, asked: dict[str, Any], known: Service | None) -> Service:
    """A service that overwrites another goes on serving by the old one's container until its own is up."""
    is_aci = asked["computeType"] == ACI
    compute = None if is_aci else found.cloud.state(Computes).get(found.workspace.key, asked["computeName"])
    return Service(
        workspace=found.workspace.key,
        name=asked["name"],
        kind=asked["computeType"],
        request=completed(asked),
        region=(asked.get("location") or found.region).lower().replace(" ", ""),
        created=known.created if known else found.now,
        updated=found.now,
        keys=webservices.new_keys(asked.get("keys")),
        created_by=known.created_by if known else regional.user(found.caller),
        label=(asked.get("dnsNameLabel") or found.cloud.new_id()) if is_aci else "",
        address=compute.address if compute else "",
        serving=known.serving if known else "",
        limit=known.limit if known else 0,
    )


@room.get(ONE)
def get_service(request: Request, params: Params, cloud: Cloud) -> Response:
    found, service = _visit(request, params, cloud, "read")
    expands = request.query.get("expand", "").lower() == "true"
    return mms.reply(found, rendered(cloud, found.workspace, service, expands=expands))


@room.get(SERVICES)
def list_services(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    for service in cloud.state(Services).of(found.workspace.key):
        webservices.settle(cloud, service)
    expands = request.query.get("expand", "").lower() == "true"
    kept = [one for one in cloud.state(Services).of(found.workspace.key) if _is_asked(found, one)]
    return mms.reply(found, mms.page(found, [rendered(cloud, found.workspace, one, expands=expands) for one in kept]))


def _is_asked(found: Visit, service: Service) -> bool:
    query = found.request.query
    models = (service.request.get("environmentImageRequest") or {}).get("modelIds") or []
    return (
        query.get("name", service.name) == service.name
        and query.get("computetype", service.kind).upper() == service.kind
        and (not query.get("modelid") or query["modelid"] in models)
        and (not query.get("modelname") or query["modelname"] in {one.partition(":")[0] for one in models})
        and mms.has_pairs(found, "tags", service.request.get("kvTags"))
        and mms.has_pairs(found, "properties", service.request.get("properties"))
    )


@room.patch(ONE)
def patch_service(request: Request, params: Params, cloud: Cloud) -> Response:
    found, service = _visit(request, params, cloud, "write")
    value = mms.checked(found, mms.patched(found, service.request, _PATCHED[service.kind]), SERVICE)
    kept = service.request.get("properties") or {}
    changed = sorted(name for name, text in kept.items() if (value.get("properties") or {}).get(name) != text)
    if changed:
        raise _invalid(found, "ImmutableProperty", f"The properties {changed} of the service cannot be changed.")
    if value.get("environmentImageRequest") != service.request.get("environmentImageRequest"):
        _check_image(found, value)
    members = {str(operation["path"])[1:].partition("/")[0] for operation in found.body([object])}
    is_words_alone = members <= set(_WORDS)
    if not is_words_alone:
        _refuse_busy(found, service)
    service.request, service.updated = value, found.now
    # azureml-mlflow follows the Operation-Location of every PATCH, and fails where there is none.
    if is_words_alone:
        return _accepted(found, webservices.begin(cloud, service, "mms-words"))
    starts = bool(members & {"environmentImageRequest", "versions"})
    return _accepted(found, webservices.begin(cloud, service, "mms-update", starts=starts))


@room.delete(ONE)
def delete_service(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    if cloud.state(Services).get(found.workspace.key, params["service"]) is None:
        return mms.empty(found, 204)
    found, service = _visit(request, params, cloud, "delete")
    return _accepted(found, webservices.begin(cloud, service, "mms-delete"))


@room.get(ONE + "/logs")
def get_logs(request: Request, params: Params, cloud: Cloud) -> Response:
    found, service = _visit(request, params, cloud, "read")
    tail = request.query.get("tail", "")
    lines = _log_of(cloud, service).splitlines(keepends=True)
    return mms.reply(found, {"content": "".join(lines[-int(tail) :] if tail.isdigit() else lines)})


def _log_of(cloud: Cloud, service: Service) -> str:
    if service.told_log is not None:
        return service.told_log
    start = cloud.live(Serving).start_of(service.serving) if service.serving else None
    if start is None:
        return ""
    if isinstance(start.error, StartFailed):
        return start.error.log
    return start.handle.logs() if start.handle else ""


@room.post(ONE + "/listkeys")
def list_keys(request: Request, params: Params, cloud: Cloud) -> Response:
    found, service = _visit(request, params, cloud, "listkeys/action")
    if not service.is_keyed:
        raise _invalid(found, "AuthNotEnabled", f"Service {service.name} has no keys: its key authentication is off.")
    return mms.reply(found, service.keys)


@room.post(ONE + "/regenerateKeys")
def regenerate_keys(request: Request, params: Params, cloud: Cloud) -> Response:
    found, service = _visit(request, params, cloud, "listkeys/action")
    asked = found.body({"keyType": scalar, "keyValue": str})
    which = {"Primary": "primaryKey", "0": "primaryKey", "Secondary": "secondaryKey", "1": "secondaryKey"}
    name = which.get(str(asked.get("keyType")))
    if name is None:
        raise _invalid(found, "InvalidKeyType", f"keyType {asked.get('keyType')!r} is neither Primary nor Secondary.")
    service.keys[name] = webservices.new_keys({name: asked.get("keyValue")})[name]
    return _accepted(found, webservices.begin(cloud, service, "mms-keys"))


@room.post(ONE + "/token")
def get_token(request: Request, params: Params, cloud: Cloud) -> Response:
    found, service = _visit(request, params, cloud, "listkeys/action")
    if not service.request.get("aadAuthEnabled"):
        raise _invalid(
            found, "TokenAuthNotEnabled", f"Service {service.name} takes no tokens: its token authentication is off."
        )
    now_s = int(cloud.clock.now_s())
    token, expiry_s = secrets.token_urlsafe(48), now_s + _TOKEN_LIFETIME_S
    service.tokens[token] = float(expiry_s)
    value = {
        "accessToken": token,
        "tokenType": "Bearer",
        "expiryOn": expiry_s,
        "refreshAfter": now_s + _TOKEN_LIFETIME_S // 2,
    }
    return mms.reply(found, value, status=201)


@room.get(mms.BASE + "/operations/{operation}")
def get_operation(request: Request, params: Params, cloud: Cloud) -> Response:
    found = mms.visit(request, params, cloud, "services/read")
    operation = cloud.state(Services).operations.get((found.workspace.key, params["operation"]))
    if operation is None:
        text = f"Operation with id {params['operation']} could not be found."
        raise found.refusal(404, "NotFound", "The specified resource was not found.", ("OperationNotFound", text))
    webservices.look(cloud, operation, polls=True)
    offset = request.query.get("offset", "0")
    log = mms_starting.log_url(cloud, operation.workspace, operation.log_blob) if operation.log_blob else None
    value = service_operation(found.workspace, operation, offset=int(offset) if offset.isdigit() else 0, log_url=log)
    return mms.reply(found, value, more={} if operation.is_over else arm_operations.retry_after(cloud))
