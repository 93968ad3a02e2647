"""A model on its way to this machine while other steps go on."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from mlaz_ci.errors import DeployTimedOut
from mlaz_ci.execute.run_ports import Ports
from mlaz_ci.models import ModelRef


def model_folder(models_folder: Path, model: ModelRef) -> Path:
    """Where the bytes of `model` lie on this machine once fetched."""
    return models_folder / hashlib.sha256(f"{model.artifact_uri}\0{model.digest}".encode()).hexdigest()[:16]


class Download:
    """The model on its way while the environment is built. The thread is a daemon: a cancelled run does not wait for it."""

    def __init__(self, ports: Ports, model: ModelRef) -> None:
        self._ports = ports
        self._model = model
        self._error: BaseException | None = None
        self._folder = model_folder(ports.models_folder, model)
        self._thread = threading.Thread(target=self._run, name="fetch-model", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if not (self._folder / "MLmodel").is_file():
                self._folder.parent.mkdir(parents=True, exist_ok=True)
                with self._ports.platform.progress("Fetch the model") as progress:
                    self._ports.store.fetch(self._model, self._folder, progress)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._error = error

    def wait(self, timeout_s: float) -> Path:
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise DeployTimedOut(
                f"The model {self._model.label} was not fetched within the deadline.",
                usually="The artifact store is slow, or the model is large.",
                remedy="Raise `deadline-minutes`, or run where the artifacts are nearer.",
            )
        if self._error:
            raise self._error
        return self._folder
