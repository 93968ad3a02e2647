"""The glossary: frozen values and enums that the rooms pass to each other. No behaviour beyond what a value knows of itself.

run           an MLflow run; model: what it logged, with an MLmodel file; model version: a registered model's version
service       what a user calls by one URI (Azure: web service, online endpoint); named by `service-name`
deployment    one model version with its environment inside a service (Azure: deployment; v1: the service's one image)
lock          the exact, hashed requirements a deployment is built from
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from mlaz_ci.errors import MlazError


class Command(StrEnum):
    DEPLOY = "deploy"
    CLEANUP = "cleanup"
    STATUS = "status"
    INVOKE = "invoke"
    PROMOTE = "promote"
    REJECT = "reject"
    ROLLBACK = "rollback"
    SWEEP = "sweep"
    DOCTOR = "doctor"
    MIGRATE = "migrate"
    AUTO = "auto"


class Target(StrEnum):
    LOCAL = "local"
    ACI = "aci"
    AKS = "aks"
    MANAGED = "managed"
    KUBERNETES = "kubernetes"


class Status(StrEnum):
    """The output `status`: what is true of the service, or was done, when the step ends."""

    HEALTHY = "healthy"
    UNCHANGED = "unchanged"
    UNVERIFIED = "unverified"
    PLANNED = "planned"
    CREATING = "creating"
    DELETED = "deleted"
    ABSENT = "absent"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    UPDATING = "updating"
    UNHEALTHY = "unhealthy"
    CANARY = "canary"
    PROMOTED = "promoted"
    REJECTED = "rejected"
    SWEPT = "swept"
    PASSED = "passed"
    INVOKED = "invoked"


class ServiceState(StrEnum):
    """What a serving side says of a service or deployment, after its adapter's one `classify()`."""

    ABSENT = "absent"
    CREATING = "creating"
    UPDATING = "updating"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_settled(self) -> bool:
        return self not in {ServiceState.CREATING, ServiceState.UPDATING}


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class SmokeTest(StrEnum):
    REQUIRED = "required"
    BEST_EFFORT = "best-effort"
    OFF = "off"


class OnFailure(StrEnum):
    ROLLBACK = "rollback"
    KEEP = "keep"


class Strategy(StrEnum):
    REPLACE = "replace"
    CANARY = "canary"
    IN_PLACE = "in-place"
    RECREATE = "recreate"


class AuthMode(StrEnum):
    KEY = "key"
    TOKEN = "token"
    ENTRA = "entra"
    NONE = "none"


class EndpointUse(StrEnum):
    CREATE = "create"
    EXISTING = "existing"


class Cloud(StrEnum):
    PUBLIC = "AzureCloud"
    US_GOVERNMENT = "AzureUSGovernment"
    CHINA = "AzureChinaCloud"


@dataclass(frozen=True)
class Secret:
    """A value that no `repr`, `str`, log or error shows. Unwrapped by `reveal()`, only inside an adapter."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__


# --- where the model comes from --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSource:
    """`run-id` + `model-path`, or `runs:/<id>/<path>`."""

    run_id: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSource:
    """`models:/<name>/<version>` or `models:/<name>@<alias>`; exactly one of version and alias is set.

    `models:/<name>/latest` is version "latest".
    """

    name: str
    version: str | None = None
    alias: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedModelSource:
    """`models:/m-<32 hex>`: an mlflow 3 LoggedModel."""

    model_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistrySource:
    """`azureml://registries/<registry>/models/<name>/versions/<version>`."""

    registry: str
    name: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSource:
    """A folder of the checkout that holds an MLmodel file."""

    path: Path


ModelSource = RunSource | VersionSource | LoggedModelSource | RegistrySource | PathSource


# --- what a model says of itself -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSignature:
    """The MLmodel's `signature`, each part parsed from its JSON: MLflow's own column and tensor specs, unshaped."""

    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    params: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """The MLmodel file and the small files beside it: all that the checks need, a few KB.

    `requirement_files` maps file name (requirements.txt, conda.yaml, python_env.yaml) to text. `input_example` is the JSON text of
    a request body, or None; `python_version` is the pyfunc flavor's, e.g. "3.11.7", or None.
    """

    mlmodel_text: str
    flavors: Mapping[str, Mapping[str, Any]]
    python_version: str | None
    mlflow_version: str | None
    signature: ModelSignature | None
    requirement_files: Mapping[str, str]
    input_example: str | None = None
    model_uuid: str | None = None

    @property
    def has_pyfunc(self) -> bool:
        return "python_function" in self.flavors


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRef:
    """A resolved model: which bytes are meant, and the facts. Nothing of it is downloaded yet but the facts.

    `artifact_uri` is what mlflow can download (a folder holding MLmodel). `digest` is the hash of MLmodel and requirement files, and with
    `artifact_uri` identifies the model. `logged_at` is the run's end (UTC): requirements are resolved as of that time. `lock_text` is the lock
    an earlier deploy left with the model, already verified against its hash, or None.
    """

    source: ModelSource
    name: str
    version: str | None
    run_id: str | None
    artifact_uri: str
    facts: ModelFacts
    digest: str
    size_bytes: int | None
    logged_at: datetime | None
    tracking_uri: str
    model_id: str | None = None
    lock_text: str | None = None
    is_in_workspace: bool = False
    """Its bytes lie in the Azure workspace that serves it, and `version` is of that workspace's registry: it is registered by reference."""
    was_registered: bool = False
    """Of a model that `register` gave back: its version was there before, and is reused."""

    @property
    def label(self) -> str:
        """What people call it: name/version, or the run that logged it, or the place it lies at."""
        if self.version:
            return f"{self.name}/{self.version}"
        if isinstance(self.source, RunSource):
            return f"runs:/{self.source.run_id}/{self.source.path}"
        is_told = self.run_id is None or self.run_id in self.artifact_uri
        return self.artifact_uri if is_told else f"{self.artifact_uri} (run {self.run_id})"


# --- the environment --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The exact environment of a deployment. `text` is a requirements file with hashes, in uv's canonical order.

    `hash` covers everything that changes the environment: Python, requirements, conda packages, base image.
    """

    text: str
    python_version: str
    server_range: str
    base_image: str
    conda_packages: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        parts = [self.python_version, self.base_image, *self.conda_packages, self.text]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def version_of(self, package: str) -> str | None:
        """The locked version of `package` (normalised name), or None."""
        prefix = f"{package}=="
        for line in self.text.splitlines():
            if line.startswith(prefix):
                return line[len(prefix) :].split()[0].rstrip("\\;")
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One result of a check. `code` is a stable kebab-case name, `what` the fact, `usually` the cause, `remedy` what to do.

    `detail` is long material (uv's own explanation), for a folded place.
    """

    code: str
    severity: Severity
    what: str
    usually: str = ""
    remedy: str = ""
    detail: str = ""


# --- the request ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Workspace:
    subscription_id: str
    resource_group: str
    name: str
    cloud: Cloud = Cloud.PUBLIC


@dataclass(frozen=True, kw_only=True, slots=True)
class SignIn:
    """How to sign in to Azure. Without a secret or certificate: OIDC on a runner, else managed identity.

    `client_certificate` is PEM text with its key, the base64 of a PKCS#12 file, or the path of either.
    """

    client_id: str | None = None
    tenant_id: str | None = None
    client_secret: Secret | None = None
    audience: str | None = None
    client_certificate: Secret | None = None
    client_certificate_password: Secret | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalShape:
    """What a local service looks like. `port` None: any free one, then kept for the service's life."""

    port: int | None = None
    workers: int = 1
    request_timeout_s: int = 60
    environment_variables: Mapping[str, str] = field(default_factory=dict)

    def facts(self) -> Mapping[str, Any]:
        """All that tells two shapes apart. The port is the service's, and is kept."""
        return {
            "port": None,
            "workers": self.workers,
            "request_timeout_s": self.request_timeout_s,
            "environment_variables": dict(sorted(self.environment_variables.items())),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A compute of the workspace by its name: made (`resource_id` None) or attached (the ARM id of a cluster that exists).

    `settings` are further fields of Azure's own: VM size, number of nodes, purpose, TLS, network.
    """

    name: str
    resource_id: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


# A description says something of a service, and a cluster is there before it: neither changes what serves.
_CHANGE_NOTHING: Final = frozenset({"description", "cluster"})


@dataclass(frozen=True, kw_only=True, slots=True)
class AzureShape:
    """What a service on Azure looks like, in the same words on every target; None is Azure's default or, of a service that is there, as it is.

    `raw` is the target's own section of the config file: further fields of Azure's own schema.
    """

    cpu_cores: float | None = None
    memory_gb: float | None = None
    location: str | None = None
    compute: str | None = None
    cluster: Cluster | None = None
    """How `compute` is made or attached where it is not there yet; None leaves computes alone."""
    auth: AuthMode | None = None
    instance_type: str | None = None
    instance_count: int | None = None
    enable_app_insights: bool | None = None
    data_collection: bool = False
    description: str | None = None
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> Mapping[str, Any]:
        """All that tells two shapes apart."""
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in _CHANGE_NOTHING}
        return {name: _plain(value) for name, value in facts.items()}


def _plain(value: Any) -> Any:
    """For a hash alone: another secret makes another shape, and none can be read out of it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return hashlib.sha256(value.reveal().encode()).hexdigest() if isinstance(value, Secret) else value


Shape = LocalShape | AzureShape


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersionName:
    """One version of a registered model, as a `cleanup` names it."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ComputeName:
    """One compute of the workspace, as a `cleanup` names it; `keeps_resource` only detaches it."""

    name: str
    keeps_resource: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One command with everything it was given, typed and checked for form. Built by `inputs.parse_request` alone."""

    command: Command
    target: Target = Target.LOCAL
    source: ModelSource | None = None
    model_name: str | None = None
    tracking_uri: str | None = None
    service_name: str = ""
    deployment_name: str | None = None
    workspace: Workspace | None = None
    sign_in: SignIn | None = None
    shape: Shape = LocalShape()
    tags: Mapping[str, str] = field(default_factory=dict)
    base_image: str | None = None
    azureml_environment: str | None = None
    """An environment that exists, as it was given, instead of one made of the lock."""
    strategy: Strategy = Strategy.REPLACE
    canary_percent: int = 10
    endpoint: EndpointUse = EndpointUse.CREATE
    allow_recreate: bool = False
    keep_previous_hours: float = 0.0
    """How long what served stays without traffic, for a rollback; 0 ends it at once."""
    expect_model_version: str | None = None
    wait: bool = True
    deadline_s: float = 1800.0
    smoke_test: SmokeTest = SmokeTest.REQUIRED
    smoke_test_file: Path | None = None
    request_file: Path | None = None
    on_failure: OnFailure = OnFailure.ROLLBACK
    build_from_source: bool = False
    dry_run: bool = False
    relock: bool = False
    take_over: str | None = None
    also_delete: tuple[ModelVersionName | ComputeName, ...] = ()
    owner: str = ""
    max_download_mb: float = 10_240.0
    given: tuple[str, ...] = ()
    """Names of the inputs that were given (not defaulted), for reports and applicability."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Facts of the CI run that tags and links are made of: repository, commit, run, actor, pull_request."""


# --- what is there ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentFacts:
    """One deployment as its serving side reports it. `detail` is the reason of a bad state, in one line."""

    name: str
    state: ServiceState
    spec_hash: str
    lock_hash: str
    model_label: str
    model_version: str | None
    created_at: datetime
    detail: str = ""
    port: int | None = None
    smoke_body: str | None = None
    """The smoke test that verified it, for the day it is started again."""
    is_ours: bool = True
    """Made by this owner: in an endpoint of others, all that may be touched."""
    is_expired: bool = False
    """Kept for a rollback, and its time is up."""
    can_be_restored: bool = False
    """Of a service that is changed in place: whether enough is on record to put this deployment back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceFacts:
    """A service as its serving side reports it; `live` has the traffic, `previous` is kept for a rollback."""

    name: str
    target: Target
    state: ServiceState
    owner: str
    scoring_uri: str | None
    swagger_uri: str | None
    port: int | None
    live: str | None
    previous: str | None
    deployments: tuple[DeploymentFacts, ...]
    tags: Mapping[str, str]
    created_at: datetime
    detail: str = ""
    traffic: Mapping[str, int] = field(default_factory=dict)
    """Percent by deployment, where the service shares traffic out."""
    mirrored: Mapping[str, int] = field(default_factory=dict)
    """Percent of the requests that a deployment gets a copy of, by its name; nobody gets its answers."""
    auth: AuthMode | None = None
    """How callers prove themselves, where the serving side tells."""
    studio_url: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What it has of what cannot be changed in place, where the serving side tells: by the names of inputs and section keys."""

    def deployment(self, name: str | None) -> DeploymentFacts | None:
        return next((each for each in self.deployments if each.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What exists now, read once, before planning. `service` is None where there is none."""

    service: ServiceFacts | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeploymentSpec:
    """Everything a serving side needs to make one deployment, decided before anything is made.

    `files` are our programs and what goes beside them: name → text (score.py, swagger.json, swagger3.json). `tags` carry ownership (DESIGN: managed-by, mlaz-owner, …).
    """

    service_name: str
    deployment_name: str
    model: ModelRef
    lock: Lock
    shape: Shape
    files: Mapping[str, str]
    tags: Mapping[str, str]
    owner: str
    smoke_request: ScoreRequest | None = None
    environment: str | None = None
    """An environment that exists, by its id or `name:version`, instead of one made of the lock."""
    replaces: str | None = None
    """The deployment that served when this one was planned: its size is the least that this one gets."""

    @property
    def local_shape(self) -> LocalShape:
        assert isinstance(self.shape, LocalShape)
        return self.shape

    @property
    def azure_shape(self) -> AzureShape:
        assert isinstance(self.shape, AzureShape)
        return self.shape

    @property
    def spec_hash(self) -> str:
        """Equal for two deploys that would serve the same: model + lock + shape."""
        parts = [
            self.model.artifact_uri,
            self.model.digest,
            self.lock.hash,
            json.dumps(self.shape.facts()),
            *self.files.values(),
            *([self.environment] if self.environment else []),
        ]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One look at a deployment that is starting. `detail` is one line for people."""

    state: ServiceState
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreRequest:
    """A body to send to a service, and where it came from, in words for the report."""

    body: bytes
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreResponse:
    status_code: int
    body: bytes
    duration_s: float
    spec_hash: str | None = None
    """What the service says it is (header x-mlaz-spec), to prove which deployment answered."""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300


# --- what happened ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutation:
    """One thing that was changed, in words, with its time (UTC). The record is complete: what is not in it was not done."""

    at: datetime
    what: str
    subject: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    phase: str
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a command came to: the one value that every report is rendered from."""

    command: Command
    status: Status
    target: Target
    service_name: str = ""
    deployment_name: str | None = None
    scoring_uri: str | None = None
    swagger_uri: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    model_label: str | None = None
    previous_model_version: str | None = None
    changed: bool = False
    studio_url: str | None = None
    findings: tuple[Finding, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    timings: tuple[Timing, ...] = ()
    plan: tuple[str, ...] = ()
    smoke_test: ScoreResponse | None = None
    smoke_request: ScoreRequest | None = None
    response: ScoreResponse | None = None
    document: str | None = None
    """A text that was asked for, to be printed as it is."""
    service: ServiceFacts | None = None
    lock_hash: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a command did not come to its end, and what it had done by then. `left_behind` are sentences about what is still there."""

    error: MlazError
    command: Command | None
    """None where what was asked for is no command."""
    target: Target | None
    """None where the run failed before one was chosen."""
    service_name: str = ""
    model_label: str | None = None
    mutations: tuple[Mutation, ...] = ()
    left_behind: tuple[str, ...] = ()
    timings: tuple[Timing, ...] = ()
    findings: tuple[Finding, ...] = ()


def names(values: Sequence[StrEnum] | type[StrEnum]) -> str:
    """The values of an enum as a sentence lists them: "a, b, c"."""
    return ", ".join(str(each) for each in values)


def told_size(size_bytes: float) -> str:
    """`2.0 MB`, `12 kB`: never nothing of something."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{math.ceil(size_bytes / 1e3)} kB"


_ENDS_OF_ANY: Final = (Status.FAILED, Status.TIMED_OUT, Status.CANCELLED)

STATUSES: Final[Mapping[Command, tuple[Status, ...]]] = {
    Command.DEPLOY: (
        Status.HEALTHY,
        Status.UNCHANGED,
        Status.UNVERIFIED,
        Status.PLANNED,
        Status.CREATING,
        Status.CANARY,
        *_ENDS_OF_ANY,
    ),
    Command.CLEANUP: (Status.DELETED, Status.ABSENT, Status.PLANNED, *_ENDS_OF_ANY),
    Command.STATUS: (
        Status.HEALTHY,
        Status.UNHEALTHY,
        Status.UNVERIFIED,
        Status.CREATING,
        Status.UPDATING,
        Status.CANARY,
        Status.ABSENT,
        *_ENDS_OF_ANY,
    ),
    Command.INVOKE: (Status.INVOKED, Status.UNVERIFIED, *_ENDS_OF_ANY),
    Command.PROMOTE: (Status.PROMOTED, Status.UNVERIFIED, Status.PLANNED, *_ENDS_OF_ANY),
    Command.REJECT: (Status.REJECTED, Status.PLANNED, *_ENDS_OF_ANY),
    Command.ROLLBACK: (Status.ROLLED_BACK, Status.UNVERIFIED, Status.PLANNED, *_ENDS_OF_ANY),
    Command.SWEEP: (Status.SWEPT, Status.PLANNED, *_ENDS_OF_ANY),
    Command.DOCTOR: (Status.PASSED, *_ENDS_OF_ANY),
    Command.MIGRATE: (Status.PLANNED, *_ENDS_OF_ANY),
    Command.AUTO: _ENDS_OF_ANY,
}
"""How each command can end, success first. `auto` ends as the command that it ran, or before it chose one."""
