"""Puts back what a web service served before, by one PATCH: from what was read of it before the change, or from its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlaz_ci.adapters.azureml_v1.environment import Environments
from mlaz_ci.adapters.azureml_v1.mms import ModelManagement
from mlaz_ci.adapters.azureml_v1.reading import Seen
from mlaz_ci.adapters.azureml_v1.records import LIVE_TAG, PREVIOUS_TAG, Record
from mlaz_ci.errors import NothingToRollBackTo
from mlaz_ci.serving.stamp import Stamp, render_stamp

# What an update of ours may have changed besides the image, as azureml-core's `update` writes it. A TLS key is never told again.
_MEMBERS: Final = {
    "ACI": ("description", "authEnabled", "appInsightsEnabled", "sslEnabled", "sslCertificate", "cname"),
    "AKS": (
        *("description", "authEnabled", "aadAuthEnabled", "appInsightsEnabled", "autoScaler", "dataCollection"),
        *("containerResourceRequirements", "livenessProbeRequirements", "scoringTimeoutMs", "numReplicas"),
        *("maxConcurrentRequestsPerContainer", "maxQueueWaitMs", "namespace"),
    ),
}


class Restoring:
    def __init__(self, mms: ModelManagement, environments: Environments) -> None:
        self._mms = mms
        self._environments = environments

    def restore(self, service_name: str, deployment_name: str, *, before: Seen | None, now: Seen) -> str | None:
        """The operation that puts it back; None where there is nothing to do.

        `before` is what this process read before it changed anything, if that is what shall serve again. Raises NothingToRollBackTo.
        """
        doing = f'put back what the service "{service_name}" served'
        if before is not None:
            members = _members(before, now)
            if not members and (before.image_request, before.tags) == (now.image_request, now.tags):
                return None
            image = before.image_request or self._image(before.live)
            changes = {**members, "kvTags": before.tags}
        else:
            record = now.record(deployment_name)
            image = self._image(record)
            changes = {"kvTags": _tags(record, now)} if record else {}
        if image is None:
            raise NothingToRollBackTo(
                f'What the service "{service_name}" served cannot be put back: Azure does not tell its image, and no record of ours is on it.'
            )
        replaced = {"environmentImageRequest": image, **changes}
        operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in replaced.items()]
        return self._mms.patch_service(service_name, operations, doing=doing)

    def _image(self, record: Record | None) -> Mapping[str, Any] | None:
        """The image request of a record: its environment is read anew, since the record names it alone."""
        if record is None:
            return None
        definition = self._environments.definition(record.environment, record.environment_version)
        kept = {name: value for name, value in definition.items() if name != "assetId" and value is not None}
        return {
            "driverProgram": record.driver,
            "assets": [dict(each) for each in record.assets],
            "modelIds": list(record.model_ids),
            "environment": {**kept, "environmentVariables": dict(record.variables)},
        }


def _members(before: Seen, now: Seen) -> Mapping[str, Any]:
    kind = str(before.payload.get("computeType"))
    return {
        name: before.payload[name]
        for name in _MEMBERS.get(kind, ())
        if before.payload.get(name) is not None and before.payload.get(name) != now.payload.get(name)
    }


def _tags(record: Record, now: Seen) -> Mapping[str, str]:
    told = Stamp(
        owner=now.owner,
        spec_hash=record.spec,
        lock_hash=record.lock,
        deployment_name=record.deployment,
        model_name=record.model_name,
        model_version=record.model_version or None,
        created_at=record.created_at,
    )
    previous = {PREVIOUS_TAG: now.live.key} if now.live else {}
    return {**now.tags, **render_stamp(told), LIVE_TAG: record.key, **previous}
