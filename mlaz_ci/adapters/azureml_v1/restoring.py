"""Puts back what a web service served before: from what was read of it before the change, or from its record.

One PATCH where the service is there; where it made way for another, one POST of what Azure told of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mlaz_ci.adapters.azure_wire import EffectUnknown
from mlaz_ci.adapters.azureml_v1.environment import Environments
from mlaz_ci.adapters.azureml_v1.mms import ModelManagement
from mlaz_ci.adapters.azureml_v1.reading import Seen, settings_of
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


_GUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What a service is made with and Azure tells again, in the words of Microsoft's AciServiceCreateRequest and AksServiceCreateRequest.
_TOLD_AGAIN: Final = {
    "ACI": (
        *("description", "location", "containerResourceRequirements", "authEnabled", "appInsightsEnabled"),
        *("dataCollection", "vnetConfiguration", "encryptionProperties"),
    ),
    "AKS": (*_MEMBERS["AKS"], "computeName"),
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
            image = before.image_request or self._image(before.live, before)
            changes = {**members, "kvTags": before.tags}
        else:
            record = now.record(deployment_name)
            image = self._image(record, now)
            changes = {"kvTags": _tags(record, now)} if record else {}
        if image is None:
            raise NothingToRollBackTo(
                f'What the service "{service_name}" served cannot be put back: neither Azure nor a record of ours tells all of its image.'
            )
        replaced = {"environmentImageRequest": image, **changes}
        operations = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in replaced.items()]
        return self._mms.patch_service(service_name, operations, doing=doing)

    def make_anew(self, service_name: str, before: Seen, keys: Mapping[str, str]) -> str | None:
        """The operation that makes a service again that is gone, as it was read before. Raises NothingToRollBackTo."""
        kind = str(before.payload.get("computeType"))
        image = before.image_request or self._image(before.live, before)
        if image is None or before.payload.get("sslEnabled"):
            missing = "its image" if image is None else "its TLS key"
            raise NothingToRollBackTo(f'Service "{service_name}" cannot be made anew: Azure does not tell {missing}.')
        label = str(settings_of(before.payload).get("dns_name_label") or "")
        told = {name: before.payload.get(name) for name in _TOLD_AGAIN.get(kind, ())}
        body = {
            "name": service_name,
            "computeType": kind,
            **{name: value for name, value in told.items() if value is not None},
            # Azure gives a service without a label one of its own.
            **({"dnsNameLabel": label} if label and not _GUID.fullmatch(label) else {}),
            "kvTags": before.tags,
            "properties": before.payload.get("properties") or {},
            "keys": dict(keys),
            "environmentImageRequest": image,
        }
        try:
            return self._mms.create_service(body, doing=f'make the service "{service_name}" anew')
        except EffectUnknown:
            if (made := self._mms.service(service_name)) is None:
                raise
            return str(made.get("operationId") or "") or None

    def _image(self, record: Record | None, seen: Seen) -> Mapping[str, Any] | None:
        """The image request of a record: its environment is read anew, since the record names it alone."""
        given = seen.given_to(record) if record else None
        if record is None or given is None:
            return None
        definition = self._environments.definition(record.environment, record.environment_version)
        kept = {name: value for name, value in definition.items() if name != "assetId" and value is not None}
        return {
            "driverProgram": record.driver,
            "assets": [dict(each) for each in record.assets],
            "modelIds": list(record.model_ids),
            "environment": {**kept, "environmentVariables": {**given, **record.variables}},
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
