"""What is said, once, of the targets that Microsoft retired: the way out, and what it changes."""

from __future__ import annotations

from mlaz_ci.models import AuthMode, AzureShape, Finding, Severity, Shape, Target
from mlaz_ci.targets.instance_types import instance_type_for

_RETIRED_ON = "2026-06-30"


def retirement(target: Target, successor: Target, changes: str) -> Finding:
    return Finding(
        code="retired-target",
        severity=Severity.WARNING,
        what=f"Microsoft retired the v1 web services behind `target: {target}` on {_RETIRED_ON}; services that exist keep running.",
        usually="The workflow was written for a v1 service.",
        remedy=(
            f"One word moves it: `target: {successor}`. Inputs, bodies, answers and the callers' Authorization header stay; "
            f"the URL and the keys change. {changes}"
        ),
    )


def what_managed_changes(shape: Shape) -> str:
    assert isinstance(shape, AzureShape)
    # Azure's own default for a container of ACI.
    cores, memory_gb = shape.cpu_cores or 0.1, shape.memory_gb or 0.5
    size = instance_type_for(cores, memory_gb)
    room = f"{cores:g} {'core' if cores == 1 else 'cores'} and {memory_gb:g} GB"
    runs = f"For {room} it runs on a {size}." if size else f"For {room} it needs an `instance-type`, a VM size."
    asks = " It asks its callers for a key, which this service does not." if shape.auth in {None, AuthMode.NONE} else ""
    return runs + asks


def what_kubernetes_changes(shape: Shape) -> str:
    assert isinstance(shape, AzureShape)
    asks = " It asks its callers for a key, which this service does not." if shape.auth is AuthMode.NONE else ""
    return f"The cluster needs the Azure Machine Learning extension, and is attached as Kubernetes under a name of its own.{asks}"
