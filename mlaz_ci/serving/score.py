"""The one scoring script: it runs inside Microsoft's inference server, in the model's own environment, on every target.

It must not import mlaz_ci, and must run on Python 3.8 with mlflow 1.30 (no `match`, no `X | Y` at run time). Its contract with callers
is docs/serving.md. What a caller sent is never logged: logs name exception classes and places, not texts, which often quote the input.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import difflib
import enum
import itertools
import json
import logging
import math
import os
import re
import shutil
import sys
import traceback
import uuid
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

log = logging.getLogger("azmlinfsrv.mlaz")  # a child of the server's logger: its level and its place

FORMS = ("input_data", "dataframe_split", "dataframe_records", "inputs", "instances")
SPLIT_KEYS = {"columns", "index", "data"}
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
COLUMN_DTYPES = {"boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64",
                 "string": "str", "binary": "bytes", "datetime": "datetime64[ns]"}  # fmt: skip

Spec = Dict[str, Any]
"""One input, output or parameter of a signature, as its MLmodel has it."""
Table = Tuple[Optional[List[str]], List[List[Any]], Optional[List[Any]]]
"""Column names, rows, index."""

service: Service
"""Set by init()."""


class BadRequest(Exception):
    """The caller's to correct: `field` is the place in the body, `message` what is wrong there."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field, message


class Service:
    """The loaded model, and its signature as the plain JSON of its MLmodel (that form is the same in every mlflow)."""

    def __init__(
        self, model: Any, inputs: list[Spec] | None = None, params: Sequence[Spec] = (), takes_lists: bool = False
    ) -> None:
        self.model, self.inputs, self.params = model, inputs, params
        self.takes_lists = takes_lists  # typed by Python hints: the model checks plain lists itself, and no DataFrame
        self.identity = re.sub(r"[^\w.:/-]", "", os.environ.get("MLAZ_SPEC", ""))
        self.collectors = open_collectors()

    @property
    def is_strict(self) -> bool:
        """Whether the signature alone decides what fits: what passes it and still fails is not the caller's fault."""
        return self.inputs is not None and not any(-1 in shape_of(spec)[1:] for spec in self.inputs)


def init() -> None:
    global service
    publish_swagger()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(find_model())
    signature = model.metadata.signature
    inputs, params = getattr(signature, "inputs", None), getattr(signature, "params", None)
    service = Service(
        model,
        inputs.to_dict() if inputs else None,
        params.to_dict() if params else [],
        bool(getattr(model.metadata, "_is_signature_from_type_hint", bool)()),
    )
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # its warnings while predicting quote what the caller sent


def run(raw: str) -> Any:
    correlation_id = request_id()
    try:
        return answer(200, to_json(predict(*read_request(raw))))
    except TimeoutError:
        raise  # the server's own alarm (SCORING_TIMEOUT_MS), which it reports itself
    except BadRequest as problem:
        log.info("400, refused; correlation id %s", correlation_id)
        content = {"message": problem.message, "field": problem.field, "correlation_id": correlation_id}
        return answer(400, content)
    except Exception as error:
        log_failure(error, correlation_id)
        message = "The model failed on this request. The service's log has the correlation id and the place."
        return answer(500, {"message": message, "correlation_id": correlation_id})


def predict(data: Any, params: dict[str, Any]) -> Any:
    context = collect("inputs", data, None)
    try:
        prediction = service.model.predict(data, params=params) if params else service.model.predict(data)
    except Exception as error:
        if is_about_input(error):
            raise BadRequest("body", f"The model does not accept this input: {gist(error)}.") from error
        raise
    collect("outputs", prediction, context)
    return prediction


# --- start -----------------------------------------------------------------------------------------------------------


def find_model() -> str:
    """The folder with the MLmodel nearest to AZUREML_MODEL_DIR: at it (local), or one to three below (Azure)."""
    root = os.path.abspath(os.environ.get("AZUREML_MODEL_DIR") or "azureml-models")
    folders = [root] if os.path.isdir(root) else []
    for _ in range(6):
        found = [folder for folder in folders if os.path.isfile(os.path.join(folder, "MLmodel"))]
        if len(found) > 1:
            raise RuntimeError(f"More than one MLmodel at the same depth: {', '.join(found)}.")
        if found:
            return found[0]
        folders = sorted(entry.path for folder in folders for entry in os.scandir(folder) if entry.is_dir())
    raise RuntimeError(f"No MLmodel file in or below AZUREML_MODEL_DIR ({root}).")


# Name → text of the files beside this one, where it travels alone; whoever sends it so adds a line at its end.
BESIDE: dict[str, str] = {}


def publish_swagger() -> None:
    """Put our swagger files where the server looks, after init(): in AML_APP_ROOT. A read-only one costs the page only."""
    here = os.path.dirname(os.path.abspath(__file__))
    app_root = os.environ.get("AML_APP_ROOT", "/var/azureml-app")
    is_here = os.path.realpath(app_root) == os.path.realpath(here)
    for name in ("swagger.json", "swagger3.json"):
        text = BESIDE.get(name)
        if is_here and text is None:
            continue
        draft = os.path.join(app_root, f"{name}.{uuid.uuid4().hex}")
        try:
            if text is None:
                shutil.copyfile(os.path.join(here, name), draft)
            else:
                with open(draft, "w", encoding="utf-8") as file:
                    file.write(text)
            os.replace(draft, os.path.join(app_root, name))  # whole or not at all: other workers read it now
        except OSError as error:
            log.info("%s is not published: %s", name, type(error).__name__)


# --- answers and logs ------------------------------------------------------------------------------------------------


def answer(status: int, content: Any) -> Any:
    from azureml_inference_server_http.api.aml_response import AMLResponse

    headers = {"Content-Type": "application/json"}
    if service.identity:
        headers["x-mlaz-spec"] = service.identity
    return AMLResponse(json.dumps(content, allow_nan=False), status, headers)


def request_id() -> str:
    """The id the server gives back as x-request-id, so that answer, access log and our log name the same request."""
    try:
        from flask import g

        return g.request_id or str(uuid.uuid4())
    except (ImportError, RuntimeError, AttributeError):
        return str(uuid.uuid4())


def is_about_input(error: Exception) -> bool:
    """Whether `error`, raised by predict, says that the input's shape or type is wrong."""
    if isinstance(error, TimeoutError):
        return False
    library = os.path.dirname(getattr(sys.modules.get("mlflow"), "__file__", None) or "/nowhere/")
    names = {frame.name for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(library)}
    if any(name.startswith(("_enforce_", "_validate_")) for name in names):
        return True
    if getattr(error, "error_code", None) in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST"):
        return True
    if service.is_strict:
        return False
    words = r"shape|dimension|dtype|number of features|size-incompatible|InvalidArgument"
    return isinstance(error, (TypeError, ValueError, LookupError)) or bool(re.search(words, repr(error)))


def gist(error: Exception) -> str:
    """What the library says, in one line; mlflow puts the whole input before its last "Error: "."""
    text = str(error).rsplit("Error: ", 1)[-1].strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:300] if text else 'no text'}"


def log_failure(error: Exception, correlation_id: str) -> None:
    places = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    text = str(error) if os.environ.get("MLAZ_LOG_ERROR_TEXT", "").lower() == "true" else "(MLAZ_LOG_ERROR_TEXT is off)"
    log.error("500, correlation id %s\n%s%s: %s", correlation_id, places, type(error).__name__, text)


# --- data collection: an extra that must never fail a prediction -------------------------------------------------------


def open_collectors() -> dict[str, Any]:
    if os.environ.get("MLAZ_DATA_COLLECTION", "").lower() != "true":
        return {}
    try:
        from azureml.ai.monitoring import Collector

        return {name: Collector(name="model_" + name, on_error=collection_failed) for name in ("inputs", "outputs")}
    except Exception as error:
        collection_failed(error)
        return {}


def collection_failed(error: Exception) -> None:
    log.warning("data collection: %s", type(error).__name__)


def collect(name: str, data: Any, context: Any) -> Any:
    if name not in service.collectors:
        return None
    try:
        import pandas as pd

        columns = {key: list(value) for key, value in data.items()} if isinstance(data, dict) else data
        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(columns)
        return service.collectors[name].collect(frame, context)
    except Exception as error:
        collection_failed(error)
        return None


# --- from the body to what predict takes -------------------------------------------------------------------------------


def read_request(raw: str) -> tuple[Any, dict[str, Any]]:
    """The body as (what predict takes, params)."""
    body = parse(raw)
    if "columns" in body and "data" in body:  # the bare form of services made by mlflow.azureml.deploy
        body = {"input_data": {key: body.pop(key) for key in list(body) if key in SPLIT_KEYS}, **body}
    given = [form for form in FORMS if form in body]
    unknown = [key for key in body if key not in FORMS + ("params",)]
    if unknown:
        raise BadRequest(unknown[0], f"Not a field of this service.{nearest(unknown[0], FORMS + ('params',))}")
    if len(given) != 1:
        raise BadRequest("body", f"Give exactly one of {', '.join(FORMS)}; there are {len(given)}.")
    params = read_params(body.get("params"))
    return read_input(given[0], body[given[0]]), params


def parse(raw: str) -> dict[str, Any]:
    if not raw or not raw.strip():
        message = "No body arrived. Without the header `Content-Type: application/json` the server takes it for a form and drops it."
        raise BadRequest("Content-Type", message)
    try:
        body = json.loads(raw)
    except json.JSONDecodeError as error:
        message = f"Not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        raise BadRequest("body", message) from None
    except (ValueError, RecursionError):
        raise BadRequest("body", "Not JSON that can be read: nested too deeply, or a number too long.") from None
    if not isinstance(body, dict):
        raise BadRequest("body", f"Give a JSON object with one of {', '.join(FORMS)}, not {kind_of(body)}.")
    return body


def read_params(values: Any) -> dict[str, Any]:
    if values is None or values == {}:
        return {}
    if not isinstance(values, dict):
        raise BadRequest("params", f"Give an object of names and values, not {kind_of(values)}.")
    known = {spec["name"]: spec for spec in service.params}
    result = {}
    for name, value in values.items():
        field = f"params.{name}"
        if name not in known:
            hint = nearest(name, known) if known else " Its signature declares none."
            raise BadRequest(field, f"Not a parameter of this model.{hint}")
        spec = dict(known[name], type=known[name].get("type") or known[name].get("dtype"), required=False)
        result[name] = read_nested(value, {"type": "array", "items": spec} if spec.get("shape") else spec, field)
    return result


def read_input(form: str, value: Any) -> Any:
    import pandas as pd

    table = read_table(form, value)
    if table is not None and service.takes_lists:
        return [dict(zip(table[0], row)) if table[0] else row for row in table[1]]
    if service.takes_lists:
        return value
    if service.inputs is None:
        return pd.DataFrame(table[1], columns=table[0], index=table[2]) if table else read_freely(form, value)
    if service.inputs[0]["type"] == "tensor":
        return read_tensors(form, value, table, service.inputs)
    return read_frame(form, value, table, service.inputs)


def read_table(form: str, value: Any) -> Table | None:
    """(column names or None, rows, index or None) where the value is a table, else None."""
    names = {spec.get("name") for spec in service.inputs or []}
    needed = {"data"} if service.inputs else {"columns", "data"}
    is_split = isinstance(value, dict) and needed <= set(value) <= SPLIT_KEYS and not set(value) <= names
    if form == "dataframe_split" or (form == "input_data" and is_split):
        return read_split(form, value)
    is_records = isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)
    if form == "dataframe_records" and not is_records:
        raise BadRequest(form, "Give a list of objects, one for each row, and at least one.")
    # Without a signature `instances` keeps TensorFlow Serving's meaning: one array for each name.
    if not is_records or (form == "instances" and service.inputs is None):
        return None
    if service.inputs and names == {None} and service.inputs[0]["type"] not in COLUMN_DTYPES:
        return None  # one unnamed column of objects: each object is a value, not a row of columns
    columns = list(dict.fromkeys(itertools.chain.from_iterable(value)))
    return columns, [[row.get(column) for column in columns] for row in value], None


def read_split(form: str, value: Any) -> Table:
    if not isinstance(value, dict) or "data" not in value or not set(value) <= SPLIT_KEYS:
        raise BadRequest(form, "Give an object with `columns`, `data` and, if wanted, `index`.")
    columns, index, rows = value.get("columns"), value.get("index"), value["data"]
    if not isinstance(rows, list) or not rows:
        raise BadRequest(form + ".data", "Give a list of rows, and at least one.")
    if columns is not None and (not isinstance(columns, list) or len(set(map(str, columns))) < len(columns)):
        raise BadRequest(form + ".columns", "Give a list of names, each once.")
    rows = [row if isinstance(row, list) else [row] for row in rows]
    width = len(rows[0]) if columns is None else len(columns)
    for number, row in enumerate(rows):
        if len(row) != width:
            raise BadRequest(f"{form}.data[{number}]", f"The row has {len(row)} values for {width} columns.")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows) or has_nested(index)):
        raise BadRequest(form + ".index", "Give a list of values, as long as `data`.")
    return columns and [str(name) for name in columns], rows, index


def has_nested(values: list[Any]) -> bool:
    return any(isinstance(value, (list, dict)) for value in values)


def read_freely(form: str, value: Any) -> Any:
    """Without a signature: arrays, as mlflow's own server makes them."""
    if isinstance(value, dict):
        return {name: guess_array(item) for name, item in value.items()}
    if form == "instances" and isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return {name: guess_array([row.get(name) for row in value]) for name in dict.fromkeys(itertools.chain(*value))}
    return guess_array(value) if isinstance(value, list) else value


def read_frame(form: str, value: Any, table: Table | None, specs: list[Spec]) -> Any:
    """A DataFrame with the signature's columns in its order and types; further columns are ignored."""
    import pandas as pd

    names = [str(spec.get("name", position)) for position, spec in enumerate(specs)]
    given = by_column(form, value, table, specs, names)
    require(form, given, specs, names)
    columns = {}
    for position, (name, spec) in enumerate(zip(names, specs)):
        field = f"{form}.{name}"
        if name in given:
            if not isinstance(given[name], list):
                raise BadRequest(field, f"Give a list, as for the other columns, not {kind_of(given[name])}.")
            if is_required(spec) or any(item is not None for item in given[name]):
                columns[spec.get("name", position)] = read_column(given[name], spec, field)
    if not columns:
        raise BadRequest(form, f"Give at least one column of {', '.join(names[:20])}.")
    if len({len(column) for column in columns.values()}) > 1:
        raise BadRequest(form, "The columns differ in length.")
    frame = pd.DataFrame(columns)
    if table is not None and table[2] is not None:
        frame.index = table[2]
    return frame


def by_column(form: str, value: Any, table: Table | None, specs: list[Spec], names: list[str]) -> dict[str, Any]:
    """The values of each column, whatever form they came in; what is no list is for the caller to refuse."""
    if table is not None:
        has_names = table[0] is not None and specs[0].get("name") is not None
        columns = table[0] if has_names else positional(form, table[1], names)
        return {name: [row[position] for row in table[1]] for position, name in enumerate(columns or [])}
    if isinstance(value, dict):
        is_record = any(spec["type"] in ("array", "object", "map") for spec in specs)
        if not is_record and any(isinstance(item, list) for item in value.values()):
            return value
        return {name: [item] for name, item in value.items()}
    rows = value if isinstance(value, list) else [value]
    if not rows:
        raise BadRequest(form, "Give at least one row.")
    if len(specs) == 1 and (specs[0]["type"] not in COLUMN_DTYPES or not isinstance(rows[0], list)):
        rows = [[item] for item in rows]
    return {name: [row[position] for row in rows] for position, name in enumerate(positional(form, rows, names))}


def positional(form: str, rows: list[Any], names: list[str]) -> list[str]:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            there = f"{len(row)} value{'s' * (len(row) != 1)}" if isinstance(row, list) else kind_of(row)
            wanted = f"{len(names)} values ({', '.join(names[:20])})"
            raise BadRequest(f"{form}[{number}]", f"A row is a list of {wanted}, not {there}.")
    return names


def require(form: str, given: dict[str, Any], specs: Iterable[Spec], names: list[str]) -> None:
    missing = [name for name, spec in zip(names, specs) if is_required(spec) and name not in given]
    if missing:
        message = f"Missing: {', '.join(missing[:20])}.{nearest(missing[0], given)}"
        raise BadRequest(f"{form}.{missing[0]}", message)


def is_required(spec: Spec) -> bool:
    return bool(spec.get("required", not spec.get("optional", False)))


def read_column(values: list[Any], spec: Spec, field: str) -> Any:
    import pandas as pd

    if spec["type"] in COLUMN_DTYPES:
        array = to_array(values, COLUMN_DTYPES[spec["type"]], field)
        return pd.Series(array, dtype=array.dtype)  # said, as pandas 3 guesses `str`, which older mlflow refuses
    return pd.Series([read_nested(value, spec, f"{field}[{row}]") for row, value in enumerate(values)], dtype=object)


def read_nested(value: Any, spec: Spec, field: str) -> Any:
    """One value of a scalar, array, object, map or any type (mlflow 2.10 and later), as Python's own types."""
    kind = spec["type"]
    if kind == "any" or (value is None and not is_required(spec)):
        return value
    if kind in COLUMN_DTYPES:
        import pandas as pd

        item = to_array([value], COLUMN_DTYPES[kind], field, is_single=True)[0]
        if kind == "datetime":
            return pd.Timestamp(item)
        return item.item() if hasattr(item, "item") else item
    if kind in ("array", "sparkml vector"):
        if not isinstance(value, list):
            raise BadRequest(field, f"Give a list, not {kind_of(value)}.")
        items = spec.get("items") or {"type": "double"}
        return [read_nested(item, items, f"{field}[{place}]") for place, item in enumerate(value)]
    if not isinstance(value, dict):
        raise BadRequest(field, f"Give an object, not {kind_of(value)}.")
    if kind == "map":
        return {key: read_nested(item, spec["values"], f"{field}.{key}") for key, item in value.items()}
    known = spec.get("properties", {})
    for key in value:
        if key not in known:
            raise BadRequest(f"{field}.{key}", f"Not a property of this object.{nearest(key, known)}")
    require(field, value, known.values(), list(known))
    return {key: read_nested(item, known[key], f"{field}.{key}") for key, item in value.items()}


# --- tensors -----------------------------------------------------------------------------------------------------------


def shape_of(spec: Spec) -> list[int]:
    return list(spec["tensor-spec"]["shape"]) if spec["type"] == "tensor" else []


def read_tensors(form: str, value: Any, table: Table | None, specs: list[Spec]) -> Any:
    if specs[0].get("name") is None:
        if table is not None:
            rows, is_column = table[1], len(table[1][0]) == 1
            is_flat = is_column and not isinstance(rows[0][0], list)
            value = [row[0] for row in rows] if is_column and not (is_flat and len(shape_of(specs[0])) == 2) else rows
        return read_tensor(value, specs[0], form)
    names = [spec["name"] for spec in specs]
    if table is not None:
        columns = table[0] or positional(form, table[1], names)
        value = {name: [row[position] for row in table[1]] for position, name in enumerate(columns)}
    elif isinstance(value, list) and len(specs) == 1:
        value = {names[0]: value}
    if not isinstance(value, dict):
        raise BadRequest(form, f"Give an object of tensors: {', '.join(names)}; not {kind_of(value)}.")
    require(form, value, specs, names)
    return {name: read_tensor(value[name], spec, f"{form}.{name}") for name, spec in zip(names, specs)}


def read_tensor(value: Any, spec: Spec, field: str) -> Any:
    import numpy as np

    expected, dtype = shape_of(spec), spec["tensor-spec"]["dtype"]
    if dtype == "object" and len(expected) == 1 and isinstance(value, list):
        array = np.empty(len(value), dtype="object")  # mlflow's word for lists of any shape
        for place, item in enumerate(value):
            array[place] = item
        return array
    leaves, shape = flatten(value, field)
    array = to_array(leaves, dtype, field)
    if dtype in ("str", "bytes"):
        if None in leaves:
            raise BadRequest(field, "Give strings; a tensor of them holds no null.")
        array = array.astype(dtype)
    array = array.reshape(shape)
    if len(shape) != len(expected) or any(want not in (-1, has) for want, has in zip(expected, shape)):
        raise BadRequest(field, f"The shape is {list(shape)}; the signature says {expected} (-1: any).")
    return array


def flatten(value: Any, field: str) -> tuple[list[Any], tuple[int, ...]]:
    """Nested lists as (values, shape). Raises where the lists are not a full box."""
    values: list[Any] = [value]
    shape: list[int] = []
    while values and isinstance(values[0], list):
        widths = {len(item) if isinstance(item, list) else -1 for item in values}
        if len(widths) > 1:
            raise BadRequest(field, f"The lists at depth {len(shape) + 1} differ in length.")
        shape.append(widths.pop())
        values = list(itertools.chain.from_iterable(values))
    if any(isinstance(item, list) for item in values):
        raise BadRequest(field, f"The lists at depth {len(shape) + 1} differ in depth.")
    return values, tuple(shape)


def guess_array(value: Any) -> Any:
    import numpy as np

    try:
        leaves, shape = flatten(value, "")
    except BadRequest:
        return value  # ragged: the model may know what it means
    kinds = set(map(type, leaves))
    is_numeric = bool(kinds) and kinds <= {int, float, type(None)} and kinds != {int}
    return np.array(leaves, dtype="float64" if is_numeric else None).reshape(shape)


# --- one JSON form for each type, in both directions -------------------------------------------------------------------


def to_array(values: list[Any], dtype: str, field: str, *, is_single: bool = False) -> Any:
    """JSON values as a numpy array of `dtype`: numbers from numbers only, times from ISO 8601, bytes from base64."""
    import numpy as np

    kind = {"str": "U", "bytes": "S", "object": "O"}.get(dtype) or np.dtype(dtype).kind
    if kind in "fiu" and set(map(type, values)) <= ({int, float} if kind == "f" else {int}):
        items = values
    else:
        fields = [field] if is_single else (f"{field}[{place}]" for place in itertools.count())
        items = [read_scalar(value, kind, each) for value, each in zip(values, fields)]
    if kind in "iu" and items and not np.iinfo(dtype).min <= min(items) <= max(items) <= np.iinfo(dtype).max:
        raise BadRequest(field, f"A number is beyond the range of {dtype}.")
    try:
        return np.array(items, dtype="object" if kind in "USO" or (kind == "b" and None in items) else dtype)
    except OverflowError:
        raise BadRequest(field, f"A number is beyond the range of {dtype}.") from None


def read_scalar(value: Any, kind: str, field: str) -> Any:
    wanted = {"f": "a number", "i": "an integer", "u": "an integer", "b": "true or false", "U": "a string",
              "S": "a base64 string", "M": "an ISO 8601 string", "O": "a value"}.get(kind, "another type")  # fmt: skip
    if kind == "O" or (value is None and kind in "USb"):
        return value
    if kind == "f" and (value is None or (isinstance(value, str) and value in NON_FINITE)):
        return NON_FINITE[value or "NaN"]
    if kind == "f" and type(value) in (int, float):
        return value
    if kind in "iu" and (type(value) is int or (type(value) is float and value.is_integer())):
        return int(value)
    if (kind == "b" and isinstance(value, bool)) or (kind == "U" and isinstance(value, str)):
        return value
    try:
        if kind == "S" and isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if kind == "M" and (value is None or isinstance(value, str)):
            return read_time(value)
    except (ValueError, OverflowError):
        pass
    is_fraction = kind in "iu" and type(value) is float and math.isfinite(value)
    raise BadRequest(field, f"Give {wanted}, not {'a fraction' if is_fraction else kind_of(value)}.")


def read_time(text: str | None) -> Any:
    """An instant with an offset becomes the same instant in UTC, without offset, as mlflow's datetime wants it."""
    import numpy as np
    import pandas as pd

    time = pd.Timestamp(text)
    if text is None or time is pd.NaT:
        return np.datetime64("NaT", "ns")
    return np.datetime64((time.tz_convert(None) if time.tzinfo else time).value, "ns")


def to_json(value: Any) -> Any:
    """Any prediction as JSON: NaN and missing are null, infinities are strings, bytes base64, times ISO 8601."""
    import numpy as np
    import pandas as pd

    if value is None or isinstance(value, (bool, int, str)) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value)
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if isinstance(value, pd.Series):
        value = pd.DataFrame(value)
    if isinstance(value, pd.DataFrame):
        names = [str(name) for name in value.columns]
        columns = [to_json(value.iloc[:, place].tolist()) for place in range(len(names))]
        return [dict(zip(names, row)) for row in zip(*columns)]
    if isinstance(value, np.ndarray):
        # Iterated, not tolist(): that turns nanosecond times into integers.
        items = value.tolist() if value.dtype.kind in "biufU" else list(value) if value.ndim else value[()]
        return to_json(items)
    if value is pd.NaT or value is pd.NA or (isinstance(value, (np.datetime64, np.timedelta64)) and np.isnat(value)):
        return None
    if isinstance(value, (np.timedelta64, datetime.timedelta)):
        return pd.Timedelta(value).isoformat()
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value).isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return str(value)
    if isinstance(value, enum.Enum):
        return to_json(value.value)
    for method in ("item" if isinstance(value, np.generic) else "model_dump", "toarray", "tolist", "numpy"):
        if hasattr(value, method):  # numpy scalars, pydantic models, sparse matrices, other libraries' tensors
            return to_json(getattr(value, method)())
    raise RuntimeError(f"The prediction holds a {type(value).__name__}, which has no JSON form.")


def kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), [str(each) for each in known], 1, 0.6)
    return f" Did you mean {close[0]}?" if close else ""
