"""Trains a model on scikit-learn's diabetes data, logs it to a local MLflow store, and prints the run id as its last line."""

from __future__ import annotations

import sys

import mlflow
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor


def main(tracking_uri: str) -> None:
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_experiment("diabetes")
    features, target = load_diabetes(return_X_y=True, as_frame=True)
    with mlflow.start_run() as run:
        model = RandomForestRegressor(n_estimators=50, random_state=0).fit(features, target)
        mlflow.log_metric("r2", model.score(features, target))
        signature = mlflow.models.infer_signature(features, model.predict(features))
        mlflow.sklearn.log_model(
            model, name="model", signature=signature, input_example=features.head(3), serialization_format="cloudpickle"
        )
    print(run.info.run_id)


if __name__ == "__main__":
    main(sys.argv[1])
