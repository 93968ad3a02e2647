"""What was given, from inputs and config file, read by the table: input over config file over default. It gives no meaning to any of it."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from mlaz_ci.errors import InvalidInput, UnknownInput, UntrustedConfigKey
from mlaz_ci.inputs.config import ConfigFile, Setting
from mlaz_ci.inputs.origin import Origin
from mlaz_ci.inputs.row import ConfigUse
from mlaz_ci.inputs.table import INPUTS, LOCAL_KEYS
from mlaz_ci.inputs.values import Value, clean, parse_value
from mlaz_ci.inputs.wording import did_you_mean, listed, quote
from mlaz_ci.models import Cluster, Secret

_MAX_NAMED: Final = 5
_EnumT = TypeVar("_EnumT", bound=StrEnum)

# They say who owns what, or run code of packages: a pull request must not.
_REFUSED_ON_PULL_REQUESTS: Final = ("owner", "take-over", "build-from-source", "also-delete")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The given values by the names of inputs; `local` is the config file's section of that name."""

    values: Mapping[str, Value]
    local: Mapping[str, Setting]
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The config file's sections of the targets on Azure, as they stand there."""
    made_cluster: Cluster | None = None
    """How the config file says that `compute` is made or attached."""

    @property
    def given(self) -> tuple[str, ...]:
        """In the order of the table."""
        return tuple(name for name in INPUTS if name in self.values)

    def without(self, names: Container[str]) -> Settings:
        return replace(self, values={name: value for name, value in self.values.items() if name not in names})

    def _value(self, name: str) -> Value | None:
        default = INPUTS[name].default
        return self.values.get(name, None if default is None else parse_value(INPUTS[name], default))

    def text(self, name: str) -> str | None:
        value = self._value(name)
        assert value is None or isinstance(value, str)
        return value

    def secret(self, name: str) -> Secret | None:
        value = self._value(name)
        assert value is None or isinstance(value, Secret)
        return value

    def boolean(self, name: str) -> bool:
        value = self._value(name)
        assert isinstance(value, bool)
        return value

    def number(self, name: str) -> float:
        value = self._value(name)
        assert isinstance(value, int | float)
        return value

    def choice(self, name: str, enum: type[_EnumT]) -> _EnumT:
        value = self._value(name)
        assert isinstance(value, enum)
        return value

    def given_number(self, name: str) -> float | None:
        value = self.values.get(name)
        assert value is None or isinstance(value, int | float)
        return value

    def given_boolean(self, name: str) -> bool | None:
        value = self.values.get(name)
        assert value is None or isinstance(value, bool)
        return value

    def given_choice(self, name: str, enum: type[_EnumT]) -> _EnumT | None:
        return self.choice(name, enum) if name in self.values else None

    @property
    def cluster(self) -> Cluster | None:
        """None where an input names another cluster than the config file tells how to make."""
        made = self.made_cluster
        return made if made is not None and made.name == self.text("compute") else None

    def section(self, name: str) -> Mapping[str, Any]:
        return self.sections.get(name, {})

    def mapping(self, name: str) -> Mapping[str, str]:
        value = self._value(name)
        return value if isinstance(value, Mapping) else {}

    def local_number(self, name: str) -> int | None:
        default = LOCAL_KEYS[name].default
        value = self.local[name].value if name in self.local else None if default is None else int(default)
        assert value is None or isinstance(value, int)
        return value

    def is_default(self, name: str) -> bool:
        """Whether the given value says no more than the default does."""
        default = INPUTS[name].default
        return default is not None and self.values[name] == parse_value(INPUTS[name], default)


def read_settings(given: Mapping[str, str], config: ConfigFile | None, origin: Origin) -> Settings:
    """Everything given, checked for name, form and trust. Raises UnknownInput, InvalidInput, UntrustedConfigKey."""
    check_names(given)
    inputs: dict[str, Value] = {}
    for name, value in given.items():
        text = clean(INPUTS[name], value)
        if text:
            inputs[name] = parse_value(INPUTS[name], text)
    settings = config.settings if config else {}
    if origin.is_pull_request:
        _check_inputs_of_pull_request(inputs)
        _check_config_of_pull_request({name: each for name, each in settings.items() if name not in inputs})
        if config and config.cluster:
            raise UntrustedConfigKey(
                f"{config.cluster.where}: how a cluster is made is not taken from the config file on pull-request events.",
                usually="The config file is the pull request's own there, and a cluster costs money until it is deleted.",
                remedy="Name a cluster that exists in the step's input `compute`.",
            )
    from_config = {name: setting.value for name, setting in settings.items()}
    return Settings(
        values={**from_config, **inputs},
        local=config.local if config else {},
        sections=config.sections if config else {},
        made_cluster=config.cluster.value if config and config.cluster else None,
    )


def check_names(given: Mapping[str, str]) -> None:
    """Raises UnknownInput for names that are not in the table, with the nearest that are."""
    unknown = [name for name in given if name not in INPUTS]
    if unknown:
        raise unknown_input(unknown)


def unknown_input(names: list[str]) -> UnknownInput:
    told = "; ".join(f"{quote(name)} is not an input.{did_you_mean(name, INPUTS)}" for name in names[:_MAX_NAMED])
    more = f" (and {len(names) - _MAX_NAMED} more)" if len(names) > _MAX_NAMED else ""
    return UnknownInput(told + more)


def _check_inputs_of_pull_request(inputs: Mapping[str, Value]) -> None:
    refused = [name for name in _REFUSED_ON_PULL_REQUESTS if name in inputs and inputs[name] is not False]
    if refused:
        raise InvalidInput(
            f"{listed(refused)} {'is' if len(refused) == 1 else 'are'} refused on pull-request events.",
            usually="What a pull request runs is not reviewed yet, so it must not take over what exists or run code of packages here.",
            remedy="Remove it from this step, or run the step on push or workflow_dispatch.",
        )


def _check_config_of_pull_request(settings: Mapping[str, Setting]) -> None:
    """`settings` are those that no input overrides."""
    for name, setting in settings.items():
        if INPUTS[name].config is ConfigUse.TRUSTED:
            raise UntrustedConfigKey(
                f"{setting.where}: `{name}` is not taken from the config file on pull-request events."
            )
