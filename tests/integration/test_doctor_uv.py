"""The doctor with the real uv and the real package index, and uv kept away from the step's secrets. Needs the network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlaz_ci.adapters import uv
from mlaz_ci.adapters.uv import UvResolver
from mlaz_ci.checks import examine, raise_on_errors
from mlaz_ci.errors import (
    EnvironmentBuildFailed,
    ExitCode,
    PackageIndexAccessDenied,
    PackageIndexUnreachable,
    PythonNotAvailable,
    RequirementsConflict,
)
from mlaz_ci.models import Lock
from tests import samples
from tests.fakes.packages import SERVER
from tests.fakes.resolver import Package, write_packages, write_sdist
from tests.integration.uv_surroundings import surroundings
from tests.unit.checks.doctor import model_of

CANARY = "s3cr3t-canary"
PYTHON = "{}.{}".format(*sys.version_info[:2])
ROOT = Path(__file__).parents[2]


class Silence:
    def update(self, done: float, total: float | None, unit: str) -> None:
        """Nobody watches."""


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Surroundings with a folder of packages and no index."""
    folder = tmp_path / "packages"
    folder.mkdir()
    write_packages(
        [Package(name="alpha", version="1.0", needs=("beta>=1",)), Package(name="beta", version="1.2")], folder
    )
    return surroundings(tmp_path, PIP_NO_INDEX="1", UV_FIND_LINKS=str(folder))


def locked(environ: dict[str, str], home: Path, *requirements: str) -> Lock:
    answer = UvResolver(environ, home).resolve(requirements, python_version=PYTHON, exclude_newer=None)
    assert answer.text is not None, answer.conflict
    return Lock(text=answer.text, python_version=PYTHON, server_range="", base_image="")


# --- against the real index ---


def test_doctor__sklearn_model__locked_with_the_server(tmp_path):
    model = model_of("mlflow==2.22.0", "scikit-learn==1.5.2", "pandas==2.2.3", "numpy==1.26.4")
    examination = examine(model, samples.request(), UvResolver(surroundings(tmp_path), tmp_path / "uv"))
    raise_on_errors(examination.findings)
    assert examination.lock is not None
    assert examination.lock.server_range == "==1.5.*"
    assert examination.lock.version_of("scikit-learn") == "1.5.2"
    assert examination.lock.text.count("--hash=sha256:") > 50


def test_doctor__mlflow_2_9_2__refused_with_both_sides_and_a_change_that_was_tried(tmp_path):
    model = model_of("mlflow==2.9.2", "scikit-learn==1.3.2", mlflow="2.9.2")
    resolver = UvResolver(surroundings(tmp_path), tmp_path / "uv")
    examination = examine(model, samples.request(), resolver)
    with pytest.raises(RequirementsConflict) as raised:
        raise_on_errors(examination.findings)
    error = raised.value
    assert "mlflow==2.9.2 needs gunicorn<22" in error.what
    assert f"{SERVER}>=1.5.0 needs gunicorn>=23" in error.what
    assert error.exit_code is ExitCode.CONFIGURATION
    assert "gunicorn" in error.log
    assert error.remedy_text.startswith("Require mlflow==2.16.0 instead of mlflow==2.9.2 (tried:")


def test_doctor__model_older_than_the_server__server_is_exempt_from_the_date(tmp_path):
    model = model_of("mlflow==2.16.2", "scikit-learn==1.5.1", mlflow="2.16.2")
    model = samples.model(facts=model.facts, logged_at=samples.NOON.replace(year=2024, month=10))
    examination = examine(model, samples.request(), UvResolver(surroundings(tmp_path), tmp_path / "uv"))
    assert examination.lock is not None
    assert examination.lock.server_range == "==1.5.*"
    pandas = examination.lock.version_of("pandas")
    assert pandas is not None
    assert pandas.startswith("2.2."), "a package of the model is younger than the model"


# --- a package whose setup.py is hostile ---

SPY = """
import json, os, pathlib
from setuptools import setup
seen = {"variables": dict(os.environ), "netrc": pathlib.Path(os.environ["NETRC"]).read_text(), "processes": {}}
pid = os.getpid()
while pid > 1:
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        pid = int(status.split("PPid:")[1].split()[0])
        seen["processes"][pid] = pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except PermissionError:
        seen["processes"][pid] = "refused"
    except Exception:
        break
pathlib.Path(CANARY_FILE).write_text(json.dumps(seen))
setup(name="spy-on-its-builder", version="1.0")
"""
DOCTOR = """
import json, os, sys
from pathlib import Path
from mlaz_ci.adapters.uv import UvResolver
answer = UvResolver(dict(os.environ), Path(sys.argv[1])).resolve(
    ["spy-on-its-builder==1.0"], python_version=sys.argv[2], exclude_newer=None, build_from_source=sys.argv[3] == "build"
)
print(json.dumps({"text": answer.text, "conflict": answer.conflict}))
"""
SECRETS = {
    "INPUT_CLIENT-SECRET": CANARY,
    "INPUT_CREDS": CANARY,
    "AZURE_CLIENT_SECRET": CANARY,
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": CANARY,
    "GITHUB_TOKEN": CANARY,
    "MLFLOW_TRACKING_PASSWORD": CANARY,
    "UV_INDEX_FEED_USERNAME": CANARY,
    "UV_INDEX_FEED_PASSWORD": CANARY,
}


def run_doctor_beside_a_hostile_package(tmp_path: Path, mode: str) -> tuple[dict[str, str | None], Path]:
    canary_file = tmp_path / "canary.json"
    packages = tmp_path / "packages"
    packages.mkdir()
    setup = f"CANARY_FILE = {str(canary_file)!r}\n{SPY}"
    write_sdist(Package(name="spy-on-its-builder", version="1.0", has_wheel=False), packages, setup=setup)
    environ = surroundings(tmp_path, UV_FIND_LINKS=str(packages), **SECRETS)
    # Kept out of the shared cache: what is built once is not built again.
    environ["UV_CACHE_DIR"] = str(tmp_path / "cache")
    environ["NETRC"] = str(tmp_path / "users-netrc")
    (tmp_path / "users-netrc").write_text(f"machine tracking.example.com login ada password {CANARY}\n")
    done = subprocess.run(
        [sys.executable, "-c", DOCTOR, str(tmp_path / "uv"), PYTHON, mode],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    assert CANARY not in done.stdout + done.stderr
    answer: dict[str, str | None] = json.loads(done.stdout)
    return answer, canary_file


def test_hostile_package__no_build_from_source__its_code_never_runs(tmp_path):
    answer, canary_file = run_doctor_beside_a_hostile_package(tmp_path, "no build")
    assert answer["text"] is None
    assert "spy-on-its-builder" in (answer["conflict"] or "")
    assert not canary_file.exists()


def test_hostile_package__build_from_source__runs_and_sees_no_secret(tmp_path):
    answer, canary_file = run_doctor_beside_a_hostile_package(tmp_path, "build")
    assert (answer["text"] or "").startswith("spy-on-its-builder==1.0"), answer["conflict"]
    seen = json.loads(canary_file.read_text())
    assert "PATH" in seen["variables"], "the spy saw nothing: the test proves nothing"
    assert CANARY not in json.dumps(seen["variables"])
    assert "tracking.example.com" not in seen["netrc"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_hostile_package__build_from_source__may_not_read_the_parents_variables_not_even_as_root(tmp_path):
    _, canary_file = run_doctor_beside_a_hostile_package(tmp_path, "build")
    seen = json.loads(canary_file.read_text())
    assert seen["processes"], "the spy found no parent: the test proves nothing"
    leaks = [pid for pid, variables in seen["processes"].items() if CANARY in variables]
    assert leaks == [], seen["processes"]


# --- a private index ---


@contextmanager
def serving_index(packages: Path, password: str | None, asked: list[str] | None = None) -> Iterator[str]:
    """A simple index over `packages` that demands ada and `password`, where one is given; what it was asked goes to `asked`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            expected = "Basic " + base64.b64encode(f"ada:{password}".encode()).decode()
            if password and self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            name = self.path.strip("/").split("/")[-1]
            file = packages / name
            if file.is_file():
                body, kind = file.read_bytes(), "application/zip"
            else:
                links = [each.name for each in packages.iterdir() if each.name.startswith(f"{name.replace('-', '_')}-")]
                body, kind = "".join(f'<a href="/files/{each}">{each}</a>' for each in links).encode(), "text/html"
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if not file.is_file():
                self.send_header("Cache-Control", "max-age=600")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask_private_index(tmp_path: Path, **login: str):
    folder = tmp_path / "feed"
    folder.mkdir()
    write_packages([Package(name="alpha", version="1.0")], folder)
    with serving_index(folder, CANARY) as address:
        values = {name: value.format(address) for name, value in login.items()}
        environ = surroundings(
            tmp_path, NO_PROXY="127.0.0.1", UV_CACHE_DIR=str(tmp_path / "cache"), UV_HTTP_RETRIES="0", **values
        )
        return UvResolver(environ, tmp_path / "uv").resolve(["alpha"], python_version=PYTHON, exclude_newer=None)


@pytest.mark.parametrize("login", [
    {"UV_DEFAULT_INDEX": f"http://ada:{CANARY}@{{}}/simple"},
    {"PIP_INDEX_URL": f"http://ada:{CANARY}@{{}}/simple"},
    {"UV_DEFAULT_INDEX": "feed=http://{}/simple", "UV_INDEX_FEED_USERNAME": "ada", "UV_INDEX_FEED_PASSWORD": CANARY},
], ids=["uv, in the url", "pip, in the url", "uv, by name"])  # fmt: skip
def test_private_index__right_login__resolves_and_the_lock_does_not_have_it(login, tmp_path):
    answer = ask_private_index(tmp_path, **login)
    assert (answer.text or "").startswith("alpha==1.0"), answer.conflict
    assert CANARY not in repr(answer)
    assert "127.0.0.1" in answer.index
    assert [
        path for path in (tmp_path / "uv").rglob("*") if path.is_file() and CANARY in path.read_text(errors="replace")
    ] == []


def test_private_index__login_in_the_users_netrc__resolves(tmp_path):
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login ada password {CANARY}\n")
    assert (ask_private_index(tmp_path, UV_DEFAULT_INDEX="http://{}/simple").text or "").startswith("alpha==1.0")


@pytest.mark.parametrize("url", ["http://{}/simple", f"http://ada:{CANARY}x@{{}}/simple"], ids=["none", "wrong"])
def test_private_index__no_or_wrong_login__access_denied_without_showing_it(url, tmp_path):
    with pytest.raises(PackageIndexAccessDenied) as raised:
        ask_private_index(tmp_path, UV_DEFAULT_INDEX=url)
    assert raised.value.exit_code is ExitCode.AUTHENTICATION
    assert CANARY not in str(raised.value) + raised.value.log


# --- an index that is not there ---


def test_index__nobody_listens__not_the_users_fault_and_retryable(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/simple"
        environ = surroundings(tmp_path, NO_PROXY="127.0.0.1", UV_DEFAULT_INDEX=url, UV_HTTP_RETRIES="0")
        with pytest.raises(PackageIndexUnreachable) as raised:
            UvResolver(environ, tmp_path / "uv").resolve(["alpha"], python_version=PYTHON, exclude_newer=None)
    assert raised.value.exit_code is ExitCode.SERVICE_FAILED
    assert raised.value.retryable
    assert url in raised.value.what


def test_index__never_answers__ended_in_time_with_its_process(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        environ = surroundings(tmp_path, NO_PROXY="127.0.0.1", UV_DEFAULT_INDEX=url)
        resolver = UvResolver(environ, tmp_path / "uv", resolve_timeout_s=1.0)
        with pytest.raises(PackageIndexUnreachable, match="did not finish resolving within 1 s"):
            resolver.resolve(["alpha"], python_version=PYTHON, exclude_newer=None)
    assert list((tmp_path / "uv").iterdir()) == []


def test_index__pages_hold_for_minutes_and_nothing_is_said_of_wheels__asked_once_and_by_relock_for_pages(tmp_path):
    folder = tmp_path / "feed"
    folder.mkdir()
    write_packages([Package(name="alpha", version="1.0")], folder)
    asked: list[str] = []
    with serving_index(folder, None, asked) as address:
        environ = surroundings(
            tmp_path,
            NO_PROXY="127.0.0.1",
            UV_CACHE_DIR=str(tmp_path / "cache"),
            UV_HTTP_RETRIES="0",
            UV_DEFAULT_INDEX=f"http://{address}/simple",
        )

        def kinds_asked(*, always_asks: bool = False) -> set[str]:
            asked.clear()
            resolver = UvResolver(environ, tmp_path / "uv", always_asks=always_asks)
            assert resolver.resolve(["alpha"], python_version=PYTHON, exclude_newer=None).text
            return {path.split("/")[1] for path in asked}

        assert kinds_asked() == {"simple", "files"}
        assert kinds_asked() == set()
        assert kinds_asked(always_asks=True) == {"simple"}


def test_project__a_checkout_with_its_own_uv_settings__has_no_say(offline, tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "uv.toml").write_text(
        'no-build = false\n[[index]]\nurl = "http://127.0.0.1:9/simple"\ndefault = true\n'
    )
    (checkout / "pyproject.toml").write_text('[tool.uv]\noverride-dependencies = ["beta==0.1"]\n')
    (checkout / ".python-version").write_text("2.7\n")
    monkeypatch.chdir(checkout)
    assert locked(offline, tmp_path / "uv", "alpha").version_of("beta") == "1.2"


# --- building ---


def test_build__lock__environment_with_exactly_the_locked_packages(offline, tmp_path):
    destination = tmp_path / "environment"
    UvResolver(offline, tmp_path / "uv").build(locked(offline, tmp_path / "uv", "alpha"), destination, Silence())
    code = "import importlib.metadata as m; print(sorted((d.name, d.version) for d in m.distributions()))"
    shown = subprocess.run(
        [destination / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[('alpha', '1.0'), ('beta', '1.2')]"
    assert list((tmp_path / "uv").glob("run-*")) == []


def test_build__package_does_not_have_the_locked_hash__refused_and_nothing_left(offline, tmp_path):
    lock = locked(offline, tmp_path / "uv", "alpha")
    digest = lock.text.split("sha256:")[1].split()[0]
    tampered = Lock(text=lock.text.replace(digest, "0" * 64), python_version=PYTHON, server_range="", base_image="")
    destination = tmp_path / "environment"
    with pytest.raises(EnvironmentBuildFailed) as raised:
        UvResolver(offline, tmp_path / "uv").build(tampered, destination, Silence())
    assert "Hash mismatch" in raised.value.log
    assert not destination.exists()


def test_build__source_archive_in_the_lock__its_code_never_runs(tmp_path, offline):
    canary_file = tmp_path / "canary.json"
    path = write_sdist(
        Package(name="spy-on-its-builder", version="1.0", has_wheel=False),
        Path(offline["UV_FIND_LINKS"]),
        setup=f"open({str(canary_file)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='spy-on-its-builder', version='1.0')\n",
    )
    text = f"spy-on-its-builder==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
    lock = Lock(text=text, python_version=PYTHON, server_range="", base_image="")
    with pytest.raises(EnvironmentBuildFailed):
        UvResolver(offline, tmp_path / "uv").build(lock, tmp_path / "environment", Silence())
    assert not canary_file.exists()


def test_build__python_that_nobody_has__says_what_is_here(offline, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        environ = {**offline, "UV_PYTHON_INSTALL_MIRROR": mirror, "UV_HTTP_RETRIES": "0", "NO_PROXY": "127.0.0.1",
                   "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons")}  # fmt: skip
        lock = Lock(text="", python_version="3.99", server_range="", base_image="")
        with pytest.raises(PythonNotAvailable) as raised:
            UvResolver(environ, tmp_path / "uv").build(lock, tmp_path / "environment", Silence())
    assert "3.99" in raised.value.what
    assert PYTHON in raised.value.what.split("Here are:")[1]


def test_python_path__this_interpreters_version__found_and_runs(tmp_path):
    path = UvResolver(surroundings(tmp_path), tmp_path / "uv").python_path(f"{PYTHON}.1")
    assert path is not None
    shown = subprocess.run(
        [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == PYTHON


def test_python_path__shim_that_refuses__passed_over(tmp_path):
    shim = tmp_path / "bin" / "python3.99"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    environ = surroundings(tmp_path, PATH=f"{shim.parent}:{os.environ['PATH']}")
    assert UvResolver(environ, tmp_path / "uv").python_path("3.99") is None


@pytest.mark.parametrize(("days", "stays"), [(1.1, True), (0.0, False)])
def test_folder_of_a_killed_run__older_than_any_run_can_be__is_removed(tmp_path, monkeypatch, days, stays):
    left = tmp_path / "uv" / "run-left"
    left.mkdir(parents=True)
    (left / "netrc").write_text("machine index.example.com login ada password x\n")
    monkeypatch.setattr(uv, "_LONGEST_RUN_S", days * 86_400 - 1)
    (tmp_path / "packages").mkdir()
    write_packages([Package(name="plain", version="1.0")], tmp_path / "packages")
    environ = surroundings(tmp_path, UV_FIND_LINKS=str(tmp_path / "packages"))
    UvResolver(environ, tmp_path / "uv").resolve(["plain==1.0"], python_version=PYTHON, exclude_newer=None)
    assert left.exists() is stays
