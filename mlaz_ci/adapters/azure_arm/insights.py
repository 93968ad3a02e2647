"""What Azure Monitor holds of a deployment: autoscale rules and diagnostic settings, that a new one takes over from the old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_arm.seen import AUTOSCALE, Deployment
from mlaz_ci.adapters.azure_wire import WorkspaceDoor
from mlaz_ci.errors import MlazError, RoleMissing
from mlaz_ci.models import Severity
from mlaz_ci.ports import Platform
from mlaz_ci.serving.stamp import MANAGED_BY, OURSELVES

_AUTOSCALE_VERSION: Final = "2022-10-01"
_DIAGNOSTICS_VERSION: Final = "2021-05-01-preview"
_DIAGNOSTICS: Final = "/providers/Microsoft.Insights/diagnosticSettings"


class Insights:
    def __init__(self, door: WorkspaceDoor, platform: Platform) -> None:
        self._door = door
        self._platform = platform

    @property
    def _settings(self) -> str:
        at = self._door.workspace
        return (
            f"/subscriptions/{at.subscription_id}/resourceGroups/{quote(at.resource_group)}"
            "/providers/Microsoft.Insights/autoscalesettings"
        )

    def write_rules(self, deployment: Deployment, rules: Mapping[str, Any], name: str) -> None:
        """The rules of the config file, for this deployment."""
        properties = {"enabled": True, "notifications": [], **rules, "name": name, "targetResourceUri": deployment.id}
        body = {
            "location": self._door.facts.location,
            "tags": {MANAGED_BY: OURSELVES},
            "properties": properties,
        }
        self._door.arm_at(
            "PUT",
            f"{self._settings}/{name}",
            doing="write the autoscale rules",
            api_version=_AUTOSCALE_VERSION,
            body=body,
        )

    def rules_of(self, deployment: Deployment) -> Mapping[str, Any] | None:
        """The autoscale rules that stand on a deployment, whoever wrote them; None without any."""
        for each in self._all(self._settings, _AUTOSCALE_VERSION, doing="read the autoscale rules"):
            properties = each.get("properties") or {}
            if str(properties.get("targetResourceUri") or "").lower() == deployment.id.lower():
                return properties if isinstance(properties, dict) else None
        return None

    def copy(self, old: Deployment, new: Deployment, name: str, *, with_rules: bool) -> bool:
        """Rules and diagnostic settings of `old` for `new`; whether there were rules.

        What cannot be copied is told and stops nothing, but rules: without them the new side could be the smaller one.
        """
        self._copy_diagnostics(old, new)
        try:
            rules = self.rules_of(old) if with_rules else None
        except RoleMissing as error:
            # Azure Machine Learning's own roles reach no further than the workspace: nothing to warn of at every deploy.
            self._platform.info(f'{error.what} Autoscale rules that stand on "{old.name}" are not taken over.')
            return False
        if rules is None:
            return False
        self.write_rules(new, {key: value for key, value in rules.items() if value is not None}, name)
        return True

    def _copy_diagnostics(self, old: Deployment, new: Deployment) -> None:
        try:
            for each in self._all(
                f"{old.id}{_DIAGNOSTICS}", _DIAGNOSTICS_VERSION, doing="read the diagnostic settings"
            ):
                properties = {key: value for key, value in (each.get("properties") or {}).items() if value is not None}
                self._door.arm_at(
                    "PUT",
                    f"{new.id}{_DIAGNOSTICS}/{quote(str(each.get('name')), safe='')}",
                    doing="copy the diagnostic settings",
                    api_version=_DIAGNOSTICS_VERSION,
                    body={"properties": properties},
                )
        except RoleMissing as error:
            self._platform.info(f'{error.what} Diagnostic settings that stand on "{old.name}" are not taken over.')
        except MlazError as error:
            self._platform.annotate(
                Severity.WARNING,
                "diagnostic-settings-not-copied",
                f"{error.what} The new deployment goes without them.",
            )

    def forget(self, deployment: Deployment) -> None:
        """The rules that we wrote for a deployment that is gone; Azure keeps them otherwise."""
        name = deployment.tags.get(AUTOSCALE)
        if not name:
            return
        try:
            self._door.arm_at(
                "DELETE",
                f"{self._settings}/{quote(name, safe='')}",
                doing="delete the autoscale rules",
                api_version=_AUTOSCALE_VERSION,
                allowed={404},
            )
        except MlazError as error:
            self._platform.info(f"{error.what} They stand on nothing and cost nothing.")

    def _all(self, path: str, api_version: str, *, doing: str) -> Iterator[Mapping[str, Any]]:
        answer = self._door.arm_at("GET", path, doing=doing, api_version=api_version)
        while True:
            page = answer.object
            yield from (each for each in page.get("value") or () if isinstance(each, dict))
            if not page.get("nextLink"):
                return
            answer = self._door.arm_url("GET", page["nextLink"], doing=doing)


def setting_name(service_name: str, deployment_name: str) -> str:
    return f"mlaz-{service_name}-{deployment_name}"
