"""The workspace's registry through model management: a run's model by reference, any other by upload, each once.

A model and its first version are one request there, so that no registered model is ever left without a version.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mlaz_ci.adapters.azure_wire import EffectUnknown
from mlaz_ci.adapters.azureml_v1.mms import ModelManagement, Payload
from mlaz_ci.adapters.azureml_v1.upload import ORIGIN, Artifacts, Parcel
from mlaz_ci.errors import Conflict, ModelPathNotFound
from mlaz_ci.models import ModelRef, ModelVersionName
from mlaz_ci.ports import Platform, Progress
from mlaz_ci.serving.stamp import OWNER, check_owner, is_ours, read_stamp

_CONTENT: Final = "mlaz-content"
_SOURCE: Final = "mlaz-source"
_DIGEST: Final = "mlaz-digest"
# What azureml-core sends for a model, whatever it is.
_MIME_TYPE: Final = "application/json"
_MAX_COMPARED: Final = 20
_READ_BYTES: Final = 1024 * 1024
# azureml-core's, where the folder of the model has no better one: its last segment names the folder under AZUREML_MODEL_DIR.
_FOLDER: Final = "model"


class Registry:
    def __init__(self, mms: ModelManagement, artifacts: Artifacts, platform: Platform) -> None:
        self._mms = mms
        self._artifacts = artifacts
        self._platform = platform

    def register(
        self, model: ModelRef, *, tags: Mapping[str, str], folder: Path | None, progress: Progress
    ) -> ModelRef:
        """The model with its registered version; `artifact_uri` and `digest` stay, since they say which model it is."""
        if model.is_in_workspace and model.version:
            return model
        if model.is_in_workspace:
            found, was_there = self._by_reference(model, tags)
        else:
            assert folder is not None, "a model of elsewhere is fetched before it is registered"
            found, was_there = self._by_upload(model, tags, folder, progress)
        if was_there:
            self._add_tags(found, tags)
        return replace(model, name=str(found["name"]), version=str(found["version"]), was_registered=was_there)

    def _add_tags(self, known: Payload, tags: Mapping[str, str]) -> None:
        """The user's onto a version of ours that is reused. Ours stay: they tell of the run that registered it."""
        there = known.get("kvTags")
        there = there if isinstance(there, dict) else {}
        new = {name: value for name, value in tags.items() if not is_ours(name) and there.get(name) != value}
        if not new:
            return
        label = f"{known['name']}/{known['version']}"
        if read_stamp(there).owner != tags.get(OWNER):
            self._platform.info(f"Model {label} was registered by others: its tags are left as they are.")
            return
        self._mms.tag_model(f"{known['name']}:{known['version']}", {**there, **new})

    def remove_version(self, name: str, version: str, *, owner: str | None) -> bool:
        if owner is not None:
            there = self._mms.model(f"{name}:{version}")
            if there is None:
                return False
            tags = there.get("kvTags")
            check_owner(
                f"Version {version} of the model {name}",
                tags if isinstance(tags, dict) else {},
                owner,
                take_over=ModelVersionName(name=name, version=version).uri,
            )
        answer = self._mms.delete_model(f"{name}:{version}")
        if answer.status == 412:
            raise Conflict(
                f"Version {version} of the model {name} is still in use, and Azure does not delete it.",
                usually="A service or an image is made of it.",
                remedy="Delete the service first, or leave the model.",
            )
        return answer.status not in {204, 404}

    def _by_reference(self, model: ModelRef, tags: Mapping[str, str]) -> tuple[Payload, bool]:
        assert model.run_id is not None, "a model in the workspace is a run's or has a version"
        path = model.artifact_uri.removeprefix(f"runs:/{model.run_id}/").strip("/")
        prefix = self._artifacts.run_prefix(model.run_id, path)
        known = self._of_run(model, prefix)
        if known:
            return known, True
        asset_id = self._mms.create_asset(model.name, prefix, model.run_id)
        body = _model_body(model, tags, asset_id, {}) | {"runId": model.run_id}
        return self._create(body, lambda: self._of_run(model, prefix)), False

    def _of_run(self, model: ModelRef, prefix: str) -> Payload | None:
        """The newest version of that name made of these artifacts, whoever made it."""
        assert model.run_id is not None
        for number, each in enumerate(self._mms.models(name=model.name, runId=model.run_id)):
            if number >= _MAX_COMPARED:
                return None
            told = each.get("properties")
            is_ours = isinstance(told, dict) and told.get(_SOURCE) == model.artifact_uri
            if is_ours or self._mms.asset_prefix(each) == prefix:
                return each
        return None

    def _by_upload(
        self, model: ModelRef, tags: Mapping[str, str], folder: Path, progress: Progress
    ) -> tuple[Payload, bool]:
        parcels = _parcels(folder)
        content = _content_digest(parcels)
        known = self._of_content(model.name, content)
        if known:
            return known, True
        total, done, lock = sum(each.size_bytes for each in parcels), 0, threading.Lock()

        def sent(size: int) -> None:
            nonlocal done
            with lock:
                done += size
                progress.update(done, total, "bytes")

        container = f"mlaz-{content[:32]}"
        self._artifacts.put(container, parcels, sent=sent)
        asset_id = self._mms.create_asset(model.name, f"{ORIGIN}/{container}/{_FOLDER}", None)
        body = _model_body(model, tags, asset_id, {_CONTENT: content})
        return self._create(body, lambda: self._of_content(model.name, content)), False

    def _of_content(self, name: str, content: str) -> Payload | None:
        return next(iter(self._mms.models(name=name, properties=f"{_CONTENT}={content}")), None)

    def _create(self, body: Payload, look: Any) -> Payload:
        try:
            return self._mms.create_model(body)
        except EffectUnknown:
            # Only one of the two is true, and asking tells which: sending it blindly again would make a second version.
            return look() or self._mms.create_model(body)


def _model_body(model: ModelRef, tags: Mapping[str, str], asset_id: str, more: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": model.name,
        "url": f"aml://asset/{asset_id}",
        "mimeType": _MIME_TYPE,
        "unpack": False,
        "kvTags": dict(tags),
        "properties": {_SOURCE: model.artifact_uri, _DIGEST: model.digest, **more},
    }


def _parcels(folder: Path) -> list[Parcel]:
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    if not any(each.name == "MLmodel" for each in files):
        raise ModelPathNotFound(f"{folder} holds no MLmodel file.")
    return [Parcel(path=f"{_FOLDER}/{each.relative_to(folder).as_posix()}", content=each) for each in files]


def _content_digest(parcels: list[Parcel]) -> str:
    """Of names and bytes: the same model gives the same, wherever it was fetched from."""
    whole = hashlib.sha256()
    for parcel in parcels:
        assert isinstance(parcel.content, Path)
        one = hashlib.sha256()
        with parcel.content.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                one.update(chunk)
        whole.update(f"{parcel.path}\0{one.hexdigest()}\0".encode())
    return whole.hexdigest()
