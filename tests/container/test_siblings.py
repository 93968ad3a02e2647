"""The local target's sibling containers, driven from inside the action's container, on a real engine, with real models."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.container.checkout import CERTIFICATES, ask_from_host
from tests.container.runner import Job


def drive(job: Job, image: str, *arguments: str, **inputs: str) -> Any:
    result = job.run_step(
        image,
        inputs,
        env=CERTIFICATES,
        entrypoint="/opt/venv/bin/python",
        arguments=["-I", "/github/workspace/drive.py", *arguments],
        timeout_s=600,
    )
    assert result.exit_code == 0, result.explain()
    return json.loads(result.outputs["answer"])


@pytest.mark.parametrize("kind", ["job", "job_with_services"])
def test_find_own_container__as_the_runner_starts_it__is_us(
    kind: str, image: str, checkout: Path, request: pytest.FixtureRequest
) -> None:
    job: Job = request.getfixturevalue(kind)
    shutil.copytree(checkout, job.workspace, dirs_exist_ok=True)
    own = drive(job, image, "own")
    assert (
        own["image_id"].removeprefix("sha256:")
        == job.engine.podman("image", "inspect", "--format={{.Id}}", image).strip()
    )
    assert own["networks"] == [job.network or "mlaz-ci-tests"]
    assert ["/github/workspace", str(job.workspace)] in own["mounts"]


def test_sibling__deployed_redeployed_and_deleted__answers_the_host_on_one_uri(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    job = filled_job
    first = drive(job, image, "deploy", "g1", "v1")
    assert (first["verified"], first["answer"], first["spec_hash_is_ours"]) == (["v1"], ["v1"], True)
    assert first["services"] == ["churn"]
    uri = first["service"]["scoring_uri"]
    assert ask_from_host(uri) == ["v1"]

    second = drive(job, image, "deploy", "g2", "v2", **{"off-the-mounts": "true"})
    assert second["service"]["scoring_uri"] == uri
    assert (second["service"]["live"], second["service"]["previous"]) == ("g2", "g1")
    assert ask_from_host(uri) == ["v2"]

    assert drive(job, image, "delete") == {"deleted": True, "service": None, "services": []}
    assert drive(job, image, "delete")["deleted"] is False
    assert docker_client.containers.list(all=True) == []
    with pytest.raises(OSError, match="refused"):
        ask_from_host(uri)


def test_sibling__made__is_labelled_powerless_and_outlives_the_jobs_network(
    job_with_services: Job, checkout: Path, image: str, docker_client: docker.DockerClient
) -> None:
    job = job_with_services
    shutil.copytree(checkout, job.workspace, dirs_exist_ok=True)
    uri = drive(job, image, "deploy", "g1", "v1")["service"]["scoring_uri"]
    assert drive(job, image, "deploy", "g2", "v2")["service"]["scoring_uri"] == uri
    (sibling,) = docker_client.containers.list()
    assert sibling.labels["managed-by"] == "mlaz-ci"
    assert sibling.labels["mlaz-service"] == "churn"
    assert sibling.labels["team"] == "risk"
    assert {each["Destination"] for each in sibling.attrs["Mounts"]} == {"/var/lib/mlaz-ci"}
    bindings = sibling.attrs["HostConfig"]["PortBindings"].values()
    assert {each["HostIp"] for ports in bindings for each in ports} == {"127.0.0.1"}
    effective = sibling.exec_run(["/bin/grep", "CapEff", "/proc/self/status"]).output.split()[1]
    assert int(effective, 16) == 0
    assert not any(value in json.dumps(sibling.attrs) for value in ("runtime-token-of-the-job", "GITHUB_"))

    # As the runner does when the job ends, without force: it would fail if the sibling were on it.
    assert job.network is not None
    job.engine.podman("network", "rm", job.network)
    assert ask_from_host(uri) == ["v2"]


def test_sibling__model_that_does_not_load__is_failed_with_its_log(filled_job: Job, image: str) -> None:
    answer = drive(filled_job, image, "deploy", "g1", "broken")
    assert answer["state"] == "failed"
    assert "the weights are of another shape" in answer["log"]


def test_sibling__stopped_by_a_reboot__is_failed_and_serves_again_on_its_uri(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    uri = drive(filled_job, image, "deploy", "g1", "v1")["service"]["scoring_uri"]
    (sibling,) = docker_client.containers.list()
    sibling.kill()
    sibling.wait()

    told = drive(filled_job, image, "tell")
    assert told["service"]["state"] == "failed"
    assert told["service"]["detail"].startswith("its container is exited")

    again = drive(filled_job, image, "deploy", "g2", "v2")
    assert again["service"]["scoring_uri"] == uri
    assert ask_from_host(uri) == ["v2"]


def test_sibling__port_of_another_program__is_named(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = filled_job.run_step(
            image, {}, env=CERTIFICATES, entrypoint="/opt/venv/bin/python",
            arguments=["-I", "/github/workspace/drive.py", "deploy", "g1", "v1", str(port)],
        )  # fmt: skip
    assert result.exit_code != 0
    assert f"PortInUse: Port {port} is in use on the runner." in result.stderr
    assert "check_port" in result.stderr, "the traceback: before anything was built"
    assert docker_client.containers.list(all=True) == []
    told = drive(filled_job, image, "deploy", "g1", "v1", str(port))
    assert told["service"]["scoring_uri"] == f"http://127.0.0.1:{port}/score"


def test_sibling__name_taken_by_a_strangers_container__is_left_alone(
    filled_job: Job, image: str, docker_client: docker.DockerClient
) -> None:
    stranger = docker_client.containers.create(image, name="mlaz-churn")
    result = filled_job.run_step(
        image, {}, env=CERTIFICATES, entrypoint="/opt/venv/bin/python",
        arguments=["-I", "/github/workspace/drive.py", "deploy", "g1", "v1"],
    )  # fmt: skip
    assert "NotOurs: A container named mlaz-churn exists" in result.stderr
    assert [each.id for each in docker_client.containers.list(all=True)] == [stranger.id]
