"""Ending deployments and services, and removing what only they needed. What has the traffic is never removed alone."""

from __future__ import annotations

from dataclasses import replace

from mlaz_ci.adapters.local_process.environments import prune_environments
from mlaz_ci.adapters.local_process.home import remove, sweep_leftovers
from mlaz_ci.adapters.local_process.place import STOP_GRACE_S, Place
from mlaz_ci.adapters.local_process.record import deployment_names, readable_manifests, write_record
from mlaz_ci.adapters.local_process.site import Site, find_record, is_service
from mlaz_ci.errors import ServiceBusy


def retire(site: Site, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
    folder = site.home.deployment(service_name, deployment_name)
    if not folder.is_dir():
        return
    with site.alone(service_name, f"retiring {deployment_name}"):
        place = Place(deployment_name, folder)
        record = find_record(folder.parent)
        # A live one that is down may be stopped: what was begun to start it again. Its files stay in any case.
        if record and record.live == deployment_name and (not keep_files or place.is_serving()):
            raise _is_live(place)
        place.stop(site.clock, grace_s=place.drain_s())
        if keep_files:
            return
        if record and record.previous == deployment_name:
            write_record(folder.parent, replace(record, previous=None))
        discard(site, place)
        if record and record.live is None and not deployment_names(folder.parent):
            remove(folder.parent)  # nobody was ever served by it


def delete(site: Site, service_name: str) -> bool:
    folder = site.home.service(service_name)
    if not folder.is_dir():
        return False
    with site.alone(service_name, "deleting"):
        was_there = is_service(folder)
        for each in folder.iterdir():
            if each.is_dir():
                place = Place(each.name, each)
                place.stop(site.clock, grace_s=place.stop_grace_s())
        remove(folder)
    sweep_leftovers(site.home.services)
    _prune(site)
    return was_there


def discard(site: Site, place: Place) -> None:
    place.stop(site.clock, grace_s=STOP_GRACE_S)
    remove(place.folder)
    _prune(site)


def _prune(site: Site) -> None:
    """Models go with the last deployment that is made from them; environments stay for a while: an equal lock reuses them."""
    with site.models.alone() as is_alone:
        if not is_alone:
            return
        folders = [site.home.service(name) for name in site.services()]
        manifests = [each for folder in folders for each in readable_manifests(folder)]
        models = {each.model_folder for each in manifests if each.model_folder}
        site.models.prune(models, site.clock.utc_now().timestamp())
        if len(manifests) == sum(len(deployment_names(folder)) for folder in folders):
            # What a manifest that cannot be read runs in is not known.
            prune_environments(site.home, {each.lock.hash for each in manifests}, site.clock)


def _is_live(place: Place) -> ServiceBusy:
    return ServiceBusy(
        f'Deployment "{place.name}" has the traffic of service "{place.folder.parent.name}": it stays.',
        usually="It got the traffic after this run had decided to remove it.",
        remedy="See `command: status`. `command: cleanup` removes the whole service.",
    )
