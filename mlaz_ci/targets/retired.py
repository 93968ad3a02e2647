"""What is said, once, of the targets that Microsoft retired."""

from __future__ import annotations

from mlaz_ci.models import Finding, Severity

_RETIRED_ON = "2026-06-30"


def retirement(target: str, successor: str) -> Finding:
    return Finding(
        code="retired-target",
        severity=Severity.WARNING,
        what=f"Microsoft retired the v1 web services behind `target: {target}` on {_RETIRED_ON}; services that exist keep running.",
        usually="The workflow was written for a v1 service.",
        remedy=(
            f"`target: {successor}` takes the same inputs and answers the same bodies; the URL and the keys change with it, and "
            "callers send the same Authorization header."
        ),
    )
