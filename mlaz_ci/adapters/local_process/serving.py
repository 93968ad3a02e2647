"""Local services as `ports.Serving`: which room does what. It keeps no state but MLAZ_HOME, and its hold on the model cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mlaz_ci.adapters.local_process import log, removal, room, scoring, staging, starting, takeover
from mlaz_ci.adapters.local_process.environments import EnvironmentBuilder, build_environment
from mlaz_ci.adapters.local_process.facts import service_facts, service_facts_without_record
from mlaz_ci.adapters.local_process.home import LOCK_WAIT_S, Home, disk_full_as_error
from mlaz_ci.adapters.local_process.lease import Lease
from mlaz_ci.adapters.local_process.model_cache import ModelCache
from mlaz_ci.adapters.local_process.place import STOP_GRACE_S, Place, places, settle
from mlaz_ci.adapters.local_process.record import readable_manifests
from mlaz_ci.adapters.local_process.site import LOOPBACK, Site, find_record
from mlaz_ci.errors import RecordUnreadable, ServiceBusy
from mlaz_ci.models import (
    DeploymentSpec,
    Finding,
    LocalShape,
    Lock,
    Observation,
    Request,
    ScoreRequest,
    ScoreResponse,
    Snapshot,
)
from mlaz_ci.ports import Clock, Progress


class LocalProcess:
    """A serving side that is this machine. `host` is the address that deployments listen on."""

    def __init__(
        self,
        home: Path,
        environ: Mapping[str, str],
        clock: Clock,
        builder: EnvironmentBuilder,
        *,
        host: str = LOOPBACK,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        at = Home(home.absolute())
        models = ModelCache(at)
        lease = Lease(at, clock, wait_s=lock_wait_s)
        self._site = Site(
            home=at, models=models, lease=lease, environ=environ, clock=clock, host=host, lock_wait_s=lock_wait_s
        )
        self._builder = builder

    def snapshot(self, service_name: str) -> Snapshot:
        site = self._site
        site.home.check()
        # Whoever deploys looks first: a model that is found in the cache after this stays until it is staged.
        if site.home.root.is_dir():
            site.models.hold()
        folder = site.home.service(service_name)
        try:
            record = find_record(folder)
        except RecordUnreadable as error:
            now = site.clock.utc_now()
            return Snapshot(service=service_facts_without_record(folder, error, site.call_host, now))
        if record is None:
            return Snapshot()
        with suppress(ServiceBusy), site.alone(service_name, "looking", wait_s=0.0):
            settle(record, places(folder), site.clock)
        return Snapshot(service=service_facts(folder, record, site.call_host))

    def inspect_room(self, request: Request) -> Sequence[Finding]:
        """As ports.Room has it. Raises PortInUse, RecordUnreadable."""
        assert isinstance(request.shape, LocalShape)
        self.check_port(request.service_name, request.shape.port)
        return ()

    def check_port(self, service_name: str, asked: int | None) -> None:
        self._site.home.check()
        room.check_port(self._site, service_name, asked)

    def services(self) -> Sequence[str]:
        self._site.home.check()
        return self._site.services()

    def build_environment(self, lock: Lock, progress: Progress, *, deadline_s: float) -> None:
        home, clock = self._site.home, self._site.clock
        home.check()
        with disk_full_as_error("building the environment"):
            self._site.models.hold()  # whoever looked before there was a cache
        build_environment(home, lock, self._builder, progress, clock=clock, deadline_s=deadline_s)

    def stage(self, spec: DeploymentSpec, model_folder: Path | None) -> None:
        assert model_folder is not None, "a local service has its model's files"
        staging.stage(self._site, spec, model_folder)

    def start(self, service_name: str, deployment_name: str) -> None:
        starting.start(self._site, self._builder, service_name, deployment_name)

    def observe(self, service_name: str, deployment_name: str) -> Observation:
        folder = self._site.home.deployment(service_name, deployment_name)
        return Place(deployment_name, folder).look(self._site.call_host)

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        site = self._site
        manifests = readable_manifests(site.home.service(service_name))
        limit_s = max((each.shape.request_timeout_s for each in manifests), default=60) + STOP_GRACE_S
        if deployment_name is None:
            return scoring.post(site.call_host, site.record(service_name).port, request, timeout_s=limit_s)
        _, place = site.known(service_name, deployment_name)
        identity = place.living()
        if identity is None:
            raise site.not_running(place)
        return scoring.post(site.call_host, identity.port, request, timeout_s=limit_s)

    def shift(self, service_name: str, deployment_name: str) -> None:
        takeover.shift(self._site, service_name, deployment_name)
        self._site.lease.release()

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        try:
            removal.retire(self._site, service_name, deployment_name, keep_files=keep_files)
        finally:
            self._site.lease.release()

    def delete(self, service_name: str) -> bool:
        try:
            return removal.delete(self._site, service_name)
        finally:
            self._site.lease.release()

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str:
        return log.tail(self._site.home.deployment(service_name, deployment_name) / "log", tail_lines)
