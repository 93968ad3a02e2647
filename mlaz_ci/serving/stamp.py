"""What stands in the tags of everything we create on Azure: whose it is, and what it was made of. Rendered and read here alone. Pure.

The keys are public: `az` shows them, and the next run of ours knows its own by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from mlaz_ci.errors import NotOurs
from mlaz_ci.models import DeploymentSpec

MANAGED_BY: Final = "managed-by"
OURSELVES: Final = "mlaz-ci"
OWNER: Final = "mlaz-owner"
_SPEC: Final = "mlaz-spec"
_LOCK: Final = "mlaz-lock"
_DEPLOYMENT: Final = "mlaz-deployment"
_MODEL: Final = "mlaz-model"
_VERSION: Final = "mlaz-model-version"
_CREATED: Final = "mlaz-created"
# Azure's limit for a tag's value.
_MAX_VALUE: Final = 256


def is_ours(tag: str) -> bool:
    """Whether a tag's name is one of ours: the user's and others' stay where ours are written anew."""
    return tag == MANAGED_BY or tag.startswith("mlaz-")


def check_owner(subject: str, tags: Mapping[str, str], owner: str, *, take_over: str) -> None:
    """Before what services share is deleted. Raises NotOurs; `take_over` is what the input of that name says to delete it all the same."""
    whose = read_stamp(tags).owner
    if whose != owner:
        raise NotOurs(
            f"{subject} belongs to {whose or 'nobody we know'}, not to {owner}.",
            usually="It was made by another repository or by hand, and services of others may need it.",
            remedy=f"Leave it out of `also-delete`, or pass `take-over: {take_over}` to delete it all the same.",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """What the tags of a service or deployment say. `owner` is "" for what is not ours."""

    owner: str
    spec_hash: str
    lock_hash: str
    deployment_name: str
    model_name: str
    model_version: str | None
    created_at: datetime | None

    @property
    def model_label(self) -> str:
        return f"{self.model_name}/{self.model_version}" if self.model_version else self.model_name


def stamp(spec: DeploymentSpec, now: datetime) -> Mapping[str, str]:
    """The tags of a deployment, the spec's own included. `spec.model` is the registered one by now."""
    ours = {
        MANAGED_BY: OURSELVES,
        OWNER: spec.owner,
        _SPEC: spec.spec_hash,
        _LOCK: spec.lock.hash,
        _DEPLOYMENT: spec.deployment_name,
        _MODEL: spec.model.name,
        _VERSION: spec.model.version or "",
        _CREATED: now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return {**spec.tags, **{name: value[:_MAX_VALUE] for name, value in ours.items() if value}}


def render_stamp(stamp: Stamp) -> Mapping[str, str]:
    """The tags that `read_stamp` reads this from: of a deployment that is put back."""
    told = {
        MANAGED_BY: OURSELVES if stamp.owner else "",
        OWNER: stamp.owner,
        _SPEC: stamp.spec_hash,
        _LOCK: stamp.lock_hash,
        _DEPLOYMENT: stamp.deployment_name,
        _MODEL: stamp.model_name,
        _VERSION: stamp.model_version or "",
        _CREATED: stamp.created_at.astimezone(UTC).isoformat(timespec="seconds") if stamp.created_at else "",
    }
    return {name: value[:_MAX_VALUE] for name, value in told.items() if value}


def read_stamp(tags: Mapping[str, str]) -> Stamp:
    """Total: tags of anything. What does not say `managed-by: mlaz-ci` has no owner, whatever else it says."""
    is_ours = tags.get(MANAGED_BY) == OURSELVES
    return Stamp(
        owner=tags.get(OWNER, "") if is_ours else "",
        spec_hash=tags.get(_SPEC, ""),
        lock_hash=tags.get(_LOCK, ""),
        deployment_name=tags.get(_DEPLOYMENT, ""),
        model_name=tags.get(_MODEL, ""),
        model_version=tags.get(_VERSION) or None,
        created_at=_moment(tags.get(_CREATED, "")),
    )


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
