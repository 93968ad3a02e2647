"""The container engine the tests run on: podman and buildah with a storage of their own, and podman's Docker-compatible socket.

Nothing of the machine's own podman is seen or changed: images live in a cache folder, everything else is removed at the end.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

TOOLS = ("podman", "buildah", "runc")


def missing_tools() -> list[str]:
    """What keeps the container tests from running here, in words."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        missing.append("root")
    return missing


def wait_until(condition: Callable[[], bool], what: str, *, timeout_s: float) -> None:
    """Poll until `condition` holds; `what` names it in the failure."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.05)


class EngineFailed(Exception):
    """A command of the engine ended badly; its own words are the text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """podman and buildah, pointed at `storage` and at the settings in `settings`. `environ` is what both are run with."""

    settings: Path
    storage: Path
    environ: Mapping[str, str]

    @property
    def socket(self) -> Path:
        return self.settings / "docker.sock"

    def podman(self, *arguments: str, timeout_s: float = 120) -> str:
        return self._run("podman", *arguments, timeout_s=timeout_s)

    def build(self, context: Path, *, tag: str, arguments: Mapping[str, str], dockerfile: Path | None = None) -> None:
        """Build with cached layers. chroot isolation, because a container cannot be nested everywhere tests run."""
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        dockerfile = dockerfile or context / "Dockerfile"
        self._run(
            "buildah", "bud", "--isolation=chroot", "--layers", *options, f"--tag={tag}", f"--file={dockerfile}", str(context),
            timeout_s=900,
        )  # fmt: skip

    def has_image(self, name: str) -> bool:
        return subprocess.run(["podman", "image", "exists", name], env=dict(self.environ), check=False).returncode == 0

    def image_config(self, name: str) -> dict[str, object]:
        config: dict[str, object] = json.loads(self.podman("image", "inspect", name))[0]["Config"]
        return config

    @contextmanager
    def docker_socket(self) -> Iterator[Path]:
        """`podman system service` on a socket, for as long as the block runs."""
        with (self.settings / "service.log").open("wb") as log:
            service = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{self.socket}"],
                env=dict(self.environ), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            wait_until(self._answers, "podman's Docker socket to answer", timeout_s=30)
            yield self.socket
        finally:
            service.terminate()
            service.wait(timeout=30)

    def client(self) -> docker.DockerClient:
        """A plain Docker SDK client on the socket. The caller closes it."""
        return docker.DockerClient(base_url=f"unix://{self.socket}", timeout=120)

    def remove_containers(self) -> None:
        """All of them, which is safe, because the storage is the tests' own. Volumes stay: environments are built once per session."""
        self.podman("rm", "--all", "--force", "--time=0")
        self.podman("network", "prune", "--force")

    def remove_everything_but_images(self) -> None:
        self.remove_containers()
        self.podman("volume", "prune", "--force")

    def forget_old_layers(self) -> None:
        """Layers of builds before yesterday; today's spare the next session installing the lock again."""
        self.podman("image", "prune", "--force", "--filter", "until=24h")

    def wait_for_stragglers(self) -> None:
        """What the engine leaves running for a moment still writes into its folders."""
        wait_until(lambda: not self._stragglers(), "the engine's last processes to end", timeout_s=60)

    def _stragglers(self) -> list[str]:
        commands = [_command_of(each) for each in Path("/proc").iterdir() if each.name.isdigit()]
        return [each for each in commands if str(self.storage) in each or str(self.settings) in each]

    def _answers(self) -> bool:
        if not self.socket.exists():
            return False
        client = self.client()
        try:
            return bool(client.ping())
        except DockerException:
            return False
        finally:
            client.close()

    def _run(self, *command: str, timeout_s: float) -> str:
        done = subprocess.run(
            command,
            env=dict(self.environ),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            errors="replace",
        )
        if done.returncode != 0:
            raise EngineFailed(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout


def _command_of(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def make_engine(*, storage: Path, settings: Path) -> Engine:
    """Write podman's settings into `settings`; images are kept in `storage`."""
    storage.mkdir(parents=True, exist_ok=True)
    (settings / "networks").mkdir()
    (settings / "networks" / f"{_NETWORK['name']}.json").write_text(json.dumps(_NETWORK))
    (settings / "containers.conf").write_text(_containers_conf(settings, storage))
    (settings / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{storage / "images"}"\nrunroot = "{_STATE / "run"}"\n'
    )
    environ = {
        **os.environ,
        "CONTAINERS_CONF": str(settings / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
    }
    return Engine(settings=settings, storage=storage, environ=environ)


# Podman keeps these paths in its database, so they are the same each time; a restart of the machine empties the folder, as podman expects.
_STATE = Path("/run/mlaz-ci-tests")

GATEWAY = "10.213.0.1"
"""This machine, as a container on the bridge reaches it."""

# What Docker's `bridge` is to Docker: the network of a container that asked for none. A bridge of its own, because the addresses on the
# machine's podman0 are given out by a podman that knows nothing of this one. No DNS, as on Docker's.
_NETWORK = {
    "name": "mlaz-ci-tests",
    "id": "6d6c617a" * 8,
    "driver": "bridge",
    "network_interface": "mlazci0",
    "created": "2026-01-01T00:00:00Z",
    "subnets": [{"subnet": "10.213.0.0/16", "gateway": GATEWAY}],
    "ipv6_enabled": False,
    "internal": False,
    "dns_enabled": False,
    "ipam_options": {"driver": "host-local"},
}


def _containers_conf(settings: Path, storage: Path) -> str:
    # Podman asks for its own ceilings, which a machine without CAP_SYS_RESOURCE refuses; crun fails on such machines in other ways.
    files = _limit(resource.RLIMIT_NOFILE, at_most=65536)
    processes = _limit(resource.RLIMIT_NPROC, at_most=32768)
    return f"""\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
log_driver = "k8s-file"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{_STATE / "tmp"}"
volume_path = "{storage / "volumes"}"
# The processes that outlive an exec, five minutes by default, hold the published ports of its container open.
exit_command_delay = 1

[network]
default_network = "{_NETWORK["name"]}"
network_config_dir = "{settings / "networks"}"
"""


def _limit(kind: int, *, at_most: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return at_most if hard == resource.RLIM_INFINITY else min(hard, at_most)
