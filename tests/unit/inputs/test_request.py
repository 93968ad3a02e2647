from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlaz_ci.errors import (
    ConflictingInputs,
    InapplicableInput,
    InvalidInput,
    MissingInput,
    MlazError,
    NotInThisVersion,
    TargetNotChosen,
    UnknownInput,
    UntrustedConfigKey,
)
from mlaz_ci.inputs import Origin, ParsedRequest, parse_config, parse_request
from mlaz_ci.models import (
    AuthMode,
    AzureShape,
    Cluster,
    Command,
    ComputeName,
    LocalShape,
    ModelVersionName,
    OnFailure,
    PathSource,
    Request,
    RunSource,
    Severity,
    SignIn,
    SmokeTest,
    Target,
)

HERE = Path("/checkout")
LAPTOP = Origin(working_directory=HERE, user="ada", host="laptop")
PULL_REQUEST = Origin(working_directory=HERE, is_github=True, is_pull_request=True, is_fork=True, repository_id="4711")
GUID = "00000000-0000-0000-0000-00000000000a"
CLUSTER_ID = f"/subscriptions/{GUID}/resourceGroups/k8s/providers/Microsoft.ContainerService/managedClusters/c1"
DEPLOY = {"run-id": "abc", "service-name": "churn"}
WORKSPACE = {"subscription-id": GUID, "resource-group": "rg", "workspace-name": "ws1"}
CREDS = json.dumps({"clientId": GUID, "clientSecret": "hunter2hunter2", "subscriptionId": GUID, "tenantId": GUID})


def parse(given: dict[str, Any], config: str | None = None, origin: Origin = LAPTOP) -> ParsedRequest:
    return parse_request(given, None if config is None else parse_config(config, "mlaz-ci.yml"), origin)


def test_parse_request__least_that_deploys__has_the_defaults() -> None:
    parsed = parse(DEPLOY)
    assert parsed.request == Request(
        command=Command.DEPLOY,
        target=Target.LOCAL,
        source=RunSource(run_id="abc", path="model"),
        service_name="churn",
        shape=LocalShape(port=None, workers=1, request_timeout_s=60, environment_variables={}),
        owner="user:ada@laptop",
        given=("run-id", "service-name"),
    )
    assert parsed.findings == ()


def test_parse_request__everything_built__is_in_the_request() -> None:
    request = parse(
        {
            "command": "deploy",
            "target": "local",
            "model-uri": "models/churn",
            "model-name": "Churn",
            "tracking-uri": "sqlite:///mlflow.db",
            "service-name": "churn",
            "deployment-name": "blue",
            "tags": "team=risk",
            "environment-variables": "A=1",
            "wait": "yes",
            "deadline-minutes": "0.5",
            "smoke-test": "best-effort",
            "smoke-test-file": "tests/body.json",
            "request-file": "/abs/request.json",
            "on-failure": "keep",
            "build-from-source": "yes",
            "dry-run": "1",
            "relock": "on",
            "take-over": "churn",
            "owner": "team-risk",
            "github-token": "ghs_x",
        },
        "local: {port: 8080, workers: 2, request-timeout-s: 5}\n",
    ).request
    assert request.source == PathSource(path=HERE / "models/churn")
    assert (request.model_name, request.tracking_uri, request.deployment_name) == (
        "Churn",
        "sqlite:///mlflow.db",
        "blue",
    )
    assert (request.tags, request.take_over, request.owner) == ({"team": "risk"}, "churn", "team-risk")
    assert request.shape == LocalShape(port=8080, workers=2, request_timeout_s=5, environment_variables={"A": "1"})
    assert (request.wait, request.dry_run, request.relock, request.build_from_source) == (True, True, True, True)
    assert (request.deadline_s, request.smoke_test, request.on_failure) == (30, SmokeTest.BEST_EFFORT, OnFailure.KEEP)
    assert request.smoke_test_file == HERE / "tests/body.json"
    assert request.request_file == Path("/abs/request.json")
    assert "ghs_x" not in repr(request)


def test_parse_request__input_and_config__input_wins_and_config_beats_the_default() -> None:
    request = parse(
        {**DEPLOY, "deadline-minutes": "5"}, "deadline-minutes: 7\nsmoke-test: off\nmodel-path: forest\n"
    ).request
    assert request.deadline_s == 300
    assert request.smoke_test is SmokeTest.OFF
    assert request.source == RunSource(run_id="abc", path="forest")
    assert request.given == ("run-id", "model-path", "service-name", "deadline-minutes", "smoke-test")


def test_parse_request__empty_input__is_not_given() -> None:
    request = parse(
        {**DEPLOY, "deadline-minutes": " ", "model-uri": "", "creds": "\n"}, "deadline-minutes: 7\n"
    ).request
    assert request.deadline_s == 420
    assert request.given == ("run-id", "service-name", "deadline-minutes")


def test_parse_request__on_github__belongs_to_the_repository() -> None:
    request = parse(DEPLOY, origin=PULL_REQUEST).request
    assert request.owner == "4711"


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"run_id": "x"}, UnknownInput, 'Did you mean "run-id"?'),
        ({**DEPLOY, "command": "delete"}, InvalidInput, "`command`"),
        ({**DEPLOY, "command": "clean-up"}, InvalidInput, 'Did you mean "cleanup"?'),
        ({**DEPLOY, "target": "lokal"}, InvalidInput, 'Did you mean "local"?'),
        ({**DEPLOY, "service-name": "Churn Model"}, InvalidInput, '"churn-model" would do'),
        ({**DEPLOY, "service-name": "x" * 100}, InvalidInput, "`service-name`"),
        ({**DEPLOY, "tracking-uri": "htp://x"}, InvalidInput, 'Did you mean "http:…"?'),
        ({**DEPLOY, "model-uri": "models:/x/1"}, ConflictingInputs, "`run-id` and `model-uri`"),
        ({"service-name": "churn"}, MissingInput, "`run-id` or `model-uri` is missing"),
        ({}, MissingInput, "`run-id` or `model-uri` is missing. So is `service-name`."),
        ({"run-id": "x"}, MissingInput, "`command: deploy` needs `service-name`"),
        ({"command": "cleanup"}, MissingInput, "`command: cleanup` needs `service-name`"),
        ({"command": "invoke", "service-name": "churn"}, MissingInput, "needs `request-file`"),
        ({"command": "doctor"}, MissingInput, "`run-id` or `model-uri` is missing"),
        ({"command": "invoke", "dry-run": "true"}, ConflictingInputs, "`dry-run`"),
        ({**DEPLOY, **WORKSPACE}, TargetNotChosen, "local, aci, aks, managed, kubernetes"),
        ({**DEPLOY, "workspace-name": "ws1"}, TargetNotChosen, "`workspace-name`"),
        ({**DEPLOY, "target": "managed", "workspace-name": "ws1"}, MissingInput, "`subscription-id`, `resource-group`"),
        ({**DEPLOY, "target": "managed"}, MissingInput, "`target: managed` needs `subscription-id`"),
        ({**DEPLOY, **WORKSPACE, "target": "managed", "auth": "none"}, InapplicableInput, "`auth: none`"),
        ({**DEPLOY, "target": "aci", "client-certificate": "PEM", "client-id": GUID}, MissingInput, "`tenant-id`"),
        ({**DEPLOY, "target": "aci", "client-certificate": "PEM", "creds": CREDS}, ConflictingInputs, "`creds`"),
        ({**DEPLOY, "target": "aci", "client-certificate-password": "hunter2"}, MissingInput, "`client-certificate`"),
        ({"command": "cleanup", "service-name": "churn", "also-delete": "models:/churn"}, InvalidInput, "neither a"),
        (
            {"command": "cleanup", "service-name": "churn", "also-delete": "models:/churn/latest"},
            InvalidInput,
            "no version",
        ),
        ({"command": "cleanup", "service-name": "churn", "also-delete": "computes/*"}, InvalidInput, "neither a model"),
        ({**DEPLOY, "target": "aci", "creds": CREDS, "client-id": GUID}, ConflictingInputs, "`creds`"),
        ({**DEPLOY, "preview": "true"}, NotInThisVersion, "`preview`"),
        ({**DEPLOY, "creds": "{"}, InvalidInput, "`creds`"),
        ({**DEPLOY, "auth": "key"}, InapplicableInput, "`auth` cannot be had on target local"),
        ({"command": "promote"}, MissingInput, "`command: promote` needs `service-name`"),
        ({"command": "sweep"}, NotInThisVersion, 'Command "sweep"'),
        ({"command": "auto"}, NotInThisVersion, 'Command "auto"'),
        ({"command": "migrate"}, MissingInput, "`command: migrate` needs `service-name`"),
        ({"command": "migrate", "service-name": "churn"}, MissingInput, "`command: migrate` needs `subscription-id`"),
        (
            {"command": "sweep"},
            NotInThisVersion,
            "built: deploy, cleanup, status, invoke, promote, reject, rollback, doctor, migrate",
        ),
    ],
)
def test_parse_request__what_cannot_be__is_the_fitting_error(
    given: dict[str, str], error: type[MlazError], told: str
) -> None:
    with pytest.raises(MlazError) as caught:
        parse(given)
    assert type(caught.value) is error
    assert told in caught.value.what
    assert caught.value.exit_code == 2
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("command", ["cleanup", "status", "rollback"])
def test_parse_request__command_that_needs_no_model__takes_none(command: str) -> None:
    request = parse({"command": command, "service-name": "churn"}).request
    assert request.command == command
    assert request.source is None


def test_parse_request__doctor__needs_no_service() -> None:
    assert parse({"command": "doctor", "run-id": "abc"}).request.service_name == ""


def test_parse_request__inapplicable_inputs__are_one_warning_and_left_out() -> None:
    parsed = parse({**DEPLOY, "cpu-cores": "2", "base-image": "example.com/base:1", "strategy": "canary"})
    assert [finding.severity for finding in parsed.findings] == [Severity.WARNING]
    assert "`cpu-cores`, `strategy`, `base-image`" in parsed.findings[0].what
    assert parsed.request.base_image is None
    assert parsed.request.given == ("run-id", "service-name")


def test_parse_request__azure_inputs_on_local__are_kept_for_the_models_of_the_workspace() -> None:
    """One word changes the target: the run is the workspace's there as well."""
    parsed = parse({**DEPLOY, "target": "local", **WORKSPACE, "client-id": GUID, "cloud": "AzureCloud"})
    assert parsed.findings == ()
    assert parsed.request.workspace is not None
    assert (parsed.request.workspace.name, parsed.request.sign_in) == ("ws1", SignIn(client_id=GUID))


def test_parse_request__not_built_input_at_its_default__asks_for_nothing() -> None:
    parsed = parse({**DEPLOY, "preview": "false", "preview-ttl-hours": "72"})
    assert parsed.findings == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [("owner", "me"), ("take-over", "churn"), ("build-from-source", "true")],
)
def test_parse_request__refused_on_pull_requests__is_an_error_there_alone(name: str, value: str) -> None:
    assert name in parse({**DEPLOY, name: value}).request.given
    with pytest.raises(InvalidInput, match=f"`{name}` is refused on pull-request events"):
        parse({**DEPLOY, name: value}, origin=PULL_REQUEST)


@pytest.mark.parametrize(
    ("compute", "given", "minutes"),
    [
        ("{name: k8s, create: true}", {}, 60),
        ("{name: k8s, create: true}", {"deadline-minutes": "25"}, 25),
        (f"{{name: k8s, attach: {CLUSTER_ID}}}", {}, 30),
        ("k8s", {}, 30),
    ],
    ids=["made", "made-and-given", "attached", "there"],
)
def test_parse_request__cluster_to_be_made__has_time_to_be(compute: str, given: dict[str, str], minutes: int) -> None:
    request = parse({**DEPLOY, **WORKSPACE, "target": "aks", "creds": CREDS, **given}, f"compute: {compute}").request
    assert request.deadline_s == minutes * 60


def test_parse_request__cluster_made_by_the_config__is_not_taken_from_a_pull_request() -> None:
    given, config = {**DEPLOY, **WORKSPACE, "target": "aks"}, "compute: {name: aks-mlflow, create: true}"
    shape = parse(given, config).request.shape
    assert isinstance(shape, AzureShape)
    assert (shape.compute, shape.cluster) == ("aks-mlflow", Cluster(name="aks-mlflow"))
    with pytest.raises(UntrustedConfigKey, match=r"mlaz-ci\.yml:1:10: how a cluster is made"):
        parse(given, config, origin=PULL_REQUEST)


def test_parse_request__other_cluster_named_by_the_input__is_not_made() -> None:
    given = {**DEPLOY, **WORKSPACE, "target": "aks", "compute": "shared"}
    shape = parse(given, "compute: {name: aks-mlflow, create: true}").request.shape
    assert isinstance(shape, AzureShape)
    assert (shape.compute, shape.cluster) == ("shared", None)


def test_parse_request__azure_target__knows_workspace_sign_in_and_shape() -> None:
    request = parse(
        {
            **DEPLOY,
            **WORKSPACE,
            "target": "aci",
            "client-id": GUID,
            "tenant-id": GUID,
            "client-certificate": "PEM",
            "cpu-cores": "0.5",
            "auth": "key",
        },
        "aci: {dns_name_label: churn}",
    ).request
    assert request.workspace is not None
    assert request.sign_in is not None
    assert request.sign_in.client_certificate is not None
    assert request.shape == AzureShape(cpu_cores=0.5, auth=AuthMode.KEY, raw={"dns_name_label": "churn"})


def test_parse_request__also_delete__names_versions_and_computes() -> None:
    given = {"command": "cleanup", "service-name": "churn"}
    text = "models:/churn/3\ncomputes/aks-mlflow, attached/shared\nmodels:/churn/3"
    assert parse({**given, "also-delete": text}).request.also_delete == ()
    request = parse({**given, **WORKSPACE, "target": "aks", "also-delete": text}).request
    assert request.also_delete == (
        ModelVersionName(name="churn", version="3"),
        ComputeName(name="aks-mlflow", keeps_resource=False),
        ComputeName(name="shared", keeps_resource=True),
    )
    with pytest.raises(InvalidInput, match="`also-delete` is refused on pull-request events"):
        parse({**given, "also-delete": text}, origin=PULL_REQUEST)


def test_parse_request__two_refused_on_pull_requests__are_named_together() -> None:
    with pytest.raises(InvalidInput, match="`owner`, `take-over` are refused"):
        parse({**DEPLOY, "owner": "me", "take-over": "x"}, origin=PULL_REQUEST)


def test_parse_request__build_from_source_false_on_pull_request__is_fine() -> None:
    assert not parse({**DEPLOY, "build-from-source": "false"}, origin=PULL_REQUEST).request.build_from_source


@pytest.mark.parametrize(
    "line",
    ["target: local", "service-name: prod", "tracking-uri: http://evil", "take-over: prod", "owner: me", f"client-id: {GUID}", f"tenant-id: {GUID}",
     f"subscription-id: {GUID}", "resource-group: rg", "workspace-name: ws1", "cloud: AzureCloud", "deployment-name: blue", "endpoint: existing", "audience: x"],
)  # fmt: skip
def test_parse_request__trusted_key_in_a_pull_requests_config__is_refused(line: str) -> None:
    given = {"run-id": "abc"} if line.startswith("service-name") else DEPLOY
    with pytest.raises(UntrustedConfigKey) as caught:
        parse(given, f"wait: true\n{line}\n", origin=PULL_REQUEST)
    assert caught.value.what.startswith(f"mlaz-ci.yml:2:{line.index(' ') + 2}: `{line.partition(':')[0]}`")


def test_parse_request__trusted_key_that_an_input_overrides__does_no_harm() -> None:
    request = parse(DEPLOY, "service-name: production\nmodel-path: forest\n", origin=PULL_REQUEST).request
    assert request.service_name == "churn"
    assert request.source == RunSource(run_id="abc", path="forest")


def test_parse_request__trusted_key_on_a_push__is_taken() -> None:
    assert parse({"run-id": "abc"}, "service-name: production\n").request.service_name == "production"
