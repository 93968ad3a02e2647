"""The service's port changes hands: the new deployment gets the very socket that the old one listens on (docs/decisions/0003)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from mlaz_ci.adapters.local_process import control, port
from mlaz_ci.adapters.local_process.home import disk_full_as_error
from mlaz_ci.adapters.local_process.place import Place, places, settle
from mlaz_ci.adapters.local_process.process import Identity
from mlaz_ci.adapters.local_process.record import Record, read_manifest, write_record
from mlaz_ci.adapters.local_process.site import Site, log_tail
from mlaz_ci.errors import ServiceStartFailed
from mlaz_ci.serving.manifest import Manifest


def shift(site: Site, service_name: str, deployment_name: str) -> None:
    with (
        disk_full_as_error("recording who has the traffic"),
        site.alone(service_name, f"shifting to {deployment_name}"),
    ):
        record, place = site.known(service_name, deployment_name)
        folder = place.folder.parent
        settle(record, places(folder), site.clock)
        manifest = read_manifest(place.folder)
        wanted = manifest.shape.port or record.port
        serving = [each for each in places(folder) if each.name != deployment_name and each.is_serving()]
        if not place.is_serving():
            _take(site, place, wanted, serving if wanted == record.port else [])
        previous = record.live if record.live not in {None, deployment_name} else record.previous
        shifted = replace(_of_its_owner(record, manifest), port=wanted, live=deployment_name, previous=previous)
        write_record(folder, shifted)
        for each in serving:
            each.release(site.clock)


def _take(site: Site, place: Place, number: int, serving: Sequence[Place]) -> None:
    """Give the candidate the service's listening socket: the very one that serves now, so its queue is never lost."""
    identity = place.living()
    if identity is None:
        raise site.not_running(place)
    place.mark_traffic()
    shared = next((fd for fd in map(_share, serving) if fd is not None), None)
    try:
        try:
            _hand_over(place, identity, shared)
        except control.DoesNotAnswer:
            if shared is not None:
                raise
            # It holds nothing: the one that served when it was started has ended since.
            with port.bind(site.host, number) as held:
                _hand_over(place, identity, os.dup(held.fileno()))
    except control.DoesNotAnswer as error:
        what = f'Deployment "{place.name}" could not take port {number}: {error}.'
        raise ServiceStartFailed(what, log=log_tail(place)) from error


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


def _of_its_owner(record: Record, manifest: Manifest) -> Record:
    """Who deploys owns the service from the shift on. Going back to a deployment that had the traffic gives it to nobody else."""
    is_known = manifest.deployment_name in {record.live, record.previous}
    owner = record.owner if is_known else manifest.owner
    tags = {**manifest.tags, **({"mlaz-owner": owner} if "mlaz-owner" in manifest.tags else {})}
    return replace(record, owner=owner, tags=tags)
