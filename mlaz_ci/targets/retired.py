"""What is said, once, of the targets that Microsoft retired."""

from __future__ import annotations

from mlaz_ci.models import AuthMode, AzureShape, Finding, Severity
from mlaz_ci.targets.instance_types import instance_type_for

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


def successor_note(shape: AzureShape) -> str:
    """What target managed would make of an ACI service's shape."""
    asks = " and asks its callers for a key, which this service does not" if shape.auth in {None, AuthMode.NONE} else ""
    # Azure's own default for a container of ACI.
    cores, memory_gb = shape.cpu_cores or 0.1, shape.memory_gb or 0.5
    size = instance_type_for(cores, memory_gb)
    runs = f"runs on a {size}" if size else "asks for `instance-type`, a VM size,"
    return f"`target: managed` {runs} for {cores:g} cores and {memory_gb:g} GB{asks}."
