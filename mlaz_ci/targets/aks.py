"""The target Azure Kubernetes Service through v1's web services, retired by Microsoft, still serving. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlaz_ci.errors import InapplicableInput, InvalidConfigFile, MissingInput
from mlaz_ci.models import AuthMode, AzureShape, DeploymentSpec, Finding, Request, ScoreRequest, Snapshot, Target
from mlaz_ci.plan import Plan
from mlaz_ci.targets import in_place
from mlaz_ci.targets.clusters import checked_cluster
from mlaz_ci.targets.finishing import finish_in_place
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.in_place import plan_cleanup as plan_cleanup
from mlaz_ci.targets.in_place import plan_rollback as plan_rollback
from mlaz_ci.targets.names import check_service_name as check_service_name
from mlaz_ci.targets.pieces import deployment_name as deployment_name
from mlaz_ci.targets.pieces import plan_promote as plan_promote
from mlaz_ci.targets.pieces import plan_reject as plan_reject
from mlaz_ci.targets.pieces import score_script
from mlaz_ci.targets.retired import retirement, what_kubernetes_changes
from mlaz_ci.targets.section import Section, v1_section
from mlaz_ci.targets.side import Side
from mlaz_ci.targets.v1_keys import AKS
from mlaz_ci.targets.v1_shape import auth_of, check_strategy, fixed_settings, openness_note, read_section

side = Side.WEB_SERVICES
section: Section | None = v1_section(AKS)
plan_finish = finish_in_place
scripts = score_script
_INAPPLICABLE = "inapplicable"
_USES = {
    "instance-type": _INAPPLICABLE,
    "location": _INAPPLICABLE,
    "canary-percent": _INAPPLICABLE,
    "keep-previous": _INAPPLICABLE,
}
_AUTH = (AuthMode.KEY, AuthMode.TOKEN, AuthMode.NONE)


def input_uses() -> Mapping[str, str]:
    return _USES


def findings(request: Request) -> tuple[Finding, ...]:
    """Once: that it is retired, the way out, and what that way changes. Raises InapplicableInput."""
    check_strategy(request, successor=Target.KUBERNETES)
    return (retirement(Target.AKS, Target.KUBERNETES, what_kubernetes_changes(request.shape)),)


def shape(given: Given) -> AzureShape:
    section = read_section(AKS, given)
    auth = auth_of(given.given_choice("auth", AuthMode), section)
    if auth is not None and auth not in _AUTH:
        raise InapplicableInput(f"`auth: {auth}` cannot be had on target aks, whose services know {', '.join(_AUTH)}.")
    in_section = section.pop("compute_target_name", None)
    instances, count = section.pop("num_replicas", None), given.given_number("instance-count")
    _check_scaling(section, instances if count is None else int(count))
    cpu_cores, memory_gb = section.pop("cpu_cores", None), section.pop("memory_gb", None)
    insights, given_insights = section.pop("enable_app_insights", None), given.given_boolean("enable-app-insights")
    collects, description = section.pop("collect_model_data", None), section.pop("description", None)
    given_collects = given.given_boolean("data-collection")
    return AzureShape(
        cpu_cores=given.given_number("cpu-cores") or cpu_cores,
        memory_gb=given.given_number("memory-gb") or memory_gb,
        compute=given.text("compute") or in_section,
        cluster=checked_cluster(given.cluster),
        auth=auth,
        instance_count=instances if count is None else int(count),
        enable_app_insights=insights if given_insights is None else given_insights,
        data_collection=bool(collects if given_collects is None else given_collects),
        description=given.text("description") or description,
        environment_variables=given.mapping("environment-variables"),
        raw=section,
    )


def _check_scaling(section: Mapping[str, Any], instances: int | None) -> None:
    """What azureml-core would refuse when the service is made, after everything else was."""
    scales = section.get("autoscale_enabled")
    bounds = [key for key in section if key.startswith("autoscale_") and key != "autoscale_enabled"]
    low, high = section.get("autoscale_min_replicas"), section.get("autoscale_max_replicas")
    for core, limit in (("cpu_cores", "cpu_cores_limit"), ("memory_gb", "memory_gb_limit")):
        if core in section and section.get(limit, section[core]) < section[core]:
            raise InvalidConfigFile(f"`aks: {limit}` is less than `{core}`.", config_key=f"aks.{limit}")
    key, problem = "autoscale_enabled", None
    if scales and instances:
        problem = "`aks: autoscale_enabled` and a fixed number of instances (`instance-count`) exclude each other."
    elif not scales and bounds:
        key, problem = bounds[0], f"`aks: {bounds[0]}` needs `autoscale_enabled: true`."
    elif scales is False and not instances:
        problem = "`aks: autoscale_enabled: false` needs the number of instances (`instance-count`)."
    elif low and high and low > high:
        key, problem = (
            "autoscale_min_replicas",
            "`aks: autoscale_min_replicas` is more than `autoscale_max_replicas`.",
        )
    if problem:
        raise InvalidConfigFile(problem, config_key=f"aks.{key}")


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    shape = spec.azure_shape
    if snapshot.service is None and shape.compute is None:
        raise MissingInput(
            "`compute` is missing.",
            usually="A service of target aks runs on a cluster that is attached to the workspace.",
            remedy="Name the attached cluster (`az ml compute list` tells them), or have one made: `compute: {name: …, create: true}` in the config file.",
        )
    return in_place.plan_deploy(
        request,
        spec,
        snapshot,
        smoke_request,
        target=Target.AKS,
        fixed=fixed_settings(AKS, shape),
        notes_when_new=(openness_note(shape.auth, is_open_by_default=False),),
    )
