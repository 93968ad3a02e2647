"""Reads one v1 web service by model management's REST, for `migrate`; azureml-core is not needed for it."""

from __future__ import annotations

from urllib.parse import quote

from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import NotFound, ServiceNotFound
from mlaz_ci.migration import V1Service, read_v1_service, render_migration


class V1Reader:
    def __init__(self, door: WorkspaceDoor) -> None:
        self._door = door

    def migration(self, service_name: str) -> str:
        return render_migration(self.read(service_name), self._door.workspace)

    def read(self, service_name: str) -> V1Service:
        """Raises ServiceNotFound, also for what is no ACI or AKS service."""
        doing = f'read the service "{service_name}"'
        below = f"/services/{quote(service_name)}?expand=true"
        what = f'There is no ACI or AKS web service "{service_name}" in the workspace.'
        try:
            told = self._door.regional("GET", "modelmanagement", "/modelmanagement/v1.0", below, doing=doing).object
        except NotFound as error:
            raise ServiceNotFound(what, upstream_code=error.upstream_code) from error
        service = read_v1_service(told)
        if service is None:
            raise ServiceNotFound(what)
        return service
