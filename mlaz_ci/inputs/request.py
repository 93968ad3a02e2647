"""Gives the settings their meaning: one Request, or the error that names the input, what is wrong with it and what would do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mlaz_ci.errors import (
    ConfigurationError,
    ConflictingInputs,
    InapplicableInput,
    MissingInput,
    NotInThisVersion,
    TargetNotChosen,
)
from mlaz_ci.inputs.also_delete import parse_also_delete
from mlaz_ci.inputs.config import ConfigFile
from mlaz_ci.inputs.model_source import parse_model_source
from mlaz_ci.inputs.origin import Origin
from mlaz_ci.inputs.settings import Settings, read_settings
from mlaz_ci.inputs.sign_in import (
    WORKSPACE_INPUTS,
    check_tracking_uri,
    parse_credentials,
    parse_sign_in,
    parse_workspace,
)
from mlaz_ci.inputs.table import COMMANDS, INPUTS
from mlaz_ci.inputs.wording import listed
from mlaz_ci.models import (
    AzureShape,
    Cloud,
    Command,
    EndpointUse,
    Finding,
    ModelSource,
    OnFailure,
    Request,
    Severity,
    Shape,
    SignIn,
    SmokeTest,
    Strategy,
    Target,
    Workspace,
    names,
)
from mlaz_ci.targets import TARGETS, InputUse, TargetRules, rules_of

_NEEDS_MODEL: Final = frozenset({Command.DEPLOY, Command.DOCTOR})


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedRequest:
    """A request, and what there is to say about how it was asked."""

    request: Request
    findings: tuple[Finding, ...] = ()


def parse_request(given: Mapping[str, str], config: ConfigFile | None, origin: Origin) -> ParsedRequest:
    """The request that inputs and config file make together.

    Total: whatever the texts hold, it returns or raises an error of the catalogue. Precedence: input, config file, default.
    """
    settings = read_settings(given, config, origin)
    command = _parse_command(settings)
    target = _parse_target(settings, command)
    # The form of these is checked on every target alike, also where they are then left out.
    _parse_azure(settings)
    parse_also_delete(settings.text("also-delete") or "")
    source = _parse_source(settings, origin)
    rules = rules_of(target)
    unused = _check_uses(settings, target, rules)
    _check_built(settings, rules)
    _check_needs(settings, command, source)
    service_name = settings.text("service-name") or ""
    if service_name:
        rules.check_service_name(service_name)
    kept = settings.without(unused)
    sign_in, workspace = _parse_azure(kept)
    if rules.side.needs_workspace and workspace is None:
        raise MissingInput(
            f"`{'command: migrate' if command is Command.MIGRATE else f'target: {target}'}` needs {listed(WORKSPACE_INPUTS)}.",
            usually="A service on Azure belongs to a workspace.",
            remedy="Give the three inputs, or set them in the config file.",
        )
    request = _build(
        kept,
        origin,
        command=command,
        target=target,
        source=source,
        sign_in=sign_in,
        workspace=workspace,
        shape=_parse_shape(kept, rules, config),
    )
    return ParsedRequest(request=request, findings=_findings_of(target, unused))


def _parse_shape(settings: Settings, rules: TargetRules, config: ConfigFile | None) -> Shape:
    """What the target makes of inputs and section. What is wrong with a key of the section is told with its place."""
    try:
        return rules.shape(settings)
    except ConfigurationError as error:
        located = config.located(error) if config else error
        if located is error:
            raise
        raise located from error


def _build(
    settings: Settings,
    origin: Origin,
    *,
    command: Command,
    target: Target,
    source: ModelSource | None,
    sign_in: SignIn | None,
    workspace: Workspace | None,
    shape: Shape,
) -> Request:
    return Request(
        command=command,
        target=target,
        source=source,
        model_name=settings.text("model-name"),
        tracking_uri=settings.text("tracking-uri"),
        service_name=settings.text("service-name") or "",
        deployment_name=settings.text("deployment-name"),
        workspace=workspace,
        sign_in=sign_in,
        shape=shape,
        tags=settings.mapping("tags"),
        base_image=settings.text("base-image"),
        azureml_environment=settings.text("azureml-environment"),
        strategy=settings.choice("strategy", Strategy),
        canary_percent=int(settings.number("canary-percent")),
        endpoint=settings.choice("endpoint", EndpointUse),
        allow_recreate=settings.boolean("allow-recreate"),
        keep_previous_hours=settings.number("keep-previous"),
        expect_model_version=settings.text("expect-model-version"),
        wait=settings.boolean("wait"),
        deadline_s=_deadline_s(settings, shape),
        smoke_test=settings.choice("smoke-test", SmokeTest),
        smoke_test_file=_parse_path(settings, "smoke-test-file", origin),
        request_file=_parse_path(settings, "request-file", origin),
        on_failure=settings.choice("on-failure", OnFailure),
        build_from_source=settings.boolean("build-from-source"),
        dry_run=settings.boolean("dry-run"),
        relock=settings.boolean("relock"),
        take_over=settings.text("take-over"),
        also_delete=parse_also_delete(settings.text("also-delete") or ""),
        owner=settings.text("owner") or origin.default_owner,
        given=settings.given,
        origin=origin.facts(),
    )


def _parse_command(settings: Settings) -> Command:
    command = settings.choice("command", Command)
    if not COMMANDS[command].is_built:
        built = names([row.command for row in COMMANDS.values() if row.is_built])
        raise NotInThisVersion(f'Command "{command}" is not in this version; built: {built}.')
    if command is Command.INVOKE and settings.boolean("dry-run"):
        raise ConflictingInputs(
            "`dry-run` was given with `command: invoke`, which does nothing but send one request.",
            remedy="Remove one of them.",
        )
    return command


def _parse_target(settings: Settings, command: Command) -> Target:
    """Local only where nothing points elsewhere; a workspace alone is never a choice."""
    if command is Command.MIGRATE:
        return Target.ACI  # it reads what v1 serves, on whatever cluster
    if "target" in settings.values:
        return settings.choice("target", Target)
    given = [name for name in WORKSPACE_INPUTS if name in settings.values]
    if given:
        was = "was" if len(given) == 1 else "were"
        raise TargetNotChosen(f"{listed(given)} {was} given without `target`; the targets are {names(Target)}.")
    return Target.LOCAL


def _parse_azure(settings: Settings) -> tuple[SignIn | None, Workspace | None]:
    creds = settings.secret("creds")
    credentials = parse_credentials(creds.reveal()) if creds else None
    sign_in = parse_sign_in(
        client_id=settings.text("client-id"),
        tenant_id=settings.text("tenant-id"),
        client_secret=settings.secret("client-secret"),
        credentials=credentials,
        audience=settings.text("audience"),
        client_certificate=settings.secret("client-certificate"),
        client_certificate_password=settings.secret("client-certificate-password"),
    )
    resource_group, workspace_name = settings.text("resource-group"), settings.text("workspace-name")
    # The subscription of `creds` completes a workspace; alone it names none.
    completes = credentials is not None and (resource_group or workspace_name)
    subscription_id = settings.text("subscription-id")
    if credentials is not None and subscription_id is None and completes:
        subscription_id = credentials.subscription_id
    workspace = parse_workspace(
        subscription_id=subscription_id,
        resource_group=resource_group,
        workspace_name=workspace_name,
        cloud=settings.choice("cloud", Cloud),
    )
    return sign_in, workspace


def _parse_source(settings: Settings, origin: Origin) -> ModelSource | None:
    if tracking_uri := settings.text("tracking-uri"):
        check_tracking_uri(tracking_uri)
    default_path = INPUTS["model-path"].default
    assert default_path is not None
    given = {
        name: settings.text(name) if name in settings.values else None for name in ("run-id", "model-path", "model-uri")
    }
    return parse_model_source(
        run_id=given["run-id"],
        model_path=given["model-path"],
        model_uri=given["model-uri"],
        default_path=default_path,
        working_directory=origin.working_directory,
    )


def _deadline_s(settings: Settings, shape: Shape) -> float:
    """The given one, or the default; twice that where a cluster is made, which alone takes 20 to 25 minutes."""
    deadline_s = settings.number("deadline-minutes") * 60
    cluster = shape.cluster if isinstance(shape, AzureShape) else None
    makes_cluster = cluster is not None and cluster.resource_id is None
    return deadline_s * 2 if makes_cluster and "deadline-minutes" not in settings.values else deadline_s


def _parse_path(settings: Settings, name: str, origin: Origin) -> Path | None:
    path = settings.text(name)
    return origin.working_directory / path if path else None


def _check_uses(settings: Settings, target: Target, rules: TargetRules) -> tuple[str, ...]:
    """The given inputs that the target has no use for. Raises InapplicableInput where dropping one would drop a protection."""
    uses = rules.input_uses()
    security = [name for name in settings.given if uses.get(name) == InputUse.SECURITY]
    if security:
        raise InapplicableInput(f"{listed(security)} cannot be had on target {target}.")
    return tuple(name for name in settings.given if uses.get(name) == InputUse.INAPPLICABLE)


def _findings_of(target: Target, unused: tuple[str, ...]) -> tuple[Finding, ...]:
    if not unused:
        return ()
    finding = Finding(
        code="inapplicable-inputs",
        severity=Severity.WARNING,
        what=f"Target {target} has no use for {listed(unused)}; what was given is left out.",
        usually="The step was written for another target.",
        remedy="Keep them for the day the target changes, or remove them.",
    )
    return (finding,)


def _check_built(settings: Settings, rules: TargetRules) -> None:
    """What is declared and not built is refused when it was meant to change something, never passed over."""
    known = rules.input_uses()
    missing = [
        name
        for name in settings.given
        if not INPUTS[name].is_built and name not in known and not settings.is_default(name)
    ]
    if missing:
        raise NotInThisVersion(
            f"{listed(missing)} cannot be used in this version, which builds target {names(list(TARGETS))}."
        )


def _check_needs(settings: Settings, command: Command, source: ModelSource | None) -> None:
    missing = [name for name in COMMANDS[command].needs if name not in settings.values]
    if command in _NEEDS_MODEL and source is None:
        what = "No model was named: `run-id` or `model-uri` is missing."
        also = f" So is {listed(missing)}." if missing else ""
        raise MissingInput(what + also)
    if missing:
        raise MissingInput(f"`command: {command}` needs {listed(missing)}.")
