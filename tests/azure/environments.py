"""The environment service of v1: definitions by version, and the building of their images.

No published file describes it: paths, members and states are what azureml-core sends and reads. Without a builder an image
is built as a state only.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from tests.azure import regional, storage, world
from tests.azure.arm.workspaces import Key
from tests.azure.backends import StartFailed
from tests.azure.messages import Refusal, Request, Response
from tests.azure.molds import Mold
from tests.azure.regional import Visit
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud
from tests.azure.transitions import Progress, Stage

V1 = "/environment/v1.0" + world.WORKSPACE_TEMPLATE
V2 = "/environment/v2.0" + world.WORKSPACE_TEMPLATE
ONE = "/environments/{environment}"
_READ, _WRITE, _BUILD = "environments/read", "environments/write", "environments/build/action"
_COURSE = (Stage(state="Queued", polls=1), Stage(state="Running", polls=1), Stage(state="Succeeded"))
_LABEL_LATEST = "Latest"
_PYTHON: Mold = {"condaDependencies": object}
shape = regional.user_error("environment-management")

room = Room("environments", host=regional.HOST)


class Builder(Protocol):
    """What really makes an environment: cloud.live(environments.Building).builder."""

    def build(self, conda: str) -> str:
        """The build's log; StartFailed, with its log, when the environment cannot be made."""


@dataclass(slots=True, kw_only=True)
class Build:
    id: str
    environment: str
    version: str
    progress: Progress
    log: str
    # None while it goes on.
    ended: str | None = None


@dataclass(slots=True, kw_only=True)
class Definition:
    name: str
    # By version, as the client sent it.
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def latest(self) -> str:
        return list(self.versions)[-1]


@dataclass(slots=True)
class Environments:
    """cloud.state(environments.Environments)."""

    by_name: dict[tuple[Key, str], Definition] = field(default_factory=dict)
    builds: dict[tuple[Key, str], Build] = field(default_factory=dict)


class Building:
    """Builds under way, each in a thread of its own: cloud.live(environments.Building)."""

    def __init__(self) -> None:
        self.builder: Builder | None = None
        self._builds: dict[str, Future[str]] = {}
        self._threads: list[threading.Thread] = []

    def begin(self, key: str, conda: str) -> None:
        if self.builder is None:
            return
        future: Future[str] = Future()
        thread = threading.Thread(target=self._run, args=(self.builder, conda, future), daemon=True)
        self._builds[key] = future
        self._threads.append(thread)
        thread.start()

    @staticmethod
    def _run(builder: Builder, conda: str, future: Future[str]) -> None:
        try:
            future.set_result(builder.build(conda))
        except BaseException as error:  # noqa: BLE001  # whoever waits must hear of it, whatever it is
            future.set_exception(error)

    def of(self, key: str) -> Future[str] | None:
        return self._builds.get(key)

    def close(self) -> None:
        for thread in self._threads:
            with contextlib.suppress(RuntimeError):
                thread.join(10.0)


def _visit(request: Request, params: Params, cloud: Cloud, action: str) -> Visit:
    return regional.visit(request, params, cloud, action, shape)


def _not_found(found: Visit, name: str, version: str | None = None) -> Refusal:
    more = f", version {version}" if version else ""
    return found.refusal(404, "UserError", f"The environment {name}{more} was not found.")


def _definition(found: Visit, name: str) -> Definition:
    definition = found.cloud.state(Environments).by_name.get((found.workspace.key, name.lower()))
    if definition is None:
        raise _not_found(found, name)
    return definition


def _version(found: Visit, params: Params) -> tuple[Definition, str]:
    definition = _definition(found, params["environment"])
    version = params.get("version") or definition.latest
    if version not in definition.versions:
        raise _not_found(found, definition.name, version)
    return definition, version


def _told(found: Visit, definition: Definition, version: str) -> dict[str, Any]:
    return {
        "name": definition.name,
        "version": version,
        **definition.versions[version],
        "assetId": f"azureml://locations/{found.region}/workspaces/{found.workspace.workspace_id}/environments/{definition.name}/versions/{version}",
    }


@room.put(V1 + ONE)
@room.put(V1 + ONE + "/versions/{version}")
def put_environment(request: Request, params: Params, cloud: Cloud) -> Response:
    """The next version, or the one asked for; what is as the newest already is makes none."""
    found = _visit(request, params, cloud, _WRITE)
    asked = found.body({"Python": _PYTHON, "python": _PYTHON})
    content = {
        key[:1].lower() + key[1:]: value for key, value in asked.items() if key.lower() not in {"name", "version"}
    }
    state = cloud.state(Environments)
    definition = state.by_name.setdefault(
        (found.workspace.key, params["environment"].lower()), Definition(name=params["environment"])
    )
    version = params.get("version")
    if version is None:
        is_known = bool(definition.versions) and definition.versions[definition.latest] == content
        version = definition.latest if is_known else str(len(definition.versions) + 1)
    if definition.versions.get(version, content) != content:
        text = f"The environment {definition.name}, version {version} is there already with other contents."
        raise found.refusal(409, "UserError", text)
    definition.versions[version] = content
    return regional.reply(_told(found, definition, version))


@room.get(V1 + ONE)
@room.get(V1 + ONE + "/versions/{version}")
def get_environment(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _READ)
    return regional.reply(_told(found, *_version(found, params)))


@room.get(V1 + ONE + "/labels/{label}")
def get_by_label(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _READ)
    definition = _definition(found, params["environment"])
    version = definition.latest if params["label"] == _LABEL_LATEST else definition.labels.get(params["label"])
    if version is None:
        raise _not_found(found, definition.name, params["label"])
    return regional.reply(_told(found, definition, version))


@room.put(V1 + ONE + "/versions/{version}/metadata")
def set_labels(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _WRITE)
    definition, version = _version(found, params)
    for label in found.body({"Labels": [str]}).get("Labels") or ():
        definition.labels[str(label)] = version
    return regional.reply({})


@room.get(V1 + "/environments")
def list_environments(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _READ)
    held = [one for (owner, _), one in cloud.state(Environments).by_name.items() if owner == found.workspace.key]
    return regional.reply({"value": [_told(found, one, one.latest) for one in held], "continuationToken": None})


@room.get(V1 + ONE + "/image")
@room.get(V1 + ONE + "/versions/{version}/image")
def get_image(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _READ)
    definition, version = _version(found, params)
    is_built = any(
        one.ended == "Succeeded" and (one.environment, one.version) == (definition.name, version)
        for (owner, _), one in cloud.state(Environments).builds.items()
        if owner == found.workspace.key
    )
    registry = f"{found.workspace.workspace_id.replace('-', '')}.azurecr.io"
    return regional.reply(
        {
            "imageExistsInRegistry": is_built,
            "dockerImage": {
                "name": f"azureml/{definition.name.lower()}",
                "registry": {"address": registry, "username": None, "password": None},
            },
            "pythonEnvironment": {"interpreterPath": "python", "condaEnvironmentPath": None},
            "ingredients": None,
        }
    )


@room.post(V2 + ONE + "/image")
@room.post(V2 + ONE + "/versions/{version}/image")
@room.post(V2 + ONE + "/versions/{version}/imageoncompute/{compute}")
def build_image(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _BUILD)
    definition, version = _version(found, params)
    script = cloud.scripts.take("environment-build", definition.name)
    build = Build(
        id=cloud.new_id().replace("-", ""),
        environment=definition.name,
        version=version,
        progress=Progress(stages=script.stages if script else _COURSE, began_s=cloud.clock.now_s()),
        log=str(script.extra.get("log", "")) if script else "",
    )
    cloud.state(Environments).builds[(found.workspace.key, build.id)] = build
    if script is None:
        conda = (definition.versions[version].get("python") or {}).get("condaDependencies")
        cloud.live(Building).begin(build.id, yaml.safe_dump(conda, sort_keys=False) if conda else "")
    return regional.reply(
        {"location": f"{found.base}{V2.partition('/subscriptions')[0]}{found.workspace.id}/lro/{build.id}"}, status=202
    )


@room.get(V2 + "/lro/{build}")
def get_build(request: Request, params: Params, cloud: Cloud) -> Response:
    found = _visit(request, params, cloud, _READ)
    build = cloud.state(Environments).builds.get((found.workspace.key, params["build"]))
    if build is None:
        raise found.refusal(404, "UserError", f"The operation {params['build']} was not found.")
    status = _status(cloud, build)
    value: dict[str, Any] = {
        "status": status,
        "environmentName": build.environment,
        "environmentVersion": build.version,
    }
    value["logUrl"] = None if status == "Queued" else _log_url(found, build)
    return regional.reply(value, status=200 if build.ended else 202)


def _status(cloud: Cloud, build: Build) -> str:
    if build.ended:
        return build.ended
    stage = build.progress.poll(cloud.clock)
    if not stage.is_last:
        return stage.state
    status, under_way = stage.state, cloud.live(Building).of(build.id)
    if under_way is not None:
        if not under_way.done():
            return "Running"
        status, build.log = _outcome(cloud, under_way)
    build.ended = status
    return status


def _outcome(cloud: Cloud, under_way: Future[str]) -> tuple[str, str]:
    error = under_way.exception()
    if error is None:
        return "Succeeded", under_way.result()
    if isinstance(error, StartFailed):
        return "Failed", error.log
    cloud.fail("emulator-error", f"the environment's builder failed: {type(error).__name__}: {error}")
    return "Failed", ""


def _log_url(found: Visit, build: Build) -> str:
    cloud, account = found.cloud, found.cloud.state(storage.Accounts).by_name[found.workspace.storage_account]
    name = f"ImageLogs/{build.id}/build.log"
    storage.write(cloud, account.name, storage.ARTIFACT_CONTAINER, name, build.log.encode())
    sas = storage.issue_sas(cloud, account.name, storage.ARTIFACT_CONTAINER, blob=name)
    return f"{account.url}/{storage.ARTIFACT_CONTAINER}/{name}?{sas}"
