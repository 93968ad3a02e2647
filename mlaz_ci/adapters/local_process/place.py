"""One deployment of a service: its folder, its process if it has one, and what that process answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlaz_ci.adapters.local_process import control, health
from mlaz_ci.adapters.local_process.home import remove, write_text
from mlaz_ci.adapters.local_process.process import Identity, is_alive, kill_group, members, stop_group
from mlaz_ci.adapters.local_process.record import Record, deployment_names, read_manifest
from mlaz_ci.errors import RecordUnreadable
from mlaz_ci.models import Observation
from mlaz_ci.ports import Clock
from mlaz_ci.serving.manifest import Manifest

STOP_GRACE_S = 10.0
CANDIDATE_GRACE_S = 2.0
"""A cancelled run has only seconds, and a worker that loads its model does not hear that it is to end."""


@dataclass(frozen=True, slots=True)
class Place:
    name: str
    folder: Path

    @property
    def identity(self) -> Identity | None:
        return health.identity_of(self.folder)

    def look(self, host: str) -> Observation:
        return health.look(self.folder, host)

    def living(self) -> Identity | None:
        identity = self.identity
        return identity if identity and is_alive(identity) else None

    def manifest(self) -> Manifest | None:
        """None if it cannot be read."""
        with suppress(RecordUnreadable):
            return read_manifest(self.folder)
        return None

    def is_serving(self) -> bool:
        """Whether it accepts from the service's socket."""
        identity = self.living()
        if identity is None:
            return False
        try:
            return control.ask(self.folder, identity, "status").is_serving
        except control.DoesNotAnswer:
            return False

    def mark_traffic(self) -> None:
        write_text(self.folder / "run" / health.TRAFFIC_MARK, "")

    def release(self, clock: Clock) -> None:
        """From now on it accepts nothing new from the service's socket; what it accepted it answers."""
        identity = self.living()
        if identity is None:
            return
        try:
            control.ask(self.folder, identity, "release")
        except control.DoesNotAnswer:
            stop_group(identity, clock, grace_s=STOP_GRACE_S)

    def stop(self, clock: Clock, *, grace_s: float) -> None:
        """End the group if there is one, and forget the start: what remains can be started again."""
        identity = self.identity
        if identity is not None:
            if is_alive(identity):
                stop_group(identity, clock, grace_s=grace_s)
            elif members(identity):
                kill_group(identity, clock)
        remove(self.folder / "run")

    def stop_grace_s(self) -> float:
        """Short for a process that no user's request ever reached."""
        return STOP_GRACE_S if health.had_traffic(self.folder) else CANDIDATE_GRACE_S

    def drain_s(self) -> float:
        """As long as a user's request may take, and a little for the process to end."""
        if not health.had_traffic(self.folder):
            return CANDIDATE_GRACE_S
        manifest = self.manifest()
        return (manifest.shape.request_timeout_s if manifest else 0) + STOP_GRACE_S


def places(service_folder: Path) -> list[Place]:
    return [Place(name, service_folder / name) for name in deployment_names(service_folder)]


def settle(record: Record, all_places: Sequence[Place], clock: Clock) -> None:
    """Of the deployments of a service only the live one may accept from its socket, if it does.

    A run that was killed in the middle of a shift leaves two that do: the record decides.
    """
    live = next((each for each in all_places if each.name == record.live), None)
    others = [each for each in all_places if each.name != record.live and each.living()]
    if live and others and live.is_serving():
        for each in others:
            if each.is_serving():
                each.release(clock)
