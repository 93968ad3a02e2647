"""deployment.json: what a local deployment is, in the words of its folder. Pure; it knows no process and no file system."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlaz_ci.models import DeploymentSpec, LocalShape, Lock, ScoreRequest

FILE_NAME = "deployment.json"
# As Azure lays down <name>/<version>: anything else in AZUREML_MODEL_DIR makes the server write a traceback of its own at every start.
MODEL_FOLDER = "model/1"
_FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Enough to start the deployment again without anything but its folder, the lock to rebuild its environment included."""

    service_name: str
    deployment_name: str
    spec_hash: str
    lock: Lock
    shape: LocalShape
    model_label: str
    model_version: str | None
    created_at: datetime
    owner: str
    tags: Mapping[str, str] = field(default_factory=dict)
    model_folder: str | None = None
    """Where the model was laid down from, if that is a folder of the model cache."""
    smoke_body: str | None = None
    """What verifies it, also on the day it is started again; None where there is nothing, or nothing that is text."""


def manifest_of(spec: DeploymentSpec, *, created_at: datetime, model_folder: str | None = None) -> Manifest:
    return Manifest(
        service_name=spec.service_name,
        deployment_name=spec.deployment_name,
        spec_hash=spec.spec_hash,
        lock=spec.lock,
        shape=spec.local_shape,
        model_label=spec.model.label,
        model_version=spec.model.version,
        created_at=created_at,
        owner=spec.owner,
        tags=dict(spec.tags),
        model_folder=model_folder,
        smoke_body=_text_of(spec.smoke_request),
    )


def _text_of(request: ScoreRequest | None) -> str | None:
    try:
        return request.body.decode() if request else None
    except UnicodeDecodeError:
        return None


def render_lock(lock: Lock) -> dict[str, Any]:
    return {
        "text": lock.text,
        "python_version": lock.python_version,
        "server_range": lock.server_range,
        "base_image": lock.base_image,
        "conda_packages": list(lock.conda_packages),
    }


def parse_lock(value: Mapping[str, Any]) -> Lock:
    return Lock(
        text=str(value["text"]),
        python_version=str(value["python_version"]),
        server_range=str(value["server_range"]),
        base_image=str(value["base_image"]),
        conda_packages=tuple(str(each) for each in value["conda_packages"]),
    )


def render_manifest(manifest: Manifest) -> str:
    shape = manifest.shape
    value = {
        "format": _FORMAT,
        "service_name": manifest.service_name,
        "deployment_name": manifest.deployment_name,
        "spec_hash": manifest.spec_hash,
        "lock": render_lock(manifest.lock),
        "shape": {
            "port": shape.port,
            "workers": shape.workers,
            "request_timeout_s": shape.request_timeout_s,
            "environment_variables": dict(shape.environment_variables),
        },
        "model_label": manifest.model_label,
        "model_version": manifest.model_version,
        "created_at": manifest.created_at.isoformat(),
        "owner": manifest.owner,
        "tags": dict(manifest.tags),
        "model_folder": manifest.model_folder,
        "smoke_body": manifest.smoke_body,
    }
    return json.dumps(value, indent=1) + "\n"


def parse_manifest(text: str) -> Manifest:
    """Raises ValueError, with one line that says what is wrong, for anything that `render_manifest` did not write."""
    try:
        value = json.loads(text)
        if value["format"] != _FORMAT:
            raise ValueError(f"format {value['format']!r}, not {_FORMAT}")
        shape = value["shape"]
        return Manifest(
            service_name=str(value["service_name"]),
            deployment_name=str(value["deployment_name"]),
            spec_hash=str(value["spec_hash"]),
            lock=parse_lock(value["lock"]),
            shape=LocalShape(
                port=None if shape["port"] is None else int(shape["port"]),
                workers=int(shape["workers"]),
                request_timeout_s=int(shape["request_timeout_s"]),
                environment_variables={str(k): str(v) for k, v in shape["environment_variables"].items()},
            ),
            model_label=str(value["model_label"]),
            model_version=None if value["model_version"] is None else str(value["model_version"]),
            created_at=datetime.fromisoformat(value["created_at"]),
            owner=str(value["owner"]),
            tags={str(k): str(v) for k, v in value["tags"].items()},
            model_folder=None if value["model_folder"] is None else str(value["model_folder"]),
            smoke_body=None if value.get("smoke_body") is None else str(value["smoke_body"]),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
