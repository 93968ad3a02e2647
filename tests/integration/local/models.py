"""Logs the models of these tests, in the environment that serves them: `python models.py FOLDER`."""

import os
import sys
import time
from pathlib import Path

import mlflow.pyfunc
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

SIGNATURE = ModelSignature(inputs=Schema([ColSpec("double", "x")]))


class Named(mlflow.pyfunc.PythonModel):
    """Answers its own name, so that a test knows who answered."""

    def __init__(self, name):
        self.name = name

    def predict(self, context, model_input, params=None):
        return [self.name] * len(model_input)


class Slow(Named):
    def predict(self, context, model_input, params=None):
        time.sleep(float(model_input["x"].iloc[0]))
        return super().predict(context, model_input, params)


class Broken(Named):
    """Fails to load in a service, and not where it is logged (older MLflow loads a model to log it)."""

    def load_context(self, context):
        if "AZUREML_MODEL_DIR" in os.environ:
            raise RuntimeError("the weights are of another shape")


class Hostile(Named):
    """Its unpickling writes down everything it can see."""

    def __reduce__(self):
        code = "import os, json, pathlib; pathlib.Path(os.environ['HOME'], 'seen.json').write_text(json.dumps(dict(os.environ)))"
        return (exec, (code,))


def main() -> None:
    folder = Path(sys.argv[1])
    models = {f"v{number}": Named(f"v{number}") for number in range(1, 5)}
    models.update(slow=Slow("slow"), broken=Broken("broken"), hostile=Hostile("hostile"))
    for name, model in models.items():
        mlflow.pyfunc.save_model(
            folder / name, python_model=model, signature=SIGNATURE, pip_requirements=["mlflow-skinny"]
        )


if __name__ == "__main__":
    main()
