"""The hook for real serving: what starts a service's code, and the services that run. Knows no Azure resource.

Without a backend a service "runs" as a state only: its scoring URI answers 501 and fails the test, unless the test asked
for an echo.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What is to be served. Folders are the backend's to read, and gone when the service is stopped."""

    name: str
    # None: no scoring script, the model (MLflow) serves itself.
    script_folder: Path | None
    script: str
    # As AZUREML_MODEL_DIR is laid out: the model's file, or its folder under its own name.
    model_folder: Path | None
    # The conda file or requirements as they were uploaded; "" for an environment that is an image alone.
    environment: str
    variables: Mapping[str, str] = field(default_factory=dict)


class Handle(Protocol):
    """A service that runs: `address` is http://host:port of its inference server."""

    @property
    def address(self) -> str: ...

    def logs(self) -> str: ...

    def stop(self) -> None: ...


class Backend(Protocol):
    def start(self, spec: Spec) -> Handle:
        """Blocks until the service answers; StartFailed when it never will."""


class StartFailed(Exception):
    """The service's code crashed. `log` is what its container printed."""

    def __init__(self, log: str, *, message: str = "") -> None:
        super().__init__(message or "the service did not start")
        self.log = log
        self.message = message


class BuildFailed(StartFailed):
    """The environment could not be built; `log` is the build's."""


class Start:
    """A start under way, in a thread of its own."""

    def __init__(self, backend: Backend, spec: Spec) -> None:
        self._future: Future[Handle] = Future()
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, args=(backend, spec), daemon=True)
        self._thread.start()

    def _run(self, backend: Backend, spec: Spec) -> None:
        try:
            handle = backend.start(spec)
        except BaseException as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
            self._future.set_exception(error)
            return
        with self._lock:
            self._future.set_result(handle)
            stopped = self._stopped
        if stopped:
            handle.stop()

    @property
    def is_done(self) -> bool:
        return self._future.done()

    @property
    def handle(self) -> Handle | None:
        """The running service, or None while it starts or when it failed."""
        done = self._future.done() and self._future.exception() is None
        return self._future.result() if done else None

    @property
    def error(self) -> BaseException | None:
        return self._future.exception() if self._future.done() else None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
        if (handle := self.handle) is not None:
            handle.stop()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)


class Lease:
    """A caller's hold on a running service, which is stopped only after the last of them has let go."""

    def __init__(self, address: str, release: Callable[[], None]) -> None:
        self.address = address
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


class Serving:
    """The services of a cloud: cloud.live(backends.Serving). A test sets `backend`; reset stops everything."""

    def __init__(self) -> None:
        self.backend: Backend | None = None
        # Answer with the request's own body where no backend is: for tests of routing and of load alone.
        self.echoes = False
        # Real seconds that such an answer takes, during which it counts against what the instances carry.
        self.echo_takes_s = 0.0
        self._starts: dict[str, Start] = {}
        # Requests under way by service, and services that end when theirs have been answered.
        self._held: dict[str, int] = {}
        self._ending: dict[str, Start] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, spec: Spec) -> Start | None:
        """Starts `spec` under a key of its own, so that what served before goes on; None without a backend."""
        if self.backend is None:
            return None
        start = Start(self.backend, spec)
        with self._lock:
            self._starts[key] = start
        return start

    def start_of(self, key: str) -> Start | None:
        with self._lock:
            return self._starts.get(key)

    def lease(self, key: str | None) -> Lease | None:
        """A hold on the service that runs under `key`; None when none does."""
        with self._lock:
            start = self._starts.get(key) if key else None
            if key is None or start is None or start.handle is None:
                return None
            self._held[key] = self._held.get(key, 0) + 1
            return Lease(start.handle.address, lambda: self._release(key))

    def _release(self, key: str) -> None:
        with self._lock:
            self._held[key] -= 1
            if self._held[key]:
                return
            del self._held[key]
            start = self._ending.pop(key, None)
        if start is not None:
            start.stop()

    def end(self, key: str) -> None:
        """No new request reaches the service; those under way are answered first, as Azure drains what it takes away."""
        with self._lock:
            start = self._starts.pop(key, None)
            if start is not None and key in self._held:
                self._ending[key] = start
                return
        if start is not None:
            start.stop()

    def close(self) -> None:
        with self._lock:
            starts = [*self._starts.values(), *self._ending.values()]
            self._starts, self._ending = {}, {}
        for start in starts:
            with contextlib.suppress(Exception):
                start.stop()
        for start in starts:
            start.join(10.0)
