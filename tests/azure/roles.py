"""Who may do what: Azure's role definitions and their assignments. Knows no HTTP; ARM's permissions route reads it."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field

from tests.azure import world

_ML = "Microsoft.MachineLearningServices/workspaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    name: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        granted = (*self.actions, *self.data_actions)
        return _any_matches(granted, action) and not _any_matches(self.not_actions, action)


def _any_matches(patterns: tuple[str, ...], action: str) -> bool:
    """`computes/*/write` takes in `computes/write` too: the role that denies it is documented to make no computes."""
    spellings = {spelling for pattern in patterns for spelling in (pattern, pattern.replace("/*/", "/"))}
    return any(fnmatch.fnmatchcase(action.lower(), spelling.lower()) for spelling in spellings)


OWNER = Role(name="Owner", actions=("*",))
CONTRIBUTOR = Role(
    name="Contributor",
    actions=("*",),
    not_actions=(
        "Microsoft.Authorization/*/Delete",
        "Microsoft.Authorization/*/Write",
        "Microsoft.Authorization/elevateAccess/Action",
        "Microsoft.Blueprint/blueprintAssignments/write",
        "Microsoft.Blueprint/blueprintAssignments/delete",
        "Microsoft.Compute/galleries/share/action",
        "Microsoft.Purview/consents/write",
        "Microsoft.Purview/consents/delete",
    ),
)
READER = Role(name="Reader", actions=("*/read",))
DATA_SCIENTIST = Role(
    name="AzureML Data Scientist",
    actions=(f"{_ML}/*/read", f"{_ML}/*/action", f"{_ML}/*/delete", f"{_ML}/*/write"),
    not_actions=(
        f"{_ML}/delete",
        f"{_ML}/write",
        f"{_ML}/computes/*/write",
        f"{_ML}/computes/*/delete",
        f"{_ML}/computes/listKeys/action",
        f"{_ML}/listKeys/action",
    ),
)
STORAGE_BLOB_DATA_CONTRIBUTOR = Role(
    name="Storage Blob Data Contributor",
    actions=(
        "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
        "Microsoft.Storage/storageAccounts/blobServices/containers/read",
        "Microsoft.Storage/storageAccounts/blobServices/containers/write",
        "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
    ),
    data_actions=("Microsoft.Storage/storageAccounts/blobServices/containers/blobs/*",),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    object_id: str
    role: Role
    scope: str


def _within(scope: str, outer: str) -> bool:
    inner, outer = scope.rstrip("/").lower(), outer.rstrip("/").lower()
    return inner == outer or inner.startswith(f"{outer}/")


@dataclass(slots=True)
class Assignments:
    """The cloud's role assignments: cloud.state(Assignments)."""

    assigned: list[Assignment] = field(
        default_factory=lambda: [
            Assignment(object_id=world.CLIENT_OBJECT_ID, role=CONTRIBUTOR, scope=world.SUBSCRIPTION_SCOPE),
            Assignment(object_id=world.MANAGED_OBJECT_ID, role=CONTRIBUTOR, scope=world.SUBSCRIPTION_SCOPE),
        ]
    )

    def assign(self, object_id: str, role: Role, scope: str) -> None:
        self.assigned.append(Assignment(object_id=object_id, role=role, scope=scope))

    def remove_all(self, object_id: str) -> None:
        self.assigned = [entry for entry in self.assigned if entry.object_id != object_id]

    def roles(self, object_id: str, scope: str) -> list[Role]:
        return [entry.role for entry in self.assigned if entry.object_id == object_id and _within(scope, entry.scope)]

    def is_allowed(self, object_id: str, action: str, scope: str) -> bool:
        """One role suffices; a role's notActions take from that role alone, as in Azure."""
        return any(role.allows(action) for role in self.roles(object_id, scope))
