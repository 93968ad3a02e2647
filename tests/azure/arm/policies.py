"""Azure Policy on tags, as companies assign it: a resource without the tag is denied, or is given it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm import answers
from tests.azure.state import Cloud


@dataclass(slots=True)
class Policies:
    """What is assigned to the subscription: cloud.state(policies.Policies). Both apply to writes of resources with tags."""

    # Denied without these tags.
    required: list[str] = field(default_factory=list)
    # Added where the writer left them out ("modify" with addOrReplace left aside: an existing value stays).
    added: dict[str, str] = field(default_factory=dict)


def applied(cloud: Cloud, resource: str, body: dict[str, Any], *, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """The body as policy lets it through, or 403. `tags`: those a PATCH without any leaves in place."""
    rules = cloud.state(Policies)
    value = dict(body)
    if not rules.required and not rules.added:
        return value
    given = value.get("tags")
    found = dict(given if given is not None else tags or {})
    missing = [name for name in rules.required if name.lower() not in {tag.lower() for tag in found}]
    if missing:
        raise _denied(resource, missing[0])
    for name, text in rules.added.items():
        found.setdefault(name, text)
    value["tags"] = found
    return value


def _denied(resource: str, tag: str) -> Exception:
    name = resource.rpartition("/")[2]
    subscription = "/".join(resource.split("/")[:3])
    assignment = f"{subscription}/providers/Microsoft.Authorization/policyAssignments/require-{tag}"
    definition = "/providers/Microsoft.Authorization/policyDefinitions/871b6d14-10aa-478d-b590-94f262ecfa99"
    label = "Require a tag on resources"
    identifiers = f'[{{"policyAssignment":{{"name":"{label}","id":"{assignment}"}},"policyDefinition":{{"name":"{label}","id":"{definition}"}}}}]'
    violation = {
        "policyDefinitionDisplayName": label,
        "policyDefinitionId": definition,
        "policyDefinitionEffect": "deny",
        "policyAssignmentId": assignment,
        "policyAssignmentDisplayName": label,
        "policyAssignmentScope": subscription,
        "policyAssignmentParameters": {"tagName": {"value": tag}},
    }
    return answers.arm_refusal(
        403,
        "RequestDisallowedByPolicy",
        f"Resource '{name}' was disallowed by policy. Policy identifiers: '{identifiers}'.",
        target=name,
        additionalInfo=[{"type": "PolicyViolation", "info": violation}],
    )
