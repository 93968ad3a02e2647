"""Long-running operations: begun by a write, watched by polls, ended by the script laid for them or by the room's course.

Knows no resource: each is a subject that is told when its operation ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.azure.access import require_token
from tests.azure.arm import answers, versions
from tests.azure.clock import iso8601
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud
from tests.azure.transitions import Progress, Stage, after_polls

# The course of an operation that no test scripted: one poll sees it under way, the next sees it done.
_COURSES: dict[str, tuple[str, ...]] = {
    "online-endpoint-create": ("Creating", "Succeeded"),
    "online-endpoint-update": ("Updating", "Succeeded"),
    "online-endpoint-delete": ("Deleting", "Succeeded"),
    "online-endpoint-keys": ("Updating", "Succeeded"),
    "online-deployment-create": ("Updating", "Succeeded"),
    "online-deployment-update": ("Updating", "Succeeded"),
    "online-deployment-scale": ("Scaling", "Succeeded"),
    "online-deployment-delete": ("Deleting", "Succeeded"),
    "compute-create": ("Creating", "Succeeded"),
    "compute-attach": ("Creating", "Succeeded"),
    "compute-delete": ("Deleting", "Succeeded"),
    "workspace-update": ("Updating", "Succeeded"),
    "workspace-delete": ("Deleting", "Succeeded"),
}
CRASHED = {
    "code": "ResourceNotReady",
    "message": "User container has crashed or terminated. Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-resourcenotready",
}
MFE, COMPUTE, WORKSPACE = "mfeOperationsStatus", "computeOperationsStatus", "workspaceOperationsStatus"

room = Room("arm-operations", host=versions.HOST)


class Subject(Protocol):
    """What an operation works on."""

    def is_ready(self, cloud: Cloud) -> bool:
        """False holds an operation back that would otherwise succeed: its service still starts."""

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        """Why a service that was to start did not; None when it did."""

    def finished(self, cloud: Cloud, operation: Operation) -> None: ...


@dataclass(slots=True, kw_only=True)
class Operation:
    id: str
    kind: str
    # The subject's name within its region, as MMS calls it in `resourceLocation`.
    name: str
    subject: Subject
    progress: Progress
    service: str
    region: str
    subscription: str
    version: str
    started: str
    ended: str = ""
    # Empty while it is under way; then Succeeded, Failed or Canceled.
    status: str = ""
    error: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return bool(self.status)

    def look(self, cloud: Cloud, *, polls: bool = False) -> None:
        """Brings the operation to where it stands now; `polls`: this look counts as one."""
        if self.is_over:
            return
        stage = self.progress.poll(cloud.clock) if polls else self.progress.peek(cloud.clock)
        if not stage.is_last:
            return
        status, error = stage.state, stage.error
        if status == "Succeeded":
            if not self.subject.is_ready(cloud):
                return
            if failure := self.subject.failure(cloud):
                status, error = "Failed", failure
        self.end(cloud, status, error)

    def end(self, cloud: Cloud, status: str, error: dict[str, Any] | None = None) -> None:
        self.status, self.ended = status, iso8601(cloud.clock)
        self.error = (error or CRASHED) if status == "Failed" else None
        self.subject.finished(cloud, self)

    def passing_state(self, cloud: Cloud) -> str:
        """The subject's provisioning state while the operation is under way."""
        passing = [stage.state for stage in self.progress.stages if not stage.is_last]
        stage = self.progress.peek(cloud.clock)
        return stage.state if not stage.is_last else (passing or ["Updating"])[-1]

    def url(self, service: str | None = None) -> str:
        path = f"/subscriptions/{self.subscription}/providers/Microsoft.MachineLearningServices/locations/{self.region}"
        more = "&service=new" if self.service == COMPUTE else "&type=async" if self.service == WORKSPACE else ""
        return f"https://{versions.HOST}{path}/{service or self.service}/{self.id}?api-version={self.version}{more}"

    def headers(self, cloud: Cloud, *, location: str | None = None) -> dict[str, str]:
        """The headers of the answer that began it. `location`: the resource, where the answer carries one."""
        found = {"Azure-AsyncOperation": self.url()}
        if self.service == MFE:
            found["Location"] = location or self.url("mfeOperationResults")
            found["x-ms-async-operation-timeout"] = "PT30M"
        elif self.service == WORKSPACE:
            found["Location"] = self.url().replace("&type=async", "&type=location")
        return found | retry_after(cloud)


@dataclass(slots=True)
class Operations:
    """Every operation, and how polls are answered: cloud.state(operations.Operations)."""

    by_id: dict[str, Operation] = field(default_factory=dict)
    # None as recorded: no poll carries a Retry-After, and clients wait for their own 30 s.
    retry_after_s: float | None = None


def retry_after(cloud: Cloud) -> dict[str, str]:
    """Retry-After counts in whole seconds; for less there is Azure's own header, which azure-core reads too."""
    seconds = cloud.state(Operations).retry_after_s
    if seconds is None:
        return {}
    return {"Retry-After": str(int(seconds))} if seconds >= 1 else {"x-ms-retry-after-ms": str(int(seconds * 1000))}


def begin(
    cloud: Cloud,
    kind: str,
    name: str,
    subject: Subject,
    *,
    prefix: str,
    region: str,
    subscription: str,
    version: str,
    service: str = MFE,
    stages: Sequence[Stage] | None = None,
) -> Operation:
    """`prefix`: "oe:<workspace id>:" and the like. `stages`: what the rules say will happen, whatever a test scripted."""
    script = None if stages else cloud.scripts.take(kind, name)
    course = stages or (script.stages if script else after_polls(1, *_COURSES[kind]))
    operation = Operation(
        id=f"{prefix}{cloud.new_id()}",
        kind=kind,
        name=name,
        subject=subject,
        progress=Progress(stages=tuple(course), began_s=cloud.clock.now_s()),
        service=service,
        region=region,
        subscription=subscription,
        version=version,
        started=iso8601(cloud.clock),
        extra=dict(script.extra) if script else {},
    )
    cloud.state(Operations).by_id[operation.id] = operation
    return operation


def failed(code: str, message: str) -> tuple[Stage, ...]:
    """The course of an operation that is refused only after it was accepted."""
    return (Stage(state="Failed", error={"code": code, "message": message, "details": []}),)


def _found(request: Request, params: Params, cloud: Cloud) -> Operation:
    require_token(request, cloud)
    operation = cloud.state(Operations).by_id.get(params["operation"])
    if operation is None:
        raise answers.not_found(
            cloud, params["region"], "NoSuchOperation", f"There is no operation with id: {params['operation']}"
        )
    operation.look(cloud, polls=True)
    return operation


def _mms_operation(operation: Operation) -> dict[str, Any]:
    error = operation.error or {}
    return {
        "id": operation.id.rpartition(":")[2],
        "operationType": "AmlArcService" if operation.extra.get("kubernetes") else "Service",
        "state": "Failed",
        "createdTime": operation.started,
        "endTime": operation.ended,
        "error": {"details": [], **error, "statusCode": error.get("statusCode", 400)},
        "resourceLocation": f"/api/subscriptions/{operation.subscription}/services/{operation.name.replace('/', '-')}",
        "operationLog": "",
        "parentRequestId": operation.id.rpartition(":")[2],
    }


def _mfe_status(operation: Operation) -> dict[str, Any]:
    path = operation.url().partition(versions.HOST)[2].partition("?")[0]
    status: dict[str, Any] = {"id": path, "name": operation.id, "startTime": operation.started}
    if not operation.is_over:
        return {**status, "percentComplete": 0.0, "status": "Updating"}
    status |= {"endTime": operation.ended, "percentComplete": 100.0, "status": operation.status}
    if operation.error is None:
        return status
    info = [{"type": "MmsOperation", "info": _mms_operation(operation)}]
    error = {"code": operation.error["code"], "message": operation.error["message"]}
    return {"error": {**error, "details": operation.error.get("details", []), "additionalInfo": info}, **status}


_PLACE = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{region}"


@room.get(_PLACE + "/mfeOperationsStatus/{operation}")
def get_mfe_status(request: Request, params: Params, cloud: Cloud) -> Response:
    operation = _found(request, params, cloud)
    headers = {} if operation.is_over else retry_after(cloud)
    return answers.reply(_mfe_status(operation), params["region"], headers=headers)


@room.get(_PLACE + "/mfeOperationResults/{operation}")
def get_mfe_result(request: Request, params: Params, cloud: Cloud) -> Response:
    """No recording has one; ARM's rules: 202 while it runs, then 204 without a body, or the error."""
    operation = _found(request, params, cloud)
    if not operation.is_over:
        again = {"Location": operation.url("mfeOperationResults"), **retry_after(cloud)}
        return answers.empty(params["region"], status=202, did="read", headers=again)
    if operation.error is not None:
        error = (operation.error["code"], operation.error["message"])
        raise answers.service_refusal(cloud, params["region"], 400, *error)
    return answers.empty(params["region"], status=204, did="read")


@room.get(_PLACE + "/computeOperationsStatus/{operation}")
@room.get(_PLACE + "/workspaceOperationsStatus/{operation}")
def get_plain_status(request: Request, params: Params, cloud: Cloud) -> Response:
    operation = _found(request, params, cloud)
    if not operation.is_over:
        return answers.reply({"status": "InProgress"}, params["region"], headers=retry_after(cloud))
    value: dict[str, Any] = {"status": operation.status}
    if operation.service == COMPUTE:
        value["percentComplete"] = 100.0
    if operation.error is not None:
        value["error"] = operation.error
    return answers.reply(value, params["region"])
