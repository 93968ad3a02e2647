"""Reads which model is meant: `run-id` with `model-path`, or any form of `model-uri`. Whether it exists is the model store's business."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mlaz_ci.errors import ConflictingInputs, InvalidInput
from mlaz_ci.inputs.wording import nearest, quote
from mlaz_ci.models import LoggedModelSource, ModelSource, PathSource, RegistrySource, RunSource, VersionSource

_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")
_FORMS: Final = (
    "Write `runs:/<run id>/<path>`, `models:/<name>/<version>`, `models:/<name>@<alias>`, `models:/m-<id>`, "
    "`azureml://registries/<registry>/models/<name>/versions/<version>`, or a folder of the checkout."
)


def parse_model_source(
    *, run_id: str | None, model_path: str | None, model_uri: str | None, default_path: str, working_directory: Path
) -> ModelSource | None:
    """The model that the three inputs name together, or None where they name none. Raises ConflictingInputs, InvalidInput."""
    if run_id and model_uri:
        raise ConflictingInputs("`run-id` and `model-uri` both name a model.", remedy="Keep one of them.")
    if model_path is not None:
        _check_path(model_path, "model-path", model_path)
    if run_id:
        return RunSource(run_id=run_id, path=model_path or default_path)
    if model_uri is None:
        if model_path is not None:
            raise ConflictingInputs(
                "`model-path` was given without `run-id`.",
                usually="`model-path` names a model within a run.",
                remedy="Add `run-id`, or name the model by `model-uri` alone.",
            )
        return None
    source = _parse_uri(model_uri, model_path or default_path, working_directory)
    path = source.path if isinstance(source, RunSource) else None
    if model_path is not None and model_path != path:
        raise ConflictingInputs(f"`model-path` {quote(model_path)} was given beside `model-uri` {quote(model_uri)}.")
    return source


def _parse_uri(uri: str, default_path: str, working_directory: Path) -> ModelSource:
    scheme, colon, rest = uri.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return _parse_folder(uri, working_directory)
    match scheme:
        case "runs":
            return _parse_run(uri, rest, default_path)
        case "models":
            return _parse_registered(uri, rest)
        case "azureml":
            return _parse_registry(uri, rest)
        case _:
            raise _wrong(uri, _hint_of_scheme(scheme, rest))


def _hint_of_scheme(scheme: str, rest: str) -> str:
    if scheme == "file":
        return " Write the folder's path without `file:`."
    near = nearest(scheme, ("runs", "models", "azureml"))
    return f' Did you mean "{near}:{_shorten(rest)}"?' if near else ""


def _shorten(text: str) -> str:
    shown = quote(text)[1:-1]
    return shown if len(text) <= 60 else "/…"


def _wrong(uri: str, hint: str = "") -> InvalidInput:
    return InvalidInput(f"`model-uri` {quote(uri)} does not name a model.{hint}", remedy=_FORMS)


def _parse_folder(path: str, working_directory: Path) -> PathSource:
    return PathSource(path=working_directory / path)


def _check_path(path: str, name: str, shown: str) -> None:
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or any(part in {"", ".", ".."} for part in parts):
        usual = "/".join(part for part in re.split(r"[/\\]", path[:60]) if part not in {"", ".", ".."})
        hint = f" Did you mean {quote(usual)}?" if usual else ""
        raise InvalidInput(f"`{name}` {quote(shown)} is not a path inside a run's artifacts.{hint}")


def _parse_run(uri: str, rest: str, default_path: str) -> RunSource:
    match = re.fullmatch(r"/([^/]+)(?:/(.*))?", rest, re.DOTALL)
    if match is None or not _RUN_ID.fullmatch(match.group(1)):
        raise _wrong(uri, " It takes `runs:/`, a run id, and the model's path.")
    path = (match.group(2) or "").removesuffix("/") or default_path
    _check_path(path, "model-uri", uri)
    return RunSource(run_id=match.group(1), path=path)


def _parse_registered(uri: str, rest: str) -> ModelSource:
    if not re.match(r"/[^/]", rest):
        raise _wrong(uri, " It takes one slash: `models:/<name>/<version>`.")
    name = rest[1:]
    if re.fullmatch(r"m-[0-9a-f]{32}", name):
        return LoggedModelSource(model_id=name)
    if match := re.fullmatch(r"([^/@:]{1,255})@([A-Za-z0-9_.-]{1,255})", name):
        return VersionSource(name=match.group(1), alias=match.group(2))
    if match := re.fullmatch(r"([^/@:]{1,255})/(0*[1-9][0-9]{0,17}|[Ll]atest)", name):
        version = match.group(2)
        return VersionSource(name=match.group(1), version=version.lstrip("0").lower())
    if match := re.fullmatch(r"([^/@:]{1,255})/(None|Staging|Production|Archived)", name, re.IGNORECASE):
        hint = f' Stages are gone from MLflow; give the version an alias: "models:/{_shorten(match.group(1))}@{match.group(2).lower()}".'
        raise _wrong(uri, hint)
    if "/" not in name and "@" not in name:
        raise _wrong(uri, " It has no version; `models:/<name>/latest` is the newest.")
    raise _wrong(uri)


def _parse_registry(uri: str, rest: str) -> RegistrySource:
    word = r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}"
    if match := re.fullmatch(rf"//registries/({word})/models/({word})/versions/({word})", rest):
        return RegistrySource(registry=match.group(1), name=match.group(2), version=match.group(3))
    if match := re.fullmatch(rf"({word}):({word})", rest):
        raise _wrong(uri, f' For a model of the workspace write "models:/{match.group(1)}/{match.group(2)}".')
    if re.fullmatch(rf"//registries/{word}/models/{word}(/labels/{word})?", rest):
        raise _wrong(uri, " It names no version: end it with `/versions/<version>`.")
    raise _wrong(uri)
