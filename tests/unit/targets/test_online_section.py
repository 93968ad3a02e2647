from __future__ import annotations

from typing import Any

import pytest

from mlaz_ci.errors import InapplicableInput, InvalidConfigFile, UnknownConfigKey
from mlaz_ci.models import Target
from mlaz_ci.targets.online_fields import deployment_fields, endpoint_fields, writable
from mlaz_ci.targets.online_section import OnlineSection, read_section, seconds_of
from tests import samples

PROFILE = {"name": "default", "capacity": {"minimum": "1", "maximum": "3", "default": "1"}, "rules": []}


def test_read_section__empty__is_all_default() -> None:
    assert read_section({}, Target.MANAGED) == OnlineSection()


def test_read_section__azures_own_fields__are_passed_on_as_the_api_takes_them() -> None:
    section = read_section(
        {
            "endpoint": {"publicNetworkAccess": "Disabled", "properties": {"monitor": True}},
            "deployment": {
                "requestSettings": {"requestTimeout": "PT90S", "maxConcurrentRequestsPerInstance": 4},
                "livenessProbe": {"initialDelay": "PT60S"},
                "environmentVariables": {"WORKERS": 4},
                "dataCollector": {"collections": {"model_inputs": {"samplingRate": 0.5}}},
            },
            "autoscale": {"profiles": [PROFILE]},
            "serving": "no-code",
            "mirror-percent": 20,
        },
        Target.MANAGED,
    )
    assert section.endpoint == {"publicNetworkAccess": "Disabled", "properties": {"monitor": "true"}}
    assert section.deployment["environmentVariables"] == {"WORKERS": "4"}
    assert section.deployment["dataCollector"] == {"collections": {"model_inputs": {"samplingRate": 0.5}}}
    assert section.autoscale == {"profiles": [PROFILE]}
    assert section.is_no_code
    assert section.mirror_percent == 20


def test_read_section__user_assigned_identity__keeps_its_ids() -> None:
    raw = {"endpoint": {"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/x": None}}}}
    assert read_section(raw, Target.MANAGED).endpoint["identity"]["userAssignedIdentities"] == {"/subscriptions/x": {}}


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"deploymnt": {}}, "`managed.deploymnt` is not a key. Did you mean `deployment`?"),
        ({"deployment": {"requestSetting": {}}}, "Did you mean `requestSettings`?"),
        ({"deployment": {"request-settings": {}}}, "Did you mean `requestSettings`?"),
        ({"deployment": {"requestSettings": {"timeout": "PT5S"}}}, "Did you mean `requestTimeout`?"),
        ({"deployment": {"model": "x"}}, "`managed.deployment.model` is not a field"),
        ({"deployment": {"containerResourceRequirements": {}}}, "is not a field"),
        ({"endpoint": {"traffic": {"blue": 100}}}, "`managed.endpoint.traffic` is not a field"),
        ({"endpoint": {"scoringUri": "x"}}, "`managed.endpoint.scoringUri` is not a field"),
        ({"autoscale": {"profiles": [PROFILE], "profile": []}}, "Did you mean `profiles`?"),
    ],
)
def test_read_section__unknown_key__names_the_nearest_right_one(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownConfigKey) as raised:
        read_section(raw, Target.MANAGED)
    assert told in raised.value.what


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"deployment": []}, "`managed.deployment` is a mapping of fields"),
        ({"deployment": {"requestSettings": {"requestTimeout": "90"}}}, "a duration such as PT30S"),
        ({"deployment": {"requestSettings": {"requestTimeout": "PT181S"}}}, "Azure takes 180 s at most"),
        ({"deployment": {"livenessProbe": {"failureThreshold": "3"}}}, "is a whole number"),
        ({"deployment": {"egressPublicNetworkAccess": "Off"}}, "is one of Enabled, Disabled"),
        ({"deployment": {"appInsightsEnabled": "yes"}}, "is true or false"),
        ({"deployment": {"dataCollector": {"collections": []}}}, "is a mapping"),
        ({"serving": "fast"}, "is one of mlaz-ci, no-code"),
        ({"mirror-percent": 51}, "from 1 to 50"),
        ({"autoscale": {}}, "`managed.autoscale.profiles` is a list"),
    ],
)
def test_read_section__wrong_value__is_told_with_its_place(raw: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidConfigFile) as raised:
        read_section(raw, Target.MANAGED)
    assert told in raised.value.what


@pytest.mark.parametrize("raw", [{"autoscale": {"profiles": [PROFILE]}}, {"mirror-percent": 10}])
def test_read_section__kubernetes__has_neither_autoscale_nor_mirror(raw: dict[str, Any]) -> None:
    with pytest.raises(InapplicableInput):
        read_section(raw, Target.KUBERNETES)


def test_read_section__kubernetes__has_resources_and_longer_requests() -> None:
    raw = {
        "deployment": {
            "containerResourceRequirements": {"containerResourceLimits": {"cpu": 2, "memory": "4Gi", "gpu": 1}},
            "requestSettings": {"requestTimeout": "PT5M"},
        }
    }
    section = read_section(raw, Target.KUBERNETES)
    assert section.deployment["containerResourceRequirements"]["containerResourceLimits"] == {
        "cpu": "2",
        "memory": "4Gi",
        "gpu": "1",
    }


@pytest.mark.parametrize(("text", "seconds"), [("PT1.5S", 1.5), ("PT2M", 120), ("P1DT1H", 90000), ("soon", 0)])
def test_seconds_of__durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_fields__are_those_of_microsofts_file() -> None:
    """What we hold for writable is what the file does not call read-only, for endpoints and both kinds of deployment."""
    import json

    file = (
        samples.wire_folder()
        / "specs/specification/machinelearningservices/resource-manager/Microsoft.MachineLearningServices/stable/2024-04-01/mfe.json"
    )
    definitions = json.loads(file.read_text())["definitions"]

    def of(name: str) -> dict[str, Any]:
        found = dict(definitions[name].get("properties", {}))
        for each in definitions[name].get("allOf", []):
            found |= of(each["$ref"].rpartition("/")[2])
        return {key: value for key, value in found.items() if not value.get("readOnly")}

    endpoint = endpoint_fields()["properties"]
    # Keys are a secret, and written when an endpoint is made, which we leave to Azure.
    assert set(endpoint) == set(of("OnlineEndpoint")) - {"keys"}  # type: ignore[arg-type]
    for kind, is_kubernetes in (("ManagedOnlineDeployment", False), ("KubernetesOnlineDeployment", True)):
        fields = deployment_fields(is_kubernetes=is_kubernetes)["properties"]
        assert set(fields) == set(of(kind))  # type: ignore[arg-type]


def test_writable__read_only_unknown_and_null__are_left_out_and_free_names_kept() -> None:
    read = {
        "id": "/x",
        "tags": {"a": "b"},
        "systemData": {},
        "identity": {
            "type": "UserAssigned",
            "principalId": "p",
            "userAssignedIdentities": {"/id": {"clientId": "c"}, "/empty": None},
        },
        "properties": {
            "provisioningState": "Succeeded",
            "description": None,
            "authMode": "Key",
            "traffic": {"blue": 100},
            "properties": {"x": "y"},
        },
    }
    assert writable(read, endpoint_fields()) == {
        "tags": {"a": "b"},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/id": {}, "/empty": {}}},
        "properties": {"authMode": "Key", "traffic": {"blue": 100}, "properties": {"x": "y"}},
    }
