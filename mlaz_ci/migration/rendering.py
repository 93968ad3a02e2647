"""Writes the successor's mlaz-ci.yml and workflow, and says what changes with the move. What it writes, our own parser takes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from mlaz_ci._version import __version__
from mlaz_ci.migration.v1_service import V1Service
from mlaz_ci.models import AuthMode, Target, Workspace
from mlaz_ci.report.text import one_line
from mlaz_ci.serving.stamp import is_ours
from mlaz_ci.targets.managed import DEFAULT_INSTANCE_TYPE, instance_type_for

_SUCCESSOR = {Target.ACI: Target.MANAGED, Target.AKS: Target.KUBERNETES}


def render_migration(service: V1Service, workspace: Workspace) -> str:
    """Two YAML documents for people and programs: the config file, then the workflow; what changes stands in comments above."""
    successor = _SUCCESSOR[service.target]
    head = [
        f"The {service.target.upper()} web service {service.name} as target {successor}, read from {workspace.name}.",
        *_changes(service, successor),
    ]
    # What a service tells of itself may hold anything: each remark stays one comment.
    lines = [f"# {one_line(each)}" for each in head]
    lines += ["", "# --- mlaz-ci.yml ---", *_config(service, successor, workspace)]
    lines += ["---", "# --- .github/workflows/serve.yml ---", *_workflow(service)]
    return "\n".join(lines) + "\n"


def _changes(service: V1Service, successor: Target) -> Iterator[str]:
    old = service.scoring_uri or "no address at all"
    yield f"Callers: the address changes ({old} now), and so do keys. They go on sending `Authorization: Bearer …`; bodies and answers stay the same."
    if service.auth is AuthMode.NONE:
        yield "Authentication: the service takes anybody now. An online endpoint never does: its callers need a key or a token."
    if service.domain_name or service.has_tls:
        yield "TLS: an online endpoint has its own certificate, and no domain name of yours: put a gateway of your own before it."
    if service.is_in_network:
        yield "Network: a service in a virtual network becomes an endpoint with `public_network_access: disabled`, which callers reach by the workspace's private endpoint."
    if successor is Target.MANAGED:
        if service.cpu_cores is not None or service.memory_gb is not None:
            wanted = f"{service.cpu_cores or 0:g} cores and {service.memory_gb or 0:g} GB"
            size = instance_type_for(service.cpu_cores, service.memory_gb)
            yield (
                f"Size: {wanted} is {size} by Microsoft's table."
                if size
                else f"Size: {wanted} is beyond Microsoft's table; choose a VM size for `instance-type`."
            )
        yield "Name: an endpoint's name is unique in its Azure region, across all customers."
    else:
        yield "Cluster: it needs the Azure Machine Learning extension and must be attached to the workspace as Kubernetes, under a name of its own."
    if service.autoscaler:
        yield (
            f"Scaling: {service.autoscaler.smallest} to {service.autoscaler.largest} replicas at {service.autoscaler.target_percent} % now."
        )
    if len(service.models) != 1:
        yield f"Models: the service holds {len(service.models)}; one deployment serves one MLflow model. Split the service."
    yield "Both can run side by side: move the callers, then `command: cleanup` with the old target."


def _config(service: V1Service, successor: Target, workspace: Workspace) -> Iterator[str]:
    yield f"target: {successor}"
    yield f"subscription-id: {workspace.subscription_id}"
    yield f"resource-group: {_scalar(workspace.resource_group)}"
    yield f"workspace-name: {_scalar(workspace.name)}"
    yield f"service-name: {_scalar(service.name)}"
    if len(service.models) == 1:
        name, _, version = service.models[0].rpartition(":")
        yield f"model-uri: {_scalar(f'models:/{name}/{version}')}"
    yield f"auth: {AuthMode.KEY if service.auth is AuthMode.NONE else service.auth}"
    if service.description:
        yield f"description: {_scalar(service.description)}"
    if successor is Target.MANAGED:
        size = instance_type_for(service.cpu_cores, service.memory_gb) or DEFAULT_INSTANCE_TYPE
        yield f"instance-type: {size}"
    else:
        yield "compute: CHANGE-ME # the attached cluster's name"
        yield from (
            f"{name}: {value:g}"
            for name, value in (("cpu-cores", service.cpu_cores), ("memory-gb", service.memory_gb))
            if value is not None
        )
    count = service.autoscaler.smallest if service.autoscaler else service.instance_count
    if count is not None and count > 1:
        yield f"instance-count: {count}"
    if service.has_app_insights:
        yield "enable-app-insights: true"
    if service.collects_data:
        yield "data-collection: true"
    tags = {name: value for name, value in service.tags.items() if not is_ours(name)}
    if tags:
        yield "tags:"
        yield from (f"  {_scalar(name)}: {_scalar(value)}" for name, value in tags.items())


def _workflow(service: V1Service) -> Iterator[str]:
    yield from (
        "name: serve",
        "on:",
        "  push: { branches: [main] }",
        "permissions: { contents: read, id-token: write }",
        "concurrency: { group: serve }",
        "jobs:",
        "  serve:",
        "    runs-on: ubuntu-latest",
        "    timeout-minutes: 60",
        "    steps:",
        "      - uses: actions/checkout@v7",
        f"      - uses: mlaz-ci/mlaz-ci@v{re.sub(r'[^0-9.].*', '', __version__)}",
        "        with:",
        "          client-id: ${{ vars.AZURE_CLIENT_ID }}",
        "          tenant-id: ${{ vars.AZURE_TENANT_ID }}",
        f"          service-name: {_scalar(service.name)}",
    )


def _scalar(text: str) -> str:
    """A YAML scalar that is this very text: plain where that is safe, else in double quotes."""
    is_word = text.lower() in {"true", "false", "yes", "no", "on", "off", "null"}
    if not is_word and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./:-]*[A-Za-z0-9]", text):
        return text
    return str(yaml.safe_dump(text, default_style='"', width=10**9)).strip()
