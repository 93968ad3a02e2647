"""Fills a tracking store with what a store can hold beside the ordinary, and tells what mlflow's own client (2.22 or 3.15) says of it.

Run as a script: `corners.py <tracking uri>`. Prints the ids as one line of JSON, then answers each line of stdin, [[name of a call, arguments], …].
"""

import json
import sys

import mlflow
from mlflow.exceptions import MissingConfigException, MlflowException
from mlflow.tracking import MlflowClient

MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND")


def make_runs(client):
    experiment = client.create_experiment("corners / é", tags={"a": "b"})
    runs = {}
    runs["finished"] = client.create_run(experiment).info.run_id
    for key, value in [("a/b c", "d\ne é"), ("empty", ""), ("long", "x" * 5000)]:
        client.set_tag(runs["finished"], key, value)
    client.set_terminated(runs["finished"])
    runs["running"] = client.create_run(experiment).info.run_id
    runs["failed"] = client.create_run(experiment).info.run_id
    client.set_terminated(runs["failed"], "FAILED")
    runs["deleted"] = client.create_run(experiment).info.run_id
    client.delete_run(runs["deleted"])
    gone = client.create_experiment("gone")
    runs["of a deleted experiment"] = client.create_run(gone).info.run_id
    client.delete_experiment(gone)
    return [experiment, gone], runs


def make_logged_models(client, experiment, runs):
    if not hasattr(client, "create_logged_model"):
        return []
    models = []
    for name, run in [("twin", "finished"), ("twin", "finished"), ("deleted", "finished"), ("other", "failed")]:
        models.append(client.create_logged_model(experiment, name, source_run_id=runs[run], tags={"k": "v"}).model_id)
    models.append(client.create_logged_model(experiment, "of no run").model_id)
    client.delete_logged_model(models[2])
    return models


def make_versions(client, runs, models):
    client.create_registered_model("empty")
    client.create_registered_model("with space é")
    for run, source in [
        (runs["finished"], "/somewhere/model"),
        (None, "s3://bucket/model"),
        (runs["failed"], "/somewhere/else"),
        (runs["failed"], "/somewhere/deleted"),
    ]:
        client.create_model_version("with space é", source, run)
    if models:
        client.create_model_version("with space é", f"models:/{models[0]}", runs["finished"], model_id=models[0])
    client.transition_model_version_stage("with space é", "2", "Production")
    client.set_registered_model_alias("with space é", "first", "1")
    client.set_registered_model_alias("with space é", "moved", "1")
    client.set_registered_model_alias("with space é", "moved", "2")
    client.set_registered_model_alias("with space é", "removed", "3")
    client.delete_registered_model_alias("with space é", "removed")
    client.delete_model_version("with space é", "4")
    client.create_registered_model("of ten")
    for number in range(1, 11):
        client.create_model_version("of ten", f"/somewhere/{number}")
    client.create_registered_model("deleted")
    client.create_model_version("deleted", "/somewhere/model")
    client.delete_registered_model("deleted")


def run(client, run_id):
    found = client.get_run(run_id)
    info = found.info
    return [
        info.run_id,
        str(info.experiment_id),
        info.artifact_uri,
        info.end_time,
        info.lifecycle_stage,
        found.data.tags,
    ]


def logged_model(client, model_id):
    if not hasattr(client, "get_logged_model"):
        return None
    return told_of(client.get_logged_model(model_id))


def logged_models(client, run_id):
    if not hasattr(client, "search_logged_models"):
        return []
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    return sorted(told_of(each) for each in found)


def told_of(model):
    return [model.model_id, model.name, model.artifact_location, model.source_run_id, model.creation_timestamp]


def version(client, name, number):
    return version_of(client.get_model_version(name, number))


def version_by_alias(client, name, alias):
    return version_of(client.get_model_version_by_alias(name, alias))


def version_of(found):
    return [found.name, str(found.version), found.run_id or None, getattr(found, "model_id", None) or None]


def latest_version(client, name):
    found = client.get_latest_versions(name)
    return version_of(max(found, key=lambda each: int(each.version))) if found else None


def version_location(client, name, number):
    return client.get_model_version_download_uri(name, number)


def experiment_name(client, experiment_id):
    return client.get_experiment(experiment_id).name


def ask(client, name, arguments):
    try:
        return globals()[name](client, *arguments)
    except MissingConfigException:
        return None  # mlflow 2 takes any folder of an experiment for a run
    except MlflowException as error:
        if error.error_code not in MISSING:
            raise
        return None


def main(tracking_uri):
    mlflow.set_tracking_uri(tracking_uri)
    client = MlflowClient()
    experiments, runs = make_runs(client)
    models = make_logged_models(client, experiments[0], runs)
    make_versions(client, runs, models)
    print(json.dumps({"experiments": ["0", *experiments], "runs": runs, "models": models}), flush=True)
    for line in sys.stdin:
        print(json.dumps([ask(client, *question) for question in json.loads(line)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
