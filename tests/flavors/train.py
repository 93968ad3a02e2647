"""Trains and logs one model for each flavor, and predicts with it; run by the interpreter of a training environment.

    python train.py FOLDER FLAVOR...

Leaves FOLDER/<flavor>/model, as MLflow gives it back from its store, and FOLDER/<flavor>/cases.json: request bodies, each with what
`mlflow.pyfunc.load_model(…).predict` answers here for the same rows. Runs from mlflow 1.30 and Python 3.8 on.
"""

# ruff: noqa: B905, PTH103, PTH104, PTH123 - no zip(strict=…) on Python 3.8; a script of plain paths

import json
import os
import sys

import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.models.signature import infer_signature

MAJOR = int(mlflow.__version__.split(".")[0])


def diabetes():
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True)
    return data.data, data.target


def pins(*names):
    """Requirements as a careful user pins them: the versions of this environment."""
    if MAJOR < 2:
        return {}
    from importlib.metadata import version

    return {
        "pip_requirements": [
            name + "==" + version(name).split("+")[0] for name in ("mlflow", "numpy", "pandas", *names)
        ]
    }


# --- the forms of one table, and of tensors ------------------------------------------------------------------------------


def table_cases(model, frame):
    """The same rows in every form a table can take; the rows predicted here are those that the JSON holds, to the last bit."""
    split = {"columns": list(frame.columns), "index": list(range(len(frame))), "data": frame.to_numpy().tolist()}
    records = [dict(zip(split["columns"], row)) for row in split["data"]]
    columns = {name: [row[place] for row in split["data"]] for place, name in enumerate(split["columns"])}
    expected = jsonable(model.predict(frame))
    return [
        {"form": form, "body": body, "expected": expected}
        for form, body in [
            ("input_data", {"input_data": split}),
            ("input_data, a list", {"input_data": split["data"]}),
            ("dataframe_split", {"dataframe_split": split}),
            ("dataframe_records", {"dataframe_records": records}),
            ("inputs", {"inputs": columns}),
            ("instances", {"instances": records}),
            ("columns and data", split),
        ]
    ]


def tensor_cases(model, name, array):
    value = {name: array} if name else array
    expected = jsonable(model.predict(value))
    rows = array.tolist()
    whole = {name: rows} if name else rows
    one_by_one = [{name: row} for row in rows] if name else rows
    bodies = [("input_data", whole), ("inputs", whole), ("instances", one_by_one)]
    return [{"form": form, "body": {form: body}, "expected": expected} for form, body in bodies]


def jsonable(prediction):
    """What docs/serving.md says of a prediction's form, written down once more and apart from the scoring script."""
    if isinstance(prediction, pd.Series):
        prediction = prediction.to_frame()
    if isinstance(prediction, pd.DataFrame):
        return [{str(name): value for name, value in row.items()} for row in prediction.to_dict(orient="records")]
    if isinstance(prediction, dict):
        return {name: jsonable(value) for name, value in prediction.items()}
    return np.asarray(prediction).tolist()


# --- flavors ---------------------------------------------------------------------------------------------------------------


def sklearn(place):
    """Requirements as MLflow infers them; the commonest way to log."""
    import mlflow.sklearn
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, target = diabetes()
    model = make_pipeline(StandardScaler(), Ridge()).fit(frame, target)
    info = mlflow.sklearn.log_model(model, **place, signature=infer_signature(frame, model.predict(frame)))
    return info, lambda loaded: table_cases(loaded, frame)


def xgboost(place):
    import mlflow.xgboost
    from xgboost import XGBRegressor

    frame, target = diabetes()
    model = XGBRegressor(n_estimators=20, random_state=0).fit(frame, target)
    signature = infer_signature(frame, model.predict(frame))
    # The distribution without the GPU libraries: the same module, a third of the size.
    info = mlflow.xgboost.log_model(model, **place, signature=signature, **pins("xgboost-cpu", "scikit-learn"))
    return info, lambda loaded: table_cases(loaded, frame)


def lightgbm(place):
    import mlflow.lightgbm
    from lightgbm import LGBMRegressor

    frame, target = diabetes()
    model = LGBMRegressor(n_estimators=20, random_state=0, verbose=-1, n_jobs=1).fit(frame, target)
    signature = infer_signature(frame, model.predict(frame))
    info = mlflow.lightgbm.log_model(model, **place, signature=signature, **pins("lightgbm", "scikit-learn"))
    return info, lambda loaded: table_cases(loaded, frame)


def code_paths(place):
    """The model's class lives in a package of the user's, which travels with the model."""
    os.makedirs("parts/pricing")
    with open("parts/pricing/__init__.py", "w") as file:
        file.write(
            "import mlflow.pyfunc\n\n\n"
            "class Pricing(mlflow.pyfunc.PythonModel):\n"
            "    def predict(self, context, model_input, params=None):\n"
            "        return model_input.assign(price=model_input['bmi'] * 2 + model_input['age'])[['age', 'price']]\n"
        )
    sys.path.insert(0, "parts")
    from pricing import Pricing

    frame, _ = diabetes()
    signature = infer_signature(frame, Pricing().predict(None, frame))
    options = {"python_model": Pricing(), "code_paths": ["parts/pricing"], "signature": signature}
    info = mlflow.pyfunc.log_model(**place, **options, **pins("cloudpickle"))
    return info, lambda loaded: table_cases(loaded, frame)


class Scaled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        scaled = model_input["bmi"] * params["scale"]
        return pd.DataFrame({"scaled": scaled, "label": [params["labels"][int(value > 0)] for value in scaled]})


def params(place):
    frame, _ = diabetes()
    defaults = {"scale": 2.0, "labels": ["low", "high"]}
    signature = infer_signature(frame, Scaled().predict(None, frame, defaults), params=defaults)
    info = mlflow.pyfunc.log_model(**place, python_model=Scaled(), signature=signature, **pins("cloudpickle"))

    def cases(loaded):
        given = {"scale": -0.5, "labels": ["under", "over"]}
        expected = jsonable(loaded.predict(frame, params=given))
        body = {"input_data": {"columns": list(frame.columns), "data": frame.to_numpy().tolist()}, "params": given}
        return [*table_cases(loaded, frame), {"form": "input_data with params", "body": body, "expected": expected}]

    return info, cases


def onnx(place):
    import mlflow.onnx
    import onnx as library
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = [random.normal(size=shape).astype(np.float32) for shape in ((10, 4), (4,))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["s"]),
         helper.make_node("Tanh", ["s"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 10])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(weight, name) for weight, name in zip(weights, ("w", "b"))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    library.checker.check_model(model)
    array = diabetes()[0].to_numpy().astype(np.float32)
    signature = infer_signature({"x": array}, {"y": array[:, :4]})
    info = mlflow.onnx.log_model(model, **place, signature=signature, **pins("onnx", "onnxruntime"))
    return info, lambda loaded: tensor_cases(loaded, "x", array)


def statsmodels(place):
    import mlflow.statsmodels
    import statsmodels.api as sm

    frame, target = diabetes()
    model = sm.OLS(target, frame).fit()
    signature = infer_signature(frame, model.predict(frame))
    info = mlflow.statsmodels.log_model(model, **place, signature=signature, **pins("statsmodels"))
    return info, lambda loaded: table_cases(loaded, frame)


def pytorch(place):
    import mlflow.pytorch
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    array = diabetes()[0].to_numpy().astype(np.float32)
    signature = infer_signature(array, model(torch.from_numpy(array)).detach().numpy())
    extra = {"serialization_format": "pickle"} if MAJOR > 2 else {}
    info = mlflow.pytorch.log_model(model, **place, signature=signature, **extra, **pins("torch"))
    return info, lambda loaded: tensor_cases(loaded, "", array)


def keras(place):
    import mlflow.tensorflow
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    array = diabetes()[0].to_numpy().astype(np.float32)
    model = tf.keras.Sequential([tf.keras.Input((10,)), tf.keras.layers.Dense(4, "tanh"), tf.keras.layers.Dense(1)])
    signature = infer_signature(array, model.predict(array, verbose=0))
    info = mlflow.tensorflow.log_model(model, **place, signature=signature, **pins("tensorflow-cpu", "keras"))
    return info, lambda loaded: tensor_cases(loaded, "", array)


FLAVORS = {
    each.__name__: each for each in (sklearn, xgboost, lightgbm, code_paths, params, onnx, statsmodels, pytorch, keras)
}


def main(folder, names):
    os.chdir(folder)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    for name in names:
        with mlflow.start_run():
            info, cases = FLAVORS[name]({"name": "model"} if MAJOR > 2 else {"artifact_path": "model"})
        os.makedirs(name + "/download")
        path = mlflow.artifacts.download_artifacts(artifact_uri=info.model_uri, dst_path=name + "/download")
        os.rename(path, name + "/model")  # MLflow 2 gives back a folder in it, MLflow 3 the files themselves
        with open(name + "/cases.json", "w") as file:
            json.dump(cases(mlflow.pyfunc.load_model(info.model_uri)), file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
