"""The calls to ARM that endpoints and deployments need: typed, waited for to their verified end, and idle before they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_arm.seen import Deployment, Endpoint, Resource
from mlaz_ci.adapters.azure_wire import Answer, WorkspaceDoor
from mlaz_ci.errors import DeployTimedOut, MlazError, ServiceBusy
from mlaz_ci.models import Observation, ServiceState
from mlaz_ci.polling import poll_interval_s, wait_until_settled
from mlaz_ci.ports import Clock, Platform
from mlaz_ci.refusals import read_told, refusal_of

_ENDED: Final = {"succeeded": ServiceState.HEALTHY, "failed": ServiceState.FAILED, "canceled": ServiceState.FAILED}
_GONE: Final = frozenset({"NoSuchEndpoint", "NoSuchDeployment", "NoSuchService", "ParentResourceNotFound"})


class Gateway:
    """Safe for threads. `deadline_s` is a moment of the clock's `now_s`."""

    def __init__(self, door: WorkspaceDoor, clock: Clock, platform: Platform, *, deadline_s: float) -> None:
        self.door = door
        self.clock = clock
        self.platform = platform
        self.deadline_s = deadline_s
        self._seen: dict[tuple[str, str], Resource] = {}
        self._left: dict[str, tuple[Endpoint, tuple[Deployment, ...]]] = {}

    # --- reading ---------------------------------------------------------------------------------------------------

    def endpoint(self, name: str) -> Endpoint | None:
        found = self._get(_endpoint_path(name), doing=f'read the endpoint "{name}"')
        if found is None:
            return None
        endpoint = Endpoint(found)
        self._seen[name, ""] = endpoint
        return endpoint

    def known_endpoint(self, name: str) -> Endpoint | None:
        """As it was read last, or now: for what never changes of an endpoint, its address and how callers sign in."""
        seen = self._seen.get((name, ""))
        return seen if isinstance(seen, Endpoint) and seen.scoring_uri else self.endpoint(name)

    def known_deployment(self, endpoint: str, name: str) -> Deployment | None:
        """As it was read last, or now: for what its maker alone writes of it."""
        seen = self._seen.get((endpoint, name))
        return seen if isinstance(seen, Deployment) else self.deployment(endpoint, name)

    def deployment(self, endpoint: str, name: str) -> Deployment | None:
        found = self._get(_deployment_path(endpoint, name), doing=f'read the deployment "{name}" of "{endpoint}"')
        if found is None:
            return None
        deployment = Deployment(found)
        self._seen[endpoint, name] = deployment
        return deployment

    def deployments(self, endpoint: str) -> tuple[Deployment, ...]:
        """All of the endpoint; none where it is gone."""
        doing = f'list the deployments of "{endpoint}"'
        first = self._get(f"{_endpoint_path(endpoint)}/deployments", doing=doing)
        found = list((first or {}).get("value") or ())
        following = (first or {}).get("nextLink")
        while following:
            page = self.door.arm_url("GET", following, doing=doing).object
            found += page.get("value") or ()
            following = page.get("nextLink")
        return tuple(Deployment(each) for each in found if isinstance(each, dict))

    def _get(self, below: str, *, doing: str) -> Mapping[str, Any] | None:
        """None where that resource is not there; a workspace that is not there is a failure."""
        answer = self.door.arm("GET", below, doing=doing, allowed={404})
        if answer.status != 404:
            return answer.object
        told = read_told(answer.text, status=404, headers=answer.headers)
        if told.codes & _GONE or "onlineendpoints" in told.words.lower():
            return None
        raise refusal_of(told, doing=doing)

    # --- what this process left ------------------------------------------------------------------------------------

    def leave(self, endpoint: Endpoint, deployments: Sequence[Deployment]) -> None:
        """Note a read that no write of this process comes after, but a deployment's deletion."""
        self._left[endpoint.name] = (endpoint, tuple(deployments))

    def left(self, name: str) -> tuple[Endpoint, tuple[Deployment, ...]] | None:
        """An endpoint as this process read it after its last write; None where it must be asked for."""
        return self._left.get(name)

    # --- writing ---------------------------------------------------------------------------------------------------

    def put_endpoint(self, name: str, body: Mapping[str, Any]) -> None:
        """Returns when the operation has succeeded. Raises ServiceBusy where another one is under way, or what it failed of."""
        self.finish(self.begin_endpoint(name, body), doing=_writing(name))

    def begin_endpoint(self, name: str, body: Mapping[str, Any]) -> Answer:
        """Returns when it is accepted; what comes of it shows in the endpoint."""
        self._left.pop(name, None)
        return self.door.arm("PUT", _endpoint_path(name), doing=_writing(name), body=body)

    def put_deployment(self, endpoint: str, name: str, body: Mapping[str, Any]) -> None:
        """Returns when it is accepted; what comes of it shows in the deployment."""
        doing = f'write the deployment "{name}" of "{endpoint}"'
        self._left.pop(endpoint, None)
        self.door.arm("PUT", _deployment_path(endpoint, name), doing=doing, body=body)

    def patch_deployment(self, endpoint: str, name: str, body: Mapping[str, Any], *, doing: str) -> None:
        """Tags and sku are all that a PATCH takes in this api-version. It says the same twice, so it may be repeated."""
        self._left.pop(endpoint, None)
        answer = self.door.arm("PATCH", _deployment_path(endpoint, name), doing=doing, body=body, repeatable=True)
        self.finish(answer, doing=doing)

    def delete_endpoint(self, name: str) -> bool:
        """False when it was absent."""
        self._left.pop(name, None)
        return self._delete(_endpoint_path(name), lambda: self.endpoint(name), doing=f'delete the endpoint "{name}"')

    def delete_deployment(self, endpoint: str, name: str) -> bool:
        """False when it was absent. Raises ServiceBusy, and what the operation failed of: it has traffic."""
        left = self._left.pop(endpoint, None)
        was_there = self._delete(
            _deployment_path(endpoint, name),
            lambda: self.deployment(endpoint, name),
            doing=f'delete the deployment "{name}" of "{endpoint}"',
        )
        if left is not None:
            self.leave(left[0], [each for each in left[1] if each.name != name])
        return was_there

    def _delete(self, below: str, look: Callable[[], Resource | None], *, doing: str) -> bool:
        for waited in self._pauses(doing):
            try:
                answer = self.door.arm("DELETE", below, doing=doing, allowed={404})
            except ServiceBusy:
                # Another run's operation, or our own DELETE whose answer was lost: either ends.
                if self._is_gone(look):
                    return True
                continue
            if answer.status in {204, 404}:
                # Absent, or gone by a DELETE of ours whose answer was lost.
                return waited > 0
            self.finish(answer, doing=doing)
            return True
        raise AssertionError("the pauses end in DeployTimedOut")

    def _is_gone(self, look: Callable[[], Resource | None]) -> bool:
        """Looks until what is under way there has ended."""
        for _ in self._pauses("wait for what is under way there"):
            seen = look()
            if seen is None or seen.state.is_settled:
                return seen is None
        raise AssertionError("the pauses end in DeployTimedOut")

    # --- waiting ---------------------------------------------------------------------------------------------------

    def finish(self, answer: Answer, *, doing: str) -> None:
        """Polls the operation that `answer` began to its end. Raises what it failed of; a time-out is never a success."""
        url = answer.headers.get("azure-asyncoperation")
        if not url:
            return
        last: list[Answer] = []

        def observe() -> Observation:
            told = self.door.arm_url("GET", url, doing=doing, allowed={404})
            last[:] = [told]
            # An operation that is forgotten has ended; whoever waits reads the resource afterwards.
            word = "succeeded" if told.status == 404 else str(told.object.get("status") or "")
            return Observation(state=_ENDED.get(word.lower(), ServiceState.UPDATING))

        ended = wait_until_settled(
            observe,
            subject=doing.capitalize(),
            clock=self.clock,
            deadline_s=self.deadline_s,
            on_transition=lambda _: None,
        )
        if ended.state is not ServiceState.HEALTHY:
            raise self.failure(last[0].text, doing=doing)

    def failure(self, text: str, *, doing: str) -> MlazError:
        """What an operation that failed says, as a failure of the catalogue."""
        return refusal_of(read_told(text), doing=doing)

    def failure_of(self, resource: Resource, operation_uri: str, *, doing: str) -> MlazError | None:
        """Why a resource is in Failed, as its last operation tells; None where that is forgotten."""
        if not operation_uri:
            return None
        answer = self.door.arm_url("GET", operation_uri, doing=doing, allowed={404})
        if answer.status == 404 or str(answer.object.get("status")).lower() not in {"failed", "canceled"}:
            return None
        error = self.failure(answer.text, doing=f'{doing} ("{resource.name}" is {resource.word})')
        error.log = self._build_log(answer.object)
        return error

    def _build_log(self, status: Mapping[str, Any]) -> str:
        """The log that a failed operation points to (`operationLog`, a signed address), best effort."""
        infos = [
            each.get("info")
            for each in (status.get("error") or {}).get("additionalInfo") or ()
            if isinstance(each, dict)
        ]
        for info in infos:
            url = str(info.get("operationLog") or "") if isinstance(info, dict) else ""
            if not url.startswith("https://") or ".blob." not in url.split("/")[2]:
                continue
            self.platform.mask(url.partition("?")[2])
            try:
                return self.door.wire.ask("GET", url, doing="read the build's log", scope=None).text
            except MlazError:
                return ""
        return ""

    def idle_endpoint(self, name: str) -> Endpoint | None:
        """A fresh read, after whatever another run has under way there has ended. None where it is gone by then."""
        is_told = False
        for _ in self._pauses(f'wait for what is under way on the endpoint "{name}"'):
            seen = self.endpoint(name)
            if seen is None or seen.state.is_settled:
                return seen
            if not is_told:
                self.platform.info(f'Endpoint "{name}" is {seen.word}; waiting for that to end.')
                is_told = True
        raise AssertionError("the pauses end in DeployTimedOut")

    def attempts(self, doing: str) -> _Attempts:
        return self._pauses(doing)

    def _pauses(self, doing: str) -> _Attempts:
        return _Attempts(self, doing)


class _Attempts:
    """Moments to try at, with growing pauses between them: seconds waited so far. Ends in DeployTimedOut."""

    def __init__(self, gateway: Gateway, doing: str) -> None:
        self._gateway = gateway
        self._doing = doing
        self._began_s: float | None = None

    def __iter__(self) -> _Attempts:
        return self

    def __next__(self) -> float:
        clock = self._gateway.clock
        if self._began_s is None:
            self._began_s = clock.now_s()
            return 0.0
        waited_s = clock.now_s() - self._began_s
        left_s = self._gateway.deadline_s - clock.now_s()
        if left_s <= 0:
            raise DeployTimedOut(f"Azure could not {self._doing} within the deadline; it waited {waited_s:.0f} s.")
        clock.sleep(min(poll_interval_s(waited_s), left_s))
        return clock.now_s() - self._began_s


def _writing(name: str) -> str:
    return f'write the endpoint "{name}"'


def _endpoint_path(name: str) -> str:
    return f"/onlineEndpoints/{quote(name, safe='')}"


def _deployment_path(endpoint: str, name: str) -> str:
    return f"{_endpoint_path(endpoint)}/deployments/{quote(name, safe='')}"
