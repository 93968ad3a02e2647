"""What reaches the action's process, and what the image is made of. The entry point is a probe; the rest of the image is ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.container.conftest import REPOSITORY
from tests.container.engine import Engine, wait_until
from tests.container.runner import Job

PROBE = "localhost/mlaz-ci-probe:test"
SIZE_LIMIT_BYTES = 110_000_000


@pytest.fixture(scope="session")
def probe(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Our Dockerfile and lock with probe.py in the place of entrypoint.py."""
    context = tmp_path_factory.mktemp("probe")
    for folder in ("requirements", "scripts"):
        (context / folder).mkdir()
    (context / "mlaz_ci").mkdir()
    (context / "mlaz_ci" / "__init__.py").touch()
    shutil.copy2(REPOSITORY / "requirements" / "image.txt", context / "requirements")
    shutil.copy2(REPOSITORY / "scripts" / "compile_imported.py", context / "scripts")
    shutil.copy2(REPOSITORY / "Dockerfile", context)
    shutil.copy2(Path(__file__).with_name("probe.py"), context / "entrypoint.py")
    engine.build(context, tag=PROBE, arguments={"BASE_IMAGE": base_image})
    return PROBE


def told(job: Job, image: str, **given: Any) -> dict[str, Any]:
    result = job.run_step(image, {"do-this": "tell", **given.pop("inputs", {})}, **given)
    assert result.exit_code == 0, result.explain()
    facts: dict[str, Any] = json.loads(result.outputs["facts"])
    return facts


def test_step__inputs_with_dashes_spaces_and_newlines__arrive_unchanged(job: Job, probe: str) -> None:
    inputs = {"model-path": "a b", "Some Input": "line\nline\r\n$HOME `id` \"'\\", "empty": ""}
    environment = told(job, probe, inputs=inputs)["environment"]
    assert environment["INPUT_MODEL-PATH"] == "a b"
    assert environment["INPUT_SOME_INPUT"] == inputs["Some Input"]
    assert environment["INPUT_EMPTY"] == ""


def test_step__files_and_folders__are_those_of_the_runner(job: Job, probe: str) -> None:
    result = job.run_step(probe, {"do-this": "tell"})
    facts = json.loads(result.outputs["facts"])
    environment = facts["environment"]
    assert facts["working_directory"] == environment["GITHUB_WORKSPACE"] == "/github/workspace"
    assert environment["HOME"] == "/github/home"
    assert environment["RUNNER_TEMP"] == "/github/runner_temp"
    assert environment["GITHUB_OUTPUT"].startswith("/github/file_commands/set_output_")
    assert environment["GITHUB_EVENT_PATH"] == "/github/workflow/event.json"
    assert result.summary == "# Told\n"
    assert [each.data for each in result.commands if each.properties.get("title") == "probe"] == ["told"]
    assert (job.workspace / "written-by-the-step").read_text() == "here\n"


def test_step__hostile_environment_of_the_job__does_not_decide_what_runs(job: Job, probe: str) -> None:
    trap = "raise SystemExit('the workspace was imported')\n"
    job.workspace.mkdir(parents=True)
    for module in ("json.py", "docker.py", "sitecustomize.py", "usercustomize.py"):
        (job.workspace / module).write_text(trap)
    hostile = {
        "PATH": "utter-nonsense",
        "HOME": "/nowhere",
        "PYTHONPATH": "/github/workspace",
        "PYTHONHOME": "/github/workspace",
        "PYTHONSTARTUP": "/github/workspace/json.py",
        "PYTHONUNBUFFERED": "",
        "LD_LIBRARY_PATH": "/opt/hostedtoolcache/Python/3.11.9/x64/lib",
    }
    facts = told(job, probe, env=hostile)
    assert facts["environment"]["PATH"] == "utter-nonsense"
    assert facts["environment"]["HOME"] == "/github/home"
    assert "/github/workspace" not in facts["import_path"]
    assert "/app" in facts["import_path"]
    assert facts["unbuffered"] is True


def test_step__entry_point__is_process_1_and_root_without_a_shell(job: Job, probe: str) -> None:
    facts = told(job, probe, arguments=["--flag", "two words"])
    assert facts["process_id"] == 1
    assert facts["parents_command"][0] == "/opt/venv/bin/python"
    assert facts["arguments"] == ["/app/entrypoint.py", "--flag", "two words"]
    assert facts["user_id"] == 0


def test_step__cancelled__gets_sigterm_and_its_outputs_are_kept(job: Job, probe: str) -> None:
    step = job.start_step(probe, {"do-this": "wait"})
    wait_until(lambda: "ready" in step.stdout, "the probe to be ready", timeout_s=60)
    result = step.cancel()
    assert result.exit_code == 130, result.explain()
    assert result.outputs == {"signal": "SIGTERM"}


@pytest.mark.parametrize("with_socket", [True, False])
def test_step__docker_socket__is_there_as_mounted(job: Job, probe: str, with_socket: bool) -> None:
    assert told(job, probe, with_socket=with_socket)["socket"] is with_socket


def test_image__configuration__is_what_a_container_action_needs(engine: Engine, probe: str) -> None:
    config = engine.image_config(probe)
    assert config["Entrypoint"] == ["/opt/venv/bin/python", "-I", "-u", "/app/entrypoint.py"]
    assert not config.get("User")
    assert not config.get("WorkingDir") or config["WorkingDir"] == "/"
    labels = config["Labels"]
    assert isinstance(labels, dict)
    assert {
        "org.opencontainers.image.title",
        "org.opencontainers.image.source",
        "org.opencontainers.image.licenses",
    } <= labels.keys()


def test_image__environment__imports_what_the_action_imports_and_holds_no_installer(job: Job, probe: str) -> None:
    script = "import azure.identity, azureml.core.model, azureml.core.webservice, azureml.core.compute, docker, mlflow, yaml; import importlib.util as u; print([n for n in ('pip', 'setuptools', 'numpy', 'pandas') if u.find_spec(n)])"
    assert (
        job.engine.podman("run", "--rm", "--entrypoint=/opt/venv/bin/python", probe, "-I", "-c", script).strip() == "[]"
    )
    assert job.engine.podman("run", "--rm", "--entrypoint=/opt/venv/bin/uv", probe, "--version").startswith("uv ")


def test_image__compressed__is_within_its_budget(
    engine: Engine, probe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # The quickest compression first: what is small enough with it is so with a registry's, which takes four times as long.
    size = compressed_size(engine, probe, level=1)
    if size > SIZE_LIMIT_BYTES:
        size = compressed_size(engine, probe, level=6)
    with capsys.disabled():
        print(f"\nimage, compressed: at most {size / 1e6:.1f} MB of {SIZE_LIMIT_BYTES / 1e6:.0f} MB")
    assert size <= SIZE_LIMIT_BYTES


def compressed_size(engine: Engine, image: str, *, level: int) -> int:
    with subprocess.Popen(["podman", "save", image], env=dict(engine.environ), stdout=subprocess.PIPE) as save:
        packed = subprocess.run(["gzip", f"-{level}", "-c"], stdin=save.stdout, capture_output=True, check=True)
    return len(packed.stdout)
