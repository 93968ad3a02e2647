"""What would stop a deploy to ACI or AKS later, looked for before anything is made. It changes nothing."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.azureml_v1.clusters import AksClusters, kind_of
from mlaz_ci.adapters.azureml_v1.settings import all_files
from mlaz_ci.errors import MlazError
from mlaz_ci.models import AzureShape, Finding, Request, Severity, Target

_PERMISSIONS_VERSION: Final = "2022-04-01"
_ML: Final = "Microsoft.MachineLearningServices/workspaces"
# What each target writes, as Microsoft's page on roles names it ("Manage access to workspaces").
_WRITES: Final = {
    Target.ACI: (f"{_ML}/services/aci/write", f"{_ML}/models/write", f"{_ML}/environments/write"),
    Target.AKS: (f"{_ML}/services/aks/write", f"{_ML}/models/write", f"{_ML}/environments/write"),
}
_ROLE: Final = "AzureML Data Scientist"


class Inspection:
    def __init__(self, door: WorkspaceDoor, clusters: AksClusters, target: Target) -> None:
        self._door = door
        self._clusters = clusters
        self._target = target

    def inspect(self, request: Request) -> Sequence[Finding]:
        """Raises what stands in the way of everything: WorkspaceNotFound, RoleMissing, SignInRefused, …"""
        shape = request.shape
        assert isinstance(shape, AzureShape)
        return [
            *self._workspace(),
            *self._permissions(),
            *(self._compute(shape) if self._target is Target.AKS else ()),
            *_files(shape),
        ]

    def _workspace(self) -> Iterator[Finding]:
        if not self._door.facts.is_public:
            yield Finding(
                code="workspace-private",
                severity=Severity.WARNING,
                what=f'The workspace "{self._door.workspace.name}" has public network access switched off.',
                usually="It takes requests through its private endpoint alone.",
                remedy="Run on a self-hosted runner inside of its network; elsewhere Azure refuses what comes next.",
            )

    def _permissions(self) -> Iterator[Finding]:
        """Whether the identity may write what this target makes. Who may not even ask is told by the write itself."""
        try:
            answer = self._door.arm_at(
                "GET",
                f"{self._door.path}/providers/Microsoft.Authorization/permissions",
                doing="read what this identity may do in the workspace",
                api_version=_PERMISSIONS_VERSION,
            ).object
        except MlazError:
            return
        granted = [each for each in answer.get("value") or () if isinstance(each, dict)]
        missing = [action for action in _WRITES[self._target] if not any(_allows(each, action) for each in granted)]
        if missing:
            yield Finding(
                code="role-missing",
                severity=Severity.ERROR,
                what=f"The identity may not do {', '.join(missing)} in the workspace.",
                usually="It has a role that only reads, or one that was given minutes ago and does not show yet.",
                remedy=f'Give it the role "{_ROLE}" (or Contributor) on {self._door.path}.',
            )

    def _compute(self, shape: AzureShape) -> Iterator[Finding]:
        if shape.compute is None or (shape.cluster and shape.cluster.name == shape.compute):
            return
        there = self._clusters.find(shape.compute)
        if there is None:
            yield Finding(
                code="compute-not-found",
                severity=Severity.ERROR,
                what=f'The workspace has no compute "{shape.compute}".',
                usually="The name in `compute` is mistyped, or the cluster was never attached, or was detached.",
                remedy="`az ml compute list` tells the attached ones; `compute: {name: …, create: true}` in the config file makes one.",
            )
        elif kind_of(there) != "AKS":
            yield Finding(
                code="compute-not-fit",
                severity=Severity.ERROR,
                what=f'The compute "{shape.compute}" is no AKS cluster of v1 but {kind_of(there)}.',
                usually="It was attached for Kubernetes online endpoints, or is a cluster for training.",
                remedy="Name an AKS cluster, or use target kubernetes with this one.",
            )
        elif (state := _state(there)) != "Succeeded":
            yield Finding(
                code="compute-not-ready",
                severity=Severity.ERROR,
                what=f'The compute "{shape.compute}" is not ready: Azure says {state}.',
                usually="It is still being made, or its making failed.",
                remedy="Wait for it, or delete it and have it made again.",
            )


def _state(compute: Mapping[str, Any]) -> str:
    return str((compute.get("properties") or {}).get("provisioningState"))


def _allows(permission: Mapping[str, Any], action: str) -> bool:
    """Azure compares without case, and a pattern's `*` stands for anything, slashes included."""

    def has(name: str) -> bool:
        patterns = permission.get(name) or ()
        return any(fnmatch.fnmatchcase(action.lower(), str(pattern).lower()) for pattern in patterns)

    return has("actions") and not has("notActions")


def _files(shape: AzureShape) -> Iterator[Finding]:
    """azureml-core would read them when the service is made, and leave out silently what cannot be read."""
    for key, path in all_files(shape).items():
        if not Path(path).is_file():
            yield Finding(
                code="file-not-found",
                severity=Severity.ERROR,
                what=f"`{key}` names {path}, and there is no such file.",
                usually="The path is mistyped, or the step runs before the file is there.",
                remedy="Correct the path; it is relative to the working directory.",
            )
