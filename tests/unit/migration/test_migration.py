from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.inputs import Origin, parse_config, parse_request
from mlaz_ci.migration import read_v1_service, render_migration
from mlaz_ci.models import AuthMode, AzureShape, Request, Target, VersionSource, Workspace

GUID = "00000000-0000-0000-0000-00000000000a"
WORKSPACE = Workspace(subscription_id=GUID, resource_group="rg-ml", name="ws-ml")
ACI: dict[str, Any] = {
    "name": "churn",
    "computeType": "ACI",
    "state": "Healthy",
    "scoringUri": "http://churn.eastus.azurecontainer.io/score",
    "authEnabled": True,
    "containerResourceRequirements": {"cpu": 1, "memoryInGB": 2},
    "appInsightsEnabled": True,
    "kvTags": {"team": "risk", "managed-by": "mlaz-ci", "mlaz-owner": "1", "yes": "no: maybe"},
    "description": "Who leaves\nnext month",
    "models": [{"id": "churn:3"}],
}
AKS: dict[str, Any] = {
    "name": "churn",
    "computeType": "AKS",
    "state": "Healthy",
    "scoringUri": "https://1.2.3.4/api/v1/service/churn/score",
    "authEnabled": True,
    "aadAuthEnabled": True,
    "numReplicas": 3,
    "containerResourceRequirements": {"cpu": 0.5, "memoryInGB": 1.5, "cpuLimit": None},
    "dataCollection": {"storageEnabled": True},
    "autoScaler": {"autoscaleEnabled": True, "minReplicas": 2, "maxReplicas": 6, "targetUtilization": 60},
    "models": [{"id": "churn:3"}],
}


def migrated(told: dict[str, Any]) -> str:
    service = read_v1_service(told)
    assert service is not None
    return render_migration(service, WORKSPACE)


def request_of(text: str) -> Request:
    """What our own parser makes of the two documents together."""
    config, _, workflow = text.partition("\n---\n")
    (job,) = yaml.safe_load(workflow)["jobs"].values()
    (step,) = [each for each in job["steps"] if each["uses"].startswith("mlaz-ci/")]
    given = {**step["with"], "client-id": GUID, "tenant-id": GUID}
    return parse_request(given, parse_config(config, "mlaz-ci.yml"), Origin(working_directory=Path("/x"))).request


def test_render_migration__aci__is_a_managed_endpoint_of_the_same_shape() -> None:
    text = migrated(ACI)
    request = request_of(text)
    assert (request.target, request.service_name, request.workspace) == (Target.MANAGED, "churn", WORKSPACE)
    assert request.source == VersionSource(name="churn", version="3")
    assert request.tags == {"team": "risk", "yes": "no: maybe"}
    assert isinstance(request.shape, AzureShape)
    assert (request.shape.instance_type, request.shape.auth) == ("Standard_DS2_v2", AuthMode.KEY)
    assert (request.shape.enable_app_insights, request.shape.description) == (True, ACI["description"])
    assert "# Size: 1 cores and 2 GB is Standard_DS2_v2 by Microsoft's table." in text
    assert "http://churn.eastus.azurecontainer.io/score now" in text


def test_render_migration__aks__is_a_kubernetes_endpoint_that_names_what_is_missing() -> None:
    text = migrated(AKS)
    assert "compute: CHANGE-ME" in text
    request = request_of(text.replace("CHANGE-ME", "k8s"))
    assert request.target is Target.KUBERNETES
    assert isinstance(request.shape, AzureShape)
    shape = request.shape
    assert (shape.cpu_cores, shape.memory_gb, shape.instance_count) == (0.5, 1.5, 2)
    assert (shape.auth, shape.data_collection, shape.compute) == (AuthMode.TOKEN, True, "k8s")
    assert "2 to 6 replicas at 60 %" in text


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"authEnabled": False}, "# Authentication: the service takes anybody now."),
        ({"cname": "churn.example.com", "sslEnabled": True}, "# TLS: an online endpoint has its own certificate"),
        ({"vnetConfiguration": {"vnetName": "v"}}, "# Network:"),
        ({"models": []}, "# Models: the service holds 0"),
        ({"models": [{"id": "a:1"}, {"id": "b:1"}]}, "# Models: the service holds 2"),
        ({"containerResourceRequirements": {"cpu": 8, "memoryInGB": 32}}, "beyond Microsoft's table"),
    ],
)
def test_render_migration__what_cannot_move__is_said(changes: dict[str, Any], told: str) -> None:
    text = migrated({**ACI, **changes})
    assert told in text
    request_of(text) if changes.get("models") is None else None


@pytest.mark.parametrize("told", [{}, {"computeType": "AKSENDPOINT"}, {"computeType": None}, {"computeType": 7}])
def test_read_v1_service__what_is_none__is_none(told: dict[str, Any]) -> None:
    assert read_v1_service(told) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*ACI, *AKS, "location", "namespace", "cname"]), JSON),
    st.sampled_from(["ACI", "AKS"]),
)
def test_migrated__anything_that_a_service_tells__gives_yaml(told: dict[str, Any], kind: str) -> None:
    documents = list(yaml.safe_load_all(migrated({**told, "computeType": kind})))
    assert len(documents) == 2
    assert set(documents[0]) >= {"target", "auth", "workspace-name"}
