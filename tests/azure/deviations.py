"""Where the emulator departs from Microsoft's OpenAPI files on purpose, each with its reason.

README.md beside this file lists them for readers; a deviation that is not here fails the test it happens in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """`operation` is searched in "PUT 2024-04-01 /subscriptions/…", `finding` in "response /properties/x: message"."""

    operation: str
    finding: str
    reason: str

    def covers(self, operation: str, finding: str) -> bool:
        return bool(re.search(self.operation, operation) and re.search(self.finding, finding))


NAMED: tuple[Named, ...] = (
    Named(
        operation=r"2020-03-01 .*/computes",
        finding=r"agentVmSize|clusterPurpose|loadBalancerType",
        reason="azureml-core speaks 2020-02-02, which is published nowhere; it sends and reads these of an AKS cluster",
    ),
    Named(
        operation=r"GET .*/computes",
        finding=r"^response .*/provisioningErrors/\d+/error: Additional properties .*\('statusCode' was unexpected\)$",
        reason="errors of the cluster's own provisioning bear statusCode, as users printed them",
    ),
    Named(
        operation=r"PATCH 2022-02-01-preview .*/onlineEndpoints/.*/deployments/",
        finding=r"^request /properties: Additional properties are not allowed",
        reason="azureml-mlflow's update of a deployment sends the whole deployment where the file has its compute type alone",
    ),
    # Of the data plane, what neither the files of 2019 nor the clients' own models name (client_models.py).
    Named(
        operation="2019-09-30 /(history|artifact)/",
        finding=r"^response /(errors/.*)?: Additional properties .*\('statusCode' was unexpected\)$",
        reason="errors bear statusCode, as recorded in 2023 and 2025",
    ),
    Named(
        operation="POST 2019-09-30 /modelmanagement/.*/services$",
        finding=r"^request /(.*/)?environmentImageRequest/environment: Additional properties .*\('databricks' was unexpected\)$",
        reason="azureml-core sends its whole Environment; it is not told again",
    ),
)
