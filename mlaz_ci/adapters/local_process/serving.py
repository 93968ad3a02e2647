"""Local services as `ports.Serving`: what each operation does, under the service's lock. It keeps no state but MLAZ_HOME."""

from __future__ import annotations

import importlib.resources
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mlaz_ci.adapters.local_process import control, log, port, scoring
from mlaz_ci.adapters.local_process.facts import service_facts, service_facts_without_record
from mlaz_ci.adapters.local_process.home import (
    LOCK_WAIT_S,
    Home,
    copy_file,
    copy_folder,
    disk_full_as_error,
    is_no_room,
    locked,
    make_folder,
    remove,
    sweep_leftovers,
    write_text,
)
from mlaz_ci.adapters.local_process.place import STOP_GRACE_S, Place, places, settle
from mlaz_ci.adapters.local_process.process import Identity, is_alive, kill_group
from mlaz_ci.adapters.local_process.record import (
    Record,
    deployment_names,
    read_manifest,
    read_record,
    readable_manifests,
    write_record,
)
from mlaz_ci.adapters.local_process.starting import launch
from mlaz_ci.errors import (
    FileNotFound,
    InvalidInput,
    NotFound,
    PortInUse,
    RecordUnreadable,
    ServiceBusy,
    ServiceNotFound,
    ServiceStartFailed,
)
from mlaz_ci.models import (
    DeploymentSpec,
    Lock,
    Observation,
    ScoreRequest,
    ScoreResponse,
    ServiceState,
    Snapshot,
)
from mlaz_ci.ports import Clock, Progress
from mlaz_ci.serving.manifest import FILE_NAME, Manifest, manifest_of, render_manifest

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container, whose port the engine publishes on the host's loopback
_LOG_TAIL_LINES = 200
_BUILD_WAIT_S = 1800.0


class EnvironmentBuilder(Protocol):
    """Makes a locked environment in a folder that does not exist yet; `destination/bin/python` runs it."""

    def build(self, lock: Lock, destination: Path, progress: Progress) -> None: ...


class _Silence:
    def update(self, done: float, total: float | None, unit: str) -> None:
        """Nobody watches."""


class LocalProcess:
    """A serving side that is this machine. `host` is the address that deployments listen on."""

    def __init__(
        self,
        home: Path,
        environ: Mapping[str, str],
        clock: Clock,
        builder: EnvironmentBuilder,
        *,
        host: str = _LOOPBACK,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        self._home = Home(home.absolute())
        self._environ = environ
        self._clock = clock
        self._builder = builder
        self._host = host
        self._call_host = _LOOPBACK if host == _EVERYWHERE else host
        self._lock_wait_s = lock_wait_s

    # --- what is there ---

    def snapshot(self, service_name: str) -> Snapshot:
        self._home.check()
        folder = self._home.service(service_name)
        try:
            record = self._record(folder)
        except RecordUnreadable as error:
            now = self._clock.utc_now()
            return Snapshot(service=service_facts_without_record(folder, error, self._call_host, now))
        if record is None:
            return Snapshot()
        with suppress(ServiceBusy), self._alone(service_name, "looking", wait_s=0.0):
            settle(record, places(folder), self._clock)
        return Snapshot(service=service_facts(folder, record, self._call_host))

    def services(self) -> Sequence[str]:
        self._home.check()
        if not self._home.services.is_dir():
            return ()
        folders = (each for each in self._home.services.iterdir() if not each.name.startswith("."))
        return tuple(sorted(each.name for each in folders if self._is_service(each)))

    def observe(self, service_name: str, deployment_name: str) -> Observation:
        return Place(deployment_name, self._home.deployment(service_name, deployment_name)).look(self._call_host)

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str:
        return log.tail(self._home.deployment(service_name, deployment_name) / "log", tail_lines)

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        folder = self._home.service(service_name)
        manifests = readable_manifests(folder)
        limit_s = max((each.shape.request_timeout_s for each in manifests), default=60) + STOP_GRACE_S
        if deployment_name is None:
            record = self._record(folder)
            if record is None:
                raise self._no_service(service_name)
            return scoring.post(self._call_host, record.port, request, timeout_s=limit_s)
        _, place = self._known(service_name, deployment_name)
        identity = place.living()
        if identity is None:
            raise self._not_running(place)
        return scoring.post(self._call_host, identity.port, request, timeout_s=limit_s)

    # --- environments and files ---

    def build_environment(self, lock: Lock, progress: Progress) -> None:
        self._home.check()
        environment = self._home.environment(lock.hash)
        if (environment / ".complete").exists():
            return
        guard = environment.with_name(f".lock-{lock.hash}")
        with (
            disk_full_as_error("building the environment"),
            locked(guard, self._clock, f"building the environment {lock.hash}", wait_s=_BUILD_WAIT_S),
        ):
            if (environment / ".complete").exists():
                return
            remove(environment)
            try:
                self._builder.build(lock, environment, progress)
                write_text(environment / ".complete", "")
            except BaseException:
                remove(environment)
                raise

    def stage(self, spec: DeploymentSpec, model_folder: Path) -> None:
        name = spec.deployment_name
        folder = self._home.deployment(spec.service_name, name)
        cached = model_folder.name if model_folder.absolute().parent == self._home.models else None
        manifest = manifest_of(spec, created_at=self._clock.utc_now(), model_folder=cached)
        with disk_full_as_error("laying down the deployment"), self._alone(spec.service_name, f"staging {name}"):
            record = self._record(folder.parent)
            if record and record.live == name:
                raise InvalidInput(
                    f'Deployment "{name}" is the one that serves now.', remedy="Give the new one another name."
                )
            kept_port = self._choose_port(manifest, record)
            sweep_leftovers(folder.parent)
            staging = folder.with_name(f".staging-{name}")
            try:
                self._lay_down(staging, manifest, model_folder, spec.files)
                if record is None:
                    write_record(folder.parent, _new_record(manifest, kept_port))
                elif record.previous == name:
                    write_record(folder.parent, replace(record, previous=None))
                if folder.exists():
                    self._discard(Place(name, folder))
                staging.rename(folder)
            except BaseException:
                remove(staging)
                self._forget_if_empty(folder.parent, is_new=record is None)
                raise

    def _choose_port(self, manifest: Manifest, record: Record | None) -> int:
        """The one that is asked for, if it can be had; else the one that is kept; else a free one."""
        wanted = manifest.shape.port
        if record and wanted in {None, record.port}:
            return record.port
        if wanted is not None:
            port.bind(self._host, wanted).close()
            return wanted
        return self._pick_port(manifest.service_name)

    def _pick_port(self, service_name: str) -> int:
        return port.pick(self._host, str(self._home.service(service_name)), self._kept_ports())

    def _kept_ports(self) -> set[int]:
        """Ports of services that may be down now and will want them again."""
        kept = set()
        for name in self.services():
            with suppress(RecordUnreadable):
                record = read_record(self._home.service(name))
                kept |= {record.port} if record else set()
        return kept

    def _lay_down(self, folder: Path, manifest: Manifest, model_folder: Path, files: Mapping[str, str]) -> None:
        make_folder(folder)
        _copy_model(model_folder, folder / "model", link=manifest.model_folder is not None)
        ours = importlib.resources.files("mlaz_ci.serving")
        for script in ("score.py", "launch.py"):
            with importlib.resources.as_file(ours / script) as path:
                copy_file(path, folder / script)
        for name, text in files.items():
            write_text(folder / name, text)
        write_text(folder / FILE_NAME, render_manifest(manifest))

    def _forget_if_empty(self, folder: Path, *, is_new: bool) -> None:
        """A service whose first deployment could not be staged was never there."""
        if is_new and not deployment_names(folder):
            remove(folder)

    # --- processes ---

    def start(self, service_name: str, deployment_name: str) -> None:
        with (
            disk_full_as_error("starting the deployment"),
            self._alone(service_name, f"starting {deployment_name}") as lock_fd,
        ):
            record, place = self._known(service_name, deployment_name)
            settle(record, places(place.folder.parent), self._clock)
            self._discard_candidates(record, place)
            if place.look(self._call_host).state in {ServiceState.HEALTHY, ServiceState.CREATING}:
                return
            manifest = read_manifest(place.folder)
            self.build_environment(manifest.lock, _Silence())
            place.stop(self._clock, grace_s=STOP_GRACE_S)
            with ExitStack() as sockets:
                own = sockets.enter_context(port.bind(self._host, 0))
                held = self._hold_port(record, manifest, place)
                if held is not None:
                    sockets.enter_context(held)
                self._open_log(place.folder, manifest)
                self._launch(place, manifest, own=own, held=held, lock_fd=lock_fd)

    def _launch(
        self, place: Place, manifest: Manifest, *, own: socket.socket, held: socket.socket | None, lock_fd: int
    ) -> None:
        try:
            launch(
                place.folder,
                self._home.environment(manifest.lock.hash),
                manifest,
                environ=self._environ,
                host=self._host,
                own=own,
                held=held,
                lock_fd=lock_fd,
            )
        except BaseException:
            place.stop(self._clock, grace_s=0.0)
            raise

    def _discard_candidates(self, record: Record, place: Place) -> None:
        """Deployments without traffic are left by runs that did not end: the live one and the one before it stay."""
        for each in places(place.folder.parent):
            if each.name not in {record.live, record.previous, place.name}:
                self._discard(each)

    def _discard(self, place: Place) -> None:
        place.stop(self._clock, grace_s=STOP_GRACE_S)
        manifest = place.manifest()
        remove(place.folder)
        self._prune_models([manifest] if manifest else [])

    def _hold_port(self, record: Record, manifest: Manifest, place: Place) -> socket.socket | None:
        """The service's port, unless another deployment of it has it, which then hands it over."""
        wanted = manifest.shape.port or record.port
        others = [each for each in places(place.folder.parent) if each.name != place.name]
        if wanted == record.port and any(each.is_serving() for each in others):
            return None
        for each in others:
            identity = each.identity
            if identity and not is_alive(identity):
                kill_group(identity, self._clock)  # workers whose master is dead still have the port
        try:
            return port.bind(self._host, wanted)
        except PortInUse:
            if manifest.shape.port is not None or record.live is not None:
                raise
        # Nobody was ever told this port, and somebody was quicker: any other one does as well.
        other = replace(record, port=self._pick_port(record.name))
        write_record(place.folder.parent, other)
        return port.bind(self._host, other.port)

    def _open_log(self, folder: Path, manifest: Manifest) -> None:
        """A log of this start alone; the one before stays beside it. Written here first: a full disk shows now, not later."""
        path = folder / "log"
        with suppress(FileNotFoundError):
            path.replace(folder / "log.1")
        label = manifest.model_label or "the model"
        write_text(path, f"{self._clock.utc_now():%Y-%m-%d %H:%M:%S} starting {manifest.deployment_name}: {label}\n")

    def shift(self, service_name: str, deployment_name: str) -> None:
        with (
            disk_full_as_error("recording who has the traffic"),
            self._alone(service_name, f"shifting to {deployment_name}"),
        ):
            record, place = self._known(service_name, deployment_name)
            folder = place.folder.parent
            settle(record, places(folder), self._clock)
            manifest = read_manifest(place.folder)
            wanted = manifest.shape.port or record.port
            serving = [each for each in places(folder) if each.name != deployment_name and each.is_serving()]
            if not place.is_serving():
                self._take(place, wanted, serving if wanted == record.port else [])
            previous = record.live if record.live not in {None, deployment_name} else record.previous
            shifted = replace(_of_its_owner(record, manifest), port=wanted, live=deployment_name, previous=previous)
            write_record(folder, shifted)
            for each in serving:
                each.release(self._clock)

    def _take(self, place: Place, number: int, serving: Sequence[Place]) -> None:
        """Give the candidate the service's listening socket: the very one that serves now, so its queue is never lost."""
        identity = place.living()
        if identity is None:
            raise self._not_running(place)
        place.mark_traffic()
        shared = next((fd for fd in map(_share, serving) if fd is not None), None)
        try:
            try:
                _hand_over(place, identity, shared)
            except control.DoesNotAnswer:
                if shared is not None:
                    raise
                # It holds nothing: the one that served when it was started has ended since.
                with port.bind(self._host, number) as held:
                    _hand_over(place, identity, os.dup(held.fileno()))
        except control.DoesNotAnswer as error:
            raise self._not_taken(place, number, error) from error

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        folder = self._home.deployment(service_name, deployment_name)
        if not folder.is_dir():
            return
        with self._alone(service_name, f"retiring {deployment_name}"):
            place = Place(deployment_name, folder)
            record = self._record(folder.parent)
            # A live one that is down may be stopped: what was begun to start it again. Its files stay in any case.
            if record and record.live == deployment_name and (not keep_files or place.is_serving()):
                raise self._is_live(place)
            place.stop(self._clock, grace_s=place.drain_s())
            if keep_files:
                return
            if record and record.previous == deployment_name:
                write_record(folder.parent, replace(record, previous=None))
            self._discard(place)

    def delete(self, service_name: str) -> bool:
        folder = self._home.service(service_name)
        if not folder.is_dir():
            return False
        with self._alone(service_name, "deleting"):
            was_there = self._is_service(folder)
            for each in folder.iterdir():
                if each.is_dir():
                    place = Place(each.name, each)
                    place.stop(self._clock, grace_s=place.stop_grace_s())
            manifests = readable_manifests(folder)
            remove(folder)
        sweep_leftovers(self._home.services)
        self._prune_models(manifests)
        return was_there

    # --- what the operations share ---

    @contextmanager
    def _alone(self, service_name: str, doing: str, *, wait_s: float | None = None) -> Iterator[int]:
        self._home.check()
        folder = self._home.service(service_name)
        limit_s = self._lock_wait_s if wait_s is None else wait_s
        with locked(folder, self._clock, doing, wait_s=limit_s) as descriptor:
            yield descriptor

    def _is_service(self, folder: Path) -> bool:
        return (folder / "service.json").exists() or bool(deployment_names(folder))

    def _record(self, folder: Path) -> Record | None:
        """None where there is no service. Raises RecordUnreadable, also for deployments that have lost their record."""
        record = read_record(folder)
        if record is None and deployment_names(folder):
            raise RecordUnreadable(f'The record of service "{folder.name}" is missing from {folder}.')
        return record

    def _known(self, service_name: str, deployment_name: str) -> tuple[Record, Place]:
        folder = self._home.service(service_name)
        record = self._record(folder)
        if record is None:
            raise self._no_service(service_name)
        place = next((each for each in places(folder) if each.name == deployment_name), None)
        if place is None:
            raise NotFound(f'Service "{service_name}" has no deployment "{deployment_name}".')
        return record, place

    def _prune_models(self, manifests: Sequence[Manifest]) -> None:
        """A downloaded model goes with the last deployment made from it. Environments stay: an equal lock reuses them."""
        names = {each.model_folder for each in manifests if each.model_folder}
        for service_name in self.services() if names else ():
            names -= {each.model_folder for each in readable_manifests(self._home.service(service_name))}
        for name in names:
            remove(self._home.models / name)

    def _no_service(self, service_name: str) -> ServiceNotFound:
        return ServiceNotFound(f'There is no local service "{service_name}".')

    def _is_live(self, place: Place) -> ServiceBusy:
        return ServiceBusy(
            f'Deployment "{place.name}" has the traffic of service "{place.folder.parent.name}": it stays.',
            usually="It got the traffic after this run had decided to remove it.",
            remedy="See `command: status`. `command: cleanup` removes the whole service.",
        )

    def _not_running(self, place: Place) -> ServiceStartFailed:
        detail = place.look(self._call_host).detail
        return ServiceStartFailed(f'Deployment "{place.name}" does not run: {detail}.', log=self._log_tail(place))

    def _not_taken(self, place: Place, number: int, why: control.DoesNotAnswer) -> ServiceStartFailed:
        return ServiceStartFailed(
            f'Deployment "{place.name}" could not take port {number}: {why}.', log=self._log_tail(place)
        )

    def _log_tail(self, place: Place) -> str:
        return log.tail(place.folder / "log", _LOG_TAIL_LINES)


def _new_record(manifest: Manifest, kept_port: int) -> Record:
    return Record(
        name=manifest.service_name,
        owner=manifest.owner,
        port=kept_port,
        created_at=manifest.created_at,
        tags=manifest.tags,
    )


def _of_its_owner(record: Record, manifest: Manifest) -> Record:
    """Who deploys owns the service from the shift on. Going back to a deployment that had the traffic gives it to nobody else."""
    is_known = manifest.deployment_name in {record.live, record.previous}
    owner = record.owner if is_known else manifest.owner
    tags = {**manifest.tags, **({"mlaz-owner": owner} if "mlaz-owner" in manifest.tags else {})}
    return replace(record, owner=owner, tags=tags)


def _copy_model(source: Path, destination: Path, *, link: bool) -> None:
    """Raises if it is not whole: with the last deployment of a cached model another run removes its files."""
    problem = "there is no MLmodel in it"
    try:
        copy_folder(source, destination, link=link)
    except OSError as error:
        if is_no_room(error):
            raise
        problem = f"{error.strerror}: {error.filename}" if error.strerror else str(error)
    else:
        if (destination / "MLmodel").is_file():
            return
    what = f"The model in {source} cannot be copied: {problem}."
    if link:
        usually = "Another run removed the files of the model meanwhile, with the last service that used them."
        raise ServiceBusy(what, usually=usually, remedy="Run again: what is gone is fetched anew.")
    raise FileNotFound(what, usually="The folder changed meanwhile, or may not be read by this user.")


def _share(place: Place) -> int | None:
    identity = place.living()
    if identity is None:
        return None
    try:
        return control.ask(place.folder, identity, "share").fd
    except control.DoesNotAnswer:
        return None


def _hand_over(place: Place, identity: Identity, fd: int | None) -> None:
    try:
        control.ask(place.folder, identity, "take", fd=fd)
    finally:
        if fd is not None:
            os.close(fd)
