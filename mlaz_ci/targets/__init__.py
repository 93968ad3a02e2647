"""The registry of targets: which inputs each uses, how it names services, how it plans. One row per target.

A target is a module that satisfies `TargetRules`; targets are strangers to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol

from mlaz_ci.models import DeploymentSpec, Finding, Request, ScoreRequest, Shape, Snapshot, Target
from mlaz_ci.plan import Plan
from mlaz_ci.targets import aci, aks, kubernetes, local, managed
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.section import Section
from mlaz_ci.targets.side import Side as Side


class InputUse(StrEnum):
    """What becomes of a given input on a target that does not take it as it is."""

    TRANSLATED = "translated"
    INAPPLICABLE = "inapplicable"
    SECURITY = "security"


class TargetRules(Protocol):
    """What the rest of the house asks of a target. All of it is pure."""

    side: Side
    """What serves there: which adapter drives it."""

    section: Section | None
    """What the config file may say in the section of the target's name; None where inputs' own table has its keys."""

    def shape(self, given: Given) -> Shape:
        """What the service shall look like. Raises InvalidInput, MissingInput for what this target cannot have."""
        ...

    def findings(self, request: Request) -> tuple[Finding, ...]:
        """What there is to say of every deploy to this target. Raises InapplicableInput for what leaving out would turn into its opposite."""
        ...

    def scripts(self, shape: Shape, /) -> Sequence[str]:
        """The names of our programs (serving/) that run inside a service of this shape: another version of one is another service."""
        ...

    def check_service_name(self, name: str) -> None:
        """Raises InvalidInput with the rule and a name that would do."""
        ...

    def input_uses(self) -> Mapping[str, str]:
        """Input name → InputUse value, for inputs that this target does not take as they are."""
        ...

    def deployment_name(self, request: Request, snapshot: Snapshot) -> str: ...

    def plan_deploy(
        self, request: Request, spec: DeploymentSpec, snapshot: Snapshot, smoke_request: ScoreRequest | None
    ) -> Plan: ...

    def plan_finish(self, request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan | None:
        """What takes a deploy with `wait: false` to its end; None where nothing is under way."""
        ...

    def plan_cleanup(self, request: Request, snapshot: Snapshot) -> Plan: ...

    def plan_rollback(self, request: Request, snapshot: Snapshot, smoke_request: ScoreRequest | None) -> Plan: ...

    def plan_promote(self, request: Request, snapshot: Snapshot) -> Plan: ...

    def plan_reject(self, request: Request, snapshot: Snapshot) -> Plan: ...


TARGETS: Final[Mapping[Target, TargetRules]] = {
    Target.LOCAL: local,
    Target.ACI: aci,
    Target.AKS: aks,
    Target.MANAGED: managed,
    Target.KUBERNETES: kubernetes,
}


def rules_of(target: Target) -> TargetRules:
    return TARGETS[target]
