from __future__ import annotations

import os
import socket

import pytest

from mlaz_ci.adapters.local_process import port
from mlaz_ci.errors import PortInUse

HOST = "127.0.0.1"


def test_pick__same_wish__is_the_same_port_while_it_is_free() -> None:
    first = port.pick(HOST, "churn", ())
    assert port.pick(HOST, "churn", ()) == first
    assert port.pick(HOST, "churn", {first}) != first
    with socket.create_server((HOST, first)):
        assert port.pick(HOST, "churn", ()) != first


def test_bind__somebody_listens__names_the_program() -> None:
    with socket.create_server((HOST, 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {number} is in use by .+ \(pid {os.getpid()}\)"):
            port.bind(HOST, number)
        assert not port.is_free(HOST, number)


def test_bind__held__nobody_else_has_it_and_nothing_answers() -> None:
    with port.bind(HOST, 0) as held:
        number = held.getsockname()[1]
        assert not port.is_free(HOST, number)
        with socket.socket() as client:
            assert client.connect_ex((HOST, number)) != 0


def test_bind__connections_of_the_last_owner_linger__does_not_wait_for_them() -> None:
    with socket.create_server((HOST, 0)) as server:
        number = server.getsockname()[1]
        client = socket.create_connection((HOST, number))
        accepted, _ = server.accept()
        accepted.close()  # the side that closes first keeps the connection in TIME_WAIT
        client.recv(1)
        client.close()
    port.bind(HOST, number).close()


def test_bind__not_an_address_of_this_machine__says_so() -> None:
    with pytest.raises(PortInUse, match="cannot be bound"):
        port.bind("203.0.113.1", 8080)
