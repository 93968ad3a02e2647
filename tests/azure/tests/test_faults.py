from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from tests.azure import faults
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.server import Emulator
from tests.azure.state import Cloud

counter = Room("counter", host="{name}.counter.test")
URL = "https://a.counter.test/count"


@dataclass(slots=True)
class Counts:
    posted: int = 0


@counter.post("/count")
@counter.route("POST", "/count", scheme="http")
def post_count(request: Request, params: Params, cloud: Cloud) -> Response:
    cloud.state(Counts).posted += 1
    return Response.json({"posted": cloud.state(Counts).posted, "padding": "x" * 1000}, status=201)


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(rooms=[counter]) as azure:
        yield azure


def test_faults__json_error_by_count__strikes_so_often_and_without_effect(cloud: Cloud, http: requests.Session) -> None:
    rule = cloud.faults.add(
        faults.json_error(429, {"error": {"code": "TooManyRequests"}}, headers={"Retry-After": "7"}), times=2, skip=1
    )
    statuses = [http.post(URL).status_code for _ in range(4)]
    assert statuses == [201, 429, 429, 201]
    assert (cloud.state(Counts).posted, rule.hits) == (2, 2)
    [first, _] = cloud.trace.find(status=429)
    assert first.response_headers.get("retry-after") == "7"
    assert first.faults == ("Answer",)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"host": "b.*"}, 201),
        ({"host": "a.*"}, 503),
        ({"host": "*.counter.test", "method": "GET"}, 201),
        ({"method": "POST", "path": r"^/cou"}, 503),
        ({"path": r"/other$"}, 201),
    ],
)
def test_faults__rule__strikes_only_what_it_names(
    cloud: Cloud, http: requests.Session, rule: dict[str, str], expected: int
) -> None:
    added = cloud.faults.add(faults.empty_body(503), **rule)  # type: ignore[arg-type]  # a table of keywords
    answer = http.post(URL)
    assert answer.status_code == expected
    assert (added in cloud.faults.unused()) is (expected == 201)


def test_faults__html_and_empty_bodies__arrive_as_such(cloud: Cloud, http: requests.Session) -> None:
    cloud.faults.add(faults.html_error(504, "<html><title>504 Gateway Time-out</title></html>"))
    html = http.post(URL)
    assert (html.status_code, html.headers["Content-Type"], html.text[:6]) == (504, "text/html", "<html>")
    cloud.faults.add(faults.empty_body(404))
    empty = http.post(URL)
    assert (empty.status_code, empty.content) == (404, b"")


@pytest.mark.parametrize(("after_effect", "posted"), [(False, 0), (True, 1)])
def test_faults__reset__comes_before_or_after_the_effect(
    cloud: Cloud, http: requests.Session, after_effect: bool, posted: int
) -> None:
    cloud.faults.add(faults.Reset(after_effect=after_effect), times=2)
    with pytest.raises(requests.exceptions.ConnectionError, match="reset by peer"):
        http.post(URL.replace("https:", "http:"))
    assert cloud.state(Counts).posted == posted
    # Python's ssl says end of file where the socket said reset.
    with pytest.raises(requests.exceptions.ConnectionError):
        http.post(URL)
    assert cloud.state(Counts).posted == 2 * posted


def test_faults__answer_after_effect__loses_the_real_one(cloud: Cloud, http: requests.Session) -> None:
    cloud.faults.add(faults.json_error(500, {"lost": True}, after_effect=True))
    assert http.post(URL).json() == {"lost": True}
    assert cloud.state(Counts).posted == 1


def test_faults__truncated_body__ends_before_its_length(cloud: Cloud, http: requests.Session) -> None:
    cloud.faults.add(faults.TruncatedBody(sent_bytes=10))
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="10 bytes read"):
        http.post(URL)
    assert http.post(URL).json()["posted"] == 2


def test_faults__slow_body__is_late_after_its_head_and_arrives_whole(cloud: Cloud, http: requests.Session) -> None:
    cloud.faults.add(faults.SlowBody(pieces=4, pause_s=0.3), times=2)
    with http.post(URL, stream=True, timeout=0.1) as impatient:
        assert impatient.status_code == 201
        with pytest.raises(requests.exceptions.ConnectionError, match="timed out"):
            impatient.json()
    assert http.post(URL).json()["posted"] == 2


def test_faults__delay_and_changed_headers__combine(cloud: Cloud, http: requests.Session) -> None:
    cloud.faults.add(faults.Delay(seconds=0.05))
    cloud.faults.add(faults.ChangedHeaders(headers={"Retry-After": "0", "Content-Type": None}))
    answer = http.post(URL)
    assert answer.headers["Retry-After"] == "0"
    assert "Content-Type" not in answer.headers
    [exchange] = cloud.trace.find()
    assert exchange.faults == ("Delay", "ChangedHeaders")


def test_faults__read_timeout__leaves_the_effect_and_a_working_door(cloud: Cloud, http: requests.Session) -> None:
    cloud.faults.add(faults.Delay(seconds=0.5))
    with pytest.raises(requests.exceptions.ReadTimeout):
        http.post(URL, timeout=0.1)
    assert http.post(URL).status_code == 201


def test_faults__unreachable_host__is_refused_and_no_failure(azure: Emulator, http: requests.Session) -> None:
    azure.cloud.faults.add(faults.Unreachable(), host="a.*")
    with pytest.raises(requests.exceptions.ProxyError, match="502"):
        http.post(URL)
    assert azure.cloud.failures == ()
    assert http.post(URL).status_code == 201


def test_reset__rules_and_state__are_gone(azure: Emulator, http: requests.Session) -> None:
    azure.cloud.faults.add(faults.empty_body(503), times=None)
    azure.cloud.state(Counts).posted = 41
    azure.reset()
    assert http.post(URL).json()["posted"] == 1
