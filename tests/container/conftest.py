"""The image, an engine to run it on, and a runner to run it as. Asked for by --run-container; skipped, with the reason, otherwise."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.container.base import provide_base_image
from tests.container.checkout import make_checkout
from tests.container.engine import Engine, make_engine, missing_tools
from tests.container.runner import Job

REPOSITORY = Path(__file__).parents[2]
IMAGE = "localhost/mlaz-ci:test"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-container", action="store_true", help="build the image and run it as GitHub's runner does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = missing_tools()
    reason = None
    if not config.getoption("--run-container"):
        reason = "container tests run with --run-container (make test-container)"
    elif missing:
        reason = f"container tests need {', '.join(missing)} (tests/container/setup.sh)"
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.container)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlaz-ci-tests" / "containers"
    # Not pytest's own folder: a socket's path must stay below 108 bytes.
    settings = Path(tempfile.mkdtemp(prefix="mlaz-"))
    engine = make_engine(storage=cache, settings=settings)
    # Two sessions at once would remove each other's containers: the second one waits.
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            engine.remove_everything_but_images()
            with engine.docker_socket():
                yield engine
        finally:
            engine.remove_everything_but_images()
            engine.forget_old_layers()
            engine.wait_for_stragglers()
            shutil.rmtree(settings)


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    return provide_base_image(engine)


@pytest.fixture(scope="session")
def image(engine: Engine, base_image: str) -> str:
    """The action's image, built from this checkout."""
    engine.build(REPOSITORY, tag=IMAGE, arguments={"BASE_IMAGE": base_image})
    return IMAGE


@pytest.fixture
def docker_client(engine: Engine) -> Iterator[docker.DockerClient]:
    client = engine.client()
    yield client
    client.close()


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What uv downloaded for a job of this session. It does not exist before the first."""
    return tmp_path_factory.mktemp("uv") / "cache"


@pytest.fixture
def job(engine: Engine, tmp_path: Path, uv_cache: Path) -> Iterator[Job]:
    """A job without services or a container of its own. Whatever its steps left behind is removed after it.

    Its home is a fresh one, but for uv's cache: the same pages and wheels are not downloaded for each test.
    """
    job = Job(engine=engine, work=tmp_path / "work", socket=engine.socket)
    with _lent(uv_cache, to=job.temp / "_github_home" / ".cache" / "uv"):
        yield job
        engine.remove_containers()
    _forget_services(engine)


@contextmanager
def _lent(folder: Path, *, to: Path) -> Iterator[None]:
    to.parent.mkdir(parents=True)
    if folder.exists():
        folder.rename(to)
    yield
    if to.exists():
        to.rename(folder)


@pytest.fixture
def job_with_services(job: Job) -> Job:
    """A job with `services:`, whose action containers are on the network that the runner made for it."""
    network = "github_network_53269bd575974817b43f4733536b200c"
    job.engine.podman("network", "create", "--label", job.label, network)
    return Job(engine=job.engine, work=job.work, socket=job.socket, network=network)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    make_checkout(folder)
    return folder


@pytest.fixture
def filled_job(job: Job, checkout: Path) -> Job:
    """A job after its checkout step."""
    shutil.copytree(checkout, job.workspace, dirs_exist_ok=True)
    return job


def _forget_services(engine: Engine) -> None:
    """The product's volume keeps its environments for the next test; services in it are gone with their containers."""
    for name in engine.podman("volume", "ls", "--quiet").split():
        mountpoint = engine.podman("volume", "inspect", "--format={{.Mountpoint}}", name).strip()
        for folder in ("services", "models"):
            shutil.rmtree(Path(mountpoint) / folder, ignore_errors=True)
