"""The target managed online endpoints: Azure's own machines, one size for each deployment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlaz_ci.errors import InapplicableInput, MissingInput
from mlaz_ci.models import AuthMode, AzureShape, Shape, Target
from mlaz_ci.targets.beside import plan_deploy as plan_deploy
from mlaz_ci.targets.ending import plan_cleanup as plan_cleanup
from mlaz_ci.targets.ending import plan_promote as plan_promote
from mlaz_ci.targets.ending import plan_reject as plan_reject
from mlaz_ci.targets.ending import plan_rollback as plan_rollback
from mlaz_ci.targets.endpoint_parts import deployment_name as deployment_name
from mlaz_ci.targets.finishing import finish_beside
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.instance_types import instance_type_for as instance_type_for
from mlaz_ci.targets.names import check_service_name as check_service_name
from mlaz_ci.targets.online_section import online_section, read_section, scripts_of
from mlaz_ci.targets.pieces import findings as findings
from mlaz_ci.targets.section import Section
from mlaz_ci.targets.side import Side

side = Side.ONLINE_ENDPOINTS
section: Section | None = online_section(Target.MANAGED)
plan_finish = finish_beside
DEFAULT_INSTANCE_TYPE: Final = "Standard_DS3_v2"
_AUTH = (AuthMode.KEY, AuthMode.TOKEN, AuthMode.ENTRA)
_USES = {
    "cpu-cores": "translated",
    "memory-gb": "translated",
    "compute": "inapplicable",
    "location": "inapplicable",
}


def input_uses() -> Mapping[str, str]:
    return _USES


def scripts(shape: Shape) -> tuple[str, ...]:
    return scripts_of(shape, Target.MANAGED)


def shape(given: Given) -> AzureShape:
    read_section(given.section("managed"), Target.MANAGED)
    auth = given.given_choice("auth", AuthMode)
    if auth is AuthMode.NONE:
        raise InapplicableInput(
            "`auth: none` cannot be had on target managed: a managed online endpoint always asks who calls.",
            remedy=f"Use one of {', '.join(_AUTH)}.",
        )
    count = given.given_number("instance-count")
    return AzureShape(
        cpu_cores=given.given_number("cpu-cores"),
        memory_gb=given.given_number("memory-gb"),
        auth=auth,
        instance_type=_instance_type(given),
        instance_count=None if count is None else int(count),
        enable_app_insights=given.given_boolean("enable-app-insights"),
        data_collection=bool(given.given_boolean("data-collection")),
        description=given.text("description"),
        environment_variables=given.mapping("environment-variables"),
        raw=given.section("managed"),
    )


def _told(number: float | None) -> str:
    return "any number of" if number is None else f"{number:g}"


def _instance_type(given: Given) -> str | None:
    """The given VM size, else the one for the given cores and memory; None where nothing is given."""
    if named := given.text("instance-type"):
        return named
    cores, memory_gb = given.given_number("cpu-cores"), given.given_number("memory-gb")
    if cores is None and memory_gb is None:
        return None
    if found := instance_type_for(cores, memory_gb):
        return found
    raise MissingInput(
        f"No VM size is known for {_told(cores)} cores and {_told(memory_gb)} GB.",
        usually="Microsoft's table from cores and memory to VM sizes ends at 4 cores and 16 GB.",
        remedy="Give `instance-type`, a VM size such as Standard_DS4_v2.",
    )
