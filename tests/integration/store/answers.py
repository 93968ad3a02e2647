"""A tiny HTTP server that gives prepared answers, for what a real MLflow server never says on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    claimed_length: int | None = None
    """A Content-Length other than the body's: the connection ends early."""


def of_json(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status=status, body=json.dumps(value).encode(), headers=headers)


@dataclass(kw_only=True)
class AnswerServer:
    """`answers` maps a path to the answers it gives in turn, the last one for ever; `otherwise` is for all other paths."""

    otherwise: Answer
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path, and the Authorization header of every request."""
    uri: str = ""

    def next_answer(self, path: str) -> Answer:
        waiting = self.answers.get(path)
        if not waiting:
            return self.otherwise
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@contextmanager
def serve_answers(otherwise: Answer, answers: Mapping[str, list[Answer]] | None = None) -> Iterator[AnswerServer]:
    server = AnswerServer(otherwise=otherwise, answers=dict(answers or {}))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            server.requests.append((self.command, path, self.headers.get("Authorization")))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = server.next_answer(path)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            length = len(answer.body) if answer.claimed_length is None else answer.claimed_length
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = True

        do_POST = do_PUT = do_GET  # noqa: N815 (the names that http.server calls)

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    server.uri = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
