"""Registries, which workspaces share: this cloud has none with anything in it, so whoever asks is refused as recorded."""

from __future__ import annotations

from tests.azure import regional
from tests.azure.access import ARM, MACHINE_LEARNING, require_token
from tests.azure.arm import answers
from tests.azure.messages import Refusal, Request, Response
from tests.azure.routing import Params, Room
from tests.azure.state import Cloud

_REGISTRY = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/registries/{registry}"
)
_SERVED = {
    "request-context": "appId=cid-v1:2d2e8e63-272e-4b3c-8598-4ee570a0e70d",
    "x-ms-response-type": "error",
}

room = Room("registries", host=regional.HOST)
# What ARM hands a write of a registry's assets on to.
storage = Room("registry-storage", host="{cluster}.experiments.azureml.net")
_envelope = regional.user_error("genericasset")


@room.get("/genericasset/v2.0" + _REGISTRY + "/{kind}/{name}/versions/{version}")
def get_asset(request: Request, params: Params, cloud: Cloud) -> Response:
    require_token(request, cloud, audience=MACHINE_LEARNING)
    asset = f"azureml://registries/{params['registry']}/{params['kind']}/{params['name']}/versions/{params['version']}"
    text = f"Asset with Asset ID: {asset} and tenantId:  was not found"
    value = _envelope(cloud, params["region"], regional.Fault(status=404, code="UserError", message=text))
    # This service says less of an error than run history does.
    value["error"] = {"code": "UserError", "message": text, "details": [], "innerError": {"code": "NotFoundError"}}
    served = {**_SERVED, "azureml-served-by-cluster": f"vienna-{params['region']}-02"}
    raise Refusal(regional.reply(value, status=404, more={**served, "mise-correlation-id": cloud.new_id()}))


@storage.put("/mferp/managementfrontend" + _REGISTRY + "/tempdatarefs/{name}/versions/{version}")
def put_place(request: Request, params: Params, cloud: Cloud) -> Response:
    require_token(request, cloud, audience=ARM)
    asset = f"azureml://registries/{params['registry']}/models/{params['name']}/versions/{params['version']}"
    region = params["cluster"].rpartition("-")[2]
    text = f"No storage account available for asset {asset}"
    raise answers.service_refusal(cloud, region, 400, "UserError", text)
