"""From Azure's code and words to a failure of the catalogue. A table, first match first; the codes are recordings' and public threads'.

A code that no row knows is still told whole: AzureFailed carries Azure's own code and message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mlaz_ci.errors import (
    AzureFailed,
    AzureThrottled,
    AzureUnreachable,
    ClusterAccessDenied,
    ClusterFailed,
    ComputeNameInvalid,
    ComputeNotFound,
    ContainerCrashed,
    DeployTimedOut,
    ImageBuildFailed,
    ImageInaccessible,
    MlazError,
    ModelNotFound,
    NameTaken,
    NetworkNotReady,
    NoRoomInCluster,
    NotFound,
    QuotaExceeded,
    RefusedByAzure,
    RefusedByPolicy,
    RoleMissing,
    RunNotFound,
    SecretsNotInjected,
    ServiceBusy,
    ServiceNotFound,
    SignInRefused,
    StorageAccessDenied,
    WorkspaceInLegacyMode,
    WorkspaceNotFound,
    WorkspacePrivate,
)
from mlaz_ci.refusals.told import Told


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    """Matches when all that it names match: one of the codes, the words, one of the statuses. `usually`, `remedy`: over the class's."""

    kind: type[MlazError]
    codes: frozenset[str] = frozenset()
    words: str = ""
    statuses: frozenset[int] = frozenset()
    usually: str | None = None
    remedy: str | None = None

    def fits(self, told: Told) -> bool:
        return (
            (not self.codes or bool(self.codes & told.codes))
            and (not self.words or re.search(self.words, told.words, re.IGNORECASE | re.DOTALL) is not None)
            and (not self.statuses or told.status in self.statuses)
        )


def _row(
    kind: type[MlazError],
    *codes: str,
    words: str = "",
    statuses: tuple[int, ...] = (),
    usually: str | None = None,
    remedy: str | None = None,
) -> _Row:
    return _Row(
        kind=kind,
        codes=frozenset(codes),
        words=words,
        statuses=frozenset(statuses),
        usually=usually,
        remedy=remedy,
    )


_ROWS: Final = (
    # --- who may not ---
    _row(WorkspacePrivate, words=r"private (?:link|endpoint)|public network access (?:is|has been) disabled"),
    _row(
        StorageAccessDenied,
        "KeyBasedAuthenticationNotPermitted",
        usually="The workspace's storage account refuses shared keys, and Azure's upload address is signed with one.",
        remedy="Give the identity the role Storage Blob Data Contributor on the workspace's storage account: then its own token is used.",
    ),
    _row(
        StorageAccessDenied,
        "AuthorizationFailure",
        "AuthorizationPermissionMismatch",
        "InsufficientAccountPermissions",
        "NetworkSecurityPerimeter",
        statuses=(403,),
    ),
    _row(ClusterAccessDenied, words=r"image pull secret.*Forbidden"),
    _row(RefusedByPolicy, "RequestDisallowedByPolicy"),
    _row(RoleMissing, "AuthorizationFailed", "LinkedAuthorizationFailed", "Forbidden", "UserErrorForbidden"),
    _row(SignInRefused, words=r"AADSTS\d+"),
    _row(
        SignInRefused,
        "InvalidAuthenticationTokenTenant",
        "ExpiredAuthenticationToken",
        "InvalidAuthenticationToken",
        "AuthenticationFailed",
        usually="Azure does not accept the token of this identity: it belongs to another tenant than the subscription, or the machine's clock is wrong.",
        remedy="Check `tenant-id` and `cloud` against the subscription's own, and the clock of the machine.",
    ),
    # --- quota and room ---
    _row(
        QuotaExceeded,
        words=r"role ?assignments?\b.*(?:limit|quota|exceeded)|(?:limit|quota|exceeded).*\brole ?assignments?",
        usually="Each endpoint with an identity of its own takes role assignments, and the subscription has used up its number of them.",
        remedy="Give the endpoint a user-assigned identity, or delete endpoints that are no longer used.",
    ),
    _row(QuotaExceeded, "OutOfQuota", "QuotaExceeded", "OperationNotAllowed", words=r"quota|cores"),
    _row(QuotaExceeded, "OutOfQuota", "QuotaExceeded"),
    _row(
        QuotaExceeded,
        words=r"not enough quota|quota '[^']*' exceeded|exceed\w* (?:the )?(?:approved |available )?[^.]{0,40}quota|quota exceeded",
    ),
    _row(
        QuotaExceeded,
        "OutOfCapacity",
        "InsufficientCapacity",
        usually="Azure has no machine of this size left in this region.",
        remedy="Choose another `instance-type` or region, or run again later.",
    ),
    _row(
        NoRoomInCluster,
        words=r"Insufficient nvidia\.com/gpu",
        usually="No node of the cluster has a free GPU, or the cluster has none at all.",
        remedy="Add nodes with a GPU to the cluster, or leave the GPU out of the request.",
    ),
    _row(NoRoomInCluster, "Unschedulable", "InsufficientResources"),
    _row(NoRoomInCluster, words=r"unschedulable|\d+/\d+ nodes are available"),
    # --- images and containers ---
    _row(ImageInaccessible, "InaccessibleImage", "ImagePullBackOff", "ErrImagePull"),
    _row(ImageBuildFailed, "EnvironmentBuildFailed", "ImageBuildFailure", "ImageBuildFailed"),
    _row(ImageBuildFailed, words=r"image build failed|failed building the environment"),
    _row(SecretsNotInjected, "SecretsInjectionError"),
    _row(NetworkNotReady, "WorkspaceManagedNetworkNotReady"),
    _row(ContainerCrashed, "CrashLoopBackOff", "ContainerCrashed"),
    _row(
        ContainerCrashed,
        words=r"container (?:application )?(?:has )?crashed|liveness probe failed|readiness probe failed",
    ),
    _row(
        ContainerCrashed,
        "ResourceNotReady",
        usually="The container never became ready: its script failed as it began, a probe gave up before the model was loaded, or memory was short.",
    ),
    _row(
        DeployTimedOut,
        "DeploymentTimedOut",
        usually="The container needs longer to start than Azure waits: the model is large, or its image is pulled for the first time.",
    ),
    # --- names and what is in the way ---
    _row(
        NameTaken,
        words=r"already an endpoint with this name|needs to be unique within a region",
    ),
    _row(NameTaken, "ServiceExists", "NameAlreadyTaken"),
    _row(NameTaken, words=r"service .{1,80} with the same name already exists|already contains an ACI container group"),
    _row(
        ServiceBusy,
        words=r"updating provisioning state|another operation|operation is in progress|in a non-terminal state",
    ),
    _row(
        ServiceBusy,
        "OperationCanceled",
        usually="Azure cancelled the operation for another one on the same resource, or somebody cancelled it.",
        remedy="Run again; give the workflow a `concurrency` group if two runs met.",
    ),
    _row(ServiceBusy, "OperationInProgress", "AnotherOperationInProgress", "ConcurrentUpdate", "ResourceBusy"),
    _row(ComputeNameInvalid, words=r"compute name is invalid"),
    _row(WorkspaceInLegacyMode, words=r"v1[_ ]?legacy[_ ]?mode"),
    # --- clusters ---
    _row(ClusterFailed, "ResourceDeploymentFailure"),
    _row(
        ClusterFailed,
        words=r"InvalidTemplateDeployment",
        usually="Azure's own check refused what the cluster is made of, most often because the subscription's quota of cores in this region is used up.",
        remedy="Look at the quota of the VM size's family in this region (Azure portal, Quotas), ask for more, or make a smaller cluster (`agent_count`, `vm_size`).",
    ),
    _row(ClusterFailed, words=r"ResourceDeploymentFailure"),
    # --- what is not there ---
    _row(ComputeNotFound, "ComputeNotFound", "ComputeTargetNotFound"),
    _row(ModelNotFound, "ModelNotFound", "NoSuchModel"),
    _row(ModelNotFound, words=r"ModelNotFound|model .{1,200} not found"),
    _row(RunNotFound, words=r"\brun\b.{0,80}\bwas not found"),
    _row(ServiceNotFound, "NoSuchEndpoint", "NoSuchService", "NoSuchDeployment", "ServiceNotFound"),
    _row(
        NotFound,
        "ResourceGroupNotFound",
        usually="`resource-group` is mistyped, or is in another subscription.",
        remedy="Compare `resource-group` and `subscription-id` with the workspace's overview page in the Azure portal.",
    ),
    _row(WorkspaceNotFound, words=r"workspace not found|Microsoft\.MachineLearningServices/workspaces/[^/']+' under"),
    _row(
        NotFound,
        "ResourceNotFound",
        usually="Something that the request names is not there any more, or the identity that must read it may not see it: an image, a secret, a registry.",
        remedy="Look for what Azure names, and at the roles of the endpoint's identity (AcrPull, Storage Blob Data Reader).",
    ),
    # --- what passes, and what the statuses alone say ---
    _row(AzureThrottled, statuses=(429,)),
    _row(AzureThrottled, "TooManyRequests", "ResourceRequestsThrottled"),
    _row(DeployTimedOut, "TimedOut"),
    _row(AzureUnreachable, statuses=(408, 500, 502, 503, 504)),
    _row(AzureUnreachable, "InternalServerError", "InternalError", "ServiceUnavailable", "BadGatewayConnection"),
    _row(SignInRefused, statuses=(401,)),
    _row(RoleMissing, statuses=(403,)),
    _row(
        NotFound,
        statuses=(404,),
        usually="What the request names does not exist, or this identity may not see it.",
        remedy="Check the names in the inputs against the workspace.",
    ),
    _row(ServiceBusy, statuses=(409, 412)),
    _row(
        RefusedByAzure,
        "BadArgument",
        "BadRequest",
        "ValidationError",
        "InvalidParameterValue",
        "INVALID_PARAMETER_VALUE",
    ),
    _row(RefusedByAzure, statuses=(400, 422)),
)


def refusal_of(told: Told, *, doing: str) -> MlazError:
    """The failure that `told` is, not raised yet. `doing` completes "Azure could not …"."""
    row = next((each for each in _ROWS if each.fits(told)), None)
    kind = row.kind if row else AzureFailed
    return kind(
        f"Azure could not {doing}: {told.sentence}",
        usually=row.usually if row else None,
        remedy=row.remedy if row else None,
        upstream_code=told.code or (str(told.status) if told.status else None),
        correlation_id=told.correlation_id,
    )
