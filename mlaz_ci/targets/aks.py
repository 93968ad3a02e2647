"""The target Azure Kubernetes Service through v1's web services, retired by Microsoft, still serving. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mlaz_ci.errors import InapplicableInput, MissingInput
from mlaz_ci.models import AuthMode, AzureShape, DeploymentSpec, Finding, Request, ScoreRequest, Snapshot
from mlaz_ci.plan import Plan
from mlaz_ci.targets import in_place
from mlaz_ci.targets.finishing import finish_in_place
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.in_place import plan_cleanup as plan_cleanup
from mlaz_ci.targets.in_place import plan_rollback as plan_rollback
from mlaz_ci.targets.names import check_service_name as check_service_name
from mlaz_ci.targets.pieces import deployment_name as deployment_name
from mlaz_ci.targets.pieces import plan_promote as plan_promote
from mlaz_ci.targets.pieces import plan_reject as plan_reject
from mlaz_ci.targets.retired import retirement
from mlaz_ci.targets.side import Side

side = Side.WEB_SERVICES
plan_finish = finish_in_place
findings: tuple[Finding, ...] = (retirement("aks", "kubernetes"),)
_INAPPLICABLE = "inapplicable"
_USES = {
    "instance-type": _INAPPLICABLE,
    "location": _INAPPLICABLE,
    "strategy": _INAPPLICABLE,
    "canary-percent": _INAPPLICABLE,
    "keep-previous": _INAPPLICABLE,
}
_AUTH = (AuthMode.KEY, AuthMode.TOKEN, AuthMode.NONE)


def input_uses() -> Mapping[str, str]:
    return _USES


def shape(given: Given) -> AzureShape:
    auth = given.given_choice("auth", AuthMode)
    if auth is not None and auth not in _AUTH:
        raise InapplicableInput(f"`auth: {auth}` cannot be had on target aks, whose services know {', '.join(_AUTH)}.")
    instance_count = given.given_number("instance-count")
    return AzureShape(
        cpu_cores=given.given_number("cpu-cores"),
        memory_gb=given.given_number("memory-gb"),
        compute=given.text("compute"),
        cluster=given.cluster,
        auth=auth,
        instance_count=None if instance_count is None else int(instance_count),
        enable_app_insights=given.given_boolean("enable-app-insights"),
        data_collection=bool(given.given_boolean("data-collection")),
        description=given.text("description"),
        environment_variables=given.mapping("environment-variables"),
        raw=given.section("aks"),
    )


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    if snapshot.service is None and spec.azure_shape.compute is None:
        raise MissingInput(
            "`compute` is missing.",
            usually="A service of target aks runs on a cluster that is attached to the workspace.",
            remedy="Name the attached cluster; `az ml compute list` tells them.",
        )
    return in_place.plan_deploy(request, spec, snapshot, smoke_request)
