"""What a user gets wrong, through the whole program: the exit code, the message, and that nothing is left half-made."""

from __future__ import annotations

import importlib.util

import pytest

from tests.integration.action.conftest import Step, Tracking


@pytest.mark.parametrize(
    ("inputs", "exit_code", "kind", "said"),
    [
        ({"servicename": "adder"}, 2, "unknown-input", "service-name"),
        ({"command": "deplpoy"}, 2, "invalid-input", "deploy"),
        ({"target": "locla", "service-name": "adder"}, 2, "invalid-input", "local"),
        ({"command": "status", "target": "managed", "service-name": "adder"}, 2, "missing-input", "subscription-id"),
        ({"command": "sweep"}, 2, "not-in-this-version", "sweep"),
        ({"command": "promote", "service-name": "adder"}, 5, "no-canary", "target local"),
        ({"service-name": "Adder", "run-id": "0" * 32}, 2, "invalid-input", '"adder" would do'),
        ({"service-name": "a" * 33, "run-id": "0" * 32}, 2, "invalid-input", "3 to 32"),
        ({"service-name": "adder"}, 2, "missing-input", "run-id"),
        ({"service-name": "adder", "run-id": "0" * 32}, 4, "run-not-found", "0" * 32),
        ({"service-name": "adder", "model-uri": "models:/nobody/1"}, 4, "model-not-found", "nobody"),
        ({"service-name": "adder", "subscription-id": "8f0dd2b1-0a5e-4c3b-9c66-1b1f0f9f3b57", "resource-group": "g",
          "workspace-name": "work"}, 2, "target-not-chosen", "managed"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_step__bad_input__says_what_to_do_and_makes_nothing(
    step: Step, inputs: dict[str, str], exit_code: int, kind: str, said: str
) -> None:
    ended = step.run(**inputs)
    assert (ended.exit_code, ended.outputs.get("error-kind")) == (exit_code, kind), ended.log
    assert said in ended.log
    assert "Traceback" not in ended.log
    assert step.folders("services") == []


@pytest.mark.skipif(bool(importlib.util.find_spec("azure")), reason="the clients of Azure are installed here")
@pytest.mark.parametrize(("target", "package"), [("aci", "azure-identity"), ("managed", "azure-identity")])
def test_step__without_the_clients_of_azure__says_what_to_install(step: Step, target: str, package: str) -> None:
    workspace = {
        "subscription-id": "8f0dd2b1-0a5e-4c3b-9c66-1b1f0f9f3b57",
        "resource-group": "g",
        "workspace-name": "work",
    }
    ended = step.run(**{"command": "status", "target": target, "service-name": "adder", **workspace})
    assert (ended.exit_code, ended.outputs["error-kind"]) == (2, "client-not-installed"), ended.log
    assert package in ended.log
    assert "mlaz-ci[azure]" in ended.log


def test_step__path_without_a_model__lists_the_paths_that_hold_one(step: Step, tracking: Tracking) -> None:
    ended = step.run(service_name="adder", run_id=tracking.runs["plus-1"], model_path="modle")
    assert (ended.exit_code, ended.outputs["error-kind"]) == (4, "model-path-not-found")
    assert "model" in ended.log
    none = step.run(service_name="adder", run_id=tracking.runs["without-model"])
    assert (none.exit_code, none.outputs["error-kind"]) == (4, "model-path-not-found")


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("service-name: [", "invalid-config-file", "mlaz-ci.yml:1:"),
        ("servce-name: adder\n", "unknown-config-key", "service-name"),
        ("target: local\nlocal:\n  prot: 5\n", "unknown-config-key", "mlaz-ci.yml:3:3"),
        ("- a\n", "invalid-config-file", "mapping"),
    ],
    ids=["not-yaml", "typo", "nested-typo", "not-a-mapping"],
)  # fmt: skip
def test_step__bad_config_file__names_the_place(step: Step, text: str, kind: str, said: str) -> None:
    (step.workspace / "mlaz-ci.yml").write_text(text)
    ended = step.run(command="status")
    assert (ended.exit_code, ended.outputs["error-kind"]) == (2, kind), ended.log
    assert said in ended.log


@pytest.mark.parametrize("command", ["deploy", "doctor"])
def test_step__port_in_use__names_it_before_anything_is_built(step: Step, tracking: Tracking, command: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (step.workspace / "mlaz-ci.yml").write_text(f"local:\n  port: {port}\n")
        ended = step.run(command=command, service_name="adder", run_id=tracking.runs["plus-1"])
    assert (ended.exit_code, ended.outputs["error-kind"]) == (5, "port-in-use"), ended.log
    assert f"Port {port} is in use by " in ended.log
    assert step.folders("services") == step.folders("environments") == step.folders("models") == []


def test_step__python_that_cannot_be_had__says_which_are_here(step: Step, tracking: Tracking) -> None:
    model = step.workspace / "model"
    model.mkdir()
    (model / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.pyfunc.model\n    python_version: 3.7.16\n"
        "    env: {virtualenv: python_env.yaml}\nmlflow_version: 1.30.0\n"
    )
    (model / "requirements.txt").write_text("mlflow==1.30.0\n")
    ended = step.run(service_name="adder", model_uri="model", smoke_test="off")
    assert (ended.exit_code, ended.outputs["error-kind"]) == (2, "python-not-available"), ended.log
    assert "3.7" in ended.log
    assert step.folders("services") == step.folders("environments") == []


def test_step__model_without_pyfunc__names_the_flavors_it_has(step: Step) -> None:
    model = step.workspace / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors:\n  spark:\n    model_data: sparkml\nmlflow_version: 3.15.0\n")
    ended = step.run(service_name="adder", model_uri="model")
    assert (ended.exit_code, ended.outputs["error-kind"]) == (2, "model-not-servable"), ended.log
    assert "spark" in ended.log


def test_step__pickle_that_fails_to_load__shows_the_log_and_leaves_nothing(
    later_step: Step, tracking: Tracking
) -> None:
    tracking.copy_model(later_step.workspace / "model", pickled=b"not a pickle")
    ended = later_step.run(service_name="adder", model_uri="model")
    assert (ended.exit_code, ended.outputs["error-kind"]) == (6, "service-start-failed"), ended.log
    assert "UnpicklingError" in ended.log
    assert later_step.folders("services") == []


def test_step__mistyped_command__is_not_told_as_a_deploy(step: Step) -> None:
    ended = step.run(command="clenup", service_name="adder")
    assert 'failed: unknown command for service "adder"\n' in ended.log
    assert 'Did you mean "cleanup"?' in ended.log
    assert ended.outputs["command"] == ""


def test_step__fails_before_a_target_is_chosen__does_not_blame_another_one(step: Step) -> None:
    (step.workspace / "mlaz-ci.yml").write_text("target: managed\nmanaged: {deploymnt: {}}\n")
    ended = step.run(command="status", service_name="adder")
    assert ended.outputs["error-kind"] == "unknown-config-key"
    assert 'failed: status of service "adder"\n' in ended.log
    assert ended.result["target"] is None
