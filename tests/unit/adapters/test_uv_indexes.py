from __future__ import annotations

import pytest

from mlaz_ci.adapters.uv.indexes import read_indexes

CANARY = "s3cr3t-canary"
PLAIN = "https://x.example/simple"
WITH_LOGIN = f"https://ada:{CANARY}@x.example/simple"
NETRC = f"machine x.example login ada password {CANARY}\n"


def test_read_indexes__nothing_set__nothing():
    found = read_indexes({"GITHUB_TOKEN": CANARY, "AZURE_CLIENT_SECRET": CANARY})
    assert (dict(found.variables), found.netrc, found.description) == ({}, "", "")


@pytest.mark.parametrize(
    "name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"]
)
def test_read_indexes__login_in_a_url__moved_to_the_netrc(name):
    found = read_indexes({name: WITH_LOGIN})
    assert dict(found.variables) == {name: PLAIN}
    assert found.netrc == NETRC
    assert CANARY not in found.description


def test_read_indexes__login_by_name__moved_to_the_netrc():
    found = read_indexes(
        {"UV_INDEX": f"our-feed={PLAIN}", "UV_INDEX_OUR_FEED_USERNAME": "ada", "UV_INDEX_OUR_FEED_PASSWORD": CANARY}
    )
    assert dict(found.variables) == {"UV_INDEX": f"our-feed={PLAIN}"}
    assert found.netrc == NETRC


def test_read_indexes__escaped_password__as_it_is_meant():
    assert (
        read_indexes({"UV_INDEX": "https://ada:p%40ss@x.example/"}).netrc
        == "machine x.example login ada password p@ss\n"
    )


@pytest.mark.parametrize(("pip", "uv"), [
    ({"PIP_INDEX_URL": PLAIN}, {"UV_DEFAULT_INDEX": PLAIN}),
    ({"PIP_EXTRA_INDEX_URL": f"{PLAIN} https://y.example/"}, {"UV_EXTRA_INDEX_URL": f"{PLAIN} https://y.example/"}),
    ({"PIP_FIND_LINKS": "/a /b"}, {"UV_FIND_LINKS": "/a,/b"}),
    ({"PIP_TRUSTED_HOST": "x.example"}, {"UV_INSECURE_HOST": "x.example"}),
    ({"PIP_INDEX_URL": PLAIN, "UV_DEFAULT_INDEX": "https://y.example/"}, {"UV_DEFAULT_INDEX": "https://y.example/"}),
    ({"PIP_INDEX_URL": PLAIN, "UV_INDEX_URL": "https://y.example/"}, {"UV_INDEX_URL": "https://y.example/"}),
    ({"PIP_INDEX_URL": ""}, {}),
], ids=str)  # fmt: skip
def test_read_indexes__pips_variables__as_uvs_unless_uvs_are_set(pip, uv):
    assert dict(read_indexes(pip).variables) == uv


@pytest.mark.parametrize(("environ", "expected"), [
    ({"REQUESTS_CA_BUNDLE": "/ca.pem"}, {"SSL_CERT_FILE": "/ca.pem"}),
    ({"PIP_CERT": "/ca.pem"}, {"SSL_CERT_FILE": "/ca.pem"}),
    ({"PIP_CERT": "/ca.pem", "SSL_CERT_FILE": "/other.pem"}, {}),
], ids=str)  # fmt: skip
def test_read_indexes__certificates_of_other_clients__given_to_uv(environ, expected):
    assert dict(read_indexes(environ).variables) == expected


@pytest.mark.parametrize(("environ", "description"), [
    ({"UV_DEFAULT_INDEX": WITH_LOGIN}, PLAIN),
    ({"UV_INDEX": f"feed={PLAIN}"}, f"the default package index, feed={PLAIN}"),
    ({"PIP_FIND_LINKS": "/wheels"}, "the default package index, /wheels"),
    ({"PIP_NO_INDEX": "1", "UV_FIND_LINKS": "/wheels"}, "/wheels"),
], ids=str)  # fmt: skip
def test_read_indexes__description__what_is_asked_in_words(environ, description):
    assert read_indexes(environ).description == description


def test_read_indexes__two_logins_for_one_host__the_second_stays_where_it_was():
    found = read_indexes({"UV_DEFAULT_INDEX": WITH_LOGIN, "UV_INDEX": "https://bob:other@x.example/b"})
    assert found.netrc == NETRC
    assert found.variables["UV_INDEX"] == "https://bob:other@x.example/b"
    assert "other" not in found.description


@pytest.mark.parametrize(("value", "options"), [("1", ("--no-index",)), ("true", ("--no-index",)), ("0", ()), ("", ())])
def test_read_indexes__pip_is_told_to_ask_none__so_is_uv(value, options):
    assert read_indexes({"PIP_NO_INDEX": value}).options == options
