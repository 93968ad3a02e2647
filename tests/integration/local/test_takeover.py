"""A port changes hands under load: no request is lost, and afterwards the new version alone answers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field

from tests.integration.local.conftest import REQUEST, SERVICE, Machine, wait_for

TAKEOVERS = ("v2", "v3", "v4")
REQUESTS_PER_PHASE = 550
RAW_REQUEST = (
    b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    + f"Content-Length: {len(REQUEST.body)}\r\n\r\n".encode()
    + REQUEST.body
)


@dataclass
class Load:
    """Clients that never stop and never try again: half keep their connection if they may, half take a fresh one each time."""

    port: int
    pairs: int = 2
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        clients = [self.fresh, self.kept_alive] * self.pairs
        self.threads = [threading.Thread(target=self.run, args=(client,)) for client in clients]
        for thread in self.threads:
            thread.start()

    def run(self, client: object) -> None:
        assert callable(client)
        try:
            client()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a failed request
            self.failures.append(f"{client.__name__}: {error!r}")

    def fresh(self) -> None:
        while not self.is_over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self.send(connection, {"Connection": "close"})
            connection.close()

    def kept_alive(self) -> None:
        """One client object for all requests; it connects anew only when the server said that it closes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.is_over.is_set():
            self.send(connection, {"Connection": "keep-alive"})
        connection.close()

    def send(self, connection: http.client.HTTPConnection, headers: dict[str, str]) -> None:
        connection.request("POST", "/score", REQUEST.body, {"Content-Type": "application/json", **headers})
        response = connection.getresponse()
        body = response.read()
        with self.lock:
            if response.status == 200:
                self.answers[json.loads(body)[0]] += 1
            else:
                self.failures.append(f"{response.status} {body[:200]!r}")

    def await_requests(self, number: int) -> None:
        begun = self.seen().total()
        wait_for(self.seen, lambda seen: seen.total() >= begun + number or bool(self.failures), limit_s=240.0)

    def seen(self) -> Counter[str]:
        with self.lock:
            return Counter(self.answers)

    def stop(self) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join()


def test_shift__under_load_over_fresh_and_kept_connections__loses_no_request(machine: Machine) -> None:
    machine.deploy("g1", "v1", workers=2)
    port = machine.facts().port
    load = Load(port)
    try:
        load.await_requests(REQUESTS_PER_PHASE)
        for generation, model in enumerate(TAKEOVERS, start=2):
            machine.deploy(f"g{generation}", model, workers=2)
            seen = load.seen()
            load.await_requests(REQUESTS_PER_PHASE)
            late = load.seen() - seen
            del late[model]
            assert late.total() <= len(load.threads), f"answers of old versions after the takeover: {late}"
    finally:
        load.stop()
    assert load.failures == []
    assert load.answers.total() >= 2000
    assert set(load.answers) == {"v1", *TAKEOVERS}
    assert machine.facts().port == port
    assert [machine.answer() for _ in range(20)] == [[TAKEOVERS[-1]]] * 20


def test_shift__the_old_one_is_at_a_long_request_and_others_wait_in_its_queue__all_are_answered(
    served: Machine,
) -> None:
    old = served.redeploy("slow")
    port, following = served.facts().port, served.next_name()
    served.stage(following, "v2")
    served.start(following)
    busy = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    busy.request("POST", "/score", REQUEST.body.replace(b"1.0", b"5.0"), {"Content-Type": "application/json"})
    queued = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(10)]
    for each in queued:
        each.request("POST", "/score", REQUEST.body.replace(b"1.0", b"0.0"), {"Content-Type": "application/json"})
    served.serving.shift(SERVICE, following)
    # Each is read before the next: gunicorn gives a client that does not read two seconds of its worker.
    answers = [json.loads(each.getresponse().read()) for each in queued]
    assert served.answer() == ["v2"]
    served.serving.retire(SERVICE, old, keep_files=True)
    assert json.loads(busy.getresponse().read()) == ["slow"]
    assert all(each in (["v2"], ["slow"]) for each in answers)
    assert ["v2"] in answers
    for each in [*queued, busy]:
        each.close()


def test_worker__clients_connect_and_stay_silent__the_only_worker_answers_others(served: Machine) -> None:
    answer, port = served.answer(), served.facts().port
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    assert served.answer() == answer
    silent[7].sendall(RAW_REQUEST)
    assert silent[7].recv(65536).startswith(b"HTTP/1.1 200")
    for each in silent:
        each.close()


def test_candidate__before_and_after_the_shift__the_kept_port_has_one_version_at_a_time(served: Machine) -> None:
    old, answer, following = served.live(), served.answer(), served.next_name()
    early = socket.create_connection(("127.0.0.1", served.facts().port), timeout=30)
    served.stage(following, "v3")
    served.start(following)
    assert [served.answer() for _ in range(20)] == [answer] * 20
    assert served.answer(following) == ["v3"]
    served.serving.shift(SERVICE, following)
    assert (served.answer(), served.answer(following), served.answer(old)) == (["v3"], ["v3"], answer)
    early.sendall(RAW_REQUEST)
    assert early.recv(65536).startswith(b"HTTP/1.1 200"), "it connected before, and asked after"
    early.close()


def test_candidate__first_of_its_service__answers_on_its_own_port_alone(machine: Machine) -> None:
    machine.stage("g1", "v1")
    machine.start("g1")
    assert machine.answer("g1") == ["v1"]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", machine.facts().port)) != 0, "nothing listens on the kept port yet"
    machine.serving.shift(SERVICE, "g1")
    assert machine.answer() == ["v1"]
