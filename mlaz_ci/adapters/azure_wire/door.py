"""The workspace as the door to its services: what ARM says of it, and the regional hosts that speak for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from mlaz_ci.adapters.azure_wire.wire import Answer, Wire
from mlaz_ci.errors import AzureUnreachable, NotFound, RoleMissing, SignInRefused
from mlaz_ci.models import Workspace

ARM_API_VERSION: Final = "2024-04-01"
_PROVIDER: Final = "Microsoft.MachineLearningServices"
_MAX_PAGES: Final = 200
# azureml-mlflow asks these of the host of the workspace's tracking URI, for every workspace (run_artifact_client.py, azureml_reststore.py).
_BESIDE_MLFLOW: Final = frozenset({"api", "history"})


class CloudNames(Protocol):
    """What the door needs of `adapters.identity.CloudFacts`."""

    @property
    def resource_manager(self) -> str: ...

    @property
    def arm_scope(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkspaceFacts:
    """The workspace as ARM tells it. `guid` is its own id, that data-plane paths and portal links take."""

    id: str
    guid: str
    location: str
    discovery_url: str
    mlflow_host: str
    """The address that speaks for MLflow, run history and artifacts, as the workspace's tracking URI names it; "" where it has none."""
    storage_account_id: str
    container_registry_id: str | None
    image_build_compute: str | None
    is_public: bool
    is_in_legacy_mode: bool
    network_isolation: str
    """The managed network's isolation mode: Disabled, AllowInternetOutbound, AllowOnlyApprovedOutbound."""
    tenant_id: str | None
    tags: Mapping[str, str]


class WorkspaceDoor:
    """Safe for threads; the workspace and its services are asked for once."""

    def __init__(
        self, wire: Wire, workspace: Workspace, names: CloudNames, *, explain: Callable[[], None] | None = None
    ) -> None:
        """`explain` is asked when the workspace cannot be read, and raises if it knows a better reason."""
        self.wire = wire
        self._explain = explain
        self.workspace = workspace
        self._names = names
        self._lock = threading.RLock()
        self._facts: WorkspaceFacts | None = None
        self._services: Mapping[str, str] | None = None

    def beside(self, workspace: Workspace) -> WorkspaceDoor:
        """The door of another workspace, for the same identity and in the same cloud."""
        return WorkspaceDoor(self.wire, workspace, self._names)

    @property
    def path(self) -> str:
        """The workspace's ARM id, which is its path on every host."""
        at = self.workspace
        return (
            f"/subscriptions/{at.subscription_id}/resourceGroups/{quote(at.resource_group)}"
            f"/providers/{_PROVIDER}/workspaces/{quote(at.name)}"
        )

    @property
    def facts(self) -> WorkspaceFacts:
        """Raises WorkspaceNotFound, RoleMissing, SignInRefused, AzureUnreachable."""
        with self._lock:
            if self._facts is None:
                try:
                    answer = self.arm("GET", "", doing=f'read the workspace "{self.workspace.name}"')
                except (NotFound, RoleMissing, SignInRefused):
                    if self._explain:
                        self._explain()
                    raise
                self._facts = _facts_of(answer.object, self.path)
            return self._facts

    def arm(
        self,
        method: str,
        below: str,
        *,
        doing: str,
        api_version: str = ARM_API_VERSION,
        query: str = "",
        **options: Any,
    ) -> Answer:
        """A request to ARM for what stands `below` the workspace: "/onlineEndpoints/churn", or "" for itself.

        `query` is what follows the api-version, encoded: "&$top=1". `options` are Wire.ask's.
        """
        return self.arm_url(method, self.url(below, api_version, query), doing=doing, **options)

    def url(self, below: str, api_version: str = ARM_API_VERSION, query: str = "") -> str:
        return f"{self._names.resource_manager}{self.path}{below}?api-version={api_version}{query}"

    def arm_at(
        self, method: str, path: str, *, doing: str, api_version: str, query: str = "", **options: Any
    ) -> Answer:
        """A request to ARM for a resource anywhere, by its id."""
        url = f"{self._names.resource_manager}{path}?api-version={api_version}{query}"
        return self.arm_url(method, url, doing=doing, **options)

    def arm_url(self, method: str, url: str, *, doing: str, **options: Any) -> Answer:
        """A request to an address that ARM itself gave. The token goes to ARM alone, whatever an answer says."""
        there, here = urlsplit(url), urlsplit(self._names.resource_manager)
        if (there.scheme, there.hostname, there.port or 443) != (here.scheme, here.hostname, 443):
            raise AzureUnreachable(f"Azure could not {doing}: its answer points to {there.hostname}, which is not ARM.")
        return self.wire.ask(method, url, doing=doing, scope=self._names.arm_scope, **options)

    def arm_pages(
        self, below: str, *, doing: str, api_version: str = ARM_API_VERSION, query: str = ""
    ) -> Iterator[Mapping[str, Any]]:
        """Every member of a collection, page by page."""
        url: str | None = self.url(below, api_version, query)
        for _ in range(_MAX_PAGES):
            if not url:
                return
            page = self.arm_url("GET", url, doing=doing).object
            yield from (each for each in page.get("value") or () if isinstance(each, dict))
            url = page.get("nextLink")

    def regional(self, method: str, service: str, root: str, below: str, *, doing: str, **options: Any) -> Answer:
        """A request to a regional service: `service` is its name in discovery, `root` what stands before the workspace's path.

        `regional("GET", "modelmanagement", "/modelmanagement/v1.0", "/services/churn", …)`
        """
        return self.wire.ask(
            method,
            f"{self.host_of(service)}{root}{self.path}{below}",
            doing=doing,
            scope=self._names.arm_scope,
            **options,
        )

    def host_of(self, service: str) -> str:
        """The address of a service: the tracking URI's for MLflow and what stands beside it, else as the discovery document tells it.

        `service` is one of that document's names: api, history, modelmanagement, …
        """
        if service in _BESIDE_MLFLOW and self.facts.mlflow_host:
            return self.facts.mlflow_host
        with self._lock:
            if self._services is None:
                url = self.facts.discovery_url
                told = self.wire.ask("GET", url, doing="tell which hosts speak for the workspace", scope=None).object
                self._services = {str(name): str(address).rstrip("/") for name, address in told.items()}
            address = self._services.get(service) or self._services.get("api")
        if not address or not address.startswith("https://"):
            raise AzureUnreachable(f'The workspace\'s discovery document names no host for "{service}".')
        return address


def _facts_of(told: Mapping[str, Any], path: str) -> WorkspaceFacts:
    properties = told.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    network = properties.get("managedNetwork")
    tags = told.get("tags")
    return WorkspaceFacts(
        id=str(told.get("id") or path),
        guid=str(properties.get("workspaceId") or ""),
        location=str(told.get("location") or ""),
        discovery_url=str(properties.get("discoveryUrl") or ""),
        mlflow_host=_host_in(str(properties.get("mlFlowTrackingUri") or "")),
        storage_account_id=str(properties.get("storageAccount") or ""),
        container_registry_id=properties.get("containerRegistry") or None,
        image_build_compute=properties.get("imageBuildCompute") or None,
        is_public=str(properties.get("publicNetworkAccess") or "Enabled") != "Disabled",
        is_in_legacy_mode=bool(properties.get("v1LegacyMode")),
        network_isolation=str(network.get("isolationMode") or "Disabled") if isinstance(network, dict) else "Disabled",
        tenant_id=str(properties.get("tenantId")) if properties.get("tenantId") else None,
        tags={str(name): str(value) for name, value in tags.items()} if isinstance(tags, dict) else {},
    )


def _host_in(tracking_uri: str) -> str:
    """`azureml://eastus.api.azureml.ms/mlflow/v1.0/…` → `https://eastus.api.azureml.ms`"""
    parts = urlsplit(tracking_uri)
    return f"https://{parts.netloc}" if parts.scheme == "azureml" and parts.netloc else ""
