"""The target Kubernetes online endpoints: a cluster that is attached to the workspace. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mlaz_ci.errors import InapplicableInput, InvalidInput, MissingInput
from mlaz_ci.models import AuthMode, AzureShape, DeploymentSpec, Request, ScoreRequest, Shape, Snapshot, Target
from mlaz_ci.plan import Plan
from mlaz_ci.targets import beside
from mlaz_ci.targets.ending import plan_cleanup as plan_cleanup
from mlaz_ci.targets.ending import plan_promote as plan_promote
from mlaz_ci.targets.ending import plan_reject as plan_reject
from mlaz_ci.targets.ending import plan_rollback as plan_rollback
from mlaz_ci.targets.endpoint_parts import deployment_name as deployment_name
from mlaz_ci.targets.finishing import finish_beside
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.names import check_service_name as check_service_name
from mlaz_ci.targets.online_section import online_section, read_section, scripts_of
from mlaz_ci.targets.pieces import findings as findings
from mlaz_ci.targets.section import Section
from mlaz_ci.targets.side import Side

side = Side.ONLINE_ENDPOINTS
section: Section | None = online_section(Target.KUBERNETES)
plan_finish = finish_beside
_AUTH = (AuthMode.KEY, AuthMode.TOKEN)
_SHORTEST, _LONGEST = 6, 62
_USES = {"location": "inapplicable"}


def input_uses() -> Mapping[str, str]:
    return _USES


def scripts(shape: Shape) -> tuple[str, ...]:
    return scripts_of(shape, Target.KUBERNETES)


def shape(given: Given) -> AzureShape:
    read_section(given.section("kubernetes"), Target.KUBERNETES)
    auth = given.given_choice("auth", AuthMode)
    if auth is not None and auth not in _AUTH:
        raise InapplicableInput(
            f"`auth: {auth}` cannot be had on target kubernetes.", remedy=f"Use one of {', '.join(_AUTH)}."
        )
    if given.cluster is not None:
        raise InapplicableInput(
            "`compute` cannot be made or attached on target kubernetes.",
            usually="v1's clusters, which `create` and `attach` are for, cannot carry online endpoints.",
            remedy="Attach the cluster once (`az ml compute attach --type Kubernetes …`), and name it in `compute`.",
            config_key="compute",
        )
    count = given.given_number("instance-count")
    return AzureShape(
        cpu_cores=given.given_number("cpu-cores"),
        memory_gb=given.given_number("memory-gb"),
        compute=given.text("compute"),
        auth=auth,
        instance_type=given.text("instance-type"),
        instance_count=None if count is None else int(count),
        enable_app_insights=given.given_boolean("enable-app-insights"),
        data_collection=bool(given.given_boolean("data-collection")),
        description=given.text("description"),
        environment_variables=given.mapping("environment-variables"),
        raw=given.section("kubernetes"),
    )


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    if snapshot.service is None and spec.azure_shape.compute is None:
        raise MissingInput(
            "`compute` is missing.",
            usually="An endpoint of target kubernetes runs on a cluster that is attached to the workspace.",
            remedy="Name the attached cluster; `az ml compute list` tells them.",
        )
    _check_names(spec)
    return beside.plan_deploy(request, spec, snapshot, smoke_request)


def _check_names(spec: DeploymentSpec) -> None:
    """Kubernetes' own limit, on both names together ("Manage and increase quotas"). Raises InvalidInput."""
    length = len(spec.service_name) + len(spec.deployment_name)
    if not _SHORTEST <= length <= _LONGEST:
        raise InvalidInput(
            f"`service-name` and the deployment's name have {length} characters together: "
            f'"{spec.service_name}", "{spec.deployment_name}".',
            usually=f"On target kubernetes they have {_SHORTEST} to {_LONGEST} together.",
            remedy="Shorten `service-name` or `deployment-name`.",
        )
