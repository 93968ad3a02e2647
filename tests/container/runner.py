"""Runs an image as GitHub's runner runs a container action, and reads the step's files back as the runner does.

Stands on actions/runner at 258d6c8: Handlers/ContainerActionHandler.cs (mounts, environment, path translation),
Container/DockerCommandManager.cs (flags), GitHubContext.cs (which GITHUB_* exist), ProcessInvoker.cs (cancelling).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.container.engine import Engine
from tests.runner_files import WorkflowCommand, parse_workflow_commands, read_file_command, read_step_summary

_FILE_COMMANDS = {
    "GITHUB_OUTPUT": "set_output_",
    "GITHUB_ENV": "set_env_",
    "GITHUB_PATH": "add_path_",
    "GITHUB_STATE": "save_state_",
    "GITHUB_STEP_SUMMARY": "step_summary_",
}

_OBEYED_BY_PODMAN = frozenset({"PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR"})

# ProcessInvoker.cs: what a cancelled step is given before the runner kills it.
SIGINT_GRACE_S = 7.5
SIGTERM_GRACE_S = 2.5


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What the runner knows of a step that ended."""

    exit_code: int
    stdout: str
    stderr: str
    outputs: Mapping[str, str]
    environment: Mapping[str, str]
    state: Mapping[str, str]
    summary: str

    @property
    def commands(self) -> list[WorkflowCommand]:
        """The runner reads commands from both streams."""
        return parse_workflow_commands(self.stdout) + parse_workflow_commands(self.stderr)

    def explain(self) -> str:
        return f"exit code {self.exit_code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


@dataclass(kw_only=True)
class RunningStep:
    """A step under way. `files` are its file commands on the host, by variable name."""

    process: subprocess.Popen[str]
    files: Mapping[str, Path]
    _streams: dict[str, list[str]] = field(default_factory=dict)
    _readers: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._read("stdout", self.process.stdout)
        self._read("stderr", self.process.stderr)

    @property
    def stdout(self) -> str:
        """What it has printed so far."""
        return "".join(self._streams["stdout"])

    def wait(self, timeout_s: float) -> StepResult:
        exit_code = self.process.wait(timeout=timeout_s)
        for reader in self._readers:
            reader.join(timeout=10)
        return StepResult(
            exit_code=exit_code,
            stdout=self.stdout,
            stderr="".join(self._streams["stderr"]),
            outputs=read_file_command(self.files["GITHUB_OUTPUT"]),
            environment=read_file_command(self.files["GITHUB_ENV"]),
            state=read_file_command(self.files["GITHUB_STATE"]),
            summary=read_step_summary(self.files["GITHUB_STEP_SUMMARY"]),
        )

    def cancel(self, *, patience: float = 1.0) -> StepResult:
        """Cancel as the runner does: SIGINT, SIGTERM, SIGKILL, to the client, which passes the first two on into the container.

        `patience` stretches the waits, for machines that are slower than a runner because tests run side by side.
        """
        for signal_number, grace_s in ((signal.SIGINT, SIGINT_GRACE_S), (signal.SIGTERM, SIGTERM_GRACE_S)):
            self.process.send_signal(signal_number)
            try:
                return self.wait(grace_s * patience)
            except subprocess.TimeoutExpired:
                continue
        self.process.kill()
        return self.wait(10)

    def _read(self, name: str, stream: IO[str]) -> None:
        lines = self._streams.setdefault(name, [])

        def read() -> None:
            with stream:
                lines.extend(stream)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self._readers.append(reader)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job on one runner: its folders on the host, and its network.

    Without `services:` or `container:` a job has no network of its own, and its action containers are on the engine's default bridge.
    """

    engine: Engine
    work: Path
    socket: Path
    network: str | None = None
    label: str = "6c1b2f"
    event: Mapping[str, object] = field(default_factory=dict)
    event_name: str = "push"
    environment: Mapping[str, str] = field(default_factory=dict)
    """The workflow's and the job's own `env:`, which reach every step."""

    @property
    def temp(self) -> Path:
        return self.work / "_temp"

    @property
    def workspace(self) -> Path:
        return self.work / "repository" / "repository"

    def run_step(
        self,
        image: str,
        inputs: Mapping[str, str],
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        entrypoint: str | None = None,
        with_socket: bool = True,
        timeout_s: float = 300,
    ) -> StepResult:
        """Run the image as `uses:` with these `with:` values, to its end."""
        return self.start_step(
            image, inputs, env=env, arguments=arguments, entrypoint=entrypoint, with_socket=with_socket
        ).wait(timeout_s)

    def start_step(
        self,
        image: str,
        inputs: Mapping[str, str],
        *,
        env: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
        entrypoint: str | None = None,
        with_socket: bool = True,
    ) -> RunningStep:
        """`entrypoint` is what an action.yml may name in place of the image's own."""
        files = self._make_files()
        environ = self._step_environment(inputs, env or {}, files)
        name = f"{re.sub(r'[^A-Za-z0-9]', '', image)}_{uuid.uuid4().hex[:6]}"
        # As the runner does, values travel in the client's own environment (-e NAME), but for those that podman itself would obey.
        options = [f"-e={key}={environ[key]}" if key in _OBEYED_BY_PODMAN else f"-e={key}" for key in environ]
        own = {key: value for key, value in environ.items() if key not in _OBEYED_BY_PODMAN}
        if entrypoint is not None:
            options += ["--entrypoint", entrypoint]
        if self.network is not None:
            options += ["--network", self.network]
        for host, container in self._mounts(with_socket=with_socket):
            options += ["-v", f"{host}:{container}"]
        process = subprocess.Popen(
            [
                "podman",
                "run",
                "--name",
                name,
                "--label",
                self.label,
                "--workdir",
                "/github/workspace",
                "--rm",
                *options,
                image,
                *arguments,
            ],
            env={**self.engine.environ, **own},
            cwd=self.workspace,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        return RunningStep(process=process, files=files)

    def _make_files(self) -> dict[str, Path]:
        for folder in (
            self.workspace,
            *(self.temp / name for name in ("_github_home", "_github_workflow", "_runner_file_commands")),
        ):
            folder.mkdir(parents=True, exist_ok=True)
        (self.temp / "_github_workflow" / "event.json").write_text(json.dumps(self.event))
        suffix = str(uuid.uuid4())
        files = {
            name: self.temp / "_runner_file_commands" / f"{prefix}{suffix}" for name, prefix in _FILE_COMMANDS.items()
        }
        for path in files.values():
            path.touch()
        return files

    def _step_environment(
        self, inputs: Mapping[str, str], env: Mapping[str, str], files: Mapping[str, Path]
    ) -> dict[str, str]:
        """In the runner's order: what comes later wins."""
        given = {f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in inputs.items()}
        values = {
            **self.environment,
            **env,
            **given,
            "HOME": str(self.temp / "_github_home"),
            **self._github_context(),
            **{name: str(path) for name, path in files.items()},
            "RUNNER_ARCH": "X64",
            "RUNNER_ENVIRONMENT": "github-hosted",
            "RUNNER_NAME": "GitHub Actions 1",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.temp),
            "RUNNER_TOOL_CACHE": "/opt/hostedtoolcache",
            "RUNNER_WORKSPACE": str(self.workspace.parent),
            "ACTIONS_RUNTIME_URL": "https://pipelines.actions.invalid/",
            "ACTIONS_RUNTIME_TOKEN": "runtime-token-of-the-job",
            "GITHUB_ACTIONS": "true",
        }
        values.setdefault("CI", "true")
        return {name: self._translate(value) for name, value in values.items()}

    def _github_context(self) -> dict[str, str]:
        return {
            "GITHUB_ACTION": "__self",
            "GITHUB_ACTOR": "octocat",
            "GITHUB_API_URL": "https://api.github.invalid",
            "GITHUB_BASE_REF": "",
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(self.temp / "_github_workflow" / "event.json"),
            "GITHUB_HEAD_REF": "",
            "GITHUB_JOB": "deploy",
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_REF_NAME": "main",
            "GITHUB_REF_TYPE": "branch",
            "GITHUB_REPOSITORY": "octocat/repository",
            "GITHUB_REPOSITORY_ID": "1296269",
            "GITHUB_REPOSITORY_OWNER": "octocat",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_RUN_ID": "1658821493",
            "GITHUB_RUN_NUMBER": "3",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_SHA": "ffac537e6cbbf934b08745a378932722df287a53",
            "GITHUB_WORKFLOW": "deploy",
            "GITHUB_WORKSPACE": str(self.workspace),
        }

    def _mounts(self, *, with_socket: bool) -> list[tuple[Path, str]]:
        socket = [(self.socket, "/var/run/docker.sock")] if with_socket else []
        return [*socket, *self._translations()]

    def _translations(self) -> list[tuple[Path, str]]:
        return [
            (self.temp, "/github/runner_temp"),
            (self.temp / "_github_home", "/github/home"),
            (self.temp / "_github_workflow", "/github/workflow"),
            (self.temp / "_runner_file_commands", "/github/file_commands"),
            (self.workspace, "/github/workspace"),
        ]

    def _translate(self, value: str) -> str:
        """Whole values that are a path under a mount, never a part of a value. The mount that was added last is looked at first."""
        for host, container in reversed(self._translations()):
            if value == str(host) or value.startswith(f"{host}/"):
                return container + value[len(str(host)) :]
        return value
