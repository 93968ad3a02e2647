from __future__ import annotations

import json
import traceback
from typing import Any

import pytest

from mlaz_ci.errors import ConflictingInputs, InvalidInput, MissingInput
from mlaz_ci.inputs import secrets_of
from mlaz_ci.inputs.sign_in import check_tracking_uri, parse_credentials, parse_sign_in, parse_workspace
from mlaz_ci.models import Cloud, Secret, SignIn, Workspace

GUID = "00000000-0000-0000-0000-00000000000a"
CANARY = "hunter2~hunter2~hunter2"
CREDS = {"clientId": GUID, "clientSecret": CANARY, "subscriptionId": GUID, "tenantId": GUID}


def sign_in(**given: Any) -> SignIn | None:
    names = ("client_id", "tenant_id", "client_secret", "credentials", "audience")
    return parse_sign_in(**{name: given.get(name) for name in names})


@pytest.mark.parametrize(
    "text", [json.dumps(CREDS), json.dumps(CREDS, indent=2), json.dumps({**CREDS, "galleryEndpointUrl": "https://x"})]
)
def test_parse_credentials__as_azure_login_takes_them__are_read(text: str) -> None:
    read = parse_credentials(text)
    assert (read.client_id, read.tenant_id, read.subscription_id) == (GUID, GUID, GUID)
    assert read.client_secret.reveal() == CANARY
    assert CANARY not in repr(read)


def test_parse_credentials__without_subscription__are_read() -> None:
    assert parse_credentials(json.dumps({**CREDS, "subscriptionId": ""})).subscription_id is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps(CREDS)[1:-1], "not JSON at line 1, column"),
        (json.dumps(CREDS, indent=2).replace('",', '"'), "not JSON at line 3, column"),
        (CANARY, "not JSON at line 1, column 1"),
        (json.dumps(CANARY), "not an object in braces"),
        (json.dumps([CANARY]), "not an object in braces"),
        ("[" * 60_000 + CANARY, "not JSON that can be read"),
        ("1" * 5_000, "not JSON that can be read"),
        (json.dumps({"clientId": GUID, "clientSecret": CANARY}), "no text for tenantId."),
        (json.dumps({**CREDS, "clientSecret": ["x", CANARY]}), "no text for clientSecret."),
        (json.dumps({**CREDS, "tenantId": 7}), "no text for tenantId."),
        (
            json.dumps({"client_id": GUID, "clientSecret": CANARY, "tenantId": GUID}),
            '"client_id" stands where "clientId" belongs',
        ),
        (
            json.dumps({"appId": GUID, "password": CANARY, "tenant": GUID}),
            '"password" stands where "clientSecret" belongs',
        ),
        (json.dumps({CANARY: "x"}), "no text for clientId, clientSecret, tenantId."),
        (json.dumps({**CREDS, "clientId": CANARY}), "clientId is not a GUID"),
        (json.dumps({**CREDS, "tenantId": CANARY}), "tenantId is not a GUID or a domain"),
        (json.dumps({**CREDS, "subscriptionId": CANARY}), "subscriptionId is not a GUID"),
    ],
    ids=lambda each: each[:24],
)
def test_parse_credentials__not_theirs__says_what_and_shows_nothing(text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_credentials(text)
    assert told in caught.value.what
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_parse_sign_in__nothing_given__is_none() -> None:
    assert sign_in() is None


def test_parse_sign_in__creds__are_taken_apart() -> None:
    made = sign_in(credentials=parse_credentials(json.dumps(CREDS)), audience="api://x")
    assert made == SignIn(client_id=GUID, tenant_id=GUID, client_secret=Secret(CANARY), audience="api://x")


def test_parse_sign_in__no_secret__is_left_to_oidc_or_managed_identity() -> None:
    assert sign_in(client_id=GUID, tenant_id=GUID) == SignIn(client_id=GUID, tenant_id=GUID)
    assert sign_in(client_id=GUID) == SignIn(client_id=GUID)


@pytest.mark.parametrize("name", ["client_id", "tenant_id", "client_secret"])
def test_parse_sign_in__creds_and_a_part__conflict(name: str) -> None:
    with pytest.raises(ConflictingInputs, match=f"`creds` was given beside `{name.replace('_', '-')}`"):
        sign_in(credentials=parse_credentials(json.dumps(CREDS)), **{name: GUID})


def test_parse_sign_in__secret_without_id__names_what_is_missing() -> None:
    with pytest.raises(MissingInput, match="`client-secret` was given without `client-id`, `tenant-id`"):
        sign_in(client_secret=Secret(CANARY))


def test_parse_workspace__all_three__is_a_workspace() -> None:
    made = parse_workspace(subscription_id=GUID, resource_group="rg", workspace_name="ws", cloud=Cloud.CHINA)
    assert made == Workspace(subscription_id=GUID, resource_group="rg", name="ws", cloud=Cloud.CHINA)


def test_parse_workspace__none_given__is_none() -> None:
    assert parse_workspace(subscription_id=None, resource_group=None, workspace_name=None, cloud=Cloud.PUBLIC) is None


def test_parse_workspace__a_part__names_what_is_missing() -> None:
    with pytest.raises(MissingInput, match="`subscription-id`, `resource-group` must be given with `workspace-name`"):
        parse_workspace(subscription_id=None, resource_group=None, workspace_name="ws", cloud=Cloud.PUBLIC)


@pytest.mark.parametrize(
    "uri",
    ["http://localhost:5000", "HTTPS://host", "sqlite:///mlflow.db", "postgresql+psycopg2://u:p@h/db", "mlruns", "./mlruns", "/a b/mlruns",
     "file:///x", "databricks", "databricks://profile", "uc:profile", "azureml://eastus.api.azureml.ms/mlflow/v1.0/x"],
)  # fmt: skip
def test_check_tracking_uri__a_store_of_mlflow__passes(uri: str) -> None:
    check_tracking_uri(uri)


@pytest.mark.parametrize(
    ("uri", "told"),
    [("htps://u:hunter2@host", 'Did you mean "https:…"?'), ("ftp+x://h", "`tracking-uri`"), ("zz:", "`tracking-uri`")],
)
def test_check_tracking_uri__another_scheme__names_the_nearest(uri: str, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_tracking_uri(uri)
    assert told in caught.value.what
    assert "hunter2" not in str(caught.value)


def test_secrets_of__everything_secret__is_found() -> None:
    creds = json.dumps({**CREDS, "managementEndpointUrl": "https://management.core.windows.net/"})
    given = {
        "creds": creds,
        "client-secret": " s3cret ",
        "github-token": "ghs_x",
        "tracking-uri": "https://me:pa55@host",
        "run-id": "r",
    }
    assert set(secrets_of(given)) == {creds, CANARY, "s3cret", "ghs_x", "pa55"}


@pytest.mark.parametrize(
    "creds",
    [
        CANARY,
        json.dumps(CREDS)[1:],
        json.dumps([CANARY]),
        json.dumps({"password": CANARY}),
        json.dumps(CANARY),
        "[" * 60_000 + " " + CANARY,
    ],
)
def test_secrets_of__creds_that_cannot_be_read__still_finds_the_secret(creds: str) -> None:
    assert any(CANARY in each and len(each) <= len(CANARY) + 2 for each in secrets_of({"creds": creds}))


def test_secrets_of__creds_without_their_secret__blot_out_no_key_that_the_error_names() -> None:
    found = secrets_of({"creds": json.dumps({"clientId": "x", "appId": CANARY, "displayName": "y"})})
    assert CANARY in found
    assert not {"clientId", "displayName"} & set(found)


def test_secrets_of__nothing_secret_or_no_text__is_nothing() -> None:
    assert secrets_of({"run-id": "x", "client-secret": "  ", "creds": None, "tracking-uri": "https://host"}) == ()
