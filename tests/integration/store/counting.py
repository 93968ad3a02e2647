"""A proxy that forwards TCP to a server and counts what comes back: how many bytes a client was really sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock, Thread
from urllib.parse import urlsplit


@dataclass(kw_only=True)
class Counter:
    uri: str
    received_bytes: int = 0


@contextmanager
def counting_proxy(server_uri: str) -> Iterator[Counter]:
    target = urlsplit(server_uri)
    listening = socket.create_server(("127.0.0.1", 0))
    counter = Counter(uri=f"http://127.0.0.1:{listening.getsockname()[1]}")
    guard = Lock()
    threads: list[Thread] = []

    def pump(source: socket.socket, sink: socket.socket, *, is_counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_counted:
                    with guard:
                        counter.received_bytes += len(data)
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection((target.hostname or "", target.port or 80)) as server:
            back = Thread(target=pump, args=(server, client), kwargs={"is_counted": True})
            back.start()
            pump(client, server, is_counted=False)
            back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listening.accept()
                threads.append(Thread(target=carry, args=(client,), daemon=True))
                threads[-1].start()

    accepting = Thread(target=accept)
    accepting.start()
    try:
        yield counter
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
