"""From what model management tells of a service to the facts that plans are made of. Pure and total."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from mlaz_ci.adapters.azureml_v1.records import LIVE_TAG, PREVIOUS_TAG, SPEC_VARIABLE, Record, digest_of, read_records
from mlaz_ci.migration import auth_of
from mlaz_ci.models import DeploymentFacts, ServiceFacts, ServiceState, Target
from mlaz_ci.refusals import read_told
from mlaz_ci.serving.stamp import Stamp, read_stamp

Payload = Mapping[str, Any]

# WebServiceState of the clients' models; a word that is none of them is waited out.
_STATES: Final = {
    "Healthy": ServiceState.HEALTHY,
    "Unhealthy": ServiceState.UNHEALTHY,
    "Failed": ServiceState.FAILED,
    "Unschedulable": ServiceState.FAILED,
}
_TARGETS: Final = {"ACI": Target.ACI, "AKS": Target.AKS}
# A deployment that was made by others has no name; it needs one to be put back by.
FOREIGN: Final = "of-others"
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A service as it was read: its payload, and what of ours stands on it."""

    payload: Payload
    stamp: Stamp
    records: Mapping[str, Record]

    @property
    def tags(self) -> dict[str, str]:
        return _texts(self.payload.get("kvTags"))

    @property
    def has_served(self) -> bool:
        """A service has an address when it serves, and a second record when it was changed: what never served is not changed but made anew."""
        return bool(self.payload.get("scoringUri")) or len(self.records) > 1

    @property
    def image_request(self) -> Payload | None:
        """What the service runs, where Azure tells it."""
        told = self.payload.get("environmentImageRequest")
        return told if isinstance(told, dict) and told.get("environment") else None

    @property
    def told_spec(self) -> str | None:
        """The spec hash that the running image was made with; None where Azure does not tell."""
        variables = self.told_variables
        return None if variables is None else variables.get(SPEC_VARIABLE, "")

    @property
    def told_variables(self) -> Mapping[str, str] | None:
        """The container's environment variables, where Azure tells them."""
        image = self.image_request
        if image is None:
            return None
        environment = image["environment"]
        return _texts(environment.get("environmentVariables") if isinstance(environment, dict) else None)

    def given_to(self, record: Record) -> Mapping[str, str] | None:
        """The user's environment variables of a deployment; None where the service has others by now, or does not tell."""
        told = self.told_variables or {}
        found = {name: told[name] for name in record.given_names if name in told}
        return found if digest_of(found) == record.given else None

    @property
    def live(self) -> Record | None:
        """Named by the tag; without it (a tool dropped the tags) the one that the image was made with, or the newest."""
        told = self.told_spec
        tagged = self.records.get(self.tags.get(LIVE_TAG, ""))
        if tagged and told in {None, tagged.spec}:
            return tagged
        fitting = [each for each in self.records.values() if told in {None, each.spec}]
        return max(fitting, key=lambda each: each.created_at, default=None)

    @property
    def previous(self) -> Record | None:
        live = self.live
        tagged = self.records.get(self.tags.get(PREVIOUS_TAG, ""))
        return tagged if live and tagged and tagged.key != live.key else None

    def record(self, deployment_name: str) -> Record | None:
        """The newest of that name."""
        named = [each for each in self.records.values() if each.deployment == deployment_name]
        return max(named, key=lambda each: each.created_at, default=None)

    @property
    def owner(self) -> str:
        return self.stamp.owner or (self.live.owner if self.live else "")


def see(payload: Payload) -> Seen:
    records = read_records(_texts(payload.get("properties")))
    return Seen(payload=payload, stamp=read_stamp(_texts(payload.get("kvTags"))), records=records)


def classify(payload: Payload) -> ServiceState:
    """The one reading of Azure's words for a service's state."""
    state = _STATES.get(str(payload.get("state")))
    if state is not None:
        return state
    return ServiceState.UPDATING if payload.get("scoringUri") else ServiceState.CREATING


def error_text(payload: Payload) -> str:
    """The JSON of the service's or operation's error; "" where there is none."""
    error = payload.get("error")
    return json.dumps(error) if error else ""


def service_facts(seen: Seen, target: Target, state: ServiceState, studio_url: str | None) -> ServiceFacts:
    payload = seen.payload
    live = _live_facts(seen, state)
    previous = seen.previous
    others = (_facts(seen, previous, ServiceState.STOPPED),) if previous else ()
    uri = payload.get("scoringUri")
    return ServiceFacts(
        name=str(payload.get("name") or ""),
        target=_TARGETS.get(str(payload.get("computeType")), target),
        state=state,
        owner=seen.owner,
        scoring_uri=str(uri) if uri else None,
        swagger_uri=f"{str(uri).rpartition('/')[0]}/swagger.json" if uri else None,
        port=None,
        # What never served is nothing to keep; what is still on its way is somebody's.
        live=live.name if seen.has_served or not state.is_settled else None,
        previous=previous.deployment if previous and previous.deployment != live.name else None,
        deployments=(live, *(each for each in others if each.name != live.name)),
        tags=seen.tags,
        created_at=_moment(payload.get("createdTime")),
        detail=_detail(payload),
        auth=auth_of(payload),
        studio_url=studio_url,
        settings=settings_of(payload),
    )


def _live_facts(seen: Seen, state: ServiceState) -> DeploymentFacts:
    record, stamp = seen.live, seen.stamp
    if record:
        return _facts(seen, record, state, detail=_detail(seen.payload))
    models = seen.payload.get("models")
    first = models[0] if isinstance(models, list) and models and isinstance(models[0], dict) else {}
    label = stamp.model_label or "/".join(str(first[each]) for each in ("name", "version") if first.get(each))
    version = stamp.model_version or (str(first["version"]) if first.get("version") else None)
    told = seen.told_spec
    return DeploymentFacts(
        name=stamp.deployment_name or FOREIGN,
        state=state,
        spec_hash=stamp.spec_hash if told in {None, stamp.spec_hash} else "",
        lock_hash=stamp.lock_hash,
        model_label=label,
        model_version=version,
        created_at=stamp.created_at or _moment(seen.payload.get("updatedTime")),
        detail=_detail(seen.payload),
        is_ours=bool(stamp.owner),
        can_be_restored=seen.image_request is not None,
    )


def _facts(seen: Seen, record: Record, state: ServiceState, *, detail: str = "") -> DeploymentFacts:
    return DeploymentFacts(
        name=record.deployment,
        state=state,
        spec_hash=record.spec,
        lock_hash=record.lock,
        model_label=record.model_label,
        model_version=record.model_version or None,
        created_at=record.created_at,
        detail=detail,
        smoke_body=record.smoke,
        is_ours=record.owner == seen.owner,
        can_be_restored=seen.given_to(record) is not None,
    )


def settings_of(payload: Payload) -> Mapping[str, Any]:
    """What a service has of what Azure never changes, by the names that targets give it; what is not told is left out."""
    resources = _object(payload.get("containerResourceRequirements"))
    network, customer_key = _object(payload.get("vnetConfiguration")), _object(payload.get("encryptionProperties"))
    host = str(payload.get("publicFqdn") or urlsplit(str(payload.get("scoringUri") or "")).hostname or "")
    is_aci = payload.get("computeType") == "ACI"
    told = {
        "cpu-cores": resources.get("cpu"),
        "memory-gb": resources.get("memoryInGB"),
        "location": payload.get("location") if is_aci else None,
        "compute": payload.get("computeName"),
        # The label is never told again, but in the name that it makes: <label>.<region>.azurecontainer.io.
        "dns_name_label": host.partition(".")[0] if is_aci and ".azurecontainer." in host else None,
        "vnet_name": network.get("vnetName"),
        "subnet_name": network.get("subnetName"),
        "cmk_vault_base_url": customer_key.get("vaultBaseUrl"),
        "cmk_key_name": customer_key.get("keyName"),
        "cmk_key_version": customer_key.get("keyVersion"),
    }
    return {name: value for name, value in told.items() if value is not None}


def _detail(payload: Payload) -> str:
    text = error_text(payload)
    return read_told(text).sentence if text else ""


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(each) for name, each in value.items()} if isinstance(value, dict) else {}


def _moment(value: Any) -> datetime:
    """Azure writes up to seven digits of a second, and leaves the zone out of some."""
    text = str(value or "")
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _LONG_AGO
    return at if at.tzinfo else at.replace(tzinfo=UTC)
