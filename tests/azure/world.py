"""The names of the default cloud: what every room's state begins with and every test may count on."""

from __future__ import annotations

TENANT_ID = "11111111-1111-4111-8111-111111111111"
TENANT_DOMAIN = "contoso.onmicrosoft.com"
SUBSCRIPTION_ID = "22222222-2222-4222-8222-222222222222"
RESOURCE_GROUP = "rg-ml"
WORKSPACE = "ws-ml"
WORKSPACE_ID = "33333333-3333-4333-8333-333333333333"
REGION = "eastus"
STORAGE_ACCOUNT = "wsmlstorage"

# The deploying service principal: Contributor on the subscription.
CLIENT_ID = "44444444-4444-4444-8444-444444444444"
CLIENT_OBJECT_ID = "55555555-5555-4555-8555-555555555555"
CLIENT_SECRET = "default~client~secret"

# The runner's managed identity (IMDS): the same role.
MANAGED_CLIENT_ID = "66666666-6666-4666-8666-666666666666"
MANAGED_OBJECT_ID = "77777777-7777-4777-8777-777777777777"

GITHUB_OWNER = "contoso"
GITHUB_REPOSITORY_NAME = "churn"
GITHUB_REPOSITORY = f"{GITHUB_OWNER}/{GITHUB_REPOSITORY_NAME}"
GITHUB_OWNER_ID = 123456
GITHUB_REPOSITORY_ID = 456789
GITHUB_TOKEN = "ghs_defaulttoken"
OIDC_REQUEST_TOKEN = "default-oidc-request-token"
OIDC_HOST = "run-actions-1-azure-eastus.actions.githubusercontent.com"
OIDC_ISSUER = "https://token.actions.githubusercontent.com"
OIDC_AUDIENCE = "api://AzureADTokenExchange"

SUBSCRIPTION_SCOPE = f"/subscriptions/{SUBSCRIPTION_ID}"
RESOURCE_GROUP_SCOPE = f"{SUBSCRIPTION_SCOPE}/resourceGroups/{RESOURCE_GROUP}"
WORKSPACE_SCOPE = f"{RESOURCE_GROUP_SCOPE}/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
# The template of every workspace path, for routes.
WORKSPACE_TEMPLATE = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
