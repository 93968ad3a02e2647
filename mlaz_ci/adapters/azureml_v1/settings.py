"""From a shape to the keyword arguments of azureml-core's `deploy_configuration` and `update`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mlaz_ci.models import AuthMode, AzureShape, DeploymentSpec, Secret, Target

_KEYS: Final = ("primary_key", "secondary_key")
# What `deploy_configuration` takes and `update` does not; tests hold it against the installed client.
_SET_ONCE: Final = {
    Target.ACI: frozenset(
        {
            *_KEYS,
            *("cpu_cores", "memory_gb", "location", "dns_name_label", "collect_model_data"),
            *("vnet_name", "subnet_name", "cmk_vault_base_url", "cmk_key_name", "cmk_key_version"),
        }
    ),
    Target.AKS: frozenset({*_KEYS, "compute_target_name", "blobfuse_enabled"}),
}
_ENTRY_SCRIPT: Final = "AZUREML_ENTRY_SCRIPT"
_SOURCE_DIRECTORY: Final = "AZUREML_SOURCE_DIRECTORY"


def create_settings(target: Target, shape: AzureShape) -> dict[str, Any]:
    """Without tags and properties. What is None is left to Azure."""
    raw = {name: value.reveal() if isinstance(value, Secret) else value for name, value in shape.raw.items()}
    found: dict[str, Any] = {
        **{name: value for name, value in raw.items() if name not in {"tags", "properties"}},
        "cpu_cores": shape.cpu_cores,
        "memory_gb": shape.memory_gb,
        "description": shape.description,
        "enable_app_insights": shape.enable_app_insights,
    }
    if target is Target.ACI:
        found["location"] = shape.location
        if "ssl_cert_pem_file" in found:
            found.setdefault("ssl_enabled", True)
    else:
        found |= {
            "compute_target_name": shape.compute,
            "num_replicas": shape.instance_count,
            "collect_model_data": shape.data_collection or None,
            # A fixed number and a scaler exclude each other, also where a scaler is on already.
            "autoscale_enabled": False if shape.instance_count else found.get("autoscale_enabled"),
        }
    if shape.auth is not None:
        found["auth_enabled"] = shape.auth is AuthMode.KEY
        if target is Target.AKS:
            found["token_auth_enabled"] = shape.auth is AuthMode.TOKEN
    return {name: value for name, value in found.items() if value is not None}


def update_settings(target: Target, shape: AzureShape) -> dict[str, Any]:
    """What of it can be changed in place."""
    settings = create_settings(target, shape)
    return {name: value for name, value in settings.items() if name not in _SET_ONCE[target]}


def key_settings(shape: AzureShape) -> Iterator[tuple[str, str, str]]:
    """(model management's name of the key, its type, its value) of the keys that the section sets."""
    for name, told, kind in zip(_KEYS, ("primaryKey", "secondaryKey"), ("Primary", "Secondary"), strict=True):
        value = shape.raw.get(name)
        if isinstance(value, Secret):
            yield told, kind, value.reveal()


def secret_files(shape: AzureShape) -> Iterator[str]:
    if path := shape.raw.get("ssl_key_pem_file"):
        yield str(path)


def all_files(shape: AzureShape) -> Mapping[str, str]:
    """The files that the section names, by their keys."""
    return {name: str(value) for name, value in shape.raw.items() if name.endswith("_pem_file")}


def own_variables(spec: DeploymentSpec, *, entry_script: str, source_folder: str) -> Mapping[str, str]:
    """The container's environment variables beside the user's: ours, and the two that azureml-core sets for a source directory."""
    return {
        **({"MLAZ_DATA_COLLECTION": "true"} if spec.azure_shape.data_collection else {}),
        "MLAZ_SPEC": spec.spec_hash,
        _ENTRY_SCRIPT: entry_script,
        _SOURCE_DIRECTORY: source_folder,
    }
