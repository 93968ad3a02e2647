"""From a service's create request to code that runs: its assets, models and environment gathered, its start begun."""

from __future__ import annotations

import posixpath
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.azure import mms_models, registry, storage
from tests.azure.arm import asset_uris
from tests.azure.arm.workspaces import Key, Workspace, Workspaces
from tests.azure.backends import Serving, Spec
from tests.azure.state import Cloud

if TYPE_CHECKING:
    from tests.azure.webservices import Service

_ENTRY = "AZUREML_ENTRY_SCRIPT"


def workspace_of(cloud: Cloud, key: Key) -> Workspace:
    return cloud.state(Workspaces).by_key[key]


def start(cloud: Cloud, service: Service) -> str:
    """The key of the start that was begun; "" without a backend, and for an endpoint, whose versions run instead."""
    serving = cloud.live(Serving)
    image = service.request.get("environmentImageRequest")
    if serving.backend is None or not image:
        return ""
    key = f"mms/{service.name}#{cloud.new_id()}"
    serving.begin(key, _spec(cloud, service, image, cloud.room_folder("services") / key.rpartition("#")[2]))
    return key


def start_versions(cloud: Cloud, service: Service) -> dict[str, tuple[str, dict[str, Any]]]:
    """An endpoint's versions by name, each with the key of its start and the image that runs; those whose image is as before go on."""
    if cloud.live(Serving).backend is None:
        return {}
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, asked in (service.request.get("versions") or {}).items():
        image = asked.get("environmentImageRequest") or {}
        found[name] = service.versions.get(name, ("", {}))
        if image and found[name][1] != image:
            key = f"mms/{service.name}/{name}#{cloud.new_id()}"
            folder = cloud.room_folder("services") / key.rpartition("#")[2]
            cloud.live(Serving).begin(key, _spec(cloud, service, image, folder, name=f"{service.name}-{name}"))
            found[name] = (key, image)
    return found


def _spec(cloud: Cloud, service: Service, image: dict[str, Any], folder: Path, *, name: str = "") -> Spec:
    workspace = workspace_of(cloud, service.workspace)
    environment = image.get("environment") or {}
    variables = {name: str(value) for name, value in (environment.get("environmentVariables") or {}).items()}
    conda = (environment.get("python") or {}).get("condaDependencies")
    script_folder = folder / "code"
    for asset in image.get("assets") or ():
        _lay_asset(cloud, workspace, asset, script_folder)
    return Spec(
        name=name or service.name,
        script_folder=script_folder if script_folder.exists() else None,
        script=posixpath.normpath(variables[_ENTRY]) if variables.get(_ENTRY) else "",
        model_folder=_lay_models(cloud, workspace, image.get("modelIds") or [], folder / "azureml-models"),
        environment=yaml.safe_dump(conda, sort_keys=False) if conda else "",
        variables=variables,
    )


def _lay_asset(cloud: Cloud, workspace: Workspace, asset: dict[str, Any], target: Path) -> None:
    """A file of the image, under its id; an archive is unpacked where it says so."""
    artifact = str(asset.get("url") or "").removeprefix("aml://artifact/")
    for path, file in asset_uris.files(cloud, workspace, registry.uri_of(workspace, artifact)):
        target.mkdir(parents=True, exist_ok=True)
        if asset.get("unpack"):
            with tarfile.open(file) as archive:
                archive.extractall(target, filter="data")
        else:
            asset_uris.lay(file, asset_uris.below(target, path or str(asset["id"])))


def _lay_models(cloud: Cloud, workspace: Workspace, model_ids: list[str], target: Path) -> Path | None:
    """AZUREML_MODEL_DIR: of one model its version's folder, of several the one they all lie in."""
    placed: list[Path] = []
    for model_id in model_ids:
        pair = mms_models.find(cloud, workspace, model_id)
        if pair is not None:
            container, version = pair
            uri = version.properties["modelUri"]
            place = asset_uris.below(target, container.name, version.name)
            is_file = any(not path for path, _ in asset_uris.files(cloud, workspace, uri))
            asset_uris.copy(
                cloud, workspace, uri, place if is_file else asset_uris.below(place, uri.rstrip("/").rpartition("/")[2])
            )
            placed.append(place)
    return placed[0] if len(placed) == 1 else target if placed else None


def keep_build_log(cloud: Cloud, service: Service, operation: str, text: str) -> str:
    """An image's build log, in the workspace's storage: the blob's name."""
    name = f"ImageLogs/{operation}/build.log"
    account = workspace_of(cloud, service.workspace).storage_account
    storage.write(cloud, account, storage.ARTIFACT_CONTAINER, name, text.encode())
    return name


def log_url(cloud: Cloud, service_workspace: Key, name: str) -> str:
    account = cloud.state(storage.Accounts).by_name[workspace_of(cloud, service_workspace).storage_account]
    sas = storage.issue_sas(cloud, account.name, storage.ARTIFACT_CONTAINER, blob=name)
    return f"{account.url}/{storage.ARTIFACT_CONTAINER}/{name}?{sas}"
