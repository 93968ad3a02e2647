"""The one way requests of ours reach Azure's REST: signed, tried again where that helps, refused as a failure of the catalogue.

Shared by the adapters that speak to Azure themselves; it knows no service of Azure but the workspace that names the others' hosts.
Importing this room imports no client of Azure; the first request does.
"""

from __future__ import annotations

from mlaz_ci.adapters.azure_wire.door import ARM_API_VERSION, WorkspaceDoor, WorkspaceFacts
from mlaz_ci.adapters.azure_wire.tokens import TokenSource
from mlaz_ci.adapters.azure_wire.wire import Answer, EffectUnknown, Wire

__all__ = [
    "ARM_API_VERSION",
    "Answer",
    "EffectUnknown",
    "TokenSource",
    "Wire",
    "WorkspaceDoor",
    "WorkspaceFacts",
]
