"""The discovery document: which host of a region speaks for which service. Asked without a token."""

from __future__ import annotations

from tests.azure import regional
from tests.azure.messages import Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

# What azureml-core 1.61 looks up. Microsoft's printed sample is older and lacks `studio`.
_SERVICES = ("api", "experimentation", "history", "hyperdrive", "labeling", "modelmanagement", "pipelines")
_ELSEWHERE = {
    "catalog": "https://catalog.cortanaanalytics.com",
    "gallery": "https://gallery.cortanaintelligence.com/project",
    "studio": "https://ml.azure.com",
}

room = Room("discovery", host=regional.HOST)


@room.get("/discovery")
def get_discovery(request: Request, params: Params, cloud: Cloud) -> Response:
    base = f"https://{params['region'].lower()}.api.azureml.ms"
    return regional.reply(dict.fromkeys(_SERVICES, base) | {"studiocoreservices": base} | _ELSEWHERE)
