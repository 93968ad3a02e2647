"""The spellings of where an asset's files lie, and the files there."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.azure import storage
from tests.azure.arm import datastores
from tests.azure.arm.workspaces import Workspace
from tests.azure.state import Cloud

_JOB = re.compile(
    r"(?:azureml://jobs/(?P<job>[^/]+)/outputs/artifacts|runs:/(?P<run>[^/]+))(?:/(?:paths/)?(?P<path>.*))?"
)
_SHORT = re.compile(r"azureml://datastores/([^/]+)/paths/(.*)")
_LONG = re.compile(
    r"azureml://subscriptions/[^/]+/resourcegroups/[^/]+/workspaces/[^/]+/datastores/([^/]+)/paths/(.*)", re.IGNORECASE
)
_BLOB = re.compile(r"https://([^.]+)\.blob\.core\.windows\.net/([^/]+)/?(.*)")


def kept(workspace: Workspace, uri: str) -> tuple[str, str | None]:
    """A model's URI as the service keeps it, and the job it is of: a job's output becomes its place in the datastore."""
    base = f"azureml://subscriptions/{workspace.subscription}/resourceGroups/{workspace.resource_group}/workspaces/{workspace.name}"
    if job := _JOB.fullmatch(uri):
        name = job["job"] or job["run"]
        path = f"ExperimentRun/dcid.{name}/{job['path'] or ''}"
        return f"{base}/datastores/{datastores.ARTIFACTS}/paths/{path}", name
    if named := _LONG.fullmatch(uri) or _SHORT.fullmatch(uri):
        return f"{base}/datastores/{named[1]}/paths/{named[2]}", None
    return uri, None


def files(cloud: Cloud, workspace: Workspace, uri: str) -> Iterator[tuple[str, Path]]:
    """What lies there: the path below it ("" for a lone file) and the file of each blob."""
    if blob := _BLOB.fullmatch(uri.partition("?")[0]):
        yield from storage.under(cloud, blob[1], blob[2], blob[3])
    elif named := _LONG.fullmatch(uri) or _SHORT.fullmatch(uri):
        blobs = f"azureml-blobstore-{workspace.workspace_id}"
        container = storage.ARTIFACT_CONTAINER if named[1] == datastores.ARTIFACTS else blobs
        yield from storage.under(cloud, workspace.storage_account, container, named[2])


def copy(cloud: Cloud, workspace: Workspace, uri: str, target: Path, *, named: bool = False) -> Path:
    """The files there, as a folder of this machine; a lone file lies in it under its own name, and so does a folder
    when it is `named`."""
    target.mkdir(parents=True, exist_ok=True)
    own = uri.partition("?")[0].rstrip("/").rpartition("/")[2]
    for path, file in files(cloud, workspace, uri):
        place = below(target, own, path) if named or not path else below(target, path)
        # A name of dots alone is no place in it.
        if not path or below(target, path) != target:
            lay(file, place)
    return target


def lay(file: Path, place: Path) -> None:
    """A copy of the file there. One blob may be named as another's folder; no disk has both, so the first one stays."""
    with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)


def below(folder: Path, *names: str) -> Path:
    """A place in the folder, whatever the names say: a blob's may hold dots that lead out of any folder."""
    parts = [part for name in names for part in name.split("/") if part not in {"", ".", ".."}]
    return folder.joinpath(*parts)


def flavors(cloud: Cloud, workspace: Workspace, uri: str) -> dict[str, Any]:
    """What an MLflow model's own file says of it."""
    for path, file in files(cloud, workspace, uri):
        if path == "MLmodel":
            told = yaml.safe_load(file.read_text(encoding="utf-8")).get("flavors") or {}
            return {
                name: {"data": {key: str(value) for key, value in data.items() if value is not None}}
                for name, data in told.items()
            }
    return {}
