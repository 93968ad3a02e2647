"""What puts a deployment of a web service back, as it stands in the service's properties. Pure.

Azure never changes a property once it is set, and tools that drop tags leave properties alone. So each deployment adds one, named by
its content, and two tags, which do change, say which of them is live and which was before. Since it stays for the service's life, no value
of the user's environment variables is in it: a secret that was changed there would be readable for ever. They are known by a digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from mlaz_ci.models import DeploymentSpec

_PREFIX: Final = "mlaz-restore-"
LIVE_TAG: Final = "mlaz-restore"
PREVIOUS_TAG: Final = "mlaz-restore-previous"
SPEC_VARIABLE: Final = "MLAZ_SPEC"
# A longer one is not kept: a rollback then ends unverified, unless it is given a file.
_MAX_SMOKE_CHARS: Final = 4_000
_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """`assets` are the script's, as the image request names them; `environment` is a registered one, by name and version."""

    deployment: str
    spec: str
    lock: str
    owner: str
    model_name: str
    model_version: str
    created: str
    environment: str
    environment_version: str
    driver: str
    assets: Sequence[Mapping[str, Any]] = ()
    model_ids: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of ours."""
    given_names: Sequence[str] = ()
    """Those of the user."""
    given: str = ""
    """`digest_of` these, with their values."""
    smoke: str | None = None

    @property
    def text(self) -> str:
        return json.dumps({"v": _VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":"))

    @property
    def key(self) -> str:
        """The property's name: equal for equal content, so that it is never set to another value."""
        return _PREFIX + hashlib.sha256(self.text.encode()).hexdigest()[:12]

    @property
    def model_label(self) -> str:
        return f"{self.model_name}/{self.model_version}"

    @property
    def created_at(self) -> datetime:
        at = datetime.fromisoformat(self.created)
        return at if at.tzinfo else at.replace(tzinfo=UTC)


def digest_of(variables: Mapping[str, str]) -> str:
    """Equal for equal variables; "" for none."""
    if not variables:
        return ""
    return hashlib.sha256(json.dumps(dict(variables), sort_keys=True).encode()).hexdigest()[:16]


def record_of(
    spec: DeploymentSpec,
    *,
    environment: str,
    environment_version: str,
    driver: str,
    assets: Sequence[Mapping[str, Any]],
    variables: Mapping[str, str],
    given: Mapping[str, str],
    now: datetime,
) -> Record:
    """`spec.model` is the registered one."""
    smoke = spec.smoke_request.body.decode("utf-8", "replace") if spec.smoke_request else None
    version = spec.model.version or ""
    return Record(
        deployment=spec.deployment_name,
        spec=spec.spec_hash,
        lock=spec.lock.hash,
        owner=spec.owner,
        model_name=spec.model.name,
        model_version=version,
        created=now.astimezone(UTC).isoformat(timespec="seconds"),
        environment=environment,
        environment_version=environment_version,
        driver=driver,
        assets=tuple(assets),
        model_ids=(f"{spec.model.name}:{version}",),
        variables=dict(variables),
        given_names=tuple(sorted(given)),
        given=digest_of(given),
        smoke=smoke if smoke and len(smoke) <= _MAX_SMOKE_CHARS else None,
    )


def read_records(properties: Mapping[str, Any]) -> Mapping[str, Record]:
    """By the property's name. Total: what is no record of ours is passed over."""
    found = {}
    for name, text in properties.items():
        if name.startswith(_PREFIX) and isinstance(text, str) and (record := _read(text)):
            found[name] = record
    return found


def _read(text: str) -> Record | None:
    try:
        told = json.loads(text)
        if told.pop("v") != _VERSION:
            return None
        record = Record(**told)
        texts = (record.deployment, record.spec, record.given, *record.given_names)
        is_whole = bool(record.created_at) and all(isinstance(each, str) for each in texts)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return record if is_whole else None
