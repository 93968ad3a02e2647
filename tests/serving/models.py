"""Makes the models of the contract test; run by the interpreter of a serving environment, from mlflow 1.30 on.

    python models.py FOLDER     saves each model this mlflow can express to FOLDER/<name>

The first five are the worked examples of docs/serving.md.
"""

# ruff: noqa: B905 - no zip(strict=…) on Python 3.8

import sys
import time

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models.signature import ModelSignature
from mlflow.types.schema import ColSpec, Schema, TensorSpec


class Table(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return (model_input["area"] + 50 * model_input["rooms"]).to_numpy()


class Matrix(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        assert model_input.dtype == np.float32
        return model_input.sum(axis=(1, 2))


class Tensors(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        left, right = model_input["left"], model_input["right"]
        return {"product": left * right, "dot": (left * right).sum(axis=1)}


class Text(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [text.upper() for text in model_input.iloc[:, 0]]


class Params(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        values = model_input["value"] * params["scale"]
        return pd.DataFrame({"value": values, "label": [params["labels"][int(value > 1)] for value in values]})


class Kinds(mlflow.pyfunc.PythonModel):
    """One column of each type: answers with what it was given, or fails as the column `text` says."""

    def predict(self, context, model_input, params=None):
        assert list(model_input.columns) == ["flag", "small", "large", "single", "real", "text", "raw", "moment"]
        if model_input["text"].iloc[0] == "raise":
            raise RuntimeError("the secret of the model, over " + str(model_input["raw"].iloc[0]))
        if model_input["text"].iloc[0] == "value":
            raise ValueError("the secret of the model")
        if model_input["text"].iloc[0] == "strange":
            return [lambda: None]
        kinds = {name: str(dtype) for name, dtype in model_input.dtypes.items()}
        assert [kinds[name] for name in ("small", "large")] == ["int32", "int64"], kinds
        assert [kinds[name] for name in ("single", "real")] == ["float32", "float64"], kinds
        assert kinds["moment"] == "datetime64[ns]", kinds
        assert all(raw is None or isinstance(raw, bytes) for raw in model_input["raw"])
        return model_input


class Slow(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        time.sleep(30)


class Nested(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        assert isinstance(model_input, pd.DataFrame)
        return model_input.to_dict(orient="records")


def column_models():
    kinds = ["boolean", "integer", "long", "float", "double", "string", "binary", "datetime"]
    names = ["flag", "small", "large", "single", "real", "text", "raw", "moment"]
    yield (
        "table",
        Table(),
        Schema([ColSpec("long", "rooms"), ColSpec("double", "area"), ColSpec("string", "city")]),
        None,
    )
    yield "text", Text(), Schema([ColSpec("string")]), None
    yield "kinds", Kinds(), Schema([ColSpec(kind, name) for kind, name in zip(kinds, names)]), None
    try:
        from mlflow.types.schema import Array, Map, Object, ParamSchema, ParamSpec, Property
    except ImportError:
        return
    specs = [ParamSpec("scale", "double", 1.0), ParamSpec("labels", "string", ["low", "high"], shape=(-1,))]
    yield "params", Params(), Schema([ColSpec("double", "value")]), ParamSchema(specs)
    person = Object([Property("name", "string"), Property("weight", "double", required=False)])
    nested = [
        ColSpec(person, "person"),
        ColSpec(Array("double"), "scores"),
        ColSpec(Map("long"), "counts"),
        ColSpec("string", "note", required=False),
    ]
    yield "nested", Nested(), Schema(nested), None


def tensor_models():
    yield "matrix", Matrix(), Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))])
    pair = [TensorSpec(np.dtype("float64"), (-1, 2), name) for name in ("left", "right")]
    yield "tensors", Tensors(), Schema(pair)


def save_all(folder):
    requirements = ["mlflow-skinny==" + mlflow.__version__]
    options = {"pip_requirements": requirements}
    for name, model, inputs, params in column_models():
        signature = ModelSignature(inputs=inputs, params=params) if params else ModelSignature(inputs=inputs)
        mlflow.pyfunc.save_model(folder + "/" + name, python_model=model, signature=signature, **options)
    for name, model, inputs in tensor_models():
        signature = ModelSignature(inputs=inputs)
        mlflow.pyfunc.save_model(folder + "/" + name, python_model=model, signature=signature, **options)
    mlflow.pyfunc.save_model(folder + "/slow", python_model=Slow(), **options)
    save_sklearn(folder, options)
    if hasattr(mlflow.models.Model, "_is_signature_from_type_hint"):
        save_hints(folder, options)


def save_sklearn(folder, options):
    """The commonest model, logged without a signature, in a folder below the one Azure points at."""
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), [0.0, 2.0, 3.0])
    mlflow.sklearn.save_model(model, folder + "/bare/1/model", serialization_format="cloudpickle", **options)


def save_hints(folder, options):
    class Hints(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[dict[str, str]], params=None):
            return [sorted(item.values()) for item in model_input]

    mlflow.pyfunc.save_model(folder + "/hints", python_model=Hints(), **options)


if __name__ == "__main__":
    save_all(sys.argv[1])
