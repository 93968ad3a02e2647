from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.adapters.azureml_v1.reading import FOREIGN, classify, see, service_facts, settings_of
from mlaz_ci.adapters.azureml_v1.records import LIVE_TAG, PREVIOUS_TAG, Record, read_records, record_of
from mlaz_ci.models import AzureShape, ScoreRequest, ServiceState, Target
from mlaz_ci.serving.stamp import stamp
from tests import samples

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        *("kvTags", "properties", "state", "scoringUri", "computeType", "createdTime", "error", "models", "publicFqdn"),
        *("environmentImageRequest", "containerResourceRequirements", "vnetConfiguration", "encryptionProperties"),
    ]
)


def record(
    name: str = "g1",
    *,
    at: datetime = NOON,
    owner: str = "repo:1",
    smoke: bytes = b"{}",
    variables: Mapping[str, str] | None = None,
) -> Record:
    spec = samples.spec(
        deployment_name=name,
        owner=owner,
        shape=AzureShape(),
        model=samples.model(version=name[1:], digest=name),
        smoke_request=ScoreRequest(body=smoke, origin="x"),
    )
    return record_of(
        spec,
        environment="mlaz-ci-x",
        environment_version="1",
        driver="main.py",
        assets=({"id": "a", "url": "aml://artifact/a"},),
        variables={"MLAZ_SPEC": spec.spec_hash},
        given=variables or {},
        now=at,
    )


def payload(live: Record, *others: Record, **changes: Any) -> dict[str, Any]:
    spec = samples.spec(deployment_name=live.deployment, owner=live.owner, shape=AzureShape())
    tags = {**stamp(spec, NOON), LIVE_TAG: live.key}
    return {
        "name": "churn",
        "computeType": "ACI",
        "state": "Healthy",
        "createdTime": "2026-11-01T12:00:00.1234567+00:00",
        "scoringUri": "http://churn-label.eastus.azurecontainer.io/score",
        "kvTags": tags,
        "properties": {each.key: each.text for each in (live, *others)},
        **changes,
    }


def facts(told: dict[str, Any]) -> Any:
    return service_facts(see(told), Target.ACI, classify(told), None)


@pytest.mark.parametrize(
    ("running", "can_be_put_back"),
    [
        ({"TOKEN": "s3cret-value", "AZURE_ADDS": "x"}, True),
        ({"TOKEN": "another-value"}, False),
        ({}, False),
        (None, False),
    ],
    ids=["the-same", "changed", "gone", "not-told"],
)
def test_record__of_the_users_variables__tells_no_value_and_whether_the_service_has_them(
    running: Mapping[str, str] | None, *, can_be_put_back: bool
) -> None:
    before = record("g1", variables={"TOKEN": "s3cret-value"})
    assert "s3cret-value" not in before.text
    told = payload(record("g2"), before)
    if running is not None:
        told["environmentImageRequest"] = {"environment": {"environmentVariables": running}}
    seen = see(told)
    assert seen.given_to(before) == ({"TOKEN": "s3cret-value"} if can_be_put_back else None)
    assert seen.given_to(record("g2")) == {}


def test_record__written_and_read__is_the_same_and_named_by_its_content() -> None:
    one = record()
    assert read_records({one.key: one.text, "other": "x"}) == {
        one.key: replace(one, assets=list(one.assets), model_ids=list(one.model_ids), given_names=[])
    }
    assert record().key == one.key
    assert record("g2").key != one.key


def test_record__long_smoke_test__is_left_out() -> None:
    assert record(smoke=b"x" * 5000).smoke is None
    assert record(smoke=b"[1]").smoke == "[1]"


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"v": 2}', '{"v": 1}', json.dumps({"v": 1, "deployment": 3}), "\x00"]
)
def test_records__that_are_none_of_ours__are_passed_over(text: str) -> None:
    assert read_records({record().key: text}) == {}


def test_facts__of_ours__are_told_by_the_record() -> None:
    live, before = record("g2"), record("g1")
    told = payload(live, before)
    told["kvTags"][PREVIOUS_TAG] = before.key
    found = facts(told)
    assert (found.live, found.previous, found.owner, found.state) == ("g2", "g1", "repo:1", ServiceState.HEALTHY)
    deployed = found.deployment("g2")
    assert (deployed.spec_hash, deployed.model_label, deployed.smoke_body) == (live.spec, "churn/2", "{}")
    assert found.deployment("g1").can_be_restored
    assert found.swagger_uri == "http://churn-label.eastus.azurecontainer.io/swagger.json"
    assert found.created_at.year == 2026


def test_facts__tags_dropped__are_those_of_the_newest_record_or_of_the_one_that_runs() -> None:
    old, new = record("g1"), record("g2", at=datetime(2026, 12, 1, tzinfo=UTC))
    told = payload(new, old, kvTags={})
    assert (facts(told).live, facts(told).owner) == ("g2", "repo:1")
    image = {"environment": {"environmentVariables": {"MLAZ_SPEC": old.spec}}}
    assert facts({**told, "environmentImageRequest": image}).live == "g1"


def test_facts__image_of_others_behind_our_tags__is_no_spec_of_ours() -> None:
    image = {"environment": {"environmentVariables": {"MLAZ_SPEC": "another"}}}
    found = facts(payload(record(), environmentImageRequest=image))
    assert found.deployment(found.live).spec_hash == ""


def test_facts__of_others__have_a_name_and_can_be_put_back_if_the_image_is_told() -> None:
    told = payload(record(), kvTags={"by": "hand"}, properties=None, models=[{"name": "m", "version": 3}])
    found = facts(told)
    assert (found.live, found.owner, found.deployment(FOREIGN).can_be_restored) == (FOREIGN, "", False)
    assert (found.deployment(FOREIGN).model_label, found.deployment(FOREIGN).model_version) == ("m/3", "3")
    image = {"environment": {"name": "e"}}
    assert facts({**told, "environmentImageRequest": image}).deployment(FOREIGN).can_be_restored


@pytest.mark.parametrize(
    ("state", "uri", "expected", "is_live"),
    [
        ("Healthy", "http://x/score", ServiceState.HEALTHY, True),
        ("Unhealthy", "http://x/score", ServiceState.UNHEALTHY, True),
        ("Failed", None, ServiceState.FAILED, False),
        ("Unschedulable", None, ServiceState.FAILED, False),
        ("Transitioning", None, ServiceState.CREATING, True),
        ("Transitioning", "http://x/score", ServiceState.UPDATING, True),
        ("Pondering", None, ServiceState.CREATING, True),
        (None, None, ServiceState.CREATING, True),
    ],
)
def test_facts__each_state__is_read_once_and_what_never_served_is_not_live(
    state: str | None, uri: str | None, expected: ServiceState, *, is_live: bool
) -> None:
    told = payload(record(), state=state, scoringUri=uri)
    assert (classify(told), bool(facts(told).live)) == (expected, is_live)


def test_settings__are_what_azure_never_changes() -> None:
    told = {
        "computeType": "ACI",
        "containerResourceRequirements": {"cpu": 0.5, "memoryInGB": 1},
        "location": "eastus",
        "publicFqdn": "label.eastus.azurecontainer.io",
        "vnetConfiguration": {"vnetName": "n", "subnetName": "s"},
        "encryptionProperties": None,
    }
    assert settings_of(told) == {
        "cpu-cores": 0.5,
        "memory-gb": 1,
        "location": "eastus",
        "dns_name_label": "label",
        "vnet_name": "n",
        "subnet_name": "s",
    }
    assert settings_of({"computeType": "AKS", "computeName": "k", "location": "x"}) == {"compute": "k"}


@given(st.dictionaries(MEMBERS, JSON))
def test_facts__of_anything__are_facts(told: dict[str, Any]) -> None:
    assert service_facts(see(told), Target.AKS, classify(told), None).target in {Target.ACI, Target.AKS}
