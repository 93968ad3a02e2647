"""The container engine behind the mounted socket, and who we are to it: our container, its image, its mounts, its networks."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlaz_ci.errors import ContainerEngineFailed, MlazError

_ID: Final = r"[0-9a-f]{64}"
# The engine itself mounts these three files from a folder that is named by the container's id.
_OWN_FILES: Final = frozenset({"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"})
_REQUEST_TIMEOUT_S: Final = 900
_SOCKET: Final = "unix:///var/run/docker.sock"


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn the client's exceptions into ours, with the engine's own words."""
    import requests
    from docker.errors import APIError, DockerException

    try:
        yield
    except MlazError:
        raise
    except APIError as error:
        raise ContainerEngineFailed(f"The container engine could not {doing}: {error.explanation or error}") from error
    except (DockerException, requests.exceptions.RequestException) as error:
        raise ContainerEngineFailed(f"The container engine could not {doing}: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnContainer:
    """The container this process is in, as the engine describes it."""

    container_id: str
    image_id: str
    networks: tuple[str, ...]
    mounts: tuple[tuple[Path, Path], ...]
    """(path in here, path on the host), for every mount that has one."""

    def host_path(self, path: Path) -> Path | None:
        """Where the host has `path`, or None if it is in the container's own layer."""
        path = path.resolve()
        under = [(inside, host) for inside, host in self.mounts if path.is_relative_to(inside)]
        if not under:
            return None
        inside, host = max(under, key=lambda mount: len(mount[0].parts))
        return host / path.relative_to(inside)


def connect_engine() -> Any:
    """A docker client on the mounted socket, which answers. A DOCKER_HOST that leaks from the job is meant for the runner."""
    import docker

    with engine_errors("be reached"):
        client = docker.DockerClient(base_url=_SOCKET, timeout=_REQUEST_TIMEOUT_S)
        client.ping()
    return client


def find_own_container(client: Any, *, proc: Path = Path("/proc/self"), hostname: str | None = None) -> OwnContainer:
    """Ask the engine about every id that this process may have, the surest first. Raises ContainerEngineFailed."""
    from docker.errors import NotFound

    hostname = socket.gethostname() if hostname is None else hostname
    with engine_errors("describe our own container"):
        for each in candidate_ids(proc):
            try:
                return _describe(client.containers.get(each).attrs)
            except NotFound:
                continue
        try:
            attrs = client.containers.get(hostname).attrs
        except NotFound:
            attrs = None
    # A lookup by host name may also find a stranger that merely has that name.
    if attrs and (attrs["Id"].startswith(hostname) or attrs["Config"]["Hostname"] == hostname):
        return _describe(attrs)
    raise ContainerEngineFailed(
        "The engine behind the Docker socket does not know the container this step runs in.",
        usually="The socket belongs to an engine on another machine, or to one that did not start this container.",
    )


def candidate_ids(proc: Path) -> list[str]:
    """Container ids in the kernel's view of this process: its mounts first, then its control groups."""
    found: list[str] = []
    for line in _read(proc / "mountinfo").splitlines():
        words = line.split()
        if len(words) > 4 and words[4] in _OWN_FILES:
            found += re.findall(rf"/({_ID})/", words[3])
    found += re.findall(rf"[/:-]({_ID})(?:\.scope)?$", _read(proc / "cgroup"), re.MULTILINE)
    return list(dict.fromkeys(found))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _describe(attrs: dict[str, Any]) -> OwnContainer:
    mounts = [
        (Path(each["Destination"]), Path(each["Source"]))
        for each in attrs.get("Mounts") or []
        if each.get("Source") and each.get("Destination")
    ]
    networks = (attrs.get("NetworkSettings") or {}).get("Networks") or {}
    return OwnContainer(
        container_id=attrs["Id"], image_id=attrs["Image"], networks=tuple(networks), mounts=tuple(mounts)
    )
