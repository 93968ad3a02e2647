from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.errors import MlazError
from mlaz_ci.inputs import lines_of_pem, parse_config, secrets_of_config
from mlaz_ci.report.masking import Masker
from tests.unit.inputs.test_totality import TEXTS

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqh\nkiG9w0BAQEFAASCB\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("aci:\n  primary_key: canary-1\n", "canary-1"),
        ("aks: {secondary_key: 'canary-1', num_replicas: 2}\n", "canary-1"),
        ('aci: {"primary_key": "canary-1"}\n', "canary-1"),
        ("aci:\n  primary-key: canary-1  # ours\n", "canary-1"),
        ("aci:\n  primaryKey: canary-1\n", "canary-1"),
        ("aci:\n  primry_key: canary-1\n", "canary-1"),
        ("aci:\n  primary_key: |\n    canary-1\n  secondary_key: b\n", "canary-1"),
        ("aci:\n  primary_key: !x canary-1\n", "canary-1"),
        ("aci:\n  primary_key: [canary-1, {a: canary-2}]\n", "canary-2"),
        ("model-name: &k canary-1\naci:\n  primary_key: *k\n", "canary-1"),
        ("primary_key: canary-1\n", "canary-1"),
        ("client-secret: canary-1\n", "canary-1"),
        ("client-certificate-password: canary-1\n", "canary-1"),
        ("creds: '{\"clientSecret\": \"canary-1\"}'\n", "canary-1"),
        ("environment-variables: {DB_PASSWORD: canary-1}\n", "canary-1"),
        ("managed: {deployment: {environmentVariables: {API_TOKEN: canary-1}}}\n", "canary-1"),
        ("tracking-uri: https://me:canary-1@tracking.example.com\n", "canary-1"),
        # None of these is YAML.
        ("aci: {primary_key: canary-1\n", "canary-1"),
        ("aci:\n\tprimary_key: canary-1\n", "canary-1"),
        ("aci:\n  primary_key: 'canary-1\n", "canary-1"),
        ("aci:\n  primary_key:canary-1\n", "canary-1"),
        ("primary_key=canary-1\n", "canary-1"),
    ],
    ids=lambda each: each[:34],
)  # fmt: skip
def test_secrets_of_config__key_that_tells_a_secret__is_found_and_never_in_an_error(text: str, secret: str) -> None:
    masker = Masker()
    for each in secrets_of_config(text):
        masker.add(each)
    assert secret not in masker.mask(text)
    assert secret not in masker.mask(error_of(text))


def error_of(text: str) -> str:
    try:
        parse_config(text, "c.yml")
    except MlazError as error:
        return f"{error.what} {error.cause_text} {error.remedy_text} {error.log}"
    return ""


@pytest.mark.parametrize("key", ["ssl_key_pem_file", "anything"])
def test_secrets_of_config__pem_in_the_place_of_a_file__is_found_line_by_line(key: str) -> None:
    indented = "".join(f"    {line}\n" for line in PEM.splitlines())
    found = secrets_of_config(f"aci:\n  {key}: |\n{indented}")
    assert {"MIIEvQIBADANBgkqh", "kiG9w0BAQEFAASCB"} <= set(found)
    assert {"MIIEvQIBADANBgkqh", "kiG9w0BAQEFAASCB"} <= set(secrets_of_config(f"aci:\n  {key}: {json.dumps(PEM)}\n"))


@pytest.mark.parametrize(
    "text",
    [
        "target: local\nservice-name: churn\nauth: token\n",
        "aks: {token_auth_enabled: true, auth_enabled: false, ssl_key_pem_file: tls.key, cmk_key_name: k}\n",
        "aci: {primary_key: true}\n",
        "aci: {primary_key: }\n",
        "",
    ],
)
def test_secrets_of_config__nothing_secret__blots_out_nothing(text: str) -> None:
    assert secrets_of_config(text) == ()


def test_lines_of_pem__headings__are_left_out() -> None:
    assert lines_of_pem(PEM) == ("MIIEvQIBADANBgkqh", "kiG9w0BAQEFAASCB")


SECRETS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Zs"]), min_size=4, max_size=20
).filter(lambda text: text.lower() not in {"true", "false", "null", "none"})


@given(secret=SECRETS, key=st.sampled_from(["primary_key", "secondary_key", "primary-key", "PRIMARY_KEY", "sasToken"]))
def test_secrets_of_config__any_secret_as_json__is_found(secret: str, key: str) -> None:
    assert secret in secrets_of_config(json.dumps({"aci": {key: secret}}, ensure_ascii=False))


@given(
    text=st.one_of(
        TEXTS, st.text("{}[]:,-?!&*#|>'\"%@` \n\tkey=p", max_size=80).map(lambda text: f"primary_key: {text}")
    )
)
def test_secrets_of_config__any_text__never_fails(text: str) -> None:
    assert all(len(each) >= 4 for each in secrets_of_config(text))


@pytest.mark.parametrize(
    "text",
    [
        "a" * 65_000,
        "key: " * 13_000,
        'key:"' * 13_000,
        "//" * 30_000,
        "-----BEGIN A-----" * 3_000,
        "key: '" + "''" * 30_000,
    ],
)
def test_secrets_of_config__long_texts__take_no_long_time(text: str) -> None:
    import time

    began_s = time.process_time()
    secrets_of_config(text)
    assert time.process_time() - began_s < 2
