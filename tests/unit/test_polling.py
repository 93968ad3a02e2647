from __future__ import annotations

from collections.abc import Iterable

import pytest

from mlaz_ci.errors import DeployTimedOut
from mlaz_ci.models import Observation, ServiceState
from mlaz_ci.polling import poll_interval_s, wait_until_settled
from tests.fakes.clock import FakeClock

CREATING = Observation(state=ServiceState.CREATING)
LOADING = Observation(state=ServiceState.CREATING, detail="loading the model")
HEALTHY = Observation(state=ServiceState.HEALTHY)


def wait(seen: Iterable[Observation], *, deadline_s: float = 60.0) -> tuple[Observation, list[Observation], FakeClock]:
    clock, transitions, looks = FakeClock(), list[Observation](), iter(seen)
    end = wait_until_settled(
        lambda: next(looks),
        subject="It",
        clock=clock,
        deadline_s=clock.now_s() + deadline_s,
        on_transition=transitions.append,
    )
    return end, transitions, clock


def test_wait_until_settled__states_repeat__tells_each_transition_once() -> None:
    end, transitions, _ = wait([CREATING, CREATING, LOADING, LOADING, HEALTHY])
    assert end == HEALTHY
    assert transitions == [CREATING, LOADING, HEALTHY]


@pytest.mark.parametrize("state", [ServiceState.FAILED, ServiceState.UNHEALTHY, ServiceState.ABSENT])
def test_wait_until_settled__bad_end__is_returned_not_raised(state: ServiceState) -> None:
    assert wait([CREATING, Observation(state=state)])[0].state is state


def test_wait_until_settled__deadline_passes__raises_with_the_last_state() -> None:
    with pytest.raises(DeployTimedOut) as raised:
        wait((LOADING for _ in range(10_000)), deadline_s=90)
    assert raised.value.what == "It did not settle in 90 s; last state: creating (loading the model)."


def test_wait_until_settled__settles_at_the_deadline__is_seen() -> None:
    looks = iter([CREATING] * 3 + [HEALTHY])
    assert wait(looks, deadline_s=0.6)[0] == HEALTHY


@pytest.mark.parametrize(("waited_s", "most_s"), [(0, 3), (30, 3), (119, 3), (120, 10), (7200, 10)])
def test_poll_interval_s__any_wait__sees_an_end_soon(waited_s: float, most_s: float) -> None:
    assert 0.2 <= poll_interval_s(waited_s) <= most_s
