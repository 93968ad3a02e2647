"""Callers of an endpoint that never stop: half of them over one connection each, half over a fresh one for every request."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from tests.azure.server import Emulator

HOST = "churn.eastus.inference.ml.azure.com"


@dataclass
class Callers:
    """`failed` are the answers that were none; `served` and `refused` count deployments by whose answer it was, `models` what they said."""

    azure: Emulator
    key: str
    body: bytes
    clients: int = 2
    pace_s: float = 0.04
    total: int = 0
    failed: list[str] = field(default_factory=list)
    refused: Counter[str | None] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    _window: Counter[str] = field(default_factory=Counter)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for number in range(self.clients):
            thread = threading.Thread(target=self._call, args=(number % 2 == 0,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for each in self._threads:
            each.join(60)

    def wait_for(self, total: int) -> None:
        until = time.monotonic() + 120
        while self.total < total and time.monotonic() < until:
            time.sleep(0.02)

    def next(self, count: int) -> dict[str, float]:
        """The share of each model in the answers to so many requests that begin from now on."""
        with self._lock:
            seen = self._window = Counter[str]()
        until = time.monotonic() + 120
        while seen.total() < count and time.monotonic() < until:
            time.sleep(0.02)
        with self._lock:
            return {model: number / seen.total() for model, number in seen.items()}

    def _connection(self) -> http.client.HTTPSConnection:
        door, port = self.azure.url.removeprefix("http://").split(":")
        context = ssl.create_default_context(cafile=str(self.azure.ca_file))
        connection = http.client.HTTPSConnection(door, int(port), context=context, timeout=60)
        connection.set_tunnel(HOST, 443)
        return connection

    def _call(self, keeps: bool) -> None:
        connection = self._connection()
        due = time.monotonic()
        while not self._stopping.is_set():
            due += self.pace_s
            time.sleep(max(0.0, due - time.monotonic()))
            if not keeps:
                connection.close()
                connection = self._connection()
            try:
                self._once(connection)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.total += 1
                    self.failed.append(f"{type(error).__name__}: {error}")
                connection = self._connection()
        connection.close()

    def _once(self, connection: http.client.HTTPSConnection) -> None:
        window = self._window
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request("POST", "/score", body=self.body, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        with self._lock:
            self.total += 1
            if answer.status == 200:
                self.served[answer.headers["azureml-model-deployment"]] += 1
                model = json.dumps(json.loads(content))
                self.models[model] += 1
                window[model] += 1
            else:
                who = answer.headers.get("azureml-model-deployment")
                self.failed.append(f"{answer.status} {content[:200]!r}")
                self.refused[who] += 1
