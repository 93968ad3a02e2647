from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest

from mlaz_ci.errors import InapplicableInput, MissingInput
from mlaz_ci.models import AuthMode, AzureShape
from mlaz_ci.targets import TARGETS, aci, aks, kubernetes, managed


class Given:
    """The Given protocol over plain values."""

    def __init__(self, section: Mapping[str, Any] | None = None, **values: Any) -> None:
        self.values = {name.replace("_", "-"): value for name, value in values.items()}
        self.sections = section or {}
        self.cluster = None

    def text(self, name: str) -> Any:
        return self.values.get(name)

    given_number = given_boolean = local_number = text

    def mapping(self, name: str) -> Any:
        return self.values.get(name, {})

    def choice(self, name: str, enum: type[StrEnum]) -> Any:
        return enum(self.values[name])

    def given_choice(self, name: str, enum: type[StrEnum]) -> Any:
        return self.choice(name, enum) if name in self.values else None

    def section(self, name: str) -> Mapping[str, Any]:
        return self.sections


def test_shape__aci__takes_what_aci_has() -> None:
    given = Given({"dns_name_label": "x"}, cpu_cores=0.5, memory_gb=1.0, auth="key", location="westeurope")
    assert aci.shape(given) == AzureShape(
        cpu_cores=0.5, memory_gb=1.0, auth=AuthMode.KEY, location="westeurope", raw={"dns_name_label": "x"}
    )


@pytest.mark.parametrize(
    ("target", "auth"),
    [(aci, "token"), (aci, "entra"), (aks, "entra"), (managed, "none"), (kubernetes, "none"), (kubernetes, "entra")],
)
def test_shape__auth_that_the_target_has_not__is_refused(target: Any, auth: str) -> None:
    with pytest.raises(InapplicableInput, match=auth):
        target.shape(Given(auth=auth))


@pytest.mark.parametrize("target", [aks, managed, kubernetes])
def test_shape__instance_count__is_whole_or_as_it_is(target: Any) -> None:
    assert target.shape(Given(instance_count=3)).instance_count == 3
    assert target.shape(Given()).instance_count is None


@pytest.mark.parametrize(
    ("cores", "memory_gb", "instance_type"),
    [
        (1, 1.2, "Standard_DS1_v2"),
        (1, 2, "Standard_DS2_v2"),
        (0.1, 0.5, "Standard_DS1_v2"),
        (2, 1.7, "Standard_F2s_v2"),
        (2, 13.7, "Standard_E2s_v3"),
        (3, None, "Standard_F4s_v2"),
        (None, 16, "Standard_E4s_v3"),
        (4, 8, "Standard_DS3_v2"),
    ],
)
def test_shape__cores_and_memory_on_managed__are_the_first_size_that_fits(
    cores: float | None, memory_gb: float | None, instance_type: str
) -> None:
    assert managed.shape(Given(cpu_cores=cores, memory_gb=memory_gb)).instance_type == instance_type


def test_shape__managed_beyond_the_table__asks_for_instance_type() -> None:
    with pytest.raises(MissingInput, match="5 cores"):
        managed.shape(Given(cpu_cores=5))
    assert managed.shape(Given(cpu_cores=5, instance_type="Standard_DS4_v2")).instance_type == "Standard_DS4_v2"
    assert managed.shape(Given()).instance_type is None


def test_input_uses__every_target__names_known_uses() -> None:
    for rules in [*TARGETS.values(), managed, kubernetes]:
        assert set(rules.input_uses().values()) <= {"security", "inapplicable", "translated"}


def test_facts__description_alone_differs__is_the_same_shape() -> None:
    assert AzureShape(description="a").facts() == AzureShape(description="b").facts()
    assert AzureShape(cpu_cores=1).facts() != AzureShape(cpu_cores=2).facts()
