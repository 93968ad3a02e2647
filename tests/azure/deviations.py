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
    # The data plane's files are of 2019, and its services have grown since.
    Named(
        operation="2019-09-30 /(history|artifact)/",
        finding=r"^response /(errors/.*)?: Additional properties .*'componentName'.*'statusCode'",
        reason="errors bear componentName and statusCode, as recorded in 2023 and 2025",
    ),
    Named(
        operation="POST 2019-09-30 /artifact/.*/artifacts/(register|metadata)$",
        finding=r"^response /: Additional properties .*'tags'",
        reason="an artifact's tags, as recorded in 2024",
    ),
    Named(
        operation="POST 2019-09-30 /modelmanagement/.*/services$",
        # These and no others: a member of our own making must not pass.
        finding=r"^request /.*: Additional properties .* \((('(platform|databricks|overwrite|versions|buildContext|cpuLimit|memoryInGBLimit|encryptionProperties|vnetConfiguration)')(, )?)+ (was|were) unexpected\)$",
        reason="what Microsoft's own clients of 2025 send: docker.platform, databricks, overwrite and the like",
    ),
    Named(
        operation="POST 2019-09-30 /modelmanagement/.*/regenerateKeys$",
        finding=r"^request /keyType",
        reason="the file calls keyType an integer and lists words; the clients send the words",
    ),
    Named(
        operation="PATCH 2019-09-30 /modelmanagement/",
        finding=r"^request /\d+/value: .* is not of type 'object'",
        reason="the file calls every value of a JSON Patch an object; clients patch strings and numbers",
    ),
    Named(
        operation="GET 2019-09-30 /modelmanagement/.*/services",
        finding=r"^response /.*: Additional properties .* \((('(createdBy|environmentImageRequest|versions|cpuLimit|memoryInGBLimit)')(, )?)+ (was|were) unexpected\)$",
        reason="the clients read a service's maker, environment, versions and limits here, and fail without",
    ),
    Named(
        operation="GET 2019-09-30 /modelmanagement/.*/services",
        finding=r"^response /.*'Unschedulable' is not one of",
        reason="a state that azureml-core knows and public threads print",
    ),
    Named(
        operation="GET 2019-09-30 /modelmanagement/.*/operations/",
        finding=r"^response /: Additional properties .* \('streamingOperationLog' was unexpected\)$",
        reason="the progress that wait_for_deployment(show_output=True) prints",
    ),
)
