from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.refusals import read_told

ARM = {
    "error": {
        "code": "NotFound",
        "message": "The specified resource was not found.",
        "details": [{"code": "NoSuchEndpoint", "message": "There is no endpoint with name: churn", "details": []}],
        "additionalInfo": [
            {"type": "ComponentName", "info": {"value": "managementfrontend"}},
            {"type": "Correlation", "info": {"value": {"operation": "abc123", "request": "def"}}},
        ],
    }
}
MMS = {
    "code": "AciDeploymentFailed",
    "statusCode": 400,
    "message": "Aci Deployment failed",
    "details": [{"code": "CrashLoopBackOff", "message": "Your container application crashed.\n\tSee the log."}],
}
OPERATION = {
    "error": {
        "code": "InferencingClientCallFailed",
        "message": '"Can\'t delete deployment"',
        "additionalInfo": [
            {"type": "MmsOperation", "info": {"state": "Failed", "error": {"code": "Inner", "message": "why"}}}
        ],
    },
    "status": "Failed",
}
ENTRA = {
    "error": "invalid_client",
    "error_description": "AADSTS7000215: Invalid client secret.",
    "correlation_id": "c1",
}
BLOB = "<?xml version='1.0'?><Error><Code>AuthorizationFailure</Code><Message>Not &lt;allowed&gt;.\nTime:x</Message></Error>"
HTML = "<html>\r\n<head><title>504 Gateway Time-out</title></head><body><center>nginx</center></body></html>"
WEBSERVICE = f"Service deployment polling reached non-successful terminal state\nError:\n{json.dumps(MMS, indent=2)}"
BAD_RESPONSE = (
    "Received bad response from Model Management Service:\nResponse Code: 409\nHeaders: {'a': '{'}\n"
    f"Content: {json.dumps(MMS).encode()!r}"
)
PROJECT = json.dumps({"error_details": ARM, "status_code": 403, "url": "https://management.azure.com/x"})


@pytest.mark.parametrize(
    ("text", "code", "sentence"),
    [
        (
            json.dumps(ARM),
            "NoSuchEndpoint",
            "NotFound: The specified resource was not found. · NoSuchEndpoint: There is no endpoint with name: churn",
        ),
        (
            json.dumps(MMS),
            "CrashLoopBackOff",
            "AciDeploymentFailed: Aci Deployment failed · CrashLoopBackOff: Your container application crashed. See the log.",
        ),
        (
            json.dumps(OPERATION),
            "Inner",
            'InferencingClientCallFailed: "Can\'t delete deployment" · Inner: why',
        ),
        (json.dumps(ENTRA), "AADSTS7000215", "AADSTS7000215: Invalid client secret."),
        (BLOB, "AuthorizationFailure", "AuthorizationFailure: Not <allowed>. Time:x"),
        (HTML, "", "504 Gateway Time-out"),
        (WEBSERVICE, "CrashLoopBackOff", "CrashLoopBackOff: Your container application crashed. See the log."),
        (BAD_RESPONSE, "CrashLoopBackOff", "CrashLoopBackOff: Your container application crashed. See the log."),
        (PROJECT, "NoSuchEndpoint", "NoSuchEndpoint: There is no endpoint with name: churn"),
        ("(OutOfQuota) Not enough cores.\nCode: OutOfQuota", "OutOfQuota", "Not enough cores. Code: OutOfQuota"),
        ('{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "gone"}', "RESOURCE_DOES_NOT_EXIST", "gone"),
        ("ModelNotFound: Model churn, version 14 not found", "", "ModelNotFound: Model churn, version 14 not found"),
        ('"a bare string"', "", '"a bare string"'),
        ('{"x": 1}', "", "no word of why"),
        ("", "", "no word of why"),
    ],
    ids=lambda value: value[:20],
)
def test_read_told__each_form_of_azures__keeps_its_code_and_its_words(text: str, code: str, sentence: str) -> None:
    told = read_told(text)
    assert told.code == code
    assert sentence in told.sentence
    assert "\n" not in told.sentence


@pytest.mark.parametrize(
    ("text", "headers", "correlation_id"),
    [
        (json.dumps(ARM), {}, "abc123"),
        (json.dumps(ENTRA), {}, "c1"),
        ("", {"X-Ms-Correlation-Request-Id": "h1", "x-ms-request-id": "h2"}, "h1"),
        ('{"error": {"code": "UserError"}, "correlation": {"operation": "o1"}}', {}, "o1"),
        ("x", {}, None),
    ],
)
def test_read_told__correlation_id__is_found_in_headers_or_body(
    text: str, headers: dict[str, str], correlation_id: str | None
) -> None:
    assert read_told(text, headers=headers).correlation_id == correlation_id


def test_read_told__status_in_a_clients_text__is_read() -> None:
    assert read_told(BAD_RESPONSE).status == 409
    assert read_told("x", status=404).status == 404


def test_read_told__empty_body__has_the_storage_services_header() -> None:
    assert read_told("", status=404, headers={"x-ms-error-code": "BlobNotFound"}).code == "BlobNotFound"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["error", "code", "message", "details", "additionalInfo", "info", "correlation", "type", "x"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(
    st.text() | json_values.map(json.dumps) | json_values.map(lambda value: f"Content: {json.dumps(value).encode()!r}")
)
def test_read_told__any_text__gives_one_line(text: str) -> None:
    told = read_told(text, status=500)
    assert told.sentence
    assert "\n" not in told.sentence


def test_read_told__hostile_text__ends_and_moves_no_cursor() -> None:
    assert read_told("[" * 100_000 + "{" * 20_000).sentence
    assert "\x1b" not in read_told('{"code": "\\u001b[2J", "message": "\\u001b[31mred"}').sentence
