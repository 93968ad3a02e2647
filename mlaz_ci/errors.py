"""The catalogue: every way to fail, with what it usually means, what to do, and the exit code.

The catalogue knows no client and no platform; adapters raise these `from` the client's own exception, one place renders them.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Who must act next. The numbers are public (docs/contract.md)."""

    DONE = 0
    CONFIGURATION = 2
    AUTHENTICATION = 3
    NOT_FOUND = 4
    CONFLICT = 5
    SERVICE_FAILED = 6
    TIMED_OUT = 7
    REFUSED = 8
    BUG = 70
    CANCELLED = 130


class MlazError(Exception):
    """A failure that a user can act on. `what` is the sentence of this very case; class texts are the general part.

    `log` is long material (a container log, uv's explanation): it is shown folded, never in an annotation.
    `upstream_code` and `correlation_id` are the other side's own words (Azure's code, an HTTP request id).
    `config_key` is the key of the config file that it is about, from the top, with dots; who holds the file tells the place.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    usually: ClassVar[str] = ""
    remedy: ClassVar[str] = ""
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        what: str,
        *,
        usually: str | None = None,
        remedy: str | None = None,
        log: str = "",
        upstream_code: str | None = None,
        correlation_id: str | None = None,
        config_key: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause_text = type(self).usually if usually is None else usually
        self.remedy_text = type(self).remedy if remedy is None else remedy
        self.log = log
        self.upstream_code = upstream_code
        self.correlation_id = correlation_id
        self.config_key = config_key

    @classmethod
    def kind(cls) -> str:
        """The stable name of this failure in outputs and docs: the class name in kebab-case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def __str__(self) -> str:
        return "\n".join(part for part in (self.what, self.cause_text, self.remedy_text) if part)


# --- 2: the inputs, the configuration or the model must change ---------------------------------------------------


class ConfigurationError(MlazError):
    """Base of exit code 2."""

    exit_code = ExitCode.CONFIGURATION


class UnknownInput(ConfigurationError):
    usually = "A typo, or an input of another action."
    remedy = "Use the name given above, or see the inputs table in the README."


class InvalidInput(ConfigurationError):
    usually = "The value does not have the form this input takes."
    remedy = "Correct the value; the inputs table in the README gives the form and the default."


class MissingInput(ConfigurationError):
    usually = "The step did not pass it, or passed an empty value (an unset secret or variable is empty)."
    remedy = "Add it under `with:`, on the command line, or in mlaz-ci.yml."


class ConflictingInputs(ConfigurationError):
    usually = "Two inputs that exclude each other were both given."
    remedy = "Keep one of them."


class TargetNotChosen(ConfigurationError):
    usually = "A workspace was given without a `target`, and a target is never chosen silently."
    remedy = "Add `target: managed` (recommended), or one of kubernetes, aci, aks, local."


class InapplicableInput(ConfigurationError):
    usually = "The input sets security or networking that the chosen target does not have."
    remedy = "Remove the input, or choose a target that has it."


class InvalidConfigFile(ConfigurationError):
    usually = "The file is not YAML, or a value does not have the form its key takes."
    remedy = "Correct the file at the place named; the schema is docs/mlaz-ci.schema.json."


class UnknownConfigKey(ConfigurationError):
    usually = "A typo in a key of the config file."
    remedy = "Use the key given above; the schema is docs/mlaz-ci.schema.json."


class UntrustedConfigKey(ConfigurationError):
    usually = "On pull-request events the config file is the pull request's own, so it must not say who signs in, where, or what is taken over."
    remedy = "Move the key to the step's `with:`."


class NotInThisVersion(ConfigurationError):
    usually = "It is part of the contract and not built yet."
    remedy = "Use what this version has (see the README), or a newer version."


class ModelNotServable(ConfigurationError):
    usually = "A check of the model failed before anything was created."
    remedy = "See the findings above; each has its remedy."


class RequirementsConflict(ConfigurationError):
    usually = "A package the model pins cannot be installed beside the inference server."
    remedy = "Change the pin as told above and log the model again."


class PythonNotAvailable(ConfigurationError):
    usually = "The model was logged under a Python that cannot be had here, or is no longer supported by the inference server."
    remedy = "Log the model under a supported Python, or install that interpreter on the machine."


class UnsafeIndexUrl(ConfigurationError):
    usually = "A package index URL carries a user name or password, which would be uploaded with the environment."
    remedy = "Use a keyring, a netrc file or UV_INDEX_<NAME>_USERNAME/PASSWORD instead."


class UvNotFound(ConfigurationError):
    usually = "mlaz-ci was installed without its dependency uv, or uv was removed."
    remedy = "Install mlaz-ci again with its dependencies, or put uv beside its Python interpreter."


class StoreNotSupported(ConfigurationError):
    usually = "The tracking store needs packages that are not installed here."
    remedy = (
        "Install `mlaz-ci[stores]`, or run `mlflow server` on that store and pass its http address as `tracking-uri`."
    )


class RefusedByAzure(ConfigurationError):
    usually = "Azure does not take a value of the request; its own words stand above."
    remedy = "Correct the input, or the field under `raw:` in the config file, that Azure names."


class ComputeNameInvalid(RefusedByAzure):
    usually = (
        "A cluster's name has 2 to 16 letters, digits and dashes, starts with a letter and ends with a letter or digit."
    )
    remedy = "Correct the name in `compute`."


class RefusedByPolicy(ConfigurationError):
    usually = "An Azure Policy of the subscription forbids what was asked, often for want of a tag; Azure's words above name it."
    remedy = "Give what the policy asks for (`tags`, `location`, the config file), or have the policy except this resource group."


class WorkspaceInLegacyMode(ConfigurationError):
    usually = "The workspace has `v1LegacyMode` on, which switches off online endpoints."
    remedy = "Have an administrator set `v1_legacy_mode` to false on the workspace, or use target aci or aks."


class ClientNotInstalled(ConfigurationError):
    usually = "mlaz-ci was installed without the clients that this target needs."
    remedy = "Install `mlaz-ci[azure]`, or use the action, whose image has them."


# --- 3: credentials or roles must change ---------------------------------------------------------------------------


class AuthenticationError(MlazError):
    """Base of exit code 3."""

    exit_code = ExitCode.AUTHENTICATION


class TrackingAccessDenied(AuthenticationError):
    usually = "The tracking server refused the credentials, or they may not read this run."
    remedy = "Check MLFLOW_TRACKING_USERNAME/PASSWORD or MLFLOW_TRACKING_TOKEN, and the permissions of that account."


class PackageIndexAccessDenied(AuthenticationError):
    usually = "A private package index was asked without credentials, or with wrong ones."
    remedy = "Pass UV_INDEX_<NAME>_USERNAME/PASSWORD (or PIP_INDEX_URL) in the step's `env:`, and check that account."


class SignInRefused(AuthenticationError):
    usually = "Entra ID does not let this identity in; its own code and sentence stand above."
    remedy = "Look the code up at https://login.microsoftonline.com/error and show it to who administers the tenant."


class ClientSecretInvalid(SignInRefused):
    usually = (
        "The secret's id was stored instead of its value, it belongs to another application, or it was cut when pasted."
    )
    remedy = "Make a new secret for the application of `client-id`, store its value (not its id), or sign in by OIDC, which needs none."


class ClientSecretExpired(SignInRefused):
    usually = "A client secret ends on the day that was chosen when it was made, and this one has."
    remedy = "Make a new secret for the application of `client-id` and store its value, or sign in by OIDC, which needs none."


class ClientCertificateRefused(SignInRefused):
    usually = "The certificate is not registered on the application, has expired, or its private key is another one's."
    remedy = "Upload the public part to the application of `client-id` (App registrations, Certificates & secrets), and pass that certificate with its key."


class ApplicationNotInTenant(SignInRefused):
    usually = (
        "`client-id` is mistyped or is an object id, the tenant is another one, or the application was deleted there."
    )
    remedy = "Pass the Application (client) ID and the Directory (tenant) ID from the application's overview page; a multi-tenant application also needs `az ad sp create` in the tenant."


class ApplicationDisabled(SignInRefused):
    usually = "An administrator switched the application off in this tenant."
    remedy = "Have it enabled (Enterprise applications, Properties, Enabled for users to sign-in), or use another `client-id`."


class TenantNotFound(SignInRefused):
    usually = "`tenant-id` is mistyped, or the tenant lives in another of Azure's clouds than `cloud` says."
    remedy = "Pass the Directory (tenant) ID from Entra's overview page, and `cloud` if it is not the public one."


class FederatedCredentialMissing(SignInRefused):
    usually = "The application trusts no workflow yet: it has no federated credential."
    remedy = "Add a federated credential for this repository to the application of `client-id`."


class FederatedCredentialMismatch(SignInRefused):
    usually = "No federated credential of the application has exactly the issuer, subject and audience that the runner's token has."
    remedy = "Add a federated credential with exactly these three to the application of `client-id`."


class AssertionExpired(SignInRefused):
    usually = "The clock of this machine is wrong: the assertion was made for this very request and is already outside its time."
    remedy = "Set the machine's clock (NTP) and run again."
    retryable = True


class ConditionalAccessDenied(SignInRefused):
    usually = "A Conditional Access policy of the tenant keeps this identity out, by the runner's address, its risk, or a demand that only a person can meet."
    remedy = "Have the policy leave out this workload identity, or run on a runner whose address it allows."


class AzureApiNotInTenant(SignInRefused):
    usually = "The tenant does not know the Azure service that a token is needed for, which is so in the wrong cloud and in a tenant that never had a subscription."
    remedy = "Check `cloud` and `tenant-id`: the tenant must be the one that the subscription belongs to."


class IdTokenPermissionMissing(AuthenticationError):
    usually = (
        "The job does not have the permission to ask for an OIDC token; on the pull request of a fork it never gets it."
    )
    remedy = "Add `permissions: id-token: write` to the job (and what else it needs, such as `contents: read`), or pass `client-secret`; on a self-hosted runner with a managed identity leave `tenant-id` out."


class IdTokenRefused(AuthenticationError):
    usually = "The runner's token endpoint does not accept the job's own credentials: the job has ended, or the variables were overwritten."
    remedy = "Run the job again, and set no ACTIONS_ID_TOKEN_REQUEST_ variable in the workflow."


class ManagedIdentityNotFound(AuthenticationError):
    usually = (
        "Nothing was given to sign in with, and this machine has no managed identity, or not the one of `client-id`."
    )
    remedy = "Pass `client-id` and `tenant-id` with `permissions: id-token: write` (OIDC) or with `client-secret`, or assign the identity to the machine and keep 169.254.169.254 away from proxies (NO_PROXY)."


class SubscriptionNotVisible(AuthenticationError):
    usually = "The identity signed in to another tenant than the subscription's, or has no role in it yet; a new role takes some minutes to show."
    remedy = "Check `subscription-id` and `tenant-id`, and give the identity a role in the subscription."


class RoleMissing(AuthenticationError):
    usually = "The identity has no role that allows this, or it was given minutes ago and does not show yet."
    remedy = "Have a role assigned that allows the action named above, on the scope named above."


class WorkspacePrivate(AuthenticationError):
    usually = (
        "The workspace takes requests through its private endpoint alone, and this machine is outside of that network."
    )
    remedy = "Run on a self-hosted runner inside the workspace's network, or allow this runner's address in the workspace's public network access."


class StorageAccessDenied(AuthenticationError):
    usually = "The identity may not read or write the blobs of the workspace's storage account, or the account's firewall keeps this machine out."
    remedy = "Give the identity the role Storage Blob Data Contributor on the workspace's storage account, and let the runner's address through its firewall."


class ClusterAccessDenied(AuthenticationError):
    usually = "Azure Machine Learning could not set itself up in the Kubernetes cluster: the cluster refuses it."
    remedy = "Give the identity Contributor and Azure Kubernetes Service Cluster Admin on the cluster, switch on its local accounts, and attach it again."


# --- 4: what was named does not exist ------------------------------------------------------------------------------


class NotFound(MlazError):
    """Base of exit code 4."""

    exit_code = ExitCode.NOT_FOUND


class RunNotFound(NotFound):
    usually = "The run id is mistyped, deleted, or lives in another tracking store."
    remedy = "Check `run-id` and `tracking-uri`."


class ModelNotFound(NotFound):
    usually = "The model, version, alias or id is mistyped, or lives in another registry or tracking store."
    remedy = "Check `model-uri` and `tracking-uri`."


class ModelPathNotFound(NotFound):
    usually = "The model was logged under another name than `model-path` says (default: model)."
    remedy = "Set `model-path` to one of the paths listed above."


class ServiceNotFound(NotFound):
    usually = "It was never deployed from here, or was cleaned up."
    remedy = "Check `service-name` and `target`, or deploy it first."


class WorkspaceNotFound(NotFound):
    usually = "`workspace-name`, `resource-group` or `subscription-id` is mistyped, or the workspace is in another subscription or tenant."
    remedy = "Compare the three with the workspace's overview page in the Azure portal."


class ComputeNotFound(NotFound):
    usually = "The name in `compute` is mistyped, or the cluster was never attached to this workspace, or was detached."
    remedy = "Look at the workspace's attached computes (`az ml compute list`), or let it be made: `compute: {name: …, create: true}` in the config file."


class FileNotFound(NotFound):
    usually = "The path is mistyped, or the step runs before the checkout."
    remedy = "Check the path; it is relative to the workspace."


# --- 5: something else is in the way, or is not ours ---------------------------------------------------------------


class Conflict(MlazError):
    """Base of exit code 5."""

    exit_code = ExitCode.CONFLICT


class NotOurs(Conflict):
    usually = "It was made by another repository or by hand, and nothing that is not ours is changed."
    remedy = "Use another `service-name`, or pass its exact name as `take-over`."


class PortInUse(Conflict):
    usually = "Another program listens on that port."
    remedy = "Stop that program, or choose another port in the config file (`local: {port: …}`)."


class ServiceBusy(Conflict):
    usually = "Another run is changing the same service right now."
    remedy = "Wait for that run, or give the workflow a `concurrency` group."
    retryable = True


class RecordUnreadable(Conflict):
    usually = "The file was edited or damaged, or was written by another version of mlaz-ci."
    remedy = "Run `command: cleanup` for this service, which needs no record, and deploy again."


class NameTaken(Conflict):
    usually = "Somebody has a service of that name already: an online endpoint's name is unique in its region, across all customers."
    remedy = "Choose another `service-name`."


class RecreateNotAllowed(Conflict):
    usually = "Azure cannot change that of a service that exists: it can only be deleted and created anew, with a new address and new keys."
    remedy = (
        "Set `allow-recreate: true` if every caller can take the new address and keys, or leave that setting as it is."
    )


class NothingToRollBackTo(Conflict):
    usually = "The service has served only one model, or the one before was deleted."
    remedy = "Deploy the wanted version by `model-uri`."


class NoCanary(Conflict):
    usually = "The canary was promoted or rejected already, or `deploy` ran without `strategy: canary`."
    remedy = "Run `command: status` to see the deployments and their traffic."


class ModelVersionNotExpected(Conflict):
    usually = "Another deploy came between the approval and this step."
    remedy = "Look at what is the canary now, and approve that, or deploy the approved version again."


# --- 6: the serving side failed --------------------------------------------------------------------------------------


class ServiceFailed(MlazError):
    """Base of exit code 6: Azure, a tracking server, or the service itself failed."""

    exit_code = ExitCode.SERVICE_FAILED


class ServiceStartFailed(ServiceFailed):
    usually = "The model could not be loaded in the serving environment; the log says why."
    remedy = "Read the log above; load the model with mlflow.pyfunc in a fresh environment made from its requirements."


class ServiceNotRunning(ServiceFailed):
    usually = "Its process ended (the machine was started anew, or it ran out of memory), or its deployment failed."
    remedy = "See `command: status`; the deploy that made it, run again, starts it."


class EnvironmentBuildFailed(ServiceFailed):
    usually = "A locked package could not be downloaded or installed."
    remedy = "Read the log above; check the package index and the network, then run again."
    retryable = True


class DiskFull(ServiceFailed):
    usually = "The disk of the machine has no room for the model and its environment."
    remedy = "Free space, or point MLAZ_HOME at a larger disk. What this run had begun to write was removed."


class PackageIndexUnreachable(ServiceFailed):
    usually = "The package index, or the network between it and this machine, is down. Nothing is wrong with the model."
    remedy = "Run again; behind a proxy or with a private index, check HTTPS_PROXY, SSL_CERT_FILE and UV_DEFAULT_INDEX."
    retryable = True


class TrackingServerFailed(ServiceFailed):
    usually = "The tracking server did not answer, or answered with a server error."
    remedy = "Check that it is up and reachable from this machine, then run again."
    retryable = True


class AzureUnreachable(ServiceFailed):
    usually = "Azure did not answer or answered with a server error, or the network between (a proxy, a firewall, DNS) is in the way."
    remedy = "Run again; behind a proxy check HTTPS_PROXY and REQUESTS_CA_BUNDLE, and https://azure.status.microsoft for an outage."
    retryable = True


class AzureFailed(ServiceFailed):
    usually = "Azure reported a failure that this version knows no cause of; its own code and words stand above."
    remedy = "Look the code up in https://aka.ms/oe-tsg, and give Microsoft's support the correlation id."


class AzureThrottled(ServiceFailed):
    usually = (
        "The subscription or the tenant sends more requests than Azure takes, often because many jobs run at once."
    )
    remedy = "Run again later, or run fewer deploys at once (a `concurrency` group)."
    retryable = True


class QuotaExceeded(ServiceFailed):
    usually = "The subscription's quota for this kind of resource is used up in this region."
    remedy = (
        "Ask for more quota (Azure portal, Quotas), delete what is no longer used, or choose another size or region."
    )


class ImageBuildFailed(ServiceFailed):
    usually = "Azure could not build the environment's image: a package is not on the index that the workspace asks, or the registry cannot be reached."
    remedy = "Read the build's log above. If it lacks a package that is found here, the workspace asks another package index than this machine."


class ImageInaccessible(ServiceFailed):
    usually = "The container cannot pull its image: the admin user of the workspace's container registry is off, or the registry's network keeps it out."
    remedy = "Switch on the registry's admin user (`az acr update --admin-enabled true`), or use target managed, which needs none."


class ContainerCrashed(ServiceStartFailed):
    usually = "The container started and ended again: the model could not be loaded, or there was too little memory."
    remedy = "Read the container's log above."


class NoRoomInCluster(ServiceFailed):
    usually = "No node of the cluster has the cores, the memory or the GPU that the service asks for."
    remedy = "Ask for less (`cpu-cores`, `memory-gb`, `instance-count`), or add nodes to the cluster."


class ClusterFailed(ServiceFailed):
    usually = "Azure could not make or attach the cluster; its own words stand above."
    remedy = (
        "Mend what Azure names and run again; a cluster that failed is deleted by its name with `az ml compute delete`."
    )


class NetworkNotReady(ServiceFailed):
    usually = "The workspace's managed network is not provisioned yet, which Azure does with the first compute or deployment in it."
    remedy = "Provision it once (`az ml workspace provision-network`) and run again."
    retryable = True


class SecretsNotInjected(ServiceFailed):
    usually = "The endpoint's identity may not read a secret that an environment variable of the deployment refers to."
    remedy = "Give the endpoint's identity the role to read that secret (Key Vault Secrets User, or Azure Machine Learning Workspace Connection Secrets Reader)."


class IdTokenUnavailable(ServiceFailed):
    usually = "The token endpoint of the CI platform did not answer, or answered with a server error."
    remedy = "Run the job again; https://www.githubstatus.com tells of an outage."
    retryable = True


class ContainerEngineFailed(ServiceFailed):
    usually = "The Docker socket answered with an error."
    remedy = "Check the container engine on the runner, or remove the socket from the container to serve without it."


# --- 7, 8, 130, 70 ---------------------------------------------------------------------------------------------------


class DeployTimedOut(MlazError):
    exit_code = ExitCode.TIMED_OUT
    usually = "The service needs longer to start than `deadline-minutes` allows."
    remedy = "Raise `deadline-minutes`, or read the log above for what it was doing."
    retryable = True


class SmokeTestFailed(MlazError):
    exit_code = ExitCode.REFUSED
    usually = "The model does not accept its own input example, or `smoke-test-file` does not fit its signature."
    remedy = "Read the answer above; traffic stays where it was."


class NotReachable(MlazError):
    exit_code = ExitCode.REFUSED
    usually = "The service is up and this machine cannot reach it (a private endpoint or a firewall)."
    remedy = "Run on a runner inside the network, or set `smoke-test: best-effort`."


class Cancelled(MlazError):
    exit_code = ExitCode.CANCELLED
    usually = "The job was cancelled, timed out, or a newer run took its place."
    remedy = "Run the same step again: it takes up what was left, or `command: cleanup` removes it."


class Bug(MlazError):
    exit_code = ExitCode.BUG
    usually = "This is a defect of mlaz-ci, not of your workflow."
    remedy = "Please report it with the log above at https://github.com/mlaz-ci/mlaz-ci/issues."
