from __future__ import annotations

from typing import Any

import pytest

from mlaz_ci.errors import InvalidConfigFile, UnknownConfigKey
from mlaz_ci.models import AuthMode, AzureShape, Cluster, Secret
from mlaz_ci.targets import aci, aks
from mlaz_ci.targets.clusters import checked_cluster
from mlaz_ci.targets.v1_keys import ACI, AKS, Form, Keys
from tests.unit.targets.test_shapes import Given


@pytest.mark.parametrize(
    ("given", "near"),
    [({"cpu_core": 1}, "cpu_cores"), ({"DNS-name-label": "x"}, "dns_name_label"), ({"zzz": 1}, None)],
)
def test_read__unknown_key__names_the_nearest(given: dict[str, Any], near: str | None) -> None:
    with pytest.raises(UnknownConfigKey) as raised:
        ACI.read(given)
    assert f"`aci: {next(iter(given))}`" in raised.value.what
    assert (f"`{near}` is." in raised.value.what) is bool(near)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("cpu_cores", "1", "takes a positive number, not a text"),
        ("cpu_cores", True, "takes a positive number, not true or false"),
        ("cpu_cores", 0, "takes a positive number, not zero or less"),
        ("num_replicas", 1.5, "takes a positive whole number, not a number"),
        ("auth_enabled", "yes", "takes true or false, not a text"),
        ("namespace", 3, "takes a text, not a number"),
        ("namespace", "", "takes a text, not an empty text"),
        ("tags", ["a"], "takes a mapping of names to texts, not a list"),
        ("primary_key", ["secret-value"], "takes a text, which is kept secret, not a list"),
    ],
)
def test_read__wrong_form__says_what_it_takes_and_not_what_was_given(key: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidConfigFile) as raised:
        AKS.read({key: value})
    assert raised.value.what == f"`aks: {key}` {says}."
    assert "secret-value" not in str(raised.value)


def test_read__right_forms__are_taken_secrets_hidden_and_null_left_out() -> None:
    read = ACI.read({"primary_key": "hush", "tags": {"a": 1}, "cpu_cores": 2, "location": None})
    assert read == {"primary_key": Secret("hush"), "tags": {"a": "1"}, "cpu_cores": 2}
    assert "hush" not in repr(read)


@pytest.mark.parametrize(
    "given", [{"vnet_name": "n"}, {"ssl_cname": "c"}, {"cmk_key_name": "k", "cmk_key_version": "1"}]
)
def test_read__one_of_a_group__asks_for_the_others(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfigFile, match="beside it"):
        ACI.read(given)


def test_forms__of_every_key__are_known() -> None:
    for keys in (ACI, AKS):
        assert keys.fixed <= set(keys.forms)
        assert set(keys.inputs) <= set(keys.forms)
        assert {key for key, form in keys.forms.items() if form is Form.SECRET} == {"primary_key", "secondary_key"}
    assert Keys(section="x", forms={}).read({}) == {}


def test_shape__section_and_inputs__inputs_win() -> None:
    section = {"cpu_cores": 0.1, "memory_gb": 1, "auth_enabled": True, "location": "a", "description": "d"}
    shape = aci.shape(Given({**section, "enable_app_insights": True, "dns_name_label": "x"}, cpu_cores=2, location="b"))
    assert shape == AzureShape(
        cpu_cores=2,
        memory_gb=1,
        location="b",
        auth=AuthMode.KEY,
        description="d",
        enable_app_insights=True,
        raw={"dns_name_label": "x"},
    )
    assert aci.shape(Given(section, auth="none")).auth is AuthMode.NONE


@pytest.mark.parametrize(
    ("section", "auth"),
    [
        ({"token_auth_enabled": True}, AuthMode.TOKEN),
        ({"auth_enabled": False}, AuthMode.NONE),
        ({"auth_enabled": True, "token_auth_enabled": False}, AuthMode.KEY),
        ({}, None),
    ],
)
def test_shape__switches_of_auth__are_one_word(section: dict[str, Any], auth: AuthMode | None) -> None:
    shape = aks.shape(Given(section))
    assert (shape.auth, shape.raw) == (auth, {})


@pytest.mark.parametrize(
    ("section", "inputs", "says"),
    [
        ({"auth_enabled": True, "token_auth_enabled": True}, {}, "exclude each other"),
        ({"autoscale_enabled": True, "num_replicas": 2}, {}, "exclude each other"),
        ({"autoscale_enabled": True}, {"instance_count": 2}, "exclude each other"),
        ({"autoscale_min_replicas": 2}, {}, "needs `autoscale_enabled: true`"),
        ({"autoscale_enabled": False}, {}, "needs the number of instances"),
        ({"autoscale_enabled": True, "autoscale_min_replicas": 3, "autoscale_max_replicas": 2}, {}, "is more than"),
        ({"cpu_cores": 2, "cpu_cores_limit": 1}, {}, "is less than `cpu_cores`"),
        ({"secondary_key": "x"}, {}, "needs `primary_key`"),
    ],
)
def test_shape__what_azureml_core_would_refuse_late__is_refused_now(
    section: dict[str, Any], inputs: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidConfigFile, match=says):
        aks.shape(Given(section, **inputs))


def test_shape__aks_section__is_what_inputs_are_not() -> None:
    section = {"compute_target_name": "k", "num_replicas": 2, "collect_model_data": True, "gpu_cores": 1}
    assert aks.shape(Given(section)) == AzureShape(
        compute="k", instance_count=2, data_collection=True, raw={"gpu_cores": 1}
    )


def test_facts__another_secret__is_another_shape_and_none_stands_in_it() -> None:
    one, other = (AzureShape(raw={"primary_key": Secret(text)}) for text in ("first-secret", "other-secret"))
    assert one.facts() != other.facts()
    assert "first-secret" not in str(one.facts())


def test_cluster__settings__are_those_of_its_kind() -> None:
    assert checked_cluster(None) is None
    made = Cluster(name="k", settings={"vm_size": "Standard_D4_v2", "agent_count": 3})
    assert checked_cluster(made) == made
    with pytest.raises(UnknownConfigKey, match="vm_size"):
        checked_cluster(Cluster(name="k", resource_id="/subscriptions/1", settings={"vm_size": "x"}))
    with pytest.raises(InvalidConfigFile, match="agent_count"):
        checked_cluster(Cluster(name="k", settings={"agent_count": "three"}))
