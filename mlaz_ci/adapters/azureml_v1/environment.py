"""The lock as an environment of the workspace, under a name made of its hash: registered once, so that its image is built once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import yaml

from mlaz_ci.adapters.azure_wire import Answer, WorkspaceDoor
from mlaz_ci.adapters.azureml_v1.sdk import Sdk
from mlaz_ci.errors import AzureThrottled, AzureUnreachable
from mlaz_ci.models import Lock
from mlaz_ci.ports import Clock
from mlaz_ci.serving.lock import render_conda

# azureml-core's own choice where a base image is given: Azure adds what an image needs to serve.
_STACK: Final = "latest"
_TRIES: Final = 3
_PAUSE_S: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    name: str
    version: str


class Environments:
    """What was registered or found in this process is not asked for again."""

    def __init__(self, door: WorkspaceDoor, sdk: Sdk, clock: Clock) -> None:
        self._door = door
        self._clock = clock
        self._sdk = sdk
        self._lock = threading.Lock()
        self._known: dict[str, Registered] = {}

    def ensure(self, lock: Lock) -> Registered:
        with self._lock:
            if lock.hash not in self._known:
                self._known[lock.hash] = self._find(lock) or self._register(lock)
            return self._known[lock.hash]

    def definition(self, name: str, version: str) -> Mapping[str, Any]:
        """A registered environment as the environment service tells it: the form that an image request takes."""
        below = f"/environments/{quote(name)}/versions/{quote(version)}"
        return self._ask("GET", below, doing=f'read the environment "{name}"').object

    def _ask(self, method: str, below: str, *, doing: str, **options: Any) -> Answer:
        return self._door.regional(method, "experimentation", "/environment/v1.0", below, doing=doing, **options)

    def _find(self, lock: Lock) -> Registered | None:
        name = name_of(lock)
        answer = self._ask("GET", f"/environments/{quote(name)}", doing="look for the environment", allowed={404})
        if answer.status == 404:
            return None
        told = answer.object
        python = told.get("python")
        conda = python.get("condaDependencies") if isinstance(python, dict) else None
        # The name says what is in it; somebody may have put something else under it all the same.
        if conda != yaml.safe_load(render_conda(lock)):
            return None
        return Registered(name=name, version=str(told.get("version") or ""))

    def _register(self, lock: Lock) -> Registered:
        for attempt in range(_TRIES):
            try:
                return self._register_once(lock)
            except (AzureUnreachable, AzureThrottled):
                # The answer alone may have been lost.
                if (there := self._find(lock)) is not None:
                    return there
                if attempt + 1 == _TRIES:
                    raise
            self._clock.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _register_once(self, lock: Lock) -> Registered:
        name = name_of(lock)
        with self._sdk.making(f'register the environment "{name}"') as workspace:
            made = make_environment(lock).register(workspace)
            return Registered(name=name, version=str(made.version or ""))


def name_of(lock: Lock) -> str:
    return f"mlaz-ci-{lock.hash}"


def make_environment(lock: Lock, *, version: str | None = None, variables: Mapping[str, str] | None = None) -> Any:
    """azureml-core's Environment of the lock. Only inside `Sdk.making`.

    The conda file is handed over as it is: `CondaDependencies.create` and `add_*` would put packages, a channel and indexes into it.
    """
    from azureml.core.conda_dependencies import CondaDependencies
    from azureml.core.environment import Environment

    environment = Environment(name_of(lock))
    environment.version = version
    environment.python.conda_dependencies = CondaDependencies(_underlying_structure=yaml.safe_load(render_conda(lock)))
    environment.docker.base_image = lock.base_image
    environment.inferencing_stack_version = _STACK
    # azureml-core's own default is an example.
    environment.environment_variables = dict(variables or {})
    return environment
