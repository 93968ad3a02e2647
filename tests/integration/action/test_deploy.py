"""The main job as a workflow step sees it, on the local target: every verb, its outputs, and what is left."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.integration.action.conftest import Ended, Step, Tracking, command_line, on_a_used_machine, predict
from tests.runner_files import parse_workflow_commands

CANARIES = {
    "client-secret": "canary-one-8f3a",
    "github-token": "canary-two-77bd",
    "environment": "canary-three-5c1e",
}


def test_deploy__every_verb_in_turn__does_what_the_readme_says(step: Step, tracking: Tracking) -> None:
    first = step.run(command="deploy", run_id=tracking.runs["plus-1"], service_name="adder")
    assert first.exit_code == 0, first.log
    assert (first.outputs["status"], first.outputs["changed"], first.outputs["deployment-name"]) == (
        "healthy",
        "true",
        "g1",
    )
    uri = first.outputs["scoring-uri"]
    assert predict(uri) == [2.0]
    assert uri in first.summary
    assert "Content-Type: application/json" in first.summary
    assert [each["what"] for each in first.result["mutations"]] == ["created", "gave all traffic to"]  # type: ignore[attr-defined]

    again = step.run(command="deploy", run_id=tracking.runs["plus-1"], service_name="adder")
    assert (again.outputs["status"], again.outputs["changed"], again.outputs["scoring-uri"]) == (
        "unchanged",
        "false",
        uri,
    )

    # An index that cannot be reached: only the lock that the first deploy left with the run can serve now.
    step.environ["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    kept = step.run(command="deploy", run_id=tracking.runs["plus-1"], service_name="another", dry_run="true")
    assert (kept.exit_code, kept.outputs["status"]) == (0, "planned"), kept.log
    del step.environ["UV_DEFAULT_INDEX"]

    second = step.run(command="deploy", run_id=tracking.runs["plus-2"], service_name="adder")
    assert second.exit_code == 0, second.log
    assert (second.outputs["status"], second.outputs["scoring-uri"]) == ("healthy", uri)
    assert predict(uri) == [3.0]

    status = step.run(command="status", service_name="adder")
    assert (status.exit_code, status.outputs["status"], status.outputs["deployment-name"]) == (0, "healthy", "g2")

    request = step.workspace / "request.json"
    request.write_text(json.dumps({"input_data": {"columns": ["x"], "data": [[40.0]]}}))
    invoked = step.run(command="invoke", service_name="adder", request_file="request.json")
    assert invoked.outputs["status"] == "invoked"
    assert "42.0" in invoked.log
    typed = command_line(step.workspace, ["invoke", "--service-name", "adder", "--request-file", "request.json"])
    assert (typed.returncode, typed.stdout) == (0, "[42.0]"), "what `jq` reads is the answer alone"
    assert "HTTP 200" in typed.stderr

    back = step.run(command="rollback", service_name="adder")
    assert (back.exit_code, back.outputs["status"], back.outputs["scoring-uri"]) == (0, "rolled-back", uri), back.log
    assert predict(uri) == [2.0]

    gone = step.run(command="cleanup", service_name="adder")
    assert (gone.exit_code, gone.outputs["status"]) == (0, "deleted")
    assert step.folders("services") == []
    twice = step.run(command="cleanup", service_name="adder")
    assert (twice.exit_code, twice.outputs["status"], twice.outputs["changed"]) == (0, "absent", "false")
    absent = step.run(command="status", service_name="adder")
    assert (absent.exit_code, absent.outputs["status"]) == (4, "absent")


def test_deploy__without_waiting__is_taken_to_its_end_by_a_later_status(step: Step, tracking: Tracking) -> None:
    begun = step.run(command="deploy", run_id=tracking.runs["plus-1"], service_name="adder", wait="false")
    assert (begun.exit_code, begun.outputs["status"]) == (0, "creating"), begun.log
    assert step.run(command="status", service_name="adder").outputs["status"] == "creating"
    ended = step.run(command="status", service_name="adder", wait="true")
    assert (ended.exit_code, ended.outputs["status"], ended.outputs["changed"]) == (0, "healthy", "true"), ended.log
    assert predict(ended.outputs["scoring-uri"]) == [2.0]


def test_deploy__dry_run__prints_the_plan_and_makes_nothing(step: Step, tracking: Tracking) -> None:
    ended = step.run(run_id=tracking.runs["plus-1"], service_name="adder", dry_run="true")
    assert (ended.exit_code, ended.outputs["status"]) == (0, "planned"), ended.log
    assert 'give all traffic of service "adder" to deployment "g1"' in ended.log
    assert step.folders("services") == step.folders("models") == step.folders("environments") == []


def test_doctor__good_model__passes_and_makes_nothing(step: Step, tracking: Tracking) -> None:
    ended = step.run(command="doctor", run_id=tracking.runs["plus-1"])
    assert (ended.exit_code, ended.outputs["status"]) == (0, "passed"), ended.log
    assert step.folders("services") == step.folders("models") == step.folders("environments") == []


def test_deploy__terminated_in_its_wait__says_what_was_left_and_a_rerun_converges(
    later_step: Step, tracking: Tracking
) -> None:
    process = later_step.start(run_id=tracking.runs["plus-1"], service_name="adder")
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "creating" in line:
            process.send_signal(signal.SIGTERM)
            break
    ended = later_step.finish(process)
    assert (ended.exit_code, ended.outputs["status"]) == (130, "cancelled"), seen + ended.log
    assert ended.outputs["service-name"] == "adder"
    again = later_step.run(run_id=tracking.runs["plus-1"], service_name="adder")
    assert (again.exit_code, again.outputs["status"]) == (0, "healthy"), again.log
    assert predict(again.outputs["scoring-uri"]) == [2.0]


def test_deploy__killed_in_its_wait__a_rerun_converges_to_one_deployment(later_step: Step, tracking: Tracking) -> None:
    process = later_step.start(run_id=tracking.runs["plus-1"], service_name="adder")
    assert process.stdout is not None
    for line in process.stdout:
        if "creating" in line:
            process.kill()
            break
    later_step.finish(process)
    again = later_step.run(run_id=tracking.runs["plus-1"], service_name="adder")
    assert (again.exit_code, again.outputs["status"]) == (0, "healthy"), again.log
    deployments = again.result["service"]["deployments"] if "service" in again.result else None  # type: ignore[call-overload]
    folders = [each.name for each in (later_step.workspace / "home" / "services" / "adder").iterdir() if each.is_dir()]
    assert len(folders) == 1, (folders, deployments)


def test_deploy__two_first_deploys_at_once__one_serves_and_the_other_blames_it(
    later_step: Step, tracking: Tracking, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Step(tmp_path_factory.mktemp("other"), tracking.uri, {"MLAZ_HOME": str(later_step.workspace / "home")})
    steps = (later_step, other)
    processes = [
        each.start(run_id=tracking.runs[run], service_name="adder")
        for each, run in zip(steps, ("plus-1", "plus-2"), strict=True)
    ]
    ended = [each.finish(process) for each, process in zip(steps, processes, strict=True)]
    won = [each for each in ended if each.exit_code == 0]
    lost = [each for each in ended if each.exit_code != 0]
    assert won, [each.log for each in ended]
    assert [each.outputs["error-kind"] for each in lost] in ([], ["service-busy"]), [each.log for each in lost]
    assert predict(won[-1].outputs["scoring-uri"]) in ([2.0], [3.0])


@dataclass(frozen=True)
class Deployed:
    """A service `one`, deployed by a step that was given secrets."""

    step: Step
    ended: Ended


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, tracking: Tracking) -> Iterator[Deployed]:
    step = on_a_used_machine(tmp_path_factory.mktemp("deployed"), tracking)
    step.environ["SOME_TOKEN"] = CANARIES["environment"]
    ids = {"client_id": "5a1c2b3d-0000-4000-8000-000000000001", "tenant_id": "5a1c2b3d-0000-4000-8000-000000000002"}
    secrets = {"client_secret": CANARIES["client-secret"], "github_token": CANARIES["github-token"]}
    ended = step.run(run_id=tracking.runs["plus-1"], service_name="one", **ids, **secrets)
    assert ended.exit_code == 0, ended.log
    yield Deployed(step, ended)
    step.clean_up()


def test_deploy__no_secret_of_the_step__is_in_any_byte_it_leaves(deployed: Deployed) -> None:
    ended, workspace = deployed.ended, deployed.step.workspace
    masked = {command.data for command in parse_workflow_commands(ended.log) if command.name == "add-mask"}
    assert {CANARIES["client-secret"], CANARIES["github-token"]} <= masked
    said = "\n".join(line for line in ended.log.splitlines() if not line.startswith("::add-mask::"))
    written = [said, ended.summary, *ended.outputs.values()]
    written += [each.read_text(errors="replace") for each in _files(workspace / "home" / "services")]
    for canary in CANARIES.values():
        assert not any(canary in text for text in written)
    environment = b"".join(each.read_bytes() for each in _environments(workspace))
    assert b"canary" not in environment
    assert b"AZUREML_MODEL_DIR" in environment


class _Spy:
    """Loading its pickle looks for secrets wherever a process of this user may look, and ends the start."""

    def __init__(self, report: Path) -> None:
        self.report = report

    def __reduce__(self) -> tuple[object, tuple[str]]:
        code = f"""
import glob, pathlib
seen = []
for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
    try:
        seen.append((path, pathlib.Path(path).read_bytes().decode(errors="replace")))
    except OSError:
        pass
pathlib.Path({str(self.report)!r}).write_text(repr([each for each in seen if "canary" in each[1]]))
print("::set-output name=status::healthy")
raise RuntimeError("enough seen\\n::error::from the model")
"""
        return exec, (code,)


def test_deploy__pickle_that_looks_for_secrets__finds_none_and_commands_nothing(
    later_step: Step, tracking: Tracking
) -> None:
    report = later_step.workspace / "seen.txt"
    tracking.copy_model(later_step.workspace / "model", pickled=pickle.dumps(_Spy(report)))
    later_step.environ["SOME_TOKEN"] = CANARIES["environment"]
    ids = {"client_id": "5a1c2b3d-0000-4000-8000-000000000001", "tenant_id": "5a1c2b3d-0000-4000-8000-000000000002"}
    secrets = {"client_secret": CANARIES["client-secret"], "github_token": CANARIES["github-token"]}
    ended = later_step.run(service_name="spy", model_uri="model", **ids, **secrets)
    assert (ended.exit_code, ended.outputs["error-kind"]) == (6, "service-start-failed"), ended.log
    assert "RuntimeError: enough seen" in ended.log
    assert report.read_text() == "[]"
    commands = {command.name for command in parse_workflow_commands(ended.log)}
    assert commands <= {"add-mask", "group", "endgroup", "warning", "error"}
    errors = [each.data for each in parse_workflow_commands(ended.log) if each.name == "error"]
    assert len(errors) == 1


def test_deploy__a_second_service__lives_beside_the_first_and_is_its_owners_alone(
    deployed: Deployed, tracking: Tracking
) -> None:
    step, one = deployed.step, deployed.ended.outputs["scoring-uri"]
    two = step.run(run_id=tracking.runs["plus-2"], service_name="two").outputs["scoring-uri"]
    assert (predict(one), predict(two)) == ([2.0], [3.0])

    stranger = replace(step, environ={**step.environ, "GITHUB_REPOSITORY_ID": "43"})
    for command in ("deploy", "cleanup"):
        refused = stranger.run(command=command, run_id=tracking.runs["plus-1"], service_name="two")
        assert (refused.exit_code, refused.outputs["error-kind"]) == (5, "not-ours"), refused.log
    assert (predict(one), predict(two)) == ([2.0], [3.0])

    taken = stranger.run(command="cleanup", service_name="two", take_over="two")
    assert taken.outputs["status"] == "deleted"
    assert predict(one) == [2.0]


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]


def _environments(workspace: Path) -> list[Path]:
    """/proc/<pid>/environ of every process of the service."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(workspace).encode() in (entry / "cmdline").read_bytes():
                found.append(entry / "environ")
        except OSError:
            continue
    return found


def test_redeploy__new_model_cannot_be_loaded__the_live_one_serves_on_and_nothing_of_the_new_one_stays(
    later_step: Step, tracking: Tracking
) -> None:
    tracking.copy_model(later_step.workspace / "broken", pickled=b"not a pickle")
    alone = later_step.run(model_uri="broken", service_name="adder")
    assert (alone.exit_code, alone.outputs["error-kind"]) == (6, "service-start-failed"), alone.log
    assert later_step.folders("services") == []
    first = later_step.run(run_id=tracking.runs["plus-1"], service_name="adder")
    assert first.exit_code == 0, first.log
    failed = later_step.run(model_uri="broken", service_name="adder")
    assert (failed.exit_code, failed.outputs["error-kind"]) == (6, "service-start-failed"), failed.log
    assert predict(first.outputs["scoring-uri"]) == [2.0]
    status = later_step.run(command="status", service_name="adder")
    assert (status.exit_code, status.outputs["deployment-name"]) == (0, "g1")
    folder = later_step.workspace / "home" / "services" / "adder"
    assert [each.name for each in folder.iterdir() if each.is_dir()] == ["g1"]


def test_invoke__service_that_died__is_the_services_failure_and_says_what_to_do(
    later_step: Step, tracking: Tracking
) -> None:
    deployed = later_step.run(run_id=tracking.runs["plus-1"], service_name="adder")
    assert deployed.exit_code == 0, deployed.log
    process = json.loads(
        (later_step.workspace / "home" / "services" / "adder" / "g1" / "run" / "process.json").read_text()
    )
    os.killpg(process["pid"], signal.SIGKILL)
    (later_step.workspace / "request.json").write_text(json.dumps({"input_data": {"columns": ["x"], "data": [[1.0]]}}))
    ended = later_step.run(command="invoke", service_name="adder", request_file="request.json")
    assert (ended.exit_code, ended.outputs["error-kind"]) == (6, "service-not-running"), ended.log
    assert "was killed" in ended.log
    assert "starts it" in ended.log
    absent = later_step.run(command="invoke", service_name="nobody", request_file="request.json")
    assert (absent.exit_code, absent.outputs["error-kind"]) == (4, "service-not-found"), absent.log
