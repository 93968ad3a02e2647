"""The action as a workflow uses it: the image, started as GitHub's runner starts it, judged by what the runner and later steps see."""

from __future__ import annotations

import json
from collections.abc import Mapping

import docker
import pytest

from tests.container.checkout import CERTIFICATES, ask_from_host
from tests.container.engine import wait_until
from tests.container.runner import Job, StepResult

SERVICE = {"service-name": "churn"}
DEPLOY = {**SERVICE, "model-uri": "models/v1"}
# What a job can leave in the environment of its steps, meant for the runner and not for the container.
HOSTILE = {
    "PATH": "utter-nonsense",
    "HOME": "/nowhere",
    "PYTHONPATH": ".",
    "PYTHONHOME": "/nowhere",
    "DOCKER_HOST": "unix:///run/user/1001/docker.sock",
}


def run(job: Job, image: str, inputs: Mapping[str, str], *, with_socket: bool = True) -> StepResult:
    (job.workspace / "yaml.py").write_text("raise SystemExit('a module of the workspace was imported')\n")
    return job.run_step(image, inputs, env={**CERTIFICATES, **HOSTILE}, with_socket=with_socket, timeout_s=600)


def succeeded(result: StepResult) -> StepResult:
    assert result.exit_code == 0, result.explain()
    return result


def test_action__deployed__serves_later_steps_until_it_is_cleaned_up(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    deployed = succeeded(run(filled_job, image, DEPLOY))
    assert deployed.outputs["status"] == "healthy"
    assert deployed.outputs["service-name"] == "churn"
    assert json.loads(deployed.outputs["result"])["smoke_test"]["status_code"] == 200
    assert "churn" in deployed.summary
    uri = deployed.outputs["scoring-uri"]
    assert ask_from_host(uri) == ["v1"]

    again = succeeded(run(filled_job, image, DEPLOY))
    assert (again.outputs["status"], again.outputs["changed"]) == ("unchanged", "false")

    other = succeeded(run(filled_job, image, {**SERVICE, "model-uri": "models/v2"}))
    assert (other.outputs["status"], other.outputs["scoring-uri"]) == ("healthy", uri)
    assert ask_from_host(uri) == ["v2"]

    invoked = succeeded(run(filled_job, image, {**SERVICE, "command": "invoke", "request-file": "request.json"}))
    assert "v2" in invoked.stdout
    assert succeeded(run(filled_job, image, {**SERVICE, "command": "status"})).outputs["status"] == "healthy"

    cleaned = succeeded(run(filled_job, image, {**SERVICE, "command": "cleanup"}))
    assert cleaned.outputs["status"] == "deleted"
    assert docker_client.containers.list(all=True) == []
    assert succeeded(run(filled_job, image, {**SERVICE, "command": "cleanup"})).outputs["status"] == "absent"


def test_action__without_the_socket__verifies_stops_and_says_so(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    result = succeeded(run(filled_job, image, DEPLOY, with_socket=False))
    assert result.outputs["status"] == "healthy"
    assert result.outputs.get("scoring-uri", "") == ""
    assert json.loads(result.outputs["result"])["smoke_test"]["status_code"] == 200
    assert "without the Docker socket" in result.stdout
    assert "without the Docker socket" in result.summary
    assert docker_client.containers.list(all=True) == []


def test_action__cancelled_while_it_starts__says_so_and_the_next_run_ends_with_one_service(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    step = filled_job.start_step(image, DEPLOY, env=CERTIFICATES)
    wait_until(lambda: "loading the model" in step.stdout, "the service to start", timeout_s=300)
    cancelled = step.cancel(patience=6)
    assert cancelled.exit_code == 130, cancelled.explain()
    assert cancelled.outputs["service-name"] == "churn"
    assert cancelled.outputs["status"] == "cancelled"

    deployed = succeeded(run(filled_job, image, DEPLOY))
    assert ask_from_host(deployed.outputs["scoring-uri"]) == ["v1"]
    assert [each.labels["mlaz-service"] for each in docker_client.containers.list(all=True)] == ["churn"]


@pytest.mark.parametrize(
    ("inputs", "refused"),
    [
        pytest.param({**DEPLOY, "modle-path": "x"}, (2, "modle-path"), id="an input that does not exist"),
        pytest.param({**DEPLOY, "service-name": "Not_A_Name"}, (2, "service-name"), id="a bad name"),
        pytest.param({**DEPLOY, "model-uri": "models/absent"}, (4, "absent"), id="a model that is not there"),
    ],
)
def test_action__input_that_cannot_be__is_refused_with_an_annotation_and_nothing_made(
    filled_job: Job,
    image: str,
    docker_client: docker.DockerClient,
    inputs: Mapping[str, str],
    refused: tuple[int, str],
) -> None:
    exit_code, words = refused
    result = run(filled_job, image, inputs)
    assert result.exit_code == exit_code, result.explain()
    (error,) = [each for each in result.commands if each.name == "error"]
    assert words in error.data
    assert result.outputs["status"] == "failed"
    assert result.outputs["error-kind"] != ""
    assert docker_client.containers.list(all=True) == []


def test_action__model_that_does_not_load__is_red_with_the_models_own_words_and_nothing_left(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    result = run(filled_job, image, {**SERVICE, "model-uri": "models/broken"})
    assert result.exit_code == 6, result.explain()
    assert "the weights are of another shape" in result.stdout
    assert docker_client.containers.list(all=True) == []


def test_action__any_output__never_shows_the_jobs_token(filled_job: Job, image: str) -> None:
    result = run(filled_job, image, {**SERVICE, "command": "status"})
    shown = result.stdout + result.stderr + result.summary + json.dumps(dict(result.outputs))
    assert "runtime-token-of-the-job" not in shown
