"""The one table of inputs, with that of outputs and commands. action.yml, the README, the JSON schema and the command line are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlaz_ci.inputs.row import CommandRow, ConfigUse, Group, Input, Kind, Output
from mlaz_ci.models import (
    AuthMode,
    Cloud,
    Command,
    EndpointUse,
    OnFailure,
    SmokeTest,
    Strategy,
    Target,
)

_GUID: Final = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_GUID_FORM: Final = "a GUID such as 00000000-0000-0000-0000-000000000000"
_NAME: Final = r"[a-z](?:[a-z0-9]|-(?!-)){1,30}[a-z0-9]"
_NAME_FORM: Final = (
    "3 to 32 lower-case letters, digits and single dashes, starting with a letter and ending with a letter or digit"
)

_CHECKS: Final = frozenset({Command.DEPLOY, Command.DOCTOR, Command.AUTO})
_NAMES_MODEL: Final = _CHECKS | {Command.STATUS}
_MAKES: Final = frozenset({Command.DEPLOY, Command.AUTO})
_SETTLES: Final = _MAKES | {Command.STATUS}
_WRITES: Final = frozenset(Command) - {Command.STATUS, Command.INVOKE, Command.DOCTOR, Command.MIGRATE}
_WAITS: Final = frozenset({Command.DEPLOY, Command.AUTO, Command.ROLLBACK, Command.PROMOTE, Command.STATUS})
_AZURE: Final = frozenset(Command)

_ROWS: Final = (
    Input(
        name="command",
        group=Group.WHAT,
        says="What to do.",
        kind=Kind.CHOICE,
        values=Command,
        default="deploy",
        config=ConfigUse.NEVER,
    ),
    Input(
        name="config",
        group=Group.WHAT,
        says="A YAML file in the checkout with further settings, read if it is there.",
        kind=Kind.PATH,
        default="mlaz-ci.yml",
        config=ConfigUse.NEVER,
    ),
    # --- Model ---
    Input(
        name="run-id",
        group=Group.MODEL,
        says="The MLflow run that logged the model.",
        pattern=r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}",
        form="an MLflow run id: letters, digits, `_` and `-`",
        used_by=_NAMES_MODEL,
    ),
    Input(
        name="model-path",
        group=Group.MODEL,
        says="The path or name under which the run logged the model.",
        default="model",
        used_by=_NAMES_MODEL,
    ),
    Input(
        name="model-uri",
        group=Group.MODEL,
        says=(
            "The model, instead of `run-id`: `runs:/<run id>/<path>`, `models:/<name>/<version>`, `models:/<name>@<alias>`, `models:/m-<id>`, "
            "`azureml://registries/<registry>/models/<name>/versions/<version>`, or a folder of the checkout."
        ),
        used_by=_NAMES_MODEL,
    ),
    Input(
        name="model-name",
        group=Group.MODEL,
        says="The name to register the model under; without it the registered model's own, or one made from the experiment, path or folder it was logged in.",
        pattern=r"[^/:\x00-\x1f\x7f]{1,255}",
        form="at most 255 characters without `/` and `:`",
        used_by=_NAMES_MODEL,
    ),
    Input(
        name="tracking-uri",
        group=Group.MODEL,
        says="The MLflow tracking server or store that holds the run; without it MLFLOW_TRACKING_URI, then the workspace's own where one is named, then MLflow's default.",
        config=ConfigUse.TRUSTED,
        used_by=_NAMES_MODEL,
    ),
    # --- Where ---
    Input(
        name="target",
        group=Group.WHERE,
        says="Where the model is served; without it and without a workspace: `local`.",
        kind=Kind.CHOICE,
        values=Target,
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="service-name",
        group=Group.WHERE,
        says="The name of the service, the same for every command that concerns it.",
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="deployment-name",
        group=Group.WHERE,
        says="The name of the new deployment inside the service; without it one is made up.",
        pattern=_NAME,
        form=_NAME_FORM,
        config=ConfigUse.TRUSTED,
        used_by=_MAKES,
    ),
    Input(
        name="endpoint",
        group=Group.WHERE,
        says="Whether the endpoint is made here, or is someone else's in which only our own deployments are touched.",
        kind=Kind.CHOICE,
        values=EndpointUse,
        default="create",
        config=ConfigUse.TRUSTED,
        used_by=_AZURE,
    ),
    Input(
        name="subscription-id",
        group=Group.WHERE,
        says="The Azure subscription of the workspace.",
        pattern=_GUID,
        form=_GUID_FORM,
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="resource-group",
        group=Group.WHERE,
        says="The resource group of the workspace.",
        pattern=r"[\w().-]{0,89}[\w()-]",
        form="at most 90 letters, digits, `_`, `-`, `.`, `(` and `)`, not ending with a period",
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="workspace-name",
        group=Group.WHERE,
        says="The Azure Machine Learning workspace.",
        pattern=r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}",
        form="3 to 33 letters, digits, `_` and `-`, starting with a letter or digit",
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="cloud",
        group=Group.WHERE,
        says="The Azure cloud (capitals do not matter).",
        kind=Kind.CHOICE,
        values=Cloud,
        default="AzureCloud",
        ignores_case=True,
        config=ConfigUse.TRUSTED,
    ),
    # --- Who ---
    Input(
        name="client-id",
        group=Group.WHO,
        says="The application (client) id to sign in to Azure as; without a secret or certificate it signs in by OIDC, alone by managed identity.",
        pattern=_GUID,
        form=_GUID_FORM,
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="tenant-id",
        group=Group.WHO,
        says="The Entra tenant of `client-id`.",
        pattern=rf"{_GUID}|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+",
        form="a GUID or a domain such as contoso.onmicrosoft.com",
        config=ConfigUse.TRUSTED,
    ),
    Input(
        name="client-secret",
        group=Group.WHO,
        says="The secret of `client-id`, where neither OIDC nor a managed identity can be used.",
        kind=Kind.SECRET,
        config=ConfigUse.NEVER,
    ),
    Input(
        name="client-certificate",
        group=Group.WHO,
        says="A certificate of `client-id` with its key, instead of `client-secret`: PEM text, a PKCS#12 file in base64, or the path of either.",
        kind=Kind.SECRET,
        config=ConfigUse.NEVER,
    ),
    Input(
        name="client-certificate-password",
        group=Group.WHO,
        says="The password of the key in `client-certificate`, if it has one.",
        kind=Kind.SECRET,
        config=ConfigUse.NEVER,
    ),
    Input(
        name="creds",
        group=Group.WHO,
        says="The AZURE_CREDENTIALS JSON of azure/login (clientId, clientSecret, tenantId), instead of the three inputs.",
        kind=Kind.SECRET,
        config=ConfigUse.NEVER,
    ),
    Input(
        name="audience",
        group=Group.WHO,
        says="The audience of the OIDC token; without it the cloud's own.",
        pattern=r"[!-~]{1,255}",
        form="a URI without spaces",
        config=ConfigUse.TRUSTED,
    ),
    # --- Shape ---
    Input(
        name="cpu-cores",
        group=Group.SHAPE,
        says="CPU cores of an instance on Azure.",
        kind=Kind.NUMBER,
        minimum=0.01,
        maximum=1024,
        unit="cores",
        used_by=_MAKES,
    ),
    Input(
        name="memory-gb",
        group=Group.SHAPE,
        says="Memory of an instance on Azure, in GB.",
        kind=Kind.NUMBER,
        minimum=0.1,
        maximum=65536,
        unit="GB",
        used_by=_MAKES,
    ),
    Input(
        name="location",
        group=Group.SHAPE,
        says="The Azure region; without it the workspace's own.",
        pattern=r"[A-Za-z0-9 ()-]{1,60}",
        form="the name of an Azure region",
        used_by=_MAKES,
    ),
    Input(
        name="description",
        group=Group.SHAPE,
        says="A sentence that the service carries.",
        used_by=_MAKES,
    ),
    Input(
        name="tags",
        group=Group.SHAPE,
        says="Tags of what is created: `name=value` lines (on a single line commas separate), or a YAML or JSON mapping.",
        kind=Kind.MAPPING,
        used_by=_MAKES,
    ),
    Input(
        name="compute",
        group=Group.SHAPE,
        says="The cluster of the workspace that serves, on aks and kubernetes. In the config file also a mapping that says how it is made or attached: `{name: aks-mlflow, create: true}`.",
        used_by=_MAKES,
    ),
    Input(
        name="enable-app-insights",
        group=Group.SHAPE,
        says="Send the service's logs and metrics to Application Insights.",
        kind=Kind.BOOLEAN,
        default="false",
        used_by=_MAKES,
    ),
    Input(
        name="data-collection",
        group=Group.SHAPE,
        says="Keep what the service is asked and answers in Azure's data collector.",
        kind=Kind.BOOLEAN,
        default="false",
        used_by=_MAKES,
    ),
    Input(
        name="auth",
        group=Group.SHAPE,
        says="How callers of the service on Azure prove who they are; a local service takes none and is bound to 127.0.0.1.",
        kind=Kind.CHOICE,
        values=AuthMode,
        used_by=_MAKES,
    ),
    Input(
        name="instance-type",
        group=Group.SHAPE,
        says="The VM size (managed) or instance type (kubernetes).",
        pattern=r"[A-Za-z][A-Za-z0-9._-]{0,127}",
        form="a name such as Standard_DS3_v2",
        used_by=_MAKES,
    ),
    Input(
        name="instance-count",
        group=Group.SHAPE,
        says="How many instances serve on Azure.",
        kind=Kind.INTEGER,
        default="1",
        minimum=1,
        maximum=1000,
        unit="instances",
        used_by=_MAKES,
    ),
    Input(
        name="strategy",
        group=Group.SHAPE,
        says="How a new deployment takes the place of the old one on Azure. Services on `aci` and `aks` change in place, or are made anew (`recreate`); they refuse `canary`.",
        kind=Kind.CHOICE,
        values=Strategy,
        default="replace",
        used_by=_SETTLES,
    ),
    Input(
        name="canary-percent",
        group=Group.SHAPE,
        says="The share of traffic that a canary gets, in percent.",
        kind=Kind.INTEGER,
        default="10",
        minimum=1,
        maximum=99,
        unit="percent",
        used_by=_SETTLES,
    ),
    Input(
        name="environment-variables",
        group=Group.SHAPE,
        says=(
            "Environment variables of the service: `NAME=value` lines (on a single line commas separate), or a YAML or JSON mapping."
        ),
        kind=Kind.MAPPING,
        is_private=True,
        used_by=_MAKES,
    ),
    Input(
        name="base-image",
        group=Group.SHAPE,
        says="A container image to build the environment on, instead of Microsoft's.",
        pattern=r"[A-Za-z0-9][\w./:@-]{0,511}",
        form="an image reference such as registry.example.com/base:1.2",
        used_by=_CHECKS,
    ),
    Input(
        name="azureml-environment",
        group=Group.SHAPE,
        says="An existing environment of the workspace or of a registry, instead of one built for the model.",
        used_by=_CHECKS,
    ),
    # --- How ---
    Input(
        name="wait",
        group=Group.HOW,
        says="Wait until the service answers, and verify it. With `false` a deploy ends as soon as Azure works on it; `status` with `wait: true` then takes it to its end.",
        kind=Kind.BOOLEAN,
        default="true",
        used_by=_WAITS,
    ),
    Input(
        name="deadline-minutes",
        group=Group.HOW,
        says="How long the step may take before it gives up, in minutes. Twice the default where the config file has a cluster made.",
        kind=Kind.NUMBER,
        default="30",
        minimum=0.01,
        maximum=1440,
        unit="minutes",
        used_by=_WAITS | {Command.CLEANUP, Command.SWEEP},
    ),
    Input(
        name="smoke-test",
        group=Group.HOW,
        says="Whether a prediction must succeed before the new deployment gets traffic.",
        kind=Kind.CHOICE,
        values=SmokeTest,
        default="required",
        used_by=_WAITS,
    ),
    Input(
        name="smoke-test-file",
        group=Group.HOW,
        says="A JSON file in the checkout to predict on; without it the model's input example, or a sample made from its signature.",
        kind=Kind.PATH,
        used_by=_WAITS | {Command.DOCTOR},
    ),
    Input(
        name="on-failure",
        group=Group.HOW,
        says="What becomes of a new deployment that failed: withdrawn, or kept for a look at it. It is kept without traffic, but on `aci` and `aks`, where it is all that callers reach.",
        kind=Kind.CHOICE,
        values=OnFailure,
        default="rollback",
        used_by=_MAKES,
    ),
    Input(
        name="keep-previous",
        group=Group.HOW,
        says="For how many hours the old deployment stays on Azure, without traffic and at its price, so that a rollback takes seconds; "
        "0 deletes it at once. The first deploy after that time deletes it.",
        kind=Kind.NUMBER,
        default="0",
        minimum=0,
        maximum=8760,
        unit="hours",
        used_by=_SETTLES | {Command.PROMOTE, Command.ROLLBACK},
    ),
    Input(
        name="build-from-source",
        group=Group.HOW,
        says="Build packages that have no wheel, which runs their code here; refused on pull-request events.",
        kind=Kind.BOOLEAN,
        default="false",
        config=ConfigUse.NEVER,
        used_by=_CHECKS,
    ),
    Input(
        name="allow-recreate",
        group=Group.HOW,
        says="Consent to delete and create where Azure cannot update; the URL and the keys change.",
        kind=Kind.BOOLEAN,
        default="false",
        used_by=_MAKES,
    ),
    Input(
        name="dry-run",
        group=Group.HOW,
        says="Print what would be done, and do nothing.",
        kind=Kind.BOOLEAN,
        default="false",
        used_by=_WRITES,
    ),
    Input(
        name="relock",
        group=Group.HOW,
        says="Resolve the model's requirements anew, instead of reusing the lock left by an earlier deploy.",
        kind=Kind.BOOLEAN,
        default="false",
        used_by=_CHECKS,
    ),
    Input(
        name="also-delete",
        group=Group.HOW,
        says=(
            "What `cleanup` deletes besides the service, which it otherwise leaves alone since others may use it: `models:/<name>/<version>`, `computes/<name>`, "
            "or `attached/<name>`, which detaches a cluster and leaves it running. Several stand on lines of their own. Refused on pull-request events."
        ),
        config=ConfigUse.NEVER,
        used_by=frozenset({Command.CLEANUP}),
    ),
    Input(
        name="take-over",
        group=Group.HOW,
        says="The exact name of a service that is not ours and shall become so, or of a compute or `models:/<name>/<version>` that is not ours and `also-delete` shall delete; refused on pull-request events.",
        config=ConfigUse.TRUSTED,
        used_by=_WRITES,
    ),
    Input(
        name="owner",
        group=Group.HOW,
        says="Who owns what is created; without it the repository's id, or the user. Refused on pull-request events.",
        pattern=r"[!-~]{1,200}",
        form="at most 200 printable characters without spaces",
        config=ConfigUse.TRUSTED,
        used_by=_WRITES,
    ),
    Input(
        name="expect-model-version",
        group=Group.HOW,
        says="The model version that was approved; `promote` refuses any other.",
        config=ConfigUse.NEVER,
        used_by=frozenset({Command.PROMOTE, Command.REJECT}),
    ),
    Input(
        name="github-token",
        group=Group.HOW,
        says="The token for the pull-request comment and the GitHub Deployment; in the action the job's own token. Read by nothing in this version.",
        kind=Kind.SECRET,
        config=ConfigUse.NEVER,
    ),
    Input(
        name="github-environment",
        group=Group.HOW,
        says="The GitHub environment to show the deployment under.",
        is_built=False,
        used_by=_WRITES,
    ),
    # --- Previews ---
    Input(
        name="preview",
        group=Group.PREVIEW,
        says="Add `-pr-<number>` to the service's name, an expiry, and a comment on the pull request.",
        kind=Kind.BOOLEAN,
        default="false",
        is_built=False,
    ),
    Input(
        name="preview-ttl-hours",
        group=Group.PREVIEW,
        says="After how many hours a preview expires.",
        kind=Kind.NUMBER,
        default="72",
        minimum=1,
        maximum=8760,
        unit="hours",
        is_built=False,
        used_by=_MAKES,
    ),
    Input(
        name="max-deletes",
        group=Group.PREVIEW,
        says="How many services one `sweep` may delete.",
        kind=Kind.INTEGER,
        default="20",
        minimum=0,
        maximum=10000,
        unit="services",
        is_built=False,
        used_by=frozenset({Command.SWEEP}),
    ),
    # --- Invoke ---
    Input(
        name="request-file",
        group=Group.INVOKE,
        says="The JSON file in the checkout that `invoke` sends.",
        kind=Kind.PATH,
        config=ConfigUse.NEVER,
        used_by=frozenset({Command.INVOKE}),
    ),
)

INPUTS: Final[Mapping[str, Input]] = {row.name: row for row in _ROWS}

# Keys of the config file's `local:` section; they are no inputs.
LOCAL_KEYS: Final[Mapping[str, Input]] = {
    row.name: row
    for row in (
        Input(
            name="port",
            group=Group.SHAPE,
            says="The port of the service on this machine; without it any free one, kept for the service's life.",
            kind=Kind.INTEGER,
            minimum=1,
            maximum=65535,
        ),
        Input(
            name="workers",
            group=Group.SHAPE,
            says="How many processes answer requests, each with the model in memory.",
            kind=Kind.INTEGER,
            default="1",
            minimum=1,
            maximum=64,
            unit="workers",
        ),
        Input(
            name="request-timeout-s",
            group=Group.SHAPE,
            says="How long one request may take, in seconds.",
            kind=Kind.INTEGER,
            default="60",
            minimum=1,
            maximum=3600,
            unit="seconds",
        ),
    )
}

OUTPUTS: Final[Mapping[str, Output]] = {
    name: Output(name=name, description=description)
    for name, description in {
        "scoring-uri": "Where to POST a request for a prediction.",
        "service-uri": "The same as `scoring-uri`.",
        "swagger-uri": "Where the service tells what it takes and gives (OpenAPI).",
        "status": "What is true of the service, or was done, when the step ends; docs/contract.md lists the values.",
        "command": "The command that ran.",
        "service-name": "The name of the service; written before the first wait, so that a cancelled job can clean up.",
        "deployment-name": "The name of the deployment that this step made or changed, a canary included; without one, of the one that has the traffic.",
        "model-name": "The name of the model in that deployment.",
        "model-version": "The registered version of the model in that deployment, if it has one.",
        "previous-model-version": "The version (or place) of the model that had the traffic before.",
        "changed": "`true` if anything was changed, else `false`.",
        "studio-url": "The page of the service in Azure Machine Learning studio.",
        "error-code": "The exit code of a failed step, by who must act; docs/contract.md lists them.",
        "error-kind": "The stable name of the failure; docs/contract.md lists them.",
        "retryable": "Of a failed step: `true` if it may succeed when it is run again, else `false`.",
        "correlation-id": "The other side's id of the request that failed, for its support.",
        "result": "Everything above and every change with its time, as one JSON object with a versioned schema.",
    }.items()
}

COMMANDS: Final[Mapping[Command, CommandRow]] = {
    row.command: row
    for row in (
        CommandRow(
            command=Command.DEPLOY,
            does="Resolve the model, check it, create or update the service, smoke-test it, give it the traffic, report.",
        ),
        CommandRow(
            command=Command.CLEANUP,
            does="Delete the named service, nothing shared; absent is success.",
        ),
        CommandRow(command=Command.STATUS, does="Tell how the service is; changes nothing."),
        CommandRow(
            command=Command.INVOKE,
            does="Send a request file to the service and print the answer.",
            needs=("service-name", "request-file"),
        ),
        CommandRow(command=Command.PROMOTE, does="End a canary: all traffic to the new deployment."),
        CommandRow(command=Command.REJECT, does="End a canary: all traffic back to the old deployment."),
        CommandRow(command=Command.ROLLBACK, does="Go back to the deployment that served before."),
        CommandRow(
            command=Command.SWEEP,
            does="Delete this repository's previews whose pull request is closed or whose time is up.",
            needs=(),
            is_built=False,
        ),
        CommandRow(
            command=Command.DOCTOR, does="Run every check of a deploy and nothing else; touches nothing.", needs=()
        ),
        CommandRow(
            command=Command.MIGRATE,
            does="Read a live v1 service and print the config and workflow for its successor (command line only).",
        ),
        CommandRow(
            command=Command.AUTO,
            does="By GitHub event: pull request opened or changed, a preview; closed, its cleanup; push, a deploy.",
            is_built=False,
        ),
    )
}
