"""What a target reads its shape from: the given inputs by name, and the config file's section of the target."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from mlaz_ci.models import Cluster

_EnumT = TypeVar("_EnumT", bound=StrEnum)


class Given(Protocol):
    """Defaults are filled in by `text` and `choice`; what `given_*` tells is None where nothing was given."""

    def text(self, name: str) -> str | None: ...

    def mapping(self, name: str) -> Mapping[str, str]: ...

    def choice(self, name: str, enum: type[_EnumT]) -> _EnumT: ...

    def given_choice(self, name: str, enum: type[_EnumT]) -> _EnumT | None: ...

    def given_number(self, name: str) -> float | None: ...

    def given_boolean(self, name: str) -> bool | None: ...

    def local_number(self, name: str) -> int | None: ...

    @property
    def cluster(self) -> Cluster | None:
        """How `compute` is made or attached, where the config file says so."""
        ...

    def section(self, name: str) -> Mapping[str, Any]:
        """The config file's section `aci`, `aks`, `managed` or `kubernetes` as it stands there."""
        ...
