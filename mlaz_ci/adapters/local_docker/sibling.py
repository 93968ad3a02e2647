"""Containers of our own image beside us: the sibling that a service lives in, and errands that come and go.

One sibling per service, idle but for what is started in it; one volume for all, so that environments are built once per machine.
"""

from __future__ import annotations

import hashlib
import http
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mlaz_ci.adapters.local_docker.engine import OwnContainer, engine_errors
from mlaz_ci.adapters.local_docker.envelope import PROTOCOL
from mlaz_ci.errors import ContainerEngineFailed, InvalidInput, NotOurs, PortInUse

HOME_IN_CONTAINER: Final = "/var/lib/mlaz-ci"
MODELS_IN_CONTAINER: Final = Path(HOME_IN_CONTAINER, "models")
MOUNTED_MODEL: Final = Path("/model")
VOLUME: Final = "mlaz-ci"

_OURS: Final = {"managed-by": "mlaz-ci"}
_SERVICE: Final = "mlaz-service"
_PORT: Final = "mlaz-port"
_PROTOCOL: Final = "mlaz-protocol"

# The range and the order of local services outside containers: a service has the same URI on a laptop and on a runner.
_FIRST_PORT: Final = 20_000
_PORTS: Final = 10_000
_TRIES: Final = 50
_LONGEST_ERRAND_S: Final = 86_400  # the longest `deadline-minutes`


class Siblings:
    """What of ours runs on the engine. Everything is found by label, never by name."""

    def __init__(self, client: Any, own: OwnContainer) -> None:
        self._client = client
        self._own = own

    def names(self) -> list[str]:
        with engine_errors("list containers"):
            labels = {"label": [*_as_filters(_OURS), _SERVICE]}
            found = self._client.containers.list(all=True, filters=labels, ignore_removed=True)
        return sorted({each.labels[_SERVICE] for each in found})

    def find(self, service_name: str) -> Any | None:
        """The service's container, running or not, with fresh attributes."""
        with engine_errors("list containers"):
            labels = {"label": _as_filters({**_OURS, _SERVICE: service_name})}
            found = self._client.containers.list(all=True, filters=labels, ignore_removed=True)
            for each in found[:1]:
                each.reload()
        return found[0] if found else None

    def has_volume(self) -> bool:
        from docker.errors import NotFound

        with engine_errors("look up its volumes"):
            try:
                self._client.volumes.get(VOLUME)
            except NotFound:
                return False
        return True

    def provide(self, service_name: str, *, port: int | None, kept_port: int | None, tags: Mapping[str, str]) -> Any:
        """The service's running container, made or started if need be. `port` is asked for, `kept_port` on record."""
        container = self.find(service_name)
        if container is not None:
            published = _check_published(container, service_name, port)
            if container.labels.get(_PROTOCOL) == PROTOCOL:
                self._start(container)
                return container
            # Made by a version that we cannot talk to. What it serves ends here, and starts again in a container of ours.
            self.remove(service_name)
            kept_port = published
        return self._create(service_name, port=port or kept_port, tags=tags)

    def check_port(self, service_name: str, port: int) -> None:
        """Whether the service can have it, asked of the engine itself. Raises PortInUse, InvalidInput."""
        container = self.find(service_name)
        if container is not None:
            _check_published(container, service_name, port)
            return
        with _port_conflicts(port), self.errand("check-port", published=port):
            return

    def remove(self, service_name: str) -> bool:
        """False when there was none."""
        container = self.find(service_name)
        if container is None:
            return False
        _remove(container)
        return True

    @contextmanager
    def errand(self, purpose: str, *, model_on_host: Path | None = None, published: int | None = None) -> Iterator[Any]:
        """A container for one call, gone afterwards. `model_on_host` is mounted at MOUNTED_MODEL, for reading."""
        volumes = {VOLUME: {"bind": HOME_IN_CONTAINER, "mode": "rw"}}
        if model_on_host is not None:
            volumes[str(model_on_host)] = {"bind": str(MOUNTED_MODEL), "mode": "ro"}
        with engine_errors("start a container of our image"):
            container = self._client.containers.create(
                self._own.image_id,
                name=f"mlaz-errand-{uuid.uuid4().hex[:12]}",
                labels={**_OURS, "mlaz-errand": purpose},
                volumes=volumes,
                ports={f"{published}/tcp": ("127.0.0.1", published)} if published else {},
                # A step that is killed leaves it behind: it ends and goes by itself when no step can be waiting for it.
                auto_remove=True,
                **{**_IDLE, "command": [str(_LONGEST_ERRAND_S)]},
            )
        try:
            with engine_errors("start a container of our image"):
                container.start()
            yield container
        finally:
            with suppress(ContainerEngineFailed):  # what the errand came to counts, and it goes by itself
                _remove(container)

    def _start(self, container: Any) -> None:
        if container.status == "running":
            return
        with _port_conflicts(port_of(container)), engine_errors(f"start container {container.name}"):
            container.start()
            container.reload()

    def _create(self, service_name: str, *, port: int | None, tags: Mapping[str, str]) -> Any:
        if port is not None:
            return self._create_on(service_name, port, tags)
        seed = int.from_bytes(hashlib.sha256(service_name.encode()).digest()[:4], "big")
        for attempt in range(_TRIES):
            with suppress(PortInUse):
                return self._create_on(service_name, _FIRST_PORT + (seed + attempt) % _PORTS, tags)
        raise PortInUse(f"{_TRIES} ports from {_FIRST_PORT + seed % _PORTS} on are in use on the runner.")

    def _create_on(self, service_name: str, port: int, tags: Mapping[str, str]) -> Any:
        from docker.errors import APIError

        name = f"mlaz-{service_name}"
        labels = {**tags, **_OURS, _SERVICE: service_name, _PORT: str(port), _PROTOCOL: PROTOCOL}
        with engine_errors(f"create container {name}"):
            try:
                container = self._client.containers.create(
                    self._own.image_id,
                    name=name,
                    labels=labels,
                    volumes={VOLUME: {"bind": HOME_IN_CONTAINER, "mode": "rw"}},
                    ports={f"{port}/tcp": ("127.0.0.1", port)},
                    # The model's code runs in here: as root of the container, and able to do nothing that only root can.
                    cap_drop=["ALL"],
                    security_opt=["no-new-privileges"],
                    **_IDLE,
                )
            except APIError as error:
                if "already in use" not in str(error.explanation) or name not in str(error.explanation):
                    raise
                return self._made_meanwhile(service_name, name)
        try:
            self._start(container)
        except BaseException:
            with suppress(Exception):
                container.remove(force=True)
            raise
        return container

    def _made_meanwhile(self, service_name: str, name: str) -> Any:
        """The container of another run that was quicker. Raises NotOurs for a stranger of the same name."""
        container = self.find(service_name)
        if container is None:
            raise NotOurs(
                f"A container named {name} exists that mlaz-ci did not make.",
                usually="It was made by hand, or by another program.",
                remedy=f"Use another `service-name`, or remove it if nobody needs it (`docker rm {name}`).",
            )
        self._start(container)
        return container


def _check_published(container: Any, service_name: str, port: int | None) -> int:
    """The port that the container was made with. Raises InvalidInput for another one."""
    published = port_of(container)
    if port not in {None, published}:
        raise InvalidInput(
            f'Service "{service_name}" is published on port {published}, not {port}.',
            usually="A container keeps the port it was made with.",
            remedy="Remove `port` from the config file, or run `cleanup` first.",
        )
    return published


# An idle container: what runs in it is started by calls. `init` reaps what they leave behind.
_IDLE: Final[Mapping[str, Any]] = {
    "entrypoint": ["/bin/sleep"],
    "command": ["infinity"],
    "init": True,
    "working_dir": "/",
    "environment": {"MLAZ_HOME": HOME_IN_CONTAINER, "HOME": HOME_IN_CONTAINER},
}


def _remove(container: Any) -> None:
    """Gone is success, whoever removes it."""
    from docker.errors import APIError, NotFound

    with engine_errors(f"remove container {container.name}"), suppress(NotFound):
        try:
            container.remove(force=True)
        except APIError as error:
            if error.status_code != http.HTTPStatus.CONFLICT or "already in progress" not in str(error.explanation):
                raise


def port_of(container: Any) -> int:
    """The port it was made for, inside and on the host's 127.0.0.1 alike."""
    return int(container.labels[_PORT])


def _as_filters(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]


@contextmanager
def _port_conflicts(port: int) -> Iterator[None]:
    """Docker and podman refuse a taken port when the container starts, each in its own words."""
    try:
        yield
    except ContainerEngineFailed as error:
        text = error.what.lower()
        if "port is already allocated" in text or "address already in use" in text:
            raise PortInUse(f"Port {port} is in use on the runner.") from error
        raise
