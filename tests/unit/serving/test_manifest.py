from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.models import DeploymentSpec, LocalShape, ScoreRequest
from mlaz_ci.serving.manifest import manifest_of, parse_manifest, render_manifest
from tests import samples

TEXTS = st.text(max_size=20)


@given(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=3), st.none() | st.integers(1, 65535), st.none() | TEXTS)
def test_parse_manifest__what_was_rendered__is_the_same_again(
    owner: str, variables: dict[str, str], port: int | None, folder: str | None
) -> None:
    spec = DeploymentSpec(
        service_name="churn",
        deployment_name="g1",
        model=samples.model(version="3"),
        lock=samples.lock(),
        shape=LocalShape(port=port, workers=2, request_timeout_s=7, environment_variables=variables),
        files={},
        tags=variables,
        owner=owner,
    )
    manifest = manifest_of(spec, created_at=samples.NOON, model_folder=folder)
    again = parse_manifest(render_manifest(manifest))
    assert again == manifest
    assert (again.spec_hash, again.lock.hash) == (spec.spec_hash, spec.lock.hash)


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (ScoreRequest(body='{"data": ["é"]}'.encode(), origin="the example"), '{"data": ["é"]}'),
        (ScoreRequest(body=b"\xff\x00", origin="a file"), None),
        (None, None),
    ],
)
def test_manifest_of__smoke_request__keeps_its_body_where_it_is_text(
    request_: ScoreRequest | None, body: str | None
) -> None:
    manifest = manifest_of(samples.spec(smoke_request=request_), created_at=samples.NOON)
    assert parse_manifest(render_manifest(manifest)).smoke_body == body


def test_parse_manifest__written_before_smoke_requests_were_kept__has_none() -> None:
    value = json.loads(render_manifest(manifest_of(samples.spec(), created_at=samples.NOON)))
    value.pop("smoke_body", None)
    assert parse_manifest(json.dumps(value)).smoke_body is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"x"', '{"format": 2}', '{"format": 1}', "[" * 100_000])
def test_parse_manifest__anything_else__is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_manifest(text)


@given(st.recursive(st.none() | st.integers() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_parse_manifest__any_json__is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_manifest(json.dumps({"format": 1, "shape": value, "lock": value, "tags": value}))
