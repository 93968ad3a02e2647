from __future__ import annotations

import json
from typing import Any

import pytest

from mlaz_ci import errors
from mlaz_ci.errors import AzureFailed, ExitCode, MlazError
from mlaz_ci.refusals import read_told, refusal_of
from tests.samples import wire_folder

# What each printed or recorded failure is, by its id; those that carry no code or words of their own are left out.
KINDS: dict[str, type[MlazError]] = {
    "aci-crashloop": errors.ContainerCrashed,
    "aci-crashloop-old": errors.ContainerCrashed,
    "aci-inaccessible-image": errors.ImageInaccessible,
    "env-build-failed": errors.ImageBuildFailed,
    "env-build-failed-short": errors.ImageBuildFailed,
    "image-build-old": errors.ImageBuildFailed,
    "aks-unschedulable-gpu": errors.NoRoomInCluster,
    "aks-insufficient-cpu": errors.NoRoomInCluster,
    "aks-crashloop": errors.ContainerCrashed,
    "deploy-timedout": errors.DeployTimedOut,
    "mms-service-exists": errors.NameTaken,
    "mms-forbidden": errors.RoleMissing,
    "mms-500": errors.AzureUnreachable,
    "mms-504-html": errors.AzureUnreachable,
    "mms-model-conflict": errors.RefusedByAzure,
    "mms-404": errors.NotFound,
    "validate-name-taken": errors.NameTaken,
    "model-not-found-client": errors.ModelNotFound,
    "register-forbidden": errors.RoleMissing,
    "aks-name-invalid": errors.ComputeNameInvalid,
    "aks-quota": errors.ClusterFailed,
    "aks-409": errors.ClusterFailed,
    "aks-attach-forbidden": errors.ClusterAccessDenied,
    "aci-quota": errors.QuotaExceeded,
    "mir-quota": errors.QuotaExceeded,
    "mir-crash": errors.ContainerCrashed,
    "mir-name-taken": errors.NameTaken,
    "arm-403-workspace": errors.RoleMissing,
    "ws-not-found": errors.WorkspaceNotFound,
    "private-link": errors.WorkspacePrivate,
    "storage-key-off": errors.StorageAccessDenied,
    "aad-bad-secret": errors.SignInRefused,
    "aad-no-app": errors.SignInRefused,
    "aad-oidc-subject": errors.SignInRefused,
    "aad-oidc-7002138": errors.SignInRefused,
    "aad-assertion-expired": errors.SignInRefused,
    "mlflow-logged-models-404": errors.NotFound,
    "mlflow-validation": errors.RefusedByAzure,
    "arm-429": errors.AzureThrottled,
    "arm-429b": errors.AzureThrottled,
}
RECORDED = {"run-not-found", "arm-401-expired", "arm-502", "mir-lro-failed", "arm-404-codes"}


@pytest.fixture(scope="module")
def printed() -> list[dict[str, Any]]:
    text = (wire_folder() / "errors/real_errors.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["errors"]
    return found


def test_refusal_of__every_printed_failure__is_its_kind_with_azures_own_words(printed: list[dict[str, Any]]) -> None:
    assert {each["id"] for each in printed} == set(KINDS) | RECORDED
    for each in printed:
        if each["id"] in RECORDED:
            continue
        payload = each["payload"]
        text = payload if isinstance(payload, str) else json.dumps(payload)
        error = refusal_of(read_told(text, status=each["http_status"]), doing="do it")
        assert type(error) is KINDS[each["id"]], each["id"]
        assert error.what.startswith("Azure could not do it: ")
        code = payload.get("code") if isinstance(payload, dict) else None
        assert code is None or code in error.what


def test_refusal_of__every_recorded_refusal__is_a_failure_of_its_status() -> None:
    recorded = json.loads((wire_folder() / "errors/cassette_errors.json").read_text(encoding="utf-8"))
    wanted = {
        400: ExitCode.CONFIGURATION,
        401: ExitCode.AUTHENTICATION,
        404: ExitCode.NOT_FOUND,
        502: ExitCode.SERVICE_FAILED,
    }
    assert len(recorded) > 30
    for each in recorded:
        text = each["body"] if isinstance(each["body"], str) else json.dumps(each["body"])
        error = refusal_of(read_told(text, status=each["status"]), doing="do it")
        assert error.exit_code is wanted[each["status"]], text[:200]


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        ('{"error": {"code": "BrandNewTrouble", "message": "The moon is full."}}', None, AzureFailed),
        ('{"error": {"code": "BrandNewTrouble", "message": "The moon is full."}}', 418, AzureFailed),
        ('{"error": {"code": "BrandNewTrouble", "message": "The moon is full."}}', 409, errors.ServiceBusy),
        ("The moon is full. BrandNewTrouble", None, AzureFailed),
    ],
)
def test_refusal_of__unknown_code__is_told_whole(text: str, status: int | None, kind: type[MlazError]) -> None:
    error = refusal_of(read_told(text, status=status), doing="create it")
    assert type(error) is kind
    assert "BrandNewTrouble" in error.what
    assert "The moon is full." in error.what


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("OutOfQuota", "Not enough VM quota", errors.QuotaExceeded),
        ("BadRequest", "Role assignment limit exceeded for the subscription", errors.QuotaExceeded),
        ("RequestDisallowedByPolicy", "Resource was disallowed by policy 'need-tag'", errors.RefusedByPolicy),
        ("SecretsInjectionError", "x", errors.SecretsNotInjected),
        ("WorkspaceManagedNetworkNotReady", "x", errors.NetworkNotReady),
        ("ResourceNotReady", "Readiness probe failed: HTTP 502", errors.ContainerCrashed),
        ("BadRequest", "Endpoint is in Updating provisioning state", errors.ServiceBusy),
        ("ImageBuildFailure", "x", errors.ImageBuildFailed),
        ("BadArgument", "x", errors.RefusedByAzure),
        ("BadRequest", "v1 legacy mode is on", errors.WorkspaceInLegacyMode),
    ],
)
def test_refusal_of__documented_code__is_its_kind(code: str, message: str, kind: type[MlazError]) -> None:
    text = json.dumps({"error": {"code": code, "message": message}})
    error = refusal_of(read_told(text, status=400), doing="create it")
    assert type(error) is kind
    assert error.upstream_code == code
    assert error.remedy_text
