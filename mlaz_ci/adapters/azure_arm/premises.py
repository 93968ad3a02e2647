"""What stands in the way of every deploy, looked for before anything is made: switches, the cluster, the way it serves. It only reads."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.models import AzureShape, Finding, Request, Severity, Target
from mlaz_ci.targets.managed import DEFAULT_INSTANCE_TYPE
from mlaz_ci.targets.online_section import read_section


class Inspection:
    def __init__(self, door: WorkspaceDoor, request: Request) -> None:
        self._door = door
        self._request = request
        assert isinstance(request.shape, AzureShape)
        self._shape = request.shape

    def findings(self) -> tuple[Finding, ...]:
        """Raises what stands in the way of everything: WorkspaceNotFound, RoleMissing, SignInRefused."""
        is_kubernetes = self._request.target is Target.KUBERNETES
        return (*self._switches(), *self._shown_size(), *(self._cluster() if is_kubernetes else ()), *self._serving())

    # --- the workspace ---------------------------------------------------------------------------------------------

    def _switches(self) -> Iterator[Finding]:
        facts = self._door.facts
        name = self._door.workspace.name
        if facts.is_in_legacy_mode:
            yield Finding(
                code="workspace-legacy-mode",
                severity=Severity.ERROR,
                what=f'The workspace "{name}" has `v1LegacyMode` on.',
                usually="It switches off everything that goes through ARM: endpoints, models, environments.",
                remedy="Have an administrator set `v1_legacy_mode` to false on the workspace, or use target aci or aks.",
            )
        if not facts.is_public:
            yield Finding(
                code="workspace-private",
                severity=Severity.NOTICE,
                what=f'The workspace "{name}" takes no requests from public networks.',
                usually="Uploads, logs and the smoke test may then be out of this machine's reach; ARM is not.",
                remedy="Run on a runner in its network, or set `smoke-test: best-effort`.",
            )
        if facts.network_isolation == "AllowOnlyApprovedOutbound":
            yield Finding(
                code="workspace-outbound-closed",
                severity=Severity.NOTICE,
                what=f'The managed network of "{name}" lets out approved traffic alone.',
                usually="Azure builds the environment's image inside of it, and asks the package index from there.",
                remedy="Approve the package index and the image registry, or give `azureml-environment`.",
            )

    # --- managed: machines -----------------------------------------------------------------------------------------

    def _shown_size(self) -> Iterator[Finding]:
        size = self._shape.instance_type or DEFAULT_INSTANCE_TYPE
        if self._request.target is Target.KUBERNETES:
            return
        if self._shape.cpu_cores is not None or self._shape.memory_gb is not None:
            yield Finding(
                code="size-chosen",
                severity=Severity.NOTICE,
                what=f"`cpu-cores` {self._shape.cpu_cores or 'any'} and `memory-gb` {self._shape.memory_gb or 'any'} become the VM size {size}.",
                remedy="Give `instance-type` for another.",
            )

    # --- Kubernetes: the cluster -----------------------------------------------------------------------------------

    def _cluster(self) -> Iterator[Finding]:
        name = (self._shape.compute or "").rpartition("/")[2]
        if not name:
            return
        answer = self._door.arm(
            "GET", f"/computes/{quote(name, safe='')}", doing=f'read the compute "{name}"', allowed={404}
        )
        if answer.status == 404:
            yield Finding(
                code="compute-not-found",
                severity=Severity.ERROR,
                what=f'There is no compute "{name}" in the workspace.',
                usually="The name in `compute` is mistyped, or the cluster was never attached to this workspace.",
                remedy="Attach it (`az ml compute attach --type Kubernetes`), or name one of `az ml compute list`.",
            )
            return
        properties = answer.object.get("properties") or {}
        kind, state = str(properties.get("computeType") or ""), str(properties.get("provisioningState") or "")
        if kind != "Kubernetes":
            yield Finding(
                code="compute-not-kubernetes",
                severity=Severity.ERROR,
                what=f'The compute "{name}" is of type {kind}, not Kubernetes.',
                usually="An AKS cluster of v1 (AksCompute) cannot carry online endpoints.",
                remedy="Install Azure Machine Learning's extension in the cluster and attach it as Kubernetes compute.",
            )
        elif state.lower() != "succeeded":
            yield Finding(
                code="compute-not-ready",
                severity=Severity.ERROR,
                what=f'The compute "{name}" is {state}.',
                remedy="Wait until it has Succeeded, or detach it and attach it again.",
            )

    # --- how it serves ---------------------------------------------------------------------------------------------

    def _serving(self) -> Iterator[Finding]:
        if read_section(self._shape.raw, self._request.target).is_no_code:
            yield Finding(
                code="serving-no-code",
                severity=Severity.WARNING,
                what="`serving: no-code`: Azure's own generated script and image serve the model.",
                usually=(
                    "They take `input_data` alone, install the model's packages when the container starts, and change without notice; "
                    "nothing was checked together with the inference server."
                ),
                remedy="Leave `serving` out to have the script and the lock that every other target has.",
            )
