"""No signature, key or token in any text that is shown or raised, whatever goes wrong."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest
import requests

from mlaz_ci.errors import MlazError
from mlaz_ci.models import Lock, RunSource, VersionSource
from tests.azure import faults, storage, world
from tests.azure.state import Cloud
from tests.fakes.platform import RecordingPlatform, RecordingProgress
from tests.integration.azure.store.conftest import OpenStore
from tests.integration.azure.store.models import FILES, Shelf

BLOB = "*.blob.core.windows.net"
LOCK = Lock(text="a==1\n", python_version="3.11", server_range="==1.5.*", base_image="i:1")
EXPIRED = {"error": {"code": "AuthenticationFailed", "message": "Signature not valid in the specified time frame"}}


@dataclass
class Texts:
    """Everything that left the store in words."""

    said: list[str] = field(default_factory=list)

    def of(self, act: Callable[[], object]) -> None:
        try:
            self.said.append(repr(act()))
        except MlazError as error:
            self.said += [str(error), repr(error), error.log, "".join(traceback.format_exception(error))]


def canaries(cloud: Cloud) -> set[str]:
    """What must be in none of them: as it stood on the wire, and as it reads."""
    found: set[str] = {cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT].key, world.CLIENT_SECRET}
    for exchange in cloud.trace.find():
        text = f"{exchange.target} {exchange.response_body.decode('utf-8', 'replace')}"
        found |= set(re.findall(r"[?&]sig=([^&\s\"]+)", text))
        found.add((exchange.request_headers.get("Authorization") or "").removeprefix("Bearer "))
    return {form for each in found for form in (each, unquote(each)) if len(form) > 8}


FAULTS: dict[str, Callable[[], faults.Fault]] = {
    "nothing": lambda: faults.Delay(seconds=0),
    "reset": faults.Reset,
    "truncated": lambda: faults.TruncatedBody(sent_bytes=3),
    "unreachable": faults.Unreachable,
    "expired": lambda: faults.json_error(403, EXPIRED),
    "refused": lambda: faults.json_error(403, {"error": {"code": "AuthorizationFailure", "message": "no"}}),
    "gone": lambda: faults.json_error(404, {"error": {"code": "BlobNotFound", "message": "gone"}}),
    "page": lambda: faults.html_error(503, "<html>down</html>"),
    "conflict": lambda: faults.json_error(409, {"error": {"code": "Busy", "message": "busy"}}),
}


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, cloud: Cloud) -> Iterator[Callable[[], None]]:
    def lay() -> None:
        cloud.faults.add(FAULTS[request.param](), host=BLOB, times=None)

    yield lay
    cloud.take_failures("refused-host")


def test_secrets__of_a_run__in_no_text(
    fault: Callable[[], None], shelf: Shelf, open_store: OpenStore, platform: RecordingPlatform, tmp_path: Path
) -> None:
    cloud = shelf.cloud
    source = RunSource(run_id=shelf.log_model().id, path="model")
    store, texts = open_store(), Texts()
    model = store.resolve(source, name=None)
    store.fetch(model, tmp_path / "before", RecordingProgress("model"))
    fault()

    texts.of(lambda: open_store().resolve(source, name=None))
    texts.of(lambda: store.fetch(model, tmp_path / "got", RecordingProgress("model")))
    texts.of(lambda: store.keep_lock(model, LOCK))
    texts.of(lambda: vars(store))
    texts.of(
        lambda: vars(store._connection) | {"listings": [vars(each) for each in store._connection._listings.values()]}
    )

    secrets = canaries(cloud)
    assert sum("sig=" in one.target for one in cloud.trace.find()) >= 5
    assert len(secrets) > 10
    everything = "\n".join([*texts.said, platform.text])
    assert not {each for each in secrets if each in everything}


def test_secrets__of_a_datastore__in_no_text(
    fault: Callable[[], None], shelf: Shelf, open_store: OpenStore, cloud: Cloud, platform: RecordingPlatform
) -> None:
    shelf.put("LocalUpload/1/model", FILES, f"azureml-blobstore-{world.WORKSPACE_ID}")
    shelf.register("churn", "azureml://datastores/workspaceblobstore/paths/LocalUpload/1/model")
    texts = Texts()
    fault()
    store = open_store()
    texts.of(lambda: store.resolve(VersionSource(name="churn", version="1"), name=None))
    texts.of(lambda: vars(store))
    everything = "\n".join([*texts.said, platform.text])
    assert not {each for each in canaries(cloud) if each in everything}


def test_signature__that_was_used__masked_on_the_platform(
    shelf: Shelf, open_store: OpenStore, cloud: Cloud, platform: RecordingPlatform, tmp_path: Path
) -> None:
    run, store = shelf.log_model(), open_store()
    model = store.resolve(RunSource(run_id=run.id, path="model"), name=None)
    store.fetch(model, tmp_path / "got", RecordingProgress("model"))
    signed = [one.target for one in cloud.trace.find(host="blob.core")]
    for target in signed:
        platform.info(f"a client says {target} and {unquote(target)}")
    assert len(signed) >= len(FILES)
    assert not {each for each in canaries(cloud) if each in platform.text}
    assert requests.utils.unquote(signed[0]).partition("sig=")[2][:10] not in platform.text
