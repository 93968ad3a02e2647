"""The logs of a deployment's containers, as far as Azure has them."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from mlaz_ci.adapters.azure_arm.gateway import Gateway
from mlaz_ci.errors import MlazError

# Containers by the names of `az ml online-deployment get-logs`, and ARM's word for each.
_CONTAINERS: Final = (("inference-server", "InferenceServer"), ("storage-initializer", "StorageInitializer"))


class Logs:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def read(self, service_name: str, deployment_name: str, tail_lines: int) -> str:
        """Both containers, each under its name. What cannot be had is told in its place: a log must not hide why it was wanted."""
        below = f"/onlineEndpoints/{quote(service_name, safe='')}/deployments/{quote(deployment_name, safe='')}/getLogs"
        parts = []
        for title, word in _CONTAINERS:
            try:
                answer = self._gateway.door.arm(
                    "POST",
                    below,
                    doing=f'read the log of "{deployment_name}"',
                    body={"containerType": word, "tail": tail_lines},
                    repeatable=True,
                )
                text = str(answer.object.get("content") or "").strip()
            except MlazError as error:
                text = f"(cannot be read: {error.what})"
            if text:
                parts.append(f"--- {title} ---\n{text}")
        return "\n\n".join(parts)
