"""Azure's other clouds, as far as signing in and listing subscriptions go: the emulator's own Entra under their hosts."""

from __future__ import annotations

from dataclasses import dataclass

from mlaz_ci.models import Cloud as CloudName
from tests.azure import access, entra, world
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud


@dataclass(frozen=True, slots=True, kw_only=True)
class Sovereign:
    name: CloudName
    authority: str
    arm: str
    v1: str
    audience: str


US_GOVERNMENT = Sovereign(
    name=CloudName.US_GOVERNMENT,
    authority="login.microsoftonline.us",
    arm="management.usgovcloudapi.net",
    v1="management.core.usgovcloudapi.net",
    audience="api://AzureADTokenExchangeUSGov",
)
CHINA = Sovereign(
    name=CloudName.CHINA,
    authority="login.chinacloudapi.cn",
    arm="management.chinacloudapi.cn",
    v1="management.core.chinacloudapi.cn",
    audience="api://AzureADTokenExchangeChina",
)


def _entra(cloud_facts: Sovereign) -> Room:
    room = Room(f"entra-{cloud_facts.authority}", host=cloud_facts.authority)
    room.post("/{tenant}/oauth2/v2.0/token")(entra.post_token)

    @room.get("/{tenant}/v2.0/.well-known/openid-configuration")
    def get_openid_configuration(request: Request, params: Params, cloud: Cloud) -> Response:
        base = f"https://{cloud_facts.authority}/{params['tenant']}"
        return Response.json(
            {
                "issuer": f"{base}/v2.0",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            }
        )

    return room


def _arm(cloud_facts: Sovereign) -> Room:
    room = Room(f"arm-{cloud_facts.arm}", host=cloud_facts.arm)

    @room.get("/subscriptions")
    def list_subscriptions(request: Request, params: Params, cloud: Cloud) -> Response:
        caller = access.require_token(request, cloud, audience=(f"https://{cloud_facts.arm}",))
        return Response.json(
            {
                "value": [
                    {
                        "subscriptionId": world.SUBSCRIPTION_ID,
                        "displayName": "Contoso",
                        "state": "Enabled",
                        "tenantId": caller.tenant_id,
                    }
                ],
                "nextLink": "",
            }
        )

    return room


def open_to(cloud: Cloud, facts: Sovereign) -> None:
    """Entra there knows its own resources, and the default application trusts the runner under the cloud's own audience."""
    directory = cloud.state(entra.Directory)
    directory.resources |= {f"https://{facts.arm}", f"https://{facts.v1}"}
    directory.apps[world.CLIENT_ID].federated = [
        entra.FederatedCredential(
            issuer=world.OIDC_ISSUER,
            subject=f"repo:{world.GITHUB_REPOSITORY}:ref:refs/heads/main",
            audiences=(facts.audience,),
        )
    ]


ROOMS = tuple(make(facts) for facts in (US_GOVERNMENT, CHINA) for make in (_entra, _arm))
