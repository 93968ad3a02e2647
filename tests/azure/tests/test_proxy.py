from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
import requests

from tests.azure import faults, trace, wire
from tests.azure.messages import Body, FileSlice, Headers, Request, Response, Stream
from tests.azure.routing import Params, Room
from tests.azure.server import Emulator
from tests.azure.state import Cloud

echo = Room("echo", host="echo.test")
ECHO_PATH = "/echo/{name}/items/{rest...}"


def _echo(request: Request, params: Params, cloud: Cloud) -> Response:
    digest = sha256()
    for chunk in request.body.chunks():
        digest.update(chunk)
    return Response.json(
        {
            "method": request.method,
            "scheme": request.scheme,
            "path": request.path,
            "params": params,
            "query": request.query,
            "bytes": request.body.size,
            "sha256": digest.hexdigest(),
        }
    )


for _method in ("GET", "PUT", "POST"):
    for _scheme in ("https", "http"):
        echo.route(_method, ECHO_PATH, scheme=_scheme)(_echo)


@echo.get("/versioned", api_versions=("2024-04-01",))
def get_versioned(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response.text(request.api_version)


@echo.get("/crash")
def get_crash(request: Request, params: Params, cloud: Cloud) -> Response:
    raise KeyError("missing")


@echo.get("/file")
def get_file(request: Request, params: Params, cloud: Cloud) -> Response:
    path = cloud.room_folder("echo") / "large"
    path.write_bytes(b"0123456789" * 100_000)
    return Response(headers=Headers({"Content-Type": "x/y"}), body=FileSlice(path=path, offset=5, length=500_000))


@echo.get("/streamed")
def get_stream(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response(body=Stream(iter([b"first ", b"second"])))


@echo.get("/nothing")
def get_nothing(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response.empty(204)


@echo.head("/nothing")
def head_nothing(request: Request, params: Params, cloud: Cloud) -> Response:
    return Response.empty(200, {"Content-Length": "77"})


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(rooms=[echo]) as azure:
        yield azure


def test_proxy__https_through_connect__answers_with_a_trusted_leaf(http: requests.Session) -> None:
    answer = http.put("https://echo.test/echo/a/items/b?x=1&x=2&Y=%20", data=b"body")
    assert answer.status_code == 200
    assert answer.json()["params"] == {"name": "a", "rest": "b"}
    assert answer.json()["query"] == {"x": "1", "y": " "}
    assert answer.json()["sha256"] == sha256(b"body").hexdigest()


def test_proxy__absolute_http_uri__is_forwarded(http: requests.Session) -> None:
    assert http.get("http://echo.test/echo/a/items/b").json()["scheme"] == "http"


@pytest.mark.parametrize(
    ("target", "path", "params"),
    [
        ("/echo/m1%3A1/items/x", "/echo/m1:1/items/x", {"name": "m1:1", "rest": "x"}),
        ("//echo//m1/items///x//y", "/echo/m1/items/x/y", {"name": "m1", "rest": "x/y"}),
        ("/ECHO/Mixed/Items/X", "/ECHO/Mixed/Items/X", {"name": "Mixed", "rest": "X"}),
        ("/echo/a%2Fb/items/c%20d/%C3%A9", "/echo/a/b/items/c d/é", {"name": "a/b", "rest": "c d/é"}),
    ],
)
def test_proxy__encoded_or_doubled_path__is_read_as_azure_reads_it(
    azure: Emulator, target: str, path: str, params: dict[str, str]
) -> None:
    answer = _raw_get(azure, target)
    assert answer["path"] == path
    assert answer["params"] == params


def _raw_get(azure: Emulator, target: str) -> dict[str, object]:
    """http.client sends a path as it is, where requests would tidy it up."""
    import json

    host, port = azure.url.removeprefix("http://").split(":")
    connection = http.client.HTTPSConnection(
        host, int(port), context=ssl.create_default_context(cafile=str(azure.ca_file))
    )
    connection.set_tunnel("echo.test", 443)
    connection.request("GET", target)
    found: dict[str, object] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def test_proxy__several_requests__share_one_connection(azure: Emulator) -> None:
    host, port = azure.url.removeprefix("http://").split(":")
    connection = http.client.HTTPSConnection(
        host, int(port), context=ssl.create_default_context(cafile=str(azure.ca_file))
    )
    connection.set_tunnel("echo.test", 443)
    sockets = set()
    for path in ("/echo/a/items/1", "/nothing", "/echo/a/items/2", "/file"):
        connection.request("GET", path)
        connection.getresponse().read()
        sockets.add(id(connection.sock))
    connection.request("HEAD", "/nothing")
    head = connection.getresponse()
    assert (head.read(), head.getheader("Content-Length")) == (b"", "77")
    connection.close()
    assert len(sockets) == 1
    assert len(azure.cloud.trace.find(host="echo.test")) == 5


def test_proxy__client_that_does_not_trust_the_ca__is_not_served(
    azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get("https://echo.test/echo/a/items/b", timeout=10)
    assert len(azure.cloud.trace) == 0


def test_authority__strict_verification__accepts_leaf_and_ca(azure: Emulator) -> None:
    context = ssl.create_default_context(cafile=str(azure.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    host, port = azure.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(b"CONNECT echo.test:443 HTTP/1.1\r\nHost: echo.test:443\r\n\r\n")
        assert b" 200 " in plain.recv(1000)
        with context.wrap_socket(plain, server_hostname="echo.test") as secured:
            certificate = secured.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "echo.test"),)


@pytest.mark.parametrize("url", ["https://example.org/", "http://example.org/x", "https://echo.test:8443/nothing"])
def test_proxy__unlisted_host_or_port__is_refused_and_fails_the_test(
    azure: Emulator, http: requests.Session, url: str
) -> None:
    if url.startswith("https"):
        with pytest.raises(requests.exceptions.ProxyError, match="502"):
            http.get(url)
    else:
        assert http.get(url).status_code == 502
    with pytest.raises(AssertionError, match="refused-host"):
        azure.assert_clean()
    assert len(azure.cloud.take_failures("refused-host")) >= 1


def _raw(azure: Emulator, text: bytes, *, host: str = "echo.test") -> bytes:
    """All that the emulator says to these bytes, through a tunnel, until it or the answer ends."""
    door, port = azure.url.removeprefix("http://").split(":")
    with socket.create_connection((door, int(port)), timeout=20) as plain:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
        assert b" 200 " in plain.recv(1000)
        context = ssl.create_default_context(cafile=str(azure.ca_file))
        with context.wrap_socket(plain, server_hostname=host) as secured:
            secured.sendall(text)
            told = b""
            while piece := secured.recv(65536):
                told += piece
    return told


PUT = b"PUT /echo/a/items/b HTTP/1.1\r\nHost: echo.test\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nTrailer: x\r\n\r\n", 200),
        (b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n1_0\r\n", 400),
        (b"Content-Length: \xb2\r\n\r\nxx", 400),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
        (b"Content-Length: -1\r\n\r\n", 400),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nxx", 200),
    ],
)
def test_proxy__body_framed_in_every_way__is_read_or_refused(azure: Emulator, sent: bytes, status: int) -> None:
    told = _raw(azure, PUT + sent)
    assert told.startswith(f"HTTP/1.1 {status} ".encode()), told[:200]


def test_proxy__body_that_is_announced__is_called_for_before_it_is_read(azure: Emulator) -> None:
    told = _raw(azure, PUT + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


def test_proxy__target_written_in_full__is_read_as_its_path(azure: Emulator) -> None:
    told = _raw(
        azure, b"GET https://echo.test/echo/a/items/b?x=1 HTTP/1.1\r\nHost: echo.test\r\nConnection: close\r\n\r\n"
    )
    assert b'"path": "/echo/a/items/b"' in told
    assert b'"query": {"x": "1"}' in told


def test_proxy__several_requests_at_once__are_answered_in_their_order(azure: Emulator) -> None:
    one = b"GET /echo/%d/items/b HTTP/1.1\r\nHost: echo.test\r\n%s\r\n"
    told = _raw(azure, one % (1, b"") + one % (2, b"") + one % (3, b"Connection: TE, Close\r\n"))
    assert [part.count(b'"name": "%d"' % number) for number, part in enumerate(told.split(b"HTTP/1.1 "))][1:] == [1] * 3


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_proxy__streamed_answer__is_framed_as_the_client_can_read_it(azure: Emulator, version: str) -> None:
    asked = f"GET /streamed HTTP/{version}\r\nHost: echo.test\r\nConnection: {'close' if version == '1.1' else 'keep-alive'}\r\n\r\n"
    head, _, body = _raw(azure, asked.encode()).partition(b"\r\n\r\n")
    assert (b"chunked" in head) is (version == "1.1")
    assert body == (b"6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n" if version == "1.1" else b"first second")


def test_faults__of_a_streamed_answer__leave_it_readable(azure: Emulator, http: requests.Session) -> None:
    azure.cloud.faults.add(faults.SlowBody(pieces=3, pause_s=0.01), path="/streamed")
    assert http.get("https://echo.test/streamed").content == b"first second"
    azure.cloud.faults.add(faults.TruncatedBody(sent_bytes=4), path="/streamed")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        http.get("https://echo.test/streamed")


def test_file__that_is_gone_before_it_is_sent__arrives_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(b"old content")
    body = FileSlice(path=path, offset=4, length=7)
    path.unlink()
    assert b"".join(Response(body=body).chunks()) == b"content"
    body.close()


def test_server__that_crashes_beside_the_handler__answers_500_and_fails_the_test(
    azure: Emulator, http: requests.Session
) -> None:
    def broken(request: Request) -> Response:
        raise KeyError("in the fault itself")

    azure.cloud.faults.add(faults.Answer(response=broken), path="/file")
    assert http.get("https://echo.test/file").status_code == 500
    [failure] = azure.cloud.take_failures("emulator-error")
    assert "in the fault itself" in failure.text


def test_header__of_a_name_with_breaks__stays_one_line() -> None:
    head = wire.head_bytes(Response.empty(200, {"Location": "/a\r\nX-Injected: 1"}), keep_alive=True, method="GET")
    assert b"\r\nX-Injected" not in head


def test_router__unknown_route__answers_501_and_fails_the_test(azure: Emulator, http: requests.Session) -> None:
    answer = http.delete("https://echo.test/echo/a/items/b")
    assert answer.status_code == 501
    assert "only GET, POST, PUT" in answer.json()["error"]["message"]
    [failure] = azure.cloud.take_failures()
    assert failure.kind == "not-implemented"


def test_router__head_of_what_can_be_got__is_its_answer_without_the_body(
    azure: Emulator, http: requests.Session
) -> None:
    url = "https://echo.test/versioned"
    got = http.get(url, params={"api-version": "2024-04-01"})
    told = http.head(url, params={"api-version": "2024-04-01"})
    assert (told.status_code, told.content) == (200, b"")
    assert told.headers["Content-Length"] == got.headers["Content-Length"] == "10"
    assert http.head(url).status_code == 400
    assert http.get(url, params={"api-version": "2024-04-01"}).text == "2024-04-01", "the connection is still in step"


def test_router__api_versions__dispatch_or_say_what_is_missing(azure: Emulator, http: requests.Session) -> None:
    url = "https://echo.test/versioned"
    assert http.get(url, params={"api-version": "2024-04-01"}).text == "2024-04-01"
    missing = http.get(url)
    assert (missing.status_code, missing.json()["error"]["code"]) == (400, "MissingApiVersionParameter")
    assert azure.cloud.failures == ()
    assert http.get(url, params={"api-version": "2099-01-01"}).status_code == 501
    [failure] = azure.cloud.take_failures()
    assert "2099-01-01 (only 2024-04-01)" in failure.text


@pytest.mark.parametrize("said", ["latest", "2024-04", "2024-04-01'"])
def test_router__what_is_no_api_version__is_refused_as_azure_does(
    azure: Emulator, http: requests.Session, said: str
) -> None:
    answer = http.get("https://echo.test/versioned", params={"api-version": said})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidApiVersionParameter")


def test_server__handler_that_crashes__answers_500_and_fails_the_test(azure: Emulator, http: requests.Session) -> None:
    assert http.get("https://echo.test/crash").status_code == 500
    [failure] = azure.cloud.take_failures("emulator-error")
    assert "KeyError: 'missing'" in failure.text


def test_proxy__large_body_both_ways__arrives_whole(azure: Emulator, http: requests.Session) -> None:
    block = bytes(range(256)) * 4096
    size_mb = 200
    answer = http.put("https://echo.test/echo/a/items/b", data=(block for _ in range(size_mb)))
    expected = sha256()
    for _ in range(size_mb):
        expected.update(block)
    assert answer.json()["bytes"] == size_mb << 20
    assert answer.json()["sha256"] == expected.hexdigest()
    downloaded = http.get("https://echo.test/file").content
    assert downloaded == (b"0123456789" * 100_000)[5:500_005]
    [upload] = azure.cloud.trace.find(method="PUT")
    assert upload.request_bytes == size_mb << 20


def test_proxy__fifty_clients__two_thousand_requests_without_an_error(azure: Emulator) -> None:
    def ask(client: int) -> set[int]:
        with requests.Session() as session:
            return {
                session.post(f"https://echo.test/echo/{client}/items/{number}", json={"number": number}).status_code
                for number in range(40)
            }

    with ThreadPoolExecutor(50) as pool:
        statuses = set[int]().union(*pool.map(ask, range(50)))
    assert statuses == {200}
    assert len(azure.cloud.trace) == 2000
    assert azure.cloud.trace.most_concurrent > 1


def test_trace__exchange__can_be_asked_for_what_was_sent(azure: Emulator, http: requests.Session) -> None:
    http.post("https://echo.test/echo/a/items/b?k=v", json={"sent": True}, headers={"X-Mark": "1"})
    [exchange] = azure.cloud.trace.find(method="POST", host=r"^echo\.test$", path="items/b", status=200)
    assert exchange.query == {"k": "v"}
    assert exchange.request_headers.get("x-mark") == "1"
    assert exchange.request_body == b'{"sent": true}'
    assert exchange.route == f"POST https://echo.test{ECHO_PATH}"
    assert exchange.response_bytes == len(exchange.response_body) > 0
    assert azure.cloud.trace.hosts() == {"echo.test"}


def test_proxy__that_cannot_take_a_connection__takes_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short:
        """A listener that is out of files for a moment."""

        def __init__(self, listener: socket.socket) -> None:
            self._listener, self._left = listener, 2

        def accept(self) -> object:
            self._left -= 1
            if self._left >= 0:
                raise OSError(24, "Too many open files")
            return self._listener.accept()

        def __getattr__(self, name: str) -> object:
            return getattr(self._listener, name)

    azure = Emulator(tmp_path, rooms=[echo])
    monkeypatch.setattr(azure._proxy, "_listener", Short(azure._proxy._listener))
    with azure:
        for name, value in azure.environment().items():
            monkeypatch.setenv(name, value)
        assert requests.get("https://echo.test/file", timeout=10).status_code == 200


def test_trace__of_more_than_it_keeps__forgets_the_oldest_bodies_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_KEPT_BODIES_BYTES", 1000)
    kept = trace.Trace()
    for number in range(10):
        request = Request(
            method="PUT", scheme="https", host="h", target=f"/{number}", body=Body(b"x" * 300), number=kept.begin()
        )
        kept.answered(kept.asked(request), Response(body=b"y" * 10))
    exchanges = kept.find()
    assert [len(one.request_body) for one in exchanges] == [0] * 7 + [300] * 3
    assert [one.request_bytes for one in exchanges] == [300] * 10


@contextlib.contextmanager
def command(folder: Path, *arguments: str) -> Iterator[dict[str, str]]:
    """The emulator as a person starts it; what it tells to export."""
    root = Path(__file__).resolve().parents[3]
    line = [sys.executable, "-m", "tests.azure", "--folder", str(folder), *arguments]
    with subprocess.Popen(line, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not (told := process.stdout.readline()).startswith("export HOME="):
            assert told, "the command ended before it printed its environment"
            lines.append(told)
        yield dict(each.removeprefix("export ").strip().split("=", 1) for each in lines if each.startswith("export"))
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_command__started_and_stopped__prints_environment_and_keeps_state(tmp_path: Path) -> None:
    with command(tmp_path / "state") as exported:
        pass
    assert exported["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert Path(exported["REQUESTS_CA_BUNDLE"]).is_file()
    assert (tmp_path / "state" / "state.pickle").is_file()


def test_command__host_to_pass__is_reached_and_no_other(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as index,
        command(tmp_path / "state", "--no-serving", "--pass", "127.0.*") as exported,
    ):
        proxy = exported["HTTPS_PROXY"].removeprefix("http://").split(":")
        for host, is_passed in (("127.0.0.1", True), ("localhost", False)):
            with socket.create_connection((proxy[0], int(proxy[1])), timeout=10) as client:
                client.sendall(f"CONNECT {host}:{index.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
                assert client.recv(1000).startswith(b"HTTP/1.1 200" if is_passed else b"HTTP/1.1 502")
        authorities = Path(exported["SSL_CERT_FILE"]).read_text()
        assert authorities.count("BEGIN CERTIFICATE") > 1
        assert authorities.endswith((tmp_path / "state" / "ca.pem").read_text())
