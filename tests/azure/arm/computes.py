"""Computes of a workspace: AKS clusters made, attached and detached, Kubernetes and AmlCompute clusters.

ARM takes the writes; azureml-core reads them from the regional host, under another path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.azure.arm import answers, operations, versions
from tests.azure.arm.workspaces import TYPE, Key, Visit
from tests.azure.clock import iso8601
from tests.azure.messages import Refusal, Response
from tests.azure.state import Cloud

CLUSTERS = {"AKS", "Kubernetes"}


@dataclass(slots=True, kw_only=True)
class Compute:
    workspace: Key
    id: str
    name: str
    region: str
    kind: str
    resource_id: str | None
    is_attached: bool
    properties: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)
    identity: dict[str, Any] | None = None
    description: str | None = None
    provisioning_state: str = "Creating"
    errors: list[dict[str, Any]] | None = None
    created: str
    modified: str
    # The last part of the address its services answer at, when it is a cluster.
    address: str = ""
    operation: operations.Operation = field(init=False)

    def is_ready(self, cloud: Cloud) -> bool:
        return True

    def failure(self, cloud: Cloud) -> dict[str, Any] | None:
        return None

    def finished(self, cloud: Cloud, operation: operations.Operation) -> None:
        self.modified = iso8601(cloud.clock)
        if operation.kind == "compute-delete" and operation.status == "Succeeded":
            cloud.state(Computes).by_key.pop((self.workspace, self.name.lower()), None)
            return
        self.provisioning_state = operation.status
        self.errors = [{"error": operation.error}] if operation.error else None


@dataclass(slots=True)
class Computes:
    """Every compute: cloud.state(computes.Computes)."""

    by_key: dict[tuple[Key, str], Compute] = field(default_factory=dict)
    # Clusters that exist in the subscription and may be attached; empty: any resource id is taken at its word.
    clusters: set[str] = field(default_factory=set)
    given_addresses: int = 0

    def get(self, workspace: Key, name: str) -> Compute | None:
        return self.by_key.get((workspace, name.lower()))

    def of(self, workspace: Key) -> Iterator[Compute]:
        return (found for key, found in list(self.by_key.items()) if key[0] == workspace)

    def next_address(self) -> str:
        """In the block that is reserved for documentation (RFC 5737), so that no real host is ever meant."""
        self.given_addresses += 1
        return f"203.0.113.{self.given_addresses}"


def find_by_id(cloud: Cloud, identifier: str) -> Compute | None:
    """A cluster that services can run on, by its ARM id."""
    for compute in cloud.state(Computes).by_key.values():
        if compute.id.lower() == identifier.lower() and compute.kind in CLUSTERS:
            return compute
    return None


def scoring_address(cloud: Cloud, identifier: str) -> str:
    compute = find_by_id(cloud, identifier)
    assert compute is not None, "the endpoint was let in without its compute"
    return compute.address


def rendered(compute: Compute, version: str, cloud: Cloud) -> dict[str, Any]:
    busy = not compute.operation.is_over
    state = compute.operation.passing_state(cloud) if busy else compute.provisioning_state
    properties: dict[str, Any] = {
        "createdOn": compute.created,
        "modifiedOn": compute.modified,
        "disableLocalAuth": False,
        "description": compute.description,
        "resourceId": compute.resource_id,
        "computeType": compute.kind,
        "computeLocation": compute.region,
        "provisioningState": state,
        "provisioningErrors": compute.errors,
        "isAttachedCompute": compute.is_attached,
        "properties": compute.properties,
    }
    if not versions.since(version, "2021-07-01"):
        del properties["disableLocalAuth"]
    value: dict[str, Any] = {
        "id": compute.id,
        "name": compute.name,
        "type": f"{TYPE}/computes",
        "location": compute.region,
        "tags": compute.tags,
        "properties": properties,
    }
    if compute.identity is not None:
        value["identity"] = compute.identity
    # Files before 2022-05-01 know no null here; 2020-02-02 is published nowhere and its client wants every member.
    return _without_nulls(value) if version in {"2022-01-01-preview", "2022-02-01-preview"} else value


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(entry) for name, entry in value.items() if entry is not None}
    return value


def find(found: Visit, name: str, *, polls: bool = False) -> Compute:
    """`polls`: this look counts as one: azureml-core deletes without asking for the operation, and looks at the compute."""
    state = found.cloud.state(Computes)
    if compute := state.get(found.workspace.key, name):
        compute.operation.look(found.cloud, polls=polls)
    compute = state.get(found.workspace.key, name)
    if compute is None:
        raise _missing(found, name)
    return compute


def refusal(found: Visit, status: int, code: str, message: str) -> Refusal:
    """This service's errors tell nothing of themselves: files up to 2020 know no additionalInfo."""
    headers = answers.service_headers(found.region, did="error", kind="error")
    return Refusal(Response.json({"error": {"code": code, "message": message}}, status=status, headers=headers))


def _missing(found: Visit, name: str) -> Refusal:
    text = f"Compute with name {name} was not found in workspace {found.workspace.name}."
    return refusal(found, 404, "ComputeNotFound", text)
