"""What uv 0.13.9 wrote on each occasion, and the error or answer that is made of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mlaz_ci.adapters.uv.answers import demand_success, error_of, read_resolution
from mlaz_ci.adapters.uv.command import Completed
from mlaz_ci.adapters.uv.indexes import Indexes
from mlaz_ci.errors import (
    DiskFull,
    EnvironmentBuildFailed,
    InvalidInput,
    PackageIndexAccessDenied,
    PackageIndexUnreachable,
)

INDEXES = Indexes(variables={}, options=(), netrc="", description="https://feed.example/simple")
FULL = """error: Failed to install: numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl (numpy==1.26.4)
  cause: failed to copy file from /cache/x.so to /env/x.so: No space left on device (os error 28)
"""
REFUSED = """error: Request failed after 3 retries in 10.6s
  cause: Failed to fetch: http://127.0.0.1:9/simple/flask/
  cause: error sending request for url (http://127.0.0.1:9/simple/flask/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""
UNTRUSTED = """error: Failed to fetch: https://feed.example/simple/numpy/
  cause: error sending request for url (https://feed.example/simple/numpy/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer

hint: Consider enabling use of system TLS certificates with the `--system-certs` command-line flag
"""
DENIED = """error: No solution found when resolving dependencies
  cause: Because alpha was not found in the package registry and you require alpha, we can conclude that your requirements are unsatisfiable.

hint: An index URL (https://feed.example/simple) could not be queried due to a lack of valid authentication credentials (401 Unauthorized)
"""
BUILD = """error: Failed to build `alpha==1.0`
  cause: The build backend returned an error
         urllib.error.URLError: <urlopen error [Errno 111] Connection refused>
"""
YANKED = """Resolved 1 package in 437ms
warning: `attrs==21.1.0` is yanked (reason: "Installable but not importable on Python 3.4.")
"""


def answer(messages: str, *, exit_code: int = 1, is_timed_out: bool = False):
    done = Completed(exit_code=exit_code, output="text", messages=messages, is_timed_out=is_timed_out)
    return read_resolution(done, INDEXES, 300.0)


@pytest.mark.parametrize(("messages", "kind"), [
    (FULL, DiskFull), (REFUSED, PackageIndexUnreachable), (DENIED, PackageIndexAccessDenied),
], ids=["disk", "network", "credentials"])  # fmt: skip
def test_read_resolution__not_the_models_fault__raised_with_uvs_words(messages, kind):
    with pytest.raises(kind) as raised:
        answer(messages)
    assert raised.value.log == messages.strip()


def test_read_resolution__index_cannot_be_read__says_why_and_what_helps():
    with pytest.raises(PackageIndexUnreachable) as refused:
        answer(REFUSED)
    assert refused.value.what == (
        "The package index could not be read (https://feed.example/simple): Connection refused (os error 111)."
    )
    with pytest.raises(PackageIndexUnreachable) as untrusted:
        answer(UNTRUSTED)
    assert untrusted.value.what.endswith(": invalid peer certificate: UnknownIssuer.")
    assert untrusted.value.remedy_text.startswith("Set SSL_CERT_FILE")


def test_read_resolution__ended_by_us__index_unreachable():
    with pytest.raises(PackageIndexUnreachable, match="within 300 s"):
        answer("", exit_code=-9, is_timed_out=True)


def test_read_resolution__build_that_fails_on_the_network__conflict_of_that_package():
    assert answer(BUILD).conflict == BUILD.strip()


def test_read_resolution__nothing_said__conflict_says_that():
    assert answer("", exit_code=101).conflict == "uv ended with 101"


def test_read_resolution__success__text_and_warnings():
    found = answer(YANKED, exit_code=0)
    assert (found.text, found.conflict, found.index) == ("text", None, INDEXES.description)
    assert found.warnings == ('`attrs==21.1.0` is yanked (reason: "Installable but not importable on Python 3.4.")',)


@pytest.mark.parametrize(("done", "kind"), [
    (Completed(exit_code=2, output="", messages=FULL), DiskFull),
    (Completed(exit_code=1, output="", messages="error: Hash mismatch"), EnvironmentBuildFailed),
    (Completed(exit_code=-9, output="", messages="", is_timed_out=True), EnvironmentBuildFailed),
], ids=["disk", "hash", "time"])  # fmt: skip
def test_demand_success__failed__raised(done, kind):
    with pytest.raises(kind):
        demand_success(done, "It failed.")


def test_demand_success__url_with_a_login_in_uvs_words__masked():
    done = Completed(exit_code=1, output="", messages="error: https://ada:s3cr3t-canary@feed.example/simple")
    with pytest.raises(EnvironmentBuildFailed) as raised:
        demand_success(done, "It failed.")
    assert raised.value.log == "error: https://***@feed.example/simple"


@pytest.mark.parametrize(("number", "kind"), [
    (errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EACCES, InvalidInput), (errno.EROFS, InvalidInput),
])  # fmt: skip
def test_error_of__our_own_file_work_fails__full_disk_told_apart(number, kind):
    assert type(error_of(OSError(number, "no"), Path("/home/uv"))) is kind


def test_error_of__home_that_cannot_be_written__the_configuration_is_told_and_no_retry():
    error = error_of(PermissionError(errno.EACCES, "Permission denied"), Path("/home/uv"))

    assert (error.exit_code, error.retryable) == (2, False)
    assert error.what == "/home/uv cannot be written: Permission denied."
    assert "MLAZ_HOME" in error.remedy_text
