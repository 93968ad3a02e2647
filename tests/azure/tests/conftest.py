"""One emulator per session, put back to its beginnings before each test and asked after each whether all was clean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.azure import openapi
from tests.azure.clock import FakeClock
from tests.azure.server import UNWANTED_VARIABLES, Emulator
from tests.azure.state import Cloud

_CREDENTIALS = ("AZURE_", "ACTIONS_", "GITHUB_", "IDENTITY_", "MSI_", "IMDS_")


@pytest.fixture(scope="session")
def session_azure() -> Iterator[Emulator]:
    with Emulator() as azure:
        yield azure


@pytest.fixture
def azure(session_azure: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Emulator]:
    """The emulator with a fresh cloud, and this process's environment set so that clients in it meet nothing else."""
    session_azure.reset()
    for name in [name for name in os.environ if name.startswith(_CREDENTIALS) or name in UNWANTED_VARIABLES]:
        monkeypatch.delenv(name)
    for name, value in session_azure.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield session_azure
    session_azure.assert_clean()


@pytest.fixture
def cloud(azure: Emulator) -> Cloud:
    return azure.cloud


@pytest.fixture
def fake_clock(azure: Emulator) -> FakeClock:
    """The cloud's clock, moved by the test alone from here on."""
    clock = FakeClock()
    azure.cloud.clock = clock
    return clock


@pytest.fixture
def http(azure: Emulator) -> Iterator[requests.Session]:
    """A client as plain as any: requests, with the environment's proxy and CA."""
    with requests.Session() as session:
        yield session


@pytest.fixture
def wire() -> Path:
    folder = openapi.wire_folder()
    if folder is None:
        pytest.skip("needs Microsoft's files: set MLAZ_WIRE")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if "MLAZ_WIRE" in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests were not run: Microsoft's files are not here (MLAZ_WIRE)")
