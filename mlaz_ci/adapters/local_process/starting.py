"""Starting a staged deployment: on an address of its own, holding the service's port where nobody else has it.

What its process is given stands in launching.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from mlaz_ci.adapters.local_process import port
from mlaz_ci.adapters.local_process.environments import EnvironmentBuilder, build_environment
from mlaz_ci.adapters.local_process.home import disk_full_as_error, write_text
from mlaz_ci.adapters.local_process.launching import launch
from mlaz_ci.adapters.local_process.place import STOP_GRACE_S, Place, places, settle
from mlaz_ci.adapters.local_process.process import is_alive, kill_group
from mlaz_ci.adapters.local_process.record import Record, read_manifest, write_record
from mlaz_ci.adapters.local_process.removal import discard
from mlaz_ci.adapters.local_process.site import Site
from mlaz_ci.adapters.local_process.staging import pick_port
from mlaz_ci.errors import PortInUse
from mlaz_ci.models import ServiceState
from mlaz_ci.serving.manifest import Manifest

# Of an environment that is gone when its deployment is to be started again: no deadline of a run comes with a start.
_REBUILD_LIMIT_S = 1800.0


class _Silence:
    def update(self, done: float, total: float | None, unit: str) -> None:
        """Nobody watches."""


def start(site: Site, builder: EnvironmentBuilder, service_name: str, deployment_name: str) -> None:
    with disk_full_as_error("starting the deployment"):
        site.lease.take(service_name, f"starting {deployment_name}")
    with (
        disk_full_as_error("starting the deployment"),
        site.alone(service_name, f"starting {deployment_name}") as lock_fd,
    ):
        record, place = site.known(service_name, deployment_name)
        settle(record, places(place.folder.parent), site.clock)
        _discard_candidates(site, record, place)
        if place.look(site.call_host).state in {ServiceState.HEALTHY, ServiceState.CREATING}:
            return
        manifest = read_manifest(place.folder)
        deadline_s = site.clock.now_s() + _REBUILD_LIMIT_S
        build_environment(site.home, manifest.lock, builder, _Silence(), clock=site.clock, deadline_s=deadline_s)
        place.stop(site.clock, grace_s=STOP_GRACE_S)
        with ExitStack() as sockets:
            own = sockets.enter_context(port.bind(site.host, 0))
            held = _hold_port(site, record, manifest, place)
            if held is not None:
                sockets.enter_context(held)
            _open_log(site, place.folder, manifest)
            _launch(site, place, manifest, own=own, held=held, lock_fd=lock_fd)


def _launch(
    site: Site, place: Place, manifest: Manifest, *, own: socket.socket, held: socket.socket | None, lock_fd: int
) -> None:
    try:
        launch(
            place.folder,
            site.home.environment(manifest.lock.hash),
            manifest,
            environ=site.environ,
            host=site.host,
            own=own,
            held=held,
            lock_fd=lock_fd,
        )
    except BaseException:
        place.stop(site.clock, grace_s=0.0)
        raise


def _discard_candidates(site: Site, record: Record, place: Place) -> None:
    """Deployments without traffic are left by runs that did not end: the live one and the one before it stay."""
    for each in places(place.folder.parent):
        if each.name not in {record.live, record.previous, place.name}:
            discard(site, each)


def _hold_port(site: Site, record: Record, manifest: Manifest, place: Place) -> socket.socket | None:
    """The service's port, unless another deployment of it has it, which then hands it over."""
    wanted = manifest.shape.port or record.port
    others = [each for each in places(place.folder.parent) if each.name != place.name]
    if wanted == record.port and any(each.is_serving() for each in others):
        return None
    for each in others:
        identity = each.identity
        if identity and not is_alive(identity):
            kill_group(identity, site.clock)  # workers whose master is dead still have the port
    try:
        return port.bind(site.host, wanted)
    except PortInUse:
        if manifest.shape.port is not None or record.live is not None:
            raise
    # Nobody was ever told this port, and somebody was quicker: any other one does as well.
    other = replace(record, port=pick_port(site, record.name))
    write_record(place.folder.parent, other)
    return port.bind(site.host, other.port)


def _open_log(site: Site, folder: Path, manifest: Manifest) -> None:
    """A log of this start alone; the one before stays beside it. Written here first: a full disk shows now, not later."""
    path = folder / "log"
    with suppress(FileNotFoundError):
        path.replace(folder / "log.1")
    label = manifest.model_label or "the model"
    write_text(path, f"{site.clock.utc_now():%Y-%m-%d %H:%M:%S} starting {manifest.deployment_name}: {label}\n")
