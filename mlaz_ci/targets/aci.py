"""The target Azure Container Instances: v1, retired by Microsoft, still serving. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from mlaz_ci.errors import InapplicableInput
from mlaz_ci.models import AuthMode, AzureShape, DeploymentSpec, Finding, Request, ScoreRequest, Snapshot, Target
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
from mlaz_ci.targets.pieces import score_script
from mlaz_ci.targets.retired import retirement, what_managed_changes
from mlaz_ci.targets.section import Section, v1_section
from mlaz_ci.targets.side import Side
from mlaz_ci.targets.v1_keys import ACI
from mlaz_ci.targets.v1_shape import auth_of, check_strategy, fixed_settings, openness_note, read_section

side = Side.WEB_SERVICES
section: Section | None = v1_section(ACI)
plan_finish = finish_in_place
scripts = score_script
_INAPPLICABLE = "inapplicable"
_USES = {
    "compute": _INAPPLICABLE,
    "instance-type": _INAPPLICABLE,
    "instance-count": _INAPPLICABLE,
    "data-collection": _INAPPLICABLE,
    "canary-percent": _INAPPLICABLE,
    "keep-previous": _INAPPLICABLE,
}
_AUTH = (AuthMode.KEY, AuthMode.NONE)


def input_uses() -> Mapping[str, str]:
    return _USES


def findings(request: Request) -> tuple[Finding, ...]:
    """Once: that it is retired, the way out, and what that way changes. Raises InapplicableInput."""
    check_strategy(request, successor=Target.MANAGED)
    return (retirement(Target.ACI, Target.MANAGED, what_managed_changes(request.shape)),)


def shape(given: Given) -> AzureShape:
    section = read_section(ACI, given)
    auth = auth_of(given.given_choice("auth", AuthMode), section)
    if auth is not None and auth not in _AUTH:
        raise InapplicableInput(
            f"`auth: {auth}` cannot be had on target aci, whose services know {_AUTH[0]} and {_AUTH[1]}."
        )
    cpu_cores, memory_gb = section.pop("cpu_cores", None), section.pop("memory_gb", None)
    location, description = section.pop("location", None), section.pop("description", None)
    insights, given_insights = section.pop("enable_app_insights", None), given.given_boolean("enable-app-insights")
    return AzureShape(
        cpu_cores=given.given_number("cpu-cores") or cpu_cores,
        memory_gb=given.given_number("memory-gb") or memory_gb,
        location=given.text("location") or location,
        auth=auth,
        enable_app_insights=insights if given_insights is None else given_insights,
        description=given.text("description") or description,
        environment_variables=given.mapping("environment-variables"),
        raw=section,
    )


def plan_deploy(request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan:
    shape = spec.azure_shape
    return in_place.plan_deploy(
        request,
        spec,
        snapshot,
        smoke_request,
        target=Target.ACI,
        fixed=fixed_settings(ACI, shape),
        notes_when_new=(openness_note(shape.auth, is_open_by_default=True),),
    )
