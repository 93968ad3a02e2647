"""Models in the workspace's registry: by reference where the run is the workspace's own, by one upload where it is not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_arm.blobs import Place, upload_folder
from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import MlazError, RefusedByAzure, ServiceBusy
from mlaz_ci.models import ModelRef, ModelVersionName, RegistrySource
from mlaz_ci.ports import Platform, Progress
from mlaz_ci.serving.stamp import MANAGED_BY, OURSELVES, check_owner

# What a version was made of, so that the next deploy of the same finds it.
_KEY: Final = "mlaz-model-key"
_FOLDER: Final = "model"
_TRIES: Final = 5


class Registration:
    def __init__(self, door: WorkspaceDoor, platform: Platform) -> None:
        self._door = door
        self._platform = platform

    def register(
        self, model: ModelRef, *, tags: Mapping[str, str], folder: Path | None, progress: Progress
    ) -> ModelRef:
        """As ports.ModelRegistry has it. A version is made in one request: none is left without its files."""
        if isinstance(model.source, RegistrySource) or (model.is_in_workspace and model.version):
            return model
        key = _key_of(model, folder)
        found, is_known = self._find(model.name, key)
        if found:
            return replace(model, version=found, was_registered=True)
        uri = self._reference(model) if model.is_in_workspace else self._upload(key, folder, progress)
        properties = {
            "modelType": "mlflow_model",
            "modelUri": uri,
            "isAnonymous": False,
            "isArchived": False,
            "properties": {_KEY: key, MANAGED_BY: OURSELVES},
            "tags": {**tags, **_origin(model)},
        }
        first = self._next(model.name) if is_known else "1"
        return replace(model, version=self._put(model.name, key, first, properties))

    def _find(self, name: str, key: str) -> tuple[str | None, bool]:
        """The version that was made of the same, and whether there is a model of that name.

        Azure filters by the property; what it gives is looked at all the same.
        """
        doing = f'look for the model "{name}"'
        query = f"&properties={quote(f'{_KEY}={key}')}"
        answer = self._door.arm("GET", f"{_path(name)}/versions", doing=doing, query=query, allowed={404})
        if answer.status == 404:
            return None, False
        while True:
            page = answer.object
            for each in page.get("value") or ():
                if _key_in(each) == key:
                    return str(each.get("name")), True
            if not page.get("nextLink"):
                return None, True
            answer = self._door.arm_url("GET", page["nextLink"], doing=doing)

    def _put(self, name: str, key: str, version: str, properties: Mapping[str, Any]) -> str:
        """The version that was made. Two runs may choose one number: Azure refuses other bytes under it, and the next is tried."""
        for _ in range(_TRIES):
            below = f"{_path(name)}/versions/{version}"
            doing = f'register "{name}" as version {version}'
            try:
                self._door.arm("PUT", below, doing=doing, body={"properties": properties})
            except (RefusedByAzure, ServiceBusy):
                seen = self._door.arm("GET", below, doing=doing, allowed={404})
                if seen.status == 404 or _key_in(seen.object) == key:
                    raise
                version = self._next(name)
                continue
            return version
        raise ServiceBusy(f'Other runs register versions of "{name}" as fast as this one tries to.')

    def _next(self, name: str) -> str:
        answer = self._door.arm("GET", _path(name), doing=f'read the model "{name}"', allowed={404})
        told = {} if answer.status == 404 else answer.object.get("properties") or {}
        return str(told.get("nextVersion") or "1")

    @staticmethod
    def _reference(model: ModelRef) -> str:
        """Where the bytes lie in the workspace, as models/versions takes it: azureml://jobs/<run>/outputs/artifacts/paths/<path>."""
        if model.artifact_uri.startswith("runs:/"):
            run_id, _, path = model.artifact_uri.removeprefix("runs:/").partition("/")
            return f"azureml://jobs/{run_id}/outputs/artifacts/paths/{path}"
        return model.artifact_uri

    def _upload(self, key: str, folder: Path | None, progress: Progress) -> str:
        assert folder is not None, "a model from elsewhere comes with its bytes"
        pending = self._door.arm(
            "POST",
            f"/codes/mlaz-ci-model-{key}/versions/1/startPendingUpload",
            doing="get a place to upload the model to",
            body={"pendingUploadType": "TemporaryBlobReference"},
            repeatable=True,
        )
        place = Place(self._door.wire, self._platform, pending.object)
        upload_folder(place, folder, _FOLDER, progress)
        return f"{place.uri}/{_FOLDER}"

    def remove_version(self, name: str, version: str, *, owner: str | None) -> bool:
        below = f"{_path(name)}/versions/{quote(version, safe='')}"
        if owner is not None:
            there = self._door.arm("GET", below, doing=f"read the model {name}/{version}", allowed={404})
            if there.status == 404:
                return False
            tags = (there.object.get("properties") or {}).get("tags") or {}
            subject = f"Version {version} of the model {name}"
            check_owner(subject, tags, owner, take_over=ModelVersionName(name=name, version=version).uri)
        answer = self._door.arm("DELETE", below, doing=f"delete the model {name}/{version}", allowed={404})
        return answer.status not in {204, 404}

    def model_id(self, model: ModelRef) -> str:
        """The id to deploy: ARM's of a version in the workspace, or a registry's."""
        if isinstance(model.source, RegistrySource):
            return f"azureml://registries/{model.source.registry}/models/{model.source.name}/versions/{model.source.version}"
        if not model.version:
            raise MlazError(f"The model {model.label} was to be deployed before it was registered.")
        return f"{self._door.path}/models/{model.name}/versions/{model.version}"


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='')}"


def _key_of(model: ModelRef, folder: Path | None) -> str:
    """In the workspace the place says it all; from elsewhere the bytes do, wherever they lay."""
    whole = hashlib.sha256(model.digest.encode())
    if folder is None:
        whole.update(f"\0{model.artifact_uri}".encode())
        return whole.hexdigest()[:16]
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        whole.update(f"\0{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                whole.update(chunk)
    return whole.hexdigest()[:16]


def _key_in(version: Mapping[str, Any]) -> str:
    return str(((version.get("properties") or {}).get("properties") or {}).get(_KEY) or "")


def _origin(model: ModelRef) -> Mapping[str, str]:
    told = {"mlaz-run-id": model.run_id or "", "mlaz-from": "" if model.is_in_workspace else model.artifact_uri}
    return {name: value[:256] for name, value in told.items() if value}
