"""Laying down a deployment: its files, all or nothing, and the port that its service keeps. Nothing runs yet."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mlaz_ci.adapters.local_process import port
from mlaz_ci.adapters.local_process.home import (
    disk_full_as_error,
    make_folder,
    remove,
    sweep_leftovers,
    write_text,
)
from mlaz_ci.adapters.local_process.place import Place
from mlaz_ci.adapters.local_process.record import Record, deployment_names, read_record, write_record
from mlaz_ci.adapters.local_process.removal import discard
from mlaz_ci.adapters.local_process.site import Site, find_record
from mlaz_ci.errors import RecordUnreadable, ServiceBusy
from mlaz_ci.models import DeploymentSpec
from mlaz_ci.serving.manifest import FILE_NAME, MODEL_FOLDER, Manifest, manifest_of, render_manifest


def stage(site: Site, spec: DeploymentSpec, model_folder: Path) -> None:
    name = spec.deployment_name
    folder = site.home.deployment(spec.service_name, name)
    with disk_full_as_error("laying down the deployment"):
        site.lease.take(spec.service_name, f"deploying {name}")
        _stage_alone(site, spec, model_folder, folder)


def _stage_alone(site: Site, spec: DeploymentSpec, model_folder: Path, folder: Path) -> None:
    name = spec.deployment_name
    cached = site.models.name_of(model_folder)
    manifest = manifest_of(spec, created_at=site.clock.utc_now(), model_folder=cached)
    with site.alone(spec.service_name, f"staging {name}"):
        record = find_record(folder.parent)
        if record and record.live == name:
            raise ServiceBusy(
                f'Deployment "{name}" of service "{spec.service_name}" serves already.',
                usually="Another run deployed the service after this run had looked at it.",
                remedy="Run again, or give the workflow a `concurrency` group.",
            )
        if cached:
            site.models.hold()
        staging = folder.with_name(f".staging-{name}")
        try:
            kept_port = _choose_port(site, manifest, record)
            sweep_leftovers(folder.parent)
            _lay_down(site, staging, manifest, model_folder, spec.files)
            if record is None:
                write_record(folder.parent, _new_record(manifest, kept_port))
            elif record.previous == name:
                write_record(folder.parent, replace(record, previous=None))
            if folder.exists():
                discard(site, Place(name, folder))
            staging.rename(folder)
        except BaseException:
            remove(staging)
            _forget_if_empty(folder.parent, is_new=record is None)
            raise
        site.models.release()


def pick_port(site: Site, service_name: str) -> int:
    return port.pick(site.host, str(site.home.service(service_name)), _kept_ports(site))


def _choose_port(site: Site, manifest: Manifest, record: Record | None) -> int:
    """The one that is asked for, if it can be had; else the one that is kept; else a free one."""
    wanted = manifest.shape.port
    if record and wanted in {None, record.port}:
        return record.port
    if wanted is not None:
        port.bind(site.host, wanted).close()
        return wanted
    return pick_port(site, manifest.service_name)


def _kept_ports(site: Site) -> set[int]:
    """Ports of services that may be down now and will want them again."""
    kept = set()
    for name in site.services():
        with suppress(RecordUnreadable):
            record = read_record(site.home.service(name))
            kept |= {record.port} if record else set()
    return kept


def _lay_down(site: Site, folder: Path, manifest: Manifest, model_folder: Path, files: Mapping[str, str]) -> None:
    make_folder(folder)
    site.models.copy(model_folder, folder / MODEL_FOLDER)
    for name, text in files.items():
        write_text(folder / name, text)
    write_text(folder / FILE_NAME, render_manifest(manifest))


def _forget_if_empty(folder: Path, *, is_new: bool) -> None:
    """A service whose first deployment could not be staged was never there."""
    if is_new and not deployment_names(folder):
        remove(folder)


def _new_record(manifest: Manifest, kept_port: int) -> Record:
    return Record(
        name=manifest.service_name,
        owner=manifest.owner,
        port=kept_port,
        created_at=manifest.created_at,
        tags=manifest.tags,
    )
