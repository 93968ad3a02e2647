"""The target Azure Container Instances: v1, retired by Microsoft, still serving. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mlaz_ci.errors import InapplicableInput
from mlaz_ci.models import AuthMode, AzureShape, Finding
from mlaz_ci.targets.finishing import finish_in_place
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.in_place import plan_cleanup as plan_cleanup
from mlaz_ci.targets.in_place import plan_deploy as plan_deploy
from mlaz_ci.targets.in_place import plan_rollback as plan_rollback
from mlaz_ci.targets.names import check_service_name as check_service_name
from mlaz_ci.targets.pieces import deployment_name as deployment_name
from mlaz_ci.targets.pieces import plan_promote as plan_promote
from mlaz_ci.targets.pieces import plan_reject as plan_reject
from mlaz_ci.targets.retired import retirement
from mlaz_ci.targets.side import Side

side = Side.WEB_SERVICES
plan_finish = finish_in_place
findings: tuple[Finding, ...] = (retirement("aci", "managed"),)
_INAPPLICABLE = "inapplicable"
_USES = {
    "compute": _INAPPLICABLE,
    "instance-type": _INAPPLICABLE,
    "instance-count": _INAPPLICABLE,
    "data-collection": _INAPPLICABLE,
    "strategy": _INAPPLICABLE,
    "canary-percent": _INAPPLICABLE,
    "keep-previous": _INAPPLICABLE,
}
_AUTH = (AuthMode.KEY, AuthMode.NONE)


def input_uses() -> Mapping[str, str]:
    return _USES


def shape(given: Given) -> AzureShape:
    auth = given.given_choice("auth", AuthMode)
    if auth is not None and auth not in _AUTH:
        raise InapplicableInput(
            f"`auth: {auth}` cannot be had on target aci, whose services know {_AUTH[0]} and {_AUTH[1]}."
        )
    return AzureShape(
        cpu_cores=given.given_number("cpu-cores"),
        memory_gb=given.given_number("memory-gb"),
        location=given.text("location"),
        auth=auth,
        enable_app_insights=given.given_boolean("enable-app-insights"),
        description=given.text("description"),
        environment_variables=given.mapping("environment-variables"),
        raw=given.section("aci"),
    )
