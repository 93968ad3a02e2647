"""The main job as a workflow step sees it, on the local target: every verb, its outputs, and what is left."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.integration.action.conftest import Step, Tracking, predict
from tests.runner_files import parse_workflow_commands


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


def test_deploy__dry_run__prints_the_plan_and_makes_nothing(step: Step, tracking: Tracking) -> None:
    ended = step.run(run_id=tracking.runs["plus-1"], service_name="adder", dry_run="true")
    assert (ended.exit_code, ended.outputs["status"]) == (0, "planned"), ended.log
    assert 'give all traffic of service "adder" to deployment "g1"' in ended.log
    assert step.folders("services") == step.folders("models") == step.folders("environments") == []


def test_doctor__good_model__passes_and_makes_nothing(step: Step, tracking: Tracking) -> None:
    ended = step.run(command="doctor", run_id=tracking.runs["plus-1"])
    assert (ended.exit_code, ended.outputs["status"]) == (0, "passed"), ended.log
    assert step.folders("services") == step.folders("models") == step.folders("environments") == []


def test_deploy__second_of_the_same_run__reuses_the_lock_it_left(step: Step, tracking: Tracking) -> None:
    first = step.run(run_id=tracking.runs["plus-2"], service_name="one", dry_run="true", relock="true")
    step.run(run_id=tracking.runs["plus-2"], service_name="one")
    # An index that cannot be reached: only a lock that is kept with the run can serve now.
    step.environ["UV_DEFAULT_INDEX"] = "http://127.0.0.1:9/simple"
    second = step.run(run_id=tracking.runs["plus-2"], service_name="two", dry_run="true")
    assert (first.exit_code, second.exit_code) == (0, 0), second.log


def test_deploy__service_of_another_repository__is_refused_and_left_alone(step: Step, tracking: Tracking) -> None:
    uri = step.run(run_id=tracking.runs["plus-1"], service_name="adder").outputs["scoring-uri"]
    step.environ["GITHUB_REPOSITORY_ID"] = "43"
    for command in ("deploy", "cleanup"):
        refused = step.run(command=command, run_id=tracking.runs["plus-2"], service_name="adder")
        assert (refused.exit_code, refused.outputs["error-kind"]) == (5, "not-ours"), refused.log
    assert predict(uri) == [2.0]
    taken = step.run(command="cleanup", service_name="adder", take_over="adder")
    assert taken.outputs["status"] == "deleted"


def test_deploy__terminated_in_its_wait__says_what_was_left_and_a_rerun_converges(
    step: Step, tracking: Tracking
) -> None:
    process = step.start(run_id=tracking.runs["plus-1"], service_name="adder")
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if "creating" in line:
            process.send_signal(signal.SIGTERM)
            break
    ended = step.finish(process)
    assert (ended.exit_code, ended.outputs["status"]) == (130, "cancelled"), seen + ended.log
    assert ended.outputs["service-name"] == "adder"
    again = step.run(run_id=tracking.runs["plus-1"], service_name="adder")
    assert (again.exit_code, again.outputs["status"]) == (0, "healthy"), again.log
    assert predict(again.outputs["scoring-uri"]) == [2.0]


def test_deploy__killed_in_its_wait__a_rerun_converges_to_one_deployment(step: Step, tracking: Tracking) -> None:
    process = step.start(run_id=tracking.runs["plus-1"], service_name="adder")
    assert process.stdout is not None
    for line in process.stdout:
        if "creating" in line:
            process.kill()
            break
    step.finish(process)
    again = step.run(run_id=tracking.runs["plus-1"], service_name="adder")
    assert (again.exit_code, again.outputs["status"]) == (0, "healthy"), again.log
    deployments = again.result["service"]["deployments"] if "service" in again.result else None  # type: ignore[call-overload]
    folders = [each.name for each in (step.workspace / "home" / "services" / "adder").iterdir() if each.is_dir()]
    assert len(folders) == 1, (folders, deployments)


def test_deploy__two_services__live_side_by_side(step: Step, tracking: Tracking) -> None:
    one = step.run(run_id=tracking.runs["plus-1"], service_name="one").outputs["scoring-uri"]
    two = step.run(run_id=tracking.runs["plus-2"], service_name="two").outputs["scoring-uri"]
    assert (predict(one), predict(two)) == ([2.0], [3.0])
    step.run(command="cleanup", service_name="one")
    assert predict(two) == [3.0]


def test_deploy__no_secret_of_the_step__is_in_any_byte_it_leaves(step: Step, tracking: Tracking) -> None:
    canaries = {"client-secret": "canary-one-8f3a", "github-token": "canary-two-77bd"}
    step.environ["SOME_TOKEN"] = "canary-three-5c1e"
    inputs = {name.replace("-", "_"): value for name, value in canaries.items()}
    inputs |= {"client_id": "5a1c2b3d-0000-4000-8000-000000000001", "tenant_id": "5a1c2b3d-0000-4000-8000-000000000002"}
    ended = step.run(run_id=tracking.runs["plus-1"], service_name="adder", **inputs)
    assert ended.exit_code == 0, ended.log
    masked = {command.data for command in parse_workflow_commands(ended.log) if command.name == "add-mask"}
    assert set(canaries.values()) <= masked
    said = "\n".join(line for line in ended.log.splitlines() if not line.startswith("::add-mask::"))
    written = [said, ended.summary, *ended.outputs.values()]
    written += [each.read_text(errors="replace") for each in _files(step.workspace / "home" / "services")]
    for canary in (*canaries.values(), "canary-three-5c1e"):
        assert not any(canary in text for text in written)
    environment = b"".join(each.read_bytes() for each in _environments(step.workspace))
    assert b"canary" not in environment
    assert b"AZUREML_MODEL_DIR" in environment


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
