"""The parts of the sibling-container adapter that need no engine: what travels, who we are, what of our surroundings is passed on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.adapters.clock import SystemClock
from mlaz_ci.adapters.local_docker import door
from mlaz_ci.adapters.local_docker.engine import OwnContainer, candidate_ids
from mlaz_ci.adapters.local_docker.envelope import decode, decode_error, encode, encode_error
from mlaz_ci.adapters.local_docker.scoring import post
from mlaz_ci.adapters.local_docker.sibling import Siblings
from mlaz_ci.adapters.local_docker.surroundings import pack_surroundings
from mlaz_ci.errors import Bug, DiskFull, MlazError, NotOurs, NotReachable, ServiceStartFailed
from mlaz_ci.models import (
    DeploymentFacts,
    DeploymentSpec,
    LocalShape,
    Lock,
    ModelFacts,
    ModelRef,
    ModelSignature,
    ScoreRequest,
    ServiceFacts,
    ServiceState,
    Snapshot,
    Target,
    VersionSource,
)

NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
ID = "f715e07d17150c4074df80e81b35a41d76970059312a22e49212b5c570ccfcc4"
OTHER_ID = "0" * 64


def there_and_back(value: object) -> object:
    return decode(json.loads(json.dumps(encode(value))))


# --- envelope --------------------------------------------------------------------------------------------------------


def test_envelope__a_deployment_spec__arrives_equal() -> None:
    model = ModelRef(
        source=VersionSource(name="churn", version="3"),
        name="churn",
        version="3",
        run_id="a" * 32,
        artifact_uri="file:///models/churn",
        facts=ModelFacts(
            mlmodel_text="flavors: {}\n",
            flavors={"python_function": {"loader_module": "mlflow.sklearn", "$": "odd key"}},
            python_version="3.11.7",
            mlflow_version="3.15.0",
            signature=ModelSignature(inputs=({"name": "x", "type": "double"},)),
            requirement_files={"requirements.txt": "scikit-learn\n"},
        ),
        digest="d" * 16,
        size_bytes=17,
        logged_at=NOW,
        tracking_uri="sqlite:///mlflow.db",
    )
    spec = DeploymentSpec(
        service_name="churn",
        deployment_name="g1",
        model=model,
        lock=Lock(text="a==1\n", python_version="3.11", server_range="==1.5.*", base_image="b"),
        shape=LocalShape(port=21000, environment_variables={"A": "ü\n"}),
        files={"swagger.json": "{}"},
        tags={"team": "risk"},
        owner="1296269",
    )
    assert there_and_back({"spec": spec, "model_folder": Path("/model")}) == {
        "spec": spec,
        "model_folder": Path("/model"),
    }


def test_envelope__a_snapshot__arrives_equal() -> None:
    live = DeploymentFacts(
        name="g1",
        state=ServiceState.HEALTHY,
        spec_hash="s",
        lock_hash="l",
        model_label="churn/3",
        model_version="3",
        created_at=NOW,
        port=4,
    )
    service = ServiceFacts(
        name="churn", target=Target.LOCAL, state=ServiceState.HEALTHY, owner="1", scoring_uri="http://x", swagger_uri=None, port=5,
        live="g1", previous=None, deployments=(live,), tags={}, created_at=NOW,
    )  # fmt: skip
    assert there_and_back(Snapshot(service=service)) == Snapshot(service=service)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.sampled_from(ServiceState),
        lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_envelope__any_nesting__arrives_equal_and_of_the_same_type(value: object) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "raw",
    [
        {"$": "subprocess", "value": {}},
        {"$": "hashlib", "value": {}},
        {"$": "names", "value": {}},
        {"$": "Path"},
        {"no": "type"},
        {"$": "Snapshot", "value": {}, "more": 1},
    ],
)
def test_decode__what_no_envelope_holds__builds_nothing(raw: object) -> None:
    with pytest.raises(ValueError, match="sibling container"):
        decode(raw)


def test_decode_error__a_class_of_the_catalogue__is_that_class_with_its_texts() -> None:
    error = ServiceStartFailed("It ended.", usually="because", remedy="do", log="lines")
    back = decode_error(there_and_back(encode_error(error)))  # type: ignore[arg-type]
    assert (type(back), str(back), back.log) == (ServiceStartFailed, str(error), "lines")


@pytest.mark.parametrize("name", ["SystemExit", "ExitCode", "re", ""])
def test_decode_error__no_class_of_the_catalogue__is_a_bug(name: str) -> None:
    assert type(decode_error({"class": name, "what": "?"})) is Bug


# --- the door --------------------------------------------------------------------------------------------------------


def test_pack_folder__links_and_folders__are_files_of_root_in_the_stream(tmp_path: Path) -> None:
    (tmp_path / "m" / "data").mkdir(parents=True)
    (tmp_path / "elsewhere").write_text("linked")
    (tmp_path / "m" / "data" / "model.pkl").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "m" / "MLmodel").write_bytes(b"x" * 3_000_000)
    stream = io.BytesIO(b"".join(door._pack_folder(tmp_path / "m", "var/model")))
    with tarfile.open(fileobj=stream) as archive:
        entries = {each.name: each for each in archive}
        linked = archive.extractfile("var/model/data/model.pkl")
        assert linked is not None
        assert linked.read() == b"linked"
    assert entries["var/model/MLmodel"].size == 3_000_000
    assert {each.uid for each in entries.values()} == {0}


def test_pack_folder__a_folder_that_is_not_there__fails_instead_of_ending_early(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        b"".join(door._pack_folder(tmp_path / "absent", "model"))


def test_lines__cut_anywhere__are_whole_and_complaints_are_kept() -> None:
    complaints: list[bytes] = []
    chunks = [(b'{"a', None), (None, b"warning\n"), (b'":1}\n{"b"', None), (b":2}", b"more")]
    assert list(door._lines(iter(chunks), complaints)) == [b'{"a":1}', b'{"b":2}']
    assert complaints == [b"warning\n", b"more"]


# --- who we are ------------------------------------------------------------------------------------------------------

DOCKER_MOUNTS = f"""\
1046 1045 0:138 / / rw,relatime master:365 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/X
1055 1046 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/root rw
1056 1046 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/root rw
1057 1046 8:1 /var/lib/docker/containers/{OTHER_ID}/_data /github/workspace rw,relatime - ext4 /dev/root rw
"""
PODMAN_MOUNTS = (
    f"85 77 254:0 /run/overlay-containers/{ID}/userdata/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw\n"
)


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "expected"),
    [
        pytest.param(DOCKER_MOUNTS, "0::/\n", [ID], id="docker, cgroup v2 in a namespace"),
        pytest.param(PODMAN_MOUNTS, f"1:cpu:/libpod_parent/libpod-{ID}\n", [ID], id="podman"),
        pytest.param("", f"12:pids:/docker/{ID}\n", [ID], id="docker, cgroup v1"),
        pytest.param("", f"0::/system.slice/docker-{ID}.scope\n", [ID], id="docker, systemd"),
        pytest.param(DOCKER_MOUNTS, f"0::/docker/{OTHER_ID}\n", [ID, OTHER_ID], id="mounts before groups"),
        pytest.param("1 2 8:1 / / rw - ext4 /dev/root rw\n", "0::/init.scope\n", [], id="no container"),
    ],
)
def test_candidate_ids__what_the_kernel_shows__names_our_container(
    tmp_path: Path, mountinfo: str, cgroup: str, expected: list[str]
) -> None:
    (tmp_path / "mountinfo").write_text(mountinfo)
    (tmp_path / "cgroup").write_text(cgroup)
    assert candidate_ids(tmp_path) == expected


def test_candidate_ids__nothing_to_read__is_none(tmp_path: Path) -> None:
    assert candidate_ids(tmp_path) == []


def own_container(*mounts: tuple[str, str]) -> OwnContainer:
    pairs = tuple((Path(inside), Path(host)) for inside, host in mounts)
    return OwnContainer(container_id=ID, image_id="sha256:1", networks=("bridge",), mounts=pairs)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/github/workspace/model", "/home/runner/work/r/r/model"),
        ("/github/workspace", "/home/runner/work/r/r"),
        ("/github/runner_temp/_github_home/x", "/home/runner/work/_temp/_github_home/x"),
        ("/github/runner_temp/other/../x", "/home/runner/work/_temp/x"),
        ("/github/workspace-of-another", None),
        ("/tmp/model", None),
    ],
)
def test_host_path__a_path_in_here__is_the_innermost_mounts_path(path: str, expected: str | None) -> None:
    own = own_container(
        ("/github/runner_temp", "/home/runner/work/_temp"),
        ("/github/workspace", "/home/runner/work/r/r"),
    )
    assert own.host_path(Path(path)) == (Path(expected) if expected else None)


# --- surroundings ----------------------------------------------------------------------------------------------------

ENVIRON = {
    "https_proxy": "http://proxy:3128",
    "NO_PROXY": "localhost",
    "UV_INDEX_COMPANY_PASSWORD": "index-password",
    "PIP_INDEX_URL": "https://index.invalid/simple",
    "UV_PUBLISH_TOKEN": "canary",
    "UV_CACHE_DIR": "/github/home/.cache",
    "INPUT_CLIENT-SECRET": "canary",
    "ACTIONS_RUNTIME_TOKEN": "canary",
    "PATH": "utter-nonsense",
    "HOME": "/github/home",
    "SSL_CERT_DIR": "",
}


def test_pack_surroundings__for_a_container_with_a_model__holds_no_credentials() -> None:
    packed = pack_surroundings(ENVIRON, own_container(), with_index=False)
    assert packed == {"variables": {"https_proxy": "http://proxy:3128", "NO_PROXY": "localhost"}, "files": {}}


def test_pack_surroundings__for_building__adds_the_indexes_alone() -> None:
    packed = pack_surroundings(ENVIRON, own_container(), with_index=True)
    assert packed["variables"] == {
        "https_proxy": "http://proxy:3128",
        "NO_PROXY": "localhost",
        "UV_INDEX_COMPANY_PASSWORD": "index-password",
        "PIP_INDEX_URL": "https://index.invalid/simple",
    }


def test_pack_surroundings__certificates_that_only_we_have_mounted__travel_as_bytes(tmp_path: Path) -> None:
    bundle = tmp_path / "company.pem"
    bundle.write_bytes(b"certificates")
    environ = {"SSL_CERT_FILE": str(bundle)}
    mounted = own_container((str(tmp_path), "/home/runner/certificates"))
    assert pack_surroundings(environ, mounted, with_index=False)["files"] == {"SSL_CERT_FILE": b"certificates"}
    assert pack_surroundings(environ, own_container(), with_index=False)["files"] == {}


# --- containers ------------------------------------------------------------------------------------------------------


class Engine:
    """An engine whose containers are rows of a table; `on_create` is what happens first when one is to be made."""

    def __init__(self, on_create: Callable[[Engine, dict[str, Any]], None] = lambda *_: None) -> None:
        self.rows: list[Row] = []
        self.on_create = on_create
        self.containers = self

    def create(self, image: str, **options: Any) -> Row:
        self.on_create(self, options)
        row = Row(self, image, options)
        self.rows.append(row)
        return row

    def list(self, *, filters: dict[str, Any], **_: object) -> list[Row]:
        wanted = [each.partition("=") for each in filters["label"]]
        return [row for row in self.rows if all(row.labels.get(name) == value for name, _, value in wanted)]


class Row:
    def __init__(self, engine: Engine, image: str, options: dict[str, Any]) -> None:
        self.engine, self.image, self.options = engine, image, options
        self.name, self.labels, self.status = options["name"], options["labels"], "created"

    def start(self) -> None:
        self.status = "running"

    def reload(self) -> None:
        """It is always fresh."""

    def remove(self, *, force: bool) -> None:
        assert force
        self.engine.rows.remove(self)


def name_is_taken(name: str) -> APIError:
    explanation = f'Conflict. The container name "/{name}" is already in use by container "{ID}".'
    return APIError("409 Client Error", explanation=explanation)


def test_provide__another_run_made_the_container_meanwhile__is_that_one() -> None:
    def be_slower(engine: Engine, options: dict[str, Any]) -> None:
        engine.rows.append(Row(engine, "ours", options))
        raise name_is_taken(options["name"])

    engine = Engine(be_slower)
    container = Siblings(engine, own_container()).provide("churn", port=None, kept_port=None, tags={})
    assert engine.rows == [container]
    assert container.status == "running"


def test_provide__a_stranger_has_the_name__is_not_ours_and_says_what_helps() -> None:
    def refuse(_: Engine, options: dict[str, Any]) -> None:
        raise name_is_taken(options["name"])

    with pytest.raises(NotOurs, match="mlaz-churn") as caught:
        Siblings(Engine(refuse), own_container()).provide("churn", port=None, kept_port=None, tags={})
    assert "take-over" not in caught.value.remedy_text, "no word of ours makes a stranger's container ours"
    assert "docker rm mlaz-churn" in caught.value.remedy_text


def test_errand__step_is_killed_in_it__ends_and_goes_by_itself() -> None:
    engine = Engine()
    with Siblings(engine, own_container()).errand("snapshot") as errand:
        assert errand.options["auto_remove"] is True
        assert (errand.options["entrypoint"], errand.options["command"]) == (["/bin/sleep"], ["86400"])
    assert engine.rows == []


def test_errand__engine_cannot_remove_it__its_answer_counts_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Row, *, force: bool) -> None:
        raise APIError("500 Server Error", explanation="device or resource busy")

    monkeypatch.setattr(Row, "remove", fail)
    with Siblings(Engine(), own_container()).errand("snapshot") as errand:
        answer = errand.status
    assert answer == "running"


# --- the sibling's side ----------------------------------------------------------------------------------------------


def call_sibling(home: Path, request: dict[str, object]) -> MlazError:
    """What the script in a sibling answers, run here as it is run there."""
    file = home / "request.json"
    file.write_text(json.dumps({name: value if name == "call" else encode(value) for name, value in request.items()}))
    done = subprocess.run(
        [sys.executable, "-m", "mlaz_ci.sibling", str(file)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MLAZ_HOME": str(home)},
    )
    return decode_error(decode(json.loads(done.stdout)["error"]))


def test_sibling__disk_of_the_engine_is_full__says_what_frees_it(tmp_path: Path) -> None:
    certificate = b"certificates"
    folder = tmp_path / "certificates"
    folder.mkdir()
    # A file that the kernel refuses as a full disk does.
    (folder / f"{hashlib.sha256(certificate).hexdigest()[:16]}.pem").symlink_to("/dev/full")

    error = call_sibling(
        tmp_path,
        {
            "call": "snapshot",
            "arguments": {"service_name": "churn"},
            "surroundings": {"variables": {}, "files": {"SSL_CERT_FILE": certificate}},
        },
    )

    assert isinstance(error, DiskFull)
    assert "No space left on device" in error.what
    assert "`docker volume rm mlaz-ci`" in error.remedy_text
    assert "MLAZ_HOME" not in error.remedy_text


# --- scoring ---------------------------------------------------------------------------------------------------------

REQUEST = ScoreRequest(body=b"{}", origin="a test")


def ends_the_connection(connection: socket.socket) -> None:
    connection.recv(65536)


def breaks_off_the_answer(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")


def says_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        continue


@pytest.mark.parametrize("behave", [ends_the_connection, breaks_off_the_answer, says_nothing])
def test_post__connected_and_then_no_answer__blames_the_deployment(behave: Callable[[socket.socket], None]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            with closing(listening.accept()[0]) as connection:
                behave(connection)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(NotReachable, match=r"does not answer: \S") as caught:
            post("127.0.0.1", listening.getsockname()[1], REQUEST, SystemClock(), timeout_s=1)
        thread.join(timeout=10)

    assert "The process of the deployment ended" in caught.value.cause_text
    assert "firewall" not in str(caught.value)
    assert "`command: status`" in caught.value.remedy_text


def test_post__nobody_listens__blames_the_deployment() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]

    with pytest.raises(NotReachable, match=r"does not answer: .*refused"):
        post("127.0.0.1", port, REQUEST, SystemClock(), timeout_s=5)


def test_post__no_way_there__blames_the_network() -> None:
    # The broadcast address: the kernel refuses to connect to it.
    with pytest.raises(NotReachable, match="could not be reached") as caught:
        post("255.255.255.255", 80, REQUEST, SystemClock(), timeout_s=5)

    assert "firewall" in caught.value.cause_text
