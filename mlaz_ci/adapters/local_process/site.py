"""The machine as a place for services: MLAZ_HOME, the address they listen on, and being alone with one of them.

What is done to a service stands in staging, lifecycle and takeover.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlaz_ci.adapters.local_process import log
from mlaz_ci.adapters.local_process.home import Home, locked
from mlaz_ci.adapters.local_process.lease import Lease
from mlaz_ci.adapters.local_process.model_cache import ModelCache
from mlaz_ci.adapters.local_process.place import Place, places
from mlaz_ci.adapters.local_process.record import Record, deployment_names, read_record
from mlaz_ci.errors import NotFound, RecordUnreadable, ServiceNotFound, ServiceStartFailed
from mlaz_ci.ports import Clock

LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - inside a container, whose port the engine publishes on the host's loopback
_LOG_TAIL_LINES: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """`host` is the address that deployments listen on; `environ` is the surroundings that they get an allow-list of."""

    home: Home
    models: ModelCache
    lease: Lease
    environ: Mapping[str, str]
    clock: Clock
    host: str
    lock_wait_s: float

    @property
    def call_host(self) -> str:
        return LOOPBACK if self.host == _EVERYWHERE else self.host

    @contextmanager
    def alone(self, service_name: str, doing: str, *, wait_s: float | None = None) -> Iterator[int]:
        """Nobody else changes the service meanwhile. Gives the lock's descriptor; raises ServiceBusy."""
        self.home.check()
        folder = self.home.service(service_name)
        limit_s = self.lock_wait_s if wait_s is None else wait_s
        with locked(folder, self.clock, doing, wait_s=limit_s) as descriptor:
            yield descriptor

    def services(self) -> Sequence[str]:
        if not self.home.services.is_dir():
            return ()
        folders = (each for each in self.home.services.iterdir() if not each.name.startswith("."))
        return tuple(sorted(each.name for each in folders if is_service(each)))

    def known(self, service_name: str, deployment_name: str) -> tuple[Record, Place]:
        """Raises ServiceNotFound, NotFound, RecordUnreadable."""
        folder = self.home.service(service_name)
        record = self.record(service_name)
        place = next((each for each in places(folder) if each.name == deployment_name), None)
        if place is None:
            raise NotFound(f'Service "{service_name}" has no deployment "{deployment_name}".')
        return record, place

    def record(self, service_name: str) -> Record:
        """Raises ServiceNotFound, RecordUnreadable."""
        record = find_record(self.home.service(service_name))
        if record is None:
            raise ServiceNotFound(f'There is no local service "{service_name}".')
        return record

    def not_running(self, place: Place) -> ServiceStartFailed:
        detail = place.look(self.call_host).detail
        return ServiceStartFailed(f'Deployment "{place.name}" does not run: {detail}.', log=log_tail(place))


def is_service(folder: Path) -> bool:
    return (folder / "service.json").exists() or bool(deployment_names(folder))


def find_record(folder: Path) -> Record | None:
    """None where there is no service. Raises RecordUnreadable, also for deployments that have lost their record."""
    record = read_record(folder)
    if record is None and deployment_names(folder):
        raise RecordUnreadable(f'The record of service "{folder.name}" is missing from {folder}.')
    return record


def log_tail(place: Place) -> str:
    return log.tail(place.folder / "log", _LOG_TAIL_LINES)
