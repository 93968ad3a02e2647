"""Moves of traffic and the end of deployments: no share for what is not there, no smaller side takes over, nobody's newer work goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.adapters.azure_arm.insights import Insights
from mlaz_ci.adapters.azure_arm.seen import (
    AUTOSCALE,
    INSTANCES,
    KEPT,
    LEASE,
    SERVED_BEFORE,
    Deployment,
    Endpoint,
    kept_until,
    live_of,
)
from mlaz_ci.adapters.azure_arm.shares import with_share, without
from mlaz_ci.adapters.azure_arm.traffic import Shares, Traffic, check_healthy, check_not_superseded, present
from mlaz_ci.errors import MlazError, ServiceBusy
from mlaz_ci.models import Command, Request, ServiceState
from mlaz_ci.serving.stamp import MANAGED_BY, OURSELVES, OWNER

# After the deadline something must still be taken back: a minute for each of the operations that it takes.
_GRACE_S: Final = 180.0


class Rollout:
    def __init__(self, gateway: Gateway, insights: Insights, request: Request) -> None:
        self._gateway = gateway
        self._insights = insights
        self._kept_hours = request.keep_previous_hours
        is_taken = request.take_over is not None and request.take_over == request.service_name
        self._traffic = Traffic(gateway, {MANAGED_BY: OURSELVES, OWNER: request.owner} if is_taken else {})
        # A rollback goes to an older deployment on purpose; a deploy never does.
        self._newest_wins = is_deploy(request)
        # These leave somebody serving; a cleanup, or a canary's end, takes away what it was told to.
        self._leaves_heir = self._newest_wins or request.command in {Command.PROMOTE, Command.ROLLBACK}

    def shift(self, service_name: str, name: str) -> None:
        """All traffic to `name`, when it is as large as what serves. Raises ServiceBusy where a newer one serves already."""

        def decide(endpoint: Endpoint, deployments: Sequence[Deployment]) -> Shares:
            own = self._own(endpoint, deployments, name)
            check_healthy(own)
            live = live_of(endpoint, deployments)
            if live is not None and own.body.get("sku") and own.capacity < live.capacity:
                raise _TooSmall(own, live.capacity)
            return Shares(live={name: 100})

        while True:
            try:
                self._traffic.settle(service_name, decide)
            except _TooSmall as small:
                # It may have grown since this one was made.
                self._scale(service_name, small.deployment, small.wanted)
                continue
            break
        self._serves_again(service_name, name)

    def _serves_again(self, service_name: str, name: str) -> None:
        """What a rollback has gone back to is kept no more: the next deploy that keeps it says for how long."""
        own = next((each for each in self._traffic.listed[service_name] if each.name == name), None)
        if own is not None and own.tags.get(KEPT):
            tags = {**own.tags, KEPT: ""}
            self._gateway.patch_deployment(
                service_name, name, {"tags": tags}, doing=f'mark "{name}" as one that serves'
            )

    def share(self, service_name: str, name: str, percent: int) -> None:
        """`percent` to `name`, the others' shares shrunk in proportion as they were read."""

        def decide(endpoint: Endpoint, deployments: Sequence[Deployment]) -> Shares:
            own = self._own(endpoint, deployments, name)
            check_healthy(own)
            mirrored = {each: share for each, share in endpoint.mirrored.items() if each != name}
            if endpoint.traffic.get(name) == percent:
                return Shares(live=endpoint.traffic, mirrored=mirrored)
            known = {each: share for each, share in endpoint.traffic.items() if _is_in(deployments, each)}
            return Shares(live=with_share(known, name, percent), mirrored=mirrored)

        self._traffic.settle(service_name, decide)

    def mirror(self, service_name: str, name: str, percent: int) -> None:
        """Copies of `percent` of the requests to `name`, whose answers nobody gets."""

        def decide(endpoint: Endpoint, deployments: Sequence[Deployment]) -> Shares:
            check_healthy(self._own(endpoint, deployments, name))
            return Shares(live=endpoint.traffic, mirrored={name: percent})

        self._traffic.settle(service_name, decide)

    def _own(self, endpoint: Endpoint, deployments: Sequence[Deployment], name: str) -> Deployment:
        own = present(deployments, name, endpoint.name)
        if self._newest_wins:
            check_not_superseded(endpoint, deployments, own)
        return own

    def _scale(self, service_name: str, deployment: Deployment, capacity: int) -> None:
        doing = f'give "{deployment.name}" {capacity} instances'
        sku = {"name": "Default", "capacity": capacity}
        for _ in self._gateway.attempts(doing):
            try:
                self._gateway.patch_deployment(service_name, deployment.name, {"sku": sku}, doing=doing)
            except ServiceBusy:
                self._gateway.idle_endpoint(service_name)
                continue
            seen = self._gateway.deployment(service_name, deployment.name)
            if seen is None or seen.capacity >= capacity:
                return

    def shrink(self, service_name: str, own: Deployment) -> None:
        """Down to what was asked for, once it has the traffic alone and no more is needed for the change-over."""
        asked = own.tags.get(INSTANCES, "")
        if asked.isdigit() and 0 < int(asked) < own.capacity and not own.tags.get(AUTOSCALE):
            sku = {"name": "Default", "capacity": int(asked)}
            doing = f'give "{own.name}" {asked} instances'
            self._gateway.patch_deployment(service_name, own.name, {"sku": sku}, doing=doing)

    def keep(self, service_name: str, name: str) -> None:
        """Marked as kept for a rollback, and until when; its traffic has gone already. Absent is success."""
        self._empty(service_name, name, is_own=False)
        seen = self._gateway.deployment(service_name, name)
        if seen is None or seen.tags.get(KEPT):
            return
        until = kept_until(self._gateway.clock.utc_now(), self._kept_hours)
        tags = {**{key: value for key, value in seen.tags.items() if key != LEASE}, KEPT: until}
        self._gateway.patch_deployment(service_name, name, {"tags": tags}, doing=f'mark "{name}" as kept')

    def older(self, service_name: str, name: str) -> tuple[Deployment, ...]:
        """What was made before `name`. A read from after it was made shows all of it, so that of the shift will do."""
        listed = self._traffic.listed.get(service_name, ())
        if not any(each.name == name for each in listed):
            listed = self._gateway.deployments(service_name)
        own = next((each for each in listed if each.name == name), None)
        return tuple(each for each in listed if own is not None and own.is_newer_than(each))

    def remove(self, service_name: str, name: str, *, is_own: bool, known: Deployment | None = None) -> bool:
        """Its share back first, then itself; False where it was absent, or left.

        `is_own`: this run made it. Another's that is still under way is left to whoever is at work on it.
        `known` is it as it was read just now.
        """
        self._gateway.deadline_s = max(self._gateway.deadline_s, self._gateway.clock.now_s() + _GRACE_S)
        for waited_s in self._gateway.attempts(f'delete the deployment "{name}" of "{service_name}"'):
            seen = known if known and not waited_s else self._gateway.deployment(service_name, name)
            if seen is None:
                return waited_s > 0
            if not seen.state.is_settled and not is_own and self._leaves_heir:
                self._gateway.platform.info(f'Deployment "{name}" is {seen.word}, by another run; it is left to that.')
                return False
            if not seen.state.is_settled:
                continue
            self._empty(service_name, name, is_own=is_own)
            try:
                self._gateway.delete_deployment(service_name, name)
            except ServiceBusy:
                continue
            except MlazError as error:
                # Between the look and the deletion it got traffic again.
                if "non-zero traffic" not in error.what:
                    raise
                continue
            self._insights.forget(seen)
            return True
        raise AssertionError("the attempts end in DeployTimedOut")

    def _empty(self, service_name: str, name: str, *, is_own: bool) -> None:
        """No live and no mirrored share for `name`: back to those beside it, else to its heir, else to nobody."""
        endpoint = self._gateway.idle_endpoint(service_name)
        if endpoint is None or not (endpoint.traffic.get(name) or endpoint.mirrored.get(name)):
            return

        def decide(endpoint: Endpoint, deployments: Sequence[Deployment]) -> Shares:
            mirrored = {each: share for each, share in endpoint.mirrored.items() if each != name}
            if not endpoint.traffic.get(name):
                return Shares(live=endpoint.traffic, mirrored=mirrored)
            able = [each for each in deployments if each.state is ServiceState.HEALTHY and each.name != name]
            heir = self._heir(deployments, able, name, is_own=is_own)
            return Shares(live=without(endpoint.traffic, name, heir, {each.name for each in able}), mirrored=mirrored)

        self._traffic.settle(service_name, decide)

    def _heir(
        self, deployments: Sequence[Deployment], able: Sequence[Deployment], name: str, *, is_own: bool
    ) -> str | None:
        """Of what this run made: who served before. Of an older one that got the traffic once more: the newest."""
        going = next((each for each in deployments if each.name == name), None)
        if going is None or not self._leaves_heir:
            return None
        if is_own:
            return going.tags.get(SERVED_BEFORE)
        of_owner = [each for each in able if each.stamp.owner == going.stamp.owner and each.is_newer_than(going)]
        return max(of_owner, key=lambda each: (each.created_at, each.name)).name if of_owner else None


def is_deploy(request: Request) -> bool:
    """A deploy, or the `status` that takes one to its end."""
    is_end = request.command is Command.STATUS and request.wait and "wait" in request.given
    return request.command is Command.DEPLOY or is_end


class _TooSmall(Exception):
    """A turn of events, raised and met in this module."""

    def __init__(self, deployment: Deployment, wanted: int) -> None:
        super().__init__(deployment.name)
        self.deployment = deployment
        self.wanted = wanted


def _is_in(deployments: Sequence[Deployment], name: str) -> bool:
    return any(each.name == name for each in deployments)
