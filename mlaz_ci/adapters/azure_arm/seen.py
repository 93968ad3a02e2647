"""Endpoints and deployments as ARM tells them, read into values. Pure, and the only place that knows Azure's words for states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mlaz_ci.models import AuthMode, DeploymentFacts, ServiceFacts, ServiceState, Target
from mlaz_ci.serving.stamp import Stamp, read_stamp

# Tags of a deployment, and never of its endpoint, which may be somebody else's: who served when it was made, until when it is kept for a
# rollback (a moment, or ENDLESSLY), its smoke test, the instances that were asked for, its autoscale setting, the run that is at work on it.
SERVED_BEFORE: Final = "mlaz-served-before"
KEPT: Final = "mlaz-kept-until"
ENDLESSLY: Final = "replaced"
SMOKE: Final = "mlaz-smoke"
INSTANCES: Final = "mlaz-instances"
AUTOSCALE: Final = "mlaz-autoscale"
LEASE: Final = "mlaz-lease"
OPERATION_URI: Final = "AzureAsyncOperationUri"

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_STATES: Final = {
    "creating": ServiceState.CREATING,
    "updating": ServiceState.UPDATING,
    "scaling": ServiceState.UPDATING,
    "deleting": ServiceState.UPDATING,
    "succeeded": ServiceState.HEALTHY,
    "failed": ServiceState.FAILED,
    "canceled": ServiceState.FAILED,
}
AUTH_MODES: Final = {AuthMode.KEY: "Key", AuthMode.TOKEN: "AMLToken", AuthMode.ENTRA: "AADToken"}


def classify(word: str) -> ServiceState:
    """An unknown word keeps waiting."""
    return _STATES.get(word.lower(), ServiceState.UPDATING)


@dataclass(frozen=True, slots=True)
class Resource:
    """What endpoints and deployments have in common. `body` is ARM's answer, whole."""

    body: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.body.get("id") or "")

    @property
    def name(self) -> str:
        return str(self.body.get("name") or "").rpartition("/")[2]

    @property
    def properties(self) -> Mapping[str, Any]:
        return _mapping(self.body.get("properties"))

    @property
    def own_properties(self) -> Mapping[str, str]:
        """The free dictionary that survives `az … update`, which drops tags that it is not given."""
        return _texts(self.properties.get("properties"))

    @property
    def tags(self) -> Mapping[str, str]:
        return _texts(self.body.get("tags"))

    @property
    def stamp(self) -> Stamp:
        return read_stamp({**self.own_properties, **self.tags})

    def mark(self, name: str) -> str:
        return self.tags.get(name) or self.own_properties.get(name, "")

    @property
    def word(self) -> str:
        return str(self.properties.get("provisioningState") or "")

    @property
    def state(self) -> ServiceState:
        return classify(self.word)

    @property
    def is_deleting(self) -> bool:
        return self.word.lower() == "deleting"

    @property
    def created_at(self) -> datetime:
        """Azure's own clock, so that two runs agree on which of two is the newer."""
        told = str(_mapping(self.body.get("systemData")).get("createdAt") or "")
        try:
            at = datetime.fromisoformat(told)
        except ValueError:
            return self.stamp.created_at or _LONG_AGO
        return at if at.tzinfo else at.replace(tzinfo=UTC)


class Endpoint(Resource):
    @property
    def traffic(self) -> Mapping[str, int]:
        return shares_of(self.properties.get("traffic"))

    @property
    def mirrored(self) -> Mapping[str, int]:
        return shares_of(self.properties.get("mirrorTraffic"))

    @property
    def scoring_uri(self) -> str | None:
        return self.properties.get("scoringUri") or None

    @property
    def auth(self) -> AuthMode | None:
        word = str(self.properties.get("authMode") or "").lower()
        return next((mode for mode, name in AUTH_MODES.items() if name.lower() == word), None)

    @property
    def is_public(self) -> bool:
        return str(self.properties.get("publicNetworkAccess") or "Enabled").lower() != "disabled"

    @property
    def is_kubernetes(self) -> bool:
        return bool(self.properties.get("compute"))


class Deployment(Resource):
    @property
    def capacity(self) -> int:
        """Instances now. Kubernetes' answers name none: there it is the fewest it scales to, or what was asked for."""
        told = _mapping(self.body.get("sku")).get("capacity")
        if isinstance(told, int):
            return told
        least = _mapping(self.properties.get("scaleSettings")).get("minInstances")
        asked = self.tags.get(INSTANCES, "")
        return least if isinstance(least, int) else int(asked) if asked.isdigit() else 1

    @property
    def operation_uri(self) -> str:
        return self.own_properties.get(OPERATION_URI, "")

    def is_newer_than(self, other: Deployment) -> bool:
        return (self.created_at, self.name) > (other.created_at, other.name)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: Any) -> Mapping[str, str]:
    return {str(name): str(each) for name, each in _mapping(value).items() if each is not None}


def shares_of(value: Any) -> Mapping[str, int]:
    """Percent by deployment; a share of nothing is none."""
    return {str(name): each for name, each in _mapping(value).items() if isinstance(each, int) and each > 0}


def live_of(endpoint: Endpoint, deployments: Sequence[Deployment]) -> Deployment | None:
    """The deployment that serves: of those with traffic the one with most, but never the newest of several, which is a canary."""
    serving = sorted(
        (each for each in deployments if endpoint.traffic.get(each.name)), key=lambda each: (each.created_at, each.name)
    )
    if len(serving) > 1 and serving[-1].stamp.owner:
        serving.pop()
    return max(serving, key=lambda each: endpoint.traffic[each.name], default=None)


def previous_of(endpoint: Endpoint, deployments: Sequence[Deployment]) -> str | None:
    """The newest that was kept for a rollback and has no traffic."""
    kept = [each for each in deployments if each.tags.get(KEPT) and not endpoint.traffic.get(each.name)]
    return max(kept, key=lambda each: (each.created_at, each.name)).name if kept else None


def kept_until(now: datetime, hours: float) -> str:
    """The tag's value. A rollback keeps what it replaces as well, without an end where none is given."""
    return (now + timedelta(hours=hours)).astimezone(UTC).isoformat(timespec="seconds") if hours else ENDLESSLY


def _is_expired(deployment: Deployment, endpoint: Endpoint, now: datetime) -> bool:
    if endpoint.traffic.get(deployment.name) or endpoint.mirrored.get(deployment.name):
        return False
    try:
        return datetime.fromisoformat(deployment.tags.get(KEPT, "")) <= now
    except (ValueError, TypeError):
        # Without an end, or a person's own word.
        return False


def service_facts(
    endpoint: Endpoint, deployments: Sequence[Deployment], *, owner: str, studio_url: str, now: datetime
) -> ServiceFacts:
    live = live_of(endpoint, deployments)
    swagger = endpoint.properties.get("swaggerUri")
    return ServiceFacts(
        name=endpoint.name,
        target=Target.KUBERNETES if endpoint.is_kubernetes else Target.MANAGED,
        state=_state_of_service(endpoint, live),
        owner=endpoint.stamp.owner,
        scoring_uri=endpoint.scoring_uri,
        swagger_uri=str(swagger) if swagger else None,
        port=None,
        live=live.name if live else None,
        previous=previous_of(endpoint, deployments),
        deployments=tuple(
            replace(deployment_facts(each, owner=owner), is_expired=_is_expired(each, endpoint, now))
            for each in deployments
        ),
        tags=endpoint.tags,
        created_at=endpoint.created_at,
        detail="" if live else "No deployment has traffic." if endpoint.state.is_settled else "",
        traffic=endpoint.traffic,
        mirrored=endpoint.mirrored,
        auth=endpoint.auth,
        studio_url=studio_url,
    )


def _state_of_service(endpoint: Endpoint, live: Deployment | None) -> ServiceState:
    """An endpoint without a deployment that takes its traffic answers nobody."""
    if endpoint.state is not ServiceState.HEALTHY:
        return endpoint.state
    if live is None:
        return ServiceState.UNHEALTHY
    return live.state


def deployment_facts(deployment: Deployment, *, owner: str) -> DeploymentFacts:
    stamp = deployment.stamp
    return DeploymentFacts(
        name=deployment.name,
        state=deployment.state,
        spec_hash=stamp.spec_hash,
        lock_hash=stamp.lock_hash,
        model_label=stamp.model_label or _model_label(str(deployment.properties.get("model") or "")),
        model_version=stamp.model_version or _model_version(str(deployment.properties.get("model") or "")),
        created_at=deployment.created_at,
        smoke_body=deployment.own_properties.get(SMOKE) or None,
        is_ours=bool(stamp.owner) and stamp.owner == owner,
    )


def _model_label(arm_id: str) -> str:
    parts = arm_id.rstrip("/").split("/")
    return f"{parts[-3]}/{parts[-1]}" if len(parts) > 3 and parts[-2] == "versions" else arm_id


def _model_version(arm_id: str) -> str | None:
    parts = arm_id.rstrip("/").split("/")
    return parts[-1] if len(parts) > 3 and parts[-2] == "versions" else None
