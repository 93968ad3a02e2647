"""Microsoft.Authorization: what the caller may do, and the assignments that say so."""

from __future__ import annotations

import re
import uuid
from typing import Any

from tests.azure import world
from tests.azure.access import require_token
from tests.azure.arm import answers, versions
from tests.azure.arm.subscriptions import GROUP, Subscriptions
from tests.azure.messages import Request, Response
from tests.azure.roles import Assignment, Assignments, Role
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

_SCOPES = (
    "/subscriptions/{subscription}",
    GROUP,
    GROUP + "/providers/{namespace}/{type}/{name}",
    world.WORKSPACE_TEMPLATE + "/onlineEndpoints/{endpoint}",
)
room = Room("arm-authorization", host=versions.HOST)


def _scope(request: Request) -> str:
    return request.path.lower().partition("/providers/microsoft.authorization")[0]


def _permission(role: Role) -> dict[str, Any]:
    return {
        "actions": list(role.actions),
        "notActions": list(role.not_actions),
        "dataActions": list(role.data_actions),
        "notDataActions": [],
    }


def list_permissions(request: Request, params: Params, cloud: Cloud) -> Response:
    """One entry for each role the caller holds here or above; an empty list is an answer too."""
    caller = require_token(request, cloud)
    cloud.state(Subscriptions).require(cloud, params["subscription"])
    roles = cloud.state(Assignments).roles(caller.object_id, _scope(request))
    return answers.arm_reply({"value": [_permission(role) for role in roles]})


def list_assignments(request: Request, params: Params, cloud: Cloud) -> Response:
    scope = _scope(request)
    require_token(request, cloud, action="Microsoft.Authorization/roleAssignments/read", scope=scope)
    wanted = re.search(r"(?:principalId eq |assignedTo\()'([^']+)'", request.query.get("$filter", ""))
    listed = [
        _assignment(entry)
        for entry in cloud.state(Assignments).assigned
        if (wanted is None or entry.object_id == wanted[1]) and f"{scope}/".startswith(f"{entry.scope.lower()}/")
    ]
    return answers.arm_reply({"value": listed})


def _assignment(entry: Assignment) -> dict[str, Any]:
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{entry.object_id}{entry.role.name}{entry.scope}"))
    definition = uuid.uuid5(uuid.NAMESPACE_URL, entry.role.name)
    subscription = "/".join(entry.scope.split("/")[:3])
    return {
        "id": f"{entry.scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{definition}",
            "principalId": entry.object_id,
            "principalType": "ServicePrincipal",
            "scope": entry.scope,
        },
    }


for _template in _SCOPES:
    room.get(_template + "/providers/Microsoft.Authorization/permissions")(list_permissions)
    room.get(_template + "/providers/Microsoft.Authorization/roleAssignments")(list_assignments)
