"""Reads the config file: the words of the inputs, with the place of each, so that an error points at line and column. It opens no file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from mlaz_ci.errors import ConfigurationError, InvalidConfigFile, InvalidInput, UnknownConfigKey
from mlaz_ci.inputs.mappings import check_mapping
from mlaz_ci.inputs.row import ConfigUse, Input, Kind
from mlaz_ci.inputs.table import INPUTS, LOCAL_KEYS
from mlaz_ci.inputs.values import Value, clean, parse_value
from mlaz_ci.inputs.wording import did_you_mean, quote
from mlaz_ci.inputs.yaml_text import (
    Entry,
    Place,
    YamlProblem,
    compose,
    entries_of,
    kind_of,
    places_of,
    plain_value,
    text_of,
)
from mlaz_ci.models import Cluster, Target
from mlaz_ci.targets import TARGETS
from mlaz_ci.targets.clusters import CLUSTER_KEYS, checked_cluster

_SECTIONS: Final = {str(target): rules.section for target, rules in TARGETS.items() if rules.section is not None}
_KEY_FILE: Final = "ssl_key_pem_file"
_MAX_KEY: Final = 512
_MAX_TOLD: Final = 800
_KEYS_OF_SECTIONS: Final[Mapping[str, frozenset[str]]] = {
    str(Target.LOCAL): frozenset(LOCAL_KEYS),
    **{name: frozenset(section.schema["properties"]) for name, section in _SECTIONS.items()},
}
_COMPUTE: Final = "compute"
_RESOURCE_ID: Final = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/[^/\s]+/[^/\s]+/[^/\s]+", re.IGNORECASE
)
KEYS: Final = (
    *(name for name, row in INPUTS.items() if row.config is not ConfigUse.NEVER),
    *(str(each) for each in Target),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One key of the file with its value, and where it stands: "mlaz-ci.yml:3:7"."""

    value: Value
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSetting:
    """What the file says of how the cluster is made or attached, and where it stands."""

    value: Cluster
    where: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigFile:
    """The settings of a config file, by the names of inputs; `local` is its section of that name."""

    filename: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    local: Mapping[str, Setting] = field(default_factory=dict)
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of the targets on Azure, by their names: fields of Azure's own schema, each of a name and form that the target takes."""
    cluster: ClusterSetting | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    """Where each key of the sections stands, by its path with dots: "managed.deployment.instanceType"."""

    @property
    def key_files(self) -> tuple[str, ...]:
        """The files that hold a key of TLS, whose content is a secret."""
        holders = [*self.sections.values(), *([self.cluster.value.settings] if self.cluster else [])]
        named = [holder.get(_KEY_FILE) for holder in holders]
        return tuple(each for each in named if isinstance(each, str))

    def located(self, error: ConfigurationError) -> ConfigurationError:
        """`error` with file, line and column in front, where it is about a key of a section."""
        return _located(error, self.filename, self.places)


def parse_config(text: str, filename: str) -> ConfigFile:
    """The settings in `text`. Raises InvalidConfigFile or UnknownConfigKey with file, line and column."""
    reader = _Reader(filename)
    try:
        node = compose(text)
        entries = [] if node is None or _is_empty(node) else entries_of(node)
        for entry in entries:
            reader.read(entry)
    except YamlProblem as problem:
        raise InvalidConfigFile(f"{reader.at(problem.place)}: {problem.what}.") from problem
    return ConfigFile(
        filename=filename,
        settings=reader.settings,
        local=reader.local,
        sections=reader.sections,
        cluster=reader.cluster,
        places=reader.places,
    )


def _located(error: ConfigurationError, filename: str, places: Mapping[str, Place]) -> ConfigurationError:
    """The place of the key that `error` is about; of a key that is missing, the place where it belongs."""
    key = error.config_key
    while key and key not in places:
        key = key.rpartition(".")[0]
    if not key:
        return error
    what = error.what if len(error.what) <= _MAX_TOLD else f"{error.what[:_MAX_TOLD]}…"
    return type(error)(f"{filename}:{places[key]}: {what}", usually=error.cause_text, remedy=error.remedy_text)


def _resource_id(entry: Entry) -> str:
    text = text_of(entry.node)
    if not _RESOURCE_ID.fullmatch(text):
        what = f"`{entry.key}` is not the resource id of a cluster: /subscriptions/…/managedClusters/…"
        raise YamlProblem(what, entry.place)
    return text


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not text_of(node)


class _Reader:
    def __init__(self, filename: str) -> None:
        self._filename = filename
        self.settings: dict[str, Setting] = {}
        self.local: dict[str, Setting] = {}
        self.sections: dict[str, Mapping[str, Any]] = {}
        self.cluster: ClusterSetting | None = None
        self.places: dict[str, Place] = {}

    def at(self, place: Place) -> str:
        return f"{self._filename}:{place}"

    def read(self, entry: Entry) -> None:
        row = INPUTS.get(entry.key)
        if entry.key == _COMPUTE and isinstance(entry.node, yaml.MappingNode):
            self._read_cluster(entry)
        elif row and row.config is not ConfigUse.NEVER:
            self._set(self.settings, row, entry)
        elif row:
            raise UnknownConfigKey(
                f"{self.at(entry.key_place)}: `{entry.key}` is an input alone, not a key of the config file.",
                usually="Secrets, and what one single run is to do, stand with the step, never in the checkout.",
                remedy="Move it to the step's `with:`, or to the command line.",
            )
        elif entry.key == Target.LOCAL:
            for each in self._entries(entry):
                self._read_local(each)
        elif entry.key in _SECTIONS:
            self._note_places(entry)
            section = {each.key: plain_value(each.node) for each in self._entries(entry)}
            self._check(lambda: _SECTIONS[entry.key].check(section))
            self.sections[entry.key] = section
        else:
            raise self._unknown(entry, KEYS)

    def _note_places(self, section: Entry) -> None:
        self.places[section.key] = section.key_place
        for key, place in places_of(section.node, section.key):
            if len(key) > _MAX_KEY or not key.isprintable():
                raise YamlProblem("a key is too long, or has a character that no key has", place)
            self.places[key] = place

    def _check(self, check: Callable[[], object]) -> None:
        try:
            check()
        except ConfigurationError as error:
            located = _located(error, self._filename, self.places)
            if located is error:
                raise
            raise located from error

    def _entries(self, section: Entry) -> list[Entry]:
        return [] if _is_empty(section.node) else list(entries_of(section.node))

    def _read_local(self, entry: Entry) -> None:
        row = LOCAL_KEYS.get(entry.key)
        if row is None:
            raise self._unknown(entry, LOCAL_KEYS, section="local")
        self._set(self.local, row, entry)

    def _read_cluster(self, section: Entry) -> None:
        """`{name, create: true}` or `{name, attach: <ARM id>}`; what else stands there is Azure's own of a cluster."""
        self._note_places(section)
        by_key = {each.key: each for each in entries_of(section.node)}
        for unknown in (each for key, each in by_key.items() if key not in CLUSTER_KEYS):
            raise self._unknown(unknown, CLUSTER_KEYS, section=_COMPUTE)
        name = by_key.pop("name", None)
        if name is None or not text_of(name.node):
            raise YamlProblem("`compute` has no `name`", section.place)
        self.settings[_COMPUTE] = Setting(value=text_of(name.node), where=self.at(name.place))
        create, attach = by_key.pop("create", None), by_key.pop("attach", None)
        wanted = self._is_wanted(create)
        if wanted and attach:
            raise YamlProblem("`create` and `attach` exclude each other", attach.key_place)
        resource_id = _resource_id(attach) if attach else None
        if resource_id is None and not wanted:
            if by_key:
                first = next(iter(by_key.values()))
                raise YamlProblem(
                    f"{quote(first.key)} says how a cluster is made, without `create: true`", first.key_place
                )
            return
        settings = {key: plain_value(each.node) for key, each in by_key.items()}
        cluster = Cluster(name=text_of(name.node), resource_id=resource_id, settings=settings)
        self._check(lambda: checked_cluster(cluster))
        self.cluster = ClusterSetting(value=cluster, where=self.at(section.place))

    @staticmethod
    def _is_wanted(create: Entry | None) -> bool:
        wanted = plain_value(create.node) if create else False
        if create and wanted not in {True, False}:
            raise YamlProblem(f"`create` is neither true nor false: {quote(str(wanted))}", create.place)
        return bool(wanted)

    def _unknown(
        self, entry: Entry, keys: Mapping[str, Input] | tuple[str, ...], section: str = ""
    ) -> UnknownConfigKey:
        of_section = f" of `{section}`" if section else ""
        homes = [] if section else [name for name, known in _KEYS_OF_SECTIONS.items() if entry.key in known]
        belongs = f" It stands in the section {' or '.join(f'`{each}:`' for each in homes)}." if homes else ""
        hint = belongs or did_you_mean(entry.key, keys) or f" Known: {', '.join(sorted(keys))}."
        return UnknownConfigKey(f"{self.at(entry.key_place)}: {quote(entry.key)} is not a key{of_section}.{hint}")

    def _set(self, settings: dict[str, Setting], row: Input, entry: Entry) -> None:
        try:
            value = self._value(row, entry)
        except InvalidInput as error:
            raise InvalidConfigFile(
                f"{self.at(entry.place)}: {error.what}", usually=error.cause_text, remedy=error.remedy_text
            ) from error
        if value is not None:
            settings[row.name] = Setting(value=value, where=self.at(entry.place))

    def _value(self, row: Input, entry: Entry) -> Value | None:
        """None where the key has no value: empty is not given, here as everywhere."""
        if row.kind is Kind.MAPPING and isinstance(entry.node, yaml.MappingNode):
            return check_mapping(row, [(each.key, text_of(each.node)) for each in entries_of(entry.node)])
        if not isinstance(entry.node, yaml.ScalarNode):
            wanted = "a mapping of names to texts" if row.kind is Kind.MAPPING else "a single value"
            raise YamlProblem(f"`{row.name}` takes {wanted}, not {kind_of(entry.node)}", entry.place)
        text = clean(row, text_of(entry.node))
        return parse_value(row, text) if text else None
