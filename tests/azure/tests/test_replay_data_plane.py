"""Recorded exchanges of real Azure, played against the data plane's rooms: same status, same headers, same members.

The recordings are Microsoft's (wire/samples/real_exchanges.json); names in them were blanked before they were published, so
each is asked of the emulator in its own names, with what the recording shows to have been there put there first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests

from tests.azure import runs, storage, world
from tests.azure.arm import workspaces
from tests.azure.state import Cloud
from tests.azure.tests import test_mms_errors

client = test_mms_errors.client

DATA_PLANE = f"https://{world.REGION}.api.azureml.ms"
BLOB = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net/{storage.BLOB_CONTAINER}"
# What the recorded uploads of a model sent.
_SENT = b"hello\n"
RUN = "11111111-0000-4000-8000-000000000000"
# By their place among the 89. The others are ARM's, a scoring host's or a registry's.
ROWS = (0, 1, 3, 4, 5, *range(6, 21), 56, *range(59, 89))
# Headers of the connection, of a moment, or of a cache; none that a client reads.
_IGNORED = {"connection", "content-length", "transfer-encoding", "date", "content-encoding", "x-cache", "keep-alive"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    number: int
    exchange: dict[str, Any]

    @property
    def path(self) -> str:
        return urlsplit(str(self.exchange["uri"])).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.exchange["uri"]).query, keep_blank_values=True))

    @property
    def headers(self) -> set[str]:
        return {name.lower() for name in self.exchange["response_headers"]} - _IGNORED


@pytest.fixture
def row(request: pytest.FixtureRequest, wire: Path) -> Row:
    exchanges = json.loads((wire / "samples" / "real_exchanges.json").read_text(encoding="utf-8"))
    return Row(number=request.param, exchange=exchanges[request.param])


def _members(value: Any, prefix: str = "") -> Iterator[str]:
    """The names of members, by path; those of lists once, whatever their length."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield f"{prefix}/{name}"
            yield from _members(entry, f"{prefix}/{name}")
    elif isinstance(value, list):
        for entry in value:
            yield from _members(entry, f"{prefix}/*")


def _lay_run(cloud: Cloud, run_id: str = RUN) -> None:
    key = cloud.state(workspaces.Workspaces).default.key
    runs.create_run(
        cloud,
        key,
        runs.default_experiment(cloud, key),
        run_id=run_id,
        artifact_uri="azureml://x",
        name="test",
        user_id=world.CLIENT_OBJECT_ID,
        tenant_id=world.TENANT_ID,
        start_ms=1,
    )


def _sas(cloud: Cloud) -> str:
    return storage.issue_sas(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, permissions="racwdl")


def _lay_blob(cloud: Cloud, row: Row) -> None:
    """A blob as the recording's own headers describe it."""
    headers = {name.lower(): values[0] for name, values in row.exchange["response_headers"].items()}
    blob = storage.write(cloud, world.STORAGE_ACCOUNT, storage.BLOB_CONTAINER, "folder/file", b"x" * 600)
    blob.metadata = {name[10:]: value for name, value in headers.items() if name.startswith("x-ms-meta-")}
    if "content-md5" not in headers and "x-ms-blob-content-md5" not in headers:
        blob.content_md5 = ""


def _ask_blob(row: Row, http: requests.Session, cloud: Cloud) -> requests.Response:
    exchange = row.exchange
    method, status, query = exchange["method"], exchange["status"], {}
    if status in {200, 206}:
        _lay_blob(cloud, row)
    headers = {"x-ms-version": "2023-11-03"}
    url = f"{BLOB}/folder/file"
    if method == "GET" and status == 200:
        url, query = (
            BLOB,
            {"restype": "container", "comp": "list"}
            | {
                name: value
                for name, value in {**row.query, "prefix": "folder/"}.items()
                if name in {"prefix", "delimiter", "include"}
            },
        )
    elif method == "GET":
        headers["x-ms-range"] = "bytes=0-33554431"
    elif method == "PUT" and status == 201:
        headers["x-ms-blob-type"] = "BlockBlob"
    elif method == "PUT":
        query = {"comp": "metadata"}
    target = f"{url}?{urlencode(query)}&{_sas(cloud)}"
    return http.request(method, target, headers=headers, data=_SENT if method == "PUT" and not query else None)


def _ask_data_plane(row: Row, client: requests.Session, cloud: Cloud) -> requests.Response:
    below = row.path.partition("/workspaces/00000")[2]
    base = DATA_PLANE + row.path.partition("/subscriptions/")[0] + world.WORKSPACE_SCOPE
    body = dict(row.exchange["request_body"] or {})
    if row.number == 0:
        _lay_run(cloud, body["runId"])
    elif row.number == 4:
        _lay_run(cloud)
        body["runId"] = RUN
        below = f"/experimentids/0/runs/{RUN}"
    return client.request(row.exchange["method"], base + below, json=body)


@pytest.mark.parametrize("row", ROWS, indirect=True, ids=lambda number: f"row{number}")
def test_recording__played_here__is_answered_alike(row: Row, client: requests.Session, cloud: Cloud) -> None:
    is_blob = ".blob.core.windows.net" in row.exchange["uri"]
    ask: Callable[[Row, requests.Session, Cloud], requests.Response] = _ask_blob if is_blob else _ask_data_plane
    if is_blob:
        client.headers.pop("Authorization")
    answer = ask(row, client, cloud)
    assert answer.status_code == row.exchange["status"]
    missing = row.headers - {name.lower() for name in answer.headers}
    assert missing == set()
    if is_blob and answer.request.method == "GET" and answer.status_code == 200:
        assert _tags(answer.text) == _tags(row.exchange["response_body"])
    elif not is_blob:
        _same_members(row, answer.json())


def _tags(text: str) -> list[str]:
    """The elements up to the end of the first blob: the recordings are cut off later. Metadata are the uploader's own."""
    first = text.partition("</Blob>")[0]
    return re.findall(r"<([A-Za-z][\w-]*)", re.sub(r"<Metadata>.*?</Metadata>", "<Metadata />", first))


# Members that depend on what the run was: the recorded ones are promptflow's.
_OF_THE_RUN = ("/runMetadata/properties/", "/runMetadata/tags/", "/runMetadata/outputs/", "/properties/", "/tags/")


def _same_members(row: Row, told: Any) -> None:
    def kept(value: Any) -> set[str]:
        return {path for path in _members(value) if not path.startswith(_OF_THE_RUN)}

    assert kept(told) == kept(row.exchange["response_body"])


@pytest.mark.parametrize("row", [19, 77], indirect=True, ids=lambda number: f"row{number}")
def test_recorded_upload__of_the_same_bytes__gets_azures_checksum(
    row: Row, client: requests.Session, cloud: Cloud
) -> None:
    client.headers.pop("Authorization")
    assert row.exchange["request_body"] == _SENT.decode()
    answer = _ask_blob(row, client, cloud)
    assert answer.headers["x-ms-content-crc64"] == row.exchange["response_headers"]["x-ms-content-crc64"][0]
