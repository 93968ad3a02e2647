"""Reads what a cleanup deletes besides its service: shared things, by name alone, never by pattern."""

from __future__ import annotations

import re
from typing import Final

from mlaz_ci.errors import InvalidInput
from mlaz_ci.inputs.wording import quote
from mlaz_ci.models import ComputeName, ModelVersionName

_MODEL: Final = re.compile(r"models:/(?P<name>[^/@\s]{1,255})/(?P<version>[^/@\s]{1,64})")
_COMPUTE: Final = re.compile(r"(?P<kind>attached|computes)/(?P<name>[A-Za-z][A-Za-z0-9-]{0,31})")
_MAX_NAMED: Final = 50


def parse_also_delete(text: str) -> tuple[ModelVersionName | ComputeName, ...]:
    """One name a line, or separated by commas. Raises InvalidInput."""
    words = [word.strip() for word in re.split(r"[\n,]", text) if word.strip()]
    if len(words) > _MAX_NAMED:
        raise InvalidInput(f"`also-delete` names {len(words)} things; at most {_MAX_NAMED} are deleted at once.")
    return tuple(dict.fromkeys(_parse(word) for word in words))


def _parse(word: str) -> ModelVersionName | ComputeName:
    if match := _MODEL.fullmatch(word):
        if match["version"] == "latest":
            raise InvalidInput(
                f"`also-delete` {quote(word)} names no version: which one is the latest changes.",
                remedy="Give the version's number.",
            )
        return ModelVersionName(name=match["name"], version=match["version"])
    if match := _COMPUTE.fullmatch(word):
        return ComputeName(name=match["name"], keeps_resource=match["kind"] != "computes")
    raise InvalidInput(
        f"`also-delete` {quote(word)} is neither a model version nor a compute.",
        usually="What is shared is deleted by its full name alone.",
        remedy="Write `models:/<name>/<version>`, `computes/<name>` or `attached/<name>`.",
    )
