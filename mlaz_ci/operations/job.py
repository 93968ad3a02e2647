"""Every command by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mlaz_ci.errors import NotInThisVersion
from mlaz_ci.models import Command, Outcome
from mlaz_ci.operations.asking import invoke, migrate, status
from mlaz_ci.operations.checking import doctor
from mlaz_ci.operations.course import Course
from mlaz_ci.operations.deploying import deploy
from mlaz_ci.operations.ending import cleanup, end_canary, rollback


class Job(Course):
    """A Request and the ports in, an Outcome out."""

    def run(self) -> Outcome:
        """Carry out the command. Raises MlazError; `failure_of` then tells what was done until there."""
        self.deadline_s = self.ports.clock.now_s() + self.request.deadline_s
        verb = _VERBS.get(self.request.command)
        if verb is None:
            built = ", ".join(_VERBS)
            raise NotInThisVersion(f'Command "{self.request.command}" is not in this version; built: {built}.')
        return verb(self)


_VERBS: Final[Mapping[Command, Callable[[Course], Outcome]]] = {
    Command.DEPLOY: deploy,
    Command.DOCTOR: doctor,
    Command.CLEANUP: cleanup,
    Command.STATUS: status,
    Command.INVOKE: invoke,
    Command.ROLLBACK: rollback,
    Command.PROMOTE: end_canary,
    Command.REJECT: end_canary,
    Command.MIGRATE: migrate,
}
