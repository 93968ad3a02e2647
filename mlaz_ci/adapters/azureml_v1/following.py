"""Follows what Azure is doing to a service: one look at a time, Azure's own log kept as it comes, and the cause when it fails.

azureml-core's `wait_for_deployment` is not used: it sleeps 5 s whatever is left, prints, and hides the cause in a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.azureml_v1.mms import ModelManagement, Payload, require
from mlaz_ci.adapters.azureml_v1.reading import classify, error_text
from mlaz_ci.errors import DeployTimedOut, MlazError
from mlaz_ci.models import Observation, ServiceState, Severity
from mlaz_ci.ports import Platform
from mlaz_ci.refusals import read_told, refusal_of
from mlaz_ci.report.text import clip, one_line

_UNDER_WAY: Final = frozenset({"NotStarted", "Running"})
_ENDED_BADLY: Final = frozenset({"Failed", "Cancelled", "TimedOut"})
# States of AsyncOperationState; and what it does before a container is started.
_BUILDS: Final = frozenset({"BuildEnvironment", "BuildImage"})
_LOG_CHARS: Final = 200_000
_LOG_LINES: Final = 200


@dataclass(slots=True)
class _Followed:
    """`log` is Azure's own, piece by piece as it was told; `offset` how many characters of it are known."""

    operation: str
    log: list[str] = field(default_factory=list)
    offset: int = 0
    is_shown: bool = False
    told: Payload = field(default_factory=dict)


class Following:
    """Keeps which operation this process began for a service; in another process it is the service that names it."""

    def __init__(self, door: WorkspaceDoor, mms: ModelManagement, platform: Platform) -> None:
        self._door = door
        self._mms = mms
        self._platform = platform
        self._followed: dict[str, _Followed] = {}
        self._unknown: set[str] = set()

    def begin(self, service_name: str, operation: str | None) -> None:
        self._followed.pop(service_name, None)
        if operation:
            self._followed[service_name] = _Followed(operation=operation)

    def observe(self, service_name: str) -> Observation:
        """One look. Raises what the operation's or the service's error means, once it has failed."""
        followed = self._followed.get(service_name)
        if followed is None:
            return self._observe_service(service_name)
        told = self._look(followed)
        state = str(told.get("state"))
        if state == "Succeeded":
            self._show_log(service_name, followed)
            # The operation's word is not the service's: what counts is what it is now.
            return self._settled(require(self._mms.service(service_name), service_name))
        if state in _ENDED_BADLY:
            self._show_log(service_name, followed)
            failure = self.failure(f'bring up the service "{service_name}"', told)
            failure.log = self.log(service_name, tail_lines=_LOG_LINES)
            raise failure
        self._warn_of_unknown(state, _UNDER_WAY)
        return Observation(state=ServiceState.UPDATING, detail=_line(told))

    def state_of(self, payload: Payload) -> tuple[ServiceState, Payload]:
        """A service's state, and the payload with its error. One that only seems to be under way is told by its operation.

        After some failures Azure leaves the service Transitioning for ever.
        """
        state = classify(payload)
        operation = str(payload.get("operationId") or "")
        if state.is_settled or not operation:
            return state, payload
        told = self._look(_Followed(operation=operation))
        if str(told.get("state")) in _ENDED_BADLY:
            return ServiceState.FAILED, {**payload, "error": payload.get("error") or told.get("error")}
        return state, payload

    def _observe_service(self, service_name: str) -> Observation:
        payload = require(self._mms.service(service_name), service_name)
        state = classify(payload)
        operation = str(payload.get("operationId") or "")
        if not state.is_settled and operation:
            self.begin(service_name, operation)
            return self.observe(service_name)
        return self._settled(payload)

    def _settled(self, payload: Payload) -> Observation:
        """What a service is when nothing is being done to it."""
        state, error = classify(payload), error_text(payload)
        self._warn_of_unknown(
            str(payload.get("state")), {"Healthy", "Unhealthy", "Failed", "Unschedulable", "Transitioning"}
        )
        if state in {ServiceState.FAILED, ServiceState.UNHEALTHY} and error:
            raise refusal_of(read_told(error), doing=f'run the service "{payload.get("name")}"')
        return Observation(state=state, detail=str(payload.get("state") or ""))

    def _look(self, followed: _Followed) -> Payload:
        told = self._mms.operation(followed.operation, offset=followed.offset)
        if text := told.get("streamingOperationLog"):
            followed.log.append(str(text))
            followed.offset += len(str(text))
        followed.told = told
        return told

    def _warn_of_unknown(self, word: str, known: Any) -> None:
        if word in known or word in self._unknown:
            return
        self._unknown.add(word)
        what = f'Azure says that the service is "{one_line(clip(word, 60))}", a state this version does not know; it goes on waiting.'
        self._platform.annotate(Severity.WARNING, "unknown-state", what)

    def failure(self, doing: str, told: Payload) -> MlazError:
        """What an operation that ended badly means, not raised yet."""
        text, state = error_text(told), str(told.get("state"))
        if state == "TimedOut" and not text:
            failure: MlazError = DeployTimedOut(f"Azure could not {doing} in its own time.")
        else:
            failure = refusal_of(read_told(text or state), doing=doing)
        failure.correlation_id = failure.correlation_id or str(told.get("parentRequestId") or "") or None
        return failure

    # --- logs -------------------------------------------------------------------------------------------------------

    def log(self, service_name: str, *, tail_lines: int) -> str:
        """What the container or the image's build printed, and how far Azure came. What cannot be had is said in its place."""
        followed = self._followed.get(service_name)
        parts = []
        if followed and _sub_operation(followed.told) in _BUILDS:
            parts.append(("The log of the image's build", self._build_log(followed)))
        else:
            parts.append(("The container's log", self._container_log(service_name, tail_lines)))
        if followed and followed.log:
            parts.append(("Azure's own log", "\n".join(_lines(followed.log))))
        return "\n\n".join(f"{title}:\n{text}" for title, text in parts if text.strip())

    def _container_log(self, service_name: str, tail_lines: int) -> str:
        try:
            return self._mms.container_log(service_name, tail_lines=tail_lines)
        except MlazError as error:
            return f"(it could not be read: {error.what})"

    def _build_log(self, followed: _Followed) -> str:
        uri = str(followed.told.get("operationLog") or "")
        if not uri.startswith("https://"):
            return "(Azure gave no address for it)"
        # The address carries its own signature, so that no token of ours goes with it.
        self._platform.mask(urlsplit(uri).query)
        try:
            return self._door.wire.ask("GET", uri, doing="read the log of the image's build", scope=None).text[
                -_LOG_CHARS:
            ]
        except MlazError as error:
            return f"(it could not be read: {error.what})"

    def _show_log(self, service_name: str, followed: _Followed) -> None:
        if followed.is_shown or not followed.log:
            return
        followed.is_shown = True
        with self._platform.group(f"Azure's own log of {service_name}"):
            for line in _lines(followed.log):
                self._platform.info(line)


def _line(told: Payload) -> str:
    """One line for people: what Azure is doing, and how far that is."""
    sub, state = _sub_operation(told), str(told.get("state") or "")
    return f"{sub}: {_details(told).get('subOperationState') or state}" if sub else state


def _sub_operation(told: Payload) -> str:
    return str(_details(told).get("subOperationType") or "")


def _details(told: Payload) -> Mapping[str, Any]:
    found = told.get("operationDetails")
    return found if isinstance(found, dict) else {}


def _lines(pieces: list[str]) -> list[str]:
    """`YYYYmmddHHMMSS|text#YYYYmmddHHMMSS|text`, in UTC."""
    found = []
    for part in "".join(pieces).split("#"):
        stamp, is_pair, text = part.partition("|")
        if not part.strip():
            continue
        try:
            at = datetime.strptime(stamp, "%Y%m%d%H%M%S").replace(tzinfo=UTC) if is_pair else None
        except ValueError:
            at = None
        found.append(f"{at:%H:%M:%S} {text}" if at else part)
    return found
