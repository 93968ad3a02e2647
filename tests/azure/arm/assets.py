"""Models, codes and environments: containers, their versions, and where a version's files lie."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.azure.arm import answers, asset_uris, versions
from tests.azure.arm.workspaces import TYPE, Key, Visit
from tests.azure.state import Cloud


@dataclass(slots=True, kw_only=True)
class Version:
    name: str
    properties: dict[str, Any]
    system: dict[str, str]
    # Its place among all versions, in the order they were made.
    order: int


@dataclass(slots=True, kw_only=True)
class Container:
    name: str
    properties: dict[str, Any]
    system: dict[str, str]
    versions: dict[str, Version] = field(default_factory=dict)

    @property
    def latest(self) -> Version | None:
        return max(self.versions.values(), key=lambda one: one.order, default=None)

    def next_version(self, kind: str, now: dt.datetime) -> str:
        if kind == "environments":
            # As recorded: environments count in time, models and codes in numbers.
            return now.strftime("%Y-%m-%d-%H-%M-%S-%f") + "0"
        return str(max((int(name) for name in self.versions if name.isdigit()), default=0) + 1)


@dataclass(slots=True)
class Assets:
    """Every container by workspace, kind and name: cloud.state(assets.Assets)."""

    by_key: dict[tuple[Key, str, str], Container] = field(default_factory=dict)
    # Uploads that were announced: what startPendingUpload answered, by workspace, code and version.
    pending: dict[tuple[Key, str, str], str] = field(default_factory=dict)
    made: int = 0

    def get(self, workspace: Key, kind: str, name: str) -> Container | None:
        return self.by_key.get((workspace, kind, name.lower()))

    def of(self, workspace: Key, kind: str) -> Iterator[Container]:
        return (found for key, found in self.by_key.items() if key[:2] == (workspace, kind))


def version_of(cloud: Cloud, workspace: Key, identifier: str) -> tuple[str, Version] | None:
    """The kind and the version an ARM id or a short `azureml:name:version` means."""
    found = re.search(r"^(.*)/(models|codes|environments)/([^/]+)/versions/([^/]+)$", identifier, re.IGNORECASE)
    subscription, group, name = workspace
    own = f"/subscriptions/{subscription}/resourcegroups/{group}/providers/{TYPE}/{name}".lower()
    # Another workspace's assets are not to be had here.
    if found is None or (found[1].startswith("/") and found[1].lower() != own):
        return None
    container = cloud.state(Assets).get(workspace, found[2].lower(), found[3])
    version = container.versions.get(found[4]) if container else None
    return (found[2].lower(), version) if version else None


def version_properties(found: Visit, kind: str, asked: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "description": asked.get("description"),
        "tags": asked.get("tags") or {},
        "properties": asked.get("properties") or {},
        "isArchived": bool(asked.get("isArchived")),
        "isAnonymous": bool(asked.get("isAnonymous")) and kind == "environments",
    }
    match kind:
        case "models":
            uri, job = asset_uris.kept(found.workspace, str(asked.get("modelUri") or ""))
            kind_of_model = asked.get("modelType") or "custom_model"
            told = asset_uris.flavors(found.cloud, found.workspace, uri) if kind_of_model == "mlflow_model" else {}
            properties |= {
                "flavors": asked.get("flavors") or told,
                "modelType": kind_of_model,
                "modelUri": uri,
                "jobName": asked.get("jobName") or job,
                "stage": asked.get("stage") or "Development",
            }
        case "codes":
            properties["codeUri"] = asked.get("codeUri")
        case _:
            if asked.get("condaFile"):
                properties["condaFile"] = _as_json(found, str(asked["condaFile"]))
            properties |= {
                "environmentType": "UserCreated",
                **{name: asked[name] for name in ("image", "build", "inferenceConfig") if asked.get(name)},
                "osType": str(asked.get("osType") or "Linux").capitalize(),
                "autoRebuild": asked.get("autoRebuild") or "Disabled",
                "stage": asked.get("stage") or "Development",
            }
    return properties


def _as_json(found: Visit, conda: str) -> str:
    """As recorded: a conda file sent as YAML comes back as JSON."""
    try:
        return json.dumps(yaml.safe_load(conda), indent=2)
    except (yaml.YAMLError, TypeError) as error:
        text = f"The conda file is no valid YAML: {error}"
        raise answers.service_refusal(found.cloud, found.region, 400, "UserError", text) from error


def rendered_version(found: Visit, kind: str, container: Container, version: Version) -> dict[str, Any]:
    properties = dict(version.properties)
    if not versions.since(found.version, "2023-04-01"):
        for name in ("stage", "autoRebuild"):
            properties.pop(name, None)
    else:
        properties["provisioningState"] = "Succeeded"
    if versions.answers_as_recorded(found.version) and versions.is_preview(found.version) and kind != "codes":
        properties |= {"autoDeleteSetting": None, "intellectualProperty": None}
    return {
        "id": f"{found.workspace.id}/{kind}/{container.name}/versions/{version.name}",
        "name": version.name,
        "type": f"{TYPE}/{kind}/versions",
        "properties": properties,
        "systemData": version.system,
    }


def rendered_container(found: Visit, kind: str, container: Container) -> dict[str, Any]:
    latest = container.latest
    now = dt.datetime.fromtimestamp(found.cloud.clock.now_s(), dt.UTC)
    properties = {
        **container.properties,
        "latestVersion": latest.name if latest else None,
        "nextVersion": container.next_version(kind, now),
    }
    if versions.since(found.version, "2023-04-01"):
        properties["provisioningState"] = "Succeeded"
    return {
        "id": f"{found.workspace.id}/{kind}/{container.name}",
        "name": container.name,
        "type": f"{TYPE}/{kind}",
        "properties": properties,
        "systemData": container.system,
    }
