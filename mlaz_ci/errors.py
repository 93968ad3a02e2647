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
    ) -> None:
        super().__init__(what)
        self.what = what
        self.cause_text = type(self).usually if usually is None else usually
        self.remedy_text = type(self).remedy if remedy is None else remedy
        self.log = log
        self.upstream_code = upstream_code
        self.correlation_id = correlation_id

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


class NothingToRollBackTo(Conflict):
    usually = "The service has served only one model, or the one before was deleted."
    remedy = "Deploy the wanted version by `model-uri`."


# --- 6: the serving side failed --------------------------------------------------------------------------------------


class ServiceFailed(MlazError):
    """Base of exit code 6: Azure, a tracking server, or the service itself failed."""

    exit_code = ExitCode.SERVICE_FAILED


class ServiceStartFailed(ServiceFailed):
    usually = "The model could not be loaded in the serving environment; the log says why."
    remedy = "Read the log above; load the model with mlflow.pyfunc in a fresh environment made from its requirements."


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
