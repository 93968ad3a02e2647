"""The shape of a v1 web service from inputs and section; what of it Azure cannot change later, and who may call it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlaz_ci.errors import InapplicableInput, InvalidConfigFile
from mlaz_ci.models import AuthMode, AzureShape, Request, Strategy, Target
from mlaz_ci.targets.given import Given
from mlaz_ci.targets.v1_keys import Keys


def check_strategy(request: Request, *, successor: Target) -> None:
    """Raises InapplicableInput for a canary: left out, it would give all callers the new model at once."""
    if request.strategy is not Strategy.CANARY:
        return
    raise InapplicableInput(
        f"`strategy: canary` cannot be had on target {request.target}: all callers would get the new model at once.",
        usually="A web service of v1 holds one deployment, which changes in place.",
        remedy=f"`target: {successor}` has canaries; here leave `strategy` out, or try the model under another `service-name`.",
    )


def read_section(keys: Keys, given: Given) -> dict[str, Any]:
    """The section as azureml-core's settings. Raises UnknownConfigKey, InvalidConfigFile."""
    section = dict(keys.read(given.section(keys.section)))
    if "secondary_key" in section and "primary_key" not in section:
        # azureml-core drops a second key without a first.
        raise InvalidConfigFile(
            f"`{keys.section}: secondary_key` needs `primary_key` beside it.",
            config_key=f"{keys.section}.secondary_key",
        )
    return section


def auth_of(given: AuthMode | None, section: dict[str, Any]) -> AuthMode | None:
    """The input `auth`, else what the section's two switches say; they are taken out of it."""
    by_key, by_token = section.pop("auth_enabled", None), section.pop("token_auth_enabled", None)
    if given is not None:
        return given
    if by_key and by_token:
        raise InvalidConfigFile("`auth_enabled` and `token_auth_enabled` exclude each other.")
    if by_token:
        return AuthMode.TOKEN
    if by_key:
        return AuthMode.KEY
    return AuthMode.NONE if by_key is False or by_token is False else None


def fixed_settings(keys: Keys, shape: AzureShape) -> Mapping[str, Any]:
    """What of the shape is set once, when the service is created: by the names of inputs, or of section keys without one."""
    values = {
        "cpu_cores": shape.cpu_cores,
        "memory_gb": shape.memory_gb,
        "location": shape.location,
        "compute_target_name": shape.compute,
        **shape.raw,
    }
    return {keys.inputs.get(key, key): values[key] for key in sorted(keys.fixed) if values.get(key) is not None}


def openness_note(auth: AuthMode | None, *, is_open_by_default: bool) -> str | None:
    """Said of a new service whose callers prove nothing."""
    if auth is AuthMode.NONE or (auth is None and is_open_by_default):
        why = "`auth: none`" if auth else "Azure's default here; `auth: key` changes it"
        return f"The service asks its callers for no key ({why}): whoever knows its address can call it."
    return None
