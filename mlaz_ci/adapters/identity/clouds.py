"""What differs between Azure's clouds when signing in: hosts and audiences, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mlaz_ci.models import Cloud


@dataclass(frozen=True, kw_only=True, slots=True)
class CloudFacts:
    """One cloud. `oidc_audience` is what Entra there wants as the audience of a runner's token."""

    cloud: Cloud
    authority_host: str
    resource_manager: str
    v1_audience: str
    oidc_audience: str

    @property
    def arm_scope(self) -> str:
        return f"{self.resource_manager}/.default"

    @property
    def v1_scope(self) -> str:
        """azureml-core's audience ends with a slash, which Entra leaves standing: hence two of them."""
        return f"{self.v1_audience}/.default"


CLOUDS: Final[Mapping[Cloud, CloudFacts]] = {
    Cloud.PUBLIC: CloudFacts(
        cloud=Cloud.PUBLIC,
        authority_host="login.microsoftonline.com",
        resource_manager="https://management.azure.com",
        v1_audience="https://management.core.windows.net/",
        oidc_audience="api://AzureADTokenExchange",
    ),
    Cloud.US_GOVERNMENT: CloudFacts(
        cloud=Cloud.US_GOVERNMENT,
        authority_host="login.microsoftonline.us",
        resource_manager="https://management.usgovcloudapi.net",
        v1_audience="https://management.core.usgovcloudapi.net/",
        oidc_audience="api://AzureADTokenExchangeUSGov",
    ),
    Cloud.CHINA: CloudFacts(
        cloud=Cloud.CHINA,
        authority_host="login.chinacloudapi.cn",
        resource_manager="https://management.chinacloudapi.cn",
        v1_audience="https://management.core.chinacloudapi.cn/",
        oidc_audience="api://AzureADTokenExchangeChina",
    ),
}
