"""Which request proves that a service answers. Pure."""

from __future__ import annotations

import json

from mlaz_ci.models import ModelFacts, ScoreRequest
from mlaz_ci.serving.swagger import sample_request


def choose_smoke_request(facts: ModelFacts) -> ScoreRequest | None:
    """The model's own input example before a sample made from the signature."""
    if facts.input_example is not None:
        return ScoreRequest(body=facts.input_example.encode(), origin="the model's input example")
    if facts.signature is not None and facts.signature.inputs:
        body = json.dumps(sample_request(facts.signature)).encode()
        return ScoreRequest(body=body, origin="a sample made from the signature")
    return None
