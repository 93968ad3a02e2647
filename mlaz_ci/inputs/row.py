"""The shape of a row in the tables of inputs, outputs and commands. It knows no value that was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mlaz_ci.models import Command


class Kind(StrEnum):
    """How the text of an input is read."""

    TEXT = "text"
    PATH = "path"
    BOOLEAN = "boolean"
    NUMBER = "number"
    INTEGER = "integer"
    CHOICE = "choice"
    MAPPING = "mapping"
    SECRET = "secret"


class Group(StrEnum):
    """The headings under which inputs are told."""

    WHAT = "What"
    MODEL = "Model"
    WHERE = "Where"
    WHO = "Who"
    SHAPE = "Shape"
    HOW = "How"
    PREVIEW = "Previews"
    INVOKE = "Invoke"


class ConfigUse(StrEnum):
    """Whether the config file may hold an input."""

    ANYWHERE = "anywhere"
    TRUSTED = "trusted"
    """Not on pull-request events, where the file is the pull request's own."""
    NEVER = "never"


EVERY_COMMAND: Final = frozenset(Command)


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input, by the same name in `with:`, on the command line and in the config file.

    `says` is the sentence for users, without the values and the default, which `description` adds. `form` is the rule of `pattern` in
    words. `is_private` values are not secrets to mask, and still never shown in an error. `used_by` decides whose `--help` tells it.
    """

    name: str
    group: Group
    says: str
    kind: Kind = Kind.TEXT
    values: type[StrEnum] | None = None
    default: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    pattern: str | None = None
    form: str = ""
    config: ConfigUse = ConfigUse.ANYWHERE
    is_built: bool = True
    is_private: bool = False
    ignores_case: bool = False
    used_by: frozenset[Command] = EVERY_COMMAND

    @property
    def description(self) -> str:
        parts = [self.says]
        if self.values:
            parts.append(f"One of {', '.join(f'`{each}`' for each in self.values)}.")
        if self.default is not None:
            parts.append(f"Default: `{self.default}`.")
        if not self.is_built:
            parts.append("Not in this version." if self.default is None else "No other value in this version.")
        return " ".join(parts)

    @property
    def may_have_lines(self) -> bool:
        return self.kind in {Kind.MAPPING, Kind.SECRET} or self.name in {"description", "also-delete"}

    @property
    def hides_its_value(self) -> bool:
        return self.is_private or self.kind is Kind.SECRET

    @property
    def choices(self) -> Sequence[str]:
        return [str(each) for each in self.values or ()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    name: str
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandRow:
    """One command: what it does, and the inputs it cannot do without."""

    command: Command
    does: str
    needs: tuple[str, ...] = ("service-name",)
    is_built: bool = True
