"""The config file's sections: a typo or a wrong value in any of them is told with its place, whichever target is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlaz_ci.errors import InapplicableInput, InvalidConfigFile, MlazError, UnknownConfigKey
from mlaz_ci.inputs import Origin, parse_config, parse_request

ORIGIN = Origin(working_directory=Path("/checkout"))
CLUSTER = "compute:\n  name: aks-ml\n"
AKS_ID = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.ContainerService/managedClusters/shared"


def fails_with(text: str) -> MlazError:
    with pytest.raises(MlazError) as caught:
        parse_config(text, "mlaz-ci.yml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("aci:\n  cpu_core: 1\n", "mlaz-ci.yml:2:3: `aci: cpu_core` is not a key of azureml-core's. `cpu_cores` is."),
        ("aks: {num-replica: 1}\n", "mlaz-ci.yml:1:7: `aks: num-replica` is not a key of azureml-core's. `num_replicas`"),
        ("managed:\n  deploymnt: {}\n", "mlaz-ci.yml:2:3: `managed.deploymnt` is not a key. Did you mean `deployment`?"),
        ("managed:\n  mirror_percent: 5\n", "mlaz-ci.yml:2:3: `managed.mirror_percent` is not a key. Did you mean `mirror-percent`?"),
        (
            "managed:\n  deployment:\n    requestSettings:\n      timeout: PT5S\n",
            "mlaz-ci.yml:4:7: `managed.deployment.requestSettings.timeout` is not a field of Azure's there. Did you mean `requestTimeout`?",
        ),
        ("managed: {autoscale: {profiles: [{}], enabld: true}}\n", "mlaz-ci.yml:1:39: `managed.autoscale.enabld`"),
        ("kubernetes:\n  endpoint:\n    identty: {}\n", "mlaz-ci.yml:3:5: `kubernetes.endpoint.identty`"),
        (f"{CLUSTER}  creat: true\n", 'mlaz-ci.yml:3:3: "creat" is not a key of `compute`. Did you mean "create"?'),
        (f"{CLUSTER}  create: true\n  vm-size: x\n", 'mlaz-ci.yml:4:3: "vm-size" is not a key of `compute`. Did you mean "vm_size"?'),
        (f"{CLUSTER}  attach: {AKS_ID}\n  vm_size: x\n", "mlaz-ci.yml:4:3: `compute: vm_size` is not a key"),
    ],
    ids=lambda each: each[:30],
)  # fmt: skip
def test_section__key_that_is_none__names_place_and_nearest(text: str, told: str) -> None:
    error = fails_with(text)
    assert isinstance(error, UnknownConfigKey)
    assert error.what.startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("aci:\n  cpu_cores: one\n", "mlaz-ci.yml:2:3: `aci: cpu_cores` takes a positive number, not a text."),
        ("aci:\n  cpu_cores: .inf\n", "mlaz-ci.yml:2:14: it is not a number that can be sent."),
        ("aci:\n  vnet_name: n\n", "mlaz-ci.yml:2:3: `aci: vnet_name` needs `subnet_name` beside it."),
        ("aks:\n  autoscale_enabled: 'yes'\n", "mlaz-ci.yml:2:3: `aks: autoscale_enabled` takes true or false, not a text."),
        ("managed:\n  mirror-percent: 80\n", "mlaz-ci.yml:2:3: `managed.mirror-percent` is a whole number from 1 to 50."),
        ("managed:\n  serving: [fast]\n", "mlaz-ci.yml:2:3: `managed.serving` is one of mlaz-ci, no-code, not a list."),
        ("managed:\n  deployment: [a]\n", "mlaz-ci.yml:2:3: `managed.deployment` is a mapping of fields, not a list."),
        ("managed:\n  autoscale:\n    enabled: true\n", "mlaz-ci.yml:2:3: `managed.autoscale.profiles` is a list"),
        ("managed:\n  autoscale:\n    profiles: [{}]\n    notifications: {}\n", "mlaz-ci.yml:4:5: `managed.autoscale.notifications` is a list of mappings"),
        (
            "managed:\n  deployment:\n    requestSettings: {requestTimeout: PT4M}\n",
            "mlaz-ci.yml:3:23: `managed.deployment.requestSettings.requestTimeout` is PT4M; Azure takes 180 s at most.",
        ),
        (f"{CLUSTER}  create: true\n  agent_count: 0\n", "mlaz-ci.yml:4:3: `compute: agent_count` takes a positive whole number"),
    ],
    ids=lambda each: each[:30],
)  # fmt: skip
def test_section__value_of_another_form__is_told_with_its_place(text: str, told: str) -> None:
    error = fails_with(text)
    assert isinstance(error, InvalidConfigFile)
    assert error.what.startswith(told)


@pytest.mark.parametrize("key", ["autoscale: {profiles: [{}]}", "mirror-percent: 5"])
def test_section__what_the_target_cannot_have__is_told_with_its_place(key: str) -> None:
    error = fails_with(f"kubernetes:\n  {key}\n")
    assert isinstance(error, InapplicableInput)
    assert error.what.startswith("mlaz-ci.yml:2:3: `kubernetes.")


@pytest.mark.parametrize(
    ("target", "text", "told"),
    [
        ("aks", "aks:\n  autoscale_min_replicas: 2\n", "mlaz-ci.yml:2:3: `aks: autoscale_min_replicas` needs"),
        ("aci", "aci:\n  secondary_key: abcdefgh\n", "mlaz-ci.yml:2:3: `aci: secondary_key` needs `primary_key`"),
        ("kubernetes", f"{CLUSTER}  create: true\n", "mlaz-ci.yml:1:1: `compute` cannot be made or attached"),
    ],
)
def test_section__keys_that_contradict_the_target__are_told_with_their_place(target: str, text: str, told: str) -> None:
    where = {
        "subscription-id": "00000000-0000-0000-0000-00000000000a",
        "resource-group": "rg",
        "workspace-name": "ws-ml",
    }
    given = {"target": target, "service-name": "churn", "command": "status", **where}
    with pytest.raises(MlazError) as caught:
        parse_request(given, parse_config(text, "mlaz-ci.yml"), ORIGIN)
    assert caught.value.what.startswith(told)


def test_section__key_that_is_no_text_to_print__is_refused_at_its_place() -> None:
    assert fails_with('aci: {"a\\e[31m": 1}\n').what.startswith("mlaz-ci.yml:1:7: a key is too long, or has")
    assert fails_with(f"managed: {{endpoint: {{{'k' * 600}: 1}}}}\n").what.startswith("mlaz-ci.yml:1:22: a key is")


def test_section__rule_of_an_autoscale_profile__may_name_dimensions() -> None:
    rule = "{metricTrigger: {dimensions: [{DimensionName: a, Values: [b]}]}}"
    text = f"managed: {{autoscale: {{profiles: [{{rules: [{rule}]}}]}}}}\n"
    profile = parse_config(text, "mlaz-ci.yml").sections["managed"]["autoscale"]["profiles"][0]
    assert profile["rules"][0]["metricTrigger"]["dimensions"][0]["Values"] == ["b"]
