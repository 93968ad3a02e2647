"""What a service says of itself: the Swagger 2.0 and OpenAPI 3 pages that the inference server serves. Pure.

The pages describe docs/serving.md, the contract that score.py keeps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlaz_ci.errors import MissingInput
from mlaz_ci.models import ModelSignature, ScoreRequest
from mlaz_ci.serving.signature import (
    Spec,
    by_name,
    child_of,
    column_type_of,
    is_named,
    is_required,
    is_tensor,
    name_of,
    properties_of,
    sample_request,
    shape_of,
)

__all__ = ["render_swagger", "sample_request"]

Json = dict[str, Any]

_LARGEST_EXAMPLE_BYTES: Final = 16_384
_FORMS: Final = ("input_data", "dataframe_split", "dataframe_records", "inputs", "instances")
_SCALARS: Final[Mapping[str, Json]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "binary": {"type": "string", "format": "byte"},
    "datetime": {"type": "string", "format": "date-time"},
}
_ERROR: Final[Json] = {
    "type": "object",
    "properties": {
        "message": {"type": "string", "description": "What is wrong, and what to give instead."},
        "field": {"type": "string", "description": "The place in the request body (status 400)."},
        "correlation_id": {"type": "string", "description": "Stands in the service's log and in x-request-id too."},
    },
    "required": ["message"],
}
_SECURITY: Final[Json] = {
    "Bearer": {"type": "apiKey", "name": "Authorization", "in": "header", "description": "Bearer <key or token>"}
}


def render_swagger(
    signature: ModelSignature | None, service_name: str, smoke_request: ScoreRequest | None = None
) -> dict[str, str]:
    """The texts of swagger.json and swagger3.json, by file name; they go beside score.py."""
    signature = signature or ModelSignature()
    example = _example(signature, smoke_request)
    info = {"title": service_name, "version": "1.0", "description": f"The scoring service {service_name}."}
    schemas = {"ServiceOutput": _output_schema(signature.outputs), "ErrorResponse": _ERROR}
    version_2 = {
        "swagger": "2.0",
        "info": info,
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": _SECURITY,
        "paths": _paths("#/definitions/", is_version_3=False),
        "definitions": {"ServiceInput": _input_schema(signature, example, is_version_3=False), **schemas},
    }
    version_3 = {
        "openapi": "3.0.3",
        "info": info,
        "paths": _paths("#/components/schemas/", is_version_3=True),
        "components": {
            "schemas": {"ServiceInput": _input_schema(signature, example, is_version_3=True), **schemas},
            "securitySchemes": _SECURITY,
        },
    }
    return {"swagger.json": _text(version_2), "swagger3.json": _text(version_3)}


def _paths(schemas: str, *, is_version_3: bool) -> Json:
    def content(schema: Json) -> Json:
        return {"content": {"application/json": {"schema": schema}}} if is_version_3 else {"schema": schema}

    def response(description: str, schema: Json) -> Json:
        return {"description": description, **content(schema)}

    error, body = {"$ref": f"{schemas}ErrorResponse"}, {"$ref": f"{schemas}ServiceInput"}
    score: Json = {
        "operationId": "RunMLService",
        "summary": "Ask the model for predictions",
        "security": [{"Bearer": []}, {}],
        "responses": {
            "200": response("The predictions.", {"$ref": f"{schemas}ServiceOutput"}),
            "400": response("The request does not fit the model's signature.", error),
            "default": response("The model or the service failed.", error),
        },
    }
    kind: Json = {"type": "string", "enum": ["2", "3"]}
    version: Json = {"name": "version", "in": "query", "required": False}
    if is_version_3:
        score["requestBody"] = {"required": True, **content(body)}
        version["schema"] = kind
    else:
        score["parameters"] = [{"name": "body", "in": "body", "required": True, "schema": body}]
        version |= kind
    healthy = {"200": response("Healthy.", {"type": "string"})}
    page = {"200": response("This page.", {"type": "object"})}
    return {
        "/": {"get": {"operationId": "ServiceHealthCheck", "responses": healthy}},
        "/score": {"post": score},
        "/swagger.json": {"get": {"operationId": "GetSwaggerSpec", "parameters": [version], "responses": page}},
    }


def _input_schema(signature: ModelSignature, example: Any, *, is_version_3: bool) -> Json:
    specs = signature.inputs
    table = _table_schema(specs)
    row = _row_schema(specs) if is_named(specs) else {"type": "object"}
    # Lists and objects alike: Swagger 2.0 has no words for "one of these", so these three are left open.
    schema: Json = {
        "type": "object",
        "description": f"Exactly one of {', '.join(_FORMS)}, or columns with data.",
        "properties": {
            "input_data": {"description": "A table (columns, index, data), a list, or an object of lists."},
            "dataframe_split": table,
            "dataframe_records": {"type": "array", "items": row, "minItems": 1},
            "inputs": {"description": "A list, an object of lists by name, or one value."},
            "instances": {"description": "As inputs, or one object for each row."},
            **table["properties"],
            "params": _params_schema(signature.params),
        },
        "additionalProperties": False,
    }
    if is_version_3:
        schema["oneOf"] = [*({"required": [form]} for form in _FORMS), {"required": ["columns", "data"]}]
    return schema if example is None else {**schema, "example": example}


def _table_schema(specs: Sequence[Spec]) -> Json:
    columns: Json = {"type": "array", "items": {"type": "string"}}
    if is_named(specs):
        columns["description"] = ", ".join(name_of(spec) for spec in specs)
    rows = {"type": "array", "items": {"type": "array", "items": {}}, "minItems": 1}
    properties = {"columns": columns, "index": {"type": "array", "items": {}}, "data": rows}
    return {"type": "object", "properties": properties, "required": ["data"], "additionalProperties": False}


def _row_schema(specs: Sequence[Spec]) -> Json:
    """One row as an object; of a tensor it holds one element along the first dimension."""
    cells = {name_of(spec): _box(spec, 1) if is_tensor([spec]) else _schema(spec) for spec in specs}
    required = [name_of(spec) for spec in specs if is_required(spec)]
    return {"type": "object", "properties": cells, **({"required": required} if required else {})}


def _output_schema(specs: Sequence[Spec]) -> Json:
    if not specs:
        return {"description": "The predictions: a list, records, or an object of lists."}
    if is_tensor(specs):
        boxes = [_box(spec, 0) for spec in specs]
        return {"type": "object", "properties": by_name(specs, boxes)} if is_named(specs) else boxes[0]
    if is_named(specs):
        return {"type": "array", "items": _row_schema(specs)}
    return {"type": "array", "items": _schema(specs[0]) if len(specs) == 1 else {}}


def _params_schema(specs: Sequence[Spec]) -> Json:
    properties: Json = {}
    for spec in specs:
        value = _schema({**spec, "type": spec.get("type") or spec.get("dtype")})
        schema: Json = {"type": "array", "items": value} if spec.get("shape") else value
        default = spec.get("default")
        properties[name_of(spec)] = schema if default is None else {**schema, "default": default}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _schema(spec: Spec) -> Json:
    """The schema of one value: a scalar, or MLflow's array, object, map, any."""
    match spec.get("type"):
        case str() as kind if kind in _SCALARS:
            return dict(_SCALARS[kind])
        case "sparkml vector":
            return {"type": "array", "items": {"type": "number"}}
        case "array":
            return {"type": "array", "items": _schema(child_of(spec, "items"))}
        case "map":
            return {"type": "object", "additionalProperties": _schema(child_of(spec, "values"))}
        case "object":
            return _row_schema(list(properties_of(spec)))
        case _:
            return {}


def _box(tensor: Spec, first_dimension: int) -> Json:
    schema = dict(_SCALARS.get(column_type_of(tensor) or "", {}))
    for length in reversed(shape_of(tensor)[first_dimension:]):
        limits = {"minItems": length, "maxItems": length} if length >= 0 else {}
        schema = {"type": "array", "items": schema, **limits}
    return schema


def _example(signature: ModelSignature, smoke_request: ScoreRequest | None) -> Any:
    """The request the service is smoke-tested with, else a sample; none where it is too long to read."""
    try:
        if smoke_request is None:
            text = json.dumps(sample_request(signature)) if signature.inputs else "null"
        else:
            text = smoke_request.body.decode() if len(smoke_request.body) <= _LARGEST_EXAMPLE_BYTES else "null"
        return json.loads(text, parse_constant=_refuse) if len(text) <= _LARGEST_EXAMPLE_BYTES else None
    except (ValueError, RecursionError, MissingInput):
        return None


def _refuse(token: str) -> None:
    raise ValueError(token)


def _text(document: Json) -> str:
    return json.dumps(_finite(document), indent=1)


def _finite(value: Any) -> Any:
    """A copy without numbers that JSON does not have, which a default deep in a hostile MLmodel may hold."""
    match value:
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value
