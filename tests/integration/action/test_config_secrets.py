"""Secrets that stand in the config file, through the whole program: the runner is told of each before anything is printed, and no byte holds one."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from tests.integration.action.conftest import Ended, Step, Tracking

KEY = "canary-QZ7kp2"
PEM_LINE = "MIICanaryEvQIBADANBgkqhkiG9w0"
WORKSPACE = {
    "subscription-id": "8f0dd2b1-0a5e-4c3b-9c66-1b1f0f9f3b57",
    "resource-group": "g",
    "workspace-name": "work",
    "target": "aci",
}


def assert_hidden(step: Step, ended: Ended, secret: str) -> None:
    """It stands in the mask command alone, which comes first."""
    lines = ended.log.splitlines()
    holding = [number for number, line in enumerate(lines) if secret in line]
    assert [lines[number] for number in holding] == [f"::add-mask::{secret}"]
    assert all(line.startswith("::add-mask::") for line in lines[: holding[0]])
    for written in ("output", "summary"):
        assert secret not in (step.workspace / written).read_text()


@pytest.mark.parametrize(
    ("text", "inputs", "kind"),
    [
        (f"aci: {{primary_key: {KEY}}}\n", {}, ""),
        (f"aci:\n  primry_key: {KEY}\n", {}, "unknown-config-key"),
        (f"aci:\n  primary_key: [{KEY}]\n", {}, "invalid-config-file"),
        (f"aci:\n  primary_key: {KEY}\n  cpu_cores: {KEY}\n", {}, "invalid-config-file"),
        (f"managed:\n  endpoint: {{identity: {{type: {KEY}}}}}\naci: {{primary_key: {KEY}}}\n", {}, "invalid-config-file"),
        (f"managed:\n  deployment: {{environmentVariables: {{A_KEY: [{KEY}]}}}}\n", {}, "invalid-config-file"),
        (f"aci: {{primary_key: '{KEY}\n", {}, "invalid-config-file"),
        (f"client-secret: {KEY}\n", {}, "unknown-config-key"),
        (f"service-name: Not-{KEY}\naci: {{primary_key: {KEY}}}\n", {}, "invalid-input"),
        (f"aci: {{secondary_key: {KEY}}}\n", WORKSPACE, "invalid-config-file"),
        (f"tracking-uri: htps://me:{KEY}@host\n", {"tracking-uri": ""}, "invalid-input"),
    ],
    ids=lambda each: each[:28] if isinstance(each, str) else None,
)  # fmt: skip
def test_step__secret_in_the_config_file__is_masked_before_anything_is_said(
    step: Step, text: str, inputs: dict[str, str], kind: str
) -> None:
    (step.workspace / "mlaz-ci.yml").write_text(text)
    name = {} if "service-name" in text else {"service-name": "adder"}
    ended = step.run(command="status", **name, **inputs)
    assert ended.outputs.get("error-kind") == kind, ended.log
    assert_hidden(step, ended, KEY)


def test_step__key_of_tls__is_masked_in_its_file_and_where_it_is_pasted(step: Step) -> None:
    pem = f"-----BEGIN PRIVATE KEY-----\n{PEM_LINE}\n-----END PRIVATE KEY-----\n"
    (step.workspace / "tls.key").write_text(pem)
    section = "aci: {ssl_key_pem_file: tls.key, ssl_cert_pem_file: tls.pem, ssl_cname: churn.example.com}\n"
    for text in (section, "aci:\n  ssl_key_pem_file: |\n" + "".join(f"    {each}\n" for each in pem.splitlines())):
        (step.workspace / "mlaz-ci.yml").write_text(text)
        ended = step.run(command="status", service_name="adder")
        assert_hidden(step, ended, PEM_LINE)


class Teller:
    """Unpickled, it fails with a variable of its surroundings in the message."""

    def __reduce__(self) -> Any:
        return exec, ("import os\nraise RuntimeError('I am ' + os.environ['API_TOKEN'])",)


def test_step__model_that_tells_a_variable_of_the_config_file__tells_it_to_nobody(
    later_step: Step, tracking: Tracking
) -> None:
    tracking.copy_model(Path(later_step.workspace) / "model", pickled=pickle.dumps(Teller()))
    (later_step.workspace / "mlaz-ci.yml").write_text(f"environment-variables: {{API_TOKEN: {KEY}}}\n")
    ended = later_step.run(model_uri="model", service_name="adder")
    assert ended.outputs["error-kind"] == "service-start-failed", ended.log
    assert "I am ***" in ended.log
    assert_hidden(later_step, ended, KEY)
