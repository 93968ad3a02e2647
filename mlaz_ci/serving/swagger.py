"""What a service says of itself: the Swagger 2.0 and OpenAPI 3 pages, and a sample request, from a model's signature. Pure.

The pages describe docs/serving.md, the contract that score.py keeps; no mlflow is needed to read a signature's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlaz_ci.models import ModelSignature, ScoreRequest

Json = dict[str, Any]
Spec = Mapping[str, Any]

_LARGEST_EXAMPLE_BYTES = 16_384
_FORMS = "Exactly one of `input_data`, `dataframe_split`, `dataframe_records`, `inputs`, `instances`, or `columns` with `data`."

_SCALAR_SCHEMAS: Mapping[str, Json] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "binary": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
}
_SCALAR_SAMPLES: Mapping[str, Any] = {
    "boolean": True,
    "integer": 1,
    "long": 1,
    "float": 1.0,
    "double": 1.0,
    "string": "text",
    "binary": "AA==",
    "datetime": "2024-01-01T00:00:00",
}


def render_swagger(
    signature: ModelSignature | None, service_name: str, smoke_request: ScoreRequest | None = None
) -> dict[str, str]:
    """The files that the inference server serves as /swagger.json (?version=2, the default, and ?version=3)."""
    example = _example(signature, smoke_request)
    version_2 = _document(signature or ModelSignature(), service_name, example, is_version_3=False)
    version_3 = _document(signature or ModelSignature(), service_name, example, is_version_3=True)
    return {"swagger.json": _text(version_2), "swagger3.json": _text(version_3)}


def sample_request(signature: ModelSignature) -> Json:
    """The smallest body that fits the signature: one row, or tensors whose free dimensions are one. Parameters keep their defaults."""
    specs = signature.inputs
    if not specs:
        return {"input_data": [[1.0]]}
    if _is_tensor(specs):
        tensors = [_fill(_shape(spec), _tensor_sample(spec)) for spec in specs]
        return {"input_data": _by_name(specs, tensors) if _is_named(specs) else tensors[0]}
    row = [_sample(spec) for spec in specs]
    if _is_named(specs):
        return {"input_data": {"columns": [str(spec["name"]) for spec in specs], "index": [0], "data": [row]}}
    return {"input_data": row if len(row) == 1 else [row]}


def _document(signature: ModelSignature, service_name: str, example: Any, *, is_version_3: bool) -> Json:
    prefix = "#/components/schemas/" if is_version_3 else "#/definitions/"
    schemas = {
        "ServiceInput": _input_schema(signature, example, is_version_3=is_version_3),
        "ServiceOutput": _output_schema(signature.outputs),
        "ErrorResponse": _ERROR_SCHEMA,
    }
    security = {"Bearer": {"type": "apiKey", "name": "Authorization", "in": "header", "description": "Bearer <key>"}}
    paths = _paths(prefix, is_version_3=is_version_3)
    info = {
        "title": service_name,
        "version": "1.0",
        "description": f"The scoring service {service_name}: an MLflow model on Azure Machine Learning's inference server.",
    }
    if is_version_3:
        components = {"schemas": schemas, "securitySchemes": security}
        return {"openapi": "3.0.3", "info": info, "paths": paths, "components": components}
    media = {"consumes": ["application/json"], "produces": ["application/json"]}
    return {
        "swagger": "2.0",
        "info": info,
        **media,
        "securityDefinitions": security,
        "paths": paths,
        "definitions": schemas,
    }


_ERROR_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What is wrong, and what to give instead."},
        "field": {"type": "string", "description": "The place in the request body (status 400)."},
        "correlation_id": {
            "type": "string",
            "description": "The same id stands in the service's log and in x-request-id.",
        },
    },
    "required": ["message"],
}


def _paths(prefix: str, *, is_version_3: bool) -> Json:
    def content(schema: Json) -> Json:
        return {"content": {"application/json": {"schema": schema}}} if is_version_3 else {"schema": schema}

    def response(description: str, schema: Json) -> Json:
        return {"description": description, **content(schema)}

    error = {"$ref": f"{prefix}ErrorResponse"}
    body = {"$ref": f"{prefix}ServiceInput"}
    version = {"name": "version", "in": "query", "required": False}
    kind = {"type": "string", "enum": ["2", "3"]}
    score: Json = {
        "operationId": "RunMLService",
        "summary": "Ask the model for predictions",
        "security": [{"Bearer": []}, {}],
        "responses": {
            "200": response("The predictions.", {"$ref": f"{prefix}ServiceOutput"}),
            "400": response("The request does not fit the model's signature.", error),
            "default": response("The model or the service failed.", error),
        },
    }
    if is_version_3:
        score["requestBody"] = {"required": True, **content(body)}
    else:
        score["parameters"] = [{"name": "body", "in": "body", "required": True, "schema": body}]
    return {
        "/": {
            "get": {"operationId": "ServiceHealthCheck", "responses": {"200": response("Healthy.", {"type": "string"})}}
        },
        "/score": {"post": score},
        "/swagger.json": {
            "get": {
                "operationId": "GetSwaggerSpec",
                "parameters": [{**version, "schema": kind} if is_version_3 else {**version, **kind}],
                "responses": {"200": response("This page.", {"type": "object"})},
            }
        },
    }


def _input_schema(signature: ModelSignature, example: Any, *, is_version_3: bool) -> Json:
    split, records, free = _form_schemas(signature.inputs)
    properties: Json = {
        "input_data": {
            **free,
            "description": "Azure's word: a table (`columns`, `index`, `data`), a list, or an object of lists.",
        },
        "dataframe_split": split,
        "dataframe_records": records,
        "inputs": {**free, "description": "A list, or an object of lists by name."},
        "instances": {**free, "description": "As `inputs`, or one object for each row."},
        **split["properties"],
        "params": _params_schema(signature.params),
    }
    schema: Json = {
        "type": "object",
        "description": _FORMS,
        "properties": properties,
        "additionalProperties": False,
    }
    if is_version_3:
        forms = ["input_data", "dataframe_split", "dataframe_records", "inputs", "instances"]
        schema["oneOf"] = [{"required": [form]} for form in forms] + [{"required": ["columns", "data"]}]
    if example is not None:
        schema["example"] = example
    return schema


def _form_schemas(specs: Sequence[Spec]) -> tuple[Json, Json, Json]:
    """The schemas of a table split, of records, and of the forms that take lists and objects alike.

    The last says nothing but for one unnamed tensor: JSON schema of that age has no word for "any of" in Swagger 2.0.
    """
    split: Json = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "index": {"type": "array", "items": {}},
            "data": {"type": "array", "items": {"type": "array", "items": {}}, "minItems": 1},
        },
        "required": ["data"],
        "additionalProperties": False,
    }
    if specs and _is_named(specs):
        split["properties"]["columns"]["description"] = ", ".join(str(spec["name"]) for spec in specs)
    row = _row_schema(specs) if specs and _is_named(specs) else {"type": "object"}
    return split, {"type": "array", "items": row, "minItems": 1}, {}


def _row_schema(specs: Sequence[Spec]) -> Json:
    cells = {str(spec["name"]): _cell_schema(spec) for spec in specs}
    required = [str(spec["name"]) for spec in specs if _is_required(spec)]
    return {"type": "object", "properties": cells, **({"required": required} if required else {})}


def _cell_schema(spec: Spec) -> Json:
    """One cell of a table: of a tensor it is one element along the first dimension."""
    return _box(_shape(spec)[1:], _dtype_schema(_dtype(spec))) if _is_tensor([spec]) else _schema(spec)


def _output_schema(specs: Sequence[Spec]) -> Json:
    if not specs:
        return {"description": "The predictions: a list, records, or an object of lists."}
    if _is_tensor(specs):
        boxes = [_box(_shape(spec), _dtype_schema(_dtype(spec))) for spec in specs]
        return {"type": "object", "properties": _by_name(specs, boxes)} if _is_named(specs) else boxes[0]
    if _is_named(specs):
        return {"type": "array", "items": _row_schema(specs)}
    return {"type": "array", "items": _schema(specs[0]) if len(specs) == 1 else {}}


def _params_schema(specs: Sequence[Spec]) -> Json:
    properties: Json = {}
    for spec in specs:
        value = _schema({**spec, "type": spec.get("type") or spec.get("dtype")})
        schema: Json = {"type": "array", "items": value} if spec.get("shape") else value
        default = spec.get("default")
        properties[str(spec["name"])] = schema if default is None else {**schema, "default": default}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _schema(spec: Spec) -> Json:
    """The schema of one value: a scalar, or MLflow's array, object, map, any."""
    kind = spec.get("type")
    if isinstance(kind, str) and kind in _SCALAR_SCHEMAS:
        return dict(_SCALAR_SCHEMAS[kind])
    if kind == "sparkml vector":
        return {"type": "array", "items": {"type": "number"}}
    if kind == "array":
        return {"type": "array", "items": _schema(spec.get("items", {}))}
    if kind == "map":
        return {"type": "object", "additionalProperties": _schema(spec.get("values", {}))}
    if kind == "object":
        return _row_schema([{**value, "name": name} for name, value in spec.get("properties", {}).items()])
    return {}


def _dtype_schema(dtype: str) -> Json:
    kind = _SCALAR_OF_DTYPE.get(dtype.rstrip("0123456789"))
    return dict(_SCALAR_SCHEMAS[kind]) if kind else {}


_SCALAR_OF_DTYPE: Mapping[str, str] = {
    "bool": "boolean",
    "int": "long",
    "uint": "long",
    "float": "double",
    "str": "string",
    "bytes": "binary",
    "datetime64[ns]": "datetime",
}


def _box(shape: Sequence[int], innermost: Json) -> Json:
    schema = innermost
    for length in reversed(shape):
        schema = {"type": "array", "items": schema, **({"minItems": length, "maxItems": length} if length >= 0 else {})}
    return schema


def _sample(spec: Spec) -> Any:
    kind = spec.get("type")
    if kind == "sparkml vector":
        return [1.0]
    if kind == "array":
        return [_sample(spec.get("items", {}))]
    if kind == "map":
        return {"key": _sample(spec.get("values", {}))}
    if kind == "object":
        return {name: _sample(value) for name, value in spec.get("properties", {}).items()}
    return _SCALAR_SAMPLES.get(str(kind), "text")


def _tensor_sample(spec: Spec) -> Any:
    return _SCALAR_SAMPLES.get(_SCALAR_OF_DTYPE.get(_dtype(spec).rstrip("0123456789"), "string"), "text")


def _fill(shape: Sequence[int], value: Any) -> Any:
    if not shape:
        return value
    return [_fill(shape[1:], value) for _ in range(shape[0] if shape[0] >= 0 else 1)]


def _by_name(specs: Sequence[Spec], values: Sequence[Any]) -> Json:
    return {str(spec["name"]): value for spec, value in zip(specs, values, strict=True)}


def _is_named(specs: Sequence[Spec]) -> bool:
    return specs[0].get("name") is not None


def _is_tensor(specs: Sequence[Spec]) -> bool:
    return specs[0].get("type") == "tensor"


def _is_required(spec: Spec) -> bool:
    return bool(spec.get("required", not spec.get("optional", False)))


def _shape(spec: Spec) -> list[int]:
    return list(spec["tensor-spec"]["shape"])


def _dtype(spec: Spec) -> str:
    return str(spec["tensor-spec"]["dtype"])


def _example(signature: ModelSignature | None, smoke_request: ScoreRequest | None) -> Any:
    """The request the service was smoke-tested with, else a sample; none where it is too long to read."""
    if smoke_request is not None and len(smoke_request.body) <= _LARGEST_EXAMPLE_BYTES:
        try:
            return json.loads(smoke_request.body, parse_constant=_refuse)
        except ValueError:
            return None
    sample = sample_request(signature) if smoke_request is None and signature is not None and signature.inputs else None
    return sample if len(json.dumps(sample)) <= _LARGEST_EXAMPLE_BYTES else None


def _refuse(token: str) -> None:
    raise ValueError(token)


def _text(document: Json) -> str:
    return json.dumps(document, indent=1, allow_nan=False)
