"""service.json and deployment.json: reading, writing, and what remains to be known when one cannot be read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mlaz_ci.adapters.local_process.home import write_text
from mlaz_ci.errors import RecordUnreadable
from mlaz_ci.serving.manifest import FILE_NAME, Manifest, parse_manifest

_FORMAT = 1
_NAME = "service.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A service: who owns it, the port it keeps, who has the traffic. Its deployments are the folders beside it."""

    name: str
    owner: str
    port: int
    created_at: datetime
    live: str | None = None
    previous: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def read_record(folder: Path) -> Record | None:
    """None where there is none. Raises RecordUnreadable."""
    path = folder / _NAME
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordUnreadable(f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}).") from error


def _parse(text: str) -> Record:
    value = json.loads(text)
    if value["format"] != _FORMAT:
        raise ValueError(f"format {value['format']!r}, not {_FORMAT}")
    port = int(value["port"])
    if not 0 < port < 65536:
        raise ValueError(f"port {port}")
    return Record(
        name=str(value["name"]),
        owner=str(value["owner"]),
        port=port,
        created_at=datetime.fromisoformat(value["created_at"]),
        live=None if value["live"] is None else str(value["live"]),
        previous=None if value["previous"] is None else str(value["previous"]),
        tags={str(k): str(v) for k, v in value["tags"].items()},
    )


def write_record(folder: Path, record: Record) -> None:
    value = {
        "format": _FORMAT,
        "name": record.name,
        "owner": record.owner,
        "port": record.port,
        "created_at": record.created_at.isoformat(),
        "live": record.live,
        "previous": record.previous,
        "tags": dict(record.tags),
    }
    write_text(folder / _NAME, json.dumps(value, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Raises RecordUnreadable."""
    path = folder / FILE_NAME
    try:
        return parse_manifest(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordUnreadable(f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}).") from error


def deployment_names(folder: Path) -> list[str]:
    """Staged deployments, oldest first. A folder without its manifest is none: the manifest arrives with the folder."""
    names = [each.parent.name for each in folder.glob(f"*/{FILE_NAME}") if not each.parent.name.startswith(".")]
    return sorted(names, key=lambda name: (len(name), name))


def readable_manifests(folder: Path) -> list[Manifest]:
    manifests = []
    for name in deployment_names(folder):
        try:
            manifests.append(read_manifest(folder / name))
        except RecordUnreadable:
            continue
    return manifests
