"""Waiting for a service to settle: by deadline, on transitions, with no memory of its own. Knows no client."""

from __future__ import annotations

from collections.abc import Callable

from mlaz_ci.errors import DeployTimedOut
from mlaz_ci.models import Observation
from mlaz_ci.ports import Clock

_QUICK_UNTIL_S = 120.0
_QUICK_MAX_S = 2.0
_SLOW_MAX_S = 8.0


def poll_interval_s(waited_s: float) -> float:
    """A tenth of what was waited, so that an end is seen within 3 s in the first two minutes and within 10 s after."""
    longest = _QUICK_MAX_S if waited_s < _QUICK_UNTIL_S else _SLOW_MAX_S
    return min(max(0.2, waited_s / 10), longest)


def wait_until_settled(
    observe: Callable[[], Observation],
    *,
    subject: str,
    clock: Clock,
    deadline_s: float,
    on_transition: Callable[[Observation], None],
) -> Observation:
    """Observe until the state is settled. `deadline_s` is a moment of the clock's `now_s`, shared by all waits of a run.

    Raises DeployTimedOut with the last observation. A last look is taken at the deadline, never after it.
    """
    began_s = clock.now_s()
    last: Observation | None = None
    while True:
        seen = observe()
        if seen != last:
            on_transition(seen)
        last = seen
        if seen.state.is_settled:
            return seen
        waited_s = clock.now_s() - began_s
        left_s = deadline_s - clock.now_s()
        if left_s <= 0:
            detail = f" ({seen.detail})" if seen.detail else ""
            raise DeployTimedOut(f"{subject} did not settle in {waited_s:.0f} s; last state: {seen.state}{detail}.")
        clock.sleep(min(poll_interval_s(waited_s), left_s))
