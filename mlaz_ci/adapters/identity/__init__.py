"""Signs in to Azure: one credential for every client, by secret, certificate, OIDC or managed identity; it raises only our errors.

Importing this room imports no client of Azure; the first token does.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlaz_ci.adapters.identity.answer import LastAnswer
from mlaz_ci.adapters.identity.assertion import Assertions
from mlaz_ci.adapters.identity.clients import client_maker
from mlaz_ci.adapters.identity.clouds import CLOUDS, CloudFacts
from mlaz_ci.adapters.identity.credential import Credential
from mlaz_ci.adapters.identity.refusal import Refusals
from mlaz_ci.adapters.identity.subscription import Subscription, check_subscription, list_subscriptions
from mlaz_ci.adapters.identity.v1 import v1_authentication
from mlaz_ci.adapters.identity.way import ByFederation, choose_way
from mlaz_ci.models import Cloud, SignIn
from mlaz_ci.ports import Clock, Platform

__all__ = [
    "CLOUDS",
    "CloudFacts",
    "Credential",
    "Subscription",
    "check_subscription",
    "list_subscriptions",
    "sign_in",
    "v1_authentication",
]


def sign_in(given: SignIn, environ: Mapping[str, str], cloud: Cloud, clock: Clock, platform: Platform) -> Credential:
    """The credential for what was given; nothing is asked of Azure yet.

    Raises ConflictingInputs, MissingInput, IdTokenPermissionMissing.
    """
    facts = CLOUDS[cloud]
    way = choose_way(given, environ, default_audience=facts.oidc_audience)
    assertions = None
    if isinstance(way, ByFederation):
        platform.mask(way.request_token.reveal())
        assertions = Assertions(way, clock, platform)
    last_answer = LastAnswer()
    return Credential(
        make_client=client_maker(
            way, facts=facts, assertions=assertions, environ=environ, clock=clock, last_answer=last_answer
        ),
        read_refusal=Refusals(way, facts, assertions, last_answer).read,
        clock=clock,
        platform=platform,
        facts=facts,
        label=way.label,
    )
