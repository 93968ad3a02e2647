"""Blob storage with Azure's own client: what uploads, downloads and atomic marks rest on."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.azure import blob, entra, roles, storage, world
from tests.azure.clock import FakeClock
from tests.azure.server import Emulator
from tests.azure.state import Cloud

blobs = pytest.importorskip("azure.storage.blob", reason="needs requirements/azure-tests.txt")
core = pytest.importorskip("azure.core.exceptions")
identity = pytest.importorskip("azure.identity")
conditions = pytest.importorskip("azure.core").MatchConditions

URL = f"https://{world.STORAGE_ACCOUNT}.blob.core.windows.net"
CONTAINER = storage.BLOB_CONTAINER


@pytest.fixture(scope="module")
def session_azure() -> Iterator[Emulator]:
    with Emulator(rooms=[entra.room, blob.room]) as azure:
        yield azure


@pytest.fixture
def account(cloud: Cloud) -> storage.Account:
    return cloud.state(storage.Accounts).by_name[world.STORAGE_ACCOUNT]


def _container(credential: Any, **options: Any) -> Any:
    return blobs.ContainerClient(URL, CONTAINER, credential=credential, retry_total=0, **options)


@pytest.fixture
def container(account: storage.Account) -> Any:
    return _container({"account_name": account.name, "account_key": account.key})


def _sas(cloud: Cloud, permissions: str, name: str = "", lifetime_s: float = 3600) -> str:
    return storage.issue_sas(
        cloud, world.STORAGE_ACCOUNT, CONTAINER, blob=name, permissions=permissions, lifetime_s=lifetime_s
    )


def _token() -> Any:
    return identity.ClientSecretCredential(world.TENANT_ID, world.CLIENT_ID, world.CLIENT_SECRET)


def test_blob__uploaded_with_the_account_key__is_read_back_whole(container: Any) -> None:
    one = container.upload_blob("folder/a file.txt", b"hello", metadata={"name": "m", "version": "1"})
    properties = one.get_blob_properties()
    assert one.download_blob().readall() == b"hello"
    assert (properties.size, properties.metadata) == (5, {"name": "m", "version": "1"})
    assert properties.content_settings.content_md5 is not None


def test_blob__larger_than_one_request__is_put_together_from_blocks_and_read_in_ranges(
    account: storage.Account, cloud: Cloud
) -> None:
    content = os.urandom(300_000)
    small = _container(
        account.key,
        max_block_size=64_000,
        max_single_put_size=64_000,
        max_single_get_size=50_000,
        max_chunk_get_size=50_000,
    )
    small.upload_blob("big.bin", content, max_concurrency=3)
    assert small.download_blob("big.bin", max_concurrency=3).readall() == content
    assert len(cloud.trace.find(method="PUT", path="big.bin")) == 6
    assert {exchange.status for exchange in cloud.trace.find(method="GET", path="big.bin")} == {206}
    committed, uncommitted = small.get_blob_client("big.bin").get_block_list("all")
    assert ([block.size for block in committed], uncommitted) == ([64_000] * 4 + [44_000], [])


def test_block_list__of_a_committed_and_a_new_block__keeps_the_old_content(container: Any) -> None:
    one = container.get_blob_client("log.txt")
    first, second = (base64.b64encode(name.encode()).decode() for name in ("0", "1"))
    one.stage_block(first, b"first ")
    one.commit_block_list([blobs.BlobBlock(first)])
    one.stage_block(second, b"second")
    one.commit_block_list([blobs.BlobBlock(first), blobs.BlobBlock(second)])
    assert one.download_blob().readall() == b"first second"


def test_block_list__with_a_block_nobody_uploaded__is_refused(container: Any) -> None:
    one = container.get_blob_client("log.txt")
    with pytest.raises(core.HttpResponseError) as refused:
        one.commit_block_list([blobs.BlobBlock(base64.b64encode(b"missing").decode())])
    assert refused.value.error_code == "InvalidBlockList"


def test_blob__that_is_empty__is_read_back_empty(container: Any) -> None:
    container.upload_blob("empty", b"")
    assert container.download_blob("empty").readall() == b""


def test_blob__that_is_there__is_not_made_twice(container: Any) -> None:
    container.upload_blob("mark", b"mine")
    with pytest.raises(core.ResourceExistsError) as refused:
        container.upload_blob("mark", b"yours")
    assert refused.value.error_code == "BlobAlreadyExists"
    assert container.download_blob("mark").readall() == b"mine"


def test_blob__written_since_it_was_read__is_not_overwritten(container: Any) -> None:
    read = container.upload_blob("state", b"1").get_blob_properties()
    container.upload_blob("state", b"2", overwrite=True)
    with pytest.raises(core.ResourceModifiedError) as refused:
        container.upload_blob("state", b"3", overwrite=True, etag=read.etag, match_condition=conditions.IfNotModified)
    assert refused.value.error_code == "ConditionNotMet"


def test_blob__unchanged_since_its_etag__is_not_sent_again(
    container: Any, http: requests.Session, cloud: Cloud
) -> None:
    etag = container.upload_blob("state", b"1").get_blob_properties().etag
    url = f"{URL}/{CONTAINER}/state?{_sas(cloud, 'r')}"
    assert http.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert http.get(url, headers={"If-Match": '"other"'}).status_code == 412


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("bytes=2-4", (206, "bytes 2-4/10")),
        ("bytes=8-", (206, "bytes 8-9/10")),
        ("bytes=0-99", (206, "bytes 0-9/10")),
        ("bytes=10-", (416, "")),
    ],
)
def test_range__of_ten_bytes__is_cut_as_asked(
    container: Any, http: requests.Session, cloud: Cloud, asked: str, answered: tuple[int, str]
) -> None:
    container.upload_blob("ten", b"0123456789")
    answer = http.get(f"{URL}/{CONTAINER}/ten?{_sas(cloud, 'r')}", headers={"Range": asked})
    assert (answer.status_code, answer.headers.get("Content-Range", "")) == answered


def test_listing__by_prefix_page_and_folder__gives_each_name_once(container: Any) -> None:
    for name in ("a/1", "a/2", "a/b/3", "c"):
        container.upload_blob(name, b"x", metadata={"hdi_isfolder": "true"} if name == "c" else None)
    pages = [[one.name for one in page] for page in container.list_blobs(results_per_page=3).by_page()]
    assert pages == [["a/1", "a/2", "a/b/3"], ["c"]]
    assert sorted(one.name for one in container.walk_blobs(name_starts_with="a/")) == ["a/1", "a/2", "a/b/"]
    assert [one.metadata for one in container.list_blobs("c", include="metadata")] == [{"hdi_isfolder": "true"}]


def test_blob__deleted__is_gone_and_its_next_delete_says_so(container: Any) -> None:
    container.upload_blob("one", b"x")
    container.delete_blob("one")
    with pytest.raises(core.ResourceNotFoundError) as refused:
        container.delete_blob("one")
    assert refused.value.error_code == "BlobNotFound"
    assert list(container.list_blobs()) == []


def test_container__made_and_deleted__is_listed_between(account: storage.Account) -> None:
    service = blobs.BlobServiceClient(URL, credential=account.key, retry_total=0)
    service.create_container("fresh")
    with pytest.raises(core.ResourceExistsError):
        service.create_container("fresh")
    assert "fresh" in [one.name for one in service.list_containers()]
    service.delete_container("fresh")
    with pytest.raises(core.ResourceNotFoundError) as refused:
        service.get_blob_client("fresh", "x").upload_blob(b"x")
    assert refused.value.error_code == "ContainerNotFound"


def test_sas__for_one_blob__allows_what_it_says_and_no_more(cloud: Cloud) -> None:
    _container(_sas(cloud, "cw", "mine")).upload_blob("mine", b"x")
    for permissions, name in (("r", "mine"), ("cw", "other")):
        with pytest.raises(core.HttpResponseError) as refused:
            _container(_sas(cloud, permissions, "mine")).upload_blob(name, b"y", overwrite=True)
        assert refused.value.status_code == 403


def test_sas__expired__is_refused(cloud: Cloud, fake_clock: FakeClock) -> None:
    reading = _container(_sas(cloud, "rl", lifetime_s=60))
    assert list(reading.list_blobs()) == []
    fake_clock.advance(61)
    with pytest.raises(core.ClientAuthenticationError) as refused:
        list(reading.list_blobs())
    assert refused.value.error_code == "AuthenticationFailed"


def test_key__that_is_wrong__is_refused(account: storage.Account) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    with pytest.raises(core.ClientAuthenticationError):
        _container({"account_name": account.name, "account_key": wrong}).upload_blob("x", b"x")


def test_token__with_contributor_alone__may_not_touch_blobs(cloud: Cloud) -> None:
    with pytest.raises(core.HttpResponseError) as refused:
        _container(_token()).upload_blob("x", b"x")
    assert refused.value.error_code == "AuthorizationPermissionMismatch"
    cloud.state(roles.Assignments).assign(
        world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, world.RESOURCE_GROUP_SCOPE
    )
    _container(_token()).upload_blob("x", b"x")


def test_account__without_shared_keys__takes_tokens_alone(account: storage.Account, cloud: Cloud) -> None:
    account.allows_shared_key = False
    cloud.state(roles.Assignments).assign(
        world.CLIENT_OBJECT_ID, roles.STORAGE_BLOB_DATA_CONTRIBUTOR, world.RESOURCE_GROUP_SCOPE
    )
    for credential in (account.key, _sas(cloud, "rcw")):
        with pytest.raises(core.HttpResponseError) as refused:
            _container(credential).upload_blob("x", b"x")
        assert refused.value.error_code == "KeyBasedAuthenticationNotPermitted"
        assert "Key based authentication is not permitted on this storage account." in str(refused.value)
    _container(_token()).upload_blob("x", b"x")


def test_account__closed_to_the_public__refuses_a_valid_key(account: storage.Account, container: Any) -> None:
    account.allows_public_network = False
    with pytest.raises(core.HttpResponseError) as refused:
        container.upload_blob("x", b"x")
    assert refused.value.error_code == "AuthorizationFailure"


def test_blob__asked_for_by_nobody__is_not_public(http: requests.Session) -> None:
    answer = http.get(f"{URL}/{CONTAINER}/x")
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (409, "PublicAccessNotPermitted")


def test_account__that_is_not_there__fails_the_test(http: requests.Session, cloud: Cloud) -> None:
    assert http.get("https://nobody.blob.core.windows.net/c/b").status_code == 502
    assert len(cloud.take_failures("refused-host")) == 1


def test_upload__whose_digest_differs__is_refused(http: requests.Session, cloud: Cloud) -> None:
    headers = {"x-ms-blob-type": "BlockBlob", "Content-MD5": base64.b64encode(b"0" * 16).decode()}
    answer = http.put(f"{URL}/{CONTAINER}/x?{_sas(cloud, 'cw')}", data=b"x", headers=headers)
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (400, "Md5Mismatch")
