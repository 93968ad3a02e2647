"""What model management answers, held against the clients' own REST models: Microsoft's, and newer than the published file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure.tests import test_mms_errors
from tests.azure.tests.test_mms_errors import MMS, _aci, _aks, _outcome

client, model, cluster = test_mms_errors.client, test_mms_errors.model, test_mms_errors.cluster


@pytest.fixture
def models(wire: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((wire / "client_models" / "azureml_mlflow_mms.json").read_text(encoding="utf-8"))
    return found


def _strangers(models: dict[str, Any], kind: str, value: Any, place: str = "") -> list[str]:
    """Members that the model does not name, null or not; by their path."""
    inner = re.fullmatch(r"[\[{](\w+)[\]}]", kind)
    if inner and isinstance(value, list | dict):
        entries = value if isinstance(value, list) else list(value.values())
        return [found for entry in entries for found in _strangers(models, inner[1], entry, f"{place}/*")]
    attributes = models.get(kind, {}).get("attributes")
    if not attributes or not isinstance(value, dict):
        return []
    types = {attribute["key"]: attribute["type"] for attribute in attributes.values()}
    found = [f"{place}/{name}" for name in value if name not in types]
    for name in set(value) & set(types):
        found += _strangers(models, types[name], value[name], f"{place}/{name}")
    return found


def test_services_and_operations__of_each_kind__have_no_member_the_clients_do_not_know(
    models: dict[str, Any], client: requests.Session, model: str, cluster: str
) -> None:
    version = {name: value for name, value in _aks("blue", model).items() if name != "computeName"}
    endpoint = {"name": "an-ep", "computeType": "AKSENDPOINT", "computeName": cluster, "versions": {"blue": version}}
    for kind, asked in (("ACI", _aci("an-aci", model)), ("AKS", _aks("an-aks", model)), ("AKSEndpoint", endpoint)):
        operation = _outcome(client, client.post(f"{MMS}/services", json=asked))
        assert _strangers(models, "AsyncOperationStatus", operation) == []
        told = client.get(f"{MMS}/services/{asked['name']}?expand=true").json()
        name = f"{kind}Response" if kind == "AKSEndpoint" else f"{kind}ServiceResponse"
        assert _strangers(models, name, told) == [], kind
        assert told["createdBy"]["userObjectId"]
    assert _strangers(models, "Model", client.get(f"{MMS}/models/{model}").json()) == []


def test_strangers__of_a_value_with_one__are_found(models: dict[str, Any]) -> None:
    value = {"models": [{"name": "m", "stranger": None}], "createdBy": {"nobody": 1}}
    assert sorted(_strangers(models, "ACIServiceResponse", value)) == ["/createdBy/nobody", "/models/*/stranger"]
