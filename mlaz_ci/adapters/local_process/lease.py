"""A run's claim on a service, from its first change until the traffic is shifted or the run ends, however it ends.

Without it a second run takes the first one's candidate for one that a dead run left. It binds whoever deploys; cleanup comes through.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack

from mlaz_ci.adapters.local_process.home import Home, locked
from mlaz_ci.ports import Clock

_FILE_NAME = "deploy.lock"


class Lease:
    def __init__(self, home: Home, clock: Clock, *, wait_s: float) -> None:
        self._home = home
        self._clock = clock
        self._wait_s = wait_s
        self._service_name: str | None = None
        self._let_go: weakref.finalize[..., Lease] | None = None

    def take(self, service_name: str, doing: str) -> None:
        """Wait for a run that has it. Raises ServiceBusy, which names that run."""
        if self._let_go is not None and self._let_go.alive and self._service_name == service_name:
            return
        self.release()
        self._home.check()
        with ExitStack() as claim:
            folder = self._home.service(service_name)
            claim.enter_context(locked(folder, self._clock, doing, wait_s=self._wait_s, file_name=_FILE_NAME))
            self._let_go = weakref.finalize(self, claim.pop_all().close)
        self._service_name = service_name

    def release(self) -> None:
        if self._let_go is not None:
            self._let_go()
            self._let_go = None
