"""The other two doors, the command line and Python: the same words, and the same errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlaz_ci import cleanup, deploy
from mlaz_ci.errors import FileNotFound, InvalidInput, UnknownInput
from mlaz_ci.models import Status
from tests.fakes.platform import RecordingPlatform
from tests.integration.action.conftest import Step, Tracking, command_line


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        ([], 0, "cleanup"),
        (["deploy", "--help"], 0, "--run-id"),
        (["--version"], 0, "mlaz-ci "),
        (["cleanup", "--service-nam", "churn"], 2, "service-name"),
        (["clenup"], 2, "cleanup"),
        (["status", "abc"], 2, "failed: status"),
        (["deploy", "--client-secret", "hunter2-on-the-line"], 2, "MLAZ_CLIENT_SECRET"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_command_line__any_words__are_answered(tmp_path: Path, arguments: list[str], exit_code: int, said: str) -> None:
    ended = command_line(tmp_path, arguments, MLAZ_CREDS="hunter2-not-json")
    assert ended.returncode == exit_code, ended.stderr
    assert said in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr


def test_command_line__stdout_is_full__exit_code_stands(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        ended = command_line(tmp_path, ["--help"], full.fileno())
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr


def test_step__input_is_mistyped__is_reported_under_its_own_command_and_no_secret_is_said(step: Step) -> None:
    ended = step.run(command="cleanup", servicename="adder", github_token="canary-token")
    assert ended.outputs["command"] == "cleanup"
    said = [line for line in ended.log.splitlines() if not line.startswith("::add-mask::")]
    assert "canary-token" not in "\n".join(said)


def test_api__absent_service__is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAZ_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert cleanup(service_name="churn").status is Status.ABSENT


def test_api__whatever_happens__prints_nothing_and_logs_without_secrets(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    tracking: Tracking,
) -> None:
    monkeypatch.setenv("MLAZ_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlaz-ci.yml").write_text("aci: {primary_key: canary-5f}\ndescription: of canary-5f\n")
    with caplog.at_level("DEBUG", logger="mlaz_ci"):
        planned = deploy(
            service_name="adder", run_id=tracking.runs["plus-1"], tracking_uri=tracking.uri, auth=None, dry_run=True
        )
    assert planned.status is Status.PLANNED
    assert capfd.readouterr() == ("", "")
    assert any("Model:" in each.message for each in caplog.records)
    assert any("`description`" in each.message and each.levelname == "WARNING" for each in caplog.records)
    assert "canary-5f" not in caplog.text


def test_api__program_without_any_logging__sees_not_a_byte_of_a_warning(tmp_path: Path) -> None:
    (tmp_path / "mlaz-ci.yml").write_text("description: of no use here\n")
    ended = subprocess.run(
        [sys.executable, "-c", "import mlaz_ci; mlaz_ci.cleanup(service_name='churn')"],
        cwd=tmp_path,
        env={**os.environ, "MLAZ_HOME": str(tmp_path / "home")},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert (ended.stdout, ended.stderr) == (b"", b"")


def test_api__platform_is_given__is_told_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAZ_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlaz-ci.yml").write_text("aci: {primary_key: canary-5f}\n")
    platform = RecordingPlatform()
    assert cleanup(service_name="churn", platform=platform).status is Status.ABSENT
    platform.info("it is canary-5f")
    assert platform.lines[-1:] == ["it is ***"]


def test_api__bad_words__raise_what_the_action_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLAZ_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownInput, match="model-uri"):
        deploy(service_name="churn", modle_uri="models:/churn/1")
    with pytest.raises(InvalidInput, match="churn"):
        deploy(service_name="Churn", model_uri="models:/churn/1")
    with pytest.raises(FileNotFound, match=r"nosuch\.yml"):
        cleanup(service_name="churn", config="nosuch.yml")
    (tmp_path / "mlaz-ci.yml").write_text("service-nam: x\n")
    with pytest.raises(Exception, match="service-name"):
        cleanup(service_name="churn")
