"""The Serving port over siblings: each call is carried out by the local-process adapter inside a container of our image.

It knows containers and addresses; what a deployment is, and how it takes over a port, is known in there alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mlaz_ci.adapters.local_docker.door import call, send_folder
from mlaz_ci.adapters.local_docker.engine import (
    OwnContainer,
    connect_engine,
    engine_errors,
    find_own_container,
)
from mlaz_ci.adapters.local_docker.scoring import post
from mlaz_ci.adapters.local_docker.sibling import MODELS_IN_CONTAINER, MOUNTED_MODEL, Siblings, port_of
from mlaz_ci.adapters.local_docker.surroundings import pack_surroundings
from mlaz_ci.errors import MlazError, NotReachable, ServiceBusy, ServiceNotFound
from mlaz_ci.models import (
    DeploymentSpec,
    Finding,
    LocalShape,
    Lock,
    Observation,
    Request,
    ScoreRequest,
    ScoreResponse,
    ServiceFacts,
    ServiceState,
    Snapshot,
)
from mlaz_ci.ports import Clock, Progress

_SCORE_TIMEOUT_S: Final = 3_660  # beyond the longest `request-timeout-s`, after which the server itself answers
_TRIES: Final = 5


class LocalDocker:
    """Serves in sibling containers. The engine is asked at the first call, not before."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._environ = environ
        self._clock = clock
        self._connected: tuple[Any, OwnContainer] | None = None

    # --- the Serving port -------------------------------------------------------------------------------------------

    def snapshot(self, service_name: str) -> Snapshot:
        container = self._siblings.find(service_name)
        if container is None and not self._siblings.has_volume():
            return Snapshot()
        snapshot: Snapshot = self._call(service_name, "snapshot")
        if snapshot.service is None or (container is not None and container.status == "running"):
            return snapshot
        return Snapshot(service=_without_container(snapshot.service, container))

    def inspect_room(self, request: Request) -> Sequence[Finding]:
        """As ports.Room has it: whether the port that is asked for can be had on the host. Raises PortInUse, InvalidInput."""
        assert isinstance(request.shape, LocalShape)
        self.check_port(request.service_name, request.shape.port)
        return ()

    def check_port(self, service_name: str, asked: int | None) -> None:
        if asked is not None:
            self._siblings.check_port(service_name, asked)

    def services(self) -> Sequence[str]:
        return self._siblings.names()

    def build_environment(self, lock: Lock, progress: Progress, *, deadline_s: float) -> None:
        with self._siblings.errand("build-environment") as container:
            call(
                container,
                "build_environment",
                {"lock": lock, "left_s": deadline_s - self._clock.now_s()},
                surroundings=pack_surroundings(self._environ, self._engine[1], with_index=True),
                on_progress=progress.update,
            )

    def stage(self, spec: DeploymentSpec, model_folder: Path | None) -> None:
        assert model_folder is not None, "a local service has its model's files"
        container = self._siblings.provide(
            spec.service_name, port=spec.local_shape.port, kept_port=None, tags=spec.tags
        )
        # The port that the host sees is the port in there, so that every URI on record is the host's.
        inner = replace(spec, shape=replace(spec.local_shape, port=port_of(container)))
        try:
            self._stage_in(container, inner, model_folder)
        except BaseException:
            with suppress(MlazError):
                self._remove_if_empty(spec.service_name)
            raise

    def start(self, service_name: str, deployment_name: str) -> None:
        container = self._siblings.find(service_name)
        if container is None or container.status != "running":
            service = self.snapshot(service_name).service
            if service is None:
                raise ServiceNotFound(f'There is no local service "{service_name}".')
            self._siblings.provide(service_name, port=None, kept_port=service.port, tags=service.tags)
        self._call(service_name, "start", deployment_name=deployment_name)

    def observe(self, service_name: str, deployment_name: str) -> Observation:
        observation: Observation = self._call(service_name, "observe", deployment_name=deployment_name)
        return observation

    def score(self, service_name: str, deployment_name: str | None, request: ScoreRequest) -> ScoreResponse:
        """By the container's own address: what answers there is what the published port leads to."""
        container = self._siblings.find(service_name)
        service = self.snapshot(service_name).service
        if container is None or service is None:
            raise ServiceNotFound(f'There is no local service "{service_name}".')
        deployment = service.deployment(deployment_name)
        port = deployment.port if deployment else service.port
        if container.status != "running" or port is None:
            raise NotReachable(f'Service "{service_name}" is not running: {service.detail or service.state}.')
        return post(self._address_of(container), port, request, self._clock, timeout_s=_SCORE_TIMEOUT_S)

    def shift(self, service_name: str, deployment_name: str) -> None:
        self._call(service_name, "shift", deployment_name=deployment_name)

    def retire(self, service_name: str, deployment_name: str, *, keep_files: bool) -> None:
        self._call(service_name, "retire", deployment_name=deployment_name, keep_files=keep_files)
        if not keep_files:
            self._remove_if_empty(service_name)

    def delete(self, service_name: str) -> bool:
        if self._siblings.find(service_name) is None and not self._siblings.has_volume():
            return False
        failure: MlazError | None = None
        was_on_record = False
        try:
            was_on_record = self._call(service_name, "delete")
        except MlazError as error:
            failure = error
        was_running = self._siblings.remove(service_name)
        if failure is not None:
            # Whatever could not be stopped in there has ended with the container; its files are left.
            was_on_record = self._call(service_name, "delete")
        return was_on_record or was_running

    def logs(self, service_name: str, deployment_name: str, *, tail_lines: int) -> str:
        return str(self._call(service_name, "logs", deployment_name=deployment_name, tail_lines=tail_lines))

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _engine(self) -> tuple[Any, OwnContainer]:
        if self._connected is None:
            client = connect_engine()
            self._connected = (client, find_own_container(client))
        return self._connected

    @property
    def _siblings(self) -> Siblings:
        return Siblings(*self._engine)

    @property
    def _surroundings(self) -> Mapping[str, object]:
        return pack_surroundings(self._environ, self._engine[1], with_index=False)

    def _call(self, service_name: str, method: str, **arguments: object) -> Any:
        """In the service's own container if it runs, where its processes can be seen; else by an errand, on its files."""
        arguments = {"service_name": service_name, **arguments}
        container = self._siblings.find(service_name)
        if container is not None and container.status == "running":
            return call(container, method, arguments, surroundings=self._surroundings)
        with self._siblings.errand(method) as errand:
            return call(errand, method, arguments, surroundings=self._surroundings)

    def _stage_in(self, container: Any, spec: DeploymentSpec, model_folder: Path) -> None:
        """By the model in the volume; it is brought first where it is not there, and again if another run has just removed it."""
        arguments = {"spec": spec, "model_folder": MODELS_IN_CONTAINER / model_folder.name}
        for _ in range(_TRIES):
            if call(container, "stage", arguments, surroundings=self._surroundings):
                return
            self._bring_model(container, model_folder)
        raise ServiceBusy(f"Other runs remove the model {model_folder.name} from the volume as often as it is brought.")

    def _bring_model(self, container: Any, folder: Path) -> None:
        """Into the volume: by a mount of the host's folder where there is one, else through the socket."""
        surroundings, name = self._surroundings, folder.name
        on_host = self._engine[1].host_path(folder)
        if on_host is not None:
            with self._siblings.errand("adopt-model", model_on_host=on_host) as errand:
                arguments = {"name": name, "source": MOUNTED_MODEL}
                call(errand, "adopt_model", arguments, surroundings=surroundings)
            return
        incoming = MODELS_IN_CONTAINER / f".incoming-{uuid.uuid4().hex}"
        send_folder(container, folder, incoming)
        call(container, "adopt_model", {"name": name, "source": incoming}, surroundings=surroundings)

    def _remove_if_empty(self, service_name: str) -> None:
        """Never by whether this run made it: another one may have put its own deployment in since."""
        if self.snapshot(service_name).service is None:
            self._siblings.remove(service_name)

    def _address_of(self, container: Any) -> str:
        """An address of the sibling that is reachable from here.

        We join its network rather than it ours: the runner removes the job's network at the end, and we are gone by then.
        """
        client, own = self._engine
        networks = _networks(container)
        if shared := [name for name in networks if name in own.networks]:
            return networks[shared[0]]
        name = next(iter(networks), None)
        if name is None:
            raise NotReachable(f"Container {container.name} is on no network.")
        joined = client.containers.get(own.container_id).attrs["NetworkSettings"]["Networks"] or {}
        if name not in joined and "host" not in own.networks:
            with engine_errors(f"connect this container to network {name}"):
                client.networks.get(name).connect(own.container_id)
        return networks[name]


def _networks(container: Any) -> dict[str, str]:
    found = (container.attrs.get("NetworkSettings") or {}).get("Networks") or {}
    return {name: each["IPAddress"] for name, each in found.items() if each.get("IPAddress")}


def _without_container(service: ServiceFacts, container: Any | None) -> ServiceFacts:
    """What is on record, corrected by what the engine says: nothing answers, and why."""
    if container is None:
        detail = "its container was removed"
    else:
        state = container.attrs.get("State") or {}
        detail = f"its container is {container.status} (exit code {state.get('ExitCode')})"
    deployments = tuple(
        replace(each, state=ServiceState.FAILED, detail=detail) if each.name == service.live else each
        for each in service.deployments
    )
    return replace(service, state=ServiceState.FAILED, detail=detail, deployments=deployments)
