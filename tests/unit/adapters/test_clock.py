from __future__ import annotations

from datetime import UTC

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.ports import Clock


def test_system_clock__slept_on__moves_forward() -> None:
    clock: Clock = SystemClock()
    before_s, before = clock.now_s(), clock.utc_now()
    clock.sleep(-1)
    clock.sleep(0.001)
    assert clock.now_s() - before_s >= 0.001
    assert clock.utc_now() >= before
    assert clock.utc_now().tzinfo is UTC
