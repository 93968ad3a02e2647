"""Keeps two runs apart in practice: a deployment says which run is at work on it, and a later run waits for that. Advice: no safety rests on it.

A lease ends by what it is for: when its deployment has a share of the traffic, has failed or is gone, or when its time is up. A run that
leaves a deployment without traffic takes its lease off. One that died can do nothing: once its deployment has settled, it is given a
little while, not all of its time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.adapters.azure_arm.seen import LEASE, Deployment, Endpoint
from mlaz_ci.models import ServiceState
from mlaz_ci.polling import poll_interval_s

# From a healthy deployment to its share of the traffic there is a smoke test and one write.
_SETTLED_FOR_S: Final = 120.0
_MOST_RUN_CHARS: Final = 120
_Seen = tuple[Endpoint | None, tuple[Deployment, ...]]


def lease(run: str, until: datetime) -> str:
    """The tag's value."""
    return json.dumps({"run": run[:_MOST_RUN_CHARS], "until": until.astimezone(UTC).isoformat(timespec="seconds")})


def run_at_work(deployment: Deployment, endpoint: Endpoint, now: datetime) -> str | None:
    """The run whose lease on the deployment holds."""
    has_share = endpoint.traffic.get(deployment.name) or endpoint.mirrored.get(deployment.name)
    if deployment.state is ServiceState.FAILED or (deployment.state.is_settled and has_share):
        return None
    try:
        told = json.loads(deployment.tags.get(LEASE, ""))
        until = datetime.fromisoformat(told["until"])
        return str(told["run"]) if until > now else None
    except (ValueError, TypeError, KeyError):
        return None


class Leases:
    def __init__(self, gateway: Gateway, run: str) -> None:
        self._gateway = gateway
        self._run = run[:_MOST_RUN_CHARS]

    def wait(self, service_name: str, endpoint: Endpoint, deployments: Sequence[Deployment]) -> _Seen:
        """What is there once no other run is at work, or half of the time until the deadline is over: the other half is ours."""
        at_work = self._at_work(endpoint, deployments)
        if not at_work:
            return endpoint, tuple(deployments)
        clock = self._gateway.clock
        began_s = clock.now_s()
        most_s = (self._gateway.deadline_s - began_s) / 2
        runs = ", ".join(f'{run} ("{name}")' for name, run in at_work.items())
        self._gateway.platform.info(
            f'Another run is deploying to "{service_name}": {runs}. Waiting for it, for {most_s / 60:.0f} min at most.'
        )
        settled_s: dict[str, float] = {}
        with self._gateway.platform.progress("Wait for another run") as progress:
            while (waited_s := clock.now_s() - began_s) < most_s:
                progress.update(waited_s, most_s, "s")
                clock.sleep(min(poll_interval_s(waited_s), most_s - waited_s))
                if not self._goes_on(service_name, at_work, settled_s):
                    break
            else:
                self._gateway.platform.info(
                    "The other run is at work still. This one goes on beside it: what is made last serves."
                )
        now = self._gateway.idle_endpoint(service_name)
        return now, self._gateway.deployments(service_name) if now else ()

    def _goes_on(self, service_name: str, names: Iterable[str], settled_s: dict[str, float]) -> bool:
        """Whether one of the deployments is worth waiting for. `settled_s` is when each was first seen settled."""
        endpoint = self._gateway.endpoint(service_name)
        if endpoint is None:
            return False
        looks = [self._gateway.deployment(service_name, each) for each in names]
        seen = [each for each in looks if each is not None]
        now_s = self._gateway.clock.now_s()
        for each in seen:
            if each.state.is_settled:
                settled_s.setdefault(each.name, now_s)
        at_work = self._at_work(endpoint, seen)
        return any(now_s - settled_s.get(name, now_s) < _SETTLED_FOR_S for name in at_work)

    def _at_work(self, endpoint: Endpoint, deployments: Sequence[Deployment]) -> dict[str, str]:
        """Deployment → the other run whose lease on it holds."""
        now = self._gateway.clock.utc_now()
        found = {each.name: run_at_work(each, endpoint, now) for each in deployments}
        return {name: run for name, run in found.items() if run is not None and run != self._run}

    def release(self, service_name: str, name: str) -> None:
        """From a deployment that stays without traffic."""
        held = self._gateway.deployment(service_name, name)
        if held is not None and held.tags.get(LEASE):
            tags = {**held.tags, LEASE: ""}
            doing = f'take the lease off "{name}"'
            self._gateway.patch_deployment(service_name, name, {"tags": tags}, doing=doing)
