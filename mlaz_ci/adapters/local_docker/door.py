"""Calls into a container of our image: the request goes in as a file, the answer comes back as JSON lines of `mlaz_ci.sibling`."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mlaz_ci.adapters.local_docker.engine import engine_errors
from mlaz_ci.adapters.local_docker.envelope import decode, decode_error, encode
from mlaz_ci.errors import Bug

_DOOR: Final = ("/opt/venv/bin/python", "-I", "-u", "-m", "mlaz_ci.sibling")
_INBOX: Final = "/tmp"  # noqa: S108 - of a container that is ours alone
_CHUNK_BYTES: Final = 1 << 20

ProgressListener = Callable[[float, float | None, str], None]


def call(
    container: Any,
    method: str,
    arguments: Mapping[str, object],
    *,
    surroundings: Mapping[str, object],
    on_progress: ProgressListener | None = None,
) -> Any:
    """Run one call of the Serving port in `container`, which must be running. Raises what was raised in there."""
    request = {"call": method, "arguments": encode(arguments), "surroundings": encode(surroundings)}
    name = f"mlaz-request-{uuid.uuid4().hex}.json"
    with engine_errors(f"pass a request ({method}) to container {container.name}"):
        container.put_archive(_INBOX, _pack_bytes(name, json.dumps(request).encode()))
        api = container.client.api
        exec_id = api.exec_create(container.id, [*_DOOR, f"{_INBOX}/{name}"], workdir="/")["Id"]
        complaints: list[bytes] = []
        lines = _lines(api.exec_start(exec_id, stream=True, demux=True), complaints)
        answer = _read_answer(lines, on_progress)
        exit_code = api.exec_inspect(exec_id)["ExitCode"]
    if answer is None:
        log = b"".join(complaints).decode("utf-8", "replace")
        raise Bug(f'"{method}" in container {container.name} ended with {exit_code} and without an answer.', log=log)
    if "error" in answer:
        raise decode_error(decode(answer["error"]))
    return decode(answer["answer"])


def send_folder(container: Any, source: Path, destination: Path) -> None:
    """Copy the content of `source` to the folder `destination`, which is made, through the socket."""
    with engine_errors(f"copy {source} into container {container.name}"):
        container.put_archive("/", _pack_folder(source, str(destination).lstrip("/")))


def _lines(chunks: Iterator[tuple[bytes | None, bytes | None]], complaints: list[bytes]) -> Iterator[bytes]:
    """Lines of standard output; what comes on standard error is kept in `complaints`."""
    rest = b""
    for out, err in chunks:
        if err:
            complaints.append(err)
        *whole, rest = (rest + (out or b"")).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _read_answer(lines: Iterator[bytes], on_progress: ProgressListener | None) -> Mapping[str, Any] | None:
    answer: Mapping[str, Any] | None = None
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        match message:
            case {"progress": progress}:
                if on_progress:
                    on_progress(*decode(progress))
            case {"answer": _} | {"error": _}:
                answer = message
            case _:
                continue
    return answer


def _pack_bytes(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        entry.mode = 0o600
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _pack_folder(source: Path, destination: str) -> Iterator[bytes]:
    """A tar stream that is made while it is sent, so that a model larger than memory passes."""
    read_end, write_end = os.pipe()
    failures: list[Exception] = []

    def write() -> None:
        try:
            with (
                os.fdopen(write_end, "wb") as pipe,
                tarfile.open(fileobj=pipe, mode="w|", dereference=True) as archive,
            ):
                archive.add(source, arcname=destination, filter=_owned_by_root)
        except (OSError, tarfile.TarError) as error:
            failures.append(error)

    writer = threading.Thread(target=write, name="pack-model", daemon=True)
    writer.start()
    with os.fdopen(read_end, "rb") as pipe:
        while chunk := pipe.read(_CHUNK_BYTES):
            yield chunk
    writer.join()
    if failures:
        raise failures[0]


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
