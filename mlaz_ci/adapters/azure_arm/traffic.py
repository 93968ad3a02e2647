"""Writes shares of traffic so that they hold beside other runs: fresh read, merge, PUT, read back, again until it is so.

The API has no If-Match. Safety rests on what is read afresh before each write, on what Azure refuses (traffic that names a missing
deployment, a write while another is under way), and on one order that all runs keep: of two deploys at once the newer deployment wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlaz_ci.adapters.azure_arm.bodies import endpoint_again, merged, replaced
from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.adapters.azure_arm.seen import Deployment, Endpoint
from mlaz_ci.errors import RefusedByAzure, ServiceBusy, ServiceNotFound
from mlaz_ci.models import ServiceState

_MOST_REPAIRS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """What the endpoint shall share out, live and mirrored."""

    live: Mapping[str, int]
    mirrored: Mapping[str, int] = field(default_factory=dict)


Decide = Callable[[Endpoint, Sequence[Deployment]], Shares]


class Traffic:
    def __init__(self, gateway: Gateway, marks: Mapping[str, str]) -> None:
        """`marks` are tags that every write adds: those of an owner that takes an endpoint over, else none."""
        self._gateway = gateway
        self._marks = marks
        self.listed: dict[str, tuple[Deployment, ...]] = {}
        """The deployments of an endpoint as they were read for the last decision."""

    def settle(self, service_name: str, decide: Decide) -> None:
        """Until a fresh read shows what `decide` makes of it. `decide` is asked anew before each write, and raises to give up."""
        wanted: Shares | None = None
        for repairs, _ in enumerate(self._gateway.attempts(f'share out the traffic of "{service_name}"')):
            endpoint = self._gateway.idle_endpoint(service_name)
            if endpoint is None:
                raise ServiceNotFound(
                    f'The endpoint "{service_name}" was deleted meanwhile, by another run or by hand.'
                )
            if wanted is not None and _holds(endpoint, wanted):
                # No PUT of shares changes a deployment, so those read before it are as they were.
                self._gateway.leave(endpoint, self.listed[service_name])
                return
            self.listed[service_name] = self._gateway.deployments(service_name)
            wanted = decide(endpoint, self.listed[service_name])
            if _holds(endpoint, wanted):
                self._gateway.leave(endpoint, self.listed[service_name])
                return
            if repairs >= _MOST_REPAIRS:
                raise ServiceBusy(f'The traffic of "{service_name}" is written by others as fast as by this run.')
            self._write(endpoint, wanted)

    def _write(self, endpoint: Endpoint, wanted: Shares) -> None:
        body = replaced(endpoint_again(endpoint), "traffic", wanted.live)
        if wanted.mirrored or endpoint.mirrored:
            body = replaced(body, "mirrorTraffic", wanted.mirrored)
        if self._marks:
            body = merged(body, {"tags": self._marks})
        try:
            self._gateway.put_endpoint(endpoint.name, body)
        except ServiceBusy:
            # Another run's write came first: its end is waited for, and what it left is read.
            return
        except RefusedByAzure as error:
            # A deployment that was there at the read is not any more: the next read shows it.
            if "does not exist" not in error.what:
                raise


def _holds(endpoint: Endpoint, wanted: Shares) -> bool:
    return dict(endpoint.traffic) == dict(wanted.live) and dict(endpoint.mirrored) == dict(wanted.mirrored)


def present(deployments: Sequence[Deployment], name: str, service_name: str) -> Deployment:
    """Raises ServiceBusy: only another run takes away a deployment that this one made."""
    found = next((each for each in deployments if each.name == name), None)
    if found is None:
        raise ServiceBusy(f'Deployment "{name}" of "{service_name}" was deleted by another run, which came later.')
    return found


def check_not_superseded(endpoint: Endpoint, deployments: Sequence[Deployment], own: Deployment) -> None:
    """Raises ServiceBusy where a deployment that was made after ours takes traffic already: what was asked for last is what serves."""
    newer = [each for each in deployments if each.is_newer_than(own) and endpoint.traffic.get(each.name)]
    if newer:
        names = ", ".join(f'"{each.name}"' for each in newer)
        raise ServiceBusy(
            f'Deployment "{own.name}" of "{endpoint.name}" is out of date: {names}, made later by another run, has traffic.',
            usually="Two runs deployed to one service at once, and the later one is what serves.",
            remedy="Nothing is to be done if that one is the newer model; else run this deploy again. A `concurrency` group avoids it.",
        )


def check_healthy(deployment: Deployment) -> None:
    if deployment.state is not ServiceState.HEALTHY:
        raise ServiceBusy(f'Deployment "{deployment.name}" is {deployment.word}: it cannot take traffic now.')
