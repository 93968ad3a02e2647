"""From a deployment to a service that runs: its files gathered, its start begun, its crash and its log told as Azure does.

Without a backend a deployment is a state only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.azure.arm import asset_uris, assets, operations
from tests.azure.arm.workspaces import Workspace
from tests.azure.backends import BuildFailed, Serving, Spec, StartFailed
from tests.azure.state import Cloud

if TYPE_CHECKING:
    from tests.azure.arm.deployments import Deployment

# The documented code; the wording is ours.
_BUILD_FAILED = {
    "code": "ImageBuildFailure",
    "message": "The image of the environment could not be built. Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-imagebuildfailure",
}
_INSTANCE = (
    "Instance status:\nSystemSetup: Succeeded\nUserContainerImagePull: Succeeded\nModelDownload: Succeeded\n"
    "UserContainerStart: {start}\n\nContainer logs:\n"
)


def start(cloud: Cloud, workspace: Workspace, deployment: Deployment) -> str | None:
    """Begins to serve what the deployment says; the key of the start, or None without a backend."""
    serving = cloud.live(Serving)
    if serving.backend is None:
        return None
    key = f"{deployment.id.lower()}#{cloud.new_id()}"
    serving.begin(key, _spec(cloud, workspace, deployment, key))
    return key


def _spec(cloud: Cloud, workspace: Workspace, deployment: Deployment, key: str) -> Spec:
    folder = cloud.room_folder("services") / key.rpartition("#")[2]
    properties = deployment.properties
    code = properties["codeConfiguration"] or {}
    places: dict[str, Any] = {"model": None, "code": None}
    for kind, identifier in (("model", properties["model"]), ("code", code.get("codeId"))):
        found = assets.version_of(cloud, workspace.key, identifier or "")
        if found is not None:
            uri = found[1].properties["modelUri" if kind == "model" else "codeUri"]
            # A model's folder keeps its name below AZUREML_MODEL_DIR; a script's own folder is the root.
            places[kind] = asset_uris.copy(cloud, workspace, uri, folder / kind, named=kind == "model")
    environment = assets.version_of(cloud, workspace.key, properties["environmentId"] or "")
    return Spec(
        name=f"{deployment.endpoint}-{deployment.name}",
        script_folder=places["code"],
        script=code.get("scoringScript") or "",
        model_folder=places["model"],
        environment=(environment[1].properties.get("condaFile") or "") if environment else "",
        variables={name: str(value) for name, value in (properties["environmentVariables"] or {}).items()},
    )


def error_of(cloud: Cloud, error: BaseException) -> dict[str, Any]:
    if isinstance(error, BuildFailed):
        return dict(_BUILD_FAILED)
    if isinstance(error, StartFailed):
        return {**operations.CRASHED, "message": error.message} if error.message else dict(operations.CRASHED)
    cloud.fail("emulator-error", f"the serving backend failed: {type(error).__name__}: {error}")
    return {"code": "InternalServerError", "message": "An internal server error occurred."}


def log_of(cloud: Cloud, deployment: Deployment, container: str | None, tail: Any) -> str:
    if container == "StorageInitializer":
        return "Downloading artifacts\nDone downloading artifacts\n"
    text = "\n".join(_text(cloud, deployment).splitlines()[-int(tail or 500) :])
    if deployment.is_kubernetes:
        return text
    return _INSTANCE.format(start="Succeeded" if deployment.has_succeeded else "InProgress") + text


def _text(cloud: Cloud, deployment: Deployment) -> str:
    if deployment.told_log is not None:
        return deployment.told_log
    key = deployment.starting or deployment.serving
    begun = cloud.live(Serving).start_of(key) if key else None
    if begun is None:
        return ""
    if isinstance(begun.error, StartFailed):
        return begun.error.log
    return begun.handle.logs() if begun.handle else ""
