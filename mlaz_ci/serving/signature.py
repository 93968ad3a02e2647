"""What a model's signature says, read from the JSON of its MLmodel, and a request made from it. Pure.

The JSON was written by strangers: what is not there or not as MLflow writes it reads as "anything", never as an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any, Final

from mlaz_ci.errors import MissingInput
from mlaz_ci.models import ModelSignature

Spec = Mapping[str, Any]

LARGEST_SAMPLE: Final = 4_000_000
"""Values of a sample request; beyond that its JSON is tens of megabytes."""

_SAMPLES: Final[Mapping[str, Any]] = {
    "boolean": True,
    "integer": 1,
    "long": 1,
    "float": 1.0,
    "double": 1.0,
    "string": "text",
    "binary": "AA==",
    "datetime": "2024-01-01T00:00:00",
}
_COLUMN_TYPES: Final = {
    "bool": "boolean",
    "int": "long",
    "uint": "long",
    "float": "double",
    "bytes": "binary",
    "datetime64[ns]": "datetime",
    "str": "string",
}


def sample_request(signature: ModelSignature) -> dict[str, Any]:
    """The smallest body that fits the signature: one row, or tensors whose free dimensions are one. Parameters keep their defaults.

    Raises MissingInput where even that is too large to send.
    """
    specs = signature.inputs
    count = sum(prod(_lengths(spec)) for spec in specs)
    if count > LARGEST_SAMPLE:
        raise MissingInput(
            f"The model has no input example, and its signature asks for {count:,} values: too many for a sample request.",
            usually="The model was logged without `input_example`.",
            remedy="Pass `smoke-test-file`, or log the model with an input example.",
        )
    if not specs:
        return {"input_data": [[1.0]]}
    values = [_sample(spec) for spec in specs]
    if is_tensor(specs):
        return {"input_data": by_name(specs, values) if is_named(specs) else values[0]}
    if is_named(specs):
        return {"input_data": {"columns": [name_of(spec) for spec in specs], "index": [0], "data": [values]}}
    return {"input_data": values if len(values) == 1 else [values]}


def is_named(specs: Sequence[Spec]) -> bool:
    return bool(specs) and all(spec.get("name") is not None for spec in specs)


def is_tensor(specs: Sequence[Spec]) -> bool:
    return bool(specs) and all(spec.get("type") == "tensor" for spec in specs)


def is_required(spec: Spec) -> bool:
    """Older mlflow wrote `optional`, and the oldest neither."""
    return bool(spec.get("required", not spec.get("optional", False)))


def name_of(spec: Spec) -> str:
    return str(spec.get("name"))


def by_name(specs: Sequence[Spec], values: Sequence[Any]) -> dict[str, Any]:
    return {name_of(spec): value for spec, value in zip(specs, values, strict=True)}


def shape_of(tensor: Spec) -> tuple[int, ...]:
    shape = child_of(tensor, "tensor-spec").get("shape")
    return tuple(length for length in shape if isinstance(length, int)) if isinstance(shape, Sequence) else ()


def column_type_of(tensor: Spec) -> str | None:
    """The column type whose JSON form the tensor's values have; None where numpy's type has no such."""
    return _COLUMN_TYPES.get(str(child_of(tensor, "tensor-spec").get("dtype")).rstrip("0123456789"))


def child_of(spec: Spec, key: str) -> Spec:
    found = spec.get(key)
    return found if isinstance(found, Mapping) else {}


def properties_of(spec: Spec) -> Iterator[Spec]:
    """The properties of an object, each as a named spec."""
    properties = child_of(spec, "properties")
    for name in properties:
        yield {**child_of(properties, name), "name": name}


def _lengths(spec: Spec) -> list[int]:
    return [length if length >= 0 else 1 for length in shape_of(spec)]


def _sample(spec: Spec) -> Any:
    match spec.get("type"):
        case "tensor":
            return _fill(_lengths(spec), _SAMPLES[column_type_of(spec) or "string"])
        case "sparkml vector":
            return [1.0]
        case "array":
            return [_sample(child_of(spec, "items"))]
        case "map":
            return {"key": _sample(child_of(spec, "values"))}
        case "object":
            return {name_of(each): _sample(each) for each in properties_of(spec)}
        case kind:
            return _SAMPLES.get(str(kind), "text")


def _fill(lengths: Sequence[int], value: Any) -> Any:
    return [_fill(lengths[1:], value) for _ in range(lengths[0])] if lengths else value
