"""What a model says of itself: the MLmodel file and the small files beside it, parsed into `ModelFacts`.

Pure over texts, and total: an MLmodel is written by strangers, so any bytes give facts or ModelNotServable with the place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import yaml

from mlaz_ci.errors import ModelNotServable
from mlaz_ci.models import ModelFacts, ModelSignature

MLMODEL_FILE = "MLmodel"
PYTHON_FILE = "python_env.yaml"
REQUIREMENT_FILES = ("requirements.txt", "conda.yaml", PYTHON_FILE)
MLMODEL_LIMIT_BYTES = 4 * 1024 * 1024
REQUIREMENT_LIMIT_BYTES = 1024 * 1024
EXAMPLE_LIMIT_BYTES = 1024 * 1024
_NODE_LIMIT = 200_000
_DEPTH_LIMIT = 60
_EDIT_REMEDY = (
    "Log the model again with mlflow, or restore its MLmodel file; it is written by mlflow and not meant to be edited."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputExample:
    """Where the MLmodel says its example is. `serving_file` holds a request body as it is, `data_file` mlflow's raw form."""

    serving_file: str | None
    data_file: str | None
    kind: str
    has_params: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class MlmodelDocument:
    """The MLmodel file alone: it tells which of the files beside it are worth reading."""

    text: str
    flavors: Mapping[str, Mapping[str, Any]]
    python_version: str | None
    mlflow_version: str | None
    signature: ModelSignature | None
    model_uuid: str | None
    created_at: datetime | None
    size_bytes: int | None
    conda_file: str
    example: InputExample | None


class _Loader(yaml.SafeLoader):
    """No merge keys: mlflow writes none, and a dozen nested ones take for ever to flatten."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not allowed here", key.start_mark)


def parse_mlmodel(content: bytes, *, place: str) -> MlmodelDocument:
    """`place` names the file for the reader of an error, e.g. `runs:/<id>/model/MLmodel`."""
    text = _decode(content, place)
    root = _mapping(_load_yaml(text, place), place, "the file")
    flavors = {
        name: _mapping(flavor, place, f"flavors.{name}")
        for name, flavor in _mapping(root.get("flavors"), place, "flavors").items()
    }
    pyfunc = flavors.get("python_function", {})
    return MlmodelDocument(
        text=text,
        flavors=flavors,
        python_version=_word(pyfunc.get("python_version")),
        mlflow_version=_word(root.get("mlflow_version")),
        signature=_signature(root.get("signature"), place),
        model_uuid=_word(root.get("model_uuid")),
        created_at=_created_at(root.get("utc_time_created")),
        size_bytes=_size_bytes(root.get("model_size_bytes")),
        conda_file=_conda_file(pyfunc.get("env")),
        example=_example(root.get("saved_input_example_info")),
    )


def assemble_facts(
    document: MlmodelDocument, requirement_files: Mapping[str, str], *, input_example: str | None
) -> ModelFacts:
    return ModelFacts(
        mlmodel_text=document.text,
        flavors=document.flavors,
        python_version=document.python_version,
        mlflow_version=document.mlflow_version,
        signature=document.signature,
        requirement_files=dict(requirement_files),
        input_example=input_example,
        model_uuid=document.model_uuid,
    )


def digest_facts(facts: ModelFacts) -> str:
    """The identity of MLmodel and requirement files. File names count, so that moving a text to another file shows."""
    parts = [facts.mlmodel_text]
    for name in sorted(facts.requirement_files):
        parts += [name, facts.requirement_files[name]]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def decode_requirements(content: bytes, *, place: str) -> str:
    return _decode(content, place)


def render_example(content: bytes, example: InputExample, *, is_serving_form: bool) -> str | None:
    """The example as the JSON text of a request body, or None where it has no such form (a sparse matrix, no JSON).

    mlflow up to 2.13 wrote only the raw form: a split DataFrame, TF-serving's `inputs`, or the bare value.
    """
    try:
        value = json.loads(content.decode("utf-8"))
        if is_serving_form:
            return json.dumps(value) if isinstance(value, dict) else None
        body = _request_body(value, example)
        return None if body is None else json.dumps(body)
    except (ValueError, RecursionError):
        return None


def _request_body(value: Any, example: InputExample) -> dict[str, Any] | None:
    params: dict[str, Any] = {}
    if example.has_params and isinstance(value, dict) and set(value) == {"inputs", "params"}:
        params = {"params": value["params"]}
        value = value["inputs"]
    match example.kind:
        case "dataframe" if isinstance(value, dict) and "data" in value:
            return {"dataframe_split": value, **params}
        case "dataframe" if isinstance(value, list):
            rows = "dataframe_records" if all(isinstance(row, dict) for row in value) else "inputs"
            return {rows: value, **params}
        case "ndarray" if isinstance(value, dict) and set(value) & {"inputs", "instances"}:
            return {**value, **params}
        case "ndarray" | "json_object":
            return {"inputs": value, **params}
        case _:
            return None


def _decode(content: bytes, place: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelNotServable(
            f"{place} is not UTF-8 text (byte {error.start}).",
            usually="The file is damaged, or another file took its place.",
            remedy=_EDIT_REMEDY,
        ) from error


def _load_yaml(text: str, place: str) -> Any:
    if len(text) > MLMODEL_LIMIT_BYTES:
        raise _unreadable(place, f"it is larger than {MLMODEL_LIMIT_BYTES // 1024**2} MB")
    try:
        return _plain(yaml.load(text, Loader=_Loader), _Budget(place))  # noqa: S506 (a SafeLoader with less)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{place}, line {mark.line + 1}, column {mark.column + 1}" if mark else place
        raise _unreadable(where, error.problem or "it is not YAML") from error
    except yaml.YAMLError as error:
        raise _unreadable(place, "it is not YAML") from error
    except RecursionError as error:
        raise _unreadable(place, "it is nested too deeply") from error
    except (ValueError, TypeError, AttributeError, OverflowError, LookupError) as error:
        # PyYAML's own constructors let these through: a 30th of February, a number of ten thousand digits, `!!int ""`.
        raise _unreadable(place, "it holds a value that is not what it is tagged as") from error


@dataclass(slots=True)
class _Budget:
    place: str
    nodes: int = _NODE_LIMIT

    def spend(self, depth: int) -> None:
        self.nodes -= 1
        if self.nodes < 0:
            raise _unreadable(self.place, f"it unfolds to more than {_NODE_LIMIT} values")
        if depth > _DEPTH_LIMIT:
            raise _unreadable(self.place, "it is nested too deeply")


def _plain(value: Any, budget: _Budget, depth: int = 0) -> Any:
    """The value as JSON has it, aliases unfolded within the budget: nobody behind this meets a cycle or a bomb."""
    budget.spend(depth)
    match value:
        case dict():
            return {str(_plain(key, budget, depth + 1)): _plain(each, budget, depth + 1) for key, each in value.items()}
        case list() | tuple() | set():
            return [_plain(each, budget, depth + 1) for each in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _unreadable(where: str, why: str) -> ModelNotServable:
    return ModelNotServable(
        f"The MLmodel file cannot be read ({where}): {why}.",
        usually="The file was edited by hand or is damaged.",
        remedy=_EDIT_REMEDY,
    )


def _mapping(value: Any, place: str, key: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    found = "missing" if value is None else f"a {type(value).__name__}"
    raise _unreadable(place, f"{key} is {found} and must be a mapping")


def _word(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value).strip() or None


def _signature(value: Any, place: str) -> ModelSignature | None:
    if value is None:
        return None
    parts = _mapping(value, place, "signature")
    return ModelSignature(
        inputs=_specs(parts.get("inputs"), place, "signature.inputs"),
        outputs=_specs(parts.get("outputs"), place, "signature.outputs"),
        params=_specs(parts.get("params"), place, "signature.params"),
    )


def _specs(value: Any, place: str, key: str) -> tuple[Mapping[str, Any], ...]:
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        try:
            value = _plain(json.loads(value), _Budget(place))
        except RecursionError as error:
            raise _unreadable(place, f"{key} is nested too deeply") from error
        except ValueError as error:
            raise _unreadable(place, f"{key} is not JSON") from error
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _unreadable(place, f"{key} must be a list of mappings")
    return tuple(value)


def _created_at(value: Any) -> datetime | None:
    """Mlflow writes "2024-05-01 10:11:12.123456" and means UTC; YAML makes a datetime of the unquoted form."""
    try:
        moment = datetime.fromisoformat(str(value))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _size_bytes(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _conda_file(env: Any) -> str:
    """Mlflow 2 and later name it in `env.conda`, mlflow 1 in `env` itself."""
    name = env.get("conda") if isinstance(env, dict) else env
    return _file_name(name) or "conda.yaml"


def _example(value: Any) -> InputExample | None:
    if not isinstance(value, dict):
        return None
    serving_file = _file_name(value.get("serving_input_path"))
    data_file = _file_name(value.get("artifact_path"))
    if serving_file is None and data_file is None:
        return None
    return InputExample(
        serving_file=serving_file,
        data_file=data_file,
        kind=_word(value.get("type")) or "",
        has_params=bool(value.get("params")),
    )


def _file_name(value: Any) -> str | None:
    """A relative path inside the model folder, or None: the name comes from the model, so it may not lead out."""
    if not isinstance(value, str) or not value or "\0" in value or "\\" in value:
        return None
    path = PurePosixPath(value)
    return None if path.is_absolute() or ".." in path.parts else str(path)
