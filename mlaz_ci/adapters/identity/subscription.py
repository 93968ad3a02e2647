"""The guard: whether who signed in can see the subscription that was named, and if not, where they are and what they see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mlaz_ci.adapters.identity.assertion import read_claims
from mlaz_ci.adapters.identity.credential import Credential
from mlaz_ci.errors import AzureUnreachable, MlazError, RoleMissing, SignInRefused, SubscriptionNotVisible
from mlaz_ci.ports import Clock
from mlaz_ci.report.text import clip, one_line

_API_VERSION: Final = "2022-12-01"
_SHOWN: Final = 10
_SHOWN_CHARS: Final = 100
_MAX_PAGES: Final = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Subscription:
    """As ARM lists it. `state` is Azure's own word: Enabled, Warned, PastDue, Disabled, Deleted."""

    id: str
    name: str
    state: str
    tenant_id: str | None


def check_subscription(credential: Credential, subscription_id: str, clock: Clock) -> Subscription:
    """The subscription, if the identity can see it. Raises SubscriptionNotVisible, and what signing in raises."""
    seen = list_subscriptions(credential, clock)
    for each in seen:
        if each.id.lower() == subscription_id.lower():
            return each
    claims = read_claims(credential.get_token(credential.facts.arm_scope).token)
    raise SubscriptionNotVisible(
        f"The subscription {subscription_id} is not visible to {credential.label}. "
        f"The sign-in itself worked, to tenant {claims.get('tid', '(unknown)')}; it sees {_listed(seen)}.",
        remedy=_remedy(subscription_id, claims),
    )


def list_subscriptions(credential: Credential, clock: Clock) -> Sequence[Subscription]:
    """Every subscription on which the identity has any role."""
    url = f"{credential.facts.resource_manager}/subscriptions?api-version={_API_VERSION}"
    return [_subscription(each) for page in _pages(credential, url, clock) for each in page if isinstance(each, dict)]


def _pages(credential: Credential, url: str, clock: Clock) -> Iterator[Sequence[Any]]:
    from azure.core.pipeline import Pipeline
    from azure.core.pipeline.policies import RetryPolicy
    from azure.core.rest import HttpRequest

    from mlaz_ci.adapters.azure_wire.transport import RETRIES, BearerPolicy, ClockTransport

    policies = [
        RetryPolicy(retry_total=RETRIES, retry_status=RETRIES),
        BearerPolicy(credential, credential.facts.arm_scope),
    ]
    with Pipeline(ClockTransport(clock), policies=policies) as pipeline:
        for _ in range(_MAX_PAGES):
            body = _read_page(pipeline, HttpRequest("GET", url, headers={"Accept": "application/json"}))
            yield body["value"] if isinstance(body.get("value"), list) else []
            url = str(body.get("nextLink") or "")
            # The token goes to ARM alone, whatever a page says.
            if not _is_beside(url, credential.facts.resource_manager):
                return


def _is_beside(url: str, base: str) -> bool:
    there, here = urlsplit(url), urlsplit(base)
    return (there.scheme, there.hostname, there.port or 443) == (here.scheme, here.hostname, 443)


def _read_page(pipeline: Any, request: Any) -> Mapping[str, Any]:
    from azure.core.exceptions import AzureError

    try:
        response = pipeline.run(request).http_response
        body = response.json()
    except AzureError as error:
        raise AzureUnreachable(
            f"Azure could not be asked which subscriptions there are: {one_line(clip(str(error), 500))}"
        ) from error
    except ValueError as error:
        raise AzureUnreachable(
            "Azure's answer about subscriptions is no JSON; a proxy may have answered instead."
        ) from error
    if response.status_code != 200 or not isinstance(body, dict):
        raise _refusal(response, body)
    return body


def _refusal(response: Any, body: Any) -> MlazError:
    told = body.get("error") if isinstance(body, dict) else None
    code, message = (str(told.get(name, "")) for name in ("code", "message")) if isinstance(told, dict) else ("", "")
    status: int = response.status_code
    what = f"Azure refused to list the subscriptions: {status} {code}: {one_line(clip(message, 1_000))}"
    kind = {401: SignInRefused, 403: RoleMissing}.get(status, AzureUnreachable)
    correlation = response.headers.get("x-ms-correlation-request-id")
    return kind(what, upstream_code=code or None, correlation_id=correlation)


def _subscription(read: Mapping[str, Any]) -> Subscription:
    return Subscription(
        id=str(read.get("subscriptionId", "")),
        name=one_line(clip(str(read.get("displayName", "")), _SHOWN_CHARS)),
        state=str(read.get("state", "")),
        tenant_id=str(read["tenantId"]) if read.get("tenantId") else None,
    )


def _listed(seen: Sequence[Subscription]) -> str:
    if not seen:
        return "no subscription at all"
    shown = ", ".join(f"{each.name} ({each.id})" for each in seen[:_SHOWN])
    return f"{shown} and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else shown


def _remedy(subscription_id: str, claims: Mapping[str, Any]) -> str:
    object_id = claims.get("oid")
    if not object_id:
        return SubscriptionNotVisible.remedy
    return (
        f"{SubscriptionNotVisible.remedy} For instance: `az role assignment create --assignee-object-id {object_id} "
        f"--assignee-principal-type ServicePrincipal --role Contributor --scope /subscriptions/{subscription_id}/resourceGroups/RESOURCE-GROUP`."
    )
