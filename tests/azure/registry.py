"""Registered models as data: the one registry that MLflow, model management v1 and ARM all show. Knows no HTTP.

A version's files are known to ARM by a datastore's URI, to v1 and MLflow by an artifact's id
(`ExperimentRun/dcid.<run>/model`); this room turns one into the other.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.azure.access import Caller
from tests.azure.arm import asset_uris, datastores
from tests.azure.arm.assets import Assets, Container, Version
from tests.azure.arm.workspaces import Key, Workspace, created_by, modified_by
from tests.azure.clock import iso8601
from tests.azure.state import Cloud

MODELS = "models"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}")
_STORE = re.compile(rf"azureml://.*/?datastores/{datastores.ARTIFACTS}/paths/(.*)", re.IGNORECASE)
_RUN = re.compile(r"azureml://.*/runs/([^/]+)/artifacts(?:/(.*))?")
_ARTIFACT = re.compile(r"azureml://artifacts/([^/]+/[^/]+/.*)")
_JOB = re.compile(r"(?:azureml://jobs/([^/]+)/outputs/artifacts(?:/paths)?|runs:/([^/]+))(?:/(.*))?")


@dataclass(slots=True)
class Sources:
    """How each version's files were named by whom registered it, by workspace, model and version."""

    by_version: dict[tuple[Key, str, str], str] = field(default_factory=dict)


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def artifact_of(source: str) -> str | None:
    """The artifact's id that a source means, in whichever of Azure's spellings; None for what is no artifact."""
    if found := _RUN.fullmatch(source):
        return _joined(f"ExperimentRun/dcid.{found[1]}", found[2])
    if found := _JOB.fullmatch(source):
        return _joined(f"ExperimentRun/dcid.{found[1] or found[2]}", found[3])
    if found := _ARTIFACT.fullmatch(source) or _STORE.fullmatch(source):
        return posixpath.normpath(found[1])
    return None


def _joined(base: str, path: str | None) -> str:
    return posixpath.normpath(f"{base}/{path or ''}")


def uri_of(workspace: Workspace, artifact: str) -> str:
    """An artifact's place as ARM writes it."""
    return asset_uris.kept(workspace, f"azureml://datastores/{datastores.ARTIFACTS}/paths/{artifact}")[0]


def has_files(cloud: Cloud, workspace: Workspace, uri: str) -> bool:
    return any(True for _ in asset_uris.files(cloud, workspace, uri))


def run_of(artifact: str | None) -> str | None:
    found = re.match(r"ExperimentRun/dcid\.([^/]+)", artifact or "")
    return found[1] if found else None


def get(cloud: Cloud, workspace: Workspace, name: str) -> Container | None:
    return cloud.state(Assets).get(workspace.key, MODELS, name)


def get_version(cloud: Cloud, workspace: Workspace, name: str, version: str) -> Version | None:
    container = get(cloud, workspace, name)
    return container.versions.get(version) if container else None


def every(cloud: Cloud, workspace: Workspace) -> list[Container]:
    return sorted(cloud.state(Assets).of(workspace.key, MODELS), key=lambda one: one.name)


def every_version(cloud: Cloud, workspace: Workspace) -> list[tuple[Container, Version]]:
    """Newest first."""
    found = [(one, version) for one in every(cloud, workspace) for version in one.versions.values()]
    return sorted(found, key=lambda pair: pair[1].order, reverse=True)


def now(cloud: Cloud) -> str:
    return iso8601(cloud.clock)[:-1] + "+00:00"


def add_model(cloud: Cloud, workspace: Workspace, name: str, caller: Caller, **more: Any) -> Container:
    """`more`: description and tags."""
    properties = {"description": None, "tags": {}, "properties": {}, "isArchived": False, **more}
    container = Container(name=name, properties=properties, system=created_by(caller, now(cloud)))
    cloud.state(Assets).by_key[(workspace.key, MODELS, name.lower())] = container
    return container


def add_version(  # noqa: PLR0917  # a version is what it is made of
    cloud: Cloud, workspace: Workspace, container: Container, caller: Caller, source: str, uri: str, **more: Any
) -> Version:
    """The next version of a model. `more`: what the version says of itself beyond where it lies."""
    flavors = asset_uris.flavors(cloud, workspace, uri)
    state = cloud.state(Assets)
    number = max((int(name) for name in container.versions if name.isdigit()), default=0) + 1
    properties: dict[str, Any] = {
        "description": None,
        "tags": {},
        "properties": {},
        "isArchived": False,
        "isAnonymous": False,
        "flavors": flavors,
        "modelType": "mlflow_model" if flavors else "custom_model",
        "modelUri": uri,
        "jobName": run_of(artifact_of(uri)),
        "stage": "Development",
        **more,
    }
    state.made += 1
    system = created_by(caller, now(cloud))
    version = Version(name=str(number), properties=properties, system=system, order=state.made)
    container.versions[version.name] = version
    cloud.state(Sources).by_version[(workspace.key, container.name.lower(), version.name)] = source
    return version


def touch(cloud: Cloud, thing: Container | Version, caller: Caller) -> None:
    thing.system |= modified_by(caller, now(cloud))


def remove(cloud: Cloud, workspace: Workspace, name: str) -> None:
    cloud.state(Assets).by_key.pop((workspace.key, MODELS, name.lower()), None)


def source_of(cloud: Cloud, workspace: Workspace, name: str, version: Version) -> str:
    """What a client that downloads the version is told: the spelling it was registered by, or an artifact's."""
    known = cloud.state(Sources).by_version.get((workspace.key, name.lower(), version.name))
    if known:
        return known
    uri = unquote(version.properties["modelUri"])
    artifact = artifact_of(uri)
    return f"azureml://artifacts/{artifact}" if artifact else uri
