"""Reads what the runner gives a container action: the variables INPUT_*. It reads no environment itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlaz_ci.errors import ConflictingInputs, InvalidInput
from mlaz_ci.inputs.settings import unknown_input
from mlaz_ci.inputs.table import INPUTS
from mlaz_ci.models import Command

_PREFIX: Final = "INPUT_"
# Words of the runner's own that every container action may be given under `with:`.
_OF_THE_RUNNER: Final = frozenset({"entrypoint", "args"})


def given_from_action(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The inputs among `environ`, by their names in `with:`; empty is not given.

    The runner keeps dashes (INPUT_RUN-ID); INPUT_RUN_ID is taken too, since some shells pass no other. Raises UnknownInput for what
    is not in the table (the runner warns of it and passes it on), ConflictingInputs where both forms stand and differ.
    """
    given: dict[str, str] = {}
    unknown: list[str] = []
    for variable, value in environ.items():
        if not variable.startswith(_PREFIX):
            continue
        name = variable.removeprefix(_PREFIX).lower().replace("_", "-")
        if name not in INPUTS:
            unknown += [] if name in _OF_THE_RUNNER else [name]
        elif value.strip() and given.setdefault(name, value) != value:
            raise ConflictingInputs(f"`{name}` was given twice, with a dash and with an underscore, and differs.")
    if unknown:
        raise unknown_input(unknown)
    if given.get("command", "").strip() == Command.MIGRATE:
        raise InvalidInput(
            "`command: migrate` is of the command line alone: what it prints is to be read and kept, once.",
            usually="The command was copied from the list of commands.",
            remedy="Run `mlaz-ci migrate <service> --subscription-id … --resource-group … --workspace-name …` on your machine.",
        )
    return given
