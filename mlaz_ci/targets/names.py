"""The rule for service names, the same on every target, so that one word changes the target. Pure."""

from __future__ import annotations

import re

from mlaz_ci.errors import InvalidInput

# What every target accepts: v1 services and online endpoints alike.
_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){1,30}[a-z0-9]")
_NAME_RULE = (
    "3 to 32 lower-case letters, digits and single dashes, starting with a letter and ending with a letter or digit"
)


def check_service_name(name: str) -> None:
    """Raises InvalidInput with the rule and a name that would do."""
    if _NAME.fullmatch(name):
        return
    suggestion = _suggest_name(name)
    near = f' "{suggestion}" would do.' if suggestion else ""
    raise InvalidInput(
        f'`service-name` "{name[:60]}" is not a service name.{near}',
        usually="A name that Azure Machine Learning would refuse is refused on every target alike.",
        remedy=f"Use {_NAME_RULE}.",
    )


def _suggest_name(name: str) -> str | None:
    """The nearest name that follows the rule, or None where nothing of `name` can be kept."""
    kept = re.sub(r"[^a-z0-9]+", "-", name.lower())
    kept = re.sub(r"^[^a-z]+", "", kept)[:32].strip("-")
    return kept if _NAME.fullmatch(kept) else None
