"""The spellings of a workspace and of places in it, as MLflow, Azure ML v1 and v2 write them. Pure.

Sources: the recorded answers of `runs/create` and of ARM's model versions, and the expressions by which azureml-mlflow reads them.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from mlaz_ci.errors import InvalidInput
from mlaz_ci.models import Cloud, Workspace

ARTIFACT_STORE: Final = "workspaceartifactstore"
RUN_ORIGIN: Final = "ExperimentRun"
_REMEDY: Final = (
    "Pass the workspace's own MLflow tracking URI (`az ml workspace show --query mlflow_tracking_uri`), or leave `tracking-uri` out "
    "where `subscription-id`, `resource-group` and `workspace-name` are given."
)
_IDS: Final = (
    r"/subscriptions/([^/?]+)/resourceGroups/([^/?]+)/providers/Microsoft\.MachineLearningServices/workspaces/([^/?]+)"
)
_TRACKING: Final = re.compile(rf"azureml://([^/?]+)/mlflow/v\d+\.\d+{_IDS}/?(?:\?.*)?", re.IGNORECASE)
_RUN: Final = re.compile(r"azureml://.+/experiments/([^/]+)/runs/([^/]+)/artifacts(?:/(.*))?", re.DOTALL)
_ARTIFACT: Final = re.compile(r"azureml://artifacts/([^/]+)/([^/]+)(?:/(.*))?", re.DOTALL)
_JOB: Final = re.compile(r"azureml://jobs/([^/]+)/outputs/artifacts(?:/paths)?(?:/(.*))?", re.DOTALL)
_DATASTORE: Final = re.compile(
    r"azureml://(?:subscriptions/([^/]+)/resourcegroups/([^/]+)/(?:providers/Microsoft\.MachineLearningServices/)?workspaces/([^/]+)/)?"
    r"datastores/([^/]+)/paths(?:/(.*))?",
    re.IGNORECASE | re.DOTALL,
)
_BLOB: Final = re.compile(r"(https://[\w.-]+\.blob\.[\w.-]+)/([^/?]+)(?:/([^?]*))?", re.DOTALL)
# The suffixes of the regional hosts in the clouds that are not the public one: Microsoft's list of a workspace's domain names.
_CLOUDS: Final = {".ml.azure.us": Cloud.US_GOVERNMENT, ".ml.azure.cn": Cloud.CHINA}


def is_azureml(uri: str) -> bool:
    return uri.lower().startswith("azureml:")


def workspace_of(tracking_uri: str) -> Workspace:
    """The workspace that an `azureml://` tracking URI names, in the cloud that its host belongs to. Raises InvalidInput."""
    match = _TRACKING.fullmatch(tracking_uri.strip())
    if match is None:
        raise InvalidInput(
            "`tracking-uri` begins with azureml: and names no workspace.",
            usually="It is the address of a registry, of a run or of an asset, or was cut.",
            remedy=_REMEDY,
        )
    host, subscription_id, resource_group, name = match.groups()
    cloud = next((each for suffix, each in _CLOUDS.items() if host.lower().endswith(suffix)), Cloud.PUBLIC)
    return Workspace(subscription_id=subscription_id, resource_group=resource_group, name=name, cloud=cloud)


def tracking_workspace(tracking_uri: str) -> Workspace | None:
    """The workspace that a tracking URI names; None for every other store's. Raises InvalidInput."""
    return workspace_of(tracking_uri) if is_azureml(tracking_uri.strip()) else None


def is_same(one: Workspace, other: Workspace) -> bool:
    """ARM's names know no case."""
    return _key(one) == _key(other)


def _key(workspace: Workspace) -> tuple[str, str, str]:
    return workspace.subscription_id.lower(), workspace.resource_group.lower(), workspace.name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPlace:
    """Below the artifacts of a run. `experiment` is what the run's own artifact URI calls it: a name, an id, or "0"."""

    experiment: str
    run_id: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactPlace:
    """Below a container of the artifact service: of a run (ExperimentRun/dcid.<run>) or of an upload (LocalUpload/<stamp>)."""

    origin: str
    container: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DatastorePlace:
    """Below a datastore of the workspace, where v2 puts what `az ml model create` uploads."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BlobPlace:
    """In a container of any storage account, which a model's URI may name outright."""

    account_url: str
    container: str
    path: str


Place = RunPlace | ArtifactPlace | DatastorePlace | BlobPlace


def parse_place(uri: str, workspace: Workspace) -> Place | None:
    """Where in `workspace` the files of a run or model lie; None for a place that is not in it or has no known spelling."""
    if found := _RUN.fullmatch(uri):
        here = not _is_elsewhere(uri, workspace)
        return RunPlace(experiment=found[1], run_id=found[2], path=_clean(found[3])) if here else None
    if found := _DATASTORE.fullmatch(uri):
        named = found.groups()[:3]
        here = not all(named) or _lower(*named) == _key(workspace)
        return _in_datastore(found[4], _clean(found[5])) if here else None
    return _spelled_without_workspace(uri)


def _spelled_without_workspace(uri: str) -> Place | None:
    if found := _ARTIFACT.fullmatch(uri):
        return ArtifactPlace(origin=found[1], container=found[2], path=_clean(found[3]))
    if found := _JOB.fullmatch(uri):
        return ArtifactPlace(origin=RUN_ORIGIN, container=run_container(found[1]), path=_clean(found[2]))
    if found := _BLOB.fullmatch(uri.partition("?")[0]):
        return BlobPlace(account_url=found[1], container=found[2], path=_clean(found[3]))
    return None


def run_container(run_id: str) -> str:
    """The artifact container of a run: its `dataContainerId` in every recording."""
    return f"dcid.{run_id}"


def _is_elsewhere(uri: str, workspace: Workspace) -> bool:
    """Only where the URI names a workspace at all."""
    named = re.search(_IDS, uri, re.IGNORECASE)
    return named is not None and _lower(*named.groups()) != _key(workspace)


def _lower(*parts: str | None) -> tuple[str, ...]:
    return tuple((part or "").lower() for part in parts)


def _in_datastore(name: str, path: str) -> Place:
    parts = path.split("/", 2)
    if name.lower() == ARTIFACT_STORE and len(parts) > 1:
        # What the artifact service keeps there, it hands out itself, without the account's key.
        return ArtifactPlace(origin=parts[0], container=parts[1], path=parts[2] if len(parts) > 2 else "")
    return DatastorePlace(name=name, path=path)


def _clean(path: str | None) -> str:
    """Without the slashes and dots that a user's output path leaves standing; "" for the root."""
    clean = posixpath.normpath(path).strip("/") if path else ""
    return "" if clean == "." else clean
