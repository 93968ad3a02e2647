from __future__ import annotations

import pytest

from mlaz_ci.serving.surroundings import mask_user_info, scrubbed_environment

CANARY = "s3cr3t-canary"
SECRET_NAMES = (
    "INPUT_CLIENT-SECRET", "INPUT_CREDS", "INPUT_GITHUB-TOKEN", "AZURE_CLIENT_SECRET", "AZURE_CREDENTIALS", "GITHUB_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
    "DATABRICKS_TOKEN", "UV_INDEX_FEED_PASSWORD", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "LD_PRELOAD", "PYTHONPATH",
    "PYTHONSTARTUP", "VIRTUAL_ENV", "path", "HOME", "BASH_ENV", "XDG_CONFIG_HOME", "AWS_SECRET_ACCESS_KEY",
)  # fmt: skip


def test_scrubbed_environment__everything_secret__nothing_of_it_passes():
    scrubbed = scrubbed_environment(dict.fromkeys(SECRET_NAMES, CANARY), home="/ours")
    assert scrubbed == {"HOME": "/ours"}


@pytest.mark.parametrize("name", [
    "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HTTP_PROXY", "https_proxy", "NO_PROXY", "all_proxy", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
])  # fmt: skip
def test_scrubbed_environment__what_a_process_needs__passes(name):
    assert scrubbed_environment({name: "value"}, home="/ours") == {name: "value", "HOME": "/ours"}


def test_scrubbed_environment__empty_value__does_not_pass():
    assert scrubbed_environment({"SSL_CERT_FILE": ""}, home="/ours") == {"HOME": "/ours"}


@pytest.mark.parametrize(("text", "expected"), [
    (f"asked https://ada:{CANARY}@x.example/simple twice", "asked https://***@x.example/simple twice"),
    (f"https://{CANARY}@x.example", "https://***@x.example"),
    ("https://x.example/a@b", "https://x.example/a@b"),
    ("ada@x.example", "ada@x.example"),
])  # fmt: skip
def test_mask_user_info__urls__without_their_user(text, expected):
    assert mask_user_info(text) == expected
