"""AKS clusters of the workspace: made or attached through azureml-core, awaited and removed through ARM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.adapters.azureml_v1.sdk import Sdk
from mlaz_ci.errors import (
    AzureFailed,
    AzureUnreachable,
    ClusterFailed,
    Conflict,
    DeployTimedOut,
    MlazError,
    ServiceBusy,
)
from mlaz_ci.models import Cluster
from mlaz_ci.ports import Clock, Progress
from mlaz_ci.refusals import read_told, refusal_of
from mlaz_ci.serving.stamp import check_owner

_POLL_S: Final = 10.0
_REMOVAL_S: Final = 1200.0
# What Azure takes to make one; for the progress alone.
_USUAL_S: Final = 1320.0
_ENDED_BADLY: Final = frozenset({"Failed", "Canceled"})
_BY_ENABLE_SSL: Final = (
    "ssl_cname",
    "ssl_cert_pem_file",
    "ssl_key_pem_file",
    "leaf_domain_label",
    "overwrite_existing_domain",
)


class AksClusters:
    def __init__(self, door: WorkspaceDoor, sdk: Sdk, clock: Clock) -> None:
        self._door = door
        self._sdk = sdk
        self._clock = clock

    def find(self, name: str) -> Mapping[str, Any] | None:
        """A compute of the workspace as ARM tells it."""
        doing = f'read the compute "{name}"'
        answer = self._door.arm("GET", f"/computes/{quote(name)}", doing=doing, allowed={404})
        return None if answer.status == 404 else answer.object

    def ensure(self, cluster: Cluster, progress: Progress, *, tags: Mapping[str, str], deadline_s: float) -> bool:
        """True if it was made or attached here. One that another run is making is waited for."""
        there = self.find(cluster.name)
        if there is None:
            self._make(cluster, tags)
        elif kind_of(there) != "AKS":
            raise Conflict(
                f'The compute "{cluster.name}" is there already, and is no AKS cluster but {kind_of(there)}.',
                usually="Its name is taken by a cluster for training or for Kubernetes online endpoints.",
                remedy="Choose another name in `compute`, or use target kubernetes with that cluster.",
            )
        self._await(cluster.name, progress, deadline_s)
        return there is None

    def _make(self, cluster: Cluster, tags: Mapping[str, str]) -> None:
        verb = "attach" if cluster.resource_id else "create"
        try:
            with self._sdk.making(f'{verb} the cluster "{cluster.name}"') as workspace:
                _make(workspace, cluster, tags)
        except (AzureUnreachable, ServiceBusy):
            # The request may have taken effect, or another run was quicker: what is there tells.
            if self.find(cluster.name) is None:
                raise

    def _await(self, name: str, progress: Progress, deadline_s: float) -> None:
        began_s = self._clock.now_s()
        while True:
            compute = self.find(name)
            if compute is None:
                raise ClusterFailed(f'The cluster "{name}" is gone before it was ready.')
            properties = compute.get("properties") or {}
            state = str(properties.get("provisioningState"))
            if state == "Succeeded":
                return
            if state in _ENDED_BADLY:
                raise _failure(name, state, properties.get("provisioningErrors"))
            now_s = self._clock.now_s()
            progress.update(round((now_s - began_s) / 60), round(_USUAL_S / 60), "minutes")
            if now_s >= deadline_s:
                raise DeployTimedOut(
                    f'The cluster "{name}" was not ready in {(now_s - began_s) / 60:.0f} minutes; Azure says {state}.',
                    usually="A cluster takes 20 to 25 minutes.",
                    remedy="Raise `deadline-minutes` and run again: what was begun is waited for, not made twice.",
                )
            self._clock.sleep(min(_POLL_S, deadline_s - now_s))

    def remove(self, name: str, *, keeps_resource: bool, owner: str | None) -> bool:
        """Begins it and waits until it is gone, so that its name is free again. Raises NotOurs."""
        verb = "detach" if keeps_resource else "delete"
        if owner is not None and (found := self.find(name)) is not None:
            tags = found.get("tags")
            subject = f'The compute "{name}"'
            check_owner(subject, tags if isinstance(tags, dict) else {}, owner, take_over=name)
        answer = self._door.arm(
            "DELETE",
            f"/computes/{quote(name)}",
            doing=f'{verb} the compute "{name}"',
            query=f"&underlyingResourceAction={verb.capitalize()}",
            allowed={404},
        )
        if answer.status in {204, 404}:
            return False
        until_s = self._clock.now_s() + _REMOVAL_S
        while (there := self.find(name)) is not None:
            state = str((there.get("properties") or {}).get("provisioningState"))
            if state in _ENDED_BADLY:
                raise _failure(name, state, (there.get("properties") or {}).get("provisioningErrors"))
            if self._clock.now_s() >= until_s:
                raise DeployTimedOut(
                    f'The compute "{name}" is still there {_REMOVAL_S / 60:.0f} minutes after Azure began to {verb} it.'
                )
            self._clock.sleep(_POLL_S)
        return True


def kind_of(compute: Mapping[str, Any]) -> str:
    return str((compute.get("properties") or {}).get("computeType") or "")


def _make(workspace: Any, cluster: Cluster, tags: Mapping[str, str]) -> None:
    """What `ComputeTarget.create` and `attach` do, which have no word for the tags that ARM takes beside a compute's properties."""
    from azureml.core.compute import AksCompute, ComputeTarget

    settings = dict(cluster.settings)
    tls = {name: settings.pop(name) for name in _BY_ENABLE_SSL if name in settings}
    if cluster.resource_id:
        configuration = AksCompute.attach_configuration(resource_id=cluster.resource_id, **settings)
    else:
        configuration = AksCompute.provisioning_configuration(**settings)
    if tls:
        configuration.enable_ssl(**tls)
        configuration.validate_configuration()
    if cluster.resource_id:
        payload = AksCompute._build_attach_payload(configuration, cluster.resource_id)  # noqa: SLF001 - as `attach` does
        ComputeTarget._attach(workspace, cluster.name, {**payload, "tags": dict(tags)}, AksCompute)  # noqa: SLF001
    else:
        payload = AksCompute._build_create_payload(configuration, workspace.location, workspace.subscription_id)  # noqa: SLF001 - as `create` does
        ComputeTarget._create_compute_target(workspace, cluster.name, {**payload, "tags": dict(tags)}, AksCompute)  # noqa: SLF001


def _failure(name: str, state: str, errors: Any) -> MlazError:
    """The provisioning errors as Azure keeps them: `[{"error": {…}}]`."""
    first = errors[0] if isinstance(errors, list) and errors else {"error": {"code": "", "message": f"it is {state}"}}
    known = refusal_of(read_told(json.dumps(first)), doing=f'provision the cluster "{name}"')
    if isinstance(known, AzureFailed | AzureUnreachable):
        return ClusterFailed(known.what, upstream_code=known.upstream_code, correlation_id=known.correlation_id)
    return known
