"""The keys of the config file's sections `aci:` and `aks:`, and of a cluster: azureml-core's own, with the form each takes. Pure.

The tables are azureml-core's signatures (`AciWebservice`, `AksWebservice`: `deploy_configuration` and `update`; `AksCompute`:
`provisioning_configuration` and `attach_configuration`), so that a typo is found before a client is imported. tests/integration/azure
holds them against the installed client.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from mlaz_ci.errors import InvalidConfigFile, UnknownConfigKey
from mlaz_ci.models import Secret


class Form(StrEnum):
    """What a key holds, in the words of an error."""

    NUMBER = "a positive number"
    COUNT = "a positive whole number"
    SWITCH = "true or false"
    TEXT = "a text"
    PAIRS = "a mapping of names to texts"
    SECRET = "a text, which is kept secret"


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """A section's keys. `fixed` are those that Azure sets when the service is created, and never again.

    `together` are groups of which all or none are given. `inputs` says which key has an input of its own.
    """

    section: str
    forms: Mapping[str, Form]
    fixed: frozenset[str] = frozenset()
    together: tuple[tuple[str, ...], ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)

    def read(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The section, each value of its form; what is secret is a `Secret`. Null means not given.

        Raises UnknownConfigKey with the nearest right key, InvalidConfigFile for a wrong form.
        """
        read = {}
        for key, value in given.items():
            form = self.forms.get(key)
            if form is None:
                raise UnknownConfigKey(
                    f"`{self.section}: {key}` is not a key of azureml-core's.{_near(key, self.forms)}",
                    config_key=f"{self.section}.{key}",
                )
            if value is not None:
                read[key] = self._value(key, form, value)
        for group in self.together:
            missing = [key for key in group if key not in read]
            if missing and len(missing) < len(group):
                there = next(key for key in group if key in read)
                raise InvalidConfigFile(
                    f"`{self.section}: {there}` needs {_listed(missing)} beside it.",
                    usually="These settings make sense together alone.",
                    remedy="Give all of them, or none.",
                    config_key=f"{self.section}.{there}",
                )
        return read

    def _value(self, key: str, form: Form, value: Any) -> Any:
        if not _has_form(form, value):
            # The value itself stays out of the message: it may be a key in the wrong place.
            raise InvalidConfigFile(
                f"`{self.section}: {key}` takes {form.value}, not {_kind(value)}.", config_key=f"{self.section}.{key}"
            )
        if form is Form.SECRET:
            return Secret(str(value))
        return {str(name): str(each) for name, each in value.items()} if form is Form.PAIRS else value


def _has_form(form: Form, value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    match form:
        case Form.NUMBER:
            return is_number and value > 0
        case Form.COUNT:
            return is_number and isinstance(value, int) and value > 0
        case Form.SWITCH:
            return isinstance(value, bool)
        case Form.TEXT | Form.SECRET:
            return isinstance(value, str) and bool(value)
        case Form.PAIRS:
            return isinstance(value, Mapping) and all(isinstance(each, str | int | float) for each in value.values())


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    if isinstance(value, int | float) and not isinstance(value, bool) and value <= 0:
        return "zero or less"
    if value == "":
        return "an empty text"
    return "a mapping" if isinstance(value, Mapping) else kinds.get(type(value), type(value).__name__)


def _near(key: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    return f" `{found[0]}` is." if found else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


_COMMON: Final = {
    "auth_enabled": Form.SWITCH,
    "collect_model_data": Form.SWITCH,
    "cpu_cores": Form.NUMBER,
    "description": Form.TEXT,
    "enable_app_insights": Form.SWITCH,
    "memory_gb": Form.NUMBER,
    "primary_key": Form.SECRET,
    "properties": Form.PAIRS,
    "secondary_key": Form.SECRET,
    "tags": Form.PAIRS,
}
_COMMON_INPUTS: Final = {
    "auth_enabled": "auth",
    "cpu_cores": "cpu-cores",
    "description": "description",
    "enable_app_insights": "enable-app-insights",
    "memory_gb": "memory-gb",
}
_NETWORK: Final = ("vnet_name", "subnet_name")
_CUSTOMER_KEY: Final = ("cmk_vault_base_url", "cmk_key_name", "cmk_key_version")

ACI: Final = Keys(
    section="aci",
    forms={
        **_COMMON,
        **dict.fromkeys(("location", "dns_name_label", "ssl_cname"), Form.TEXT),
        **dict.fromkeys(("ssl_cert_pem_file", "ssl_key_pem_file"), Form.TEXT),
        **dict.fromkeys((*_NETWORK, *_CUSTOMER_KEY), Form.TEXT),
        "ssl_enabled": Form.SWITCH,
    },
    fixed=frozenset({"cpu_cores", "memory_gb", "location", "dns_name_label", *_NETWORK, *_CUSTOMER_KEY}),
    together=(("ssl_cert_pem_file", "ssl_key_pem_file", "ssl_cname"), _NETWORK, _CUSTOMER_KEY),
    inputs={**_COMMON_INPUTS, "location": "location"},
)

_AUTOSCALE: Final = ("min_replicas", "max_replicas", "refresh_seconds", "target_utilization")
_PROBE: Final = ("period_seconds", "initial_delay_seconds", "timeout_seconds", "success_threshold", "failure_threshold")

AKS: Final = Keys(
    section="aks",
    forms={
        **_COMMON,
        **{f"autoscale_{each}": Form.COUNT for each in _AUTOSCALE},
        **dict.fromkeys(_PROBE, Form.COUNT),
        **dict.fromkeys(("num_replicas", "scoring_timeout_ms", "max_request_wait_time", "gpu_cores"), Form.COUNT),
        "replica_max_concurrent_requests": Form.COUNT,
        **dict.fromkeys(("autoscale_enabled", "token_auth_enabled", "blobfuse_enabled"), Form.SWITCH),
        **dict.fromkeys(("cpu_cores_limit", "memory_gb_limit"), Form.NUMBER),
        **dict.fromkeys(("namespace", "compute_target_name"), Form.TEXT),
    },
    fixed=frozenset({"compute_target_name"}),
    inputs={
        **_COMMON_INPUTS,
        "collect_model_data": "data-collection",
        "compute_target_name": "compute",
        "num_replicas": "instance-count",
        "token_auth_enabled": "auth",
    },
)

_TLS: Final = ("ssl_cname", "ssl_cert_pem_file", "ssl_key_pem_file")
_OF_ANY_CLUSTER: Final = {
    **dict.fromkeys(("cluster_purpose", "load_balancer_type", "load_balancer_subnet"), Form.TEXT),
    # azureml-core takes these by `enable_ssl`; the label is one under a domain of Microsoft's.
    **dict.fromkeys((*_TLS, "leaf_domain_label"), Form.TEXT),
    "overwrite_existing_domain": Form.SWITCH,
}
_CLUSTER_NETWORK: Final = (
    *("vnet_resourcegroup_name", "vnet_name", "subnet_name"),
    *("service_cidr", "dns_service_ip", "docker_bridge_cidr"),
)
NEW_CLUSTER: Final = Keys(
    section="compute",
    forms={
        **_OF_ANY_CLUSTER,
        "agent_count": Form.COUNT,
        **dict.fromkeys(("vm_size", "location", *_CLUSTER_NETWORK), Form.TEXT),
    },
    together=(_TLS, _CLUSTER_NETWORK),
)
ATTACHED_CLUSTER: Final = Keys(section="compute", forms=_OF_ANY_CLUSTER, together=(_TLS,))
