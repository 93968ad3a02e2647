"""One emulator per session, put back to its beginnings before each test and asked after each whether all was clean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.azure import openapi
from tests.azure.clock import FakeClock
from tests.azure.server import UNWANTED_VARIABLES, Emulator
from tests.azure.state import Cloud
from tests.azure.tests.measure import Count, Measure

_MEASURE = pytest.StashKey[Measure | None]()
# What the workers of pytest-xdist counted, and this process itself.
_COUNT = pytest.StashKey[Count]()
# azureml-core reads its patience when it is imported, which is before any test begins.
os.environ["AZUREML_DEFAULT_RETRIES"] = "1"
for _name in ("AZUREML_DEFAULT_BACKOFF", "AZUREML_DEFAULT_500_BACKOFF", "AZUREML_DEFAULT_503_BACKOFF"):
    os.environ[_name] = "0"
_CREDENTIALS = ("AZURE_", "ACTIONS_", "GITHUB_", "IDENTITY_", "MSI_", "IMDS_")


@pytest.fixture(scope="session")
def session_azure() -> Iterator[Emulator]:
    with Emulator() as azure:
        yield azure


@pytest.fixture
def azure(
    session_azure: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Emulator]:
    """The emulator with a fresh cloud, and this process's environment set so that clients in it meet nothing else."""
    session_azure.reset()
    for name in [name for name in os.environ if name.startswith(_CREDENTIALS) or name in UNWANTED_VARIABLES]:
        monkeypatch.delenv(name)
    for name, value in session_azure.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield session_azure
    if (measure := request.config.stash[_MEASURE]) is not None:
        measure.take(request.path.stem, session_azure.cloud)
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


def pytest_configure(config: pytest.Config) -> None:
    folder = openapi.wire_folder()
    config.stash[_MEASURE] = Measure(folder) if folder else None
    config.stash[_COUNT] = Count()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    if counted := getattr(node, "workeroutput", {}).get("data_plane"):
        node.config.stash[_COUNT].add(Count(**counted))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A whole run that departs from Microsoft's files more than it may has failed."""
    count = session.config.stash[_COUNT]
    if (measure := session.config.stash[_MEASURE]) is not None:
        count.add(measure.count)
    if hasattr(session.config, "workeroutput"):
        told = asdict(count) | {"modules": sorted(count.modules), "operations": sorted(count.operations)}
        session.config.workeroutput["data_plane"] = told
    elif count.is_whole and not count.is_within and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", ()) if "MLAZ_WIRE" in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests were not run: Microsoft's files are not here (MLAZ_WIRE)")
    count = terminalreporter.config.stash[_COUNT]
    for line in count.lines() if count.exchanges else ():
        terminalreporter.write_line(line)
    if count.is_whole and not count.is_within:
        terminalreporter.write_line("that is more than the 5 % that may deviate", red=True)
