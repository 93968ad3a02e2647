"""Environment and code of a deployment, in the workspace: made once for each content, found by their names ever after."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_arm.blobs import Place
from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import InvalidInput, NotFound, RefusedByAzure, ServiceBusy
from mlaz_ci.models import DeploymentSpec, Lock
from mlaz_ci.ports import Platform
from mlaz_ci.serving.lock import render_conda
from mlaz_ci.serving.scripts import SCORE
from mlaz_ci.serving.stamp import MANAGED_BY, OURSELVES

_VERSION: Final = "1"
_FOLDER: Final = "code"
_TAGS: Final = {MANAGED_BY: OURSELVES}


class Assets:
    def __init__(self, door: WorkspaceDoor, platform: Platform) -> None:
        self._door = door
        self._platform = platform

    def ensure_environment(self, lock: Lock) -> None:
        """One version for each lock: Azure builds its image once, and every deployment of an equal lock shares it."""
        below = f"/environments/{_environment_name(lock)}/versions/{_VERSION}"
        properties = {
            "image": lock.base_image,
            "condaFile": render_conda(lock),
            "osType": "Linux",
            "description": f"Locked by mlaz-ci, Python {lock.python_version}.",
            "tags": {**_TAGS, "mlaz-lock": lock.hash},
        }
        self._ensure(below, properties, doing=f"register the environment {_environment_name(lock)}")

    def environment_id(self, spec: DeploymentSpec) -> str:
        """The id to deploy with: the given environment's, or that of the lock. Raises InvalidInput, NotFound."""
        if spec.environment is None:
            return f"{self._door.path}/environments/{_environment_name(spec.lock)}/versions/{_VERSION}"
        return self.given_environment(spec.environment)

    def given_environment(self, given: str) -> str:
        """`name:version`, `name@latest`, `azureml:…`, a registry's id, or an ARM id."""
        if given.startswith(("azureml://registries/", "/subscriptions/")):
            return given
        text = given.removeprefix("azureml:").removeprefix("/")
        name, mark, version = text.rpartition("@") if "@" in text else text.rpartition(":")
        if not name or not version or (mark == "@" and version != "latest"):
            raise InvalidInput(
                f'`azureml-environment` "{given[:100]}" names no environment.',
                remedy="Give `name:version`, `name@latest`, or azureml://registries/…/environments/…/versions/….",
            )
        if mark == "@":
            version = self._latest(name)
        return f"{self._door.path}/environments/{quote(name)}/versions/{quote(version)}"

    def _latest(self, name: str) -> str:
        answer = self._door.arm(
            "GET", f"/environments/{quote(name)}", doing=f'read the environment "{name}"', allowed={404}
        )
        latest = None if answer.status == 404 else (answer.object.get("properties") or {}).get("latestVersion")
        if not latest:
            raise NotFound(
                f'There is no environment "{name}" in the workspace.',
                usually="The name in `azureml-environment` is mistyped, or it is a registry's.",
                remedy="Look at the workspace's environments (`az ml environment list`), or leave `azureml-environment` out.",
            )
        return str(latest)

    def code_id(self, spec: DeploymentSpec) -> str:
        return f"{self._door.path}/codes/{_code_name(_files(spec))}/versions/{_VERSION}"

    def ensure_code(self, spec: DeploymentSpec) -> None:
        """Our script and this service's swagger files; uploaded where they are not there yet."""
        files = _files(spec)
        name = _code_name(files)
        below = f"/codes/{name}/versions/{_VERSION}"
        if not self._is_there(below, doing=f"read the code {name}"):
            pending = self._door.arm(
                "POST",
                f"{below}/startPendingUpload",
                doing="get a place to upload the script to",
                body={"pendingUploadType": "TemporaryBlobReference"},
                repeatable=True,
            )
            place = Place(self._door.wire, self._platform, pending.object)
            for path, text in files.items():
                content = text.encode()
                place.upload(f"{_FOLDER}/{path}", iter([content]), len(content), lambda _: None)
            # Last: a code asset that is there is whole.
            self._put(below, {"codeUri": f"{place.uri}/{_FOLDER}", "tags": _TAGS}, doing=f"register the code {name}")

    def _ensure(self, below: str, properties: Mapping[str, Any], *, doing: str) -> None:
        if not self._is_there(below, doing=doing):
            self._put(below, properties, doing=doing)

    def _is_there(self, below: str, *, doing: str) -> bool:
        return self._door.arm("GET", below, doing=doing, allowed={404}).status != 404

    def _put(self, below: str, properties: Mapping[str, Any], *, doing: str) -> None:
        body = {"properties": {"isAnonymous": False, "isArchived": False, "properties": {}, **properties}}
        try:
            self._door.arm("PUT", below, doing=doing, body=body)
        except (RefusedByAzure, ServiceBusy):
            # Another run registered the same content meanwhile, and Azure changes the place of an asset no more.
            if not self._is_there(below, doing=doing):
                raise


def score_script(files: Mapping[str, str]) -> str:
    """Our script with the files that stand beside it inside of it: each file of its own would be an upload of its own."""
    beside = {name: text for name, text in sorted(files.items()) if name != SCORE}
    return f"{files[SCORE]}\nBESIDE = {beside!r}\n" if beside else files[SCORE]


def _environment_name(lock: Lock) -> str:
    return f"mlaz-ci-{lock.hash}"


def _files(spec: DeploymentSpec) -> Mapping[str, str]:
    return {SCORE: score_script(spec.files)}


def _code_name(files: Mapping[str, str]) -> str:
    return f"mlaz-ci-{_digest(files)}"


def _digest(files: Mapping[str, str]) -> str:
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{len(files[name])}\0{files[name]}".encode())
    return whole.hexdigest()[:16]
